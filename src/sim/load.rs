//! Small kinds of watcher traffic that are no cluster: floods that test a limit, and the endless
//! round that the legacy watcher sent under `-local-test`.
//!
//! Pure: lazy iterators of [`Info`]; pauses are described, not taken.

use std::time::Duration;

use crate::{
    proto::{
        Info, OwnerInfo, PodInfo, ReplicaSetInfo,
        info::{Event, Type},
    },
    sim::cluster::sent_as,
};

/// Pods `w-0`, `w-1`, … that wait for ReplicaSets `missing-0`, `missing-1`, … which never come.
pub fn waiting_pods(count: u32) -> impl Iterator<Item = Info> + Send + 'static {
    (0..count).map(|i| waiting_pod(i, format!("missing-{i}")))
}

/// As [`waiting_pods`], but all wait for the one ReplicaSet `missing`.
pub fn waiting_pods_of_one_set(count: u32) -> impl Iterator<Item = Info> + Send + 'static {
    (0..count).map(|i| waiting_pod(i, "missing".into()))
}

/// The pod `p1`, which waits for the ReplicaSet `rs-1`, sent this many times.
pub fn waiting_updates(count: u32) -> impl Iterator<Item = Info> + Send + 'static {
    let update = pod(PodInfo {
        uid: "p1".into(),
        ip: "10.0.0.1".into(),
        name: "pod-p1".into(),
        ns: "default".into(),
        version: "1".into(),
        owner: Some(owner("rs-1", "web-5d4f", "ReplicaSet")),
        ..PodInfo::default()
    });
    (0..count).map(move |_| update.clone())
}

/// ReplicaSets `fill-0`, `fill-1`, … of the Deployment `dep-x`, each ADDED and at once DELETED.
pub fn replica_sets_that_go(count: u32) -> impl Iterator<Item = Info> + Send + 'static {
    (0..count).flat_map(|i| {
        let set = replica_set(format!("fill-{i}"), owner("dep-x", "x", "Deployment"));
        [set.clone(), sent_as(Event::Deleted, set)]
    })
}

/// One step of the legacy watcher's local test.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What to send.
    pub info: Info,
    /// How long to wait afterwards.
    pub pause: Duration,
}

/// How long a round of [`local_test`] takes at the legacy watcher's pace.
pub const LOCAL_TEST_ROUND: Duration = Duration::from_millis(700);

/// Round `i` of the legacy watcher's local test: a pod of a ReplicaSet of a Deployment, which is
/// deleted after 100 ms, and 100 ms later a pod without owner, which stays.
pub fn local_test(i: u64) -> [Step; 4] {
    let set = replica_set(
        format!("RS-UID-{i}"),
        owner(
            &format!("RS-OWNER-UID-{i}"),
            &format!("RS-OWNER-Name-{i}"),
            "Deployment",
        ),
    );
    let owned = pod(PodInfo {
        uid: format!("POD-UID-{i}"),
        ip: "192.168.1.1".into(),
        ns: format!("POD-NS-{i}"),
        name: format!("POD-N-{i}"),
        owner: Some(owner(
            &format!("RS-UID-{i}"),
            &format!("RSS-OWNER-Name-{i}"),
            "ReplicaSet",
        )),
        ..PodInfo::default()
    });
    let unowned = pod(PodInfo {
        uid: format!("POD-UID-NO-OWNER{i}"),
        ip: "192.168.1.1".into(),
        name: format!("POD-NO-NAME-{i}"),
        ns: format!("POD-NS-NO-{i}"),
        ..PodInfo::default()
    });
    let gone = sent_as(Event::Deleted, owned.clone());
    [(set, 0), (owned, 100), (gone, 100), (unowned, 500)].map(|(info, pause)| Step {
        info,
        pause: Duration::from_millis(pause),
    })
}

fn waiting_pod(i: u32, set: String) -> Info {
    pod(PodInfo {
        uid: format!("w-{i}"),
        ip: "10.1.0.1".into(),
        name: format!("pod-w-{i}"),
        ns: "default".into(),
        owner: Some(owner(&set, &set, "ReplicaSet")),
        ..PodInfo::default()
    })
}

fn pod(pod: PodInfo) -> Info {
    Info {
        r#type: Type::K8sPod.into(),
        event: Event::Added.into(),
        pod_info: Some(pod),
        ..Info::default()
    }
}

fn replica_set(uid: String, controller: OwnerInfo) -> Info {
    Info {
        r#type: Type::K8sReplicaset.into(),
        event: Event::Added.into(),
        rs_info: Some(ReplicaSetInfo {
            uid,
            owner: Some(controller),
        }),
        ..Info::default()
    }
}

fn owner(uid: &str, name: &str, kind: &str) -> OwnerInfo {
    OwnerInfo {
        uid: uid.into(),
        name: name.into(),
        kind: kind.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_local_test_has_the_texts_of_the_legacy_watcher() {
        let [set, owned, gone, unowned] = local_test(3).map(|step| step.info);

        let set = set.rs_info.unwrap();
        assert_eq!(set.uid, "RS-UID-3");
        assert_eq!(
            set.owner,
            Some(owner("RS-OWNER-UID-3", "RS-OWNER-Name-3", "Deployment"))
        );

        assert_eq!(gone.event(), Event::Deleted);
        assert_eq!(gone.pod_info, owned.pod_info);
        let owned = owned.pod_info.unwrap();
        assert_eq!(
            [owned.uid, owned.ip, owned.ns, owned.name],
            ["POD-UID-3", "192.168.1.1", "POD-NS-3", "POD-N-3"]
        );
        assert_eq!(
            owned.owner,
            Some(owner("RS-UID-3", "RSS-OWNER-Name-3", "ReplicaSet"))
        );

        let unowned = unowned.pod_info.unwrap();
        assert_eq!(unowned.owner, None);
        assert_eq!(
            [unowned.uid, unowned.ip, unowned.name, unowned.ns],
            [
                "POD-UID-NO-OWNER3",
                "192.168.1.1",
                "POD-NO-NAME-3",
                "POD-NS-NO-3"
            ]
        );
    }

    #[test]
    fn a_round_of_the_local_test_takes_700_ms() {
        let round: Duration = local_test(0).iter().map(|step| step.pause).sum();
        assert_eq!(round, LOCAL_TEST_ROUND);
    }

    #[test]
    fn pods_wait_for_sets_of_their_own_or_for_the_same_one() {
        let sets = |infos: Vec<Info>| -> Vec<String> {
            let owner = |info: Info| info.pod_info.unwrap().owner.unwrap().uid;
            infos.into_iter().map(owner).collect()
        };
        assert_eq!(sets(waiting_pods(2).collect()), ["missing-0", "missing-1"]);
        assert_eq!(
            sets(waiting_pods_of_one_set(2).collect()),
            ["missing", "missing"]
        );
        assert_eq!(sets(waiting_updates(2).collect()), ["rs-1", "rs-1"]);
    }

    #[test]
    fn replica_sets_that_go_are_added_and_deleted_in_turn() {
        let events: Vec<_> = replica_sets_that_go(2).map(|info| info.event()).collect();
        use Event::{Added, Deleted};
        assert_eq!(events, [Added, Deleted, Added, Deleted]);
    }
}
