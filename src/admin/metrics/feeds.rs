//! The feeds: what each knows, and the stores of its objects.

use super::{
    Scrape,
    table::{Metric, Sample, Samples, by, counter, flag, gauge, number},
};
use crate::admin::api::Feed;

/// The feeds that there are, by their names.
fn feeds(scrape: &Scrape) -> impl Iterator<Item = (&'static str, &Feed)> {
    let status = &scrape.status;
    let all = [("legacy", &status.legacy), ("native", &status.native)];
    all.into_iter()
        .filter_map(|(name, feed)| Some((name, feed.as_ref()?)))
}

/// One value for each feed that has it.
fn each(scrape: &Scrape, value: impl Fn(&Feed) -> Option<f64>) -> Samples {
    feeds(scrape)
        .filter_map(|(name, feed)| Some(by("source", name, value(feed)?)))
        .collect()
}

/// Some counts of each feed.
fn counts<const N: usize>(
    scrape: &Scrape,
    label: &'static str,
    of: impl Fn(&Feed) -> [(&'static str, u64); N],
) -> Samples {
    let counted = feeds(scrape).flat_map(|(name, feed)| {
        of(feed).map(|(is, count)| Sample {
            labels: vec![("source", name.into()), (label, is.into())],
            value: number(count),
        })
    });
    counted.collect()
}

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "source_active",
        "1 if this source is active: its live pods are announced",
        |scrape| each(scrape, |feed| Some(flag(feed.active))),
    ).by(&["source"]),
    gauge(
        "source_open",
        "1 if this source has an open stream, or native watches that run",
        |scrape| each(scrape, |feed| Some(flag(feed.open))),
    ).by(&["source"]),
    gauge(
        "source_synced",
        "1 if this source is synced: its first lists are complete",
        |scrape| each(scrape, |feed| Some(flag(feed.listed))),
    ).by(&["source"]),
    gauge(
        "source_age",
        "How long this source has been open",
        |scrape| each(scrape, |feed| Some(feed.since_seconds)),
    ).by(&["source"])
    .seconds(),
    gauge(
        "source_last_event_age",
        "How long ago this source sent something; absent before it has",
        |scrape| each(scrape, |feed| feed.last_event_seconds),
    ).by(&["source"])
    .seconds(),
    gauge(
        "source_pods",
        "Pods of this source by their state",
        |scrape| {
            counts(scrape, "state", |feed| {
                let others = feed.pods.saturating_sub(feed.live + feed.waiting);
                [
                    ("live", feed.live),
                    ("waiting", feed.waiting),
                    ("no_address", others),
                ]
            })
        },
    ).by(&["source", "state"]),
    gauge(
        "source_owners",
        "ReplicaSets and Jobs of this source, deleted ones that still resolve pods included",
        |scrape| each(scrape, |feed| Some(number(feed.owners))),
    ).by(&["source"]),
    gauge(
        "store_objects",
        "Objects in the stores of this source",
        |scrape| {
            let kinds = scrape.sources.unmatched.kinds();
            let stored = feeds(scrape).flat_map(|(name, feed)| {
                kinds.iter().filter_map(move |(_, row)| {
                    let objects = *feed.stored.get(&row.key())?;
                    Some(Sample {
                        labels: vec![("source", name.into()), ("kind", row.label().into())],
                        value: number(objects),
                    })
                })
            });
            stored.collect()
        },
    ).by(&["source", "kind"]),
    gauge(
        "source_streams",
        "Collect streams of this source that are open, or native watches that run",
        |scrape| each(scrape, |feed| Some(number(feed.sources))),
    ).by(&["source"]),
    gauge(
        "source_unhealthy_streams",
        "Of those, how many are not healthy",
        |scrape| each(scrape, |feed| Some(number(feed.unhealthy))),
    ).by(&["source"]),
    counter(
        "source_expired_owner_waits",
        "Pods announced under their direct owner after --owner-wait, because that one did not appear",
        |scrape| each(scrape, |feed| Some(number(feed.given_up))),
    ).by(&["source"]),
];
