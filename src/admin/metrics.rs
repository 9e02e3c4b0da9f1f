//! Every metric: its name, unit, labels and meaning, as rows of tables. Read at each scrape from the
//! status that the loop gives and from what the sources count.
//!
//! Names begin with `k8s_relay_`; a unit ends the name, and `_total` ends a counter's. Label
//! names and values are from fixed lists, so the number of series is bounded.

mod collect;
mod enrichment;
mod feeds;
mod handover;
mod health;
mod parity;
mod process;
mod reducer;
mod table;
mod watches;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use self::table::Metric;
use super::{Sources, api::Status};

/// All metrics, in the order in which they are written.
const TABLES: [&[Metric]; 12] = [
    process::ALWAYS,
    process::METRICS,
    health::METRICS,
    reducer::METRICS,
    reducer::TOTALS,
    feeds::METRICS,
    health::WATCHES,
    handover::METRICS,
    parity::METRICS,
    collect::METRICS,
    watches::METRICS,
    enrichment::METRICS,
];

/// Of a process without a source.
const ALONE: [&[Metric]; 2] = [process::ALWAYS, enrichment::METRICS];

/// What a scrape reads.
#[derive(Debug)]
struct Scrape {
    status: Status,
    sources: Sources,
}

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

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        process::build(&mut encoder)?;
        let tables = match self.status.alone {
            true => &ALONE[..],
            false => &TABLES,
        };
        let mut metrics = tables.iter().copied().flatten();
        metrics.try_for_each(|metric| metric.write(self, &mut encoder))
    }
}
