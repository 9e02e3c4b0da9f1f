//! A first list and updates through a tee to two relays that drop everything: next to a bare tonic
//! server that reads and drops the same stream.
//!
//! Both of the tee's relays are such servers, too, so behind a tee each Info is read three
//! times on the same machine. Timed from the first byte until the call has ended: the first
//! relay has read everything then, and so has the second when the bench goes on.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::print_stderr, reason = "a bench speaks to who started it")]

mod support;

use std::time::{Duration, Instant};

use k8s_relay::{proto::info::Event, sim::cluster::sent_as};
use support::{
    CLUSTER, ROUNDS, bare_server,
    process::Server,
    report::{Report, Row, Sample, Target},
    watcher::{Call, Load, encode},
};

/// Times that every pod of the cluster is sent again.
const PASSES: u32 = 3;

fn main() {
    bare_server::serve_if_asked();
    let mut report = Report::new("tee");
    let list = encode(CLUSTER.list());
    let updates = encode(
        CLUSTER
            .all_pods()
            .map(|info| sent_as(Event::Modified, info)),
    );
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| (teed(&list, &updates), bare(&list, &updates)))
        .collect();
    let infos = f64::from(CLUSTER.replica_sets + CLUSTER.pods * (1 + PASSES));
    let rate = |times: Vec<Duration>| Sample::of_times(times).map(|seconds| infos / seconds / 1e3);
    let ours = rate(rounds.iter().map(|((time, _), _)| *time).collect());
    let bare_server = rate(rounds.iter().map(|(_, time)| *time).collect());
    let cpu = Sample::of_times(rounds.iter().map(|((_, cpu), _)| *cpu));
    let ratio = ours.median() / bare_server.median();
    report.row(Row {
        figure: "first list and three updates of each pod, to two relays",
        target: Target::AtLeast(0.25, 2, " × the bare server's rate"),
        value: ratio,
        measured: format!("{ratio:.2} ×: {}", ours.show(0, "k Info/s")),
        reference: bare_server.show(0, "k Info/s"),
        cost: format!("{:.1} µs of CPU each", cpu.median() / infos * 1e6),
    });
    report.print();
}

/// The time, and processor time of the tee alone.
fn teed(list: &Load, updates: &Load) -> (Duration, Duration) {
    let relays = [Server::bare(), Server::bare()];
    let tee = Server::tee(relays.each_ref().map(Server::address));
    let time = time(&tee, list, updates);
    (time, tee.cpu_time())
}

fn bare(list: &Load, updates: &Load) -> Duration {
    time(&Server::bare(), list, updates)
}

fn time(server: &Server, list: &Load, updates: &Load) -> Duration {
    let call = Call::open(server.address());
    let start = Instant::now();
    call.send(list);
    (0..PASSES).for_each(|_| call.send(updates));
    call.finish();
    start.elapsed()
}
