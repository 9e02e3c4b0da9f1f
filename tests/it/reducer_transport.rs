//! The reducer's connection over a layer above TCP, here TLS: the same bytes, the same end.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use k8s_relay::reducer::{Layer, Options, Reducer, ReducerEvent, Socket, Transport};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector, client, rustls,
    rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    server,
};

use crate::support::reducer::{Peer, during, listen, send_pods, soon};

/// TLS above TCP, as a client speaks it.
struct Tls(client::TlsStream<Socket>);

impl Transport for Tls {
    fn tcp(&self) -> &TcpStream {
        self.0.get_ref().0.tcp()
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A reducer behind TLS, and options that lead to it.
async fn behind_tls() -> (TcpListener, TlsAcceptor, Options) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["reducer".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let theirs = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let ours = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(ours));
    let (listener, mut options) = listen().await;
    options.layer = Layer::new(move |tcp| {
        let connector = connector.clone();
        async move {
            let name = ServerName::try_from("reducer").unwrap();
            let tls = connector.connect(name, tcp).await?;
            Ok(Box::new(Tls(tls)) as Box<dyn Transport>)
        }
    });
    (listener, TlsAcceptor::from(Arc::new(theirs)), options)
}

async fn accept(
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
) -> Peer<server::TlsStream<TcpStream>> {
    let (tcp, _) = soon(listener.accept()).await.unwrap();
    Peer::over(soon(acceptor.accept(tcp)).await.unwrap())
}

#[tokio::test]
async fn all_arrives_over_a_layer_and_both_say_goodbye() {
    const PODS: u64 = 20_000;
    let (listener, acceptor, options) = behind_tls().await;
    let mut reducer = Reducer::new(options).unwrap();
    let mut events = Vec::new();
    let mut peer = during(&mut reducer, &mut events, accept(&listener, &acceptor)).await;
    during(&mut reducer, &mut events, peer.handshake_done()).await;
    assert!(matches!(events.as_slice(), [ReducerEvent::Connected]));
    send_pods(&mut reducer, PODS);
    let close = reducer.close(Duration::from_secs(20));
    // Fails at an end without the layer's last word: somebody may have cut it short.
    let ((names, end), unsent) = soon(async { tokio::join!(peer.rest(), close) }).await;
    assert_eq!((names.len() as u64, end), (PODS, Ok(())));
    assert_eq!((unsent, reducer.counters().unflushed_ends), (0, 0));
}

#[tokio::test]
async fn a_peer_that_takes_nothing_gets_fin_though_the_layer_cannot_say_goodbye() {
    let (listener, acceptor, options) = behind_tls().await;
    let mut reducer = Reducer::new(options).unwrap();
    let mut events = Vec::new();
    let mut peer = during(&mut reducer, &mut events, accept(&listener, &acceptor)).await;
    // More than the kernel and the layer take for a peer that does not read.
    send_pods(&mut reducer, 120_000);
    assert!(soon(reducer.close(Duration::from_millis(50))).await > 0);
    assert_eq!(reducer.counters().unflushed_ends, 1);
    let mut read = Vec::new();
    let end = soon(tokio::io::AsyncReadExt::read_to_end(
        &mut peer.stream,
        &mut read,
    ))
    .await;
    assert!(read.len() > 100_000, "{}", read.len());
    let end = end.unwrap_err();
    assert_eq!(
        end.kind(),
        io::ErrorKind::UnexpectedEof,
        "FIN, no reset: {end}"
    );
}

#[tokio::test]
async fn a_peer_that_does_not_speak_the_layer_is_a_failure_to_connect() {
    let (listener, _, mut options) = behind_tls().await;
    options.tcp.connect_timeout = Duration::from_millis(100);
    let mut reducer = Reducer::new(options).unwrap();
    let mut events = Vec::new();
    // One that says something else, and one that says nothing.
    for says in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let script = async {
            let (mut tcp, _) = soon(listener.accept()).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut tcp, says)
                .await
                .unwrap();
            let mut rest = Vec::new();
            // It may be reset, for nobody has read what was said.
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut rest).await;
        };
        during(&mut reducer, &mut events, script).await;
    }
    assert!(events.is_empty(), "{events:?}");
    assert!(reducer.counters().failed_dials >= 1);
}
