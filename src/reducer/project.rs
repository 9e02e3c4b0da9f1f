//! From the model to messages: kind codes, addresses, and texts that fit.
//!
//! Invariants: with ids of at most [`MAX_ID_LEN`] bytes no message is longer than [`MAX_MESSAGE`]
//! bytes; what fits is sent in full; what does not is cut as little as possible, the longest texts
//! down to the next longest, equal ones alike, always between two characters (D8).
//!
//! Absent here: allocation. Every text is borrowed from the model or from an [`IdBuf`].

use std::net::Ipv4Addr;

use crate::{
    model::{ContainerMeta, IdBuf, MAX_ID_LEN, OwnerKind, OwnerRef, PodMeta, Uid},
    wire::{
        codec::TIMESTAMP,
        lz4::MAX_PLAIN,
        messages::{PodContainer, PodDelete, PodNewWithName},
    },
};

/// The longest message, in bytes with its timestamp (D8, protocol 4).
pub const MAX_MESSAGE: usize = MAX_PLAIN;

/// A message, and what it cost to make it fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projected<M> {
    /// What is sent to the reducer.
    pub message: M,
    /// How many of its texts were cut.
    pub cut: usize,
}

/// A pod under `owner`, or under nobody: then its own name stands for the owner's.
pub fn pod_new<'a>(
    pod: &'a PodMeta,
    owner: Option<&'a OwnerRef>,
    [uid, owner_uid]: &'a mut [IdBuf; 2],
) -> Projected<PodNewWithName<'a>> {
    let uid = pod.uid.bytes(uid);
    let (owner_kind, owner_uid): (_, &[u8]) = match owner {
        Some(owner) => (kind_code(&owner.kind), owner.uid.bytes(owner_uid)),
        None => (NO_OWNER, &[]),
    };
    let ids = uid.len() + owner_uid.len();
    let ([owner_name, pod_name, ns, version], cut) = pod_texts(pod, owner, ids);
    let message = PodNewWithName {
        // A pod without an address is never announced; the code for "no address" is protocol 6.4's.
        ip: pod.address.unwrap_or(Ipv4Addr::BROADCAST),
        owner_kind,
        is_host_network: pod.host_network.into(),
        uid,
        owner_name: owner_name.as_bytes(),
        pod_name: pod_name.as_bytes(),
        owner_uid,
        ns: ns.as_bytes(),
        version: version.as_bytes(),
    };
    Projected { message, cut }
}

/// The namespace as [`pod_new`] sends it, for less.
pub fn namespace<'a>(pod: &'a PodMeta, owner: Option<&'a OwnerRef>) -> &'a [u8] {
    let len = |uid: &Uid| uid.bytes(&mut IdBuf::new()).len();
    let (mut texts, cut) = pod_texts(pod, owner, 2 * MAX_ID_LEN);
    if cut > 0 {
        let ids = len(&pod.uid) + owner.map_or(0, |owner| len(&owner.uid));
        (texts, _) = pod_texts(pod, owner, ids);
    }
    let [_, _, namespace, _] = texts;
    namespace.as_bytes()
}

/// The owner's name, the pod's own, its namespace and its version next to ids of this length, and
/// how many were cut.
fn pod_texts<'a>(
    pod: &'a PodMeta,
    owner: Option<&'a OwnerRef>,
    ids: usize,
) -> ([&'a str; 4], usize) {
    let owner_name = owner.map_or(&pod.name, |owner| &owner.name);
    let room = MAX_MESSAGE.saturating_sub(POD_NEW_FIXED + ids);
    fit([owner_name, &pod.name, &pod.namespace, &pod.version], room)
}

/// A container of the pod `pod`.
pub fn pod_container<'a>(
    pod: &'a Uid,
    container: &'a ContainerMeta,
    [uid, id]: &'a mut [IdBuf; 2],
) -> Projected<PodContainer<'a>> {
    let (uid, container_id) = (pod.bytes(uid), container.id.bytes(id));
    let room = MAX_MESSAGE.saturating_sub(POD_CONTAINER_FIXED + uid.len() + container_id.len());
    let ([name, image], cut) = fit([&container.name, &container.image], room);
    let message = PodContainer {
        uid,
        container_id,
        container_name: name.as_bytes(),
        container_image: image.as_bytes(),
    };
    Projected { message, cut }
}

/// The pod `pod` is gone.
pub fn pod_delete<'a>(pod: &'a Uid, uid: &'a mut IdBuf) -> PodDelete<'a> {
    PodDelete {
        uid: pod.bytes(uid),
    }
}

/// The code of an owner's kind (protocol 6.5).
pub fn kind_code(kind: &OwnerKind) -> u8 {
    match kind {
        OwnerKind::ReplicaSet => 0,
        OwnerKind::Deployment => 1,
        OwnerKind::Job => 2,
        OwnerKind::CronJob => 3,
        OwnerKind::NoOwner => NO_OWNER,
        OwnerKind::Other(_) => 255,
    }
}

/// Cuts `texts` to `room` bytes altogether; says how many were cut.
fn fit<const N: usize>(texts: [&str; N], room: usize) -> ([&str; N], usize) {
    let level = level(texts.map(str::len), room);
    let mut cut = 0;
    let texts = texts.map(|text| {
        if text.len() <= level {
            return text;
        }
        cut += 1;
        let end = text.floor_char_boundary(level);
        text.get(..end).unwrap_or_default()
    });
    (texts, cut)
}

/// The greatest length such that texts cut to it take at most `room` bytes.
fn level<const N: usize>(mut lengths: [usize; N], room: usize) -> usize {
    if lengths.iter().sum::<usize>() <= room {
        return usize::MAX;
    }
    lengths.sort_unstable();
    let mut left = room;
    for (done, length) in lengths.into_iter().enumerate() {
        let share = left / (N - done);
        if length > share {
            return share;
        }
        left -= length;
    }
    usize::MAX
}

/// The kind code of a pod without controller, and of the kind text `NoOwner` (D10).
const NO_OWNER: u8 = 254;

/// Timestamp and fixed part of `pod_new_with_name` (protocol 5.15).
const POD_NEW_FIXED: usize = TIMESTAMP + PodNewWithName::ROW.size;

/// Timestamp and fixed part of `pod_container` (protocol 5.16).
const POD_CONTAINER_FIXED: usize = TIMESTAMP + PodContainer::ROW.size;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{ContainerId, Controller, Pod, SharedStr},
        wire::Encode,
    };

    fn pod(texts: [&str; 3]) -> PodMeta {
        let [name, namespace, version] = texts.map(SharedStr::from);
        PodMeta::new(Pod {
            uid: Uid::new("p1"),
            name,
            namespace,
            version,
            owner: None,
            address: Some(Ipv4Addr::new(10, 1, 2, 3)),
            host_network: true,
            containers: [].into(),
            auxiliary: 0,
        })
    }

    fn owner(uid: &str, name: &str, kind: OwnerKind) -> OwnerRef {
        OwnerRef::new(Controller {
            uid: Uid::new(uid),
            name: name.into(),
            kind,
            custom: false,
        })
    }

    #[test]
    fn a_pod_is_announced_with_the_code_name_and_uid_of_its_owner() {
        for (kind, code) in [
            (OwnerKind::ReplicaSet, 0),
            (OwnerKind::Deployment, 1),
            (OwnerKind::Job, 2),
            (OwnerKind::CronJob, 3),
            (OwnerKind::NoOwner, 254),
            (OwnerKind::Other("DaemonSet".into()), 255),
            (OwnerKind::Other("".into()), 255),
        ] {
            let (pod, owner) = (pod(["web-1", "shop", "1.2"]), owner("o1", "web", kind));
            let mut ids = [IdBuf::new(), IdBuf::new()];
            let sent = pod_new(&pod, Some(&owner), &mut ids);
            let expected = PodNewWithName {
                ip: Ipv4Addr::new(10, 1, 2, 3),
                owner_kind: code,
                is_host_network: true.into(),
                uid: b"p1",
                owner_name: b"web",
                pod_name: b"web-1",
                owner_uid: b"o1",
                ns: b"shop",
                version: b"1.2",
            };
            assert_eq!((sent.message, sent.cut), (expected, 0));
        }
    }

    #[test]
    fn a_pod_without_owner_stands_under_its_own_name() {
        let pod = pod(["web-1", "shop", ""]);
        let mut ids = [IdBuf::new(), IdBuf::new()];
        let sent = pod_new(&pod, None, &mut ids).message;
        assert_eq!(sent.owner_kind, 254);
        assert_eq!((sent.owner_name, sent.owner_uid), (&b"web-1"[..], &b""[..]));
    }

    #[test]
    fn equal_long_texts_are_cut_alike_and_short_ones_stay() {
        let long = "n".repeat(40_000);
        let pod = pod([&long, "shop", "1.2"]);
        let mut ids = [IdBuf::new(), IdBuf::new()];
        let sent = pod_new(&pod, None, &mut ids);
        let share = (MAX_MESSAGE - POD_NEW_FIXED - "p1shop1.2".len()) / 2;
        assert_eq!(sent.cut, 2);
        assert_eq!(sent.message.owner_name, &long.as_bytes()[..share]);
        assert_eq!(sent.message.pod_name, sent.message.owner_name);
        assert_eq!(
            (sent.message.ns, sent.message.version),
            (&b"shop"[..], &b"1.2"[..])
        );
    }

    #[test]
    fn the_longest_is_cut_first_and_only_as_far_as_needed() {
        for (lengths, room, expected) in [
            ([10, 20, 30], 60, [10, 20, 30]),
            ([10, 20, 30], 59, [10, 20, 29]),
            ([10, 20, 30], 40, [10, 15, 15]),
            ([30, 30, 30], 10, [3, 3, 3]),
            ([0, 0, 100], 7, [0, 0, 7]),
            ([5, 5, 5], 0, [0, 0, 0]),
        ] {
            let texts = lengths.map(|n| "x".repeat(n));
            let (fitted, cut) = fit(texts.each_ref().map(String::as_str), room);
            assert_eq!(fitted.map(str::len), expected);
            assert_eq!(cut, (0..3).filter(|n| lengths[*n] != expected[*n]).count());
        }
    }

    #[test]
    fn a_cut_falls_between_two_characters() {
        let (fitted, cut) = fit(["äää", "€€€"], 8);
        assert_eq!((fitted, cut), (["ää", "€"], 2));
    }

    /// Lengths around the limit, in characters of one to four bytes.
    fn text() -> impl Strategy<Value = String> {
        (
            0usize..9000,
            prop::sample::select(vec!["a", "ä", "€", "𝄞"]),
            0usize..4,
        )
            .prop_map(|(n, character, lead)| "-".repeat(lead) + &character.repeat(n))
    }

    fn id() -> impl Strategy<Value = String> {
        (0usize..=crate::model::MAX_ID_LEN).prop_map(|n| "u".repeat(n))
    }

    proptest! {
        #[test]
        fn no_pod_message_is_too_long(
            texts in [text(), text(), text(), text()], uid in id(), owner_uid in id(),
        ) {
            let pod = PodMeta::new(Pod {
                uid: Uid::new(&uid),
                ..(*pod([&texts[0], &texts[1], &texts[2]])).clone()
            });
            let owner = owner(&owner_uid, &texts[3], OwnerKind::Deployment);
            let mut ids = [IdBuf::new(), IdBuf::new()];
            let sent = pod_new(&pod, Some(&owner), &mut ids);
            let len = sent.message.encoded_len();
            prop_assert!(len <= MAX_MESSAGE);
            // Four texts, each at most three bytes short of the level, and a remainder.
            prop_assert!(sent.cut == 0 || len > MAX_MESSAGE - 4 * 4);
            prop_assert_eq!((sent.message.uid, sent.message.owner_uid), (uid.as_bytes(), owner_uid.as_bytes()));
            let mut ids = [IdBuf::new(), IdBuf::new()];
            let alone = pod_new(&pod, None, &mut ids);
            prop_assert_eq!(namespace(&pod, Some(&owner)), sent.message.ns);
            prop_assert_eq!(namespace(&pod, None), alone.message.ns);
        }

        #[test]
        fn no_container_message_is_too_long(name in text(), image in text(), id in id()) {
            let container = ContainerMeta {
                id: ContainerId::new(&id),
                name: name.as_str().into(),
                image: image.as_str().into(),
            };
            let uid = Uid::new(&id);
            let mut ids = [IdBuf::new(), IdBuf::new()];
            let sent = pod_container(&uid, &container, &mut ids);
            let len = sent.message.encoded_len();
            prop_assert!(len <= MAX_MESSAGE);
            prop_assert!(sent.cut == 0 || len > MAX_MESSAGE - 2 * 4);
        }

        #[test]
        fn fitting_cuts_nothing_below_the_level_and_the_level_is_the_greatest(
            texts in [text(), text(), text(), text()], room in 0usize..40_000,
        ) {
            let texts = texts.each_ref().map(String::as_str);
            let (fitted, cut) = fit(texts, room);
            let lengths = texts.map(str::len);
            let level = level(lengths, room);
            let at = |level: usize| lengths.iter().map(|n| (*n).min(level)).sum::<usize>();
            prop_assert!(at(level) <= room);
            prop_assert!(level == usize::MAX || at(level + 1) > room);
            prop_assert_eq!(cut == 0, at(usize::MAX) <= room);
            for (whole, fitted) in texts.iter().zip(fitted) {
                prop_assert!(whole.starts_with(fitted));
                prop_assert!(fitted.len() <= level);
                prop_assert!(fitted.len() == whole.len() || fitted.len() + 4 > level);
                prop_assert!(whole.len() > level || fitted.len() == whole.len());
            }
        }
    }
}
