//! What lies between us and an API server: proxies, and TLS with each kind of key.

use std::{net::SocketAddr, sync::Arc};

use k8s_relay::source::native::{self, Access, Limits};
use rcgen::{CertificateParams, KeyPair};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, rustls};
use tokio_util::task::AbortOnDropHandle;

use super::watched::kubeconfig;
use crate::support::must;

/// A server that answers each request with its head, and a proxy before it that says how it was
/// asked.
struct Way {
    server: SocketAddr,
    proxy: SocketAddr,
    authority: String,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Way {
    async fn start(tls: Option<&'static rcgen::SignatureAlgorithm>) -> Self {
        let (authority, acceptor) = match tls {
            None => (String::new(), None),
            Some(kind) => {
                let (pem, acceptor) = certificate(kind);
                (pem, Some(acceptor))
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let serving = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A client that goes away ends its own connection.
                let _ = match &acceptor {
                    None => echo(stream).await,
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok(stream) => echo(stream).await,
                        Err(error) => Err(error),
                    },
                };
            }
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let proxying = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let _ = forward(stream, server).await;
            }
        }));
        Self {
            server,
            proxy,
            authority,
            _tasks: [serving, proxying],
        }
    }

    /// What the server answers, or why it does not.
    async fn ask(&self, access: &Access) -> Result<String, String> {
        let server = native::connect(access, Limits::default())
            .await
            .map_err(|error| error.to_string())?;
        let request = http::Request::get("/version").body(Vec::new()).unwrap();
        let answer = must("an answer", server.client().request_text(request)).await;
        server.close().await;
        answer.map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    }
}

/// A self-signed certificate of `localhost` and 127.0.0.1, and who shows it.
fn certificate(kind: &'static rcgen::SignatureAlgorithm) -> (String, TlsAcceptor) {
    let key = KeyPair::generate_for(kind).unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    (certificate.pem(), TlsAcceptor::from(Arc::new(config)))
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head).unwrap())
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let head = head(&mut stream).await?;
    answer(stream, &head).await
}

async fn answer(mut stream: impl AsyncWrite + Unpin, body: &str) -> std::io::Result<()> {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Speaks SOCKS5 and HTTP, and knows that every name is the server's.
async fn forward(mut stream: TcpStream, server: SocketAddr) -> std::io::Result<()> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first == [5] {
        let _version = stream.read_u8().await?;
        let mut methods = vec![0; usize::from(stream.read_u8().await?)];
        stream.read_exact(&mut methods).await?;
        if methods.contains(&2) {
            stream.write_all(&[5, 2]).await?;
            let mut login = [0; 2 + 2 + 1 + 6];
            stream.read_exact(&mut login).await?;
            assert_eq!(&login, b"\x01\x02me\x06p@word");
            stream.write_all(&[1, 0]).await?;
        } else {
            stream.write_all(&[5, 0]).await?;
        }
        let mut asked = [0; 4];
        stream.read_exact(&mut asked).await?;
        let length = match asked[3] {
            1 => 4,
            3 => usize::from(stream.read_u8().await?),
            _ => 16,
        };
        let mut address = vec![0; length + 2];
        stream.read_exact(&mut address).await?;
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    } else {
        let head = head(&mut stream).await?;
        if !head.starts_with("CONNECT ") {
            return answer(stream, &format!("proxied: {head}")).await;
        }
        let login = head.contains("proxy-authorization: Basic bWU6cEB3b3Jk")
            || head.contains("Proxy-Authorization: Basic bWU6cEB3b3Jk");
        if !login {
            stream.write_all(b"HTTP/1.1 407 Who?\r\n\r\n").await?;
            return stream.shutdown().await;
        }
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
    }
    let mut server = TcpStream::connect(server).await?;
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}

#[tokio::test]
async fn a_server_is_reached_through_each_kind_of_proxy() {
    let way = Way::start(Some(&rcgen::PKCS_ECDSA_P256_SHA256)).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), &way.authority).unwrap();
    let through = |proxy: &str| {
        let server = format!(
            "https://nowhere.test:6443\n    certificate-authority: ca.pem\n    \
             tls-server-name: localhost\n    proxy-url: {proxy}"
        );
        kubeconfig(&dir, &server, "token: t")
    };
    let proxy = way.proxy;
    for url in [
        format!("http://me:p%40word@{proxy}"),
        format!("HTTP://me:p%40word@{proxy}/"),
        format!("socks5://{proxy}"),
        format!("socks5://me:p%40word@{proxy}"),
    ] {
        let answer = way.ask(&through(&url)).await;
        let answer = answer.unwrap_or_else(|why| panic!("{url}: {why}"));
        assert!(
            answer.starts_with("GET /version HTTP/1.1\r\n"),
            "{url}: {answer}"
        );
        assert!(
            answer.contains("authorization: Bearer t"),
            "{url}: {answer}"
        );
        assert!(!answer.contains("proxy-authorization"), "{url}: {answer}");
    }
    let why = way
        .ask(&through(&format!("http://{proxy}")))
        .await
        .unwrap_err();
    assert!(why.contains("proxy authorization required"), "{why}");
    assert!(
        why.contains(&format!("by the proxy http://{proxy}/")),
        "{why}"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_asked_for_by_its_whole_address() {
    let way = Way::start(None).await;
    let dir = tempfile::tempdir().unwrap();
    let server = format!(
        "http://nowhere.test/base\n    proxy-url: http://me:p%40word@{}",
        way.proxy
    );
    let answer = way.ask(&kubeconfig(&dir, &server, "")).await.unwrap();
    let line = "proxied: GET http://nowhere.test/base/version HTTP/1.1\r\n";
    assert!(answer.starts_with(line), "{answer}");
    assert!(
        answer.contains("proxy-authorization: Basic bWU6cEB3b3Jk"),
        "{answer}"
    );
}

#[tokio::test]
async fn servers_with_each_kind_of_key_are_known_by_their_own_certificate() {
    for kind in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let way = Way::start(Some(kind)).await;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), &way.authority).unwrap();
        let server = |host: &str| {
            let port = way.server.port();
            let server = format!("https://{host}:{port}\n    certificate-authority: ca.pem");
            kubeconfig(&dir, &server, "{username: me, password: 'p@word'}")
        };
        for host in ["127.0.0.1", "localhost"] {
            let answer = way
                .ask(&server(host))
                .await
                .unwrap_or_else(|why| panic!("{kind:?}: {why}"));
            assert!(
                answer.contains("authorization: Basic bWU6cEB3b3Jk"),
                "{answer}"
            );
        }
        let other = format!(
            "127.0.0.1:{}\n    tls-server-name: elsewhere",
            way.server.port()
        );
        let other = format!("https://{other}\n    certificate-authority: ca.pem");
        let why = way.ask(&kubeconfig(&dir, &other, "")).await.unwrap_err();
        assert!(
            why.contains("not valid for name") && !why.contains('\n'),
            "{why}"
        );
    }
}

/// Asks until the answer has this in it, for at most a minute of virtual time.
async fn until(server: &native::Server, expected: &str) {
    let mut last = String::new();
    for _ in 0..60 {
        let request = http::Request::get("/version").body(Vec::new()).unwrap();
        last = must("an answer", server.client().request_text(request))
            .await
            .unwrap();
        if last.contains(expected) {
            return;
        }
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
    }
    panic!("no `{expected}` within a minute: {last}");
}

#[tokio::test(start_paused = true)]
async fn a_kubeconfig_that_is_replaced_counts_and_one_that_is_broken_does_not() {
    let way = Way::start(None).await;
    let dir = tempfile::tempdir().unwrap();
    let address = format!("http://{}", way.server);
    let with = |token: &str| {
        kubeconfig(&dir, &address, &format!("token: {token}"));
        std::fs::read_to_string(dir.path().join("kubeconfig")).unwrap()
    };
    let [one, two, three, four] = ["one", "two", "three", "four"].map(with);
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("first"), &one).unwrap();
    std::fs::write(at("second"), &three).unwrap();
    std::fs::remove_file(at("kubeconfig")).unwrap();
    std::os::unix::fs::symlink(at("first"), at("kubeconfig")).unwrap();
    let access = Access {
        kubeconfig: Some(at("kubeconfig")),
        context: None,
    };
    let server = native::connect(&access, Limits::default()).await.unwrap();
    until(&server, "Bearer one").await;
    std::fs::write(at("first"), &two).unwrap();
    until(&server, "Bearer two").await;
    std::os::unix::fs::symlink(at("second"), at("new")).unwrap();
    std::fs::rename(at("new"), at("kubeconfig")).unwrap();
    until(&server, "Bearer three").await;
    // Half of it is written.
    std::fs::write(at("second"), &four[..four.len() / 2]).unwrap();
    for _ in 0..30 {
        until(&server, "Bearer three").await;
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
    }
    // Somebody also turns to another cluster, which is none of ours.
    let four = four.replace("current-context: here", "current-context: there");
    std::fs::write(at("second"), four).unwrap();
    until(&server, "Bearer four").await;
    server.close().await;
}
