//! The surfaces: server and client on a thread each.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use k8s_relay::{
    enrich::{
        cluster::ClusterIdentity,
        index::Index,
        object::{Object, Timestamp},
        resource::{Metricset, Resource},
        service::{Objects, Service, StoreStatus},
        view::{Found, FoundContainer, ObjectView, Sync},
    },
    enrich_api::{Counters, Limits, serve},
    model::{Seed, Uid},
    net::{BoundAddr, Listener},
    proto::k8smeta::{EnrichRequest, metadata_enricher_client::MetadataEnricherClient},
};
use smallvec::SmallVec;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{
    support::{
        ROUNDS,
        report::{Report, Row, Sample, Target},
    },
    world::{self, NOW, PODS},
};

/// How long each round takes.
const ROUND: Duration = Duration::from_secs(2);
/// Events of a batch.
const BATCH: usize = 100;
/// Batches that are on their way.
const AHEAD: usize = 8;
/// Events that are asked for in a second while latency is measured.
const ASKED: u64 = 20_000;
/// Events of the watch in a second meanwhile.
const WATCHED: u64 = 5_000;

/// An index behind one lock: a store of a relay has more of them.
struct Shared {
    index: RwLock<Index>,
    changes: watch::Sender<u64>,
}

struct Locked<'a>(RwLockReadGuard<'a, Index>);

impl Objects for Shared {
    type View<'a> = Locked<'a>;

    fn view(&self) -> Locked<'_> {
        Locked(self.index.read().unwrap())
    }

    fn stores(&self) -> Vec<StoreStatus> {
        Vec::new()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl ObjectView for Locked<'_> {
    fn sync(&self, resource: Resource) -> Sync {
        self.0.at(NOW).sync(resource)
    }

    fn live(&self, resource: Resource, namespace: &str, name: &str) -> Option<Object> {
        self.0.at(NOW).live(resource, namespace, name)
    }

    fn buried(&self, resource: Resource, namespace: &str, name: &str) -> Option<Found> {
        self.0.at(NOW).buried(resource, namespace, name)
    }

    fn by_uid(&self, resource: Resource, uid: &Uid) -> Option<Found> {
        self.0.at(NOW).by_uid(resource, uid)
    }

    fn by_container(&self, id: &str) -> SmallVec<[FoundContainer; 1]> {
        self.0.at(NOW).by_container(id)
    }

    fn by_address(&self, address: IpAddr, at: Option<Timestamp>) -> SmallVec<[Found; 1]> {
        self.0.at(NOW).by_address(address, at)
    }
}

/// Measures streams of gRPC and of lines.
pub fn measure(report: &mut Report) {
    let objects = Shared {
        index: RwLock::new(world::index()),
        changes: watch::channel(0).0,
    };
    let (profiles, cluster) = (world::profiles(), ClusterIdentity::default());
    let service = Service::new(objects, profiles, cluster, Seed::FIXED, 256 << 20);
    let service = Arc::new(service);
    let server = runtime();
    let listener = server.block_on(Listener::tcp("127.0.0.1", 0)).unwrap();
    let Ok(BoundAddr::Tcp(address)) = listener.address() else {
        panic!("a port");
    };
    let stop = CancellationToken::new();
    let serving = server.spawn(serve(
        vec![listener],
        service.clone(),
        watch::channel(true).1,
        stop.clone(),
        Limits::default(),
        Arc::new(Counters::default()),
    ));

    let client = runtime();
    let events: Arc<[String]> = (0..PODS)
        .map(|pod| world::event(pod, Metricset::Pod))
        .collect();
    // Every document is in the cache from here on.
    client.block_on(grpc(address, events.clone(), ROUND));
    let rates = (0..ROUNDS).map(|_| client.block_on(grpc(address, events.clone(), ROUND)));
    row(
        report,
        "events/s over gRPC, in batches of 100",
        100.0,
        Sample::new(rates),
    );
    let rates = (0..ROUNDS).map(|_| client.block_on(lines(address, events.clone(), ROUND)));
    row(
        report,
        "events/s over HTTP, as lines",
        50.0,
        Sample::new(rates),
    );

    let is_over = AtomicBool::new(false);
    let waits = thread::scope(|scope| {
        scope.spawn(|| change(&service, &is_over));
        let waits = client.block_on(paced(address, events.clone(), 3 * ROUND));
        is_over.store(true, Relaxed);
        waits
    });
    report.row(Row {
        figure: "a batch's answer at 20 k events/s, p99, under 5 k watch events/s",
        target: Target::AtMost(10.0, 2, "ms"),
        value: waits.quantile(0.99),
        measured: waits.show(2, "ms"),
        reference: String::new(),
        cost: format!("{:.2} ms p99.9", waits.quantile(0.999)),
    });
    stop.cancel();
    server.block_on(serving).unwrap();
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

fn row(report: &mut Report, figure: &str, target: f64, rates: Sample) {
    let rates = rates.map(|rate| rate / 1e3);
    report.row(Row {
        figure,
        target: Target::AtLeast(target, 0, "k/s"),
        value: rates.max(),
        measured: rates.show(0, "k/s"),
        reference: String::new(),
        cost: String::new(),
    });
}

fn batch(seq: u64, events: &[String]) -> EnrichRequest {
    let from = seq as usize * BATCH % PODS;
    let events = events[from..from + BATCH].iter();
    EnrichRequest {
        seq,
        metricset: "pod".to_owned(),
        events: events.map(|event| event.clone().into()).collect(),
        ..EnrichRequest::default()
    }
}

async fn call(
    address: SocketAddr,
) -> (
    mpsc::Sender<EnrichRequest>,
    tonic::Streaming<k8s_relay::proto::k8smeta::EnrichResponse>,
) {
    let mut client = MetadataEnricherClient::connect(format!("http://{address}"))
        .await
        .unwrap();
    let (requests, sent) = mpsc::channel(AHEAD);
    let answers = client.enrich(ReceiverStream::new(sent)).await.unwrap();
    (requests, answers.into_inner())
}

/// Events that are answered in a second, if the client keeps some on their way.
async fn grpc(address: SocketAddr, events: Arc<[String]>, time: Duration) -> f64 {
    let (requests, mut answers) = call(address).await;
    let (begin, mut sent, mut answered) = (Instant::now(), 0, 0);
    for _ in 0..AHEAD {
        requests.send(batch(sent, &events)).await.unwrap();
        sent += 1;
    }
    while begin.elapsed() < time {
        let answer = answers.message().await.unwrap().unwrap();
        assert!(answer.items.iter().all(|item| item.state == 1));
        answered += answer.items.len();
        requests.send(batch(sent, &events)).await.unwrap();
        sent += 1;
    }
    answered as f64 / begin.elapsed().as_secs_f64()
}

/// The same over HTTP/1.1.
async fn lines(address: SocketAddr, events: Arc<[String]>, time: Duration) -> f64 {
    let socket = TcpStream::connect(address).await.unwrap();
    let (mut answer, mut request) = socket.into_split();
    let head = "POST /v1/enrich/pod HTTP/1.1\r\nhost: x\r\n\
        content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    request.write_all(head.as_bytes()).await.unwrap();
    let chunks: Vec<String> = events
        .chunks(BATCH)
        .map(|events| {
            let lines = events.join("\n");
            format!("{:x}\r\n{lines}\n\r\n", lines.len() + 1)
        })
        .collect();
    let begin = Instant::now();
    let sending = async {
        for chunk in chunks.iter().cycle() {
            if begin.elapsed() >= time || request.write_all(chunk.as_bytes()).await.is_err() {
                break;
            }
        }
        request.write_all(b"0\r\n\r\n").await.unwrap();
    };
    let reading = async {
        let (mut buffer, mut answered) = (vec![0; 256 << 10], 0);
        while begin.elapsed() < time {
            let read = answer.read(&mut buffer).await.unwrap();
            // No other text of an answer has it.
            answered += memchr::memmem::find_iter(&buffer[..read], b"\"state\"").count();
        }
        let rate = answered as f64 / begin.elapsed().as_secs_f64();
        while answer.read(&mut buffer).await.unwrap() > 0
            && !buffer.windows(5).any(|end| end == b"0\r\n\r\n")
        {}
        rate
    };
    tokio::join!(sending, reading).1
}

/// How long each batch takes in milliseconds, at a steady rate.
async fn paced(address: SocketAddr, events: Arc<[String]>, time: Duration) -> Sample {
    let (requests, mut answers) = call(address).await;
    let pause = Duration::from_secs(1) * BATCH as u32 / ASKED as u32;
    let begin = Instant::now();
    let due = |seq: u64| begin + pause * seq as u32;
    let batches = time.as_millis() as u64 / pause.as_millis() as u64;
    let sending = async {
        for seq in 0..batches {
            tokio::time::sleep_until(due(seq).into()).await;
            requests.send(batch(seq, &events)).await.unwrap();
        }
    };
    let reading = async {
        let mut waits = Vec::new();
        for _ in 0..batches {
            let answer = answers.message().await.unwrap().unwrap();
            // From when it should have been sent: a late one counts as slow.
            waits.push(due(answer.seq).elapsed().as_secs_f64() * 1e3);
        }
        waits
    };
    Sample::new(tokio::join!(sending, reading).1)
}

/// Changes pods as a watch would, at a steady rate.
fn change(service: &Service<Shared>, is_over: &AtomicBool) {
    let objects = service.objects();
    let begin = Instant::now();
    let mut changed = 0;
    while !is_over.load(Relaxed) {
        let due = begin.elapsed().as_millis() as u64 * WATCHED / 1000;
        while changed < due {
            let pod = world::pod(changed as usize * 7 % PODS, changed as usize);
            let object = Object::new(pod);
            objects.index.write().unwrap().apply(object, NOW);
            changed += 1;
        }
        objects.changes.send_modify(|number| *number += 1);
        thread::sleep(Duration::from_millis(1));
    }
}
