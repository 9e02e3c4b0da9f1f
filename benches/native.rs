//! The native source with a whole cluster, from a simulated API server through the relay's process
//! to a reducer: next to the lower bound, a bare kube-rs watcher of the same thin types that drops
//! every event. Relay and lower bound take turns.
//!
//! `cargo bench --bench native -- quick` tries it with a small cluster: its figures say nothing.

#![allow(
    clippy::unwrap_used,
    reason = "a bench dies of what it does not expect"
)]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::print_stderr, reason = "a bench speaks to who started it")]

mod support;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use k8s_relay::sim::cluster::Cluster;
use support::{
    CLUSTER, PATIENCE, ROUNDS,
    api_server::ApiServer,
    lower_bound::{self, Asking},
    process::Server,
    reducer::{Heard, Reducer},
    report::{Report, Row, Sample, Target},
};

/// As the relay's: the lower bound is this program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the relay is left alone before its memory is read.
const QUIET: Duration = Duration::from_secs(5);

/// The memory cgroup that the relay must survive in, in bytes.
const CGROUP: u64 = 128 << 20;

/// One event in this time, when the way to the reducer is timed.
const PACE: Duration = Duration::from_millis(1);

/// How large everything is.
struct Scale {
    cluster: Cluster,
    rounds: usize,
    /// Events of the churn.
    churn: u32,
    /// Events that come one by one.
    paced: u32,
}

fn main() {
    lower_bound::watch_if_asked();
    let scale = if env::args().any(|argument| argument == "quick") {
        Scale {
            cluster: Cluster::new(2_000, 10_000),
            rounds: 2,
            churn: 20_000,
            paced: 2_000,
        }
    } else {
        Scale {
            cluster: CLUSTER,
            rounds: ROUNDS,
            churn: 200_000,
            paced: 10_000,
        }
    };
    let mut report = Report::new("native");
    let mut api = ApiServer::start(scale.cluster);
    rounds(&mut report, &mut api, &scale);
    pace(&mut report, &mut api, &scale);
    memory(&mut report, &mut api, &scale);
    pages(&mut report, scale.cluster, 100.0, 90.0);
    pages(&mut report, Cluster::new(3_700, 10_000), 30.0, 30.0);
    cgroup(&mut report, &api, &scale);
    report.print();
}

// === next to the lower bound ===

/// What something took.
#[derive(Clone, Copy)]
struct Spent {
    time: Duration,
    /// Processor time of the relay or lower bound alone.
    cpu: Duration,
}

/// One round.
struct Round {
    list: Spent,
    churn: Spent,
    /// Of all that the API server sent of its lists, so much was sent when half of the pods were
    /// announced; of the lower bound 0.
    read_at_half: f64,
}

fn rounds(report: &mut Report, api: &mut ApiServer, scale: &Scale) {
    let rounds: Vec<_> = (0..scale.rounds)
        .map(|_| (relay(api, scale), lower_bound(api, scale)))
        .collect();
    let ours = |of: fn(&Round) -> Spent| rounds.iter().map(move |(ours, _)| of(ours));
    let bare = |of: fn(&Round) -> Spent| rounds.iter().map(move |(_, bare)| of(bare));
    let time = |spent: Spent| spent.time.as_secs_f64();
    let cpu = |spent: Spent| spent.cpu.as_secs_f64();

    let list = |round: &Round| round.list;
    let [relay, lower_bound] = [
        Sample::new(ours(list).map(time)),
        Sample::new(bare(list).map(time)),
    ];
    let ratio = relay.median() / lower_bound.median();
    report.row(Row {
        figure: "start until all pods are announced: time",
        target: Target::AtMost(2.0, 1, " × the lower bound"),
        value: ratio,
        measured: format!("{ratio:.2} ×: {}", relay.show(2, "s")),
        reference: lower_bound.show(2, "s"),
        cost: String::new(),
    });
    let [relay, lower_bound] = [
        Sample::new(ours(list).map(cpu)),
        Sample::new(bare(list).map(cpu)),
    ];
    let ratio = relay.median() / lower_bound.median();
    let objects = f64::from(scale.cluster.pods + scale.cluster.replica_sets);
    report.row(Row {
        figure: "the same: processor time",
        target: Target::AtMost(1.6, 1, " × the lower bound"),
        value: ratio,
        measured: format!("{ratio:.2} ×: {}", relay.show(2, "s")),
        reference: lower_bound.show(2, "s"),
        cost: each(&relay, &lower_bound, objects),
    });
    let read = Sample::new(rounds.iter().map(|(ours, _)| ours.read_at_half * 100.0));
    report.row(Row {
        figure: "read of the lists when half of the pods were announced",
        target: Target::AtMost(60.0, 0, " %"),
        value: read.median(),
        measured: read.show(0, "%"),
        reference: String::new(),
        cost: String::new(),
    });

    let churn = |round: &Round| round.churn;
    let events = f64::from(scale.churn);
    let rate = |spent: Spent| events / spent.time.as_secs_f64() / 1e3;
    let [relay, lower_bound] = [
        Sample::new(ours(churn).map(rate)),
        Sample::new(bare(churn).map(rate)),
    ];
    let ratio = relay.median() / lower_bound.median();
    report.row(Row {
        figure: "churn, 80 % of it nothing new: rate",
        target: Target::AtLeast(0.65, 2, " × the lower bound"),
        value: ratio,
        measured: format!("{ratio:.2} ×: {}", relay.show(0, "k/s")),
        reference: lower_bound.show(0, "k/s"),
        cost: String::new(),
    });
    let [relay, lower_bound] = [
        Sample::new(ours(churn).map(cpu)),
        Sample::new(bare(churn).map(cpu)),
    ];
    let ratio = relay.median() / lower_bound.median();
    report.row(Row {
        figure: "the same: processor time",
        target: Target::AtMost(1.3, 1, " × the lower bound"),
        value: ratio,
        measured: format!("{ratio:.2} ×: {}", relay.show(2, "s")),
        reference: lower_bound.show(2, "s"),
        cost: each(&relay, &lower_bound, events),
    });
}

/// Processor time for one event.
fn each(relay: &Sample, lower_bound: &Sample, events: f64) -> String {
    let [relay, lower_bound] = [relay, lower_bound].map(|cpu| cpu.median() / events * 1e6);
    format!("{relay:.1} µs of CPU each, lower bound {lower_bound:.1}")
}

fn relay(api: &mut ApiServer, scale: &Scale) -> Round {
    let reducer = Reducer::start();
    let (start, before) = (Instant::now(), api.body_bytes());
    let relay = Server::native(reducer.address(), api.kubeconfig());
    let half = u64::from(scale.cluster.pods / 2);
    reducer.wait("half of the pods", |heard| heard.pods >= half);
    let at_half = api.body_bytes() - before;
    let heard = reducer.wait("all pods", sent(scale, 0));
    let list = Spent {
        time: heard.at - start,
        cpu: relay.cpu_time(),
    };
    let read_at_half = at_half as f64 / (api.body_bytes() - before) as f64;

    let start = api.events(scale.churn);
    let changed = u64::from(scale.churn / 10);
    let heard = reducer.wait("the churn", |heard| {
        sent(scale, changed)(heard) && heard.deletes >= changed
    });
    let churn = Spent {
        time: heard.at - start,
        cpu: relay.cpu_time() - list.cpu,
    };
    assert_eq!(heard.deletes, changed, "no other pod has gone");
    assert_eq!(heard.resyncs, 0, "the reducer fell behind");
    Round {
        list,
        churn,
        read_at_half,
    }
}

fn lower_bound(api: &mut ApiServer, scale: &Scale) -> Round {
    let listed = api.list_events();
    let start = Instant::now();
    let lower_bound = Server::lower_bound(api.kubeconfig());
    let mut seen = Asking::open(lower_bound.address());
    seen.wait(listed);
    let list = Spent {
        time: start.elapsed(),
        cpu: lower_bound.cpu_time(),
    };
    let start = api.events(scale.churn);
    seen.wait(listed + u64::from(scale.churn));
    Round {
        list,
        churn: Spent {
            time: start.elapsed(),
            cpu: lower_bound.cpu_time() - list.cpu,
        },
        read_at_half: 0.0,
    }
}

/// All pods of the cluster, and so many more, with their containers.
fn sent(scale: &Scale, more: u64) -> impl Fn(&Heard) -> bool {
    let cluster = scale.cluster;
    let pods = u64::from(cluster.pods) + more;
    move |heard| heard.pods >= pods && heard.containers >= pods * u64::from(cluster.containers)
}

// === the relay alone ===

/// Events one by one, from the change in the API server to the reducer's decoding.
fn pace(report: &mut Report, api: &mut ApiServer, scale: &Scale) {
    let reducer = Reducer::start();
    let relay = Server::native(reducer.address(), api.kubeconfig());
    reducer.wait("all pods", sent(scale, 0));
    thread::sleep(Duration::from_secs(1));
    reducer.time_pods();
    let (start, cpu) = (Instant::now(), relay.cpu_time());
    let mut added = Vec::new();
    for number in 0..scale.paced {
        let at = start + PACE * number;
        thread::sleep(at.saturating_duration_since(Instant::now()));
        let before = Instant::now();
        if api.event() {
            added.push(before);
        }
    }
    reducer.wait("the added pods", sent(scale, added.len() as u64));
    let (took, cpu) = (start.elapsed(), relay.cpu_time() - cpu);
    // Pods are sent in the order in which they are added.
    let arrivals = reducer.arrivals();
    assert_eq!(arrivals.len(), added.len(), "only new pods are announced");
    let ways = added.iter().zip(&arrivals).map(|(from, to)| *to - *from);
    let ways = Sample::of_times(ways).map(|time| time * 1e3);
    report.row(Row {
        figure: "one new pod, at 1,000 events/s, reaches the reducer",
        target: Target::AtMost(2.0, 0, " ms (p99)"),
        value: ways.quantile(0.99),
        measured: format!(
            "p50 {:.2} ms, p99 {:.2} ms, max {:.1} ms",
            ways.median(),
            ways.quantile(0.99),
            ways.max()
        ),
        reference: String::new(),
        cost: format!(
            "{:.0} % of a core",
            cpu.as_secs_f64() / took.as_secs_f64() * 100.0
        ),
    });
    let each = cpu.as_secs_f64() / f64::from(scale.paced) * 1e6;
    report.row(Row {
        figure: "the same: processor time",
        target: Target::AtMost(80.0, 0, " µs an event"),
        value: each,
        measured: format!("{each:.0} µs"),
        reference: String::new(),
        cost: String::new(),
    });
}

/// Lists in pages, of a cluster with many ReplicaSets.
fn pages(report: &mut Report, cluster: Cluster, peak_limit: f64, settled_limit: f64) {
    let replica_sets = cluster.pods / 100 * 37;
    let cluster = Cluster {
        replica_sets,
        ..cluster
    };
    let api = ApiServer::start(cluster);
    let reducer = Reducer::start();
    let relay = Server::native_in_pages(reducer.address(), api.kubeconfig());
    let messages = u64::from(cluster.pods) * u64::from(1 + cluster.containers);
    reducer.wait("all pods", |heard| {
        heard.pods + heard.containers >= messages
    });
    thread::sleep(QUIET);
    let figures = [
        ("peak", peak_limit, relay.peak_kib()),
        ("settled", settled_limit, relay.resident_kib()),
    ];
    for (name, limit, kib) in figures {
        let mib = kib as f64 / 1024.0;
        report.row(Row {
            figure: &format!(
                "lists in pages, {}k pods, {replica_sets} ReplicaSets: {name}",
                cluster.pods / 1000
            ),
            target: Target::AtMost(limit, 0, " MiB"),
            value: mib,
            measured: format!("{mib:.1} MiB"),
            reference: String::new(),
            cost: String::new(),
        });
    }
}

fn memory(report: &mut Report, api: &mut ApiServer, scale: &Scale) {
    let reducer = Reducer::start();
    let relay = Server::native(reducer.address(), api.kubeconfig());
    reducer.wait("the handshake", |_| true);
    let listed = reducer.wait("all pods", sent(scale, 0));
    let peak = relay.peak_kib();
    thread::sleep(QUIET);
    let settled = relay.resident_kib();
    let cpu = relay.cpu_time();
    api.force_lists();
    // It comes after the list: then the list has been taken.
    api.add_pod();
    let heard = reducer.wait("the pod after the list", sent(scale, 1));
    let cpu = relay.cpu_time() - cpu;
    thread::sleep(QUIET);
    let (peak_again, settled_again) = (relay.peak_kib(), relay.resident_kib());

    let mut mib = |figure, limit, kib: u64, cost: String| {
        let mib = kib as f64 / 1024.0;
        report.row(Row {
            figure,
            target: Target::AtMost(limit, 0, " MiB"),
            value: mib,
            measured: format!("{mib:.1} MiB"),
            reference: String::new(),
            cost,
        });
    };
    mib(
        "resident, all pods announced: peak",
        110.0,
        peak,
        String::new(),
    );
    let bytes = settled as f64 * 1024.0 / f64::from(scale.cluster.pods);
    mib(
        "settled",
        90.0,
        settled,
        format!("{bytes:.0} bytes/pod in all"),
    );
    mib(
        "a list of the same again: peak",
        110.0,
        peak_again,
        String::new(),
    );
    mib("settled again", 90.0, settled_again, String::new());
    let more = |now: u64, before: u64| now - before;
    let messages = more(heard.pods, listed.pods + 1)
        + more(
            heard.containers,
            listed.containers + u64::from(scale.cluster.containers),
        )
        + heard.deletes
        + heard.resyncs;
    report.row(Row {
        figure: "messages of pods in that list",
        target: Target::AtMost(0.0, 0, ""),
        value: messages as f64,
        measured: messages.to_string(),
        reference: String::new(),
        cost: format!("{:.2} s of CPU", cpu.as_secs_f64()),
    });
}

/// A first list within little memory. Needs root and cgroups of version 1.
fn cgroup(report: &mut Report, api: &ApiServer, scale: &Scale) {
    let measured = Cgroup::make(CGROUP).map(|cgroup| {
        let reducer = Reducer::start();
        let relay = Server::native_within(&cgroup.0, reducer.address(), api.kubeconfig());
        let survived = reducer.wait_for(PATIENCE, sent(scale, 0)).is_ok();
        let (peak, failures) = (
            cgroup.read("memory.max_usage_in_bytes"),
            cgroup.read("memory.failcnt"),
        );
        drop(relay);
        (survived, peak as f64 / f64::from(1 << 20), failures)
    });
    let (value, measured, cost) = match measured {
        Ok((survived, peak, failures)) => (
            f64::from(u8::from(!survived)),
            format!(
                "{}, peak {peak:.1} MiB",
                if survived { "lives" } else { "dies" }
            ),
            format!("{failures} times at the limit"),
        ),
        Err(why) => (1.0, format!("not measured: {why}"), String::new()),
    };
    report.row(Row {
        figure: "all pods announced within a memory cgroup of 128 MiB",
        target: Target::AtMost(0.0, 0, " deaths"),
        value,
        measured,
        reference: String::new(),
        cost,
    });
}

/// A memory cgroup, removed when it is dropped (after the processes in it).
struct Cgroup(PathBuf);

impl Cgroup {
    fn make(limit: u64) -> io::Result<Self> {
        let name = format!("k8s-relay-bench-{}", process::id());
        let path = Path::new("/sys/fs/cgroup/memory").join(name);
        fs::create_dir(&path)?;
        let cgroup = Self(path);
        fs::write(cgroup.0.join("memory.limit_in_bytes"), limit.to_string())?;
        Ok(cgroup)
    }

    fn read(&self, file: &str) -> u64 {
        let text = fs::read_to_string(self.0.join(file)).unwrap();
        text.trim().parse().unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Whatever is left of it is empty and harmless.
        let _ = fs::remove_dir(&self.0);
    }
}
