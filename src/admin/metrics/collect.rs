//! What the port of the watchers counts.

use std::sync::atomic::Ordering::Relaxed;

use super::table::{Metric, counter, each, gauge, load, number, one};
use crate::source::legacy::Reason;

pub(super) const METRICS: &[Metric] = &[
    counter(
        "collect_streams_opened",
        "Collect streams that were opened",
        |scrape| one(load(&scrape.sources.legacy.opened)),
    ),
    counter(
        "collect_streams_closed",
        "Collect streams that were closed again",
        |scrape| one(load(&scrape.sources.legacy.closed)),
    ),
    counter(
        "collect_streams_refused",
        "Collect streams that the relay refused because too many were open",
        |scrape| one(load(&scrape.sources.legacy.streams.refused)),
    ),
    counter(
        "collect_streams_gave_way",
        "Collect streams without an Info that were ended to make room for a new one",
        |scrape| one(load(&scrape.sources.legacy.streams.gave_way)),
    ),
    gauge(
        "collect_streams",
        "Collect streams that are open",
        |scrape| {
            let counters = &scrape.sources.legacy;
            // In this order: no stream closes before it opens.
            let closed = counters.closed.load(Relaxed);
            let open = counters.opened.load(Relaxed).saturating_sub(closed);
            one(number(open))
        },
    ),
    gauge(
        "collect_connections",
        "Connections that are open at the port of Collect",
        |scrape| one(load(&scrape.sources.legacy.connections.open)),
    ),
    counter(
        "collect_connections_refused",
        "Connections that the relay closed at once because too many were open",
        |scrape| one(load(&scrape.sources.legacy.connections.refused)),
    ),
    counter("collect_infos", "Infos that watchers sent", |scrape| {
        one(load(&scrape.sources.legacy.infos))
    }),
    counter(
        "collect_infos_ignored",
        "Of these, how many the relay dropped undecoded because only the native source counts",
        |scrape| one(load(&scrape.sources.legacy.ignored)),
    ),
    counter(
        "collect_dropped",
        "What watchers sent that the relay could not use, or that was odd",
        |scrape| {
            let count = |reason| number(scrape.sources.legacy.dropped.get(reason));
            each(
                "reason",
                Reason::ALL.map(|reason| (reason.name(), count(reason))),
            )
        },
    )
    .by(&["reason"]),
];
