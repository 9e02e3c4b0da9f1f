//! The tap before a real reducer.

use std::net::SocketAddr;

use k8s_relay::tools::tee::ReducerListen;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::world::{Tee, here, host_port, to};
use crate::support::{must, peer::Peer};

/// A tee with a tap before `real` for its first relay. Nobody streams here.
async fn tapped(real: SocketAddr) -> Tee {
    let nobody = here();
    let mut args = to(&[nobody, nobody]);
    let listen = here();
    args.reducer_listen = vec![
        ReducerListen {
            listen,
            real: Some(host_port(real)),
        },
        ReducerListen { listen, real: None },
    ];
    Tee::start(args).await
}

#[tokio::test]
async fn a_tap_passes_every_byte_on_in_both_directions_and_each_end() {
    let listener = TcpListener::bind(here()).await.unwrap();
    let tee = tapped(listener.local_addr().unwrap()).await;
    let mut relay = Peer::connect(tee.bound.reducers[0]).await;
    let (mut real, _) = must("the tap connects", listener.accept()).await.unwrap();
    relay.send_handshake().await;
    relay.pod("p");
    relay.send().await;
    tee.shows("first (127.0.0.1:0) is in comparison").await;
    relay
        .stream
        .write_all(b"what no relay would say")
        .await
        .unwrap();
    tee.shows(
        "first (127.0.0.1:0) is out of comparison: it sends its reducer what cannot be decoded",
    )
    .await;
    // It goes on nevertheless.
    relay.stream.write_all(b"the end").await.unwrap();
    real.write_all(b"what no reducer would say").await.unwrap();
    relay.stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    must("the reducer hears the end", real.read_to_end(&mut heard))
        .await
        .unwrap();
    assert!(heard.ends_with(b"what no relay would saythe end"));
    drop(real);
    let mut answered = Vec::new();
    must(
        "the relay hears the end",
        relay.stream.read_to_end(&mut answered),
    )
    .await
    .unwrap();
    assert_eq!(answered, b"what no reducer would say");
}

/// Whether the kernel probes, on the side of `local`, whether `remote` is still there.
fn is_probed(local: SocketAddr, remote: SocketAddr) -> bool {
    let ends = [local, remote].map(|end| format!("0100007F:{:04X}", end.port()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let row = table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        (fields[1..3] == ends).then(|| fields[5].to_owned())
    });
    // The timer that runs: 2 is that of keepalive.
    row.is_some_and(|timer| timer.starts_with("02:"))
}

#[tokio::test]
async fn a_relay_or_a_real_reducer_that_has_gone_without_a_word_is_noticed() {
    let listener = TcpListener::bind(here()).await.unwrap();
    let real = listener.local_addr().unwrap();
    let tee = tapped(real).await;
    for (side, tap) in tee.bound.reducers.iter().enumerate() {
        let relay = TcpStream::connect(tap).await.unwrap();
        let relay = relay.local_addr().unwrap();
        must("the relay is probed", async {
            while !is_probed(*tap, relay) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        if side == 0 {
            let (_real, from) = must("the tap connects", listener.accept()).await.unwrap();
            must("the reducer is probed", async {
                while !is_probed(from, real) {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_relay_is_sent_away_while_the_real_reducer_is() {
    let listener = TcpListener::bind(here()).await.unwrap();
    let real = listener.local_addr().unwrap();
    drop(listener);
    let tee = tapped(real).await;
    let mut relay = TcpStream::connect(tee.bound.reducers[0]).await.unwrap();
    let mut nothing = Vec::new();
    // By FIN or RST: the tap has read nothing.
    let _ = must("it is sent away", relay.read_to_end(&mut nothing)).await;
    tee.shows(&format!("the reducer at {real} cannot be reached"))
        .await;
}

#[tokio::test]
async fn a_reducer_that_ends_a_connection_ends_it_for_the_relay() {
    let listener = TcpListener::bind(here()).await.unwrap();
    let tee = tapped(listener.local_addr().unwrap()).await;
    let mut relay = Peer::connect(tee.bound.reducers[0]).await;
    let (real, _) = must("the tap connects", listener.accept()).await.unwrap();
    drop(real);
    let mut nothing = Vec::new();
    must("the relay hears it", relay.stream.read_to_end(&mut nothing))
        .await
        .unwrap();
    assert_eq!(nothing, b"");
}

#[tokio::test]
async fn a_probe_of_a_reducers_port_takes_nobody_out_of_comparison() {
    let tee = tapped(here()).await;
    let at = tee.bound.reducers[1];
    // Before its relay is there, a stranger may be it.
    let mut stranger = TcpStream::connect(at).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    tee.shows("out of comparison: it sends its reducer what cannot be decoded")
        .await;
    let mut relay = Peer::connect(at).await;
    relay.send_handshake().await;
    relay.pod("p");
    relay.send().await;
    tee.shows("second (127.0.0.1:0) is in comparison").await;
    let mark = tee.mark();
    let mut probe = TcpStream::connect(at).await.unwrap();
    probe.shutdown().await.unwrap();
    let mut nothing = Vec::new();
    must("the probe is sent away", probe.read_to_end(&mut nothing))
        .await
        .unwrap();
    let mut stranger = TcpStream::connect(at).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    // By FIN or RST: not all was read.
    let _ = must("so is it", stranger.read_to_end(&mut nothing)).await;
    relay.pod("q");
    relay.send().await;
    must("the relay is heard", async {
        while !tee.digests().await[1].ends_with("/2") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let shown = tee.shown();
    assert!(!shown[mark..].contains("out of comparison"), "{shown}");
}

#[tokio::test]
async fn only_the_newest_connection_of_a_relay_counts() {
    let tee = tapped(here()).await;
    let at = tee.bound.reducers[1];
    let mut old = Peer::connect(at).await;
    old.send_handshake().await;
    old.pod("of-the-old-one");
    old.send().await;
    tee.shows("second (127.0.0.1:0) is in comparison").await;
    let mark = tee.mark();
    let mut new = Peer::connect(at).await;
    new.send_handshake().await;
    new.send().await;
    tee.shows_after(
        mark,
        "second (127.0.0.1:0) is out of comparison: it has not sent its reducer handshake",
    )
    .await;
    let mark = tee.mark();
    new.pod("of-the-new-one");
    new.pod("another");
    new.send().await;
    old.pod("late");
    old.send().await;
    old.stream.shutdown().await.unwrap();
    must("the new one counts", async {
        while !tee.digests().await[1].ends_with("/2") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(
        !tee.shown()[mark..].contains("out of comparison"),
        "{}",
        tee.shown()
    );
}
