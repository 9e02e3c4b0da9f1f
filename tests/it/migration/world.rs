//! A relay that learns of one cluster from a legacy watcher and from its native watches.

use std::time::Duration;

use k8s_relay::{
    admin::{
        api::{FeedDigest, Status},
        client::{CallError, Target, call},
    },
    app::{AppError, Relay},
    config::{
        AdminAddress, Config, Containers, Heartbeat, HostPort, MigrateConfig, Reannounce, Retry,
        Source,
    },
    migrate::{Command, Stage},
    net::BoundAddr,
    sim::{
        kube::{ExpectedState, Options, Owner, Pod, SimApi, Strictness, View},
        legacy_watcher,
        reducer::{self, MockReducer, State},
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::support::{PATIENCE, must};

/// What parity must hold for here, and what a divergence must stand for.
pub(super) const HOLD: Duration = Duration::from_millis(300);

pub(super) struct World {
    pub(super) api: SimApi,
    pub(super) reducer: MockReducer,
    config: Config,
    relay: Option<Running>,
    watcher: Option<AbortOnDropHandle<()>>,
    _dir: TempDir,
}

struct Running {
    target: Target,
    collect: String,
    end: CancellationToken,
    task: AbortOnDropHandle<Result<(), AppError>>,
}

impl World {
    /// A cluster of three pods, and a relay that starts in this stage. There is no watcher yet.
    pub(super) async fn new(source: Source) -> Self {
        Self::with(source, |_| ()).await
    }

    pub(super) async fn with(source: Source, set: impl FnOnce(&mut Config)) -> Self {
        let api = SimApi::start(Options::small()).await.unwrap();
        for name in ["a", "b", "c"] {
            api.apply(pod(name, "1"));
        }
        let options = reducer::Options::default();
        let reducer = MockReducer::bind(([127, 0, 0, 1], 0).into(), options);
        let reducer = reducer.await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config {
            source,
            admin_address: AdminAddress::Tcp(here(0)).into(),
            heartbeat: Heartbeat::Once,
            health_interval: Duration::from_secs(3600),
            reannounce: Reannounce::OnChange,
            migrate: MigrateConfig {
                settle: Duration::from_millis(100),
                parity_hold: HOLD,
                rollback_after: Duration::from_millis(100),
                ..MigrateConfig::default()
            },
            ..Config::between(here(0), here(reducer.addr().port()))
        };
        config.native.containers = Containers::Main;
        config.native.retry = Retry {
            first: Duration::from_millis(10),
            slowest: Duration::from_millis(50),
        };
        let kubeconfig = dir.path().join("kubeconfig");
        std::fs::write(&kubeconfig, api.kubeconfig().to_string()).unwrap();
        config.native.kubeconfig = Some(kubeconfig);
        set(&mut config);
        let mut world = Self {
            api,
            reducer,
            config,
            relay: None,
            watcher: None,
            _dir: dir,
        };
        world.start().await;
        world
    }

    /// Starts the relay, perhaps again.
    pub(super) async fn start(&mut self) {
        let relay = Relay::start(self.config.clone()).await.unwrap();
        let end = CancellationToken::new();
        let target = match relay.admin().unwrap() {
            BoundAddr::Tcp(address) => Target::Tcp(address.ip().to_string(), address.port()),
            BoundAddr::Unix(path) => Target::Unix(path.clone()),
        };
        self.relay = Some(Running {
            target,
            collect: relay.address().to_string(),
            task: AbortOnDropHandle::new(tokio::spawn(
                relay.run_until(end.clone().cancelled_owned()),
            )),
            end,
        });
    }

    /// Ends the relay in order.
    pub(super) async fn stop(&mut self) {
        let running = self.relay.take().unwrap();
        running.end.cancel();
        let ended = must("the relay ends", running.task).await;
        ended.unwrap().unwrap();
    }

    /// A legacy watcher is started, and has sent all there is; then something changes, by which it
    /// counts as listed (D4).
    pub(super) async fn watcher(&mut self) {
        let client = kube::Client::try_from(self.kube_config().await).unwrap();
        let relay = self.running().collect.clone();
        self.watcher = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            legacy_watcher::watch(client, &relay, Duration::from_millis(10), drop).await;
        })));
        let pods = self.api.expected_state(View::default()).pods.len() as u64;
        self.until("the watcher has sent all", |status| {
            status.legacy.as_ref().is_some_and(|feed| {
                feed.open && feed.last_event_seconds.is_some() && feed.live >= pods
            })
        })
        .await;
        let mut version = 0;
        // Its watch may begin after a change: then that was in its list.
        loop {
            version += 1;
            self.api.apply(pod("a", &format!("w{version}")));
            let status = self.status().await;
            if status.legacy.is_some_and(|feed| feed.listed) {
                return;
            }
        }
    }

    /// The legacy watcher is killed.
    pub(super) async fn watcher_dies(&mut self) {
        self.watcher = None;
        self.until("the stream is over", |status| {
            !status.legacy.as_ref().is_some_and(|feed| feed.open)
        })
        .await;
    }

    async fn kube_config(&self) -> kube::Config {
        let kubeconfig = serde_json::from_value(self.api.kubeconfig()).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .unwrap()
    }

    fn running(&self) -> &Running {
        self.relay.as_ref().unwrap()
    }

    pub(super) async fn status(&self) -> Status {
        let (_, status) = self.get("/statusz").await.unwrap();
        status
    }

    /// What each feed has live, the active one first.
    pub(super) async fn digests(&self) -> Vec<FeedDigest> {
        let (_, digests) = self.get("/digest").await.unwrap();
        digests
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<(bytes::Bytes, T), CallError> {
        call(&self.running().target, http::Method::GET, path, PATIENCE).await
    }

    /// Asks for a step.
    pub(super) async fn step(&self, command: Command) -> Result<(), String> {
        self.post(&format!("/migrate/{command}")).await
    }

    pub(super) async fn force(&self, command: Command) -> Result<(), String> {
        self.post(&format!("/migrate/{command}?force=true")).await
    }

    async fn post(&self, path: &str) -> Result<(), String> {
        let target = &self.running().target;
        let said = call::<Value>(target, http::Method::POST, path, PATIENCE).await;
        said.map(drop).map_err(|error| error.to_string())
    }

    /// Asks for a cutover until the gate is open.
    pub(super) async fn cut_over(&self) {
        must("a cutover", async {
            while self.step(Command::Cutover).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Asks how it stands until it stands so.
    pub(super) async fn until(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let status = self.status().await;
                if is(&status) {
                    return status;
                }
            }
        });
        match found.await {
            Ok(status) => status,
            Err(_) => panic!("{what}: {:#?}", self.status().await),
        }
    }

    pub(super) async fn stage(&self, stage: Stage) -> Status {
        self.until(stage.as_str(), |status| status.stage == stage)
            .await
    }

    /// What the reducer should know, from the cluster's own objects.
    pub(super) fn expected_state(&self) -> ExpectedState {
        self.api.expected_state(View {
            main_containers_only: true,
            ..View::default()
        })
    }

    /// Waits until the reducer has the expected state.
    pub(super) async fn known(&self) {
        let difference = |state: &State| match state.reducer_state() {
            Some(reducer_state) => self
                .expected_state()
                .difference(reducer_state, Strictness::Everything),
            None => Some("the reducer knows nothing".to_owned()),
        };
        let known = self.reducer.wait_until(|state| difference(state).is_none());
        if tokio::time::timeout(PATIENCE, known).await.is_err() {
            panic!("{:?}", self.reducer.with(difference));
        }
    }

    /// What was sent to the reducer so far, in so many messages.
    pub(super) fn sent(&self) -> usize {
        self.reducer.with(|state| state.log.len())
    }

    /// The names and uids of messages of pods since so many messages.
    pub(super) fn sent_since(&self, messages: usize) -> Vec<String> {
        self.reducer.with(|state| {
            let news = state.log.iter().skip(messages).map(|entry| &entry.message);
            let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
            news.filter_map(|message| {
                let name = text(message.get("msg"))?;
                let uid = text(message.get("uid")).unwrap_or_default();
                name.starts_with("pod_")
                    .then(|| format!("{name} {uid}").trim().to_owned())
            })
            .collect()
        })
    }

    /// Something changes, and the reducer comes to know it.
    pub(super) async fn goes_on(&self, version: &str) {
        self.api.apply(pod("b", version));
        self.known().await;
    }
}

/// A pod that needs no owner to be known, in this version.
pub(super) fn pod(name: &str, version: &str) -> Pod {
    Pod::new("shop", name, &format!("uid-{name}"))
        .address("10.0.0.1")
        .of(Owner::controller("DaemonSet", "web", "uid-web"))
        .container(
            "app",
            &format!("app:{version}"),
            &format!("containerd://{name}"),
        )
}

fn here(port: u16) -> HostPort {
    HostPort {
        host: "127.0.0.1".to_owned(),
        port,
    }
}
