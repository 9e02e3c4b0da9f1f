//! What the feeds have to say about hand-overs, as log lines.

use tracing::{info, warn};

use super::Driver;
use crate::{
    feeds::{Notice, Pending},
    matcher::Generation,
    source::StreamId,
};

impl Driver {
    /// Says what is new. There is at most one line for each change of state.
    pub(super) fn say_notices(&mut self) {
        for notice in self.feeds.take_notices() {
            match notice {
                Notice::HandedOver { to, synced, kept } => info!(
                    stream = self.stream_number(to),
                    synced, kept, "another stream is active"
                ),
                Notice::TookOverUnfit { to, lacks } => warn!(
                    stream = self.stream_number(to),
                    lacks,
                    "a stream is active that knows less than half of the announced pods: there has been no better one for --stream-silence"
                ),
                Notice::DeletesPending(Pending { why, pods, .. }) => warn!(
                    pods,
                    "pods stay announced until another stream is known to be complete: {why}"
                ),
                Notice::DeletesResumed => info!("deletes are no longer pending"),
                Notice::Disagree {
                    active,
                    other,
                    shared,
                    of,
                } => warn!(
                    active = self.stream_number(active),
                    other = self.stream_number(other),
                    shared,
                    of,
                    "two streams share less than half of their pods: do their watchers watch the same cluster and namespaces? The pods of one alone are announced"
                ),
            }
        }
    }

    /// As the lines of the stream itself name it.
    fn stream_number(&self, feed: Generation) -> Option<u64> {
        let mut streams = self.streams.iter();
        let (StreamId(number), _) = streams.find(|(_, stream)| stream.generation == feed)?;
        Some(*number)
    }
}
