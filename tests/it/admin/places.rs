//! Ports and socket files.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::Path,
};

use k8s_relay::app::{AppError, Relay};
use k8s_relay::{
    config::{AdminAddress, AdminAddresses},
    net::BoundAddr,
};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::TcpStream;

use super::world::{World, config, here, say, unix};

/// Why a relay does not start with this admin address.
async fn refused(address: AdminAddress) -> String {
    let mut config = config(1);
    config.admin_address = address.into();
    match Relay::start(config).await.map(drop) {
        Err(error @ AppError::Admin { .. }) => format!("{:#}", anyhow::Error::new(error)),
        other => panic!("{other:?}"),
    }
}

/// A socket file where all who may wait to be let in do.
fn full_backlog(path: &Path) -> Vec<Socket> {
    let socket = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let address = SockAddr::unix(path).unwrap();
    let listener = socket();
    listener.bind(&address).unwrap();
    listener.listen(1).unwrap();
    let mut all = vec![listener];
    loop {
        let caller = socket();
        match caller.connect(&address) {
            Ok(()) => all.push(caller),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                return all;
            }
        }
    }
}

#[tokio::test]
async fn a_socket_file_is_the_owners_alone_and_goes_with_the_relay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.sock");
    let world = World::with(|config| config.admin_address = unix(&path).into()).await;
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(world.get("/livez").await.code, 200);
    // Over the file the state may be changed, whatever name is asked for.
    let step = b"POST /migrate/shadow HTTP/1.1\r\nhost: relay\r\n\r\n";
    assert_eq!(world.say(step).await.code, 409);
    world.end().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_file_that_nobody_serves_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "as after a crash");
    let world = World::with(|config| config.admin_address = unix(&path).into()).await;
    assert_eq!(world.get("/livez").await.code, 200);
    world.end().await;
}

#[tokio::test]
async fn a_socket_file_that_is_served_or_no_socket_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let served = dir.path().join("served.sock");
    let _served = UnixListener::bind(&served).unwrap();
    let why = refused(unix(&served)).await;
    assert!(why.contains("a process listens there already"), "{why}");
    assert!(why.contains("set --admin-address"), "{why}");
    // One that is served and lets nobody in.
    let full = dir.path().join("full.sock");
    let _full = full_backlog(&full);
    let why = refused(unix(&full)).await;
    assert!(why.contains("a process listens there already"), "{why}");
    let file = dir.path().join("file");
    fs::write(&file, "precious").unwrap();
    let why = refused(unix(&file)).await;
    assert!(why.contains("the file is not a socket"), "{why}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(
        refused(unix(dir.path().join("no/such/folder")))
            .await
            .contains("No such file")
    );
    let long = dir.path().join("x".repeat(200));
    assert!(!refused(unix(long)).await.is_empty());
}

#[tokio::test]
async fn a_socket_file_of_a_successor_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.sock");
    let world = World::with(|config| config.admin_address = unix(&path).into()).await;
    fs::remove_file(&path).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    world.end().await;
    assert!(Path::new(&path).exists());
}

#[tokio::test]
async fn a_port_that_is_taken_stops_the_start_and_names_the_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let why = refused(address.parse().unwrap()).await;
    assert_eq!(
        why,
        format!(
            "cannot listen on {address} (set --admin-address; `none` disables the listener): \
             Address already in use (os error 98)"
        )
    );
}

#[tokio::test]
async fn a_default_port_that_is_taken_is_a_warning_and_the_relay_runs_without() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut config = config(1);
    config.admin_address = AdminAddresses {
        at: vec![address.parse().unwrap()],
        asked_for: false,
    };
    let relay = Relay::start(config).await.unwrap();
    assert_eq!(relay.admin(), None);
    relay.run_until(std::future::ready(())).await.unwrap();
}

#[tokio::test]
async fn of_a_socket_and_a_port_each_answers_and_only_the_socket_changes_anything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.sock");
    let world = World::with(|config| {
        config.admin_address = AdminAddresses {
            at: vec![unix(&path), "0.0.0.0:0".parse().unwrap()],
            asked_for: true,
        };
    })
    .await;
    let [_, BoundAddr::Tcp(port)] = world.places.as_slice() else {
        panic!("{:?}", world.places);
    };
    let step = b"POST /migrate/rollback HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let over_tcp = TcpStream::connect(here(port.port())).await.unwrap();
    assert_eq!(say(over_tcp, step).await.code, 403);
    let look = b"GET /livez HTTP/1.1\r\nhost: 10.1.2.3\r\n\r\n";
    let over_tcp = TcpStream::connect(here(port.port())).await.unwrap();
    assert_eq!(say(over_tcp, look).await.code, 200);
    assert_eq!(world.say(step).await.code, 200, "over the socket");
    world.end().await;
    assert!(!path.exists());
}
