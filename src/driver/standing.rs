//! How the sources and the reducer's connection stand, row by row, for people and metrics.

use std::time::{Duration, Instant};

use super::{Driver, Stream, watches::Watched};
use crate::{
    admin::api::{DeletesPending, Stream as StreamRow, Unfed},
    feeds::{SourceKind, View},
    source::StreamId,
};

/// Streams that are shown, at most; the open ones first, the newest first.
const STREAMS_SHOWN: usize = 20;

impl Driver {
    /// Since when nobody has fed what is announced, and why, if so.
    pub(super) fn unfed(&self, now: Instant) -> Option<Unfed> {
        let active = self.feeds.views().find(|view| view.active);
        let Some(view) = active else {
            let why = match self.feeds.active_source() {
                SourceKind::Collect => "no legacy watcher has sent anything yet",
                SourceKind::Native => "the native source does not run yet",
            };
            return Some(since(self.started, why, now));
        };
        match (view.source, view.is_open()) {
            (SourceKind::Collect, true) => None,
            (SourceKind::Collect, false) => {
                let stream = self.stream_of(&view).and_then(|(_, stream)| stream.ended);
                let ended = stream.or(view.last_event()).unwrap_or(view.opened());
                Some(since(ended, "the legacy watcher's stream has ended", now))
            }
            (SourceKind::Native, false) => {
                let last = view.last_event().unwrap_or(view.opened());
                let why = "the native source was ended, and no legacy watcher has taken over";
                Some(since(last, why, now))
            }
            (SourceKind::Native, true) => {
                let failing = self.watched.as_ref().and_then(Watched::all_failing_since);
                failing.map(|at| since(at, "all native watches fail", now))
            }
        }
    }

    /// Why deletes wait, if they do.
    pub(super) fn deletes_pending(&self, now: Instant) -> Option<DeletesPending> {
        let pending = self.feeds.deletes_pending()?;
        Some(DeletesPending {
            pods: pending.pods as u64,
            since_seconds: seconds(now, pending.since),
            reason: pending.why.name().to_owned(),
            why: pending.why.to_string(),
        })
    }

    fn stream_of(&self, view: &View<'_>) -> Option<(StreamId, &Stream)> {
        let of = |(_, stream): &(&StreamId, &Stream)| stream.generation == view.generation;
        self.streams
            .iter()
            .find(of)
            .map(|(id, stream)| (*id, stream))
    }

    /// One row for each stream, those that have ended of late included.
    pub(super) fn stream_rows(&self, now: Instant) -> Vec<StreamRow> {
        let mut streams: Vec<_> = self.streams.iter().collect();
        streams.sort_by_key(|(id, stream)| (!stream.open, std::cmp::Reverse(**id)));
        let rows = streams.into_iter().take(STREAMS_SHOWN);
        rows.map(|(id, stream)| self.stream_row(*id, stream, now))
            .collect()
    }

    fn stream_row(&self, id: StreamId, stream: &Stream, now: Instant) -> StreamRow {
        let view = self.feeds.feed_view(stream.generation);
        let active = view.as_ref().is_some_and(|view| view.active);
        let role = match (active, self.feeds.active_source()) {
            (true, _) => "active",
            (false, _) if !stream.open => "ended",
            (false, _) if !self.feeds.hears_streams() => "ignored",
            (false, SourceKind::Collect) => "standby",
            (false, SourceKind::Native) => "shadow",
        };
        StreamRow {
            stream: id.0,
            peer: stream.peer.map(|peer| peer.to_string()),
            role: role.to_owned(),
            open: stream.open,
            synced: view.is_some_and(|view| view.is_listed()),
            since_seconds: seconds(now, stream.ended.unwrap_or(stream.opened)),
            last_event_seconds: stream.last.map(|at| seconds(now, at)),
            infos: stream.infos,
        }
    }
}

fn since(at: Instant, why: &str, now: Instant) -> Unfed {
    Unfed {
        seconds: seconds(now, at),
        why: why.to_owned(),
    }
}

fn seconds(now: Instant, then: Instant) -> f64 {
    let passed: Duration = now.saturating_duration_since(then);
    passed.as_secs_f64()
}
