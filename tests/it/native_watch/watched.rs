//! The watches of a scripted API server, and what they report of pods.

use std::{
    collections::VecDeque,
    fs,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use k8s_relay::{
    logging::SILENCED,
    model::Kind,
    source::{
        FeedEvent, WatchFailure, WatchHealth, WatchMessage,
        native::{self, Access, Counters, Limits, ListMode, NativeError, Options, Unmatched},
    },
};
use kube::runtime::watcher::Event;
use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{level_filters::LevelFilter, subscriber::DefaultGuard};
use tracing_subscriber::{Layer as _, filter::Targets, layer::SubscriberExt as _};

use crate::support::api::{Api, Stream};

pub const SECOND: Duration = Duration::from_secs(1);

/// Longer than anything that is waited for.
const LONG: Duration = Duration::from_secs(3600);

/// Inputs that wait for their test.
pub const ROOM: usize = 64;

pub struct Watched {
    pub api: Api,
    pub inputs: mpsc::Receiver<WatchMessage>,
    /// Of pods, not asked for yet.
    sent: VecDeque<String>,
    /// What the watch of pods said of its health last.
    pub health: Option<(WatchHealth, Instant, Option<WatchFailure>)>,
    pub stop: CancellationToken,
    pub counters: Arc<Counters>,
    pub task: AbortOnDropHandle<Result<(), NativeError>>,
    log: Log,
    _logging: DefaultGuard,
    _dir: TempDir,
}

impl Watched {
    pub async fn start(list: ListMode) -> Self {
        let options = Options {
            list,
            ..Options::default()
        };
        Self::with(Api::start().await, options, "").await
    }

    /// `user`: lines of the kubeconfig's user. Most tests answer nobody but the watch of pods:
    /// it shall not wait for others that list first.
    pub async fn with(api: Api, options: Options, user: &str) -> Self {
        let first_lists = 64;
        Self::in_turns(
            api,
            Options {
                first_lists,
                ..options
            },
            user,
        )
        .await
    }

    /// The same, with as many first lists at once as the options say.
    pub async fn in_turns(api: Api, options: Options, user: &str) -> Self {
        let (log, logging) = Log::start();
        let dir = tempfile::tempdir().unwrap();
        let access = kubeconfig(&dir, &format!("http://{}", api.address), user);
        let server = native::connect(&access, Limits::default()).await.unwrap();
        let (sender, inputs) = mpsc::channel(ROOM);
        let stop = CancellationToken::new();
        let counters = Arc::new(Counters::default());
        let unmatched = Arc::new(Unmatched::of(&options));
        let (stopped, counted) = (stop.clone(), counters.clone());
        let watch = native::watch(server, options, sender, unmatched, stopped, counted);
        Self {
            api,
            inputs,
            sent: VecDeque::new(),
            health: None,
            stop,
            counters,
            task: AbortOnDropHandle::new(tokio::spawn(watch)),
            log,
            _logging: logging,
            _dir: dir,
        }
    }

    /// Has listed `a` at version 5 and opened the watch there.
    pub async fn following() -> (Self, Stream) {
        use crate::support::api::object;
        let mut watched = Self::start(ListMode::Pages).await;
        let call = watched.api.asked("page 500").await;
        call.page(&[object("a", "3")], "5", None).await;
        assert_eq!(watched.until("healthy").await, "init +a done healthy");
        let stream = watched.api.asked("watch 5").await.stream().await;
        (watched, stream)
    }

    /// The watch of pods is asked for again from this version; the probe before it, if there is
    /// one, finds nothing. Gives when the first of both came, too.
    pub async fn reopened(&mut self, version: &str) -> (tokio::time::Instant, Stream) {
        let mut call = self.api.pods().await;
        let at = call.at;
        if call.ask() == "version" {
            call.version(version).await;
            call = self.api.pods().await;
        }
        assert_eq!(call.ask(), format!("watch {version}"));
        (at, call.stream().await)
    }

    /// What is sent of pods, up to and with this.
    pub async fn until(&mut self, last: &str) -> String {
        let mut sent = Vec::new();
        loop {
            while let Some(one) = self.sent.pop_front() {
                sent.push(one);
                if sent.last().is_some_and(|one| one == last) {
                    return sent.join(" ");
                }
            }
            let input = timeout(LONG, self.inputs.recv()).await;
            let input = input.unwrap_or_else(|_| panic!("no `{last}` after {sent:?}"));
            self.take(input.expect("the watches have ended"));
        }
    }

    /// What was sent of pods and is not asked for yet.
    pub fn rest(&mut self) -> String {
        while let Ok(input) = self.inputs.try_recv() {
            self.take(input);
        }
        Vec::from(std::mem::take(&mut self.sent)).join(" ")
    }

    /// Ends the watches.
    pub async fn end(self) {
        self.stop.cancel();
        drop(self.inputs);
        self.task.await.unwrap().unwrap();
    }

    fn take(&mut self, input: WatchMessage) {
        match input {
            WatchMessage::Batch { events, .. } => {
                assert!((1..=256).contains(&events.len()), "{}", events.len());
                self.sent.extend(events.into_iter().filter_map(text));
            }
            WatchMessage::Health {
                kind: Kind::POD,
                health,
                since,
                last_failure,
                ..
            } => {
                let before = self.health.replace((health, since, last_failure));
                if before.is_none_or(|(before, ..)| before != health) {
                    self.sent.push_back(format!("{health:?}").to_lowercase());
                }
            }
            WatchMessage::Health { .. } => {}
        }
    }

    /// The lines logged since this was asked the last time, but those about other kinds.
    pub fn logged(&self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.log.0.lock().unwrap());
        let lines = String::from_utf8(lines).unwrap();
        let others = ["kind=\"replicasets\"", "kind=\"jobs\""];
        lines
            .lines()
            .filter(|line| !others.iter().any(|other| line.contains(other)))
            .map(str::trim)
            .map(str::to_owned)
            .collect()
    }
}

/// Writes a kubeconfig for this server.
pub fn kubeconfig(dir: &TempDir, server: &str, user: &str) -> Access {
    let path = dir.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters:\n- name: here\n  cluster:\n    server: {server}\n\
         contexts:\n- name: here\n  context: {{cluster: here, user: me}}\n\
         users:\n- name: me\n  user:\n    {}\n",
        if user.is_empty() { "{}" } else { user }
    );
    fs::write(&path, text).unwrap();
    access(path)
}

pub fn access(path: PathBuf) -> Access {
    Access {
        kubeconfig: Some(path),
        context: None,
    }
}

fn text(event: FeedEvent) -> Option<String> {
    let event = match event {
        FeedEvent::Pod(event) => event,
        FeedEvent::Seen(Kind::POD, uid) => return Some(format!("seen-{uid}")),
        FeedEvent::ReplicaSet(_) | FeedEvent::Job(_) | FeedEvent::Seen(..) | FeedEvent::Listed => {
            return None;
        }
    };
    Some(match event {
        Event::Init => "init".to_owned(),
        Event::InitApply(pod) => format!("+{}", &*pod.name),
        Event::InitDone => "done".to_owned(),
        Event::Apply(pod) => format!("apply-{}", &*pod.name),
        Event::Delete(pod) => format!("delete-{}", &*pod.name),
    })
}

/// The log of this thread at level info and above, as the relay's filter lets it through.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone());
        let filter = Targets::new()
            .with_default(LevelFilter::INFO)
            .with_target(SILENCED, LevelFilter::OFF);
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
        (log, tracing::subscriber::set_default(subscriber))
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
