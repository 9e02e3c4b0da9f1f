use std::net::Ipv4Addr;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::wire::messages::{PodContainer, PodDelete, PodNewWithName, PodResync};

const SETTLE: Duration = Duration::from_secs(10);

fn pod(uid: &'static str, version: &'static str) -> Message<'static> {
    PodNewWithName {
        ip: Ipv4Addr::LOCALHOST,
        owner_kind: 1,
        is_host_network: 0,
        uid: uid.as_bytes(),
        owner_name: b"web",
        pod_name: b"web-1",
        owner_uid: b"d",
        ns: b"shop",
        version: version.as_bytes(),
    }
    .into()
}

fn container(uid: &'static str, id: &'static str) -> Message<'static> {
    PodContainer {
        uid: uid.as_bytes(),
        container_id: id.as_bytes(),
        container_name: b"app",
        container_image: b"app:1",
    }
    .into()
}

fn delete(uid: &'static str) -> Message<'static> {
    PodDelete {
        uid: uid.as_bytes(),
    }
    .into()
}

/// A comparison and its clock.
struct Case {
    comparison: Comparison,
    now: Instant,
}

impl Case {
    fn new() -> Self {
        let (mut comparison, now) = (Comparison::new(SETTLE, Seed::FIXED), Instant::now());
        comparison.resume(now);
        Self { comparison, now }
    }

    fn sent(&mut self, side: Side, message: &Message<'_>) {
        self.comparison.apply(side, message, self.now);
    }

    fn both(&mut self, message: &Message<'_>) {
        self.sent(Side::First, message);
        self.sent(Side::Second, message);
    }

    /// What changes within this time, as lines.
    fn pass(&mut self, seconds: u64) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        let line = |c: Change| {
            let [a, b] = c.values;
            let verb = if c.stands { "" } else { "no longer " };
            format!(
                "{verb}{} {}: {a} | {b} after {:?}",
                c.pod,
                c.field.name(),
                c.stood
            )
        };
        self.comparison
            .changes(self.now, 100)
            .into_iter()
            .map(line)
            .collect()
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_difference_is_sent_once_it_has_settled_and_once_it_is_gone() {
    let mut case = Case::new();
    case.sent(Side::First, &pod("p", "1"));
    assert_eq!(case.pass(9), NOTHING);
    assert_eq!(case.pass(1), ["shop/web-1 known: yes | no after 10s"]);
    assert_eq!((case.comparison.standing(), case.pass(60)), (1, vec![]));
    case.sent(Side::Second, &pod("p", "1"));
    assert_eq!(
        case.pass(0),
        ["no longer shop/web-1 known: yes | yes after 70s"]
    );
    assert_eq!(
        (case.comparison.standing(), case.comparison.appeared()),
        (0, 1)
    );
}

#[test]
fn honest_delay_is_no_difference() {
    let mut case = Case::new();
    for version in ["1", "2", "3"] {
        case.sent(Side::First, &pod("p", version));
        assert_eq!(case.pass(9), NOTHING);
        case.sent(Side::Second, &pod("p", version));
        assert_eq!(case.pass(9), NOTHING);
    }
    assert_eq!(
        (case.comparison.unequal(), case.comparison.appeared()),
        (0, 0)
    );
}

#[test]
fn each_field_has_a_clock_of_its_own() {
    let mut case = Case::new();
    case.both(&pod("p", "1"));
    case.sent(Side::First, &container("p", "containerd://a"));
    assert_eq!(case.pass(6), NOTHING);
    case.sent(Side::Second, &pod("p", "2"));
    assert_eq!(
        case.pass(4),
        ["shop/web-1 containers: [app=app:1 containerd://a] | [] after 10s"]
    );
    case.sent(Side::Second, &container("p", "containerd://a"));
    assert_eq!(
        case.pass(6),
        [
            "no longer shop/web-1 containers: [app=app:1 containerd://a] | [app=app:1 containerd://a] after 10s",
            "shop/web-1 version: 1 | 2 after 10s",
        ]
    );
}

#[test]
fn the_order_of_containers_does_not_matter() {
    let mut case = Case::new();
    case.both(&pod("p", "1"));
    for (side, ids) in [(Side::First, ["a", "b"]), (Side::Second, ["b", "a"])] {
        for id in ids {
            case.sent(side, &container("p", id));
        }
    }
    assert_eq!((case.comparison.unequal(), case.pass(100)), (0, vec![]));
}

#[test]
fn a_resync_and_a_new_connection_start_the_clocks_of_all_pods() {
    let mut case = Case::new();
    case.both(&pod("p", "1"));
    case.sent(Side::First, &PodResync { resync_count: 1 }.into());
    assert_eq!((case.pass(9), case.comparison.unequal()), (vec![], 1));
    case.sent(Side::First, &pod("p", "1"));
    assert_eq!((case.pass(60), case.comparison.unequal()), (vec![], 0));
    case.comparison.renew(Side::Second, case.now);
    assert_eq!(case.pass(10), ["shop/web-1 known: yes | no after 10s"]);
    case.sent(Side::First, &delete("p"));
    assert_eq!(case.pass(0), ["no longer  known: no | no after 10s"]);
}

#[test]
fn nothing_is_judged_while_a_side_is_not_comparable() {
    let mut case = Case::new();
    case.sent(Side::First, &pod("p", "1"));
    assert_eq!(case.pass(9), NOTHING);
    case.comparison.pause();
    assert_eq!(case.pass(100), NOTHING);
    case.comparison.resume(case.now);
    assert_eq!(case.pass(9), NOTHING);
    assert_eq!(case.pass(1), ["shop/web-1 known: yes | no after 10s"]);
}

#[test]
fn of_very_many_changes_some_are_given_and_all_are_counted() {
    let mut case = Case::new();
    for uid in ["a", "b", "c"] {
        case.sent(Side::First, &pod(uid, "1"));
    }
    case.now += SETTLE;
    assert_eq!(case.comparison.changes(case.now, 2).len(), 2);
    assert_eq!(case.comparison.changes(case.now, 2), []);
    assert_eq!(case.comparison.standing(), 3);
}

fn any_message() -> impl Strategy<Value = Message<'static>> {
    let uid = || select(vec!["a", "b", "c"]);
    prop_oneof![
        5 => (uid(), select(vec!["1", "2"])).prop_map(|(uid, version)| pod(uid, version)),
        4 => (uid(), select(vec!["x", "y"])).prop_map(|(uid, id)| container(uid, id)),
        3 => uid().prop_map(delete),
        1 => Just(PodResync { resync_count: 7 }.into()),
    ]
}

proptest! {
    #[test]
    fn clocks_run_exactly_where_the_reducer_states_differ(
        history in vec((any::<bool>(), any_message(), 0..5_u64), 0..60),
    ) {
        let mut case = Case::new();
        let mut stands = BTreeSet::new();
        for (first, message, seconds) in history {
            case.sent(if first { Side::First } else { Side::Second }, &message);
            case.now += Duration::from_secs(seconds);
            for change in case.comparison.changes(case.now, 1_000) {
                let key = (change.uid, change.field);
                let new = if change.stands { stands.insert(key) } else { stands.remove(&key) };
                prop_assert!(new, "appears and vanishes in turn");
            }
            let [a, b] = case.comparison.digests();
            prop_assert_eq!(case.comparison.unequal() == 0, a == b);
            prop_assert_eq!(case.comparison.standing(), stands.len());
        }
    }
}
