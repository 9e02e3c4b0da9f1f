//! The objects that were dropped last, so that it can be said why a pod is not announced. Costs
//! nothing for an object that is good.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// So many are remembered.
const REMEMBERED: usize = 256;

/// The longest text of one that is kept, in bytes: the longest name in Kubernetes.
const MAX_TEXT: usize = 253;

/// What was dropped last, of all streams or watches of one source.
#[derive(Debug, Default)]
pub struct RecentDrops(Mutex<VecDeque<DroppedObject>>);

/// An object that was dropped, or a part of which was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedObject {
    /// What it is.
    pub name: ObjectName,
    /// Why it was dropped, by the name of the reason in metrics.
    pub reason: &'static str,
    /// When.
    pub at: Instant,
}

/// What an object is called, as far as it says. Long texts are cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectName {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.namespace`; empty in a ReplicaSet or Job of a watcher, which does not send it.
    pub namespace: String,
    /// `metadata.name`; empty as above.
    pub name: String,
}

impl RecentDrops {
    /// Remembers one more, and forgets the oldest beyond 256.
    pub fn remember(&self, name: ObjectName, reason: &'static str) {
        let at = now();
        let mut lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.len() == REMEMBERED {
            lost.pop_front();
        }
        lost.push_back(DroppedObject { name, reason, at });
    }

    /// Those of this uid, or of this `NAMESPACE/NAME`; the latest first.
    pub fn of(&self, uid_or_name: &str) -> Vec<DroppedObject> {
        let lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |object: &&DroppedObject| object.name.is(uid_or_name);
        lost.iter().rev().filter(of).cloned().collect()
    }
}

impl ObjectName {
    /// Keeps these texts.
    pub fn new(uid: &str, namespace: &str, name: &str) -> Self {
        let kept = |text: &str| {
            text.get(..text.floor_char_boundary(MAX_TEXT))
                .map(str::to_owned)
        };
        Self {
            uid: kept(uid).unwrap_or_default(),
            namespace: kept(namespace).unwrap_or_default(),
            name: kept(name).unwrap_or_default(),
        }
    }

    fn is(&self, uid_or_name: &str) -> bool {
        let kept = uid_or_name.get(..uid_or_name.floor_char_boundary(MAX_TEXT));
        let is_uid = !self.uid.is_empty() && kept == Some(&self.uid);
        is_uid || uid_or_name.split_once('/') == Some((&self.namespace, &self.name))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "only what is dropped is dated, for a person to read"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_object_is_found_by_uid_and_by_name_the_latest_first() {
        let lost = RecentDrops::default();
        lost.remember(ObjectName::new("u1", "ns", "web"), "no_version");
        lost.remember(ObjectName::new("u2", "ns", "web"), "too_large");
        lost.remember(ObjectName::new("", "ns", ""), "no_uid");
        let reasons = |of: &str| -> Vec<_> { lost.of(of).iter().map(|one| one.reason).collect() };
        assert_eq!(reasons("u1"), ["no_version"]);
        assert_eq!(reasons("ns/web"), ["too_large", "no_version"]);
        for other in ["", "web", "ns/", "other/web"] {
            assert_eq!(reasons(other).len(), usize::from(other == "ns/"), "{other}");
        }
    }

    #[test]
    fn the_oldest_is_forgotten_and_long_texts_are_cut() {
        let lost = RecentDrops::default();
        for n in 0..=REMEMBERED {
            lost.remember(ObjectName::new(&format!("u{n}"), "", ""), "no_version");
        }
        assert_eq!((lost.of("u0").len(), lost.of("u1").len()), (0, 1));
        let long = "ü".repeat(4 << 20);
        lost.remember(ObjectName::new(&long, &long, &long), "uid_too_long");
        let found = lost.of(&long);
        assert_eq!(found.len(), 1, "found by what it is called, however long");
        assert_eq!(found[0].name.uid.len(), 252);
    }
}
