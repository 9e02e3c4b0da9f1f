//! TLS on our own ports: who is let in, who is not, and that nobody is held up by others.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use k8s_relay::{
    app::{AppError, Relay},
    config::{AdminAddress, Config, Heartbeat, HostPort, ListenerTls},
    net::{
        BoundAddr, Caller, Listener,
        tls::{Authorities, ClientCert, ClientCerts, Handshakes, Paths, Role, ServerTls},
    },
    sim::reducer::{MockReducer, Options, State},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::support::{
    certs::{Authority, Pair, Secret},
    collect::{RawCall, grpc_info, pod},
    must,
};

/// The name in the certificates of our ports.
const NAME: &str = "relay.example";

/// A relay with TLS on both of its ports, which lets in clients of one authority.
struct World {
    authority: Authority,
    _secret: Secret,
    reducer: MockReducer,
    collect: SocketAddr,
    admin: SocketAddr,
    socket: PathBuf,
    end: CancellationToken,
    relay: AbortOnDropHandle<Result<(), AppError>>,
}

impl World {
    async fn start() -> Self {
        let authority = Authority::new();
        let secret = Secret::new(&authority, &authority.pair(NAME));
        let socket = secret.at("admin.sock");
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let reducer = MockReducer::bind(here, Options::default()).await.unwrap();
        let at = |port| HostPort {
            host: "127.0.0.1".to_owned(),
            port,
        };
        let tls = Some(ListenerTls {
            certificate: secret.certificate(),
            key: secret.key(),
            client_ca: Some(secret.authority()),
        });
        let mut config = Config {
            heartbeat: Heartbeat::Once,
            server_tls: tls.clone(),
            admin_tls: tls,
            admin_address: AdminAddress::Tcp(at(0)).into(),
            ..Config::between(at(0), at(reducer.addr().port()))
        };
        config
            .admin_address
            .at
            .push(AdminAddress::Unix(socket.clone()));
        let relay = Relay::start(config).await.unwrap();
        let Some(BoundAddr::Tcp(admin)) = relay.admin().cloned() else {
            panic!("no admin port");
        };
        let end = CancellationToken::new();
        Self {
            authority,
            _secret: secret,
            reducer,
            collect: relay.address(),
            admin,
            socket,
            relay: AbortOnDropHandle::new(tokio::spawn(
                relay.run_until(end.clone().cancelled_owned()),
            )),
            end,
        }
    }

    async fn connect(
        &self,
        to: SocketAddr,
        pair: Option<&Pair>,
        protocol: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        connect(&self.authority, to, pair, protocol).await
    }

    /// The code and the body of an answer of the admin port.
    async fn get(&self, path: &str, pair: Option<&Pair>) -> (u16, String) {
        let stream = self.connect(self.admin, pair, "http/1.1").await.unwrap();
        get(stream, path).await
    }

    /// Waits until this line is among the metrics.
    async fn metric(&self, line: &str) {
        let pair = self.authority.pair("scraper");
        let counted = async { while !self.get("/metrics", Some(&pair)).await.1.contains(line) {} };
        must(line, counted).await;
    }

    async fn end(self) {
        self.end.cancel();
        must("the relay ends", self.relay).await.unwrap().unwrap();
    }
}

async fn connect(
    authority: &Authority,
    to: SocketAddr,
    pair: Option<&Pair>,
    protocol: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(to).await?;
    let connector = TlsConnector::from(authority.client(pair, protocol));
    let name = ServerName::try_from(NAME).unwrap();
    must("a handshake", connector.connect(name, tcp)).await
}

async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // An end without the last word of TLS would be an error.
    must(path, stream.read_to_string(&mut answer))
        .await
        .unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

#[tokio::test]
async fn a_watcher_with_a_certificate_is_served_over_tls() {
    let world = World::start().await;
    let pair = world.authority.pair("watcher");
    let stream = world
        .connect(world.collect, Some(&pair), "h2")
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut call = RawCall::begin(requests, "identity").await.unwrap();
    call.send(grpc_info(&pod("a"))).await.unwrap();
    let knows = |state: &State| state.reducer_state().is_some_and(|p| p.pod(b"a").is_some());
    must("the pod is announced", world.reducer.wait_until(knows)).await;
    drop(call);
    connection.abort();
    world.end().await;
}

#[tokio::test]
async fn who_is_not_let_in_is_counted_with_the_reason() {
    let world = World::start().await;
    let strangers = Authority::named("a stranger");
    let strange = strangers.pair("watcher");
    let expired = world.authority.pair_of("watcher", 2020, 2021);
    for (pair, reason) in [
        (None, "no_certificate"),
        (Some(&strange), "unknown_issuer"),
        (Some(&expired), "expired"),
    ] {
        // The client's side may be done before it is refused.
        if let Ok(mut stream) = world.connect(world.collect, pair, "h2").await {
            let end = must("the end", stream.read(&mut [0])).await;
            assert!(!matches!(end, Ok(1..)), "{reason}: {end:?}");
        }
        world
            .metric(&format!(
                "k8s_relay_tls_handshakes_failed_total{{listener=\"collect\",reason=\"{reason}\"}} 1"
            ))
            .await;
    }
    // Who asks for something else than HTTP/2.
    let pair = world.authority.pair("watcher");
    let refused = world.connect(world.collect, Some(&pair), "http/1.1").await;
    assert!(refused.is_err());
    // Who does not trust us.
    let refused = connect(&strangers, world.collect, Some(&pair), "h2").await;
    assert!(refused.is_err());
    // Who speaks no TLS.
    for words in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
        for port in [world.collect, world.admin] {
            let mut tcp = TcpStream::connect(port).await.unwrap();
            tcp.write_all(words.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            must("the end", tcp.read_to_end(&mut answer)).await.unwrap();
            assert!(answer.len() < 20, "an alert at most: {answer:?}");
        }
    }
    for line in [
        "{listener=\"collect\",reason=\"incompatible\"} 1",
        "{listener=\"collect\",reason=\"refused\"} 1",
        "{listener=\"collect\",reason=\"plain_text\"} 2",
        "{listener=\"admin\",reason=\"plain_text\"} 2",
    ] {
        world.metric(line).await;
    }
    world.end().await;
}

#[tokio::test]
async fn strangers_may_probe_and_whoever_shows_a_certificate_may_ask_more() {
    let world = World::start().await;
    let pair = world.authority.pair("operator");
    for (path, to_strangers, to_others) in [
        ("/livez", 200, 200),
        ("/metrics", 403, 200),
        ("/statusz", 403, 200),
        ("/explain?pod=a/b", 403, 404),
        ("/no/such/path", 403, 404),
    ] {
        assert_eq!(world.get(path, None).await.0, to_strangers, "{path}");
        assert_eq!(world.get(path, Some(&pair)).await.0, to_others, "{path}");
    }
    let (_, why) = world.get("/metrics", None).await;
    assert!(why.contains("client certificate"), "{why}");
    // A socket file is for its owner alone, and speaks no TLS.
    let stream = tokio::net::UnixStream::connect(&world.socket)
        .await
        .unwrap();
    assert_eq!(get(stream, "/statusz").await.0, 200);
    let (_, status) = world.get("/statusz", Some(&pair)).await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let uses: Vec<_> = status["certificates"].as_array().unwrap().iter().collect();
    assert_eq!(uses.len(), 2);
    assert_eq!(uses[0]["use"], "collect");
    assert_eq!(uses[0]["in_use"][0]["subject"], format!("CN={NAME}"));
    assert!(uses[0]["in_use"][0]["ends_in_seconds"].as_f64().unwrap() > 1e8);
    world
        .metric("k8s_relay_tls_certificate_ends_in_seconds{use=\"admin\",part=\"authority\",index=\"0\"}")
        .await;
    world.end().await;
}

#[tokio::test]
async fn tls_at_a_plain_port_is_said_and_does_no_harm() {
    let listener = Listener::tcp("127.0.0.1", 0).await.unwrap();
    let handshakes = Handshakes::new("test");
    let listener = listener.secured(None, handshakes.clone());
    let BoundAddr::Tcp(address) = listener.address().unwrap() else {
        panic!("no port");
    };
    let authority = Authority::new();
    let served = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let error = stream.read(&mut [0; 100]).await.unwrap_err();
        assert!(
            error.to_string().contains("TLS to a port without TLS"),
            "{error}"
        );
    };
    let (refused, ()) = tokio::join!(connect(&authority, address, None, "h2"), served);
    assert!(refused.is_err());
    let counted: Vec<_> = handshakes
        .failed()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(counted, [(k8s_relay::net::tls::Reason::TlsAtPlainPort, 1)]);
    // A byte that begins a handshake is an ordinary byte later on.
    let served = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 3];
        stream.read_exact(&mut bytes[..1]).await.unwrap();
        stream.read_exact(&mut bytes[1..]).await.unwrap();
        bytes
    };
    let said = async {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(b"P").await.unwrap();
        tcp.write_all(&[0x16, 3]).await.unwrap();
        tcp
    };
    let (_tcp, bytes) = tokio::join!(said, served);
    assert_eq!(bytes, [b'P', 0x16, 3]);
}

/// A port of ours with its own limits, and what it counts.
async fn port(
    authority: &Authority,
    clients: ClientCerts,
    within: Duration,
) -> (Secret, Listener, SocketAddr, Arc<Handshakes>) {
    let secret = Secret::new(authority, &authority.pair(NAME));
    let role = Role {
        label: "test",
        words: "of a test",
    };
    let paths = Paths {
        identity: Some((secret.certificate(), secret.key())),
        authorities: Authorities::File(secret.authority()),
    };
    let tls = ServerTls::load(role, paths, clients, &["h2", "http/1.1"]).await;
    let tls = tls.unwrap().within(within);
    let listener = Listener::tcp("127.0.0.1", 0).await.unwrap();
    let handshakes = Handshakes::new("test");
    let listener = listener.secured(Some(tls), handshakes.clone());
    let BoundAddr::Tcp(address) = listener.address().unwrap() else {
        panic!("no port");
    };
    (secret, listener, address, handshakes)
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_handshake_holds_up_nobody_and_ends() {
    let authority = Authority::new();
    let within = Duration::from_millis(200);
    let (_secret, listener, address, handshakes) =
        port(&authority, ClientCerts::Optional, within).await;
    let mut slow = Vec::new();
    for words in [&b""[..], &[0x16], &[0x16, 3, 1, 2, 0, 1]] {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(words).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let read = async move { stream.read(&mut [0]).await.unwrap_err() };
        slow.push((tcp, tokio::spawn(read)));
    }
    // Whoever comes later is served at once.
    let served = async {
        let (mut stream, peer) = listener.accept().await.unwrap();
        let caller = Caller::new(peer, &stream);
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!((caller.certificate(), caller.is_tls()), (None, true));
    };
    let asked = async {
        let mut stream = connect(&authority, address, None, "h2").await.unwrap();
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"hello");
    };
    must("a quick client", async { tokio::join!(served, asked) }).await;
    for (tcp, read) in slow {
        let error = must("the limit", read).await.unwrap();
        assert!(error.to_string().contains("in time"), "{error}");
        drop(tcp);
    }
    let timeouts = handshakes
        .failed()
        .map(|(reason, count)| (reason.label(), count));
    assert_eq!(
        timeouts.collect::<std::collections::BTreeMap<_, _>>()["timeout"],
        3
    );
}

#[tokio::test]
async fn a_caller_is_known_by_the_certificate_that_it_has_shown() {
    let authority = Authority::new();
    let (_secret, listener, address, _) =
        port(&authority, ClientCerts::Optional, Duration::from_secs(60)).await;
    for shows in [true, false] {
        let pair = shows.then(|| authority.pair("team.example"));
        let served = async {
            let (mut stream, peer) = listener.accept().await.unwrap();
            let caller = Caller::new(peer, &stream);
            assert_eq!(
                caller.certificate(),
                None,
                "nothing is known before the handshake"
            );
            stream.read_exact(&mut [0]).await.unwrap();
            assert!(!caller.has_left());
            (stream, caller)
        };
        let asked = async {
            let mut stream = connect(&authority, address, pair.as_ref(), "h2")
                .await
                .unwrap();
            stream.write_all(b"?").await.unwrap();
            stream
        };
        let ((_stream, caller), mut client) = tokio::join!(served, asked);
        let expected = ClientCert {
            subject: "CN=team.example".to_owned(),
            common_names: vec!["team.example".to_owned()],
            names: vec!["team.example".to_owned()],
        };
        assert_eq!(caller.certificate(), shows.then_some(&expected));
        client.shutdown().await.unwrap();
        must("the client has left", async {
            while !caller.has_left() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
