//! Every metric: its name, unit, labels and meaning, in one place. Read at each scrape from the
//! status that the loop gives and from what the sources count.
//!
//! Names begin with `k8s_relay_`; a unit ends the name, and `_total` ends a counter's. Label
//! names and values are from fixed lists, so the number of series is bounded.

mod collect;
mod handover;

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, exemplar::Exemplar},
    registry::{Registry, Unit},
};

mod health;

use super::{
    Sources,
    api::{Feed, Parity, Status, Totals},
};
use crate::{
    migrate::{
        Stage,
        compare::{Field, Rule},
    },
    source::native::decode::ObjectError,
};

/// All metrics as OpenMetrics text.
pub fn text(status: &Status, sources: &Sources) -> String {
    let mut registry = Registry::with_prefix("k8s_relay");
    registry.register_collector(Box::new(Scrape {
        status: status.clone(),
        sources: sources.clone(),
    }));
    let mut text = String::new();
    // A `String` takes everything.
    let _ = text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Scrape {
    status: Status,
    sources: Sources,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut table = Table(encoder);
        process(&mut table, &self.status)?;
        health::state(&mut table, &self.status)?;
        reducer(&mut table, &self.status)?;
        totals(&mut table, &self.status.reducer.totals)?;
        feeds(&mut table, &self.status)?;
        handover::handover(&mut table, &self.status)?;
        parity(&mut table, self.status.parity.as_ref())?;
        collect::rows(&mut table, &self.sources)?;
        watches(&mut table, &self.sources)
    }
}

fn process(table: &mut Table<'_>, status: &Status) -> fmt::Result {
    table.info(
        "build",
        "The version of the program",
        "version",
        env!("CARGO_PKG_VERSION"),
    )?;
    table.gauge(
        "uptime",
        Some(Unit::Seconds),
        "How long the process has run",
        [one(status.up_seconds)],
    )?;
    table.gauge(
        "stage",
        None,
        "1 for the stage of the migration that it is in",
        Stage::ALL.map(|stage| by("stage", stage.as_str(), flag(stage == status.stage))),
    )?;
    table.gauge(
        "stage_age",
        Some(Unit::Seconds),
        "How long the migration has been in this stage",
        [one(status.stage_seconds)],
    )?;
    table.gauge(
        "cutover_forced",
        None,
        "1 if the last cut-over was forced",
        [one(flag(status.forced))],
    )?;
    table.gauge(
        "waiting_for_watcher",
        None,
        "1 if old watchers are to be told on, but none is connected",
        [one(flag(status.waiting_for_watcher))],
    )?;
    let auto = status.auto.as_ref();
    table.counter(
        "auto_rollbacks",
        None,
        "Rollbacks that --migrate auto has done by itself",
        auto.map(|auto| one(f64::from(auto.rollbacks))),
    )?;
    table.gauge(
        "auto_given_up",
        None,
        "1 if --migrate auto has rolled back too often and an operator is to decide",
        auto.map(|auto| one(flag(auto.given_up))),
    )
}

fn reducer(table: &mut Table<'_>, status: &Status) -> fmt::Result {
    let reducer = &status.reducer;
    table.gauge(
        "reducer_connected",
        None,
        "1 if the reducer is connected and greeted",
        [one(flag(reducer.connected))],
    )?;
    table.gauge(
        "reducer_settled",
        None,
        "1 if the reducer is told everything and nothing is owed",
        [one(flag(reducer.settled))],
    )?;
    table.gauge(
        "reducer_epoch",
        None,
        "The number of the present picture",
        [one(number(reducer.epoch))],
    )?;
    table.gauge(
        "reducer_pods",
        None,
        "Pods told on the present connection",
        [one(number(reducer.pods))],
    )?;
    table.gauge(
        "reducer_containers",
        None,
        "Different containers told on the present connection",
        [one(number(reducer.containers))],
    )?;
    table.gauge(
        "reducer_queued",
        Some(Unit::Bytes),
        "Bytes that wait to be sent",
        [one(number(reducer.queued_bytes))],
    )
}

fn totals(table: &mut Table<'_>, totals: &Totals) -> fmt::Result {
    table.counter(
        "reducer_connections",
        None,
        "Connections to the reducer that stood",
        [one(number(totals.connections))],
    )?;
    table.counter(
        "reducer_failed_dials",
        None,
        "Attempts to connect to the reducer that failed",
        [one(number(totals.failed_dials))],
    )?;
    table.counter(
        "reducer_stalls",
        None,
        "Connections that were ended because the reducer took nothing",
        [one(number(totals.stalls))],
    )?;
    table.counter(
        "reducer_unflushed_ends",
        None,
        "Connections that were ended although bytes waited, stalled ones included",
        [one(number(totals.unflushed_ends))],
    )?;
    table.counter(
        "reducer_discarded",
        Some(Unit::Bytes),
        "Bytes that the reducer said, all thrown away",
        [one(number(totals.discarded_bytes))],
    )?;
    table.counter(
        "reducer_ended_recordings",
        None,
        "Recordings (--record-intake-output) that ended early: their disk was full, slow or gone",
        [one(number(totals.ended_recordings))],
    )?;
    table.counter(
        "reducer_messages",
        None,
        "Messages told to the reducer, told again ones included",
        [
            by("message", "pod", number(totals.pods)),
            by("message", "container", number(totals.containers)),
            by("message", "delete", number(totals.deletes)),
            by("message", "resync", number(totals.resyncs)),
            by("message", "control", number(totals.control)),
        ],
    )?;
    table.counter(
        "reducer_plain",
        Some(Unit::Bytes),
        "Bytes of all messages to the reducer, before compression",
        [one(number(totals.plain_bytes))],
    )?;
    table.counter(
        "reducer_frames",
        None,
        "Compressed frames made for the reducer",
        [one(number(totals.frames))],
    )?;
    table.counter(
        "reducer_cut_texts",
        None,
        "Texts that were cut to make their message fit",
        [one(number(totals.cut_texts))],
    )?;
    table.counter(
        "reducer_refused_messages",
        None,
        "Messages that could not be made to fit and were not told",
        [one(number(totals.refused))],
    )?;
    table.counter(
        "reducer_pools_outgrown",
        None,
        "Connections on which the live set outgrew a pool of the reducer, which then loses some",
        [one(number(totals.pools_outgrown))],
    )
}

fn feeds(table: &mut Table<'_>, status: &Status) -> fmt::Result {
    let feeds = [("legacy", &status.legacy), ("native", &status.native)];
    let each = |value: fn(&Feed) -> Option<f64>| {
        feeds.into_iter().filter_map(move |(name, feed)| {
            let value = value(feed.as_ref()?)?;
            Some(by("feed", name, value))
        })
    };
    table.gauge(
        "feed_active",
        None,
        "1 if this feed is told to the reducer",
        each(|feed| Some(flag(feed.active))),
    )?;
    table.gauge(
        "feed_open",
        None,
        "1 if the source of this feed still speaks",
        each(|feed| Some(flag(feed.open))),
    )?;
    table.gauge(
        "feed_listed",
        None,
        "1 if the first lists of this feed are complete",
        each(|feed| Some(flag(feed.listed))),
    )?;
    table.gauge(
        "feed_age",
        Some(Unit::Seconds),
        "How long this feed has been open",
        each(|feed| Some(feed.since_seconds)),
    )?;
    table.gauge(
        "feed_last_event_age",
        Some(Unit::Seconds),
        "How long ago this feed told something; absent before it has",
        each(|feed| feed.last_event_seconds),
    )?;
    let pods = feeds.into_iter().flat_map(|(name, feed)| {
        let of = |feed: &Feed| {
            [
                ("live", feed.live),
                ("waiting", feed.waiting),
                (
                    "no_address",
                    feed.pods.saturating_sub(feed.live + feed.waiting),
                ),
            ]
        };
        let states = feed.as_ref().map(of).into_iter().flatten();
        states.map(move |(state, pods)| Row {
            labels: vec![("feed", name), ("state", state)],
            value: number(pods),
        })
    });
    table.gauge("feed_pods", None, "Pods of this feed by their state", pods)?;
    table.gauge(
        "feed_owners",
        None,
        "ReplicaSets and Jobs of this feed, deleted ones that still resolve pods included",
        each(|feed| Some(number(feed.owners))),
    )?;
    let objects = feeds.into_iter().flat_map(|(name, feed)| {
        let of = |feed: &Feed| {
            let stored = feed.stored;
            [
                ("pod", stored.pods),
                ("replica_set", stored.replica_sets),
                ("job", stored.jobs),
            ]
        };
        let kinds = feed.as_ref().map(of).into_iter().flatten();
        kinds.map(move |(kind, objects)| Row {
            labels: vec![("feed", name), ("kind", kind)],
            value: number(objects),
        })
    });
    table.gauge(
        "store_objects",
        None,
        "Objects in the stores of this feed",
        objects,
    )?;
    table.gauge(
        "feed_sources",
        None,
        "Collect streams that are open, or watches that run",
        each(|feed| Some(number(feed.sources))),
    )?;
    table.gauge(
        "feed_unwell_sources",
        None,
        "Of those, how many are not well",
        each(|feed| Some(number(feed.unwell))),
    )?;
    table.counter(
        "feed_given_up_pods",
        None,
        "Pods told under their direct owner because they had waited long enough for it",
        each(|feed| Some(number(feed.given_up))),
    )?;
    health::watches(table, status.native.as_ref())
}

/// Counts by known names; any other one counts as `other`.
fn named<const N: usize>(
    label: &'static str,
    names: [&'static str; N],
    counts: &BTreeMap<String, u64>,
) -> Vec<Row> {
    let of = |name: &str| counts.get(name).copied().unwrap_or_default();
    let known = names.map(of).iter().sum();
    let other = counts.values().sum::<u64>().saturating_sub(known);
    let rows = names.map(|name| by(label, name, number(of(name))));
    let other = by(label, "other", number(other));
    rows.into_iter().chain([other]).collect()
}

fn parity(table: &mut Table<'_>, parity: Option<&Parity>) -> fmt::Result {
    table.gauge(
        "parity_comparing",
        None,
        "1 if both feeds are listed and compared",
        parity.map(|parity| one(flag(parity.comparing))),
    )?;
    table.gauge(
        "parity_held",
        Some(Unit::Seconds),
        "How long no divergence has counted, pauses left out",
        parity.map(|parity| one(parity.held_seconds)),
    )?;
    table.gauge(
        "parity_hold",
        Some(Unit::Seconds),
        "How long that must be for an operator's cut-over",
        parity.map(|parity| one(parity.hold_seconds)),
    )?;
    table.gauge(
        "parity_auto_hold",
        Some(Unit::Seconds),
        "How long that must be for the autopilot's cut-over, unless it has given up",
        parity.and_then(|parity| Some(one(parity.auto_hold_seconds?))),
    )?;
    table.gauge(
        "parity_digests_equal",
        None,
        "1 if the digests of both feeds are equal; absent while they are not compared",
        parity
            .filter(|parity| parity.comparing)
            .map(|parity| one(flag(parity.legacy_digest == parity.native_digest))),
    )?;
    let divergences = parity.into_iter().flat_map(|parity| {
        [
            by("state", "settled", number(parity.divergences)),
            by("state", "unsettled", number(parity.unsettled)),
        ]
    });
    table.gauge(
        "parity_divergences",
        None,
        "Divergences of the feeds; settled ones have stood long enough to count",
        divergences,
    )?;
    let fields = parity.into_iter().flat_map(|parity| {
        let names = Field::ALL.map(Field::as_str);
        named("field", names, &parity.by_field)
    });
    let rules = parity.into_iter().flat_map(|parity| {
        let names = Rule::ALL.map(Rule::as_str);
        named("rule", names, &parity.excused)
    });
    table.gauge(
        "parity_diverging_fields",
        None,
        "Divergences of the feeds by field",
        fields,
    )?;
    table.gauge(
        "parity_excused",
        None,
        "Differences of the feeds that are on purpose, by rule",
        rules,
    )?;
    let switch = parity.into_iter().flat_map(|parity| {
        [
            by("change", "announce", number(parity.switch.announce)),
            by("change", "delete", number(parity.switch.delete)),
            by("change", "change", number(parity.switch.change)),
        ]
    });
    table.gauge(
        "switch_pods",
        None,
        "Pods that a switch to the other feed would tell of",
        switch,
    )
}

fn watches(table: &mut Table<'_>, sources: &Sources) -> fmt::Result {
    let counters = &sources.native;
    table.counter(
        "watch_requests",
        None,
        "Requests to the API server",
        [one(load(&counters.requests))],
    )?;
    table.counter(
        "watch_lists",
        None,
        "Lists that were seen to their end",
        [one(load(&counters.lists))],
    )?;
    table.counter(
        "watch_failures",
        None,
        "Requests to the API server that failed",
        [one(load(&counters.failures))],
    )?;
    table.counter(
        "watch_dropped",
        None,
        "Objects, and parts of objects, that could not be used",
        ObjectError::ALL.map(|why| by("reason", why.label(), number(counters.dropped(why)))),
    )
}

/// One sample.
struct Row {
    labels: Vec<(&'static str, &'static str)>,
    value: f64,
}

fn one(value: f64) -> Row {
    Row {
        labels: Vec::new(),
        value,
    }
}

fn by(label: &'static str, is: &'static str, value: f64) -> Row {
    Row {
        labels: vec![(label, is)],
        value,
    }
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
fn number(count: u64) -> f64 {
    count as f64
}

fn load(count: &AtomicU64) -> f64 {
    number(count.load(Relaxed))
}

/// Writes the metrics one after the other.
struct Table<'a>(DescriptorEncoder<'a>);

impl Table<'_> {
    fn info(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        is: &'static str,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Info)?;
        metric.encode_info(&[(label, is)])
    }

    fn gauge(
        &mut self,
        name: &str,
        unit: Option<Unit>,
        help: &str,
        rows: impl IntoIterator<Item = Row>,
    ) -> fmt::Result {
        let kind = MetricType::Gauge;
        self.rows(name, unit, help, kind, rows, |metric, value| {
            metric.encode_gauge(&value)
        })
    }

    fn counter(
        &mut self,
        name: &str,
        unit: Option<Unit>,
        help: &str,
        rows: impl IntoIterator<Item = Row>,
    ) -> fmt::Result {
        let kind = MetricType::Counter;
        self.rows(name, unit, help, kind, rows, |metric, value| {
            metric.encode_counter(&value, None::<&Exemplar<NoLabelSet, f64>>)
        })
    }

    fn rows(
        &mut self,
        name: &str,
        unit: Option<Unit>,
        help: &str,
        kind: MetricType,
        rows: impl IntoIterator<Item = Row>,
        sample: impl Fn(&mut MetricEncoder<'_>, f64) -> fmt::Result,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        for Row { labels, value } in rows {
            if labels.is_empty() {
                sample(&mut metric, value)?;
            } else {
                sample(&mut metric.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }
}
