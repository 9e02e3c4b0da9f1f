//! The reducer: its connection, what was sent on this one, and what on all of them.

use super::table::{Metric, counter, each, flag, gauge, histogram, number, one};
use crate::announce::ResendReason;

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "reducer_connected",
        "1 if the relay is connected to the reducer and has sent the handshake",
        |scrape| one(flag(scrape.status.reducer.connected)),
    ),
    gauge(
        "reducer_up_to_date",
        "1 if the reducer is up to date: connected, and nothing is queued",
        |scrape| one(flag(scrape.status.reducer.settled)),
    ),
    gauge(
        "reducer_epoch",
        "The epoch: the number in the last pod_resync",
        |scrape| one(number(scrape.status.reducer.epoch)),
    ),
    gauge(
        "reducer_pods",
        "Pods announced on the present connection",
        |scrape| one(number(scrape.status.reducer.pods)),
    ),
    gauge(
        "reducer_containers",
        "Different containers announced on the present connection",
        |scrape| one(number(scrape.status.reducer.containers)),
    ),
    gauge("reducer_queued", "Bytes that wait to be sent", |scrape| {
        one(number(scrape.status.reducer.queued_bytes))
    })
    .bytes(),
    gauge(
        "reducer_queue_limit",
        "Bytes that may wait to be sent; above that the relay sends everything again later",
        |scrape| one(number(scrape.status.reducer.queue_limit_bytes)),
    )
    .bytes(),
    histogram(
        "event_lag",
        "Time from when an event was read to when the write returned that carried it: one observation for each frame, of its oldest event",
        |scrape| vec![(Vec::new(), scrape.sources.lag.histogram())],
    )
    .seconds(),
];

/// Since the start, on all connections.
pub(super) const TOTALS: &[Metric] = &[
    counter(
        "reducer_connections",
        "Connections to the reducer that were established",
        |scrape| one(number(scrape.status.reducer.totals.link.connections)),
    ),
    counter(
        "reducer_full_resends",
        "Times that everything was sent again, by the reason",
        |scrape| {
            let counts = &scrape.status.reducer.full_resends;
            let of = |reason: ResendReason| counts.get(reason.name()).copied();
            each(
                "reason",
                ResendReason::ALL.map(|reason| (reason.name(), number(of(reason).unwrap_or(0)))),
            )
        },
    )
    .by(&["reason"]),
    counter(
        "reducer_failed_attempts",
        "Connection attempts to the reducer that failed",
        |scrape| one(number(scrape.status.reducer.totals.link.failed_dials)),
    ),
    counter(
        "reducer_send_timeouts",
        "Connections that the relay ended because the reducer read nothing",
        |scrape| one(number(scrape.status.reducer.totals.link.stalls)),
    ),
    counter(
        "reducer_unflushed_ends",
        "Connections that the relay ended although bytes were queued, send timeouts included",
        |scrape| one(number(scrape.status.reducer.totals.link.unflushed_ends)),
    ),
    counter(
        "reducer_discarded",
        "Bytes that the reducer sent, all dropped",
        |scrape| one(number(scrape.status.reducer.totals.link.discarded_bytes)),
    )
    .bytes(),
    counter(
        "reducer_ended_recordings",
        "Recordings (--record-intake-output) that ended early: their disk was full, slow or gone",
        |scrape| one(number(scrape.status.reducer.totals.link.ended_recordings)),
    ),
    counter(
        "reducer_messages",
        "Messages sent to the reducer, re-sent ones included",
        |scrape| {
            let sent = &scrape.status.reducer.totals.sent;
            let counts = [
                ("pod", sent.pods),
                ("container", sent.containers),
                ("delete", sent.deletes),
                ("resync", sent.resyncs),
                ("control", sent.control),
            ];
            each(
                "message",
                counts.map(|(message, count)| (message, number(count))),
            )
        },
    )
    .by(&["message"]),
    counter(
        "reducer_plain",
        "Bytes of all messages to the reducer, before compression",
        |scrape| one(number(scrape.status.reducer.totals.sent.plain_bytes)),
    )
    .bytes(),
    counter(
        "reducer_frames",
        "Compressed frames made for the reducer",
        |scrape| one(number(scrape.status.reducer.totals.sent.frames)),
    ),
    counter(
        "reducer_truncated_strings",
        "Strings that the relay truncated to make their message fit",
        |scrape| one(number(scrape.status.reducer.totals.sent.cut_texts)),
    ),
    counter(
        "reducer_unencodable_messages",
        "Messages that the relay could not make fit and did not send",
        |scrape| one(number(scrape.status.reducer.totals.sent.refused)),
    ),
    counter(
        "reducer_capacity_exceeded",
        "Connections on which more pods or containers were announced than the reducer can keep; it loses some",
        |scrape| one(number(scrape.status.reducer.totals.sent.pools_outgrown)),
    ),
];
