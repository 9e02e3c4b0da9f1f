//! How both feeds compare.

use std::collections::BTreeMap;

use super::{
    Scrape,
    table::{Metric, Samples, each, flag, gauge, maybe, number},
};
use crate::{
    admin::api::Parity,
    migrate::compare::{Field, Rule},
};

/// Of the comparison, if there is one.
fn of(scrape: &Scrape, value: impl Fn(&Parity) -> Option<f64>) -> Samples {
    maybe(scrape.status.parity.as_ref().and_then(value))
}

/// Samples of the comparison, if there is one.
fn rows(scrape: &Scrape, samples: impl Fn(&Parity) -> Samples) -> Samples {
    let parity = scrape.status.parity.as_ref();
    parity.map(samples).unwrap_or_default()
}

/// Counts by known names; any other one counts as `other`.
fn named<const N: usize>(
    label: &'static str,
    names: [&'static str; N],
    counts: &BTreeMap<String, u64>,
) -> Samples {
    let of = |name: &str| counts.get(name).copied().unwrap_or_default();
    let known = names.map(of).iter().sum();
    let other = counts.values().sum::<u64>().saturating_sub(known);
    let known = names.map(|name| (name, number(of(name))));
    each(label, known.into_iter().chain([("other", number(other))]))
}

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "parity_comparing",
        "1 if both sources are synced and compared",
        |scrape| of(scrape, |parity| Some(flag(parity.comparing))),
    ),
    gauge(
        "parity_held",
        "How long no divergence has been confirmed, pauses left out",
        |scrape| of(scrape, |parity| Some(parity.held_seconds)),
    )
    .seconds(),
    gauge(
        "parity_hold",
        "How long parity must hold for an operator's cutover",
        |scrape| of(scrape, |parity| Some(parity.hold_seconds)),
    )
    .seconds(),
    gauge(
        "parity_auto_hold",
        "How long parity must hold for the autopilot's cutover, unless it has rolled back too often",
        |scrape| of(scrape, |parity| parity.auto_hold_seconds),
    )
    .seconds(),
    gauge(
        "parity_digests_equal",
        "1 if the digests of both sources are equal; absent while they are not compared",
        |scrape| {
            of(scrape, |parity| {
                let equal = parity.legacy_digest == parity.native_digest;
                parity.comparing.then(|| flag(equal))
            })
        },
    ),
    gauge(
        "parity_divergences",
        "Divergences of the sources; confirmed ones have lasted for --settle",
        |scrape| {
            rows(scrape, |parity| {
                let settled = ("confirmed", number(parity.divergences));
                each("state", [settled, ("unconfirmed", number(parity.unsettled))])
            })
        },
    ).by(&["state"]),
    gauge(
        "parity_diverging_fields",
        "Divergences of the sources by field",
        |scrape| {
            let names = Field::ALL.map(Field::as_str);
            rows(scrape, |parity| named("field", names, &parity.by_field))
        },
    ).by(&["field"]),
    gauge(
        "parity_expected_differences",
        "Expected differences of the sources, by allow rule",
        |scrape| {
            let names = Rule::ALL.map(Rule::as_str);
            rows(scrape, |parity| named("rule", names, &parity.expected))
        },
    ).by(&["rule"]),
    gauge(
        "next_step_pods",
        "Pods that a change to the other source would announce, delete or change",
        |scrape| {
            rows(scrape, |parity| {
                let switch = &parity.switch;
                let changes = [
                    ("announce", switch.announce),
                    ("delete", switch.delete),
                    ("change", switch.change),
                ];
                each("change", changes.map(|(is, pods)| (is, number(pods))))
            })
        },
    ).by(&["change"]),
];
