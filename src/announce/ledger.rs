//! What was announced on the present connection (D3). The reducer's state is its fold.

use std::mem::discriminant;

use foldhash::fast::SeedableRandomState;
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use super::{Epoch, windows::Tick};
use crate::matcher::{Live, Reannounce};
use crate::model::{ContainerMeta, HasUid, Pod, Seed, Slot, Uid, UidMap};

/// The announced pods, each with its announced containers.
#[derive(Debug)]
pub struct Ledger {
    table: UidMap<LedgerEntry>,
    /// Announced containers of all pods.
    containers: usize,
    prints: Prints,
}

/// How announced pods and containers are recognised. A client that can choose ids that collide
/// could hide a container: so the hashes have a seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prints {
    reannounce: Reannounce,
    seed: Seed,
}

/// What was announced of one pod.
#[derive(Debug)]
pub struct LedgerEntry {
    /// Which pod.
    pub uid: Uid,
    /// In which epoch it was announced.
    pub epoch: Epoch,
    /// [`fields_hash`] of what was announced.
    pub fields: u64,
    /// When an event last touched it.
    pub(super) touched: Tick,
    announced: Announced,
    /// How many of the announced containers are known to be none of the active feed's: see
    /// [`Self::spare`].
    spared: u16,
    /// Which stream in the order of hand-overs it was announced or confirmed by: while it is not
    /// the present one, what the pod was announced with is compared with what that one knows.
    pub(super) stream: u16,
    containers: Containers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announced {
    /// It is about to be.
    NotYet,
    Once,
    /// It is to be announced again under the owner that has turned up (D9).
    Provisionally,
}

/// What there is to send of a pod itself, before its containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// Nothing.
    Nothing,
    /// The whole pod.
    Pod,
    /// Its owner, which has turned up (D9).
    Owner,
    /// Something in its announcement (D14).
    Fields,
    /// An announced container is gone or another one (D14).
    LostContainer,
}

/// Containers by their [`Print`]s, one for each id: two of one pod would have to collide for an
/// error.
#[derive(Debug)]
enum Containers {
    Few(SmallVec<[Print; 2]>),
    /// By [`Print::id`].
    Many(Box<HashMap<u64, Print, SeedableRandomState>>),
}

/// A container: 40 bits of the hash of its id, and 24 of that of its name and image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print(u64);

/// A list of this many container hashes is searched from end to end.
const FEW: usize = 32;

impl Ledger {
    pub(super) fn new(reannounce: Reannounce, seed: Seed) -> Self {
        Self {
            table: UidMap::new(seed),
            containers: 0,
            prints: Prints { reannounce, seed },
        }
    }

    /// What is done when an announced pod changes.
    pub fn reannounce(&self) -> Reannounce {
        self.prints.reannounce
    }

    /// What its hashes depend on: [`fields_hash`] with this seed is what it holds.
    pub fn seed(&self) -> Seed {
        self.prints.seed
    }

    pub(super) fn prints(&self) -> Prints {
        self.prints
    }

    /// How many pods are announced.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// How many different containers of all these pods are announced.
    pub fn containers(&self) -> usize {
        self.containers
    }

    /// Whether no pod is announced.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// For how many pods there is room.
    pub fn capacity(&self) -> usize {
        self.table.capacity()
    }

    /// All announced pods.
    pub fn iter(&self) -> impl Iterator<Item = &LedgerEntry> {
        self.table.iter().map(|(_, entry)| entry)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut LedgerEntry> {
        self.table.iter_mut()
    }

    /// What was announced of this pod.
    pub fn get(&self, uid: &Uid) -> Option<&LedgerEntry> {
        self.table.by_uid(uid)
    }

    /// Whether this container of an announced pod was announced: its id, and under
    /// [`Reannounce::OnChange`] its name and image as well.
    pub fn has(&self, pod: &Uid, container: &ContainerMeta) -> bool {
        let print = self.prints.of(container);
        self.get(pod)
            .is_some_and(|entry| entry.containers.has(print, self.prints.reannounce))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.prints.reannounce, self.prints.seed);
    }

    pub(super) fn find(&self, uid: &Uid) -> Option<Slot> {
        self.table.find(uid)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut LedgerEntry> {
        self.table.get_mut(slot)
    }

    /// The slot of this pod. One that is not announced gets one, and must be announced at once.
    pub(super) fn find_or_enter(&mut self, uid: &Uid, stream: u16) -> Slot {
        self.table.find_or_insert_with(uid, || LedgerEntry {
            stream,
            uid: uid.clone(),
            epoch: Epoch::default(),
            fields: 0,
            touched: Tick::default(),
            announced: Announced::NotYet,
            spared: 0,
            containers: Containers::NONE,
        })
    }

    /// Notes that the pod in this slot is deleted.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<LedgerEntry> {
        let entry = self.table.remove(slot)?;
        self.containers -= entry.containers();
        Some(entry)
    }

    /// Notes how many announced containers a pod had `before`, and has `now`.
    pub(super) fn recount(&mut self, before: usize, now: usize) {
        self.containers = self.containers - before + now;
    }

    pub(super) fn at_or_after(&self, slot: Slot) -> Option<(Slot, &LedgerEntry)> {
        let slot = self.table.at_or_after(slot)?;
        Some((slot, self.table.get(slot)?))
    }
}

impl LedgerEntry {
    /// How many different containers were announced.
    pub fn containers(&self) -> usize {
        self.containers.len()
    }

    /// The owner under which it was announced was a makeshift; it is known now (D9).
    pub(super) fn announce_again(&mut self) {
        self.announced = Announced::Provisionally;
    }

    /// What there is to send of the pod itself, given what is true of it now. At a hand-over
    /// between streams (`compare`) everything that was announced is held against that (D4).
    pub(super) fn unsent(&self, live: &Live<'_>, prints: Prints, compare: bool) -> Unsent {
        let reannounce = if compare {
            Reannounce::OnChange
        } else {
            prints.reannounce
        };
        match (self.announced, reannounce) {
            (Announced::NotYet, _) => Unsent::Pod,
            (Announced::Once, Reannounce::Never) => Unsent::Nothing,
            (Announced::Provisionally, Reannounce::Never) => Unsent::Owner,
            (Announced::Once | Announced::Provisionally, Reannounce::OnChange) => {
                if self.has_lost_one_of(&live.pod.containers, prints) {
                    Unsent::LostContainer
                } else if self.fields != fields_hash(live, prints.seed) {
                    Unsent::Fields
                } else {
                    Unsent::Nothing
                }
            }
        }
    }

    /// Notes that the pod is announced now, as `unsent` demanded. Containers announced before stay
    /// announced unless it was deleted: the reducer keeps them (protocol 11.7).
    pub(super) fn announce(
        &mut self,
        live: &Live<'_>,
        epoch: Epoch,
        unsent: Unsent,
        prints: Prints,
    ) {
        self.epoch = epoch;
        self.fields = fields_hash(live, prints.seed);
        self.announced = Announced::Once;
        if unsent == Unsent::LostContainer {
            self.containers = Containers::NONE;
            self.spared = 0;
        }
    }

    /// Another feed is active. Init and ephemeral containers that the one before announced and the
    /// other one does not, because its source knows no such containers, are not lost: the pod is
    /// not deleted and announced again for their sake. `now`: the pod as the other feed has it, if
    /// it has it already; asked only if it matters.
    pub(super) fn spare<'a>(
        &mut self,
        before: &Pod,
        now: impl FnOnce() -> Option<&'a Pod>,
        prints: Prints,
    ) {
        let main = before.main_containers().len();
        let others = before.containers.get(main..).unwrap_or_default();
        if others.is_empty() {
            self.spared = 0;
            return;
        }
        let now = now();
        let spared = others.iter().filter(|container| {
            let is_known = now.is_some_and(|now| now.containers.contains(container));
            self.containers.has_exactly(prints.of(container)) && !is_known
        });
        self.spared = u16::try_from(spared.count()).unwrap_or(u16::MAX);
    }

    /// Has the container sent by `send`, unless it was announced before; with `repeat` in any case.
    /// Returns whether it is announced now: `send` may refuse.
    pub(super) fn send_container(
        &mut self,
        container: &ContainerMeta,
        prints: Prints,
        repeat: bool,
        send: impl FnOnce() -> bool,
    ) -> bool {
        let print = prints.of(container);
        let known = self.containers.has(print, prints.reannounce);
        if known && !repeat {
            return true;
        }
        let entry = send();
        if entry && !known {
            self.containers.add(print, prints.seed);
        }
        entry
    }

    /// Whether an announced container is not among these, or is another one there.
    fn has_lost_one_of(&self, containers: &[ContainerMeta], prints: Prints) -> bool {
        let every_id_once = Prints {
            reannounce: Reannounce::OnChange,
            ..prints
        };
        let kept = every_id_once
            .announceable(containers)
            .filter(|(_, container)| self.containers.has_exactly(prints.of(container)));
        kept.count() + usize::from(self.spared) < self.containers()
    }
}

impl Prints {
    /// Which of a pod's containers are announced, each with its place.
    ///
    /// Under `OnChange` they are the first of each id: the reducer keeps no other (protocol 11.3).
    pub(super) fn announceable(
        self,
        containers: &[ContainerMeta],
    ) -> impl Iterator<Item = (usize, &ContainerMeta)> {
        let mut seen = (containers.len() > FEW).then(|| HashSet::with_hasher(self.seed.state()));
        containers
            .iter()
            .enumerate()
            .filter(move |(at, container)| {
                let mut is_first = || match &mut seen {
                    Some(seen) => seen.insert(&container.id),
                    None => !containers
                        .iter()
                        .take(*at)
                        .any(|other| other.id == container.id),
                };
                self.reannounce == Reannounce::Never || is_first()
            })
    }

    fn of(self, container: &ContainerMeta) -> Print {
        let ContainerMeta { id, name, image } = container;
        let (id, rest) = (
            self.seed.fingerprint(id),
            self.seed.fingerprint(&(name, image)),
        );
        Print(id & Print::ID | rest & !Print::ID)
    }
}

impl Print {
    const ID: u64 = u64::MAX << 24;

    fn id(self) -> u64 {
        self.0 & Self::ID
    }
}

impl Containers {
    const NONE: Self = Self::Few(SmallVec::new_const());

    /// How an announced container is recognised: its id, and under [`Reannounce::OnChange`] its
    /// name and image as well.
    fn has(&self, print: Print, reannounce: Reannounce) -> bool {
        match reannounce {
            Reannounce::Never => self.of_id(print.id()).is_some(),
            Reannounce::OnChange => self.has_exactly(print),
        }
    }

    fn has_exactly(&self, print: Print) -> bool {
        self.of_id(print.id()) == Some(print)
    }

    fn of_id(&self, id: u64) -> Option<Print> {
        match self {
            Self::Few(few) => few.iter().find(|print| print.id() == id).copied(),
            Self::Many(many) => many.get(&id).copied(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    /// The reducer keeps what it received first for an id (protocol 11.3).
    fn add(&mut self, print: Print, seed: Seed) {
        if self.of_id(print.id()).is_some() {
            return;
        }
        match self {
            Self::Few(few) if few.len() < FEW => few.push(print),
            Self::Few(few) => {
                let mut many = HashMap::with_hasher(seed.state());
                let prints = few.iter().copied().chain([print]);
                many.extend(prints.map(|print| (print.id(), print)));
                *self = Self::Many(Box::new(many));
            }
            Self::Many(many) => {
                many.insert(print.id(), print);
            }
        }
    }
}

impl HasUid for LedgerEntry {
    fn uid(&self) -> &Uid {
        &self.uid
    }
}

/// A fingerprint of everything that announcing this pod sends, its uid apart. Of an owner's kind
/// only that has a code of its own on the wire (protocol 6.5).
pub fn fields_hash(live: &Live<'_>, seed: Seed) -> u64 {
    let pod = live.pod;
    let owner = live
        .owner
        .map(|owner| (&owner.uid, &owner.name, discriminant(&owner.kind)));
    seed.fingerprint(&(
        pod.address,
        pod.host_network,
        &pod.name,
        &pod.namespace,
        &pod.version,
        owner,
    ))
}
