//! Deleted objects, for as long as they still answer.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::{Retention, name_hash};
use crate::{
    enrich::{
        object::{Object, Timestamp},
        view::Found,
    },
    model::{Seed, Uid},
};

/// The deleted objects of one kind.
#[derive(Debug)]
pub(super) struct Graveyard {
    retention: Retention,
    by_uid: HashTable<Grave>,
    /// With the moment of each.
    by_name: HashTable<Grave>,
    /// In the order of deletion. What is no longer buried may still stand here.
    order: VecDeque<(Timestamp, Uid)>,
}

#[derive(Clone, Debug)]
struct Grave {
    object: Object,
    deleted_at: Timestamp,
}

impl Graveyard {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            by_uid: HashTable::new(),
            by_name: HashTable::new(),
            order: VecDeque::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_uid.len()
    }

    /// Buries an object that is not buried. Returns what gives way.
    pub(super) fn bury(&mut self, seed: Seed, object: Object, now: Timestamp) -> Vec<Object> {
        if self.retention.capacity == 0 || self.retention.grace.is_zero() {
            return vec![object];
        }
        let mut evicted = Vec::new();
        // What was exhumed still stands in the order, so that is bounded by itself.
        while (self.by_uid.len() >= self.retention.capacity
            || self.order.len() / 2 >= self.retention.capacity)
            && let Some((deleted_at, uid)) = self.order.pop_front()
        {
            evicted.extend(self.remove(seed, &uid, Some(deleted_at)));
        }
        let grave = Grave {
            object,
            deleted_at: now,
        };
        self.order.push_back((now, grave.object.uid.clone()));
        let uid_hash = seed.hash(&grave.object.uid);
        let hash = name_hash(seed, &grave.object);
        self.by_name
            .insert_unique(hash, grave.clone(), |known| name_hash(seed, &known.object));
        self.by_uid
            .insert_unique(uid_hash, grave, |known| seed.hash(&known.object.uid));
        evicted
    }

    /// Takes an object out again that was not gone.
    pub(super) fn exhume(&mut self, seed: Seed, uid: &Uid) -> Option<Object> {
        if self.by_uid.is_empty() {
            return None;
        }
        self.remove(seed, uid, None)
    }

    pub(super) fn retention(&self) -> Retention {
        self.retention
    }

    pub(super) fn set_retention(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// What is buried, with the moment of each deletion, the first one first.
    pub(super) fn in_order(&self) -> Vec<(&Object, Timestamp)> {
        let graves = self.by_uid.iter();
        let mut all: Vec<_> = graves
            .map(|grave| (&grave.object, grave.deleted_at))
            .collect();
        all.sort_by_key(|(_, deleted_at)| *deleted_at);
        all
    }

    /// Returns what was deleted longer ago than the grace time, so many at most.
    pub(super) fn expire(&mut self, seed: Seed, now: Timestamp, most: usize) -> Vec<Object> {
        let mut expired = Vec::new();
        while expired.len() < most
            && let Some((deleted_at, _)) = self.order.front()
            && !self.answers(*deleted_at, now)
            && let Some((deleted_at, uid)) = self.order.pop_front()
        {
            expired.extend(self.remove(seed, &uid, Some(deleted_at)));
        }
        expired
    }

    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        let (deleted_at, _) = self.order.front()?;
        Some(deleted_at.after(self.retention.grace))
    }

    pub(super) fn by_uid(&self, seed: Seed, uid: &Uid, now: Timestamp) -> Option<Found> {
        if self.by_uid.is_empty() {
            return None;
        }
        let same = |grave: &Grave| grave.object.uid == *uid;
        let grave = self.by_uid.find(seed.hash(uid), same)?;
        self.answers(grave.deleted_at, now).then(|| grave.found())
    }

    /// The one that was deleted last; of two at once the younger one.
    pub(super) fn by_name(
        &self,
        seed: Seed,
        namespace: &str,
        name: &str,
        now: Timestamp,
    ) -> Option<Found> {
        if self.by_name.is_empty() {
            return None;
        }
        let named = self.by_name.iter_hash(seed.hash(&(namespace, name)));
        let same = |grave: &&Grave| {
            *grave.object.name == *name
                && *grave.object.namespace == *namespace
                && self.answers(grave.deleted_at, now)
        };
        let order = |grave: &&Grave| {
            let object = &grave.object;
            (grave.deleted_at, object.created, object.uid.clone())
        };
        named.filter(same).max_by_key(order).map(Grave::found)
    }

    fn answers(&self, deleted_at: Timestamp, now: Timestamp) -> bool {
        now < deleted_at.after(self.retention.grace)
    }

    /// Removes an object; with a moment, only if it was deleted then.
    fn remove(&mut self, seed: Seed, uid: &Uid, at: Option<Timestamp>) -> Option<Object> {
        let this =
            |grave: &Grave| grave.object.uid == *uid && at.is_none_or(|at| at == grave.deleted_at);
        let (grave, _) = self.by_uid.find_entry(seed.hash(uid), this).ok()?.remove();
        let hash = name_hash(seed, &grave.object);
        let named = self
            .by_name
            .find_entry(hash, |known| known.object.ptr_eq(&grave.object));
        if let Ok(entry) = named {
            entry.remove();
        }
        Some(grave.object)
    }
}

impl Grave {
    fn found(&self) -> Found {
        Found {
            object: self.object.clone(),
            deleted_at: Some(self.deleted_at),
        }
    }
}
