//! What the metrics say of the election among replicas (D19); nothing without `--ha`.

use super::{
    Scrape,
    table::{Metric, counter, flag, gauge, maybe, number},
};
use crate::admin::leadership::Leadership;

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "leader",
        "1 if this replica writes to the reducer, 0 if it does not; absent without --ha",
        |scrape| maybe(of(scrape).map(|one| flag(one.leads()))),
    ),
    counter(
        "leader_terms",
        "How often this process has begun to lead",
        |scrape| maybe(of(scrape).map(|one| number(one.terms))),
    ),
    gauge(
        "leader_transitions",
        "How often the Lease has gone to another holder, as it says itself",
        |scrape| maybe(of(scrape).map(|one| f64::from(one.transitions))),
    ),
    gauge(
        "leader_deadline",
        "How long this replica may write without another renewal of the Lease; 0 if it may not",
        |scrape| maybe(of(scrape).map(|one| one.deadline_seconds)),
    )
    .seconds(),
    gauge(
        "leader_lease_failing",
        "1 if the API server could not be asked about the Lease last",
        |scrape| maybe(of(scrape).map(|one| flag(one.last_error.is_some()))),
    ),
];

fn of(scrape: &Scrape) -> Option<&Leadership> {
    scrape.status.leadership.as_ref()
}
