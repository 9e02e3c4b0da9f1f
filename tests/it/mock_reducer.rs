//! The mock reducer on a real socket.

use std::io::ErrorKind;

use k8s_relay::sim::reducer::{End, MockReducer, Options};
use k8s_relay::sim::session::Violation;
use k8s_relay::wire::messages::*;
use k8s_relay::wire::{Encode, StreamError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::peer::{Peer, soon};

async fn reducer(options: Options) -> MockReducer {
    MockReducer::bind("127.0.0.1:0".parse().unwrap(), options)
        .await
        .unwrap()
}

#[tokio::test]
async fn it_logs_every_message_and_keeps_the_reducer_state() {
    let reducer = reducer(Options::default()).await;
    let mut peer = Peer::connect(reducer.addr()).await;
    peer.send_handshake().await;
    peer.pod("a");
    peer.container("a", "containerd://1");
    peer.container("b", "containerd://2");
    peer.send().await;
    soon(reducer.wait_until(|state| {
        state
            .latest()
            .is_some_and(|c| c.count("pod_container") == 2)
    }))
    .await;
    reducer.with(|state| {
        let names: Vec<_> = state
            .log
            .iter()
            .map(|entry| entry.message["msg"].as_str().unwrap())
            .collect();
        let handshake = ["version_info", "connect", "metadata_complete"];
        assert_eq!(names[..3], handshake);
        assert_eq!(
            names[3..],
            ["pod_new_with_name", "pod_container", "pod_container"]
        );
        assert!(
            state
                .log
                .iter()
                .all(|entry| (entry.connection, entry.timestamp) == (1, 77))
        );
        let reducer_state = state.reducer_state().unwrap();
        assert_eq!((reducer_state.pods(), reducer_state.containers()), (1, 1));
        assert_eq!(reducer_state.counts().containers_without_pod, 1);
        let connection = state.latest().unwrap();
        assert!(connection.handshake_done());
        assert_eq!(
            (
                connection.index,
                connection.messages,
                connection.frames.frames
            ),
            (1, 6, 2)
        );
        assert_eq!(connection.raw.len() as u64, connection.bytes);
        assert_eq!(connection.plain_bytes, connection.frames.plain_bytes + 24);
    });
    drop(peer);
    soon(reducer.wait_until(|state| state.latest().unwrap().end.is_some())).await;
    let state = soon(reducer.shutdown()).await;
    assert_eq!(state.latest().unwrap().end, Some(End::Eof));
    assert_eq!(state.violations().count(), 0);
}

#[tokio::test]
async fn each_violation_ends_the_connection_and_is_remembered() {
    let reducer = reducer(Options::default()).await;
    let version = VersionInfo {
        major: 0,
        minor: 11,
        patch: 0,
    };
    let old = VersionInfo {
        major: 0,
        minor: 8,
        patch: 0,
    };
    let connect = Connect {
        collector_type: 3,
        hostname: b"h",
    };
    let mut expected = Vec::new();
    for case in 0..5 {
        let mut peer = Peer::connect(reducer.addr()).await;
        expected.push(match case {
            0 => {
                peer.push(version);
                peer.push(Heartbeat {});
                Violation::BeforeConnect("heartbeat")
            }
            1 => {
                peer.push(old);
                Violation::TooOld(0, 8, 0)
            }
            2 => {
                peer.push(version);
                peer.push(connect);
                peer.push(connect);
                Violation::SecondConnect
            }
            3 => {
                peer.push(version);
                peer.out.extend(b"oops");
                let source = k8s_relay::wire::lz4::FrameError::Magic(u32::from_le_bytes(*b"oops"));
                Violation::Stream(StreamError::Frame { at: 24, source })
            }
            _ => {
                peer.push(version);
                let mut plain = Vec::new();
                connect.encode(1, &mut plain).unwrap();
                for _ in 0..2000 {
                    Heartbeat {}.encode(1, &mut plain).unwrap();
                }
                let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
                std::io::Write::write_all(&mut frame, &plain).unwrap();
                peer.out.extend(frame.finish().unwrap());
                Violation::BlockTooLarge(plain.len())
            }
        });
        peer.send().await;
        soon(reducer.wait_until(|state| {
            state
                .latest()
                .is_some_and(|c| c.index == case + 1 && c.end.is_some())
        }))
        .await;
        let mut rest = Vec::new();
        // EOF, or RST if something was left unread.
        let _ = soon(peer.stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "a reducer never writes");
    }
    let state = soon(reducer.shutdown()).await;
    let found: Vec<_> = state
        .violations()
        .map(|(index, violation)| (index, violation.clone()))
        .collect();
    assert_eq!(found, (1..).zip(expected).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_disconnect_is_an_end_and_a_reset_is_an_error_for_the_peer() {
    let reducer = reducer(Options::default()).await;
    let mut first = Peer::connect(reducer.addr()).await;
    first.send_handshake().await;
    soon(reducer.wait_until(|state| state.latest().is_some_and(|c| c.handshake_done()))).await;
    soon(reducer.disconnect()).await;
    assert_eq!(soon(first.stream.read(&mut [0; 8])).await.unwrap(), 0);

    let mut second = Peer::connect(reducer.addr()).await;
    second.send_handshake().await;
    soon(reducer.wait_until(|state| state.connection(2).is_some_and(|c| c.handshake_done()))).await;
    soon(reducer.reset()).await;
    let error = soon(second.stream.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let state = soon(reducer.shutdown()).await;
    let ends: Vec<_> = state
        .connections
        .iter()
        .map(|connection| connection.end.clone())
        .collect();
    assert_eq!(ends, [Some(End::Closed), Some(End::Closed)]);
}

#[tokio::test]
async fn how_a_peer_ended_is_sent() {
    let reducer = reducer(Options::default()).await;
    let mut cut = Peer::connect(reducer.addr()).await;
    cut.push(VersionInfo {
        major: 0,
        minor: 11,
        patch: 0,
    });
    cut.out.truncate(20);
    cut.send().await;
    drop(cut);
    soon(reducer.wait_until(|state| state.connection(1).is_some_and(|c| c.end.is_some()))).await;

    let mut reset = Peer::connect(reducer.addr()).await;
    reset.send_handshake().await;
    socket2::SockRef::from(&reset.stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(reset);
    soon(reducer.wait_until(|state| state.connection(2).is_some_and(|c| c.end.is_some()))).await;

    let state = soon(reducer.shutdown()).await;
    let cut = "at plain byte 0: the stream ends within a message";
    assert_eq!(
        state.connections[0].end,
        Some(End::CutShort(cut.to_owned()))
    );
    assert_eq!(state.connections[1].end, Some(End::Reset));
}

#[tokio::test]
async fn it_stops_listening_and_starts_again_on_the_same_port() {
    let reducer = reducer(Options::default()).await;
    let mut open = Peer::connect(reducer.addr()).await;
    soon(reducer.wait_until(|state| state.connections.len() == 1)).await;
    soon(reducer.stop_listening()).await;
    let refused = soon(TcpStream::connect(reducer.addr())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    open.send_handshake().await;
    soon(reducer.wait_until(|state| state.connections[0].handshake_done())).await;

    reducer.start_listening().await.unwrap();
    reducer.start_listening().await.unwrap();
    let mut again = Peer::connect(reducer.addr()).await;
    again.send_handshake().await;
    soon(reducer.wait_until(|state| state.connection(2).is_some_and(|c| c.handshake_done()))).await;
    assert_eq!(reducer.connections(), 2);
    soon(reducer.shutdown()).await;
}

#[tokio::test]
async fn a_paused_reducer_stalls_its_peer_and_loses_nothing() {
    let options = Options {
        receive_buffer: Some(4096),
        keep_everything: false,
        ..Options::default()
    };
    let reducer = reducer(options).await;
    let mut peer = Peer::connect(reducer.addr()).await;
    socket2::SockRef::from(&peer.stream)
        .set_send_buffer_size(4096)
        .unwrap();
    peer.send_handshake().await;
    soon(reducer.wait_until(|state| state.latest().is_some_and(|c| c.handshake_done()))).await;
    reducer.pause_reading();

    let mut uid = vec![0; 16_000];
    let mut sent = 0;
    // Noise does not shrink, so the socket is soon full.
    while peer.out.is_empty() {
        uid.iter_mut().for_each(|byte| *byte = fastrand::u8(..));
        peer.push(PodDelete { uid: &uid });
        peer.writer.flush(&mut peer.out);
        sent += 1;
        match peer.stream.try_write(&peer.out) {
            Ok(len) => drop(peer.out.drain(..len)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!(reducer.with(|state| state.latest().unwrap().count("pod_delete")) < sent);

    reducer.resume_reading();
    soon(peer.send()).await;
    soon(reducer.wait_until(|state| state.latest().unwrap().count("pod_delete") == sent)).await;
    let state = soon(reducer.shutdown()).await;
    assert_eq!(
        (state.log.len(), state.connections[0].raw.len()),
        (0, 0),
        "only counters are kept"
    );
    assert_eq!(
        state.reducer_state().unwrap().counts().deletes_unknown,
        sent
    );
}

#[tokio::test]
async fn garbage_reaches_the_peer() {
    let reducer = reducer(Options::default()).await;
    let mut peer = Peer::connect(reducer.addr()).await;
    soon(reducer.wait_until(|state| state.connections.len() == 1)).await;
    reducer.send_garbage(b"junk");
    let mut found = [0; 4];
    soon(peer.stream.read_exact(&mut found)).await.unwrap();
    assert_eq!(&found, b"junk");
    soon(reducer.shutdown()).await;
    assert_eq!(
        soon(peer.stream.read(&mut found)).await.unwrap(),
        0,
        "the end closes what is open"
    );
}

#[tokio::test]
async fn a_rejecting_reducer_closes_after_each_handshake() {
    let reducer = reducer(Options {
        close_after_handshake: true,
        ..Options::default()
    })
    .await;
    for n in 1..=3 {
        let mut peer = Peer::connect(reducer.addr()).await;
        peer.send_handshake().await;
        assert_eq!(soon(peer.stream.read(&mut [0; 8])).await.unwrap(), 0);
        soon(reducer.wait_until(|state| {
            state
                .connection(n)
                .is_some_and(|c| c.end == Some(End::Closed))
        }))
        .await;
    }
    soon(reducer.shutdown()).await;
}

#[tokio::test]
async fn without_keeping_everything_old_reducer_states_are_forgotten() {
    let reducer = reducer(Options {
        keep_everything: false,
        ..Options::default()
    })
    .await;
    for (n, uid) in [(1, "a"), (2, "b")] {
        let mut peer = Peer::connect(reducer.addr()).await;
        peer.send_handshake().await;
        peer.pod(uid);
        peer.send().await;
        peer.stream.shutdown().await.unwrap();
        soon(reducer.wait_until(|state| {
            state
                .connection(n)
                .is_some_and(|c| c.end.is_some() && c.messages == 4)
        }))
        .await;
        reducer.with(|state| assert!(state.reducer_state().unwrap().pod(uid.as_bytes()).is_some()));
    }
    let state = soon(reducer.shutdown()).await;
    assert_eq!(state.connections[0].reducer_state().pods(), 0);
    assert_eq!(
        state.connections[0].reducer_state().counts().pods_received,
        1
    );
}
