//! A whole cluster, and updates of its live pods, from a watcher through the relay's process to a
//! reducer: next to a bare tonic server that only reads the same stream.
//!
//! A first list is timed from its first byte until the reducer has decoded the last one, for the
//! bare server until it has read it all, which it says by ending the call.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::print_stderr, reason = "a bench speaks to who started it")]
#![allow(
    clippy::indexing_slicing,
    reason = "a bench dies of what it does not expect"
)]

mod support;

use std::time::{Duration, Instant};

use k8s_relay::{
    proto::{Info, info::Event},
    sim::cluster::sent_as,
};
use support::{
    CLUSTER, MESSAGES, ROUNDS, bare_server,
    process::Server,
    reducer::Reducer,
    report::{Report, Row, Sample, Target},
    varied::Varied,
    watcher::{Call, Client, Load, encode, encode_framed},
};

/// Times that every pod of the cluster is sent again.
const PASSES: u32 = 3;

/// What one Info of a client that frames each may cost, in µs of processor time.
const FRAMED_COST: f64 = 3.5;

/// One round.
#[derive(Clone, Copy)]
struct Round {
    list: Spent,
    updates: Spent,
    restarts: Spent,
}

/// What something took.
#[derive(Clone, Copy)]
struct Spent {
    /// Until it was done, with watcher and reducer on the same machine.
    time: Duration,
    /// Processor time of the server alone.
    cpu: Duration,
}

/// What the watcher sends.
struct Loads {
    list: Load,
    /// Live pods, sent again as they are.
    updates: Load,
    /// Live pods, each with a new container in place of its first one.
    restarts: Load,
}

fn main() {
    bare_server::serve_if_asked();
    let mut report = Report::new("pipeline");
    let loads = Loads {
        list: encode(CLUSTER.list()),
        updates: encode(
            CLUSTER
                .all_pods()
                .map(|info| sent_as(Event::Modified, info)),
        ),
        restarts: encode(CLUSTER.all_pods().map(restarted)),
    };
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| (relay(&loads), bare_server(&loads)))
        .collect();
    let relay = |of: fn(&Round) -> Spent| rounds.iter().map(move |(relay, _)| of(relay));
    let bare = |of: fn(&Round) -> Spent| rounds.iter().map(move |(_, bare)| of(bare));

    let infos = f64::from(CLUSTER.replica_sets + CLUSTER.pods);
    let [ours, theirs] = [
        times(relay(|round| round.list)),
        times(bare(|round| round.list)),
    ];
    let ratio = ours.median() / theirs.median();
    report.row(Row {
        figure: "first list: 20k ReplicaSets, 100k pods, 200k containers",
        target: Target::AtMost(2.5, 2, " × the bare server"),
        value: ratio,
        measured: format!("{ratio:.2} ×: {}", ours.show(3, "s")),
        reference: theirs.show(3, "s"),
        cost: cost(infos, relay(|round| round.list), bare(|round| round.list)),
    });

    let infos = f64::from(CLUSTER.pods * PASSES);
    let mut updates = |figure, of: fn(&Round) -> Spent| {
        let [ours, theirs] = [times(relay(of)), times(bare(of))]
            .map(|times| times.map(|seconds| infos / seconds / 1e3));
        let ratio = ours.median() / theirs.median();
        report.row(Row {
            figure,
            target: Target::AtLeast(0.5, 2, " × the bare server's rate"),
            value: ratio,
            measured: format!("{ratio:.2} ×: {}", ours.show(0, "k Info/s")),
            reference: theirs.show(0, "k Info/s"),
            cost: cost(infos, relay(of), bare(of)),
        });
    };
    updates("updates of live pods, nothing new in them", |round| {
        round.updates
    });
    updates("updates of live pods, one container new in each", |round| {
        round.restarts
    });
    framed(&mut report);
    report.print();
}

/// A client that sends each Info in a DATA frame of its own, of a cluster unlike the others.
fn framed(report: &mut Report) {
    let varied = Varied::new(CLUSTER.replica_sets as usize, CLUSTER.pods as usize);
    let (list, updates) = (
        encode_framed(varied.list.iter().cloned()),
        encode_framed(varied.updates()),
    );
    let relay = || {
        let reducer = Reducer::start();
        let server = Server::relay(reducer.address());
        reducer.wait("the handshake", |_| true);
        let call = Call::open_by(Client::Framing, server.address());
        let mut announced = 0;
        [
            (&list, 1, varied.messages()),
            (&updates, PASSES, u64::from(PASSES) * varied.containers),
        ]
        .map(|(load, passes, messages)| {
            announced += messages;
            let (start, cpu) = (Instant::now(), server.cpu_time());
            (0..passes).for_each(|_| call.send(load));
            let heard = reducer.wait("it all", |heard| heard.pods + heard.containers >= announced);
            assert_eq!(heard.resyncs, 0, "the reducer fell behind");
            Spent {
                time: heard.at - start,
                cpu: server.cpu_time() - cpu,
            }
        })
    };
    let bare = || {
        let server = Server::bare();
        [(&list, 1), (&updates, PASSES)].map(|(load, passes)| {
            let call = Call::open_by(Client::Framing, server.address());
            let (start, cpu) = (Instant::now(), server.cpu_time());
            (0..passes).for_each(|_| call.send(load));
            call.finish();
            Spent {
                time: start.elapsed(),
                cpu: server.cpu_time() - cpu,
            }
        })
    };
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (relay(), bare())).collect();
    let rows = [
        ("a frame for each Info, other data: first list", list.len()),
        ("the same: updates", updates.len() * PASSES as usize),
    ];
    for (part, (figure, infos)) in rows.into_iter().enumerate() {
        let each = |spent: &Spent| spent.cpu.as_secs_f64() / infos as f64 * 1e6;
        let [ours, theirs] = [
            Sample::new(rounds.iter().map(|(ours, _)| each(&ours[part]))),
            Sample::new(rounds.iter().map(|(_, bare)| each(&bare[part]))),
        ];
        let time = Sample::of_times(rounds.iter().map(|(ours, _)| ours[part].time));
        report.row(Row {
            figure,
            target: Target::AtMost(FRAMED_COST, 1, " µs of CPU an Info"),
            value: ours.median(),
            measured: ours.show(2, "µs"),
            reference: theirs.show(2, "µs"),
            cost: format!("{:.0} k Info/s", infos as f64 / time.median() / 1e3),
        });
    }
}

fn times(spent: impl Iterator<Item = Spent>) -> Sample {
    Sample::of_times(spent.map(|spent| spent.time))
}

/// Processor time of each server for one Info.
fn cost(
    infos: f64,
    relay: impl Iterator<Item = Spent>,
    bare: impl Iterator<Item = Spent>,
) -> String {
    let [relay, bare] = [
        Sample::of_times(relay.map(|spent| spent.cpu)),
        Sample::of_times(bare.map(|spent| spent.cpu)),
    ]
    .map(|cpu| cpu.median() / infos * 1e6);
    format!("{relay:.1} µs of CPU each, bare server {bare:.1}")
}

fn relay(loads: &Loads) -> Round {
    let reducer = Reducer::start();
    let server = Server::relay(reducer.address());
    reducer.wait("the handshake", |_| true);
    let call = Call::open(server.address());
    let mut sent = 0;
    let mut measured = |load: &Load, passes: u32, messages: u64| {
        sent += messages;
        let (start, cpu) = (Instant::now(), server.cpu_time());
        (0..passes).for_each(|_| call.send(load));
        let heard = reducer.wait("it all", |heard| heard.pods + heard.containers >= sent);
        assert_eq!(heard.resyncs, 0, "the reducer fell behind");
        Spent {
            time: heard.at - start,
            cpu: server.cpu_time() - cpu,
        }
    };
    let containers = u64::from(PASSES * CLUSTER.pods * CLUSTER.containers);
    Round {
        list: measured(&loads.list, 1, MESSAGES),
        updates: measured(&loads.updates, PASSES, containers),
        restarts: measured(&loads.restarts, PASSES, containers),
    }
}

fn bare_server(loads: &Loads) -> Round {
    let server = Server::bare();
    let read = |load: &Load, passes: u32| {
        let call = Call::open(server.address());
        let (start, cpu) = (Instant::now(), server.cpu_time());
        (0..passes).for_each(|_| call.send(load));
        call.finish();
        Spent {
            time: start.elapsed(),
            cpu: server.cpu_time() - cpu,
        }
    };
    Round {
        list: read(&loads.list, 1),
        updates: read(&loads.updates, PASSES),
        restarts: read(&loads.restarts, PASSES),
    }
}

/// The pod, after its first container was restarted.
fn restarted(info: Info) -> Info {
    let mut info = sent_as(Event::Modified, info);
    if let Some(pod) = &mut info.pod_info
        && let Some(container) = pod.container_infos.first_mut()
    {
        container.id = container.id.chars().rev().take(64).collect();
        container.id.insert_str(0, "containerd://");
    }
    info
}
