//! Resident memory of the relay's process with a large cluster, after it, and after a million
//! pods that came and went. Each figure is VmRSS when nothing has happened for five seconds.

#![allow(clippy::disallowed_methods, reason = "a bench waits by the clock")]
#![allow(clippy::print_stderr, reason = "a bench speaks to who started it")]

mod support;

use std::{thread, time::Duration};

use k8s_relay::{
    proto::{Info, info::Event},
    sim::cluster::{Cluster, sent_as},
};
use support::{
    CLUSTER, MESSAGES,
    process::Server,
    reducer::{Heard, Reducer},
    report::{Report, Row, Target},
    varied::Varied,
    watcher::{Call, Client, encode, encode_framed},
};

/// How long the relay is left alone before its memory is read.
const QUIET: Duration = Duration::from_secs(5);

/// The pods that come and go: ten at a time share a ReplicaSet that goes with them.
const PASSERS_BY: Cluster = Cluster {
    seed: 2,
    replica_sets: 100_000,
    pods: 1_000_000,
    containers: 2,
};

/// Pods and ReplicaSets that are sent in one load.
const CHUNK: u32 = 10_000;

fn main() {
    let mut report = Report::new("memory");
    let reducer = Reducer::start();
    let relay = Server::relay(reducer.address());
    reducer.wait("the handshake", |_| true);
    let mib_when_quiet = || {
        thread::sleep(QUIET);
        relay.resident_kib() as f64 / 1024.0
    };
    let start = mib_when_quiet();

    let call = Call::open(relay.address());
    call.send(&encode(CLUSTER.list()));
    reducer.wait("the list", |heard| {
        heard.pods + heard.containers >= MESSAGES
    });
    let full = mib_when_quiet();

    call.send(&encode(gone(CLUSTER.list())));
    let mut deletes = u64::from(CLUSTER.pods);
    let gone_by = |deletes| move |heard: &Heard| heard.deletes >= deletes;
    reducer.wait("the deletes", gone_by(deletes));
    let lower_bound = mib_when_quiet();

    let mut busiest: f64 = 0.0;
    for first in (0..PASSERS_BY.pods).step_by(CHUNK as usize) {
        call.send(&encode((first..first + CHUNK).flat_map(come_and_go)));
        deletes += u64::from(CHUNK);
        reducer.wait("the passers-by", gone_by(deletes));
        busiest = busiest.max(relay.resident_kib() as f64 / 1024.0);
    }
    let churned = mib_when_quiet();

    call.send(&encode(CLUSTER.list()));
    reducer.wait("the second list", |heard| {
        heard.pods >= deletes + u64::from(CLUSTER.pods)
    });
    let full_again = mib_when_quiet();
    call.send(&encode(gone(CLUSTER.list())));
    reducer.wait(
        "the last deletes",
        gone_by(deletes + u64::from(CLUSTER.pods)),
    );
    let lower_bound_again = mib_when_quiet();

    let per_pod = (full - start) * 1024.0 * 1024.0 / f64::from(CLUSTER.pods);
    let mut row = |figure, target, value, measured, cost: String| {
        report.row(Row {
            figure,
            target,
            value,
            measured,
            reference: String::new(),
            cost,
        });
    };
    let mib = |mib| format!("{mib:.1} MiB");
    let of_lower_bound =
        |mib: f64| format!("{mib:.1} MiB, {:.2} × the lower bound", mib / lower_bound);
    let within = Target::AtMost(1.1, 1, " × the lower bound");
    row(
        "after the start",
        Target::Any,
        start,
        mib(start),
        String::new(),
    );
    let cost = format!("{per_pod:.0} bytes/pod");
    row(
        "100k live pods",
        Target::AtMost(90.0, 0, " MiB"),
        full,
        mib(full),
        cost,
    );
    row(
        "after all were deleted: the lower bound",
        Target::Any,
        lower_bound,
        mib(lower_bound),
        String::new(),
    );
    let cost = format!("busiest {busiest:.1} MiB");
    row(
        "after a million more came and went",
        within,
        churned / lower_bound,
        of_lower_bound(churned),
        cost,
    );
    row(
        "100k live pods again",
        Target::AtMost(90.0, 0, " MiB"),
        full_again,
        mib(full_again),
        String::new(),
    );
    let again = lower_bound_again / lower_bound;
    row(
        "after all were deleted again",
        within,
        again,
        of_lower_bound(lower_bound_again),
        String::new(),
    );
    framed(&mut report);
    report.print();
}

/// A client that sends each Info in a DATA frame of its own, of a cluster unlike the others.
fn framed(report: &mut Report) {
    let varied = Varied::new(CLUSTER.replica_sets as usize, CLUSTER.pods as usize);
    let reducer = Reducer::start();
    let relay = Server::relay(reducer.address());
    reducer.wait("the handshake", |_| true);
    let call = Call::open_by(Client::Framing, relay.address());
    call.send(&encode_framed(varied.list.iter().cloned()));
    let messages = varied.messages();
    reducer.wait("the list", |heard| {
        heard.pods + heard.containers >= messages
    });
    thread::sleep(QUIET);
    let settled = relay.resident_kib() as f64 / 1024.0;
    let peak = relay.peak_kib() as f64 / 1024.0;
    report.row(Row {
        figure: "100k live pods of a client that frames each Info, other data",
        target: Target::AtMost(90.0, 0, " MiB"),
        value: settled,
        measured: format!("{settled:.1} MiB"),
        reference: String::new(),
        cost: format!("peak {peak:.1} MiB"),
    });
}

fn gone(infos: impl Iterator<Item = Info>) -> impl Iterator<Item = Info> {
    infos.map(|info| sent_as(Event::Deleted, info))
}

/// A ReplicaSet and its pod, and their end.
fn come_and_go(number: u32) -> [Info; 4] {
    let set = PASSERS_BY.replica_set(number % PASSERS_BY.replica_sets);
    let pod = PASSERS_BY.pod(number);
    let [no_set, no_pod] = [&set, &pod].map(|info| sent_as(Event::Deleted, info.clone()));
    [set, pod, no_pod, no_set]
}
