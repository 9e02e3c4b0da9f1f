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
        "1 if both feeds are listed and compared",
        |scrape| of(scrape, |parity| Some(flag(parity.comparing))),
    ),
    gauge(
        "parity_held",
        "How long no divergence has counted, pauses left out",
        |scrape| of(scrape, |parity| Some(parity.held_seconds)),
    )
    .seconds(),
    gauge(
        "parity_hold",
        "How long that must be for an operator's cut-over",
        |scrape| of(scrape, |parity| Some(parity.hold_seconds)),
    )
    .seconds(),
    gauge(
        "parity_auto_hold",
        "How long that must be for the autopilot's cut-over, unless it has given up",
        |scrape| of(scrape, |parity| parity.auto_hold_seconds),
    )
    .seconds(),
    gauge(
        "parity_digests_equal",
        "1 if the digests of both feeds are equal; absent while they are not compared",
        |scrape| {
            of(scrape, |parity| {
                let equal = parity.legacy_digest == parity.native_digest;
                parity.comparing.then(|| flag(equal))
            })
        },
    ),
    gauge(
        "parity_divergences",
        "Divergences of the feeds; settled ones have stood long enough to count",
        |scrape| {
            rows(scrape, |parity| {
                let settled = ("settled", number(parity.divergences));
                each("state", [settled, ("unsettled", number(parity.unsettled))])
            })
        },
    ),
    gauge(
        "parity_diverging_fields",
        "Divergences of the feeds by field",
        |scrape| {
            let names = Field::ALL.map(Field::as_str);
            rows(scrape, |parity| named("field", names, &parity.by_field))
        },
    ),
    gauge(
        "parity_excused",
        "Differences of the feeds that are on purpose, by rule",
        |scrape| {
            let names = Rule::ALL.map(Rule::as_str);
            rows(scrape, |parity| named("rule", names, &parity.excused))
        },
    ),
    gauge(
        "switch_pods",
        "Pods that a switch to the other feed would tell of",
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
    ),
];
