//! What a peer reads of what waits.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use super::*;
use crate::{
    model::{ContainerId, Pod},
    wire::{Message, Reader},
};

fn outbox(low_mark: usize) -> (Outbox, Instant) {
    let start = Instant::now();
    let clock = Clock::new(start, Duration::from_secs(1_700_000_000));
    let mut outbox = Outbox::new(clock, low_mark, Recorder::off());
    outbox.open();
    (outbox, start)
}

fn pod(uid: &str, name: &str) -> PodMeta {
    PodMeta::new(Pod {
        uid: Uid::new(uid),
        name: name.into(),
        namespace: "shop".into(),
        version: "1".into(),
        owner: None,
        address: Some([10, 0, 0, 1].into()),
        host_network: false,
        containers: [].into(),
        auxiliary: 0,
    })
}

/// What a peer reads of all that waits.
fn heard(outbox: &Outbox) -> Vec<(u64, &'static str)> {
    let mut reader = Reader::new();
    reader.push(outbox.unsent());
    let mut names = Vec::new();
    while let Some((timestamp, message)) = reader.next_message().unwrap() {
        names.push((timestamp, message.row().name));
    }
    names
}

#[test]
fn verbs_become_messages_in_their_order_and_at_their_time() {
    let (mut outbox, start) = outbox(0);
    outbox.pod_resync(Epoch(1)); // stands for the handshake: the first message is raw
    outbox.set_time(start + Duration::from_nanos(5));
    outbox.pod_new_no_owner(&pod("p1", "web"));
    let container = ContainerMeta {
        id: ContainerId::new("containerd://c1"),
        name: "app".into(),
        image: "app:1".into(),
    };
    outbox.pod_container(&Uid::new("p1"), &container);
    outbox.set_time(start + Duration::from_nanos(7));
    outbox.pod_delete(&Uid::new("p1"));
    outbox.flush();
    let at = |ns: u64| 1_700_000_000_000_000_000 + ns;
    assert_eq!(
        heard(&outbox),
        [
            (at(0), "pod_resync"),
            (at(5), "pod_new_with_name"),
            (at(5), "pod_container"),
            (at(7), "pod_delete"),
        ]
    );
    let counters = outbox.sent();
    assert_eq!(
        (
            counters.pods,
            counters.containers,
            counters.deletes,
            counters.resyncs
        ),
        (1, 1, 1, 1)
    );
    assert_eq!(
        (counters.frames, counters.cut_texts, counters.refused),
        (1, 0, 0)
    );
}

#[test]
fn the_oldest_message_outside_of_a_frame_is_known_by_its_time() {
    let (mut outbox, start) = outbox(0);
    outbox.pod_resync(Epoch(1));
    assert_eq!(outbox.first_unflushed(), None);
    for n in 0..3 {
        outbox.set_time(start + Duration::from_millis(n));
        outbox.pod_delete(&Uid::new("p1"));
    }
    assert_eq!(outbox.first_unflushed(), Some(start));
    outbox.flush();
    assert_eq!(outbox.first_unflushed(), None);
    // A frame that ends because it is full leaves the message that did not fit.
    let long = pod("p1", &"n".repeat(5000));
    for n in 10..12 {
        outbox.set_time(start + Duration::from_millis(n));
        outbox.pod_new_no_owner(&long);
    }
    assert_eq!(
        outbox.first_unflushed(),
        Some(start + Duration::from_millis(11))
    );
    assert_eq!(outbox.sent().frames, 2);
}

#[test]
fn cut_texts_and_messages_beyond_help_are_counted() {
    let (mut outbox, _) = outbox(0);
    outbox.pod_resync(Epoch(1));
    outbox.pod_new_no_owner(&pod("p1", &"n".repeat(20_000)));
    outbox.pod_delete(&Uid::new(&"u".repeat(20_000)));
    outbox.flush();
    assert_eq!(heard(&outbox).len(), 2);
    let counters = outbox.sent();
    assert_eq!(
        (counters.cut_texts, counters.refused, counters.deletes),
        (2, 1, 0)
    );
}

#[test]
fn a_backlog_says_once_that_it_has_drained_and_leaves_no_memory_behind() {
    let (mut outbox, _) = outbox(1 << 20);
    assert!(!outbox.take_drained());
    for n in 0..60_000_u64 {
        // Every pod differs in bits that compress badly.
        let uid = format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        outbox.pod_new_no_owner(&pod(&uid, "w"));
    }
    assert!(outbox.queued() > 1 << 20);
    assert!(!outbox.take_drained());
    outbox.flush();
    let mut drained_at = None;
    while outbox.queued() > 0 {
        outbox.advance(10_000);
        if outbox.take_drained() {
            assert_eq!(drained_at.replace(outbox.queued()), None);
        }
    }
    assert!(drained_at.unwrap() > (1 << 20) - 10_000);
    assert!(outbox.bytes.capacity() <= IDLE_ROOM);
}

#[test]
fn who_asks_for_the_low_mark_is_sent_even_if_it_was_never_passed() {
    let (mut outbox, _) = outbox(100);
    outbox.ask_empty();
    assert!(outbox.take_drained());
    assert!(!outbox.take_drained());
}

#[test]
fn a_new_connection_starts_with_nothing_of_the_old_one() {
    let (mut outbox, _) = outbox(0);
    outbox.pod_resync(Epoch(1));
    outbox.pod_delete(&Uid::new("old"));
    outbox.close();
    outbox.pod_delete(&Uid::new("between"));
    assert_eq!((outbox.queued(), outbox.first_unflushed()), (0, None));
    outbox.open();
    outbox.pod_resync(Epoch(2));
    outbox.flush();
    let mut reader = Reader::new();
    reader.push(outbox.unsent());
    let expected = Message::from(PodResync { resync_count: 2 });
    assert_eq!(reader.next_message().unwrap().unwrap().1, expected);
    assert_eq!(reader.next_message().unwrap(), None);
    assert_eq!(outbox.sent().deletes, 1);
}

#[test]
fn a_live_set_beyond_the_reducers_pools_is_counted_once_for_each_pool_and_connection() {
    let (mut outbox, _) = outbox(0);
    outbox.note_live(REDUCER_PODS, REDUCER_CONTAINERS);
    assert_eq!(outbox.sent().pools_outgrown, 0);
    for _ in 0..3 {
        outbox.note_live(REDUCER_PODS + 1, 0);
    }
    assert_eq!(outbox.sent().pools_outgrown, 1);
    outbox.note_live(0, REDUCER_CONTAINERS + 1);
    assert_eq!(outbox.sent().pools_outgrown, 2);
    outbox.open();
    outbox.note_live(REDUCER_PODS + 1, 0);
    assert_eq!(outbox.sent().pools_outgrown, 3);
}
