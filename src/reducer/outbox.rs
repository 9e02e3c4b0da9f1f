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
    frames::{Frames, Next},
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
    /// Where frames end, if one is written at a time.
    frames: Option<Frames>,
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
            frames: None,
        }
    }

    /// Written one frame at a time, each of which may be held up.
    #[must_use]
    pub(super) fn frame_by_frame(self) -> Self {
        let frames = Some(Frames::default());
        Self { frames, ..self }
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
        self.frames = self.frames.take().map(|_| Frames::default());
    }

    /// The bytes that the network shall take next.
    pub fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// What may be written next, and whether it is of the session itself; one frame at most, if
    /// that is asked for. Of pods, `may_begin` says whether a frame may be begun, and `may_end`
    /// whether the rest of one may be written.
    pub(super) fn next(&self, may_begin: bool, may_end: bool) -> Option<(&[u8], bool)> {
        let Some(frames) = &self.frames else {
            return Some((self.unsent(), false)).filter(|(bytes, _)| !bytes.is_empty());
        };
        match frames.next(may_begin, may_end)? {
            Next::Aside => Some((frames.aside(), true)),
            Next::Bytes(len, control) => Some((self.unsent().get(..len)?, control)),
        }
    }

    /// Has the session say something that passes the pods that are held up, unless it has
    /// something to say already.
    pub(super) fn aside(&mut self, words: impl FnOnce(&mut Self)) {
        let Some(frames) = self.frames.take_if(|frames| frames.has_room_aside()) else {
            return;
        };
        let writer = mem::replace(&mut self.writer, Writer::after_handshake());
        let bytes = mem::take(&mut self.bytes);
        let sent = mem::take(&mut self.sent);
        let lag = mem::take(&mut self.lag);
        let first_unflushed = self.first_unflushed.take();
        words(self);
        self.flush();
        let aside = mem::replace(&mut self.bytes, bytes);
        (self.writer, self.sent, self.lag) = (writer, sent, lag);
        self.first_unflushed = first_unflushed;
        let frames = self.frames.insert(frames);
        frames.put_aside(aside);
    }

    /// All frames that wait are of the session itself.
    pub(super) fn frames_are_control(&mut self) {
        if let Some(frames) = &mut self.frames {
            frames.are_control();
        }
    }

    /// Whether no frame is half written.
    pub(super) fn is_between_frames(&self) -> bool {
        self.frames.as_ref().is_none_or(Frames::is_between)
    }

    /// The network has taken the first `len` of what was next.
    pub fn advance(&mut self, len: usize) {
        if let Some(frames) = &mut self.frames
            && frames.advance(len)
        {
            return;
        }
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
        if let Some(frames) = &mut self.frames {
            frames.push(framed);
        }
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
            if let Some(frames) = &mut self.frames {
                frames.push(self.bytes.len() - len);
            }
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
mod tests;
