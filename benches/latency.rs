//! One event in an idle relay: from the watcher's sending to the reducer's decoding.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::print_stderr, reason = "a bench speaks to who started it")]

mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use k8s_relay::sim::cluster::Cluster;
use support::{
    process::Server,
    reducer::Reducer,
    report::{Report, Row, Sample, Target},
    watcher::{Call, encode},
};

/// Pods that come one by one; the first ones are not counted.
const EVENTS: u32 = 2_000;
const WARM_UP: u32 = 50;

/// How long the relay idles between two events.
const PAUSE: Duration = Duration::from_millis(3);

fn main() {
    let mut report = Report::new("latency");
    let pods = Cluster::new(0, WARM_UP + EVENTS);
    let reducer = Reducer::start();
    let relay = Server::relay(reducer.address());
    reducer.wait("the handshake", |_| true);
    let call = Call::open(relay.address());
    let times = (0..WARM_UP + EVENTS).map(|number| {
        let load = encode([pods.pod(number)].into_iter());
        thread::sleep(PAUSE);
        let start = Instant::now();
        call.send(&load);
        let sent = u64::from(number + 1) * u64::from(1 + pods.containers);
        let heard = reducer.wait("the pod", |heard| heard.pods + heard.containers >= sent);
        heard.at - start
    });
    let times: Vec<Duration> = times.collect();
    let times = Sample::of_times(times.into_iter().skip(WARM_UP as usize)).map(|time| time * 1e3);
    report.row(Row {
        figure: "one new pod in an idle relay reaches the reducer",
        target: Target::AtMost(2.0, 0, " ms (p99)"),
        value: times.quantile(0.99),
        measured: format!(
            "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
            times.median(),
            times.quantile(0.99),
            times.max()
        ),
        reference: String::new(),
        cost: String::new(),
    });
    report.print();
}
