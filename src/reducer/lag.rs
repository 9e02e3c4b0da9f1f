//! How long it takes from when an event was read until the network has what was said of it.
//!
//! Each frame has the time of the oldest event in it, and its end in the stream of bytes; when the
//! network has taken that much, the frame's age is one observation. What finds no room in the
//! buffer, or no connection, is remembered as one time: the oldest. It counts when the reducer has
//! caught up.
//!
//! Invariants: no observation is earlier than the write that carried the event; the memory is
//! bounded; nothing is allocated for an event.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use prometheus_client::metrics::histogram::Histogram;

/// Frames that are remembered by themselves. The last one stands for those that follow it.
const MOST: usize = 1024;

/// The upper bounds of the histogram, in seconds.
const BOUNDS: [f64; 17] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 300.0,
];

/// How long events took from their reading to the network. A cheap handle.
#[derive(Clone, Debug)]
pub struct LagSeconds(Histogram);

impl Default for LagSeconds {
    fn default() -> Self {
        Self(Histogram::new(BOUNDS))
    }
}

impl LagSeconds {
    pub(super) fn observe(&self, lag: Duration) {
        self.0.observe(lag.as_secs_f64());
    }

    /// In seconds, one observation for each frame with events in it.
    pub fn histogram(&self) -> Histogram {
        self.0.clone()
    }
}

/// What waits to be observed.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// When the events were read that are applied now.
    read: Option<Instant>,
    /// The oldest event of the frame that is still open.
    open: Option<Instant>,
    /// Complete frames with events in them, in the order of the stream.
    frames: VecDeque<Frame>,
    /// Of the stream, in bytes.
    framed: u64,
    sent: u64,
    /// The oldest event of which something may not have been said.
    behind: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    end: u64,
    oldest: Instant,
}

impl Lag {
    /// What is said from here on is said of events that were read then, or of none.
    pub(super) fn set_read(&mut self, at: Option<Instant>) {
        self.read = at;
    }

    /// A message was put into the open frame.
    pub(super) fn said(&mut self) {
        self.open = older(self.open, self.read);
    }

    /// The open frame is complete, with so many bytes.
    pub(super) fn framed(&mut self, bytes: usize) {
        self.framed += bytes as u64;
        if let Some(oldest) = self.open.take() {
            self.push(oldest);
        }
    }

    /// The network has so many bytes more.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// The events that are applied now may not all have been said.
    pub(super) fn falls_behind(&mut self) {
        self.behind = older(self.behind, self.read);
    }

    /// All that had not been said is said or framed.
    pub(super) fn has_caught_up(&mut self) {
        if let Some(oldest) = self.behind.take() {
            match self.open {
                Some(_) => self.open = older(self.open, Some(oldest)),
                None => self.push(oldest),
            }
        }
    }

    /// The bytes that wait will never be sent, and there may be others instead.
    pub(super) fn reset(&mut self) {
        let lost = self.frames.iter().map(|frame| frame.oldest);
        self.behind = lost.fold(older(self.behind, self.open), |behind, at| {
            older(behind, Some(at))
        });
        self.open = None;
        self.frames.clear();
        self.sent = self.framed;
    }

    /// Whether [`Self::take`] has something.
    pub(super) fn is_due(&self) -> bool {
        self.frames
            .front()
            .is_some_and(|frame| frame.end <= self.sent)
    }

    /// The oldest event of the next frame that the network has.
    pub(super) fn take(&mut self) -> Option<Instant> {
        let sent = self.sent;
        let frame = self.frames.pop_front_if(|frame| frame.end <= sent)?;
        Some(frame.oldest)
    }

    fn push(&mut self, oldest: Instant) {
        let frame = Frame {
            end: self.framed,
            oldest,
        };
        let is_full = self.frames.len() >= MOST;
        match self.frames.back_mut() {
            Some(last) if is_full => {
                *last = Frame {
                    end: frame.end,
                    oldest: last.oldest.min(oldest),
                };
            }
            Some(_) | None => self.frames.push_back(frame),
        }
    }
}

fn older(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any moment will do")]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What is due, in seconds after the start.
    fn due(lag: &mut Lag, start: Instant) -> Vec<u64> {
        assert_eq!(
            lag.is_due(),
            lag.frames.front().is_some_and(|f| f.end <= lag.sent)
        );
        std::iter::from_fn(|| lag.take())
            .map(|at| at.duration_since(start).as_secs())
            .collect()
    }

    #[test]
    fn a_frame_counts_once_for_its_oldest_event_when_the_network_has_all_of_it() {
        let (mut lag, start) = (Lag::default(), Instant::now());
        let at = |seconds| Some(start + Duration::from_secs(seconds));
        for seconds in [3, 2, 4] {
            lag.set_read(at(seconds));
            lag.said();
        }
        lag.framed(100);
        lag.set_read(None);
        // A heartbeat is of no event.
        lag.said();
        lag.framed(10);
        lag.set_read(at(5));
        lag.said();
        lag.framed(50);
        lag.sent(99);
        assert_eq!(due(&mut lag, start), [0; 0]);
        lag.sent(1);
        assert_eq!(due(&mut lag, start), [2]);
        lag.sent(59);
        assert_eq!(due(&mut lag, start), [0; 0]);
        lag.sent(1);
        assert_eq!(due(&mut lag, start), [5]);
    }

    #[test]
    fn what_found_no_room_or_was_thrown_away_counts_when_the_reducer_has_caught_up() {
        let (mut lag, start) = (Lag::default(), Instant::now());
        let at = |seconds| Some(start + Duration::from_secs(seconds));
        lag.set_read(at(2));
        lag.said();
        lag.framed(100);
        lag.set_read(at(1));
        lag.falls_behind();
        lag.set_read(at(3));
        lag.falls_behind();
        // The connection is lost with what waits.
        lag.reset();
        assert_eq!(due(&mut lag, start), [0; 0]);
        lag.set_read(at(9));
        lag.said();
        lag.has_caught_up();
        lag.framed(40);
        lag.sent(40);
        assert_eq!(due(&mut lag, start), [1]);
        // Also where nothing had to be said.
        lag.set_read(at(4));
        lag.falls_behind();
        lag.has_caught_up();
        assert_eq!(due(&mut lag, start), [4]);
    }

    #[test]
    fn a_long_backlog_of_frames_takes_a_bounded_place_and_loses_no_age() {
        let (mut lag, start) = (Lag::default(), Instant::now());
        let frames = MOST as u64 + 500;
        for seconds in 0..frames {
            lag.set_read(Some(start + Duration::from_secs(seconds)));
            lag.said();
            lag.framed(1);
        }
        assert_eq!(lag.frames.len(), MOST);
        lag.sent(MOST);
        assert_eq!(
            due(&mut lag, start).len(),
            MOST - 1,
            "the last one is longer"
        );
        lag.sent(500);
        assert_eq!(due(&mut lag, start), [MOST as u64 - 1]);
    }
}
