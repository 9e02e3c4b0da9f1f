//! What the metrics say of streams that hand over (D4).

use std::fmt;

use prometheus_client::registry::Unit;

use super::{Table, by, number, one};
use crate::admin::api::{DeletesPending, Status};

pub(super) fn handover(table: &mut Table<'_>, status: &Status) -> fmt::Result {
    let pending = status.deletes_pending.as_ref();
    table.gauge(
        "deletes_pending_pods",
        None,
        "Pods that stay announced although they may be gone, by the reason; 0 for all others",
        DeletesPending::reasons().map(|reason| {
            let pods = pending.filter(|pending| pending.reason == reason);
            let pods = pods.map_or(0, |pending| pending.pods);
            by("reason", reason, number(pods))
        }),
    )?;
    table.gauge(
        "deletes_pending",
        Some(Unit::Seconds),
        "For how long deletes have been pending; 0 if none are",
        [one(pending.map_or(0.0, |pending| pending.since_seconds))],
    )?;
    table.gauge(
        "streams_disagreeing",
        None,
        "Synced Collect streams that share less than half of their pods with the active one",
        [one(number(status.streams_disagreeing))],
    )
}
