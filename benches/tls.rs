//! What TLS costs on the way to the reducer: throughput and memory, next to plain text.
//!
//! One thread projects, compresses and sends pods as fast as the peer takes them; another one
//! reads and throws away. The rest of the relay is left out, so the ratio is the worst there is.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench reads the clock, and dies of what it does not expect"
)]

mod support;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use allocation_counter::measure;
use k8s_relay::{
    announce::Sink as _,
    model::{Pod, PodMeta, Uid},
    net::tls::{Authorities, ClientTls, Paths, Role},
    reducer::{Identity, Layer, Options, Reducer},
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use support::{
    ROUNDS,
    report::{Report, Row, Sample, Target},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// Pods of a round; about 20 MB on the wire.
const PODS: u64 = 400_000;

/// Pods between two flushes.
const BATCH: u64 = 200;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let acceptor = acceptor(folder.path());
    let (mut plain, mut tls) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(round(None, Layer::default()));
        let paths = Paths {
            identity: None,
            authorities: Authorities::File(folder.path().join("ca.pem")),
        };
        let role = Role {
            label: "bench",
            words: "of a bench",
        };
        let ours = runtime().block_on(ClientTls::load(role, paths, "reducer"));
        tls.push(round(Some(acceptor.clone()), Layer::tls(ours.unwrap())));
    }
    let rate = |rounds: &[Round]| {
        let rates = rounds
            .iter()
            .map(|round| PODS as f64 / round.time.as_secs_f64() / 1e3);
        Sample::new(rates)
    };
    let [ours, bare] = [&tls, &plain].map(|rounds| rate(rounds));
    let ratio = ours.median() / bare.median();
    let mut report = Report::new("tls");
    report.row(Row {
        figure: "pods over TLS to the reducer",
        target: Target::AtLeast(0.6, 2, " × plain text"),
        value: ratio,
        measured: format!("{ratio:.2} ×: {}", ours.show(0, "k pods/s")),
        reference: bare.show(0, "k pods/s"),
        cost: String::new(),
    });
    let memory = |rounds: &[Round]| Sample::new(rounds.iter().map(|round| round.memory / 1024.0));
    let [ours, bare] = [&tls, &plain].map(|rounds| memory(rounds));
    let more = ours.median() - bare.median();
    report.row(Row {
        figure: "memory of the connection at its most",
        target: Target::AtMost(1024.0, 0, " KiB more"),
        value: more,
        measured: format!("{more:.0} KiB more: {}", ours.show(0, "KiB")),
        reference: bare.show(0, "KiB"),
        cost: String::new(),
    });
    report.print();
}

/// What sending all pods took.
struct Round {
    time: Duration,
    /// Bytes allocated at most.
    memory: f64,
}

fn round(acceptor: Option<TlsAcceptor>, layer: Layer) -> Round {
    let (sender, receiver) = std::sync::mpsc::channel();
    let peer = thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let (tcp, _) = listener.accept().await.unwrap();
            match acceptor {
                None => discard(tcp).await,
                Some(acceptor) => discard(acceptor.accept(tcp).await.unwrap()).await,
            }
        })
    });
    let address: SocketAddr = receiver.recv().unwrap();
    let pods: Vec<PodMeta> = (0..BATCH).map(pod).collect();
    let ours = runtime();
    let mut time = Duration::ZERO;
    let memory = measure(|| time = ours.block_on(send(address, layer.clone(), &pods))).bytes_max;
    peer.join().unwrap();
    Round {
        time,
        memory: memory as f64,
    }
}

async fn send(address: SocketAddr, layer: Layer, pods: &[PodMeta]) -> Duration {
    let identity = Identity {
        hostname: b"bench".to_vec(),
        cpu_cores: 1,
        labels: Default::default(),
    };
    let mut reducer = Reducer::new(Options {
        layer,
        ..Options::new(address.ip().to_string(), address.port(), identity)
    })
    .unwrap();
    reducer.next().await;
    let begun = Instant::now();
    for _ in 0..PODS / BATCH {
        for pod in pods {
            reducer.outbox().pod_new_no_owner(pod);
        }
        reducer.flush(Instant::now());
        if reducer.progress().queued > 1 << 20 {
            reducer.outbox().ask_empty();
            reducer.next().await;
        }
    }
    assert_eq!(reducer.close(support::PATIENCE).await, 0);
    begun.elapsed()
}

/// Its texts compress as badly as uids do.
fn pod(n: u64) -> PodMeta {
    let noise = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let other = noise.rotate_left(29).wrapping_mul(noise);
    PodMeta::new(Pod {
        uid: Uid::new(&format!("{noise:016x}-{other:016x}")),
        name: format!("web-{noise:x}").as_str().into(),
        namespace: "default".into(),
        version: "1".into(),
        owner: None,
        address: Some([10, 0, 0, 1].into()),
        host_network: false,
        containers: [].into(),
        auxiliary: 0,
    })
}

async fn discard(mut from: impl AsyncRead + Unpin) {
    let mut buffer = vec![0; 64 << 10];
    while from.read(&mut buffer).await.unwrap() > 0 {}
}

fn acceptor(folder: &Path) -> TlsAcceptor {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["reducer".to_owned()]).unwrap();
    fs::write(folder.join("ca.pem"), cert.pem()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
