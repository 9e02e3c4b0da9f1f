//! What was told on the present connection (D3). The reducer's picture is its fold.

use std::{
    hash::{BuildHasher, Hash},
    mem::discriminant,
};

use foldhash::quality::FixedState;
use hashbrown::HashSet;
use smallvec::SmallVec;

use super::{Epoch, Live, settling::Tick};
use crate::model::{ContainerId, Keyed, Slot, Table, Uid};

/// The told pods, each with its told containers.
#[derive(Debug, Default)]
pub struct Ledger {
    table: Table<Told>,
    /// Told containers of all pods.
    containers: usize,
}

/// What was told of one pod.
#[derive(Debug)]
pub struct Told {
    /// Which pod.
    pub uid: Uid,
    /// In which epoch it was announced.
    pub epoch: Epoch,
    /// [`fields_hash`] of what was announced.
    pub fields: u64,
    /// When an event last touched it.
    pub(super) touched: Tick,
    /// It is to be announced again (D9), which was not possible at once.
    pub(super) anew: bool,
    containers: Containers,
}

/// Container ids by their 64-bit hashes: two of one pod would have to collide for an error.
#[derive(Debug)]
enum Containers {
    Few(SmallVec<[u64; 2]>),
    Many(Box<HashSet<u64, foldhash::fast::FixedState>>),
}

/// A list of this many container hashes is searched from end to end.
const FEW: usize = 32;

impl Ledger {
    /// How many pods are told.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// How many different containers of all these pods are told.
    pub fn containers(&self) -> usize {
        self.containers
    }

    /// Whether no pod is told.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// For how many pods there is room.
    pub fn capacity(&self) -> usize {
        self.table.capacity()
    }

    /// All told pods.
    pub fn iter(&self) -> impl Iterator<Item = &Told> {
        self.table.iter().map(|(_, told)| told)
    }

    /// What was told of this pod.
    pub fn get(&self, uid: &Uid) -> Option<&Told> {
        self.table.by_uid(uid)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn find(&self, uid: &Uid) -> Option<Slot> {
        self.table.find(uid)
    }

    pub(super) fn at(&self, slot: Slot) -> Option<&Told> {
        self.table.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Told> {
        self.table.get_mut(slot)
    }

    /// Notes that the pod is announced now. Containers told before stay told: the reducer
    /// keeps them when a pod is announced again (spec 11.7).
    pub(super) fn announce(&mut self, live: &Live<'_>, epoch: Epoch) -> Slot {
        let fields = fields_hash(live);
        let uid = &live.pod.uid;
        let slot = self.table.find_or_insert_with(uid, || Told {
            uid: uid.clone(),
            epoch,
            fields,
            touched: Tick::default(),
            anew: false,
            containers: Containers::Few(SmallVec::new()),
        });
        if let Some(told) = self.table.get_mut(slot) {
            (told.epoch, told.fields, told.anew) = (epoch, fields, false);
        }
        slot
    }

    /// Notes that the pod in this slot is deleted.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Told> {
        let told = self.table.remove(slot)?;
        self.containers -= told.containers();
        Some(told)
    }

    /// Notes that this many more containers of told pods are told.
    pub(super) fn note_containers(&mut self, added: usize) {
        self.containers += added;
    }

    pub(super) fn at_or_after(&self, slot: Slot) -> Option<(Slot, &Told)> {
        let slot = self.table.at_or_after(slot)?;
        Some((slot, self.table.get(slot)?))
    }
}

impl Told {
    /// Whether this container was told.
    pub fn has(&self, container: &ContainerId) -> bool {
        self.containers.has(hash(container))
    }

    /// How many different containers were told.
    pub fn containers(&self) -> usize {
        match &self.containers {
            Containers::Few(few) => few.len(),
            Containers::Many(many) => many.len(),
        }
    }

    /// Has the container told by `tell`, unless it was told before; with `repeat` in any case.
    /// Returns whether it is told now: `tell` may refuse.
    pub(super) fn tell_container(
        &mut self,
        container: &ContainerId,
        repeat: bool,
        tell: impl FnOnce() -> bool,
    ) -> bool {
        let hash = hash(container);
        let known = self.containers.has(hash);
        if known && !repeat {
            return true;
        }
        let told = tell();
        if told && !known {
            self.containers.add(hash);
        }
        told
    }
}

impl Containers {
    fn has(&self, hash: u64) -> bool {
        match self {
            Self::Few(few) => few.contains(&hash),
            Self::Many(many) => many.contains(&hash),
        }
    }

    fn add(&mut self, hash: u64) {
        match self {
            Self::Few(few) if few.len() < FEW => few.push(hash),
            Self::Few(few) => {
                let many = few.iter().copied().chain([hash]).collect();
                *self = Self::Many(Box::new(many));
            }
            Self::Many(many) => {
                many.insert(hash);
            }
        }
    }
}

impl Keyed for Told {
    fn uid(&self) -> &Uid {
        &self.uid
    }
}

/// A fingerprint of everything that announcing this pod tells, its uid apart. Of an owner's kind
/// only that has a code of its own on the wire (spec 6.5).
pub fn fields_hash(live: &Live<'_>) -> u64 {
    let pod = live.pod;
    let owner = live
        .owner
        .map(|owner| (&owner.uid, &owner.name, discriminant(&owner.kind)));
    hash(&(
        pod.address,
        pod.host_network,
        &pod.name,
        &pod.namespace,
        &pod.version,
        owner,
    ))
}

fn hash(value: &impl Hash) -> u64 {
    FixedState::default().hash_one(value)
}
