//! The loop with the native watches: what they report reaches the reducer, with streams or without.

use std::{net::SocketAddr, time::Instant};

use k8s_relay::{
    driver::{Driver, Migrating, Options, WatchControl, Watches},
    feeds::{Settings, SourceKind},
    migrate::{Numbered, Stage, migration},
    model::{Kind, Scope, Uid},
    reducer::Reducer,
    source::{CollectMessage, FeedEvent, StreamId, WatchHealth, WatchMessage},
};
use kube::runtime::watcher::Event;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};

use crate::support::{
    must,
    native::list_of,
    reducer::{Peer, listen, pod, soon},
};

/// A driver that runs in the test's own task, and both ways in.
struct World {
    driver: Driver,
    listener: TcpListener,
    collect: mpsc::Sender<CollectMessage>,
    watches: mpsc::Sender<WatchMessage>,
}

#[tokio::test]
async fn what_the_watches_send_reaches_the_reducer_and_the_readers() {
    let world = World::new(SourceKind::Native).await;
    let reader = world.driver.reader();
    let (collect, watches) = (world.collect, world.watches);
    let script = async {
        let mut peer = Peer::accept(&world.listener).await;
        peer.handshake_done().await;
        watches.send(pods(0, list_of([pod("a")]))).await.unwrap();
        assert_eq!(peer.names(1).await, ["pod_new_with_name"]);
        assert!(reader.pod(&Uid::new("a")).is_some());
        // A stream alongside them changes nothing; that it ends does not end the loop.
        collect.send(opened(1)).await.unwrap();
        drop(collect);
        watches.send(pods(1, list_of([pod("b")]))).await.unwrap();
        watches.send(pods(0, list_of([]))).await.unwrap();
        let sent = peer.names(2).await;
        assert_eq!(sent, ["pod_new_with_name", "pod_delete"]);
        drop(watches);
        assert!(
            peer.name().await.is_none(),
            "the sources have ended, so has the loop"
        );
    };
    let run = async { drop(soon(world.driver.run()).await) };
    must("the end of the loop", async { tokio::join!(run, script) }).await;
}

#[tokio::test]
async fn neither_source_starves_the_other() {
    let world = World::new(SourceKind::Collect).await;
    let (collect, watches) = (world.collect, world.watches);
    let busy = async {
        // More than enough of this waits all the time.
        while watches
            .send(pods(0, [Event::Apply(pod("shadow"))]))
            .await
            .is_ok()
        {}
    };
    let script = async {
        let mut peer = Peer::accept(&world.listener).await;
        peer.handshake_done().await;
        collect.send(opened(1)).await.unwrap();
        let events = vec![FeedEvent::Pod(Event::Apply(pod("a")))];
        let batch = CollectMessage::Batch {
            stream: StreamId(1),
            events,
            infos: 1,
            read: std::time::Instant::now(),
        };
        collect.send(batch).await.unwrap();
        assert_eq!(peer.names(1).await, ["pod_new_with_name"]);
    };
    let run = async { drop(world.driver.run().await) };
    must("a pod of the stream", async {
        tokio::select! {
            () = busy => panic!("the loop has ended"),
            () = run => panic!("the loop has ended"),
            () = script => {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_watch_that_is_denied_or_fails_holds_nothing_up() {
    let world = World::new(SourceKind::Native).await;
    let (_collect, watches) = (world.collect, world.watches);
    let script = async {
        let mut peer = Peer::accept(&world.listener).await;
        for (kind, health) in [
            (Kind::JOB, WatchHealth::Denied),
            (Kind::REPLICA_SET, WatchHealth::Failing),
            (Kind::REPLICA_SET, WatchHealth::Healthy),
        ] {
            let scope = Scope(0);
            let health = WatchMessage::Health {
                kind,
                scope,
                health,
                since: Instant::now(),
                last_failure: None,
            };
            watches.send(health).await.unwrap();
        }
        watches.send(pods(0, list_of([pod("a")]))).await.unwrap();
        peer.handshake_done().await;
        assert_eq!(peer.names(1).await, ["pod_new_with_name"]);
    };
    let run = async { drop(world.driver.run().await) };
    must("a pod", async {
        tokio::select! {
            () = run => panic!("the loop has ended"),
            () = script => {}
        }
    })
    .await;
}

impl World {
    async fn new(active: SourceKind) -> Self {
        let (listener, options) = listen().await;
        let (collect, inputs) = mpsc::channel(4);
        let (watches, watch_inputs) = mpsc::channel(4);
        let stage = match active {
            SourceKind::Collect => Stage::Shadow,
            SourceKind::Native => Stage::Native,
        };
        let driving = Options {
            settings: Settings {
                active,
                ..Settings::default()
            },
            watches: Some(Watches {
                scopes: 2,
                namespaces: Vec::new(),
                inputs: watch_inputs,
            }),
            migrating: Migrating {
                settings: migration::Settings {
                    stage,
                    ..migration::Settings::default()
                },
                source: stage,
                states: watch::channel(Numbered::default()).0,
                written: None,
                native_alone: watch::channel(false).0,
                // Nobody starts or ends watches in these tests.
                control: WatchControl {
                    orders: mpsc::channel(1).0,
                    news: mpsc::channel(1).1,
                },
            },
        };
        let reducer = Reducer::new(options).unwrap();
        Self {
            driver: Driver::new(driving, reducer, inputs),
            listener,
            collect,
            watches,
        }
    }
}

fn pods(
    scope: u16,
    events: impl IntoIterator<Item = Event<k8s_relay::model::PodMeta>>,
) -> WatchMessage {
    WatchMessage::Batch {
        scope: Scope(scope),
        events: events.into_iter().map(FeedEvent::Pod).collect(),
        read: std::time::Instant::now(),
    }
}

fn opened(stream: u64) -> CollectMessage {
    CollectMessage::Opened {
        stream: StreamId(stream),
        peer: None::<SocketAddr>,
        end: oneshot::channel().0,
    }
}
