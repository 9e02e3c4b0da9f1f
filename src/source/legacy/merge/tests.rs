#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::proto::{ContainerInfo, Info, JobInfo, OwnerInfo, PodInfo, ReplicaSetInfo};

const ADDED: i32 = Verb::Added as i32;
const MODIFIED: i32 = Verb::Modified as i32;
const DELETED: i32 = Verb::Deleted as i32;
const REPLICA_SET: i32 = Type::K8sReplicaset as i32;
const POD: i32 = Type::K8sPod as i32;
const JOB: i32 = Type::K8sJob as i32;

fn merger() -> Merger {
    Merger::new(Merging::NothingClears, Seed::FIXED)
}

fn apply(merger: &mut Merger, info: Info) -> (Vec<FeedEvent>, Vec<&'static str>) {
    let (mut events, mut reasons) = (Vec::new(), Vec::new());
    let bytes = info.encode_to_vec();
    let info = super::Info::read(&bytes).expect("it was encoded here");
    merger.apply(info, &mut events, |reason| reasons.push(reason.name()));
    (events, reasons)
}

fn apply_pod(merger: &mut Merger, pod: PodInfo) -> PodMeta {
    let (events, reasons) = apply(merger, pod_info(ADDED, pod));
    assert_eq!(reasons, [""; 0]);
    match <[_; 1]>::try_from(events) {
        Ok([FeedEvent::Pod(Event::Apply(pod))]) => pod,
        other => panic!("not one pod: {other:?}"),
    }
}

fn pod_info(event: i32, pod: PodInfo) -> Info {
    Info {
        r#type: POD,
        event,
        pod_info: Some(pod),
        ..Info::default()
    }
}

fn owner_info(uid: &str, name: &str, kind: &str) -> OwnerInfo {
    OwnerInfo {
        uid: uid.into(),
        name: name.into(),
        kind: kind.into(),
    }
}

fn container(id: &str) -> ContainerInfo {
    ContainerInfo {
        id: id.into(),
        name: "app".into(),
        image: "app:1".into(),
    }
}

fn web() -> PodInfo {
    PodInfo {
        uid: "web-1".into(),
        ip: "10.0.0.1".into(),
        owner: Some(owner_info("rs-1", "web", "ReplicaSet")),
        ns: "shop".into(),
        is_host_network: true,
        name: "web-abc".into(),
        version: "'app:1'".into(),
        container_infos: vec![container("c1"), container("c2")],
        ..PodInfo::default()
    }
}

fn set_and_job(event: i32, uid: &str, owner: Option<OwnerInfo>) -> [Info; 2] {
    let set = Info {
        r#type: REPLICA_SET,
        event,
        rs_info: Some(ReplicaSetInfo {
            uid: uid.into(),
            owner: owner.clone(),
        }),
        ..Info::default()
    };
    let job = Info {
        r#type: JOB,
        event,
        job_info: Some(JobInfo {
            uid: uid.into(),
            owner,
        }),
        ..Info::default()
    };
    [set, job]
}

/// One word for each event: what kind of object, and what became of which uid.
fn words(events: &[FeedEvent]) -> Vec<String> {
    fn word<T: HasUid>(kind: &str, event: &Event<T>) -> String {
        match event {
            Event::Apply(object) => format!("{kind}+{}", object.uid()),
            Event::Delete(object) => format!("{kind}-{}", object.uid()),
            Event::Init | Event::InitApply(_) | Event::InitDone => "list".into(),
        }
    }
    let word = |event: &FeedEvent| match event {
        FeedEvent::Pod(event) => word("pod", event),
        FeedEvent::ReplicaSet(event) => word("set", event),
        FeedEvent::Job(event) => word("job", event),
        FeedEvent::Seen(..) => "seen".into(),
        FeedEvent::Listed => "listed".into(),
    };
    events.iter().map(word).collect()
}

#[test]
fn pods_of_one_owner_share_their_texts_whatever_has_become_of_the_first() {
    let mut merger = merger();
    let pod = |uid: &str, owner: &str, image: &str| PodInfo {
        uid: uid.into(),
        name: uid.into(),
        ns: "shop".into(),
        version: format!("'{image}'"),
        owner: Some(owner_info(owner, owner, "ReplicaSet")),
        container_infos: vec![ContainerInfo {
            image: image.into(),
            ..container(uid)
        }],
        ..PodInfo::default()
    };
    let texts = |pod: &PodMeta| {
        let container = &pod.containers[0];
        [
            &pod.namespace,
            &pod.version,
            &container.name,
            &container.image,
        ]
        .map(|text| (text.to_string(), text.as_ptr()))
    };
    let first = apply_pod(&mut merger, pod("p1", "web", "web:1"));
    let second = apply_pod(&mut merger, pod("p2", "web", "web:1"));
    assert_eq!(texts(&first), texts(&second));
    assert!(first.owner == second.owner && *second.name == *"p2");
    // Another owner's pod takes the place of the one that new pods were compared with.
    apply(&mut merger, pod_info(DELETED, pod("p1", "web", "web:1")));
    let other = apply_pod(&mut merger, pod("q1", "db", "db:7"));
    assert_eq!(*other.version, *"'db:7'");
    let third = apply_pod(&mut merger, pod("p3", "web", "web:1"));
    assert_eq!(texts(&third), texts(&second));
    // The owner's pods have another version now.
    for uid in ["p4", "p5"] {
        let newer = apply_pod(&mut merger, pod(uid, "web", "web:2"));
        assert_eq!(*newer.version, *"'web:2'");
        assert_eq!(*newer.containers[0].image, *"web:2");
        assert_eq!(newer.namespace.as_ptr(), third.namespace.as_ptr());
    }
}

#[test]
fn the_type_of_an_info_decides_which_payload_counts() {
    let pod = || PodInfo {
        uid: "p".into(),
        ..PodInfo::default()
    };
    for (r#type, with_pod, expected, reasons) in [
        (REPLICA_SET, false, &["set+s"] as &[_], &[] as &[&str]),
        (REPLICA_SET, true, &["set+s", "pod+p"], &[]), // quirk Q1
        (JOB, false, &["job+j"], &[]),
        (JOB, true, &["job+j"], &[]),
        (POD, true, &["pod+p"], &[]),
        (POD, false, &[], &["no_payload"]),
        (7, true, &["pod+p"], &["unknown_type"]),
        (7, false, &[], &["unknown_type", "no_payload"]),
        (-1, true, &["pod+p"], &["unknown_type"]),
    ] {
        let info = Info {
            r#type,
            event: ADDED,
            pod_info: with_pod.then(pod),
            rs_info: Some(ReplicaSetInfo {
                uid: "s".into(),
                owner: None,
            }),
            job_info: Some(JobInfo {
                uid: "j".into(),
                owner: None,
            }),
        };
        let (events, dropped) = apply(&mut merger(), info);
        assert_eq!(words(&events), expected, "type {type}, pod {with_pod}");
        assert_eq!(dropped, reasons, "type {type}, pod {with_pod}");
    }
}

#[test]
fn an_info_without_the_payload_of_its_type_is_dropped_but_its_pod_may_count() {
    for (r#type, expected) in [(REPLICA_SET, &["pod+web-1"] as &[_]), (JOB, &[])] {
        let info = Info {
            r#type,
            pod_info: Some(web()),
            ..Info::default()
        };
        let (events, dropped) = apply(&mut merger(), info);
        assert_eq!(
            (words(&events), dropped),
            (
                expected.iter().map(ToString::to_string).collect(),
                vec!["no_payload"]
            )
        );
    }
    let (events, dropped) = apply(&mut merger(), Info::default());
    assert_eq!((events.len(), dropped), (0, vec!["no_payload"]));
}

#[test]
fn errors_and_unknown_events_change_nothing() {
    let mut merger = merger();
    for (event, reason) in [
        (3, "error_event"),
        (4, "unknown_event"),
        (-1, "unknown_event"),
    ] {
        let (events, dropped) = apply(&mut merger, pod_info(event, web()));
        assert_eq!((events.len(), dropped), (0, vec![reason]));
    }
    assert!(merger.is_empty());
}

#[test]
fn objects_without_a_valid_uid_are_dropped() {
    let long = "u".repeat(MAX_ID_LEN + 1);
    for (uid, owner, reason) in [
        ("", "", "no_uid"),
        (&long, "", "uid_too_long"),
        ("u", &long, "owner_uid_too_long"),
    ] {
        let owner = Some(owner_info(owner, "n", "ReplicaSet"));
        let pod = PodInfo {
            uid: uid.into(),
            owner: owner.clone(),
            ..PodInfo::default()
        };
        let [set, job] = set_and_job(ADDED, uid, owner);
        for info in [pod_info(ADDED, pod), set, job] {
            let (events, dropped) = apply(&mut merger(), info);
            assert_eq!((events.len(), dropped), (0, vec![reason]));
        }
    }
    let longest = PodInfo {
        uid: "u".repeat(MAX_ID_LEN),
        ..PodInfo::default()
    };
    apply_pod(&mut merger(), longest);
}

#[test]
fn a_container_whose_id_is_too_long_is_dropped_alone() {
    let long = container(&"c".repeat(MAX_ID_LEN + 1));
    let pod = PodInfo {
        container_infos: vec![container(""), long.clone(), container("c2"), long],
        ..web()
    };
    let (events, dropped) = apply(&mut merger(), pod_info(ADDED, pod));
    assert_eq!(dropped, ["container_id_too_long"; 2]);
    let [FeedEvent::Pod(Event::Apply(pod))] = &*events else {
        panic!("{events:?}")
    };
    let ids: Vec<_> = pod.containers.iter().map(|c| c.id.to_string()).collect();
    assert_eq!(ids, ["", "c2"]);
}

#[test]
fn an_update_overwrites_with_what_it_says_and_clears_nothing() {
    let mut merger = merger();
    let first = apply_pod(&mut merger, web());
    let silent = PodInfo {
        uid: "web-1".into(),
        container_infos: web().container_infos,
        ..PodInfo::default()
    };
    assert!(apply_pod(&mut merger, silent).ptr_eq(&first));

    let next = apply_pod(
        &mut merger,
        PodInfo {
            uid: "web-1".into(),
            ip: "fd00::1".into(),
            owner: Some(owner_info("", "api", "")),
            ns: "other".into(),
            container_infos: vec![container("c2")],
            ..PodInfo::default()
        },
    );
    assert_eq!(next.address, Some(Ipv4Addr::BROADCAST));
    let owner = next.owner.as_ref().expect("the owner sticks");
    assert_eq!(owner.uid, Uid::new("rs-1"), "a hybrid, quirk Q5");
    assert_eq!((&*owner.name, owner.kind.as_str()), ("api", "ReplicaSet"));
    assert_eq!(
        (&*next.name, &*next.namespace, &*next.version),
        ("web-abc", "other", "'app:1'")
    );
    assert!(next.host_network);
    assert_eq!(next.containers.len(), 1, "those of the latest Info");
}

#[test]
fn where_an_info_is_the_whole_object_what_it_lacks_is_gone() {
    let mut merger = Merger::new(Merging::WholeObject, Seed::FIXED);
    let first = apply_pod(&mut merger, web());
    assert!(first.host_network && first.owner.is_some());
    assert!(
        apply_pod(&mut merger, web()).ptr_eq(&first),
        "nothing has changed"
    );
    let only_uid = PodInfo {
        uid: "web-1".into(),
        ..PodInfo::default()
    };
    let bare = apply_pod(&mut merger, only_uid.clone());
    assert_eq!(*bare, unknown_pod(Uid::new("web-1")));
    assert!(apply_pod(&mut merger, only_uid).ptr_eq(&bare));
    let hybrid = PodInfo {
        owner: Some(owner_info("", "api", "")),
        ..web()
    };
    apply_pod(&mut merger, web());
    let owner = apply_pod(&mut merger, hybrid).owner.clone();
    let owner = owner.expect("it is present");
    assert!(owner.uid.is_empty() && owner.kind.as_str().is_empty());

    for kind in [0, 1] {
        let mut controller = |owner| {
            let info = set_and_job(MODIFIED, "o-1", owner)[kind].clone();
            let (events, dropped) = apply(&mut merger, info);
            assert_eq!(dropped, [""; 0]);
            match events.into_iter().last() {
                Some(FeedEvent::ReplicaSet(Event::Apply(o)) | FeedEvent::Job(Event::Apply(o))) => {
                    o.controller.clone()
                }
                other => panic!("{other:?}"),
            }
        };
        let owner = Some(owner_info("d-1", "web", "Deployment"));
        assert!(controller(owner.clone()).is_some());
        assert_eq!(controller(None), None, "orphaned");
        assert!(controller(owner).is_some(), "adopted again");
    }
}

#[test]
fn an_owner_that_is_present_but_empty_is_an_owner_of_another_kind() {
    let pod = PodInfo {
        owner: Some(OwnerInfo::default()),
        ..web()
    };
    let pod = apply_pod(&mut merger(), pod);
    let owner = pod.owner.as_ref().expect("presence counts");
    assert!(owner.uid.is_empty());
    assert_eq!(owner.kind, OwnerKind::Other(SharedStr::default()));
}

#[test]
fn replica_sets_and_jobs_merge_their_owners_by_field() {
    for kind in [0, 1] {
        let mut merger = merger();
        let mut send = |owner| {
            let info = set_and_job(ADDED, "o-1", owner)[kind].clone();
            let (events, dropped) = apply(&mut merger, info);
            assert_eq!(dropped, [""; 0]);
            match <[_; 1]>::try_from(events) {
                Ok([FeedEvent::ReplicaSet(Event::Apply(o)) | FeedEvent::Job(Event::Apply(o))]) => {
                    o.controller.clone()
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(send(None), None);
        let first = send(Some(owner_info("d-1", "web", "Deployment")));
        assert_eq!(send(None), first);
        let hybrid = send(Some(owner_info("d-2", "", ""))).expect("an owner");
        assert_eq!(hybrid.uid, Uid::new("d-2"));
        assert_eq!(
            (&*hybrid.name, &hybrid.kind),
            ("web", &OwnerKind::Deployment)
        );
    }
}

#[test]
fn a_delete_sends_what_was_known_and_forgets_it() {
    let mut merger = merger();
    let known = apply_pod(&mut merger, web());
    let bare = |event| {
        let uid = "web-1".into();
        pod_info(
            event,
            PodInfo {
                uid,
                ..PodInfo::default()
            },
        )
    };
    let (events, _) = apply(&mut merger, bare(DELETED));
    let [FeedEvent::Listed, FeedEvent::Pod(Event::Delete(gone))] = &*events else {
        panic!("{events:?}")
    };
    assert!(gone.ptr_eq(&known));
    let (events, _) = apply(&mut merger, bare(DELETED));
    let [FeedEvent::Pod(Event::Delete(unknown))] = &*events else {
        panic!("{events:?}")
    };
    assert_eq!((unknown.uid(), unknown.name.len()), (known.uid(), 0));
    let (events, _) = apply(&mut merger, bare(ADDED));
    let [FeedEvent::Pod(Event::Apply(again))] = &*events else {
        panic!("{events:?}")
    };
    assert_eq!((again.owner.as_ref(), again.address), (None, None));
}

#[test]
fn the_first_change_of_any_kind_says_that_the_lists_are_out() {
    for event in [MODIFIED, DELETED] {
        let mut merger = merger();
        let [set, job] = set_and_job(ADDED, "o", None);
        for info in [set, job, pod_info(ADDED, web())] {
            assert_eq!(apply(&mut merger, info).0.len(), 1);
        }
        let [set, job] = set_and_job(event, "o", None);
        let verb = if event == DELETED { '-' } else { '+' };
        let (events, _) = apply(&mut merger, job);
        assert_eq!(words(&events), ["listed".into(), format!("job{verb}o")]);
        let (events, _) = apply(&mut merger, set);
        assert_eq!(words(&events), [format!("set{verb}o")]);
    }
    let nothing = Info {
        event: MODIFIED,
        ..Info::default()
    };
    let (events, dropped) = apply(&mut merger(), nothing);
    assert_eq!(
        (words(&events), dropped),
        (vec!["listed".into()], vec!["no_payload"])
    );
}

#[test]
fn shared_texts_are_let_go_of_while_most_pods_go() {
    let mut merger = merger();
    let pod = |n: usize| PodInfo {
        uid: format!("u{n}"),
        version: format!("v{n}"),
        ..web()
    };
    for n in 0..20_000 {
        apply_pod(&mut merger, pod(n));
    }
    for n in 1..20_000 {
        apply(&mut merger, pod_info(DELETED, pod(n)));
    }
    assert!(merger.shared.len() < 4_096, "{}", merger.shared.len());
    apply(&mut merger, pod_info(DELETED, pod(0)));
    assert!(merger.is_empty() && merger.shared.is_empty());
    assert_eq!(merger.pods.capacity(), 0);
}

/// The rules of protocol 13.2 said once more, on plain values.
#[derive(Clone, Debug, Default, PartialEq)]
struct Naive {
    texts: [String; 3],
    address: Option<Ipv4Addr>,
    host_network: bool,
    owner: Option<[String; 3]>,
    containers: Vec<[String; 3]>,
}

impl Naive {
    fn merge(&mut self, info: &PodInfo) {
        let overwrite = |known: &mut String, sent: &String| {
            if !sent.is_empty() {
                known.clone_from(sent);
            }
        };
        overwrite(&mut self.texts[0], &info.name);
        overwrite(&mut self.texts[1], &info.ns);
        overwrite(&mut self.texts[2], &info.version);
        if !info.ip.is_empty() {
            self.address = Some(inet_addr(&info.ip));
        }
        self.host_network |= info.is_host_network;
        if let Some(sent) = &info.owner {
            let known = self.owner.get_or_insert_default();
            overwrite(&mut known[0], &sent.uid);
            overwrite(&mut known[1], &sent.name);
            overwrite(&mut known[2], &sent.kind);
        }
        let containers = info.container_infos.iter();
        self.containers = containers
            .map(|c| [c.id.clone(), c.name.clone(), c.image.clone()])
            .collect();
    }

    fn of(pod: &Pod) -> Self {
        let text = ToString::to_string;
        Self {
            texts: [&pod.name, &pod.namespace, &pod.version].map(text),
            address: pod.address,
            host_network: pod.host_network,
            owner: pod.owner.as_ref().map(|owner| {
                [
                    owner.uid.to_string(),
                    text(&owner.name),
                    owner.kind.as_str().into(),
                ]
            }),
            containers: pod
                .containers
                .iter()
                .map(|c| [c.id.to_string(), text(&c.name), text(&c.image)])
                .collect(),
        }
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[ab]", "ReplicaSet|NoOwner|Job"]
}

fn any_pod() -> impl Strategy<Value = PodInfo> {
    let ip = prop_oneof![Just(String::new()), "10\\.0\\.0\\.[1-3]", "x"];
    let owner =
        prop::option::of((word(), word(), word()).prop_map(|(u, n, k)| owner_info(&u, &n, &k)));
    let containers = prop::collection::vec(
        (word(), word(), word()).prop_map(|(id, name, image)| ContainerInfo { id, name, image }),
        0..3,
    );
    (
        "[0-3]",
        ip,
        owner,
        any::<bool>(),
        [word(), word(), word()],
        containers,
    )
        .prop_map(
            |(uid, ip, owner, is_host_network, [name, ns, version], container_infos)| PodInfo {
                uid,
                ip,
                owner,
                ns,
                is_host_network,
                name,
                version,
                container_infos,
                containers_ids: vec!["ignored".into()],
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn any_history_merges_as_the_rules_say(
        history in prop::collection::vec((any_pod(), prop::bool::weighted(0.2)), 0..40),
    ) {
        let mut merger = merger();
        let mut naive = BTreeMap::<String, Naive>::new();
        for (pod, delete) in history {
            let uid = pod.uid.clone();
            if delete {
                let (events, _) = apply(&mut merger, pod_info(DELETED, pod));
                let gone = naive.remove(&uid).unwrap_or_default();
                match events.last() {
                    Some(FeedEvent::Pod(Event::Delete(pod))) => prop_assert_eq!(Naive::of(pod), gone),
                    other => prop_assert!(false, "{other:?}"),
                }
                continue;
            }
            let known = naive.entry(uid).or_default();
            known.merge(&pod);
            let emitted = apply_pod(&mut merger, pod.clone());
            prop_assert_eq!(&Naive::of(&emitted), known);
            prop_assert!(apply_pod(&mut merger, pod).ptr_eq(&emitted), "said twice, it is one handle");
        }
        prop_assert_eq!(merger.len(), naive.len());
        for uid in naive.into_keys() {
            let gone = PodInfo { uid, ..PodInfo::default() };
            apply(&mut merger, pod_info(DELETED, gone));
        }
        prop_assert!(merger.is_empty() && merger.shared.is_empty());
    }
}
