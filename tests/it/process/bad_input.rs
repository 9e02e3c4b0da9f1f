//! What no watcher should send, sent to the whole process.

use std::{collections::BTreeMap, time::Instant};

use futures_util::stream;
use k8s_relay::{
    proto::{ContainerInfo, Info, OwnerInfo, PodInfo, info::Type},
    sim::{cluster::Cluster, load, reducer::Options, watcher::Outcome},
    wire::lz4::MAX_PLAIN,
};
use serde_json::Value;
use tonic::Code;

use super::world::{ExpectedState, MIB, World, connect, reducer, relay_to};
use crate::support::{collect::Raw, must};

fn pod(uid: &str, change: impl FnOnce(&mut PodInfo)) -> Info {
    let mut pod = PodInfo {
        uid: uid.into(),
        ip: "10.0.0.1".into(),
        name: "web-1".into(),
        ns: "shop".into(),
        version: "1".into(),
        owner: Some(OwnerInfo {
            uid: "d-1".into(),
            name: "web".into(),
            kind: "Deployment".into(),
        }),
        container_infos: vec![ContainerInfo {
            id: "containerd://c-1".into(),
            name: "app".into(),
            image: "shop/app:1".into(),
        }],
        ..PodInfo::default()
    };
    change(&mut pod);
    Info {
        r#type: Type::K8sPod.into(),
        pod_info: Some(pod),
        ..Info::default()
    }
}

type TextOf = fn(&mut PodInfo) -> &mut String;

/// Every text that a pod has, by the name that the reducer's messages give it.
const TEXTS: [(&str, TextOf); 6] = [
    ("pod_name", |pod| &mut pod.name),
    ("ns", |pod| &mut pod.ns),
    ("version", |pod| &mut pod.version),
    ("owner_name", |pod| &mut pod.owner.as_mut().unwrap().name),
    ("container_name", |pod| &mut pod.container_infos[0].name),
    ("container_image", |pod| &mut pod.container_infos[0].image),
];

#[tokio::test]
async fn texts_of_any_length_are_cut_at_a_character_and_the_rest_is_sent() {
    let world = World::start().await;
    let mut call = world.watcher.open();
    let mut sent = BTreeMap::new();
    for length in [300, 20_000, 70_000, 1 << 20] {
        for character in ['n', 'é', '€', '𝄞'] {
            for (field, text) in TEXTS {
                let uid = format!("{length} {character} {field}");
                // One byte in front, so that no character lies where a power of two would.
                let count = length / character.len_utf8();
                let long: String = "-"
                    .chars()
                    .chain(std::iter::repeat_n(character, count))
                    .collect();
                let info = pod(&uid, |pod| text(pod).clone_from(&long));
                World::send(&mut call, [info]).await;
                sent.insert(uid, (field, long));
            }
        }
    }
    world.announced(1, sent.len() as u64).await;
    assert_eq!(world.relay.stop().await.code(), Some(0));
    let state = world.reducer.shutdown().await;
    assert_eq!(state.violations().count(), 0);
    for (uid, (field, long)) in sent {
        let mut announced = state
            .log
            .iter()
            .filter(|e| e.message.get("uid") == Some(&uid.as_str().into()));
        let announced = announced
            .find_map(|e| e.message.get(field))
            .unwrap_or_else(|| panic!("{uid}"));
        // Bytes that are no text would not be a string here.
        let announced = announced
            .as_str()
            .unwrap_or_else(|| panic!("{uid}: {announced}"));
        assert!(long.starts_with(announced), "{uid}");
        if long.len() <= 301 {
            assert_eq!(announced, long, "{uid}: what fits is sent in full");
        } else {
            let cut = announced.len();
            assert!((MAX_PLAIN - 300..MAX_PLAIN).contains(&cut), "{uid}: {cut}");
        }
    }
}

#[tokio::test]
async fn ids_that_would_have_to_be_cut_are_dropped_with_one_line_each() {
    let world = World::start().await;
    let mut call = world.watcher.open();
    let long = "u".repeat(70_000);
    let set_owner = |pod: &mut PodInfo| pod.owner.as_mut().unwrap().uid = "o".repeat(1_025);
    let infos = [
        pod(&long, |_| ()),
        pod(&long, |_| ()),
        pod("owner", set_owner),
        pod("container", |pod| {
            pod.container_infos[0].id.clone_from(&long)
        }),
        pod("", |_| ()),
        pod("good", |_| ()),
    ];
    let sent = World::send(&mut call, infos).await;
    world.announced(1, sent).await;
    let state = world.reducer.shutdown().await;
    let pods: Vec<&[u8]> = state
        .reducer_state()
        .unwrap()
        .sorted()
        .iter()
        .map(|p| p.0)
        .collect();
    assert_eq!(pods, [&b"container"[..], b"good"]);
    let log = world.relay.log();
    let mut reasons: Vec<_> = log
        .iter()
        .filter(|line| line["message"] == "a watcher sends input that the relay cannot use")
        .map(|line| line["reason"].as_str().unwrap())
        .collect();
    reasons.sort_unstable();
    let expected = [
        "container_id_too_long",
        "no_uid",
        "owner_uid_too_long",
        "uid_too_long",
    ];
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn pods_that_wait_for_owners_that_never_come_cost_their_call_and_no_memory() {
    let options = Options {
        keep_everything: false,
        ..Options::default()
    };
    let reducer = reducer(options).await;
    let relay = relay_to(&reducer, "--info", &[]).await;
    let watcher = connect(&relay).await;
    let overflow = Outcome {
        status: Code::Cancelled,
        details: String::new(),
        responses: 0,
    };
    let mut memory = Vec::new();
    // It comes back again and again, with all its 100,000 pods.
    for _ in 0..5 {
        let ended = must(
            "the guard rail",
            watcher.play(stream::iter(load::waiting_pods(100_000))),
        );
        assert_eq!(ended.await, overflow);
        memory.push(relay.memory());
    }
    assert!(memory[4] < memory[1] + 8 * MIB, "{memory:?}");
    let cluster = Cluster::new(10, 100);
    let mut call = watcher.open();
    World::send(&mut call, cluster.list()).await;
    let world = World {
        reducer,
        relay,
        watcher,
    };
    world.known(&ExpectedState::of(cluster, 0..100)).await;
    assert_eq!(world.relay.stop().await.code(), Some(0));
}

/// The streams of the two tests below.
const STREAMS: usize = 2_000;

/// What a stream may cost the transport.
const BYTES_PER_STREAM: u64 = 256 << 10;

#[tokio::test]
async fn two_thousand_streams_that_send_nothing_cost_nothing_and_fill_no_log() {
    let reducer = reducer(Options::default()).await;
    let relay = relay_to(&reducer, "--info", &[]).await;
    let watcher = connect(&relay).await;
    let cluster = Cluster::new(10, 100);
    let mut call = watcher.open();
    World::send(&mut call, cluster.list()).await;
    let says = |message: &'static str| move |line: &Value| line["message"] == message;
    relay.logged("the watcher", says("stream opened")).await;
    let (before, lines) = (relay.memory(), relay.log().len());
    let mut raw = Raw::connect(relay.address()).await;
    let (mut silent, mut refused) = (Vec::new(), 0);
    let began = Instant::now();
    for _ in 0..STREAMS {
        let call = raw.call().await.unwrap();
        let head = must("a head", call.response).await.unwrap();
        if head.headers().contains_key("grpc-status") {
            refused += 1;
        } else {
            silent.push((call.frames, head));
        }
    }
    // 64 are open at once, this one included. All others may give way to as many every 5 s.
    let turns = 1 + began.elapsed().as_secs() as usize / 5;
    assert!(refused >= STREAMS.saturating_sub(63 * turns), "{refused}");
    assert!(refused > 0);
    let more = relay.log().len() - lines;
    assert!(more <= 2, "{more} lines");
    let most = relay.memory_peak().saturating_sub(before);
    assert!(most <= 8 * MIB, "{most} bytes");
    drop(silent);
    let world = World {
        reducer,
        relay,
        watcher,
    };
    world.known(&ExpectedState::of(cluster, 0..100)).await;
    assert_eq!(world.relay.stop().await.code(), Some(0));
}

#[tokio::test]
async fn streams_cancelled_as_fast_as_they_are_opened_cost_little() {
    let reducer = reducer(Options::default()).await;
    let relay = relay_to(&reducer, "--info", &[]).await;
    let before = relay.memory();
    let (mut opened, mut connections) = (0, 0);
    while opened < 3 * STREAMS {
        let mut raw = Raw::connect(relay.address()).await;
        connections += 1;
        // The relay may end a connection that floods it; then there is a new one.
        while opened < 3 * STREAMS
            && let Ok(mut call) = raw.call().await
        {
            call.frames.send_reset(h2::Reason::CANCEL);
            opened += 1;
        }
    }
    assert!(connections < 100, "{connections}");
    let watcher = connect(&relay).await;
    let cluster = Cluster::new(10, 100);
    let mut call = watcher.open();
    World::send(&mut call, cluster.list()).await;
    let world = World {
        reducer,
        relay,
        watcher,
    };
    world.known(&ExpectedState::of(cluster, 0..100)).await;
    let most = world.relay.memory_peak() - before;
    assert!(most < STREAMS as u64 * BYTES_PER_STREAM, "{most} bytes");
    assert_eq!(world.relay.stop().await.code(), Some(0));
}
