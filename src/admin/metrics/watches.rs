//! What the native watches count.

use super::table::{Metric, Sample, counter, each, histogram, load, number, one};
use crate::source::{Reason, native::decode::ObjectError};

pub(super) const METRICS: &[Metric] = &[
    counter("watch_requests", "Requests to the API server", |scrape| {
        one(load(&scrape.sources.native.requests))
    }),
    counter(
        "watch_lists",
        "Lists that the relay read to their end",
        |scrape| one(load(&scrape.sources.native.lists)),
    ),
    histogram(
        "watch_list",
        "How long lists took that were read to their end, by resource",
        |scrape| {
            let kinds = scrape.sources.unmatched.kinds();
            let lists = scrape.sources.native.list_seconds();
            let lists = lists.map(|(kind, seconds)| {
                let resource = kinds.row(kind).resource.clone();
                (vec![("resource", resource)], seconds)
            });
            lists.collect()
        },
    )
    .seconds()
    .by(&["resource"]),
    counter(
        "watch_restarts",
        "Requests that are over, so that the relay asked again, by resource and reason; `ended` is the server's regular end of a watch",
        |scrape| {
            let kinds = scrape.sources.unmatched.kinds().iter();
            let counts = kinds.flat_map(|(kind, row)| {
                Reason::ALL.map(|reason| Sample {
                    labels: vec![
                        ("resource", row.resource.clone()),
                        ("reason", reason.label().into()),
                    ],
                    value: number(scrape.sources.native.restarts(kind, reason)),
                })
            });
            counts.collect()
        },
    )
    .by(&["resource", "reason"]),
    counter(
        "watch_failures",
        "Requests to the API server that failed",
        |scrape| one(load(&scrape.sources.native.failures)),
    ),
    counter(
        "watch_dropped",
        "Objects, and parts of objects, that the relay could not use",
        |scrape| {
            let dropped = |why| number(scrape.sources.native.dropped(why));
            each(
                "reason",
                ObjectError::ALL.map(|why| (why.label(), dropped(why))),
            )
        },
    )
    .by(&["reason"]),
];
