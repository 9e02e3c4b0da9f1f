//! The connection to the reducer over TLS: the same bytes, the same end, and why there is none.

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use k8s_relay::{
    announce::Sink as _,
    net::tls::{Authorities, ClientTls, Paths, Role},
    reducer::{Layer, Options, Reducer, ReducerEvent},
    wire::Reader,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use crate::support::{
    certs::{Authority, Pair, Secret},
    reducer::{Peer, during, listen, next, send_pods, soon},
};

const NAME: &str = "reducer.example";

/// TLS towards a reducer of that name.
async fn tls(secret: &Secret, shows_certificate: bool) -> ClientTls {
    let paths = Paths {
        identity: shows_certificate.then(|| (secret.certificate(), secret.key())),
        authorities: Authorities::File(secret.authority()),
    };
    let role = Role {
        label: "reducer",
        words: "to the reducer",
    };
    ClientTls::load(role, paths, NAME).await.unwrap()
}

struct World {
    authority: Authority,
    listener: TcpListener,
    reducer: Reducer,
    events: Vec<ReducerEvent>,
}

impl World {
    /// A relay that shows a certificate, or does not.
    async fn new(shows_certificate: bool, set: impl FnOnce(&mut Options)) -> Self {
        let authority = Authority::new();
        let secret = Secret::new(&authority, &authority.pair("relay"));
        let (listener, mut options) = listen().await;
        options.layer = Layer::tls(tls(&secret, shows_certificate).await);
        set(&mut options);
        Self {
            authority,
            listener,
            reducer: Reducer::new(options).unwrap(),
            events: Vec::new(),
        }
    }

    fn server(&self, clients: Option<&Authority>) -> ServerConfig {
        Authority::server(&self.authority.pair(NAME), clients)
    }

    /// The far end of a connection, with its handshake made.
    async fn accept(&mut self, config: ServerConfig) -> Peer<TlsStream<TcpStream>> {
        let accept = async {
            let (tcp, _) = soon(self.listener.accept()).await.unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            Peer::over(soon(acceptor.accept(tcp)).await.unwrap())
        };
        during(&mut self.reducer, &mut self.events, accept).await
    }
}

#[tokio::test]
async fn all_arrives_over_tls_and_both_say_goodbye() {
    const PODS: u64 = 20_000;
    for mutual in [false, true] {
        let mut world = World::new(mutual, |_| ()).await;
        let config = world.server(mutual.then_some(&world.authority));
        let mut peer = world.accept(config).await;
        let shown = peer.stream.get_ref().1.peer_certificates();
        assert_eq!(shown.map_or(0, <[_]>::len), usize::from(mutual));
        during(&mut world.reducer, &mut world.events, peer.handshake_done()).await;
        assert!(matches!(world.events.as_slice(), [ReducerEvent::Connected]));
        send_pods(&mut world.reducer, PODS);
        let close = world.reducer.close(Duration::from_secs(20));
        // Fails at an end without the last word of TLS: somebody may have cut it short.
        let ((names, end), unsent) = soon(async { tokio::join!(peer.rest(), close) }).await;
        assert_eq!((names.len() as u64, end), (PODS, Ok(())));
        assert_eq!((unsent, world.reducer.counters().unflushed_ends), (0, 0));
    }
}

#[tokio::test]
async fn tickets_and_new_keys_that_nobody_asked_for_do_not_turn_the_end_into_a_reset() {
    let mut world = World::new(false, |_| ()).await;
    let mut config = world.server(None);
    config.send_tls13_tickets = 4;
    let mut peer = world.accept(config).await;
    during(&mut world.reducer, &mut world.events, peer.handshake_done()).await;
    for _ in 0..4 {
        peer.stream.get_mut().1.refresh_traffic_keys().unwrap();
    }
    // What stays unread at a close is what makes the reset.
    let say = async { peer.stream.write_all(&[7; 100_000]).await.unwrap() };
    during(&mut world.reducer, &mut world.events, say).await;
    send_pods(&mut world.reducer, 100);
    let close = world.reducer.close(Duration::from_secs(20));
    let ((names, end), unsent) = soon(async { tokio::join!(peer.rest(), close) }).await;
    assert_eq!((names.len(), end, unsent), (100, Ok(()), 0));
    // After a reset this would be an error.
    let mut more = [0];
    assert_eq!(peer.stream.get_mut().0.read(&mut more).await.unwrap(), 0);
}

#[tokio::test]
async fn a_peer_that_takes_nothing_gets_fin_and_what_tls_still_held_is_counted() {
    let mut world = World::new(false, |_| ()).await;
    let config = world.server(None);
    let mut peer = world.accept(config).await;
    // More than the kernel and TLS take for a peer that does not read.
    send_pods(&mut world.reducer, 120_000);
    let progress = world.reducer.progress();
    let all = usize::try_from(progress.sent).unwrap() + world.reducer.outbox().queued();
    let unsent = soon(world.reducer.close(Duration::from_millis(50))).await;
    assert_eq!(world.reducer.counters().unflushed_ends, 1);
    let mut read = Vec::new();
    let end = soon(peer.stream.read_to_end(&mut read)).await.unwrap_err();
    assert_eq!(
        end.kind(),
        io::ErrorKind::UnexpectedEof,
        "FIN, no reset: {end}"
    );
    assert!(read.len() > 100_000, "{}", read.len());
    assert!(
        read.len() + unsent >= all,
        "{} arrived, {unsent} did not, of {all}",
        read.len()
    );
    assert!(read.len() + unsent < all + (1 << 20), "{unsent} of {all}");
}

#[tokio::test]
async fn a_reducer_that_ends_without_its_last_word_has_closed_the_connection() {
    let mut world = World::new(false, |_| ()).await;
    let config = world.server(None);
    let mut peer = world.accept(config).await;
    during(&mut world.reducer, &mut world.events, peer.handshake_done()).await;
    peer.stream.get_mut().0.shutdown().await.unwrap();
    let event = next(&mut world.reducer).await;
    assert!(
        matches!(&event, ReducerEvent::Disconnected { reason } if reason.label() == "closed"),
        "{event:?}"
    );
}

/// What a peer does instead of what it should.
enum Far {
    Tls(Arc<ServerConfig>),
    Says(&'static [u8]),
    /// It accepts, and waits.
    Silent,
    /// It accepts, reads the first bytes, and closes.
    Closes,
}

/// What is said of a connection to it.
async fn failure(shows_certificate: bool, far: impl FnOnce(&Authority) -> Far) -> String {
    let shorten = |options: &mut Options| {
        options.tcp.connect_timeout = Duration::from_millis(500);
        options.times.backoff_min = Duration::from_secs(600);
        options.times.backoff_max = Duration::from_secs(600);
    };
    let mut world = World::new(shows_certificate, shorten).await;
    let far = far(&world.authority);
    let listener = &world.listener;
    let peer = async {
        let (mut tcp, _) = soon(listener.accept()).await.unwrap();
        let mut bytes = [0; 4096];
        match far {
            Far::Tls(config) => {
                let accepted = TlsAcceptor::from(config).accept(tcp).await;
                if let Ok(mut stream) = accepted {
                    let _ = stream.read(&mut bytes).await;
                }
            }
            Far::Says(words) => {
                let _ = tcp.read(&mut bytes).await;
                tcp.write_all(words).await.unwrap();
                let _ = tcp.read_to_end(&mut Vec::new()).await;
            }
            Far::Silent => drop(tcp.read_to_end(&mut Vec::new()).await),
            Far::Closes => drop(tcp.read(&mut bytes).await),
        }
    };
    let reducer = &mut world.reducer;
    let (mut peer, mut is_over) = (pin!(peer), false);
    let failed = poll_fn(|cx| {
        if !is_over {
            is_over = peer.as_mut().poll(cx).is_ready();
        }
        while pin!(reducer.next()).poll(cx).is_ready() {}
        match reducer.connection().last_failure {
            Some(_) => Poll::Ready(()),
            None => Poll::Pending,
        }
    });
    soon(failed).await;
    let failure = world.reducer.connection().last_failure.unwrap();
    assert!(["tls", "broken"].contains(&failure.reason), "{failure:?}");
    assert!(!failure.text.contains('\n'), "{failure:?}");
    failure.text
}

#[tokio::test]
async fn why_there_is_no_tls_with_the_reducer_is_said_in_one_line() {
    let of = |name: &'static str, from, until| {
        move |by: &Authority| {
            Far::Tls(Authority::server(&by.pair_of(name, from, until), None).into())
        }
    };
    let (stranger, namesake) = (Authority::named("a stranger"), Authority::new());
    let alike = |_: &Authority| Far::Tls(Authority::server(&namesake.pair(NAME), None).into());
    let strange = |_: &Authority| Far::Tls(Authority::server(&stranger.pair(NAME), None).into());
    let asking = |by: &Authority| Far::Tls(Authority::server(&by.pair(NAME), Some(by)).into());
    let doubting =
        |by: &Authority| Far::Tls(Authority::server(&by.pair(NAME), Some(&stranger)).into());
    let http = |_: &Authority| Far::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    for (said, clue) in [
        (
            failure(false, of(NAME, 2020, 2022)).await,
            "its certificate expired on 2022-01-01",
        ),
        (
            failure(false, of(NAME, 2038, 2039)).await,
            "not valid before 2038-01-01",
        ),
        (
            failure(false, of("other.example", 2020, 2040)).await,
            "not for reducer.example, but for other.example",
        ),
        (
            failure(false, strange).await,
            "an authority that is not trusted here",
        ),
        (failure(false, alike).await, "has the name of one that is"),
        (
            failure(false, asking).await,
            "asks for a certificate, and there is none to show",
        ),
        (
            failure(true, doubting).await,
            "does not accept our certificate",
        ),
        (
            failure(false, http).await,
            "answers something that is not TLS",
        ),
        (
            failure(false, |_| Far::Silent).await,
            "does not answer the TLS handshake in time",
        ),
        (failure(false, |_| Far::Closes).await, "Does it speak TLS?"),
    ] {
        assert!(said.contains(clue), "{clue}: {said}");
    }
}

#[tokio::test]
async fn nothing_of_the_protocol_is_said_before_the_handshake() {
    let mut world = World::new(false, |_| ()).await;
    let listener = &world.listener;
    let first = async {
        let (mut tcp, _) = soon(listener.accept()).await.unwrap();
        let mut bytes = vec![0; 4096];
        let len = soon(tcp.read(&mut bytes)).await.unwrap();
        bytes.truncate(len);
        bytes
    };
    let bytes = during(&mut world.reducer, &mut world.events, first).await;
    // A record of a handshake, and no frame.
    assert_eq!(bytes[..2], [0x16, 3]);
    let mut reader = Reader::new();
    reader.push(&bytes);
    assert!(reader.next_message().is_err());
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_taken_if_it_is_that_one() {
    let mut params = rcgen::CertificateParams::new([NAME.to_owned()]).unwrap();
    // As `openssl req -x509` makes it.
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let own = Pair {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    };
    let authority = Authority::new();
    let mut secret = Secret::new(&authority, &own);
    secret.switch(&own.certificate, &own.certificate, &own.key);
    let (listener, mut options) = listen().await;
    options.layer = Layer::tls(tls(&secret, false).await);
    let mut reducer = Reducer::new(options).unwrap();
    let accept = async {
        let (tcp, _) = soon(listener.accept()).await.unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(Authority::server(&own, None)));
        Peer::over(soon(acceptor.accept(tcp)).await.unwrap())
    };
    let mut events = Vec::new();
    let mut peer = during(&mut reducer, &mut events, accept).await;
    during(&mut reducer, &mut events, peer.handshake_done()).await;
}
