//! How time and memory of the native source grow with the cluster, and a cluster with more
//! ReplicaSets than pods under constant change.
//!
//! `cargo bench --bench growth -- quick` tries it with small clusters.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::print_stderr, reason = "a bench speaks to who started it")]

mod support;

use std::{
    env, thread,
    time::{Duration, Instant},
};

use k8s_relay::sim::cluster::Cluster;
use support::{
    api_server::ApiServer,
    process::Server,
    reducer::{Heard, Reducer},
    report::{Report, Row, Target},
};

/// How long the relay is left alone before its memory is read.
const QUIET: Duration = Duration::from_secs(5);

/// How long the largest cluster changes, and how many events there are in a second.
const CHANGING: Duration = Duration::from_secs(20);
const EVENTS_PER_SECOND: u32 = 1_500;

fn main() {
    let share = if env::args().any(|argument| argument == "quick") {
        10
    } else {
        1
    };
    let mut report = Report::new("growth");
    for (pods, replica_sets) in [
        (10_000, 2_000),
        (50_000, 10_000),
        (100_000, 20_000),
        (150_000, 30_000),
    ] {
        measure(&mut report, pods / share, replica_sets / share, false);
    }
    measure(&mut report, 150_000 / share, 300_000 / share, true);
    report.print();
}

fn measure(report: &mut Report, pods: u32, replica_sets: u32, changing: bool) {
    let cluster = Cluster::new(replica_sets, pods);
    let mut api = ApiServer::start(cluster);
    let reducer = Reducer::start();
    let start = Instant::now();
    let relay = Server::native(reducer.address(), api.kubeconfig());
    let all = |more| {
        let pods = u64::from(pods) + more;
        move |heard: &Heard| {
            heard.pods >= pods && heard.containers >= pods * u64::from(cluster.containers)
        }
    };
    let heard = reducer.wait("all pods", all(0));
    let (took, cpu) = (heard.at - start, relay.cpu_time());
    thread::sleep(QUIET);
    let mib = |kib: u64| kib as f64 / 1024.0;
    let (settled, peak) = (mib(relay.resident_kib()), mib(relay.peak_kib()));
    report.row(Row {
        figure: &format!("{pods} pods, {replica_sets} ReplicaSets"),
        target: Target::Any,
        value: 0.0,
        measured: format!(
            "{:.2} s, {:.2} s of CPU, peak {peak:.1} MiB, settled {settled:.1} MiB",
            took.as_secs_f64(),
            cpu.as_secs_f64(),
        ),
        reference: String::new(),
        cost: format!(
            "{:.1} µs of CPU an object",
            cpu.as_secs_f64() * 1e6 / f64::from(pods + replica_sets)
        ),
    });
    if !changing {
        return;
    }
    let (start, cpu) = (Instant::now(), relay.cpu_time());
    let mut added = 0;
    for number in 0..CHANGING.as_secs() as u32 * EVENTS_PER_SECOND {
        let at = start + Duration::from_secs(1) * number / EVENTS_PER_SECOND;
        thread::sleep(at.saturating_duration_since(Instant::now()));
        added += u64::from(api.event());
    }
    reducer.wait("the added pods", all(added));
    let (took, cpu) = (start.elapsed(), relay.cpu_time() - cpu);
    let peak = mib(relay.peak_kib());
    report.row(Row {
        figure: "the same with 1,500 events/s",
        target: Target::AtMost(256.0, 0, " MiB"),
        value: peak,
        measured: format!(
            "peak {peak:.1} MiB, {:.0} events/s",
            f64::from(CHANGING.as_secs() as u32 * EVENTS_PER_SECOND) / took.as_secs_f64()
        ),
        reference: String::new(),
        cost: format!(
            "{:.0} % of a core",
            cpu.as_secs_f64() / took.as_secs_f64() * 100.0
        ),
    });
}
