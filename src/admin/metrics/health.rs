//! What ails the connection to the reducer, and each native watch, in bounded labels.

use std::fmt;

use super::{Row, Table, Unit, by, flag, number, one};
use crate::{
    admin::api::{Feed, Status},
    source::Reason,
};

/// The states that a watch can have, and the resources that are watched.
const WATCH_STATES: [&str; 5] = ["starting", "healthy", "failing", "not allowed", "refused"];
const RESOURCES: [&str; 3] = ["pods", "replicasets", "jobs"];

/// Why there can be no connection to the reducer, as its side says it.
const REDUCER_REASONS: [&str; 7] = [
    "resolve",
    "refused",
    "timeout",
    "unreachable",
    "closed",
    "broken",
    "stalled",
];

/// The reducer's state: who feeds it, whether it can be sent, and whether the stage is kept.
pub(super) fn state(table: &mut Table<'_>, status: &Status) -> fmt::Result {
    let reducer = &status.reducer;
    let auto = status.auto.as_ref();
    table.gauge(
        "auto_suspended",
        None,
        "1 if --migrate auto takes no steps: it has rolled back too often, or an operator has",
        auto.into_iter().flat_map(|auto| {
            [
                by("reason", "rollbacks", flag(auto.given_up)),
                by("reason", "operator", flag(auto.stopped_by_operator)),
            ]
        }),
    )?;
    let age = status.unfed.as_ref().map_or(0.0, |unfed| unfed.seconds);
    table.gauge(
        "state_age",
        Some(Unit::Seconds),
        "For how long nobody has fed the reducer's state; 0 while a source does",
        [one(age)],
    )?;
    table.gauge(
        "stage_kept",
        None,
        "1 if a restart would go on with the stage; absent without --state-file",
        status.kept.as_ref().map(|kept| one(flag(kept.kept))),
    )?;
    table.gauge(
        "reducer_since",
        Some(Unit::Seconds),
        "How long the reducer has been connected, or not",
        [one(reducer.since_seconds)],
    )?;
    let error = reducer.last_error.as_ref().filter(|_| !reducer.connected);
    table.gauge(
        "reducer_down",
        None,
        "1 for the reason why the reducer is not connected",
        REDUCER_REASONS.map(|reason| {
            let is = error.is_some_and(|error| error.reason == reason);
            by("reason", reason, flag(is))
        }),
    )
}

/// Native watches by resource, whatever their namespaces.
pub(super) fn watches(table: &mut Table<'_>, native: Option<&Feed>) -> fmt::Result {
    let watches = native.map(|feed| feed.watches.as_slice());
    let watches = watches.unwrap_or_default();
    let of = |resource: &'static str| {
        let all = watches.iter();
        all.filter(move |watch| watch.resource == resource)
    };
    let resources = || RESOURCES.into_iter().filter(|_| native.is_some());
    table.gauge(
        "watches",
        None,
        "Native watches by resource and state",
        resources().flat_map(|resource| {
            WATCH_STATES.map(|state| {
                let count = of(resource).filter(|watch| watch.state == state).count();
                Row {
                    labels: vec![("resource", resource), ("state", state)],
                    value: number(count as u64),
                }
            })
        }),
    )?;
    table.gauge(
        "watches_failing",
        None,
        "Native watches that are not healthy, by resource and the reason of their last failure",
        resources().flat_map(|resource| {
            Reason::ALL.into_iter().filter_map(move |reason| {
                let reason = reason.label();
                let failing = of(resource).filter(|watch| {
                    let error = watch.last_error.as_ref();
                    watch.state != "healthy" && error.is_some_and(|error| error.reason == reason)
                });
                let count = failing.count() as u64;
                (count > 0).then(|| Row {
                    labels: vec![("resource", resource), ("reason", reason)],
                    value: number(count),
                })
            })
        }),
    )?;
    table.gauge(
        "watch_last_event_age",
        Some(Unit::Seconds),
        "How long ago a native watch of this resource has sent something",
        resources().filter_map(|resource| {
            let ages = of(resource).filter_map(|watch| watch.last_event_seconds);
            Some(by("resource", resource, ages.reduce(f64::min)?))
        }),
    )
}
