//! What all servers share: listeners of either sort, bounds, many services at one port.

use std::{
    convert::Infallible,
    future::Ready,
    os::unix::fs::MetadataExt as _,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use k8s_relay::{
    net::{
        Acceptor, BoundAddr, Listener, Peer, PlaceCounts, Places,
        grpc::{self, Services},
        places::GivesWay,
    },
    proto::health::{
        HealthCheckRequest, HealthListRequest, health_check_response::ServingStatus,
        health_client::HealthClient,
    },
    source::{CollectMessage, legacy},
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpStream, UnixStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

use crate::support::collect::{RawCall, Served, grpc_info, pod, soon};

#[tokio::test]
async fn collect_is_served_at_a_socket_file_as_at_a_port() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("collect.sock");
    let listener = Listener::unix(&path).unwrap();
    assert_eq!(listener.address().unwrap(), BoundAddr::Unix(path.clone()));
    let mut served = Served::at(vec![listener], 8, legacy::Options::default());

    let socket = UnixStream::connect(&path).await.unwrap();
    let (requests, connection) = soon(h2::client::handshake(socket)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut call = RawCall::begin(requests, "identity").await.unwrap();
    let CollectMessage::Opened { peer, end, .. } = served.next().await else {
        panic!("not opened");
    };
    assert_eq!(peer, None, "a file has no address");
    call.send(grpc_info(&pod("a"))).await.unwrap();
    assert_eq!(served.batch().await.1, 1);
    drop(end);
    served.stop().await;
    let _ = soon(connection).await;
    assert!(!path.exists(), "the file goes with the server");
}

/// A service that answers every call with a status; in two sorts, which differ in name and code.
#[derive(Clone)]
struct Answers<const CODE: i32>;

impl NamedService for Answers<1> {
    const NAME: &'static str = "test.One";
}

impl NamedService for Answers<2> {
    const NAME: &'static str = "test.Two";
}

impl<const CODE: i32> Service<http::Request<Body>> for Answers<CODE> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Ok(()).into()
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        std::future::ready(Ok(Status::new(CODE.into(), "").into_http()))
    }
}

#[tokio::test]
async fn services_share_a_port_and_the_health_of_each_is_known() {
    let listener = Listener::tcp("127.0.0.1", 0).await.unwrap();
    let BoundAddr::Tcp(address) = listener.address().unwrap() else {
        panic!("a port");
    };
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(grpc::serve(
        vec![listener],
        |_| Services::default().with(Answers::<1>).with(Answers::<2>),
        shutdown.clone(),
        grpc::Options::default(),
        Arc::default(),
    ));
    let mut health = soon(HealthClient::connect(format!("http://{address}")))
        .await
        .unwrap();
    let listed = soon(health.list(HealthListRequest {})).await.unwrap();
    let mut names: Vec<_> = listed.into_inner().statuses.into_keys().collect();
    names.sort();
    assert_eq!(names, ["", "test.One", "test.Two"]);
    for service in names {
        let answer = soon(health.check(HealthCheckRequest { service })).await;
        assert_eq!(
            answer.unwrap().into_inner().status(),
            ServingStatus::Serving
        );
    }
    let channel = tonic::transport::Endpoint::new(format!("http://{address}")).unwrap();
    let mut client = tonic::client::Grpc::new(channel.connect_lazy());
    for (path, code) in [
        ("/test.One/Ask", 1.into()),
        ("/test.Two/Ask", 2.into()),
        ("/test.Three/Ask", tonic::Code::Unimplemented),
    ] {
        soon(client.ready()).await.unwrap();
        let request = tonic::Request::new(HealthListRequest {});
        let codec = tonic_prost::ProstCodec::<HealthListRequest, HealthListRequest>::default();
        let answer = soon(client.unary(request, path.parse().unwrap(), codec)).await;
        assert_eq!(answer.unwrap_err().code(), code, "{path}");
    }
    shutdown.cancel();
    drop((client, health));
    soon(server).await.unwrap().unwrap();
}

#[tokio::test]
async fn all_listeners_of_a_server_share_its_places_and_name_their_peers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.sock");
    let counts = Arc::new(PlaceCounts::default());
    let places = Places::new(2, GivesWay::Nobody, counts.clone());
    let tcp = Listener::tcp("127.0.0.1", 0).await.unwrap();
    let BoundAddr::Tcp(address) = tcp.address().unwrap() else {
        panic!("a port");
    };
    let mut tcp = Acceptor::new(tcp, places.clone());
    let mut unix = Acceptor::new(Listener::unix(&path).unwrap(), places);

    let client = TcpStream::connect(address).await.unwrap();
    let over_tcp = soon(tcp.accept()).await;
    let from = client.local_addr().unwrap();
    assert_eq!(
        over_tcp.peer,
        Peer::Tcp {
            from,
            loopback: true
        }
    );
    let _client = UnixStream::connect(&path).await.unwrap();
    let over_unix = soon(unix.accept()).await;
    let Peer::Unix { uid, pid } = over_unix.peer else {
        panic!("{}", over_unix.peer);
    };
    assert_eq!(uid, Some(std::fs::metadata(&path).unwrap().uid()));
    assert_eq!(pid, i32::try_from(std::process::id()).ok());
    // One too many at either is closed at once, and the acceptor goes on.
    let mut refused = TcpStream::connect(address).await.unwrap();
    let mut rest = Vec::new();
    let closed = async {
        // Reset is as good as FIN.
        let _ = refused.read_to_end(&mut rest).await;
    };
    tokio::select! {
        () = soon(closed) => {}
        _ = tcp.accept() => panic!("there is no place"),
    }
    assert_eq!(counts.refused.load(Relaxed), 1);
    drop(over_unix);
    let _client = TcpStream::connect(address).await.unwrap();
    let _again = soon(tcp.accept()).await;
    assert_eq!(counts.open.load(Relaxed), 2);
}
