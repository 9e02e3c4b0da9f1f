//! The reducer: its connection, what it was told on this one, and what on all of them.

use super::table::{Metric, counter, each, flag, gauge, number, one};

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "reducer_connected",
        "1 if the reducer is connected and greeted",
        |scrape| one(flag(scrape.status.reducer.connected)),
    ),
    gauge(
        "reducer_settled",
        "1 if the reducer is told everything and nothing is owed",
        |scrape| one(flag(scrape.status.reducer.settled)),
    ),
    gauge(
        "reducer_epoch",
        "The number of the present picture",
        |scrape| one(number(scrape.status.reducer.epoch)),
    ),
    gauge(
        "reducer_pods",
        "Pods told on the present connection",
        |scrape| one(number(scrape.status.reducer.pods)),
    ),
    gauge(
        "reducer_containers",
        "Different containers told on the present connection",
        |scrape| one(number(scrape.status.reducer.containers)),
    ),
    gauge("reducer_queued", "Bytes that wait to be sent", |scrape| {
        one(number(scrape.status.reducer.queued_bytes))
    })
    .bytes(),
];

/// Since the start, on all connections.
pub(super) const TOTALS: &[Metric] = &[
    counter(
        "reducer_connections",
        "Connections to the reducer that stood",
        |scrape| one(number(scrape.status.reducer.totals.link.connections)),
    ),
    counter(
        "reducer_failed_dials",
        "Attempts to connect to the reducer that failed",
        |scrape| one(number(scrape.status.reducer.totals.link.failed_dials)),
    ),
    counter(
        "reducer_stalls",
        "Connections that were ended because the reducer took nothing",
        |scrape| one(number(scrape.status.reducer.totals.link.stalls)),
    ),
    counter(
        "reducer_unflushed_ends",
        "Connections that were ended although bytes waited, stalled ones included",
        |scrape| one(number(scrape.status.reducer.totals.link.unflushed_ends)),
    ),
    counter(
        "reducer_discarded",
        "Bytes that the reducer said, all thrown away",
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
        "Messages told to the reducer, told again ones included",
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
    ),
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
        "reducer_cut_texts",
        "Texts that were cut to make their message fit",
        |scrape| one(number(scrape.status.reducer.totals.sent.cut_texts)),
    ),
    counter(
        "reducer_refused_messages",
        "Messages that could not be made to fit and were not told",
        |scrape| one(number(scrape.status.reducer.totals.sent.refused)),
    ),
    counter(
        "reducer_pools_outgrown",
        "Connections on which the live set outgrew a pool of the reducer, which then loses some",
        |scrape| one(number(scrape.status.reducer.totals.sent.pools_outgrown)),
    ),
];
