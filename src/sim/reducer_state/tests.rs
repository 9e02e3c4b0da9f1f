use super::*;
use crate::wire::messages::*;

fn pod<'a>(uid: &'a str, name: &'a str) -> Message<'a> {
    PodNewWithName {
        ip: Ipv4Addr::LOCALHOST,
        owner_kind: 1,
        is_host_network: 0,
        uid: uid.as_bytes(),
        owner_name: b"owner",
        pod_name: name.as_bytes(),
        owner_uid: b"o-1",
        ns: b"shop",
        version: b"1",
    }
    .into()
}

fn container<'a>(uid: &'a str, id: &'a str, image: &'a str) -> Message<'a> {
    let (uid, container_id) = (uid.as_bytes(), id.as_bytes());
    let (container_name, container_image) = (&b"app"[..], image.as_bytes());
    PodContainer {
        uid,
        container_id,
        container_name,
        container_image,
    }
    .into()
}

fn delete(uid: &str) -> Message<'_> {
    PodDelete {
        uid: uid.as_bytes(),
    }
    .into()
}

fn after(messages: &[Message<'_>]) -> ReducerState {
    let mut reducer_state = ReducerState::with_pools(3, 4);
    messages
        .iter()
        .for_each(|message| reducer_state.apply(message));
    reducer_state
}

fn ids(reducer_state: &ReducerState, uid: &str) -> Vec<String> {
    let containers = reducer_state.pod(uid.as_bytes()).unwrap().containers();
    containers
        .iter()
        .map(|c| String::from_utf8_lossy(c.received_id()).into_owned())
        .collect()
}

#[test]
fn a_pod_sent_again_gets_new_details_and_keeps_its_containers() {
    let reducer_state = after(&[
        pod("a", "old"),
        container("a", "x://1", "i:1"),
        pod("a", "new"),
    ]);
    assert_eq!(reducer_state.pod(b"a").unwrap().pod_name(), b"new");
    assert_eq!(ids(&reducer_state, "a"), ["x://1"]);
    assert_eq!((reducer_state.pods(), reducer_state.containers()), (1, 1));
    assert_eq!(reducer_state.counts().pods_received_again, 1);
}

#[test]
fn the_first_image_of_a_container_stays_whatever_its_runtime_is_called() {
    let reducer_state = after(&[
        pod("a", "a"),
        container("a", "docker://1", "i:1"),
        container("a", "containerd://1", "i:2"),
        container("a", "", "i:3"),
        container("a", "x://", "i:4"),
    ]);
    let [first, empty] = reducer_state.pod(b"a").unwrap().containers() else {
        panic!("two containers")
    };
    assert_eq!((first.id(), first.version()), (&b"1"[..], &b"1"[..]));
    assert_eq!((empty.id(), empty.version()), (&b""[..], &b"3"[..]));
    assert_eq!(reducer_state.counts().containers_known, 2);
}

#[test]
fn a_container_before_its_pod_is_lost() {
    let reducer_state = after(&[container("a", "1", "i"), pod("a", "a")]);
    assert_eq!(
        (
            ids(&reducer_state, "a").len(),
            reducer_state.counts().containers_without_pod
        ),
        (0, 1)
    );
}

#[test]
fn a_pod_deleted_and_sent_again_has_no_containers() {
    let reducer_state = after(&[
        pod("a", "a"),
        container("a", "1", "i"),
        delete("a"),
        pod("a", "a"),
    ]);
    assert_eq!(
        (ids(&reducer_state, "a").len(), reducer_state.containers()),
        (0, 0)
    );
    let reducer_state = after(&[delete("a"), pod("a", "a"), delete("a"), delete("a")]);
    assert_eq!(
        (
            reducer_state.counts().deletes,
            reducer_state.counts().deletes_unknown
        ),
        (3, 2)
    );
}

#[test]
fn a_resync_forgets_every_pod() {
    let resync = PodResync { resync_count: 7 }.into();
    let reducer_state = after(&[
        pod("a", "a"),
        container("a", "1", "i"),
        resync,
        container("a", "1", "i"),
    ]);
    assert_eq!(reducer_state, ReducerState::new());
    assert_eq!(
        (
            reducer_state.containers(),
            reducer_state.counts().containers_without_pod
        ),
        (0, 1)
    );
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut messages = vec![
        pod("a", "a"),
        pod("b", "b"),
        pod("c", "c"),
        pod("d", "d"),
        pod("a", "a"),
    ];
    messages.extend(["1", "2", "3", "4", "5"].map(|id| container("a", id, "i")));
    let reducer_state = after(&messages);
    assert_eq!((reducer_state.pods(), reducer_state.containers()), (3, 4));
    assert_eq!(reducer_state.counts().pods_beyond_pool, 1);
    assert_eq!(reducer_state.counts().containers_beyond_pool, 1);
    messages.extend([delete("a"), pod("d", "d"), container("d", "5", "i")]);
    let reducer_state = after(&messages);
    assert_eq!((reducer_state.pods(), reducer_state.containers()), (3, 1));
}

#[test]
fn older_forms_of_a_pod_have_no_name_or_version() {
    let (ip, uid) = (Ipv4Addr::LOCALHOST, &b"a"[..]);
    let (owner_name, owner_uid, ns) = (&b"o"[..], &b"u"[..], &b"n"[..]);
    let (owner_kind, is_host_network) = (2, 1);
    let oldest = PodNewLegacy {
        ip,
        owner_kind,
        is_host_network,
        uid,
        owner_name,
        owner_uid,
        ns,
    };
    let reducer_state = after(&[oldest.into()]);
    let pod = reducer_state.pod(b"a").unwrap();
    assert_eq!(
        (pod.pod_name(), pod.ns(), pod.version()),
        (&b""[..], ns, &b""[..])
    );
    assert_eq!((pod.owner_name(), pod.owner_uid()), (owner_name, owner_uid));
    let version = b"7";
    let older = PodNewLegacy2 {
        ip,
        owner_kind,
        is_host_network,
        uid,
        owner_name,
        owner_uid,
        ns,
        version,
    };
    let reducer_state = after(&[oldest.into(), older.into()]);
    assert_eq!(reducer_state.pod(b"a").unwrap().version(), b"7");
}

#[test]
fn a_reducer_keeps_the_version_of_an_image() {
    let long = format!("i:{}", "9".repeat(100));
    let cut = "9".repeat(64);
    for (image, version) in [
        ("registry.example:5000/shop/checkout:1.42", "1.42"),
        ("registry.example:5000/shop/checkout", ""),
        ("shop/checkout@sha256:abc", "sha256:abc"),
        ("shop/checkout:1.42@sha256:abc", "sha256:abc"),
        ("sha256:abc", "sha256:abc"),
        ("", ""),
        (&long, &cut),
    ] {
        let reducer_state = after(&[pod("a", "a"), container("a", "1", image)]);
        let [container] = reducer_state.pod(b"a").unwrap().containers() else {
            panic!("one container")
        };
        assert_eq!(container.version(), version.as_bytes(), "{image}");
    }
}
