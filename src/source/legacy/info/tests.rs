#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::{prelude::*, sample::Index};
use prost::Message as _;

use super::*;
use crate::proto;

/// Reads with both; they must agree.
fn read(bytes: &[u8]) -> Result<Info<'_>, Malformed> {
    let theirs = proto::Info::decode(bytes);
    let expected = theirs.as_ref().map(Info::of).map_err(drop);
    assert_eq!(Info::read(bytes).map_err(drop), expected, "{bytes:?}");
    Info::read(bytes)
}

impl<'a> Info<'a> {
    fn of(info: &'a proto::Info) -> Self {
        Self {
            r#type: info.r#type,
            event: info.event,
            pod_info: info.pod_info.as_ref().map(PodInfo::of),
            rs_info: info.rs_info.as_ref().map(|set| OwnedInfo {
                uid: &set.uid,
                owner: set.owner.as_ref().map(OwnerInfo::of),
            }),
            job_info: info.job_info.as_ref().map(|job| OwnedInfo {
                uid: &job.uid,
                owner: job.owner.as_ref().map(OwnerInfo::of),
            }),
        }
    }
}

impl<'a> PodInfo<'a> {
    fn of(pod: &'a proto::PodInfo) -> Self {
        Self {
            uid: &pod.uid,
            ip: &pod.ip,
            owner: pod.owner.as_ref().map(OwnerInfo::of),
            ns: &pod.ns,
            is_host_network: pod.is_host_network,
            name: &pod.name,
            version: &pod.version,
            container_infos: pod.container_infos.iter().map(ContainerInfo::of).collect(),
        }
    }
}

impl<'a> OwnerInfo<'a> {
    fn of(owner: &'a proto::OwnerInfo) -> Self {
        Self {
            uid: &owner.uid,
            name: &owner.name,
            kind: &owner.kind,
        }
    }
}

impl<'a> ContainerInfo<'a> {
    fn of(container: &'a proto::ContainerInfo) -> Self {
        Self {
            id: &container.id,
            name: &container.name,
            image: &container.image,
        }
    }
}

/// The key of a field, of one byte.
fn key(number: u8, encoding: u8) -> u8 {
    number << 3 | encoding
}

/// A field of bytes, at most 127.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let len = u8::try_from(bytes.len()).unwrap();
    [&[key(number, 2), len], bytes].concat()
}

#[test]
fn nothing_is_an_info_that_says_nothing() {
    assert_eq!(read(&[]), Ok(Info::default()));
    // A sub-message that is there counts, even if it says nothing.
    let bytes = [key(3, 2), 0];
    let info = read(&bytes).unwrap();
    assert_eq!(info.pod_info, Some(PodInfo::default()));
}

#[test]
fn of_a_scalar_that_comes_again_the_last_counts_and_sub_messages_are_merged() {
    let owner = |fields: &[u8]| field(3, &field(3, fields));
    let container = |id: &[u8]| field(3, &field(9, &field(1, id)));
    let bytes = [
        field(3, &[field(1, b"u"), field(4, b"shop")].concat()),
        owner(&[field(1, b"o1"), field(2, b"web")].concat()),
        container(b"c1"),
        vec![key(1, 0), 2, key(1, 0), 1],
        field(3, &[field(1, b"u2"), field(4, b"")].concat()),
        owner(&[field(1, b"o2"), field(3, b"Job")].concat()),
        container(b"c2"),
    ]
    .concat();
    let info = read(&bytes).unwrap();
    assert_eq!(info.r#type, 1);
    let pod = info.pod_info.unwrap();
    assert_eq!((pod.uid, pod.ns), ("u2", ""));
    let owner = pod.owner.unwrap();
    assert_eq!((owner.uid, owner.name, owner.kind), ("o2", "web", "Job"));
    let ids: Vec<_> = pod.container_infos.iter().map(|c| c.id).collect();
    assert_eq!(ids, ["c1", "c2"]);
}

#[test]
fn numbers_are_read_by_their_low_bits() {
    let minus_one = [&[key(1, 0)], &[0xff; 9][..], &[1]].concat();
    assert_eq!(read(&minus_one).unwrap().r#type, -1);
    let wide = [key(2, 0), 0x81, 0x80, 0x80, 0x80, 0x10]; // 2^32 + 1
    assert_eq!(read(&wide).unwrap().event, 1);
    // A long way to say 1 in a text's length, in a key and in a flag.
    let flag = field(3, &[key(5, 0) | 0x80, 0, 0x80, 0x80, 2]);
    assert!(read(&flag).unwrap().pod_info.unwrap().is_host_network);
}

#[test]
fn unknown_fields_are_skipped_groups_among_them() {
    let group = [
        key(10, 3),
        key(1, 0),
        5,
        key(11, 3),
        key(11, 4), // a group within
        key(2, 5),
        0,
        0,
        0,
        0,
        key(10, 4),
    ];
    let bytes = [
        &[key(6, 0), 0xff, 1][..],
        &[key(6, 1), 1, 2, 3, 4, 5, 6, 7, 8],
        &field(6, b"\xff\xff"),
        &[key(6, 5), 1, 2, 3, 4],
        &group,
        &field(3, &[&group[..], &field(1, b"u")].concat()),
    ]
    .concat();
    assert_eq!(read(&bytes).unwrap().pod_info.unwrap().uid, "u");
}

#[test]
fn what_is_no_info_is_refused_for_a_reason() {
    let nested = |groups: usize| [vec![key(7, 3); groups], vec![key(7, 4); groups]].concat();
    assert_eq!(read(&nested(100)), Ok(Info::default()));
    assert_eq!(read(&nested(101)), Err(Malformed::Depth));
    for (bytes, expected) in [
        (&[key(1, 0)][..], Malformed::Truncated),
        (&[key(3, 2), 1], Malformed::Truncated),
        (&[key(3, 2), 0xff, 0xff], Malformed::Truncated),
        (&[key(6, 5), 1, 2, 3], Malformed::Truncated),
        (&[key(6, 1), 1, 2, 3, 4, 5, 6, 7], Malformed::Truncated),
        (&[key(7, 3)], Malformed::Truncated),
        // An inner message that is longer than the outer one.
        (&[key(3, 2), 2, key(1, 2), 1, b'u'], Malformed::Truncated),
        (&[0x80; 11], Malformed::Overflow),
        (
            &[&[key(1, 0)], &[0xff; 9][..], &[2]].concat(),
            Malformed::Overflow,
        ),
        (&[0x80, 0x80, 0x80, 0x80, 0x10, 0], Malformed::Overflow),
        (&[0, 0], Malformed::Key(0)),
        (&[key(1, 6), 0], Malformed::Key(14)),
        (&[key(1, 7), 0], Malformed::Key(15)),
        (&field(1, b""), Malformed::Type(1)),
        (&[key(3, 0), 0], Malformed::Type(3)),
        (&[key(3, 3), key(3, 4)], Malformed::Type(3)),
        (&field(3, &[key(5, 5), 0, 0, 0, 0]), Malformed::Type(5)),
        (&field(3, &[key(7, 0), 0]), Malformed::Type(7)),
        (&field(3, &field(6, b"\xff")), Malformed::Text(6)),
        (&field(3, &field(7, b"\xc3")), Malformed::Text(7)),
        (&[key(7, 4)], Malformed::GroupEnd(7)),
        (&[key(7, 3), key(8, 4)], Malformed::GroupEnd(8)),
    ] {
        assert_eq!(read(bytes), Err(expected), "{bytes:?}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zä€𝄞]{0,6}",
        1 => "[a-z]{120,140}", // around a length of two bytes
    ]
}

fn owner() -> impl Strategy<Value = Option<proto::OwnerInfo>> {
    let owner = (text(), text(), text());
    prop::option::of(owner.prop_map(|(uid, name, kind)| proto::OwnerInfo { uid, name, kind }))
}

fn pod() -> impl Strategy<Value = proto::PodInfo> {
    let container = (text(), text(), text()).prop_map(|(id, name, image)| proto::ContainerInfo {
        id,
        name,
        image,
    });
    (
        [text(), text(), text(), text(), text()],
        owner(),
        any::<bool>(),
        prop::collection::vec(text(), 0..3),
        prop::collection::vec(container, 0..7),
    )
        .prop_map(
            |(
                [uid, ip, ns, name, version],
                owner,
                is_host_network,
                containers_ids,
                container_infos,
            )| {
                proto::PodInfo {
                    uid,
                    ip,
                    owner,
                    ns,
                    is_host_network,
                    name,
                    containers_ids,
                    version,
                    container_infos,
                }
            },
        )
}

fn info() -> impl Strategy<Value = proto::Info> {
    let number = || prop_oneof![4 => 0..4, 1 => any::<i32>()];
    let owned = || prop::option::of((text(), owner()));
    (
        number(),
        number(),
        prop::option::of(pod()),
        owned(),
        owned(),
    )
        .prop_map(|(r#type, event, pod_info, set, job)| proto::Info {
            r#type,
            event,
            pod_info,
            rs_info: set.map(|(uid, owner)| proto::ReplicaSetInfo { uid, owner }),
            job_info: job.map(|(uid, owner)| proto::JobInfo { uid, owner }),
        })
}

/// Fields of any number and encoding, nested: what may be known, unknown, or neither.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let leaf = (0..12_u8, 0..8_u8, prop::collection::vec(any::<u8>(), 0..10))
        .prop_map(|(number, encoding, rest)| [&[key(number, encoding)], &rest[..]].concat());
    let text = (1..10_u8, "[a-z]{0,3}").prop_map(|(number, text)| field(number, text.as_bytes()));
    let varint = (1..10_u8, any::<u8>()).prop_map(|(number, n)| vec![key(number, 0), n & 0x7f]);
    let leaf = prop_oneof![1 => leaf, 6 => text, 3 => varint];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let inner = || prop::collection::vec(inner.clone(), 0..5).prop_map(|all| all.concat());
        prop_oneof![
            4 => (1..10_u8, inner()).prop_map(|(number, bytes)| {
                field(number, &bytes[..bytes.len().min(127)])
            }),
            1 => (1..10_u8, inner()).prop_map(|(number, bytes)| {
                [&[key(number, 3)], &bytes[..], &[key(number, 4)]].concat()
            }),
            1 => inner(),
        ]
    })
}

#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<Index>().prop_map(Damage::Remove),
        any::<Index>().prop_map(Damage::Cut),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len();
        match self {
            Self::Set(at, byte) => bytes[at.index(len)] = *byte,
            Self::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
            Self::Insert(at, byte) => bytes.insert(at.index(len), *byte),
            Self::Remove(at) => drop(bytes.remove(at.index(len))),
            Self::Cut(at) => bytes.truncate(at.index(len)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_info_says_what_prost_says(info in info()) {
        let bytes = info.encode_to_vec();
        prop_assert_eq!(read(&bytes), Ok(Info::of(&info)));
    }

    #[test]
    fn infos_one_after_the_other_are_merged_as_prost_merges(
        infos in prop::collection::vec(info(), 2..4),
    ) {
        let bytes: Vec<u8> = infos.iter().flat_map(proto::Info::encode_to_vec).collect();
        prop_assert!(read(&bytes).is_ok());
    }

    #[test]
    fn of_damaged_infos_prost_thinks_the_same(
        info in info(), damages in prop::collection::vec(damage(), 1..4),
    ) {
        let mut bytes = info.encode_to_vec();
        for damage in damages {
            damage.apply(&mut bytes);
            let _ = read(&bytes);
        }
    }

    #[test]
    fn of_any_fields_prost_thinks_the_same(
        fields in prop::collection::vec(fields(), 0..4), any in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let _ = read(&fields.concat());
        let _ = read(&any);
    }
}
