//! TLS on the port of the metadata service: who is let in, who is not, and by which addresses.

use std::net::SocketAddr;

use http::Uri;
use hyper_util::rt::TokioIo;
use k8s_relay::{
    app::MetadataService,
    config::{AdminAddress, HostPort, ListenerTls},
    net::BoundAddr,
    proto::k8smeta::{LookupRequest, Ref, State, metadata_enricher_client::MetadataEnricherClient},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};
use tonic::transport::Endpoint;

use super::world::{POD, Shop, World, config};
use crate::support::{
    certs::{Authority, Pair, Secret},
    must,
};

/// The name in the service's certificate.
const NAME: &str = "relay.example";

/// A service with TLS.
struct Secured {
    world: World,
    authority: Authority,
    secret: Secret,
}

impl Secured {
    async fn start(knows_clients: bool) -> Self {
        let authority = Authority::new();
        let secret = Secret::new(&authority, &authority.pair(NAME));
        let world = World::start(|config| config.enrich.tls = Some(tls(&secret, knows_clients)));
        let world = world.await;
        world.until("/readyz", |answer| answer.code == 200).await;
        Self {
            world,
            authority,
            secret,
        }
    }

    fn address(&self) -> SocketAddr {
        let BoundAddr::Tcp(address) = self.world.address else {
            panic!("a port was asked for");
        };
        address
    }

    async fn connect(
        &self,
        pair: Option<&Pair>,
        protocol: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address()).await.unwrap();
        let connector = TlsConnector::from(self.authority.client(pair, protocol));
        let name = ServerName::try_from(NAME).unwrap();
        must("a handshake", connector.connect(name, tcp)).await
    }

    /// The answer of a lookup over HTTP/1.1.
    async fn lookup(&self, pair: Option<&Pair>) -> std::io::Result<String> {
        let mut stream = self.connect(pair, "http/1.1").await?;
        let request = format!(
            "GET /v1/lookup/pod/{POD} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        must("an answer", stream.read_to_string(&mut answer)).await?;
        Ok(answer)
    }

    /// The same over gRPC.
    async fn grpc(&self, pair: &Pair) -> State {
        let stream = self.connect(Some(pair), "h2").await.unwrap();
        let mut stream = Some(TokioIo::new(stream));
        let connector = tower::service_fn(move |_: Uri| {
            let stream = stream.take().ok_or(std::io::ErrorKind::NotConnected);
            async move { stream.map_err(std::io::Error::from) }
        });
        let endpoint = Endpoint::from_static("http://relay.example");
        let channel = endpoint.connect_with_connector(connector).await.unwrap();
        let (namespace, name) = POD.split_once('/').unwrap();
        let request = LookupRequest {
            refs: vec![Ref {
                kind: "pod".to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                ..Ref::default()
            }],
            ..LookupRequest::default()
        };
        let mut client = MetadataEnricherClient::new(channel);
        let answer = must("an answer", client.lookup(request)).await.unwrap();
        answer.into_inner().items[0].state()
    }

    /// Waits until this line is among the metrics.
    async fn metric(&self, line: &str) {
        let line = format!("{line}\n");
        let counted = |answer: &super::world::Answer| answer.body.contains(&line);
        self.world.until("/metrics", counted).await;
    }
}

fn tls(secret: &Secret, knows_clients: bool) -> ListenerTls {
    ListenerTls {
        certificate: secret.certificate(),
        key: secret.key(),
        client_ca: knows_clients.then(|| secret.authority()),
    }
}

#[tokio::test]
async fn a_client_with_a_certificate_is_answered_over_http_and_grpc_and_no_other_one() {
    let service = Secured::start(true).await;
    let ours = service.authority.pair("collector");
    let answer = service.lookup(Some(&ours)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"state\":\"LIVE\""), "{answer}");
    assert_eq!(service.grpc(&ours).await, State::Live);
    // None, one of an authority that only has the name of ours, and one that is over.
    let stranger = Authority::new().pair("collector");
    let former = service.authority.pair_of("collector", 2020, 2021);
    for pair in [None, Some(&stranger), Some(&former)] {
        let answer = service.lookup(pair).await;
        assert!(answer.is_err(), "{answer:?}");
    }
    let failed = "k8s_relay_tls_handshakes_failed_total{listener=\"enrichment\",reason=";
    for reason in ["no_certificate", "unknown_issuer", "expired"] {
        service.metric(&format!("{failed}\"{reason}\"}} 1.0")).await;
    }
    // Plain text is no TLS.
    let mut plain = TcpStream::connect(service.address()).await.unwrap();
    plain
        .write_all(b"GET /v1/status HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // It may be reset, too.
    let _ = must("the end", plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    service
        .metric(&format!("{failed}\"plain_text\"}} 1.0"))
        .await;
    service.world.end().await;
}

#[tokio::test]
async fn without_an_authority_of_clients_everybody_on_this_machine_is_answered() {
    let service = Secured::start(false).await;
    let answer = service.lookup(None).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    service.world.end().await;
}

#[tokio::test]
async fn other_machines_are_answered_only_where_clients_are_known() {
    let authority = Authority::new();
    let secret = Secret::new(&authority, &authority.pair(NAME));
    for (knows_clients, starts) in [(true, true), (false, false)] {
        let shop = Shop::open().await;
        let mut config = config(&shop);
        config.enrich.tls = Some(tls(&secret, knows_clients));
        config.enrich.address = AdminAddress::Tcp(HostPort {
            host: "0.0.0.0".to_owned(),
            port: 0,
        });
        match (MetadataService::start(config).await, starts) {
            (Ok(service), true) => {
                assert!(service.enrichment().is_open());
                service.run_until(std::future::ready(())).await.unwrap();
            }
            (Err(error), false) => {
                let error = error.to_string();
                assert!(error.contains("--enrich-tls-client-ca"), "{error}");
            }
            (Ok(_), false) => panic!("it listens without knowing its clients"),
            (Err(error), true) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn the_commands_ask_over_tls_and_say_what_is_wrong() {
    let service = Secured::start(true).await;
    let ours = service.authority.pair("operator");
    let (certificate, key) = (service.secret.at("op.crt"), service.secret.at("op.key"));
    std::fs::write(&certificate, &ours.certificate).unwrap();
    std::fs::write(&key, &ours.key).unwrap();
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let authority = service.secret.path("ca.crt");
    let stranger = Authority::named("a stranger");
    let others = service.secret.at("other.crt");
    std::fs::write(&others, stranger.pem()).unwrap();
    let others = others.display().to_string();
    // The name in the certificate is not the address.
    let port = service.address().port();
    let own = service.authority.pair("127.0.0.1");
    let (chain, own_key) = (service.secret.at("own.crt"), service.secret.at("own.key"));
    std::fs::write(&chain, &own.certificate).unwrap();
    std::fs::write(&own_key, &own.key).unwrap();
    let by_address = World::start(|config| {
        config.enrich.tls = Some(ListenerTls {
            certificate: chain,
            key: own_key,
            client_ca: Some(service.secret.authority()),
        });
    })
    .await;
    by_address
        .until("/readyz", |answer| answer.code == 200)
        .await;
    let named = by_address.address.to_string();
    let unnamed = format!("127.0.0.1:{port}");
    let tls = [
        "--tls-ca",
        &authority,
        "--cert",
        &certificate,
        "--key",
        &key,
    ];
    let anonymous = ["--tls-ca", &authority];
    let trusting_others = ["--tls-ca", &others, "--cert", &certificate, "--key", &key];
    for (address, flags, status, says) in [
        (&named, &tls[..], 0, "kubernetes.pod.name"),
        (
            &unnamed,
            &tls,
            3,
            "is not for 127.0.0.1, but for relay.example",
        ),
        (&named, &anonymous, 3, "CertificateRequired"),
        (&named, &trusting_others, 3, "no TLS with what is at"),
        (&named, &[], 3, "no answer from"),
        (&named, &["--cert", "/c", "--key", "/k"], 2, "--tls-ca"),
        (&named, &["--tls-ca", "/nowhere"], 2, "/nowhere"),
    ] {
        let run = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
            .env_clear()
            .args(["lookup", POD, "--address", address])
            .args(flags)
            .kill_on_drop(true)
            .output();
        let ended = must("the command ends", run).await.unwrap();
        let said = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        assert_eq!(ended.status.code(), Some(status), "{flags:?}: {said}");
        assert!(said.contains(says), "{flags:?}: {said}");
    }
    by_address.end().await;
    service.world.end().await;
}
