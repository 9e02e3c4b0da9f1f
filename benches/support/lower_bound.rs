//! The lower bound: bare watchers of kube-rs for the kinds that the relay watches, decoding the same
//! thin types with the same allocator, that drop every event.
//!
//! It says in the manner of the relay where it listens: who connects there and sends a number
//! in a line gets an empty line back as soon as so many events were seen.

use std::{
    borrow::Cow,
    cell::RefCell,
    env, fmt,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use futures_util::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_relay::{
    model::{Interner, Kind, KindRow, KindTable, Seed},
    source::native::decode::{Decoding, Dropped, MetadataOnly, ObjectSeed, Pods, WatchedKind},
};
use kube::{
    Api, Client, Config, Resource,
    config::{KubeConfigOptions, Kubeconfig},
    core::ObjectMeta,
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed as _, Error as _},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader as AsyncBufReader},
    net::TcpListener,
    runtime,
    sync::Notify,
};
use tokio_rustls::rustls::crypto::ring;

use super::PATIENCE;

/// The argument that makes a bench the lower bound; the kubeconfig follows.
pub const MODE: &str = "lower-bound";

/// Watches indefinitely, if this process was started as the lower bound; otherwise does nothing.
pub fn watch_if_asked() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(MODE) {
        let kubeconfig = arguments.next().expect("a kubeconfig");
        let runtime = runtime::Builder::new_multi_thread().enable_all().build();
        runtime.unwrap().block_on(watch(&kubeconfig));
    }
}

/// Asks a lower bound.
pub struct Asking(BufReader<TcpStream>);

impl Asking {
    /// Connects.
    pub fn open(lower_bound: SocketAddr) -> Self {
        let stream = TcpStream::connect(lower_bound).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Waits until it has seen so many objects and ends of lists since its start.
    pub fn wait(&mut self, events: u64) {
        writeln!(self.0.get_mut(), "{events}").unwrap();
        let answer = self.0.read_line(&mut String::new()).unwrap_or(0);
        assert_ne!(
            answer, 0,
            "waited in vain for {events} events at the lower bound"
        );
    }
}

async fn watch(kubeconfig: &str) {
    let _ = ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let client = Client::try_from(config.unwrap()).unwrap();
    let seen = Arc::<Seen>::default();
    tokio::spawn(drop_all::<PodRow>(client.clone(), seen.clone()));
    tokio::spawn(drop_all::<ReplicaSetRow>(client.clone(), seen.clone()));
    tokio::spawn(drop_all::<JobRow>(client, seen.clone()));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    eprintln!(r#"{{"message":"listening","address":"{address}"}}"#);
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.split();
        let mut questions = AsyncBufReader::new(read).lines();
        while let Ok(Some(events)) = questions.next_line().await {
            seen.wait(events.parse().unwrap()).await;
            write.write_all(b"\n").await.unwrap();
        }
    }
}

/// The lists are streamed, as for the relay.
async fn drop_all<T: Row>(client: Client, seen: Arc<Seen>) {
    let api = Api::<Thing<T>>::all(client);
    let events = watcher(api, watcher::Config::default().streaming_lists()).default_backoff();
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {}
            Ok(Event::InitApply(_) | Event::InitDone | Event::Apply(_) | Event::Delete(_)) => {
                seen.count();
            }
            Err(error) => eprintln!("ERROR: {error}"),
        }
    }
}

#[derive(Default)]
struct Seen {
    events: AtomicU64,
    /// Somebody waits for this many.
    wanted: AtomicU64,
    reached: Notify,
}

impl Seen {
    fn count(&self) {
        if self.events.fetch_add(1, SeqCst) + 1 == self.wanted.load(SeqCst) {
            self.reached.notify_one();
        }
    }

    async fn wait(&self, events: u64) {
        self.wanted.store(events, SeqCst);
        while self.events.load(SeqCst) < events {
            self.reached.notified().await;
        }
    }
}

/// A kind that is watched, and how its objects are decoded.
trait Row: Send + 'static {
    const KIND: Kind;
    type Decoded: WatchedKind;
}

enum PodRow {}
enum ReplicaSetRow {}
enum JobRow {}

impl Row for PodRow {
    const KIND: Kind = Kind::POD;
    type Decoded = Pods;
}

impl Row for ReplicaSetRow {
    const KIND: Kind = Kind::REPLICA_SET;
    type Decoded = MetadataOnly;
}

impl Row for JobRow {
    const KIND: Kind = Kind::JOB;
    type Decoded = MetadataOnly;
}

/// A thin object, as kube-rs wants one.
struct Thing<T: Row> {
    object: <T::Decoded as WatchedKind>::Object,
    /// Only the version.
    meta: ObjectMeta,
}

thread_local! {
    /// Deserializing takes no argument.
    static SHARED: RefCell<(Interner, Dropped)> =
        RefCell::new((Interner::new(Seed::FIXED), Dropped::default()));
}

impl<'de, T: Row> Deserialize<'de> for Thing<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SHARED.with_borrow_mut(|(texts, dropped)| {
            let decoding = Decoding::default();
            let seed = ObjectSeed::<T::Decoded>::new(&decoding, texts, dropped);
            let decoded = seed.deserialize(deserializer)?;
            Ok(Self {
                object: decoded.object.map_err(D::Error::custom)?,
                meta: ObjectMeta {
                    resource_version: decoded.version.map(Cow::into_owned),
                    ..ObjectMeta::default()
                },
            })
        })
    }
}

impl<T: Row> Clone for Thing<T> {
    fn clone(&self) -> Self {
        Self {
            object: self.object.clone(),
            meta: self.meta.clone(),
        }
    }
}

fn row<T: Row>() -> KindRow {
    KindTable::default().row(T::KIND).clone()
}

impl<T: Row> fmt::Debug for Thing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thing").finish_non_exhaustive()
    }
}

impl<T: Row> Resource for Thing<T> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        row::<T>().kind
    }

    fn group((): &()) -> Cow<'_, str> {
        row::<T>().group
    }

    fn version((): &()) -> Cow<'_, str> {
        row::<T>().version
    }

    fn plural((): &()) -> Cow<'_, str> {
        row::<T>().resource
    }

    fn metadata_api() -> bool {
        T::KIND != Kind::POD
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
