use std::collections::BTreeMap;

use kube::runtime::watcher;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::{
    model::{ObjectMeta, PodMeta, Seed},
    proto::{ContainerInfo, Info, JobInfo, OwnerInfo, PodInfo, ReplicaSetInfo},
    source::{
        FeedEvent,
        legacy::{
            info,
            merge::{Merger, Merging},
        },
    },
};

/// What a relay knows of one stream.
#[derive(Debug, Default, PartialEq)]
struct Known {
    pods: BTreeMap<String, PodMeta>,
    replica_sets: Owners,
    jobs: Owners,
}

/// With the latest state of deleted ones: they still resolve pods.
#[derive(Debug, Default, PartialEq)]
struct Owners(BTreeMap<String, (ObjectMeta, bool)>);

impl Known {
    fn of<'a>(messages: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let (mut merger, mut events, mut known) = (
            Merger::new(Merging::NothingClears, Seed::FIXED),
            Vec::new(),
            Self::default(),
        );
        for message in messages {
            merger.apply(info::Info::read(message).unwrap(), &mut events, |_| ());
        }
        for event in events {
            match event {
                FeedEvent::Pod(watcher::Event::Apply(pod)) => {
                    known.pods.insert(format!("{:?}", pod.uid), pod);
                }
                FeedEvent::Pod(watcher::Event::Delete(pod)) => {
                    known.pods.remove(&format!("{:?}", pod.uid));
                }
                FeedEvent::ReplicaSet(event) => known.replica_sets.apply(event),
                FeedEvent::Job(event) => known.jobs.apply(event),
                FeedEvent::Pod(_) | FeedEvent::Seen(..) | FeedEvent::Listed => {}
            }
        }
        known
    }
}

impl Owners {
    fn apply(&mut self, event: watcher::Event<ObjectMeta>) {
        match event {
            watcher::Event::Apply(owner) => {
                self.0.insert(format!("{:?}", owner.uid), (owner, true));
            }
            watcher::Event::Delete(owner) => {
                if let Some((_, lives)) = self.0.get_mut(&format!("{:?}", owner.uid)) {
                    *lives = false;
                }
            }
            watcher::Event::Init | watcher::Event::InitApply(_) | watcher::Event::InitDone => {
                unreachable!("a stream knows no lists")
            }
        }
    }
}

fn word() -> impl Strategy<Value = String> {
    select(vec!["", "", "a", "b"]).prop_map(str::to_owned)
}

fn uid() -> impl Strategy<Value = String> {
    select(vec!["", "u1", "u2", "u3"]).prop_map(str::to_owned)
}

fn owner() -> impl Strategy<Value = Option<OwnerInfo>> {
    let owner = (word(), word(), word());
    option::of(owner.prop_map(|(uid, name, kind)| OwnerInfo { uid, name, kind }))
}

fn pod() -> impl Strategy<Value = PodInfo> {
    let container = (word(), word()).prop_map(|(id, name)| ContainerInfo {
        id,
        name,
        image: "i".to_owned(),
    });
    let address = select(vec!["", "10.0.0.1", "10.2", "fd00::1"]);
    (
        uid(),
        address,
        owner(),
        word(),
        any::<bool>(),
        word(),
        word(),
        vec(container, 0..3),
    )
        .prop_map(
            |(uid, ip, owner, ns, is_host_network, name, version, container_infos)| PodInfo {
                uid,
                ip: ip.to_owned(),
                owner,
                ns,
                is_host_network,
                name,
                version,
                container_infos,
                ..PodInfo::default()
            },
        )
}

/// Infos of every type and event, unknown ones among them, with payloads that fit or not.
fn any_info() -> impl Strategy<Value = Vec<u8>> {
    let owned = || option::of((uid(), owner()));
    (0..4, 0..5, option::of(pod()), owned(), owned()).prop_map(|(r#type, event, pod, set, job)| {
        let rs_info = set.map(|(uid, owner)| ReplicaSetInfo { uid, owner });
        let job_info = job.map(|(uid, owner)| JobInfo { uid, owner });
        let info = Info {
            r#type,
            event,
            pod_info: pod,
            rs_info,
            job_info,
        };
        info.encode_to_vec()
    })
}

fn folded(messages: &[Vec<u8>]) -> Fold {
    let mut fold = Fold::new(Seed::FIXED);
    messages.iter().for_each(|message| fold.apply(message));
    fold
}

proptest! {
    #[test]
    fn the_replay_leads_a_fresh_stream_to_the_same_state(messages in vec(any_info(), 0..60)) {
        let replay = folded(&messages).replay();
        let sent = Known::of(messages.iter().map(Vec::as_slice));
        prop_assert_eq!(Known::of(replay.iter().map(|message| &message[..])), sent);
    }

    #[test]
    fn folding_a_replay_changes_nothing(messages in vec(any_info(), 0..60)) {
        let fold = folded(&messages);
        let replay: Vec<_> = fold.replay().iter().map(|message| message.to_vec()).collect();
        let again: Vec<_> = folded(&replay).replay().iter().map(|m| m.to_vec()).collect();
        let sizes = |replay: &[Vec<u8>]| replay.len();
        prop_assert_eq!(sizes(&again), sizes(&replay));
    }

    #[test]
    fn bytes_that_are_no_info_change_nothing(bytes in vec(any::<u8>(), 0..50)) {
        let mut fold = folded(&[]);
        fold.apply(&bytes);
        prop_assert!(fold.unreadable() == 1 || info::Info::read(&bytes).is_ok());
    }
}

fn set(event: Event, uid: &str, name: &str) -> Vec<u8> {
    let owner = (!name.is_empty()).then(|| OwnerInfo {
        uid: "d".to_owned(),
        name: name.to_owned(),
        kind: "Deployment".to_owned(),
    });
    let info = Info {
        event: event as i32,
        rs_info: Some(ReplicaSetInfo {
            uid: uid.to_owned(),
            owner,
        }),
        ..Info::default()
    };
    info.encode_to_vec()
}

#[test]
fn a_message_that_says_all_is_kept_as_it_came() {
    // A field of a later day, number 15.
    let modern = [set(Event::Modified, "s", "web"), vec![0x7a, 1, b'x']].concat();
    let fold = folded(&[set(Event::Added, "s", "web"), modern.clone()]);
    assert_eq!(
        fold.replay(),
        [Message::from([&modern[..], &ADDED].concat())]
    );
}

#[test]
fn deleted_owners_are_sent_and_deleted_and_only_the_last_ten_thousand() {
    let names: Vec<String> = (0..=GONE).map(|n| format!("s{n}")).collect();
    let all = |event| names.iter().map(move |uid| set(event, uid, "web"));
    let messages: Vec<_> = all(Event::Added).chain(all(Event::Deleted)).collect();
    let fold = folded(&messages);
    assert_eq!(fold.len(), GONE);
    let replay = fold.replay();
    let events: Vec<_> = replay
        .iter()
        .map(|m| info::Info::read(m).unwrap().event)
        .collect();
    assert_eq!(events[..GONE], [Event::Added as i32; GONE]);
    assert_eq!(events[GONE..], [Event::Deleted as i32; GONE]);
}
