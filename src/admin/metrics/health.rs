//! What ails the connection to the reducer, and each native watch, in bounded labels.

use std::borrow::Cow;

use super::{
    Scrape,
    table::{Metric, Sample, Samples, by, each, flag, gauge, maybe, number, one},
};
use crate::{admin::api::Watch, reducer::Failure, source::Reason};

/// The states that a watch can have.
const WATCH_STATES: [&str; 5] = ["starting", "healthy", "failing", "not allowed", "refused"];

/// The reducer's state: who feeds it, whether it can be sent, and whether the stage is kept.
pub(super) const METRICS: &[Metric] = &[
    gauge(
        "auto_suspended",
        "1 if --migrate auto is suspended: it has rolled back too often, or an operator has rolled back",
        |scrape| {
            let Some(auto) = &scrape.status.auto else {
                return Samples::new();
            };
            let operator = ("operator", flag(auto.stopped_by_operator));
            each("reason", [("rollbacks", flag(auto.suspended)), operator])
        },
    ).by(&["reason"]),
    gauge(
        "state_age",
        "For how long no source has fed the reducer's state; 0 while one does",
        |scrape| {
            let unfed = scrape.status.unfed.as_ref();
            one(unfed.map_or(0.0, |unfed| unfed.seconds))
        },
    )
    .seconds(),
    gauge(
        "stage_kept",
        "1 if the state file holds the stage, so that a restart goes on in it; absent without --state-file",
        |scrape| {
            let kept = scrape.status.kept.as_ref();
            maybe(kept.map(|kept| flag(kept.kept)))
        },
    ),
    gauge(
        "reducer_since",
        "How long the reducer has been connected, or not",
        |scrape| one(scrape.status.reducer.since_seconds),
    )
    .seconds(),
    gauge(
        "reducer_down",
        "1 for the reason why the reducer is not connected",
        |scrape| {
            let reducer = &scrape.status.reducer;
            let error = reducer.last_error.as_ref().filter(|_| !reducer.connected);
            let is = |reason| flag(error.is_some_and(|error| error.reason == reason));
            each(
                "reason",
                Failure::REASONS.map(|reason| (reason, is(reason))),
            )
        },
    ).by(&["reason"]),
];

/// The native watches of each resource, whatever their namespaces; none without a native source.
fn watches(scrape: &Scrape) -> impl Iterator<Item = (Resource, Vec<&Watch>)> {
    let native = scrape.status.native.as_ref();
    native.into_iter().flat_map(|feed| {
        let kinds = scrape.sources.unmatched.kinds().iter();
        kinds.map(|(_, row)| {
            let of = feed.watches.iter();
            let of = of.filter(|watch| watch.resource == row.resource);
            (row.resource.clone(), of.collect())
        })
    })
}

/// The plural name of a kind.
type Resource = Cow<'static, str>;

/// How many watches of a resource are in some state.
fn count(resource: &Resource, label: (&'static str, &'static str), count: usize) -> Sample {
    let (label, is) = label;
    Sample {
        labels: vec![("resource", resource.clone()), (label, is.into())],
        value: number(count as u64),
    }
}

/// Native watches by resource, whatever their namespaces.
pub(super) const WATCHES: &[Metric] = &[
    gauge(
        "watches",
        "Native watches by resource and state",
        |scrape| {
            let counts = watches(scrape).flat_map(|(resource, watches)| {
                WATCH_STATES.map(|state| {
                    let are = watches.iter().filter(|watch| watch.state == state).count();
                    count(&resource, ("state", state), are)
                })
            });
            counts.collect()
        },
    )
    .by(&["resource", "state"]),
    gauge(
        "watches_failing",
        "Native watches that are not healthy, by resource and the reason of their last failure",
        |scrape| {
            let counts = watches(scrape).flat_map(|(resource, watches)| {
                Reason::ALL.into_iter().filter_map(move |reason| {
                    let reason = reason.label();
                    let fails = |watch: &&&Watch| {
                        let error = watch.last_error.as_ref();
                        watch.state != "healthy"
                            && error.is_some_and(|error| error.reason == reason)
                    };
                    let failing = watches.iter().filter(fails).count();
                    (failing > 0).then(|| count(&resource, ("reason", reason), failing))
                })
            });
            counts.collect()
        },
    )
    .by(&["resource", "reason"]),
    gauge(
        "watch_last_event_age",
        "How long ago a native watch of this resource has sent something",
        |scrape| {
            let ages = watches(scrape).filter_map(|(resource, watches)| {
                let ages = watches.iter().filter_map(|watch| watch.last_event_seconds);
                Some(by("resource", resource, ages.reduce(f64::min)?))
            });
            ages.collect()
        },
    )
    .by(&["resource"])
    .seconds(),
];
