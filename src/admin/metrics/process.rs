//! The process, and the stage of the migration that it is in.

use std::fmt;

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};

use super::table::{Metric, counter, each, flag, gauge, maybe, one};
use crate::migrate::Stage;

/// Which program this is.
pub(super) fn build(to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "The version of the program";
    let mut metric = to.encode_descriptor("build", help, None, MetricType::Info)?;
    metric.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
}

/// Whatever the source is.
pub(super) const ALWAYS: &[Metric] = &[gauge("uptime", "How long the process has run", |scrape| {
    one(scrape.status.up_seconds)
})
.seconds()];

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "stage",
        "1 for the stage of the migration that it is in",
        |scrape| {
            let is = |stage| flag(stage == scrape.status.stage);
            each("stage", Stage::ALL.map(|stage| (stage.as_str(), is(stage))))
        },
    ),
    gauge(
        "stage_age",
        "How long the migration has been in this stage",
        |scrape| one(scrape.status.stage_seconds),
    )
    .seconds(),
    gauge(
        "cutover_forced",
        "1 if the last cutover was forced",
        |scrape| one(flag(scrape.status.forced)),
    ),
    gauge(
        "waiting_for_watcher",
        "1 if legacy watchers should be the active source, but none is connected",
        |scrape| one(flag(scrape.status.waiting_for_watcher)),
    ),
    counter(
        "auto_rollbacks",
        "Rollbacks that --migrate auto has done by itself",
        |scrape| {
            let auto = scrape.status.auto.as_ref();
            maybe(auto.map(|auto| f64::from(auto.rollbacks)))
        },
    ),
    gauge(
        "auto_rolled_back_too_often",
        "1 if --migrate auto is suspended because it has rolled back too often: an operator must decide",
        |scrape| {
            let auto = scrape.status.auto.as_ref();
            maybe(auto.map(|auto| flag(auto.suspended)))
        },
    ),
];
