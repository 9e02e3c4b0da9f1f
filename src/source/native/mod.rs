//! The native watches: one for each kind and scope, each a task of its own.
//!
//! Invariants: a watch that fails, waits or is refused never delays another, but that first lists
//! are taken in turns, two at a time, not counting those on which nothing happens. A reader that is slow to take what a watch sends holds back
//! that watch, and by TCP the server; nothing is thrown away and nothing grows. Nothing that a
//! server does ends a watch for good.
//!
//! | part | what it is | pure |
//! |---|---|---|
//! | [`mod@connect`] | kubeconfig, service account, credentials, the way to the server | parts of it |
//! | [`machine`] | what one watch does next, and which events that makes | yes |
//! | [`error`], [`lines`], [`resource`] | failures, lines, requests | yes |
//! | [`decode`] | JSON to pods and owners | yes |
//! | [`Unmatched`] | what is known of the kinds that the matcher does not use | yes |
//! | `watch`, `outlet`, `turns`, `request`, `answer` | one watch: sends what the machine asks for, reads what comes | no |
//!
//! kube's own watcher is the reference for the events, and a test compares them. It is not
//! used because it hides what must be seen: bookmarks, the end mark of a streamed list,
//! an answer that ends without news, how large a line is. A layer below it that sees them
//! would have to decode every line a second time.
//!
//! What is watched is the table of kinds. What the watches of a kind that the matcher uses see goes
//! to the loop, all else into the store of its kind.
//!
//! Absent here: which feed is active, what is announced, the stores of feeds.

pub mod connect;
mod counters;
pub mod decode;
pub mod error;
pub mod lines;
pub mod machine;
mod outlet;
mod request;
pub mod resource;
mod response;
mod sink;
mod station;
mod turns;
mod unmatched;
mod watch;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use clap::ValueEnum;
pub use connect::{
    Access, ConnectError, Limits, NoAnswer, Server, check, connect, end_plugins, named_cluster,
};
pub use counters::Counters;
use decode::{Decoding, MetadataOnly, Paired, Pods, WatchedKind};
use outlet::{Both, Outlet, To};
use resource::Resource;
pub use sink::Sink;
pub use station::Station;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
pub use unmatched::Unmatched;
use watch::{Texts, Watch};

use crate::{
    model::{Form, Kind, KindRow, KindTable, PerKind, Scope, Seed},
    source::{FeedEvent, WatchMessage},
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
    pub timeouts: Timeouts,
    /// First lists that are under way at once; at least 1.
    pub first_lists: usize,
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
pub struct Timeouts {
    /// To connect.
    pub connect: Duration,
    /// For the next word of the server. More than a list may take it (60 s), and more
    /// than [`Self::watch`].
    pub silence: Duration,
    /// How long a watch lasts, in whole seconds: the server ends it then.
    pub watch: Duration,
    /// How long a watch lasts that begins with a list, in whole seconds. The list must fit.
    pub streamed_list: Duration,
    /// After so long without a word of the server a first list gives its turn to the next one.
    pub turn: Duration,
    /// From the last of the first events of a streamed list to its end mark, at most. In
    /// [`ListMode::Auto`] a page is requested alongside the list long before.
    pub end_mark: Duration,
    /// After so long an open watch counts as healthy, although it has sent nothing.
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

/// Watches until `stop`. What is seen of the kinds that the matcher uses is sent to `inputs`, and
/// the health of their watches when it is known first and at each change; all else is noted in
/// `unmatched`, which was made of these options.
///
/// # Errors
/// A watch has panicked. Ends without an error also when nobody listens to `inputs` any more.
pub async fn watch(
    server: Server,
    options: Options,
    inputs: mpsc::Sender<WatchMessage>,
    unmatched: Arc<Unmatched>,
    stop: CancellationToken,
    counters: Arc<Counters>,
) -> Result<(), NativeError> {
    watch_shared(
        server,
        options,
        inputs,
        (unmatched, Sinks::default()),
        stop,
        counters,
    )
    .await
}

/// The sinks of the kinds whose watches serve enrichment, too: it has what they see before the
/// loop has it.
pub type Sinks = BTreeMap<Kind, Arc<dyn Sink>>;

/// The same, and of these kinds that the matcher uses enrichment sees everything, too.
///
/// # Errors
/// As [`watch()`].
pub async fn watch_shared(
    server: Server,
    options: Options,
    inputs: mpsc::Sender<WatchMessage>,
    (unmatched, sinks): (Arc<Unmatched>, Sinks),
    stop: CancellationToken,
    counters: Arc<Counters>,
) -> Result<(), NativeError> {
    let first_lists = options.first_lists.clamp(1, Semaphore::MAX_PERMITS);
    let mut watches = Watches {
        tasks: JoinSet::new(),
        shared: watch::Shared {
            server,
            inputs,
            unmatched,
            turns: Arc::new(Semaphore::new(first_lists)),
            counters,
            streams: Arc::default(),
            options: Arc::new(options),
        },
        stop,
        sinks,
    };
    watches.shared.unmatched.begin();
    let options = Arc::clone(&watches.shared.options);
    let texts = PerKind::all(&options.kinds, |_, _| Texts::new(options.seed));
    for (resource, scope) in options.resources() {
        if let Some(texts) = texts.get(resource.kind) {
            watches.start(resource, scope, texts);
        }
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
    /// What each watch is of. The kinds that the matcher uses come first, scope by scope: first
    /// lists are taken in this order.
    fn resources(&self) -> Vec<(Resource, Scope)> {
        let mut all = Vec::new();
        for (kind, row) in self.kinds.iter() {
            let scopes = self.scopes_of(row).into_iter();
            all.extend(scopes.map(|(scope, namespace)| {
                let resource = Resource {
                    kind,
                    row: row.clone(),
                    namespace,
                    selector: self.selector.clone(),
                    fields: None,
                };
                (resource, scope)
            }));
        }
        all.sort_by_key(|(resource, scope)| (!resource.row.matched, *scope, resource.kind));
        all
    }

    /// The scopes of a kind, with the namespace of each; `None` is all of them.
    pub fn scopes_of(&self, row: &KindRow) -> Vec<(Scope, Option<String>)> {
        match row.namespaced {
            true => self.scopes(),
            false => vec![(Scope(0), None)],
        }
    }

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
            timeouts: Timeouts::default(),
            first_lists: 2,
            max_page: 64 << 20,
            seed: Seed::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(65),
            watch: Duration::from_secs(60),
            streamed_list: Duration::from_secs(300),
            turn: Duration::from_secs(3),
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
    sinks: Sinks,
}

impl Watches {
    fn start(&mut self, resource: Resource, scope: Scope, texts: &Texts) {
        let sink = self.sinks.get(&resource.kind).cloned();
        match (resource.kind, sink) {
            (Kind::POD, Some(sink)) => {
                let both = |event| Both::split(event, FeedEvent::Pod);
                return self.run::<Paired<Pods>>(resource, scope, texts, To::Sink(both, sink));
            }
            (Kind::REPLICA_SET, Some(sink)) => {
                let both = |event| Both::split(event, FeedEvent::ReplicaSet);
                return self.run::<Paired<MetadataOnly>>(
                    resource,
                    scope,
                    texts,
                    To::Sink(both, sink),
                );
            }
            (Kind::JOB, Some(sink)) => {
                let both = |event| Both::split(event, FeedEvent::Job);
                return self.run::<Paired<MetadataOnly>>(
                    resource,
                    scope,
                    texts,
                    To::Sink(both, sink),
                );
            }
            (_, Some(_) | None) => {}
        }
        match resource.row.form {
            Form::Pod => self.run::<Pods>(resource, scope, texts, To::Loop(FeedEvent::Pod)),
            Form::Metadata | Form::Full => {
                let to = match resource.kind {
                    Kind::REPLICA_SET => To::Loop(FeedEvent::ReplicaSet),
                    Kind::JOB => To::Loop(FeedEvent::Job),
                    kind => match self.shared.unmatched.kept(kind) {
                        Some(kept) => To::Store(Arc::clone(kept)),
                        // Nobody could read what it sees.
                        None => return,
                    },
                };
                self.run::<MetadataOnly>(resource, scope, texts, to);
            }
        }
    }

    fn run<K: WatchedKind>(
        &mut self,
        resource: Resource,
        scope: Scope,
        texts: &Texts,
        to: To<K::Object>,
    ) {
        // Of the others each finds out when it has something to send.
        let never_sends = matches!(to, To::Store(_));
        let mut outlet = Outlet::new(resource.kind, scope, to);
        if resource.row.matched {
            outlet = outlet.matched();
        }
        let watch = Watch::<K>::new(resource, outlet, self.shared.clone(), texts.clone());
        let (stop, inputs) = (self.stop.clone(), self.shared.inputs.clone());
        self.tasks.spawn(async move {
            // Whatever the watch waits for, it may be dropped there.
            tokio::select! {
                _ = stop.run_until_cancelled_owned(watch.run()) => {}
                () = inputs.closed(), if never_sends => {}
            }
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
