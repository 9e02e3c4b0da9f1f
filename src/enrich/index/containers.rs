//! Pods by the ids of their containers, those of restarted ones included.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::Retention;
use crate::{
    enrich::object::{Container, Object, Timestamp, bare_container_id},
    model::{ContainerId, IdBuf, Seed, SharedStr, Uid},
};

#[derive(Debug)]
pub(super) struct Containers {
    seed: Seed,
    retention: Retention,
    entries: HashTable<Entry>,
    /// The ids that were replaced, in the order in which that was seen.
    replaced: VecDeque<Replaced>,
}

#[derive(Debug)]
struct Entry {
    id: ContainerId,
    pod: Uid,
    container: SharedStr,
    /// Until when the id answers, if the container has another one by now.
    until: Option<Timestamp>,
}

#[derive(Debug)]
struct Replaced {
    until: Timestamp,
    id: ContainerId,
    pod: Uid,
}

impl Containers {
    pub(super) fn new(seed: Seed, retention: Retention) -> Self {
        Self {
            seed,
            retention,
            entries: HashTable::new(),
            replaced: VecDeque::new(),
        }
    }

    pub(super) fn set_retention(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// A pod is as it is now, and was as it was before.
    pub(super) fn apply(&mut self, before: Option<&Object>, pod: &Object, now: Timestamp) {
        let Some(details) = pod.pod() else { return };
        let had = before.and_then(|before| before.pod());
        let had = had.map_or(&[][..], |details| &details.containers);
        let same = |one: &[Container], other: &[Container]| {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.id == other.id)
        };
        if before.is_some() && same(had, &details.containers) {
            return;
        }
        let has = |id: &ContainerId| details.containers.iter().any(|has| has.id == *id);
        let until = now.after(self.retention.grace);
        for old in had.iter().filter(|old| !old.id.is_empty() && !has(&old.id)) {
            if let Some(entry) = self.entry_mut(&old.id, &pod.uid) {
                entry.until = Some(until);
                self.replaced.push_back(Replaced {
                    until,
                    id: old.id.clone(),
                    pod: pod.uid.clone(),
                });
            }
        }
        // Containers that restart in a loop must not fill the memory within the grace time.
        while self.replaced.len() > self.retention.capacity {
            self.let_go_of_oldest();
        }
        for new in details.containers.iter().filter(|new| !new.id.is_empty()) {
            match self.entry_mut(&new.id, &pod.uid) {
                Some(entry) => {
                    entry.until = None;
                    entry.container = new.name.clone();
                }
                None => self.insert(new, &pod.uid),
            }
        }
    }

    /// A pod is no longer known.
    pub(super) fn remove(&mut self, pod: &Object) {
        let Some(details) = pod.pod() else { return };
        for container in &details.containers {
            self.remove_entry(&container.id, &pod.uid);
        }
        // Ids that it had before stay listed until their time; without it they find nothing.
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        while self
            .replaced
            .front()
            .is_some_and(|oldest| oldest.until <= now)
        {
            self.let_go_of_oldest();
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.replaced.front().map(|oldest| oldest.until)
    }

    /// The pods and names of the containers that have or had this id.
    pub(super) fn find<'a>(
        &'a self,
        id: &'a str,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a Uid, &'a SharedStr)> {
        let wanted = bare_container_id(id);
        let found = self.entries.iter_hash(self.seed.hash(wanted));
        let same = move |entry: &&Entry| {
            bare_container_id(entry.id.text(&mut IdBuf::new())) == wanted
                && entry.until.is_none_or(|until| now < until)
        };
        found
            .filter(same)
            .map(|entry| (&entry.pod, &entry.container))
    }

    fn let_go_of_oldest(&mut self) {
        let Some(oldest) = self.replaced.pop_front() else {
            return;
        };
        let entry = self.entry_mut(&oldest.id, &oldest.pod);
        // The container may have it again, or have lost it a second time.
        if entry.is_some_and(|entry| entry.until == Some(oldest.until)) {
            self.remove_entry(&oldest.id, &oldest.pod);
        }
    }

    fn insert(&mut self, container: &Container, pod: &Uid) {
        let seed = self.seed;
        let entry = Entry {
            id: container.id.clone(),
            pod: pod.clone(),
            container: container.name.clone(),
            until: None,
        };
        self.entries
            .insert_unique(hash(seed, &entry.id), entry, |entry| hash(seed, &entry.id));
    }

    fn entry_mut(&mut self, id: &ContainerId, pod: &Uid) -> Option<&mut Entry> {
        let same = |entry: &Entry| entry.id == *id && entry.pod == *pod;
        self.entries.find_mut(hash(self.seed, id), same)
    }

    fn remove_entry(&mut self, id: &ContainerId, pod: &Uid) {
        let same = |entry: &Entry| entry.id == *id && entry.pod == *pod;
        if let Ok(entry) = self.entries.find_entry(hash(self.seed, id), same) {
            entry.remove();
        }
    }
}

/// Of the bare id: who asks may not know the runtime.
fn hash(seed: Seed, id: &ContainerId) -> u64 {
    seed.hash(bare_container_id(id.text(&mut IdBuf::new())))
}
