//! Clients that are slow, many, or talk nonsense.

use std::time::Duration;

use k8s_relay::{
    admin::{AdminApi, Connections, Limits, Sources, api::Status, serve},
    driver::query::{DriverHandle, DriverQuery},
    net::{BoundAddr, Listener},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::world::{World, say};
use crate::support::must;

/// A listener whose loop answers every query for its status.
pub(super) struct Alone {
    place: std::net::SocketAddr,
    _serving: AbortOnDropHandle<()>,
    _answering: Option<AbortOnDropHandle<()>>,
}

impl Alone {
    pub(super) async fn with(connections: Connections, limits: Limits, answers: bool) -> Self {
        let (alone, queries) = Self::listen(connections, limits).await;
        let answering = tokio::spawn(answer(queries, answers));
        let answering = AbortOnDropHandle::new(answering);
        Self {
            _answering: Some(answering),
            ..alone
        }
    }

    /// The holder of the queries answers them, or not.
    pub(super) async fn unanswered(limits: Limits) -> (Self, mpsc::Receiver<DriverQuery>) {
        Self::listen(Connections::default(), limits).await
    }

    async fn listen(
        connections: Connections,
        limits: Limits,
    ) -> (Self, mpsc::Receiver<DriverQuery>) {
        let (driver, queries) = DriverHandle::new();
        let api = AdminApi {
            driver,
            sources: Sources::default(),
            limits,
            stop: CancellationToken::new(),
        };
        let listener = Listener::tcp("127.0.0.1", 0).await.unwrap();
        let BoundAddr::Tcp(place) = listener.address().unwrap() else {
            panic!("a port");
        };
        let serving = tokio::spawn(serve(listener, api.router(), connections));
        let alone = Self {
            place,
            _serving: AbortOnDropHandle::new(serving),
            _answering: None,
        };
        (alone, queries)
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.place).await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> super::world::Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        say(self.connect().await, request.as_bytes()).await
    }

    pub(super) async fn post(&self, path: &str) -> super::world::Answer {
        let request = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        say(self.connect().await, request.as_bytes()).await
    }
}

async fn answer(mut queries: mpsc::Receiver<DriverQuery>, answers: bool) {
    let mut kept = Vec::new();
    while let Some(query) = queries.recv().await {
        match query {
            DriverQuery::Status(answer) if answers => {
                let _ = answer.send(Box::new(Status::default()));
            }
            // A busy loop: the caller waits.
            other => kept.push(other),
        }
    }
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_is_not_waited_for() {
    let connections = Connections {
        head: Duration::from_millis(50),
        ..Connections::default()
    };
    let alone = Alone::with(connections, Limits::default(), true).await;
    let mut slow = alone.connect().await;
    slow.write_all(b"GET /livez HT").await.unwrap();
    let mut rest = Vec::new();
    let _ = must("it is hung up on", slow.read_to_end(&mut rest)).await;
    let mut silent = alone.connect().await;
    let _ = must("so is who says nothing", silent.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_not_waited_for() {
    let connections = Connections {
        lifetime: Duration::from_millis(100),
        ..Connections::default()
    };
    // The loop does not answer, so the answer does not come within the life of the connection.
    let alone = Alone::with(connections, Limits::default(), false).await;
    let mut client = alone.connect().await;
    client
        .write_all(b"GET /statusz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut rest = Vec::new();
    let _ = must("it is hung up on", client.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_oldest() {
    let connections = Connections {
        most: 3,
        ..Connections::default()
    };
    let alone = Alone::with(connections, Limits::default(), true).await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut one = alone.connect().await;
        one.write_all(b"GET").await.unwrap();
        slow.push(one);
    }
    assert_eq!(alone.get("/livez").await.code, 200, "a probe gets in");
    let mut rest = Vec::new();
    let _ = must("the oldest is gone", slow[0].read_to_end(&mut rest)).await;
    // The newest of the slow ones can still come to its end.
    let last = slow.pop().unwrap();
    assert_eq!(
        say(last, b" /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.code,
        200
    );
}

#[tokio::test]
async fn nonsense_is_refused_and_harms_nobody() {
    let world = World::start().await;
    let long_line = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let long_head = format!(
        "GET /livez HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    for (bytes, codes) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00"[..], &[400, 0][..]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 0]),
        (b"nonsense\r\n\r\n", &[400, 0]),
        (b"GET /livez HTTP/1.1\r\nhost\r\n\r\n", &[400, 0]),
        (long_line.as_bytes(), &[414, 431, 0]),
        (long_head.as_bytes(), &[431, 0]),
        (many.as_bytes(), &[431, 0]),
        (
            b"POST /migrate/shadow HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello",
            &[409],
        ),
        (b"GET /%ff%00 HTTP/1.1\r\nhost: x\r\n\r\n", &[404]),
        (
            b"POST /migrate/%ff HTTP/1.1\r\nhost: localhost\r\n\r\n",
            &[400, 404],
        ),
        (
            b"GET /explain?pod=%ff%00/%1b HTTP/1.1\r\nhost: x\r\n\r\n",
            &[400, 404],
        ),
    ] {
        let answer = world.say(bytes).await;
        let said = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
        assert!(codes.contains(&answer.code), "{said}: {}", answer.head);
    }
    assert_eq!(world.get("/livez").await.code, 200);
    world.end().await;
}
