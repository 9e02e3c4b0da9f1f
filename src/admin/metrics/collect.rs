//! What the port of the watchers counts.

use std::{fmt, sync::atomic::Ordering::Relaxed};

use super::{Sources, Table, by, load, number, one};
use crate::source::legacy::Reason;

pub(super) fn rows(table: &mut Table<'_>, sources: &Sources) -> fmt::Result {
    let counters = &sources.legacy;
    table.counter(
        "collect_streams_opened",
        None,
        "Collect streams that were opened",
        [one(load(&counters.opened))],
    )?;
    table.counter(
        "collect_streams_closed",
        None,
        "Collect streams that were closed again",
        [one(load(&counters.closed))],
    )?;
    table.counter(
        "collect_streams_refused",
        None,
        "Collect streams that were refused because too many were open",
        [one(load(&counters.streams.refused))],
    )?;
    table.counter(
        "collect_streams_gave_way",
        None,
        "Collect streams without an Info that were ended to make room for a new one",
        [one(load(&counters.streams.gave_way))],
    )?;
    // In this order: no stream closes before it opens.
    let closed = counters.closed.load(Relaxed);
    let open = counters.opened.load(Relaxed).saturating_sub(closed);
    table.gauge(
        "collect_streams",
        None,
        "Collect streams that are open",
        [one(number(open))],
    )?;
    table.gauge(
        "collect_connections",
        None,
        "Connections that are open at the port of Collect",
        [one(load(&counters.connections.open))],
    )?;
    table.counter(
        "collect_connections_refused",
        None,
        "Connections that were closed at once because too many were open",
        [one(load(&counters.connections.refused))],
    )?;
    table.counter(
        "collect_infos",
        None,
        "Infos that watchers sent",
        [one(load(&counters.infos))],
    )?;
    table.counter(
        "collect_infos_ignored",
        None,
        "Of these, how many were dropped unread because the native source alone counts",
        [one(load(&counters.ignored))],
    )?;
    table.counter(
        "collect_dropped",
        None,
        "What watchers sent that could not be used, or was odd",
        Reason::ALL.map(|reason| {
            let count = counters.dropped.get(reason);
            by("reason", reason.name(), number(count))
        }),
    )
}
