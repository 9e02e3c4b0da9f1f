//! Every metric: its name, unit, labels and meaning, as rows of tables. Read at each scrape from the
//! status that the loop gives, from what the sources count, and from the operating system.
//!
//! Names begin with `k8s_relay_`, those that every program has with `process_`; a unit ends the
//! name, and `_total` ends a counter's. Label names and values are from fixed lists, so the number
//! of series is bounded. `docs/metrics.md` lists the rows; a test keeps it equal.
//!
//! A part of the relay that has something to show adds a table in a file of its own, a line in
//! [`TABLES`], and what the rows read to [`Sources`].

mod collect;
mod enrichment;
mod feeds;
mod format;
mod handover;
mod health;
mod leadership;
mod parity;
mod process;
mod questions;
mod reducer;
mod table;
mod tls;
mod watches;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, prometheus_text, text},
    registry::Registry,
};

use self::table::Metric;
pub use self::{format::Format, table::Row};
use super::{Sources, api::Status, process::Process};

/// The metrics of the relay, in the order in which they are written.
const TABLES: &[&[Metric]] = &[
    process::ALWAYS,
    process::METRICS,
    health::METRICS,
    leadership::METRICS,
    reducer::METRICS,
    reducer::TOTALS,
    feeds::METRICS,
    health::WATCHES,
    handover::METRICS,
    parity::METRICS,
    collect::METRICS,
    tls::METRICS,
    watches::METRICS,
    enrichment::METRICS,
    questions::METRICS,
];

/// Of a process without a source.
const ALONE: &[&[Metric]] = &[
    process::ALWAYS,
    tls::METRICS,
    enrichment::METRICS,
    questions::METRICS,
];

/// How the names of the metrics of the relay begin.
const OURS: &str = "k8s_relay";

/// How those names begin that every program has.
const STANDARD: &str = "process";

/// What a scrape reads.
#[derive(Debug)]
struct Scrape {
    status: Box<Status>,
    sources: Sources,
    process: Process,
}

/// All metrics as text of this format.
pub fn text(format: Format, status: Box<Status>, sources: &Sources, process: Process) -> String {
    let scrape = Scrape {
        status,
        sources: sources.clone(),
        process,
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    // A `String` takes everything.
    let _ = match format {
        Format::OpenMetrics => text::encode(&mut text, &registry),
        Format::Text => prometheus_text::encode(&mut text, &registry),
    };
    text
}

/// What there is to know of every metric without a scrape, in the order of the text.
pub fn catalogue() -> Vec<Row> {
    of(TABLES)
        .map(|(prefix, metric)| metric.row(prefix))
        .collect()
}

/// Every metric of these tables, and those that every program has, with how its name begins.
fn of(
    tables: &'static [&'static [Metric]],
) -> impl Iterator<Item = (&'static str, &'static Metric)> {
    let ours = tables.iter().copied().flatten();
    let standard = process::STANDARD.iter();
    ours.map(|metric| (OURS, metric))
        .chain(standard.map(|metric| (STANDARD, metric)))
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = of(match self.status.alone {
            true => ALONE,
            false => TABLES,
        });
        for (prefix, metric) in all {
            metric.write(prefix, self, &mut encoder)?;
        }
        Ok(())
    }
}
