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
        .filter_map(|(name, feed)| Some(by("feed", name, value(feed)?)))
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
            labels: vec![("feed", name.into()), (label, is.into())],
            value: number(count),
        })
    });
    counted.collect()
}

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "feed_active",
        "1 if this feed is told to the reducer",
        |scrape| each(scrape, |feed| Some(flag(feed.active))),
    ),
    gauge(
        "feed_open",
        "1 if the source of this feed still speaks",
        |scrape| each(scrape, |feed| Some(flag(feed.open))),
    ),
    gauge(
        "feed_listed",
        "1 if the first lists of this feed are complete",
        |scrape| each(scrape, |feed| Some(flag(feed.listed))),
    ),
    gauge("feed_age", "How long this feed has been open", |scrape| {
        each(scrape, |feed| Some(feed.since_seconds))
    })
    .seconds(),
    gauge(
        "feed_last_event_age",
        "How long ago this feed told something; absent before it has",
        |scrape| each(scrape, |feed| feed.last_event_seconds),
    )
    .seconds(),
    gauge("feed_pods", "Pods of this feed by their state", |scrape| {
        counts(scrape, "state", |feed| {
            let others = feed.pods.saturating_sub(feed.live + feed.waiting);
            [
                ("live", feed.live),
                ("waiting", feed.waiting),
                ("no_address", others),
            ]
        })
    }),
    gauge(
        "feed_owners",
        "ReplicaSets and Jobs of this feed, deleted ones that still resolve pods included",
        |scrape| each(scrape, |feed| Some(number(feed.owners))),
    ),
    gauge(
        "store_objects",
        "Objects in the stores of this feed",
        |scrape| {
            let kinds = scrape.sources.unmatched.kinds();
            let stored = feeds(scrape).flat_map(|(name, feed)| {
                kinds.iter().filter_map(move |(_, row)| {
                    let objects = *feed.stored.get(&row.key())?;
                    Some(Sample {
                        labels: vec![("feed", name.into()), ("kind", row.label().into())],
                        value: number(objects),
                    })
                })
            });
            stored.collect()
        },
    ),
    gauge(
        "feed_sources",
        "Collect streams that are open, or watches that run",
        |scrape| each(scrape, |feed| Some(number(feed.sources))),
    ),
    gauge(
        "feed_unwell_sources",
        "Of those, how many are not well",
        |scrape| each(scrape, |feed| Some(number(feed.unwell))),
    ),
    counter(
        "feed_given_up_pods",
        "Pods told under their direct owner because they had waited long enough for it",
        |scrape| each(scrape, |feed| Some(number(feed.given_up))),
    ),
];
