//! What the native watches count.

use super::table::{Metric, counter, each, load, number, one};
use crate::source::native::decode::ObjectError;

pub(super) const METRICS: &[Metric] = &[
    counter("watch_requests", "Requests to the API server", |scrape| {
        one(load(&scrape.sources.native.requests))
    }),
    counter(
        "watch_lists",
        "Lists that the relay read to their end",
        |scrape| one(load(&scrape.sources.native.lists)),
    ),
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
    ),
];
