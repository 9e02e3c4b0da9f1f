//! What a watcher sees of it: nothing but its first relay.

use k8s_relay::{
    config::Reconnect,
    proto::info::Event,
    sim::{
        cluster::{Cluster, sent_as},
        watcher::Message,
    },
};
use tonic::Code;

use super::world::{Behind, Tee, World, mock_reducer, send, to};
use crate::support::must;

#[tokio::test]
async fn two_relays_behind_one_watcher_send_the_same() {
    let world = World::start().await;
    world.compared().await;
    let cluster = Cluster::new(5, 60);
    let mut call = world.tee.call().await;
    send(&mut call, cluster.list()).await;
    world.sent(60).await;
    world.tee.equal(60).await;
    for (event, pods) in [(Event::Modified, 0..60), (Event::Deleted, 0..20)] {
        send(&mut call, pods.map(|n| sent_as(event, cluster.pod(n)))).await;
    }
    world.tee.equal(40).await;
    world.sent(40).await;
    let (result, shown) = world.tee.stop().await;
    result.unwrap();
    assert!(
        shown.contains("summary: 1 streams, 1 of them open, 145 messages"),
        "{shown}"
    );
    assert!(
        shown.contains("0 differences stand, 0 have appeared"),
        "{shown}"
    );
}

#[tokio::test]
async fn the_watcher_gets_the_response_and_the_status_of_the_first_relay() {
    let reducer = mock_reducer().await;
    let first = Behind::start(reducer.addr(), |c| c.reconnect = Reconnect::ResetWatcher).await;
    let second = Behind::start(mock_reducer().await.addr(), |_| ()).await;
    let tee = Tee::start(to(&[first.address, second.address])).await;
    let mut call = tee.call().await;
    send(&mut call, Cluster::new(1, 3).list()).await;
    let sent = reducer.wait_until(|s| s.reducer_state().is_some_and(|p| p.pods() == 3));
    must("the pods are sent", sent).await;
    reducer.disconnect().await;
    let outcome = must("the relay resets its watcher", call.ended()).await;
    assert_eq!(outcome.responses, 1);
    assert_eq!(outcome.status, Code::Cancelled);
    assert_eq!(outcome.details, "Cancelled on the server side");

    let mut call = tee.call().await;
    call.half_close();
    let outcome = must("the relay ends it", call.ended()).await;
    assert_eq!((outcome.status, &*outcome.details), (Code::Cancelled, ""));
    tee.stop().await.0.unwrap();
}

#[tokio::test]
async fn with_a_dead_first_relay_the_call_fails_as_with_a_dead_relay() {
    let (of_first, reducer) = (mock_reducer().await, mock_reducer().await);
    let first = Behind::start(of_first.addr(), |_| ()).await;
    let second = Behind::start(reducer.addr(), |_| ()).await;
    let tee = Tee::start(to(&[first.address, second.address])).await;
    let mut open = tee.call().await;
    send(&mut open, Cluster::new(1, 2).list()).await;
    let sent = reducer.wait_until(|s| s.reducer_state().is_some_and(|p| p.pods() == 2));
    must("both are sent", sent).await;
    first.stop().await;
    assert_eq!(
        must("it ends", open.ended()).await.status,
        Code::Unavailable
    );
    // And nobody listens there any more.
    let outcome = must("it fails", tee.call().await.ended()).await;
    assert_eq!((outcome.status, outcome.responses), (Code::Unavailable, 0));
    assert!(
        outcome.details.contains("cannot be reached"),
        "{}",
        outcome.details
    );
    tee.stop().await.0.unwrap();
}

#[tokio::test]
async fn what_a_watcher_sent_before_it_cancelled_reaches_both() {
    let world = World::start().await;
    world.compared().await;
    let mut call = world.tee.call().await;
    send(&mut call, Cluster::new(3, 30).list()).await;
    world.sent(30).await;
    call.cancel();
    world.tee.equal(30).await;
    // The next stream begins again, as with a relay alone.
    let mut call = world.tee.call().await;
    send(&mut call, Cluster::new(3, 10).list()).await;
    world.sent(10).await;
    world.tee.equal(10).await;
    let (result, shown) = world.tee.stop().await;
    result.unwrap();
    assert!(!shown.contains("fallen behind"), "{shown}");
}

#[tokio::test]
async fn what_no_relay_takes_the_tee_refuses_in_the_same_words() {
    let alone = Behind::start(mock_reducer().await.addr(), |_| ()).await;
    let first = Behind::start(mock_reducer().await.addr(), |_| ()).await;
    let second = Behind::start(mock_reducer().await.addr(), |_| ()).await;
    let tee = Tee::start(to(&[first.address, second.address])).await;
    let alone = k8s_relay::sim::watcher::Watcher::connect(&alone.address.to_string())
        .await
        .unwrap();
    for (what, bytes) in [
        ("too large", vec![0; (4 << 20) + 1]),
        ("no Info", vec![0xff; 3]),
    ] {
        let bytes = bytes::Bytes::from(bytes);
        let [mut straight, mut teed] = [alone.open(), tee.call().await];
        for call in [&mut straight, &mut teed] {
            // The end may come while it is sent.
            let _ = must("it is read", call.send(Message::Raw(bytes.clone()))).await;
        }
        let [straight, teed] = [straight.ended().await, must(what, teed.ended()).await];
        assert_eq!(straight, teed, "{what}");
    }
    tee.stop().await.0.unwrap();
}

#[tokio::test]
async fn at_its_end_the_tee_ends_its_calls_as_a_relay_does() {
    let first = Behind::start(mock_reducer().await.addr(), |_| ()).await;
    let second = Behind::start(mock_reducer().await.addr(), |_| ()).await;
    let tee = Tee::start(to(&[first.address, second.address])).await;
    let mut call = tee.call().await;
    send(&mut call, Cluster::new(1, 1).list()).await;
    let (result, _) = tee.stop().await;
    result.unwrap();
    assert_eq!(
        must("it ends", call.ended()).await.status,
        Code::Unavailable
    );
}
