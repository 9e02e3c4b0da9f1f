//! Both sources at once, fed with the same cluster by a watcher and by a simulated API server: what
//! shadow mode costs, next to a relay with either source alone, in turns; and how long a switch
//! from one source to the other takes.
//!
//! A relay in shadow mode must find both feeds equal whenever all was sent, or the run is void.
//! `cargo bench --bench shadow -- quick` tries it with a small cluster: its figures say nothing.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench dies of what it does not expect"
)]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::print_stderr, reason = "a bench speaks to who started it")]

mod support;

use std::{
    env, thread,
    time::{Duration, Instant},
};

use k8s_relay::{
    admin::api::{Feed, Parity, Status},
    migrate::Stage,
    sim::cluster::Cluster,
};
use support::{
    CLUSTER, ROUNDS,
    admin::Admin,
    both_ways::{BothWays, Happening},
    process::Server,
    reducer::{Heard, Reducer},
    report::{Report, Row, Sample, Target},
    watcher::Call,
};
use tempfile::TempDir;

/// How long a relay is left alone before its memory is read, or its messages are counted.
const QUIET: Duration = Duration::from_secs(5);

/// Changes that come at once, and how often they come, when they come at a pace: 33,000/s, which
/// either source can keep up with, so that the feeds are no further apart than in life.
const AT_ONCE: u32 = 1_000;
const PACE: Duration = Duration::from_millis(30);

/// How large everything is.
struct Scale {
    cluster: Cluster,
    rounds: usize,
    /// Updates in which nothing is new.
    updates: u32,
    /// Changes that matter.
    changes: u32,
    /// Switches, there and back.
    switches: u32,
}

fn main() {
    let scale = if env::args().any(|argument| argument == "quick") {
        Scale {
            cluster: Cluster::new(2_000, 10_000),
            rounds: 2,
            updates: 20_000,
            changes: 10_000,
            switches: 3,
        }
    } else {
        Scale {
            cluster: CLUSTER,
            rounds: ROUNDS,
            updates: 200_000,
            changes: 100_000,
            switches: 10,
        }
    };
    let mut report = Report::new("shadow");
    let mut cluster = BothWays::start(scale.cluster);
    cost(&mut report, &mut cluster, &scale);
    memory(&mut report, &cluster);
    switches(&mut report, &mut cluster, &scale);
    report.print();
}

// === the relay ===

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Legacy,
    Native,
    Shadow,
}

const SOURCES: [Source; 3] = [Source::Legacy, Source::Native, Source::Shadow];

/// A relay that watches a cluster, and all its peers.
struct Relay {
    source: Source,
    /// Ends before the relay does.
    call: Option<Call>,
    server: Server,
    admin: Admin,
    reducer: Reducer,
    _folder: TempDir,
}

impl Relay {
    /// After it has been sent the whole cluster.
    fn start(source: Source, cluster: &BothWays) -> Self {
        let list = (source != Source::Native).then(|| cluster.list());
        let reducer = Reducer::start();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin");
        let kubeconfig = (source != Source::Legacy).then(|| cluster.kubeconfig());
        let server = Server::of_source(source.name(), reducer.address(), kubeconfig, &socket);
        let call = list.map(|list| {
            let call = Call::open(server.address());
            call.send(&list);
            call
        });
        let relay = Self {
            source,
            call,
            server,
            admin: Admin::at(&socket),
            reducer,
            _folder: folder,
        };
        relay.settle(cluster.pods());
        relay
    }

    /// Lets it happen, and waits until the relay knows all of it.
    fn live_through(&self, happening: &Happening, cluster: &BothWays) {
        self.hear_of(happening, Source::Native, cluster);
        self.hear_of(happening, Source::Legacy, cluster);
        self.settle(cluster.pods());
    }

    /// The same of one thing after the other, at a pace.
    fn live_through_all(&self, steps: &[Happening], cluster: &BothWays) {
        let start = Instant::now();
        for (number, step) in (0..).zip(steps) {
            let at = start + PACE * number;
            thread::sleep(at.saturating_duration_since(Instant::now()));
            self.hear_of(step, Source::Native, cluster);
            self.hear_of(step, Source::Legacy, cluster);
        }
        self.settle(cluster.pods());
    }

    /// Lets it happen in one source; in that of the watcher, if there is a watcher.
    fn hear_of(&self, happening: &Happening, source: Source, cluster: &BothWays) {
        match (source, &self.call) {
            (Source::Native, _) => cluster.show(happening),
            (Source::Legacy | Source::Shadow, Some(call)) => call.send(&happening.load()),
            (Source::Legacy | Source::Shadow, None) => {}
        }
    }

    /// Waits until it knows so many pods and has sent them, and has found both feeds equal if it
    /// has two.
    fn settle(&self, pods: u64) -> Status {
        let (streams, watches) = (self.source != Source::Native, self.source != Source::Legacy);
        self.admin.wait("all of the cluster", |status| {
            let knows = |feed: &Option<Feed>| {
                feed.as_ref()
                    .is_some_and(|feed| feed.listed && feed.live == pods)
            };
            let equal = status.parity.as_ref().is_some_and(is_equal);
            let reducer = &status.reducer;
            (!streams || knows(&status.legacy))
                && (!watches || knows(&status.native))
                && (!streams || !watches || equal)
                && (reducer.settled && reducer.pods == pods && reducer.queued_bytes == 0)
        })
    }

    /// Settled resident memory, and the most that there was, in MiB.
    fn mib(&self) -> [f64; 2] {
        thread::sleep(QUIET);
        [self.server.resident_kib(), self.server.peak_kib()].map(|kib| kib as f64 / 1024.0)
    }
}

/// Whether nothing differs at all.
fn is_equal(parity: &Parity) -> bool {
    parity.comparing
        && parity.divergences + parity.unsettled + parity.waiting == 0
        && parity.expected.is_empty()
        && parity.legacy_digest == parity.native_digest
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Native => "native",
            Self::Shadow => "shadow",
        }
    }
}

// === processor time ===

/// Processor time of one relay, in seconds.
struct Round {
    list: f64,
    updates: f64,
    paced: f64,
    changes: f64,
}

fn cost(report: &mut Report, cluster: &mut BothWays, scale: &Scale) {
    let rounds: Vec<[Round; 3]> = (0..scale.rounds)
        .map(|_| SOURCES.map(|source| round(source, cluster, scale)))
        .collect();
    let shape = scale.cluster;
    let mut row = |figure, events: u32, of: fn(&Round) -> f64| {
        let each = |source: Source| {
            let rounds = rounds.iter().map(|round| of(&round[source as usize]));
            Sample::new(rounds).map(|cpu| cpu / f64::from(events) * 1e6)
        };
        let [legacy, native, shadow] = SOURCES.map(each);
        let sum = legacy.median() + native.median();
        let ratio = shadow.median() / sum;
        report.row(Row {
            figure,
            target: Target::AtMost(1.25, 2, " × both alone"),
            value: ratio,
            measured: format!("{ratio:.2} ×: {}", shadow.show(1, "µs of CPU")),
            reference: format!("{sum:.1} µs"),
            cost: format!(
                "legacy {}, native {}",
                legacy.show(1, "µs"),
                native.show(1, "µs")
            ),
        });
    };
    row(
        "first lists of both, compared: each object",
        shape.replica_sets + shape.pods,
        |round| round.list,
    );
    row(
        "updates in which nothing is new: each",
        scale.updates,
        |round| round.updates,
    );
    row(
        "changes that matter, 33,000/s: each",
        scale.changes,
        |round| round.paced,
    );
    row("the same as fast as they go", scale.changes, |round| {
        round.changes
    });
}

fn round(source: Source, cluster: &mut BothWays, scale: &Scale) -> Round {
    let relay = Relay::start(source, cluster);
    let listed = relay.server.cpu_time();
    let updates = cluster.updates(scale.updates);
    relay.live_through(&updates, cluster);
    let updated = relay.server.cpu_time();
    let steps = (0..scale.changes / AT_ONCE).map(|_| cluster.changes(AT_ONCE));
    let steps: Vec<_> = steps.collect();
    relay.live_through_all(&steps, cluster);
    let paced = relay.server.cpu_time();
    let changes = cluster.changes(scale.changes);
    relay.live_through(&changes, cluster);
    let changed = relay.server.cpu_time();
    Round {
        list: listed.as_secs_f64(),
        updates: (updated - listed).as_secs_f64(),
        paced: (paced - updated).as_secs_f64(),
        changes: (changed - paced).as_secs_f64(),
    }
}

// === memory ===

fn memory(report: &mut Report, cluster: &BothWays) {
    let [legacy, native, shadow] = SOURCES.map(|source| Relay::start(source, cluster).mib());
    for (at, figure) in ["resident with equal pods in both feeds", "the same: peak"]
        .into_iter()
        .enumerate()
    {
        let one = legacy[at].max(native[at]);
        let ratio = shadow[at] / one;
        report.row(Row {
            figure,
            target: Target::AtMost(1.5, 1, " × the larger alone"),
            value: ratio,
            measured: format!("{ratio:.2} ×: {:.1} MiB", shadow[at]),
            reference: format!("{one:.1} MiB"),
            cost: format!("legacy {:.1}, native {:.1} MiB", legacy[at], native[at]),
        });
    }
}

// === the switch ===

fn switches(report: &mut Report, cluster: &mut BothWays, scale: &Scale) {
    let relay = Relay::start(Source::Shadow, cluster);
    let mut messages = 0;
    let mut switch = |to| {
        let (time, surplus) = switch(&relay, cluster, to);
        messages += surplus;
        time
    };
    let times = (0..scale.switches).map(|_| (switch(Source::Native), switch(Source::Legacy)));
    let (there, back): (Vec<_>, Vec<_>) = times.unzip();
    let mut row = |figure, times| {
        let times = Sample::of_times(times).map(|seconds| seconds * 1e3);
        report.row(Row {
            figure,
            target: Target::AtMost(100.0, 0, " ms (max)"),
            value: times.max(),
            measured: times.show(1, "ms"),
            reference: String::new(),
            cost: String::new(),
        });
    };
    row(
        "cutover until the next event of the watches is announced",
        there,
    );
    row(
        "rollback until the next event of the stream is announced",
        back,
    );
    report.row(Row {
        figure: "messages of pods for all these switches",
        target: Target::AtMost(0.0, 0, ""),
        value: messages as f64,
        measured: messages.to_string(),
        reference: String::new(),
        cost: format!("{} switches", 2 * scale.switches),
    });
}

/// Switches to this source. Says how long it takes until a pod that comes right after it, and in
/// this source first, is sent; and how many messages of pods there were apart from that pod's.
fn switch(relay: &Relay, cluster: &mut BothWays, to: Source) -> (Duration, u64) {
    let (step, stage, from) = match to {
        Source::Native => ("cutover?force=true", Stage::ShadowNative, Source::Legacy),
        Source::Legacy | Source::Shadow => ("rollback", Stage::Shadow, Source::Native),
    };
    let newcomer = cluster.newcomer();
    let before = relay.reducer.wait("the cluster", |_| true);
    let start = Instant::now();
    relay.admin.step(step);
    relay.hear_of(&newcomer, to, cluster);
    let sent = |heard: &Heard| heard.pods > before.pods;
    let time = relay.reducer.wait("the newcomer", sent).at - start;
    relay.hear_of(&newcomer, from, cluster);
    let status = relay.settle(cluster.pods());
    assert_eq!(status.stage, stage);
    // What has left the relay is decoded by then.
    thread::sleep(Duration::from_millis(100));
    let after = relay.reducer.wait("the newcomer", sent);
    let all = |heard: Heard| heard.pods + heard.containers + heard.deletes + heard.resyncs;
    let of_the_newcomer = 1 + u64::from(cluster.shape().containers);
    (time, all(after) - all(before) - of_the_newcomer)
}
