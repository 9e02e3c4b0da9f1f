//! The process, and the stage of the migration that it is in.

use super::{
    Scrape,
    table::{Metric, Samples, counter, each, flag, gauge, info, maybe, one},
};
use crate::{admin::process::Process, migrate::Stage};

/// Of this process, as every program says it: these names have no prefix of ours.
pub(super) const STANDARD: &[Metric] = &[
    counter(
        "cpu",
        "Processor time that the process has used, in user and kernel mode",
        |scrape| of(scrape, |process| process.cpu_seconds),
    )
    .seconds(),
    gauge(
        "resident_memory",
        "Memory of the process that is resident",
        |scrape| of(scrape, |process| process.resident_bytes),
    )
    .bytes(),
    gauge("virtual_memory", "Address space of the process", |scrape| {
        of(scrape, |process| process.virtual_bytes)
    })
    .bytes(),
    gauge(
        "open_fds",
        "File descriptors that the process has open",
        |scrape| of(scrape, |process| process.open_fds),
    ),
    gauge(
        "max_fds",
        "File descriptors that the process may have open",
        |scrape| of(scrape, |process| process.max_fds),
    ),
    gauge("threads", "Threads of the process", |scrape| {
        of(scrape, |process| process.threads)
    }),
    gauge(
        "start_time",
        "When the process began, since the UNIX epoch",
        |scrape| of(scrape, |process| process.start_seconds),
    )
    .seconds(),
];

/// What the system does not say has no sample.
fn of(scrape: &Scrape, value: impl Fn(&Process) -> Option<f64>) -> Samples {
    maybe(value(&scrape.process))
}

/// Whatever the source is.
pub(super) const ALWAYS: &[Metric] = &[
    info(
        "build",
        "The version of the program and the commit that it was built from; always 1",
        |_| {
            vec![
                ("version", env!("CARGO_PKG_VERSION").into()),
                ("commit", env!("K8S_RELAY_COMMIT").into()),
            ]
        },
    )
    .by(&["version", "commit"]),
    gauge("uptime", "How long the process has run", |scrape| {
        one(scrape.status.up_seconds)
    })
    .seconds(),
];

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "stage",
        "1 for the stage of the migration that it is in",
        |scrape| {
            let is = |stage| flag(stage == scrape.status.stage);
            each("stage", Stage::ALL.map(|stage| (stage.as_str(), is(stage))))
        },
    )
    .by(&["stage"]),
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
