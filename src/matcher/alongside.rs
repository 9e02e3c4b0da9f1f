//! Two feeds side by side: which pods of one of them the other one has.
//!
//! Two feeds of one cluster list its pods in much the same order. So where the last pod was found,
//! the next one is looked for behind it, and by its hash only where it is not there: to walk
//! over two feeds of 100k pods is one turn of the loop, and looking up each of them takes most of
//! its time.

use super::{Matcher, pods::Pods};
use crate::model::{PodMeta, Slot, Uid};

/// Finds pods whose uids come in much the same order as they are in.
#[derive(Debug)]
pub struct Finder<'a> {
    pods: &'a Pods,
    /// Behind the one that was found last.
    next: Slot,
}

impl<'a> Finder<'a> {
    /// Looks in this feed.
    pub fn new(matcher: &'a Matcher) -> Self {
        Self {
            pods: &matcher.pods,
            next: Slot::FIRST,
        }
    }

    /// The pod of this uid, if it is live.
    pub fn live(&mut self, uid: &Uid) -> Option<&'a PodMeta> {
        let is_next = self
            .pods
            .pod_at(self.next)
            .is_some_and(|pod| pod.uid == *uid);
        let slot = match is_next {
            true => self.next,
            false => self.pods.find(uid)?.0,
        };
        self.next = slot.next();
        self.pods.live_pod_at(slot)
    }
}

impl Matcher {
    /// All live pods, each with whether it is live in the other feed, too.
    pub fn live_alongside<'a>(
        &'a self,
        other: Option<&'a Self>,
    ) -> impl Iterator<Item = (Slot, &'a PodMeta, bool)> {
        let mut other = other.map(Finder::new);
        self.pods.slots().filter_map(move |slot| {
            let pod = self.pods.live_pod_at(slot)?;
            let is_there = other
                .as_mut()
                .is_some_and(|other| other.live(&pod.uid).is_some());
            Some((slot, pod, is_there))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        matcher::{Change, PodStatus, Policy},
        model::Pod,
    };

    fn pod(n: u8, has_address: bool) -> PodMeta {
        PodMeta::new(Pod {
            uid: Uid::new(&format!("p{n}")),
            name: "p".into(),
            namespace: "shop".into(),
            version: "1".into(),
            owner: None,
            address: has_address.then_some([10, 0, 0, n].into()),
            host_network: false,
            containers: [].into(),
            auxiliary: 0,
        })
    }

    /// Pods come, with an address or without, and go, in any order.
    fn feed() -> impl Strategy<Value = Matcher> {
        proptest::collection::vec((0..20_u8, 0..4_u8), 0..60).prop_map(|happenings| {
            #[allow(clippy::disallowed_methods)]
            let now = Instant::now();
            let mut matcher = Matcher::new(Policy::LEGACY);
            let mut nobody = |_: Change<'_>| ();
            for (n, what) in happenings {
                match what {
                    0 => matcher.delete_pod(&pod(n, true).uid, &mut nobody),
                    what => matcher.apply_pod(pod(n, what > 1), now, &mut nobody),
                }
            }
            matcher
        })
    }

    proptest! {
        #[test]
        fn each_live_pod_is_found_or_missed_as_if_it_was_looked_up(one in feed(), other in feed()) {
            let found: Vec<_> = one.live_alongside(Some(&other)).map(|(slot, pod, is_there)| {
                (slot, pod.uid.clone(), is_there)
            }).collect();
            let looked_up: Vec<_> = one.all_live().map(|live| {
                let is_there = other.standing(&live.pod.uid) == PodStatus::Live;
                (live.slot, live.pod.uid.clone(), is_there)
            }).collect();
            prop_assert_eq!(found, looked_up);
            prop_assert!(one.live_alongside(None).all(|(.., is_there)| !is_there));
        }
    }
}
