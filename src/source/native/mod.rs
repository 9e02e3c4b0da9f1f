//! Our own watches: one for each kind and scope, each a task of its own.
//!
//! Laws: a watch that fails, waits or is refused never delays another. Whoever is slow to
//! take what a watch tells holds back that watch, and by TCP the server; nothing is thrown
//! away and nothing grows. Nothing that a server does ends a watch for good.
//!
//! | part | what it is | pure |
//! |---|---|---|
//! | [`mod@connect`] | kubeconfig, service account, credentials, the way to the server | parts of it |
//! | [`machine`] | what one watch does next, and which events that makes | yes |
//! | [`ending`], [`frames`], [`resource`] | failures, lines, requests | yes |
//! | [`decode`] | JSON to pods and owners | yes |
//! | `watch`, `request`, `answer` | one watch: sends what the machine asks for, reads what comes | no |
//!
//! kube's own watcher is the reference for the events, and a test compares them. It is not
//! used because it hides what must be seen: bookmarks, the end mark of a streamed list,
//! an answer that ends without news, how large a line is. A layer below it that sees them
//! would have to decode every line a second time.
//!
//! Absent here: which feed is active, what is told, stores.

mod answer;
pub mod connect;
mod counters;
pub mod decode;
pub mod ending;
pub mod frames;
pub mod machine;
mod request;
pub mod resource;
mod watch;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use clap::ValueEnum;
pub use connect::{Access, ConnectError, Limits, Server, connect, end_plugins};
pub use counters::Counters;
use decode::{Decoding, Jobs, Pods, ReplicaSets, Thin};
use resource::Resource;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use watch::{Texts, Watch};

use crate::{
    model::{KindTable, Scope, Seed},
    source::WatchInput,
};

/// What is watched, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What is watched.
    pub kinds: KindTable,
    /// The namespaces, a scope each in this order; none: one scope with all of them.
    pub namespaces: Vec<String>,
    /// A label selector for pods.
    pub selector: Option<String>,
    /// How objects are listed.
    pub list: ListMode,
    /// Objects in a page of a list; at least 1.
    pub page_size: u32,
    /// What is asked of the objects.
    pub decoding: Decoding,
    /// All durations.
    pub patience: Patience,
    /// The largest page of a list that is read, in bytes.
    pub max_page: usize,
    /// What the hashes of tables depend on.
    pub seed: Seed,
}

/// How objects are listed before they are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListMode {
    /// As a stream if the server can, else in pages
    ///
    /// That a server cannot is learned once. A way that fails twice gives way to the other one.
    #[default]
    Auto,
    /// As a stream (WatchList)
    WatchList,
    /// In pages
    Pages,
}

/// How long is waited for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// To connect.
    pub connect: Duration,
    /// For the next word of the server. More than a list may take it (60 s), and more
    /// than [`Self::watch`].
    pub silence: Duration,
    /// How long a watch lasts, in whole seconds: the server ends it then.
    pub watch: Duration,
    /// How long a watch lasts that begins with a list, in whole seconds. The list must fit.
    pub streamed_list: Duration,
    /// From the last of the first events of a streamed list to its end mark, at most. In
    /// [`ListMode::Auto`] a page is asked for beside the list long before.
    pub end_mark: Duration,
    /// After so long an open watch works, although it has told nothing.
    pub steady: Duration,
    /// Before the first attempt after a failure, at least.
    pub first_retry: Duration,
    /// Between two attempts, at most; between two lists without an event between, at least.
    pub slowest_retry: Duration,
    /// As long as a server may ask us to wait.
    pub retry_after: Duration,
}

/// Why the watches have ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NativeError {
    /// There is no way to the API server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A watch has ended by itself.
    #[error("a watch of the API server has ended unexpectedly")]
    WatchEnded,
}

/// Watches until `stop`, telling `inputs` what is seen. Each watch tells its health when it is
/// known first and at each change.
///
/// # Errors
/// A watch has panicked. Ends without an error also when nobody listens to `inputs` any more.
pub async fn watch(
    server: Server,
    options: Options,
    inputs: mpsc::Sender<WatchInput>,
    stop: CancellationToken,
    counters: Arc<Counters>,
) -> Result<(), NativeError> {
    let mut watches = Watches {
        tasks: JoinSet::new(),
        shared: watch::Shared {
            server,
            inputs,
            counters,
            streams: Arc::default(),
            options: Arc::new(options),
        },
        stop,
    };
    let seed = watches.shared.options.seed;
    let [pods, replica_sets, jobs] = [(); 3].map(|()| Texts::new(seed));
    for (scope, namespace) in watches.shared.options.scopes() {
        watches.start::<Pods>(scope, namespace.clone(), &pods);
        watches.start::<ReplicaSets>(scope, namespace.clone(), &replica_sets);
        watches.start::<Jobs>(scope, namespace, &jobs);
    }
    let mut tasks = watches.tasks;
    let server = watches.shared.server.clone();
    // The driver waits for the last sender to go.
    drop(watches.shared);
    let mut ended = Ok(());
    while let Some(one) = tasks.join_next().await {
        ended = ended.and(one.map_err(|_| NativeError::WatchEnded));
        if ended.is_err() {
            break;
        }
    }
    server.close().await;
    ended
}

impl Options {
    /// The scopes, with the namespace of each; `None` is all of them.
    pub fn scopes(&self) -> Vec<(Scope, Option<String>)> {
        match self.namespaces.as_slice() {
            [] => vec![(Scope(0), None)],
            some => (0..=u16::MAX)
                .map(Scope)
                .zip(some.iter().cloned().map(Some))
                .collect(),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kinds: KindTable::default(),
            namespaces: Vec::new(),
            selector: None,
            list: ListMode::default(),
            page_size: 500,
            decoding: Decoding::default(),
            patience: Patience::default(),
            max_page: 64 << 20,
            seed: Seed::default(),
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(65),
            watch: Duration::from_secs(60),
            streamed_list: Duration::from_secs(300),
            end_mark: Duration::from_secs(10),
            steady: Duration::from_secs(5),
            first_retry: Duration::from_millis(800),
            slowest_retry: Duration::from_secs(30),
            retry_after: Duration::from_secs(300),
        }
    }
}

struct Watches {
    tasks: JoinSet<()>,
    shared: watch::Shared,
    stop: CancellationToken,
}

impl Watches {
    fn start<K: Thin>(&mut self, scope: Scope, namespace: Option<String>, texts: &Texts) {
        let resource = Resource {
            kind: K::KIND,
            row: self.shared.options.kinds.row(K::KIND).clone(),
            namespace,
            selector: self.shared.options.selector.clone(),
        };
        let watch = Watch::<K>::new(resource, scope, self.shared.clone(), texts.clone());
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            // Whatever the watch waits for, it may be dropped there.
            let _ = stop.run_until_cancelled_owned(watch.run()).await;
        });
    }
}

/// Whether the server streams lists, as far as its watches have learned it.
#[derive(Debug, Default)]
struct Streams(AtomicU8);

impl Streams {
    fn known(&self) -> Option<bool> {
        match self.0.load(Relaxed) {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        }
    }

    fn learn(&self, streams: bool) {
        self.0.store(if streams { 2 } else { 1 }, Relaxed);
    }
}
