//! What the loop logs of its state: every few minutes a summary, and each time it is at rest a
//! line that tests wait for.

use tracing::{debug, info, trace};

use super::{
    Driver,
    watches::{Tally, Watched},
};

/// The tracing target of [`Driver::report_progress`].
pub(super) const PROGRESS: &str = "k8s_relay::progress";

impl Driver {
    /// The state, in one line.
    pub(super) fn report(&mut self) {
        let counts = self.feeds.counts();
        let progress = self.reducer.progress();
        let tally = self.watched.as_ref().map(Watched::tally);
        let Tally {
            watches, unhealthy, ..
        } = tally.unwrap_or_default();
        info!(
            connected = progress.connected,
            pods = counts.pods,
            live = counts.live,
            waiting = counts.waiting,
            owners = counts.owners,
            announced = self.feeds.ledger().len(),
            epoch = self.feeds.epoch().0,
            streams = self.streams.values().filter(|stream| stream.open).count(),
            watches,
            unhealthy = unhealthy,
            "state"
        );
        let sent = self.reducer.outbox().sent();
        debug!(link = ?self.reducer.counters(), ?sent, "totals of the connections to the reducer");
    }

    /// One line each time everything taken is applied and handed to the socket: what tests
    /// and curious operators wait for.
    pub(super) fn report_progress(&mut self) {
        let progress = self.reducer.progress();
        if progress.queued > 0 {
            self.reducer.outbox().ask_empty();
        }
        let streams: Vec<_> = self
            .streams
            .iter()
            .map(|(id, s)| format!("{}:{}", id.0, s.infos))
            .collect();
        let streams = streams.join(" ");
        let open = self.streams.iter().filter(|(_, stream)| stream.open);
        let open: Vec<_> = open.map(|(id, _)| id.0.to_string()).collect();
        let open = open.join(" ");
        let watches = self.watched.as_ref().map(Watched::progress);
        let watches = watches.unwrap_or_default();
        let report = format!("{progress:?} {streams} {open} {watches}");
        if report != self.reported {
            trace!(
                target: PROGRESS,
                connection = progress.connection,
                connected = progress.connected,
                sent = progress.sent,
                queued = progress.queued,
                streams,
                open,
                watches,
                "at rest"
            );
            self.reported = report;
        }
    }
}
