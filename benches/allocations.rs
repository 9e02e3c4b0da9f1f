//! Allocations on the way of an Info: counted, not timed, with an allocator that counts.
//!
//! In: decoding and merging, for each Info. Out: from the event to the socket, for each
//! container message; there it must be none.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a bench speaks to who started it"
)]

mod support;

use std::{collections::BTreeMap, time::Instant};

use allocation_counter::measure;
use k8s_relay::{
    announce::CatchUp,
    feeds::{Feeds, Input, Settings},
    matcher::{Generation, OwnerSort},
    model::{Scope, Seed},
    proto::{Info, info::Event},
    reducer::{self, Identity, ReducerEvent},
    sim::cluster::{Cluster, sent_as},
    source::{
        FeedEvent,
        legacy::{
            info,
            merge::{Merger, Merging},
        },
    },
};
use support::{
    reducer::Reducer as Listener,
    report::{Report, Row, Target},
    watcher::{Load, encode},
};
use tokio::runtime::{self, Runtime};

const CLUSTER: Cluster = Cluster {
    seed: 1,
    replica_sets: 2_000,
    pods: 10_000,
    containers: 2,
};

fn main() {
    let mut report = Report::new("allocations");
    let mut row = |figure, target, count: u64, of: u32, unit| {
        let each = count as f64 / f64::from(of);
        report.row(Row {
            figure,
            target,
            value: each,
            measured: format!("{each:.3}"),
            reference: String::new(),
            cost: format!("{count} for {of} {unit}"),
        });
    };
    let infos = encode(CLUSTER.all_pods());
    let (replica_sets, pods) = (encode(CLUSTER.all_replica_sets()), CLUSTER.pods);
    let restarts = encode(CLUSTER.all_pods().map(restarted));

    let none = Target::AtMost(0.0, 0, "");
    let decoding = measure(|| infos.iter().for_each(|info| drop(read(info)))).count_total;
    row("in: reading a pod", none, decoding, pods, "Infos");

    let mut merger = Merger::new(Merging::NothingClears, Seed::FIXED);
    let mut merge = |load: &Load| {
        let mut events = Vec::with_capacity(2 * load.len());
        let merged = measure(|| {
            for info in load.iter() {
                merger.apply(read(info), &mut events, |reason| panic!("{reason:?}"));
            }
        });
        (events, merged.count_total)
    };
    let (sets, _) = merge(&replica_sets);
    let (added, merged) = merge(&infos);
    row("in: merging a new pod", Target::Any, merged, pods, "Infos");
    let (same, merged) = merge(&infos);
    row(
        "in: merging a pod again, nothing new",
        none,
        merged,
        pods,
        "Infos",
    );
    let (restarted, merged) = merge(&restarts);
    row(
        "in: merging a pod, a container new",
        Target::Any,
        merged,
        pods,
        "Infos",
    );

    let containers = pods * CLUSTER.containers;
    let mut way_out = WayOut::new();
    way_out.play(sets);
    let sent = way_out.play(added);
    row(
        "out: new pods, with their containers",
        Target::Any,
        sent,
        pods + containers,
        "messages",
    );
    // Let the buffers find their size.
    way_out.play(same.clone());
    let sent = way_out.play(same);
    row(
        "out: containers of live pods",
        none,
        sent,
        containers,
        "messages",
    );
    let sent = way_out.play(restarted);
    row(
        "out: containers of live pods, half of them new",
        Target::Any,
        sent,
        containers,
        "messages",
    );
    let sent = way_out.replay();
    row(
        "out: a replay",
        Target::Any,
        sent,
        pods + containers,
        "messages",
    );
    report.print();
}

fn read(info: &[u8]) -> info::Info<'_> {
    info::Info::read(info).expect("it was encoded here")
}

/// The pod, after its first container was restarted.
fn restarted(mut info: Info) -> Info {
    for container in info
        .pod_info
        .iter_mut()
        .flat_map(|pod| pod.container_infos.first_mut())
    {
        container.id = container.id.replace(['0', '1', '2', '3'], "4");
    }
    sent_as(Event::Added, info)
}

/// All that an event passes through on its way to the socket.
struct WayOut {
    runtime: Runtime,
    feeds: Feeds,
    feed: Generation,
    reducer: reducer::Reducer,
    listener: Listener,
}

impl WayOut {
    fn new() -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("there is room for a runtime");
        let listener = Listener::start();
        let facts = Identity {
            hostname: b"bench".into(),
            cpu_cores: 1,
            labels: BTreeMap::new(),
        };
        let address = listener.address();
        let options = reducer::Options::new(address.ip().to_string(), address.port(), facts);
        let mut reducer = reducer::Reducer::new(options).expect("nothing is recorded");
        let now = Instant::now();
        let mut feeds = Feeds::new(Settings::default(), now);
        let event = runtime.block_on(reducer.next());
        assert!(matches!(event, ReducerEvent::Connected), "{event:?}");
        feeds.connected(now, reducer.outbox());
        let feed = feeds.open(now, reducer.outbox());
        Self {
            runtime,
            feeds,
            feed,
            reducer,
            listener,
        }
    }

    /// Sends these events and writes what they make of it; returns the allocations.
    fn play(&mut self, events: Vec<FeedEvent>) -> u64 {
        let mut count = 0;
        let mut inputs = events.into_iter().map(input).peekable();
        while inputs.peek().is_some() {
            let batch: Vec<Input> = inputs.by_ref().take(256).collect();
            let Self {
                feeds,
                feed,
                reducer,
                ..
            } = self;
            let sent = measure(|| {
                let now = Instant::now();
                reducer.outbox().set_time(now);
                for input in batch {
                    let _ = feeds.handle(*feed, Scope::default(), input, now, reducer.outbox());
                }
                reducer.flush(now);
            });
            count += sent.count_total;
            self.drain();
        }
        count
    }

    /// Sends everything again, as if the reducer had just come back.
    fn replay(&mut self) -> u64 {
        self.feeds.disconnected();
        let now = Instant::now();
        self.feeds.connected(now, self.reducer.outbox());
        let mut count = 0;
        let mut resume = CatchUp::More;
        while resume != CatchUp::Done {
            let Self { feeds, reducer, .. } = self;
            let sent = measure(|| {
                resume = feeds.resume(now, reducer.outbox());
                reducer.flush(now);
            });
            count += sent.count_total;
            self.drain();
        }
        count
    }

    /// Waits until the network has taken everything.
    fn drain(&mut self) {
        self.reducer.outbox().ask_empty();
        while self.reducer.progress().queued > 0 {
            self.runtime.block_on(self.reducer.next());
            self.reducer.outbox().ask_empty();
        }
        self.listener.wait("a sign of life", |_| true);
    }
}

fn input(event: FeedEvent) -> Input {
    match event {
        FeedEvent::Pod(event) => Input::Pod(event),
        FeedEvent::ReplicaSet(event) => Input::Owner(OwnerSort::ReplicaSet, event),
        FeedEvent::Job(event) => Input::Owner(OwnerSort::Job, event),
        FeedEvent::Seen(kind, uid) => Input::Seen(kind, uid),
        FeedEvent::Listed => Input::Listed,
    }
}
