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
                    synced, kept, "another stream took over and is the active one"
                ),
                Notice::TookOverUnfit { to, lacks } => warn!(
                    stream = self.stream_number(to),
                    lacks,
                    "the active stream knows less than half of the announced pods: no stream that knows more has been open for --stream-silence"
                ),
                Notice::DeletesPending(Pending { why, pods, .. }) => warn!(
                    pods,
                    "deletes are pending, and pods stay announced until a stream is complete: {why}"
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
                    "two streams share less than half of their pods: do their watchers watch the same cluster and namespaces? The relay announces only the pods of the active stream"
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
