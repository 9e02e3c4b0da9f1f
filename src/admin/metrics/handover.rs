//! What the metrics say of streams that hand over (D4).

use super::table::{Metric, each, gauge, number, one};
use crate::admin::api::DeletesPending;

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "deletes_pending_pods",
        "Pods that stay announced although they may be gone, by the reason; 0 for all others",
        |scrape| {
            let pending = scrape.status.deletes_pending.as_ref();
            let pods = |reason| {
                let pods = pending.filter(|pending| pending.reason == reason);
                number(pods.map_or(0, |pending| pending.pods))
            };
            let reasons = DeletesPending::reasons();
            each("reason", reasons.map(|reason| (reason, pods(reason))))
        },
    )
    .by(&["reason"]),
    gauge(
        "deletes_pending",
        "For how long deletes have been pending; 0 if none are",
        |scrape| {
            let pending = scrape.status.deletes_pending.as_ref();
            one(pending.map_or(0.0, |pending| pending.since_seconds))
        },
    )
    .seconds(),
    gauge(
        "streams_disagreeing",
        "Synced Collect streams that share less than half of their pods with the active one",
        |scrape| one(number(scrape.status.streams_disagreeing)),
    ),
];
