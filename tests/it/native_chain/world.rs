//! A relay between a simulated API server and a mock reducer.

use std::{
    cell::Cell,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_relay::{
    app::{AppError, Relay},
    config::{Config, Heartbeat, HostPort, Reannounce, Retry, Source},
    model::Kind,
    sim::{
        kube::{
            ExpectedState, Meta, Options, Owner, Pod, Request, Requests, SimApi, Sort, Strictness,
            View,
        },
        reducer::{self, MockReducer, State},
    },
    stores::Reader,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::support::{PATIENCE, must};

pub(super) const KINDS: [Kind; 3] = [Kind::POD, Kind::REPLICA_SET, Kind::JOB];

/// The namespace of what [`World::quiet`] adds.
pub(super) const MARKS: &str = "marks";

/// All three, in one process.
pub(super) struct World {
    pub(super) api: SimApi,
    pub(super) reducer: MockReducer,
    /// What the relay holds.
    pub(super) objects: Reader,
    /// Where it serves `Collect`.
    pub(super) address: SocketAddr,
    view: View,
    strictness: Strictness,
    marks: Cell<u32>,
    end: CancellationToken,
    relay: AbortOnDropHandle<Result<(), AppError>>,
    _dir: TempDir,
}

impl World {
    /// A cluster that has this at the start.
    pub(super) async fn of(fill: impl FnOnce(&SimApi)) -> Self {
        Self::with(fill, |_| ()).await
    }

    /// The same, with other settings of the relay.
    pub(super) async fn with(fill: impl FnOnce(&SimApi), set: impl FnOnce(&mut Config)) -> Self {
        let api = api().await;
        fill(&api);
        Self::between(api, reducer().await, set).await
    }

    /// Starts a relay between these two. Either may not be there yet.
    pub(super) async fn between(
        api: SimApi,
        reducer: MockReducer,
        set: impl FnOnce(&mut Config),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config {
            source: Source::Native,
            heartbeat: Heartbeat::Once,
            health_interval: Duration::from_secs(3600),
            ..Config::between(here(0), here(reducer.addr().port()))
        };
        config.native.kubeconfig = Some(kubeconfig(&dir, &api.kubeconfig()));
        config.native.retry = Retry {
            first: Duration::from_millis(10),
            slowest: Duration::from_millis(100),
        };
        set(&mut config);
        let view = View {
            main_containers_only: config.native.containers == k8s_relay::config::Containers::Main,
            escalate_any: config.escalate == k8s_relay::config::Escalate::Any,
        };
        let strictness = match config.reannounce {
            Reannounce::Never => Strictness::ToldOnce,
            Reannounce::OnChange => Strictness::Everything,
        };
        let relay = Relay::start(config).await.unwrap();
        let end = CancellationToken::new();
        Self {
            api,
            reducer,
            objects: relay.objects(),
            address: relay.address(),
            view,
            strictness,
            marks: Cell::new(0),
            relay: AbortOnDropHandle::new(tokio::spawn(
                relay.run_until(end.clone().cancelled_owned()),
            )),
            end,
            _dir: dir,
        }
    }

    /// Everything is the same for this world, also what may change in the life of a pod.
    pub(super) fn strict(mut self) -> Self {
        self.strictness = Strictness::Everything;
        self
    }

    /// Waits until the reducer knows what is true.
    pub(super) async fn known(&self) {
        self.known_of(|_| true).await;
    }

    /// Waits until it knows what is true of these pods, and no others.
    pub(super) async fn known_of(
        &self,
        wanted: impl Fn(&k8s_relay::sim::kube::expected_state::Known) -> bool,
    ) {
        let known = |state: &State| self.difference(state, &wanted).is_none();
        if tokio::time::timeout(PATIENCE, self.reducer.wait_until(known))
            .await
            .is_err()
        {
            let difference = self.reducer.with(|state| self.difference(state, &wanted));
            panic!("{difference:?}");
        }
    }

    fn difference(
        &self,
        state: &State,
        wanted: impl Fn(&k8s_relay::sim::kube::expected_state::Known) -> bool,
    ) -> Option<String> {
        let mut expected_state = self.expected_state();
        expected_state.pods.retain(|_, pod| wanted(pod));
        match state.latest().filter(|one| one.handshake_done()) {
            Some(connection) => {
                expected_state.difference(connection.reducer_state(), self.strictness)
            }
            None => Some("there is no connection".to_owned()),
        }
    }

    /// What is true, as the relay's settings show it.
    pub(super) fn expected_state(&self) -> ExpectedState {
        self.api.expected_state(self.view)
    }

    /// Waits until the reducer knows all that has happened so far: something of each kind happens
    /// last, and each watch is sent in order.
    pub(super) async fn quiet(&self) {
        self.quiet_in(MARKS).await;
    }

    /// The same, in a namespace that is watched.
    pub(super) async fn quiet_in(&self, namespace: &str) {
        let number = self.marks.get() + 1;
        self.marks.set(number);
        let mut pods = Vec::new();
        for (kind, above) in [("ReplicaSet", "Deployment"), ("Job", "CronJob")] {
            let name = format!("{}-mark-{number}", kind.to_lowercase());
            let uid = format!("uid-{name}");
            let meta = Meta::new(namespace, &name, &uid);
            let meta = meta.of(Owner::controller(
                above,
                "mark",
                &format!("uid-{above}-mark"),
            ));
            let pod = Pod::new(namespace, &format!("{name}-pod"), &format!("{uid}-pod"));
            pods.push(pod.meta.uid.clone());
            self.api.apply(
                pod.address("10.9.9.9")
                    .of(Owner::controller(kind, &name, &uid)),
            );
            self.api.apply(match kind {
                "Job" => k8s_relay::sim::kube::Object::job(meta),
                _ => k8s_relay::sim::kube::Object::replica_set(meta),
            });
        }
        self.knows(&pods).await;
    }

    /// Waits until the reducer knows these pods.
    pub(super) async fn knows(&self, uids: &[impl AsRef<str>]) {
        let known = |state: &State| {
            let reducer_state = state.reducer_state();
            reducer_state.is_some_and(|reducer_state| {
                let mut uids = uids.iter();
                uids.all(|uid| reducer_state.pod(uid.as_ref().as_bytes()).is_some())
            })
        };
        let what = format!(
            "{:?}",
            uids.iter().map(AsRef::as_ref).collect::<Vec<&str>>()
        );
        must(&what, self.reducer.wait_until(known)).await;
    }

    /// What is known otherwise at this moment.
    pub(super) fn wrong(&self) -> Option<String> {
        self.reducer.with(|state| self.difference(state, |_| true))
    }

    /// How many messages the reducer has read.
    pub(super) fn messages(&self) -> usize {
        self.reducer.with(|state| state.log.len())
    }

    /// What was sent of pods after so many messages, but for what [`Self::quiet`] added.
    pub(super) fn sent_since(&self, messages: usize) -> Vec<String> {
        self.reducer.with(|state| {
            let news = state.log.iter().skip(messages).map(|entry| &entry.message);
            let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
            news.filter_map(|message| {
                let name = text(message.get("msg"))?;
                let uid = text(message.get("uid")).unwrap_or_default();
                let counts = name.starts_with("pod_") && !uid.contains("-mark-");
                counts.then(|| format!("{name} {uid}").trim().to_owned())
            })
            .collect()
        })
    }

    /// How often each kind was listed, in whichever way.
    pub(super) fn lists(&self) -> [usize; 3] {
        // Who asks for one object wants to know the version.
        let is_list = |request: &&Request| match request.sort {
            Sort::List => !request.query.split('&').any(|one| one == "limit=1"),
            sort => sort == Sort::WatchList,
        };
        let lists = |book: &Requests, kind: Kind| {
            let kept = book.kept.iter().filter(|one| one.kind == Some(kind));
            kept.filter(is_list).count()
        };
        self.api
            .requests(|book| KINDS.map(|kind| lists(book, kind)))
    }

    /// Waits until so many watches are open.
    pub(super) async fn watching(&self, watches: usize) {
        let open = |book: &Requests| book.open_watches == watches;
        must("watches are open", self.api.wait_until(open)).await;
    }

    /// Waits until this many connections of the relay have completed the handshake.
    pub(super) async fn handshake_done(&self, connections: usize) {
        let handshake_done = |state: &State| {
            state
                .connection(connections)
                .is_some_and(|c| c.handshake_done())
        };
        must("a handshake", self.reducer.wait_until(handshake_done)).await;
    }

    /// Waits until the relay itself holds something.
    pub(super) async fn held(&self, is: impl Fn(&Reader) -> bool) {
        // The relay works in this very thread, whenever the test lets it.
        let held = async {
            while !is(&self.objects) {
                tokio::task::yield_now().await;
            }
        };
        must("the relay holds it", held).await;
    }

    /// While nobody reaches the API server, this happens there, and is forgotten as history.
    pub(super) async fn missed(&self, change: impl FnOnce(&SimApi)) {
        self.api.stop_listening().await;
        self.api.reset_connections();
        self.watching(0).await;
        change(&self.api);
        self.api.compact();
        self.api.start_listening().await.unwrap();
    }

    /// Ends the relay, and says what the reducer saw.
    pub(super) async fn end(self) -> State {
        self.end.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(5), self.relay);
        ended.await.expect("in time").unwrap().unwrap();
        let over = |state: &State| state.connections.iter().all(|c| c.end.is_some());
        must("the connections end", self.reducer.wait_until(over)).await;
        let state = self.reducer.shutdown().await;
        assert_eq!(state.violations().next(), None);
        state
    }
}

/// An API server of an empty cluster.
pub(super) async fn api() -> SimApi {
    SimApi::start(Options::small()).await.unwrap()
}

pub(super) async fn reducer() -> MockReducer {
    reducer_with(reducer::Options::default()).await
}

pub(super) async fn reducer_with(options: reducer::Options) -> MockReducer {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    MockReducer::bind(any, options).await.unwrap()
}

pub(super) fn here(port: u16) -> HostPort {
    HostPort {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

/// Writes it to a file.
pub(super) fn kubeconfig(dir: &TempDir, content: &Value) -> PathBuf {
    let path = dir.path().join("kubeconfig");
    write(&path, &content.to_string());
    path
}

pub(super) fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}
