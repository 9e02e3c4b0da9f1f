//! What waits to be sent: takes the core's verbs, makes frames of them, keeps the bytes
//! until the network has taken them.
//!
//! Invariants: nothing is allocated for each message; a new connection starts with nothing of the
//! one before it; once a backlog is gone, so is its memory. It is never full: the core looks at
//! [`Sink::queued`] and holds back (D6).
//!
//! Absent here: sockets and clocks. The caller says what time it is.

use std::{
    mem,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    handshake::Say,
    lag::Lag,
    project::{self, Projected},
    record::Recorder,
};
use crate::{
    announce::{Epoch, Sink},
    model::{ContainerMeta, IdBuf, OwnerRef, PodMeta, Uid},
    wire::{Encode, Writer, messages::PodResync},
};

/// The bytes queued for the reducer, and counts of what was sent so far.
pub struct Outbox {
    /// Whether there is a connection to say things on.
    open: bool,
    writer: Writer,
    /// Complete frames; those before `sent` are with the network.
    bytes: Vec<u8>,
    sent: usize,
    clock: Clock,
    now: Instant,
    /// `now` on the wire.
    timestamp: u64,
    first_unflushed: Option<Instant>,
    low_mark: usize,
    /// Whether somebody waits for the low mark.
    draining: bool,
    emptying: bool,
    recorder: Recorder,
    limits: Limits,
    counters: SendCounters,
    pub(super) lag: Lag,
}

/// The time on the wire: the monotonic clock, moved by a distance that was sampled once (protocol 3).
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    unix: Duration,
}

/// What was sent since the start, on all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendCounters {
    /// Pods, re-sent ones included.
    pub pods: u64,
    /// Containers, re-sent ones included.
    pub containers: u64,
    /// Deleted pods.
    pub deletes: u64,
    /// `pod_resync`.
    pub resyncs: u64,
    /// Messages of the session itself: handshake, heartbeat, health.
    pub control: u64,
    /// Bytes of all these, before compression.
    pub plain_bytes: u64,
    /// Frames.
    pub frames: u64,
    /// Texts that were cut to make their message fit (D8).
    pub cut_texts: u64,
    /// Messages that could not be made to fit, because their ids alone are too long.
    pub refused: u64,
    /// Connections on which the live set outgrew a pool of the reducer, which then loses pods or
    /// containers silently (D5); one that outgrew both counts twice.
    pub pools_outgrown: u64,
}

/// Which of the reducer's pools have been reported too small on this connection.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    pods: bool,
    containers: bool,
}

impl Outbox {
    /// An outbox without connection. `low_mark` is in bytes, see [`Outbox::ask_empty`].
    pub fn new(clock: Clock, low_mark: usize, recorder: Recorder) -> Self {
        Self {
            open: false,
            writer: Writer::new(),
            bytes: Vec::new(),
            sent: 0,
            now: clock.origin,
            timestamp: clock.timestamp(clock.origin),
            clock,
            first_unflushed: None,
            low_mark,
            draining: false,
            emptying: false,
            recorder,
            limits: Limits::default(),
            counters: SendCounters::default(),
            lag: Lag::default(),
        }
    }

    /// What is queued from here on carries the time `now`.
    pub fn set_time(&mut self, now: Instant) {
        self.now = now;
        self.timestamp = self.clock.timestamp(now);
    }

    /// What is sent from here on, until [`Outbox::events_end`], is sent because of events that were
    /// read then.
    pub fn events_begin(&mut self, read: Instant) {
        self.lag.set_read(Some(read));
    }

    /// The events have been applied. `behind`: not all that they mean may have been sent.
    pub fn events_end(&mut self, behind: bool) {
        if behind {
            self.lag.falls_behind();
        }
        self.lag.set_read(None);
    }

    /// Everything that should be sent has been, events that came in vain before included.
    pub fn has_caught_up(&mut self) {
        if self.open {
            self.lag.has_caught_up();
        }
    }

    /// When the oldest message was queued that is in no frame yet (D7).
    pub fn first_unflushed(&self) -> Option<Instant> {
        self.first_unflushed
    }

    /// Plain bytes that are in no frame yet.
    pub fn pending(&self) -> usize {
        self.writer.pending()
    }

    /// Asks for a `Drained` event as soon as nothing waits any more. Having been above the low
    /// mark asks for one at the low mark.
    pub fn ask_empty(&mut self) {
        self.emptying = true;
    }

    /// How many pods and containers the reducer has now from this connection. Warns and counts
    /// once for each that outgrows the reducer, which then loses some silently (D5).
    pub fn note_live(&mut self, pods: usize, containers: usize) {
        if pods > REDUCER_PODS && !mem::replace(&mut self.limits.pods, true) {
            self.counters.pools_outgrown += 1;
            tracing::warn!(
                pods,
                limit = REDUCER_PODS,
                "reducer capacity exceeded: more pods are announced than the reducer can keep"
            );
        }
        if containers > REDUCER_CONTAINERS && !mem::replace(&mut self.limits.containers, true) {
            self.counters.pools_outgrown += 1;
            let limit = REDUCER_CONTAINERS;
            tracing::warn!(
                containers,
                limit,
                "reducer capacity exceeded: more containers are announced than the reducer can keep"
            );
        }
    }

    /// Counts of what was sent so far.
    pub fn sent(&self) -> SendCounters {
        self.counters
    }

    /// Starts over for a new connection.
    pub fn open(&mut self) {
        self.close();
        self.open = true;
        self.limits = Limits::default();
    }

    /// Forgets what waits; nothing is taken until the next connection.
    pub fn close(&mut self) {
        self.open = false;
        self.writer = Writer::new();
        self.bytes = Vec::new();
        self.sent = 0;
        self.lag.reset();
        self.first_unflushed = None;
        self.draining = false;
        self.emptying = false;
    }

    /// The bytes that the network shall take next.
    pub fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// The network has taken the first `len` of [`Outbox::unsent`].
    pub fn advance(&mut self, len: usize) {
        self.lag.sent(len);
        self.sent = (self.sent + len).min(self.bytes.len());
        // Moving the rest costs at most as much as was sent.
        if self.sent * 2 >= self.bytes.len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        if self.bytes.is_empty() && self.bytes.capacity() > IDLE_ROOM {
            self.bytes.shrink_to(IDLE_ROOM);
        }
    }

    /// Whether a mark was reached that somebody waits for. Says so once.
    pub(super) fn take_drained(&mut self) -> bool {
        let drained = self.draining && self.queued() <= self.low_mark;
        let emptied = self.emptying && self.queued() == 0;
        self.draining &= !drained;
        self.emptying &= !emptied;
        drained || emptied
    }

    /// Hands the recording to its file.
    pub(super) fn flush_recording(&mut self) {
        self.recorder.flush();
    }

    /// The recording, for its end.
    pub(super) fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// Recordings that ended early.
    pub(super) fn ended_recordings(&self) -> u64 {
        self.recorder.ended()
    }

    /// Whether the message was taken.
    fn push_message<M: Encode>(&mut self, message: &M) -> bool {
        if !self.open {
            return false;
        }
        let (len, pending) = (self.bytes.len(), self.writer.pending());
        match self.writer.push(self.timestamp, message, &mut self.bytes) {
            Ok(plain) => {
                self.counters.plain_bytes += plain.len() as u64;
                self.recorder.write(plain);
            }
            Err(error) => {
                if self.counters.refused == 0 {
                    tracing::warn!(%error, "the relay cannot encode a message; it skips it, and only counts further ones");
                }
                self.counters.refused += 1;
                return false;
            }
        }
        let framed = self.bytes.len() - len;
        if pending > 0 && framed > 0 {
            self.counters.frames += 1;
            self.first_unflushed = None;
            self.lag.framed(framed);
            self.lag.said();
        } else {
            self.lag.said();
            if framed > 0 {
                self.lag.framed(framed);
            }
        }
        if self.writer.pending() > 0 {
            self.first_unflushed.get_or_insert(self.now);
        }
        self.draining |= self.queued() > self.low_mark;
        true
    }

    fn push_projected<M: Encode>(&mut self, projected: &Projected<M>) -> bool {
        let taken = self.push_message(&projected.message);
        if taken {
            self.counters.cut_texts += projected.cut as u64;
        }
        taken
    }

    fn push_pod(&mut self, pod: &PodMeta, owner: Option<&OwnerRef>) {
        let mut ids = [IdBuf::new(), IdBuf::new()];
        let taken = self.push_projected(&project::pod_new(pod, owner, &mut ids));
        self.counters.pods += u64::from(taken);
    }
}

impl Sink for Outbox {
    fn queued(&self) -> usize {
        self.unsent().len() + self.pending()
    }

    fn pod_new(&mut self, pod: &PodMeta, owner: &OwnerRef) {
        self.push_pod(pod, Some(owner));
    }

    fn pod_new_no_owner(&mut self, pod: &PodMeta) {
        self.push_pod(pod, None);
    }

    fn pod_container(&mut self, pod: &Uid, container: &ContainerMeta) {
        let mut ids = [IdBuf::new(), IdBuf::new()];
        let taken = self.push_projected(&project::pod_container(pod, container, &mut ids));
        self.counters.containers += u64::from(taken);
    }

    fn pod_delete(&mut self, pod: &Uid) {
        let taken = self.push_message(&project::pod_delete(pod, &mut IdBuf::new()));
        self.counters.deletes += u64::from(taken);
    }

    fn pod_resync(&mut self, epoch: Epoch) {
        let taken = self.push_message(&PodResync {
            resync_count: epoch.0,
        });
        self.counters.resyncs += u64::from(taken);
    }
}

impl Say for Outbox {
    fn say<M: Encode>(&mut self, message: M) {
        let taken = self.push_message(&message);
        self.counters.control += u64::from(taken);
    }

    fn flush(&mut self) {
        if self.writer.pending() > 0 {
            let len = self.bytes.len();
            self.writer.flush(&mut self.bytes);
            self.counters.frames += 1;
            self.lag.framed(self.bytes.len() - len);
        }
        self.first_unflushed = None;
    }
}

impl Clock {
    /// `origin` on the monotonic clock is `unix` after the UNIX epoch.
    pub fn new(origin: Instant, unix: Duration) -> Self {
        Self { origin, unix }
    }

    /// Nanoseconds since the UNIX epoch; times before the origin are the origin.
    pub fn timestamp(&self, at: Instant) -> u64 {
        let since = self.unix + at.saturating_duration_since(self.origin);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Pods that the reducer has room for (protocol 11.8).
pub const REDUCER_PODS: usize = 220_000;

/// Containers that the reducer has room for (protocol 11.8).
pub const REDUCER_CONTAINERS: usize = 600_000;

/// Bytes of room that an empty outbox keeps.
const IDLE_ROOM: usize = 256 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
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
        outbox.pod_resync(Epoch(1)); // stands for the greeting: the first message is raw
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
}
