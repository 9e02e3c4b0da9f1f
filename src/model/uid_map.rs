//! A map by [`Uid`] whose entries stay at their [`Slot`] until they are removed.
//!
//! A cursor over the slots can therefore pause, let entries come and go, and resume:
//! what is behind it has been visited, what is at or after it will be. The index
//! costs nine bytes an entry: the key stays with the entry, and of its hash 32 bits are
//! kept, so that neither growing nor passing by a stranger has to look at entries.

use hashbrown::{HashTable, hash_table};

use super::{
    Seed, Uid,
    seed::{half, spread},
    slots::Slots,
};

/// Something that carries its own key.
pub trait HasUid {
    /// The key; it must not change while the entry is in a [`UidMap`].
    fn uid(&self) -> &Uid;
}

/// What is kept in stores: with a core that equality is of, and perhaps an extra.
pub trait Stored: HasUid + Clone + PartialEq {
    /// Whether what equality does not see is the same in both, too.
    fn same_extra(&self, other: &Self) -> bool;

    /// Whether nothing would be lost if either took the place of the other.
    fn is_interchangeable(&self, other: &Self) -> bool {
        self == other && self.same_extra(other)
    }
}

/// The place of an entry in its [`UidMap`]; used again after the entry is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

/// Entries by uid, in slots.
#[derive(Debug)]
pub struct UidMap<T> {
    seed: Seed,
    entries: Slots<T>,
    index: HashTable<Pointer>,
}

#[derive(Clone, Copy, Debug)]
struct Pointer {
    hash: u32,
    slot: Slot,
}

impl Slot {
    /// The first slot of every table.
    pub const FIRST: Self = Self(0);

    /// Comes after every slot that is occupied.
    pub const PAST_ALL: Self = Self(u32::MAX);

    /// The slot after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    fn key(self) -> usize {
        self.0 as usize
    }
}

impl<T> UidMap<T> {
    /// No entries.
    pub const fn new(seed: Seed) -> Self {
        Self {
            seed,
            entries: Slots::new(),
            index: HashTable::new(),
        }
    }
}

impl<T: HasUid> UidMap<T> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// For how many entries there is room without growing.
    pub fn capacity(&self) -> usize {
        self.entries.capacity().max(self.index.capacity())
    }

    /// Where the entry of this uid is.
    pub fn find(&self, uid: &Uid) -> Option<Slot> {
        let hash = hash(self.seed, uid);
        let found = self
            .index
            .find(spread(hash), |at| at.leads_to(hash, uid, &self.entries));
        found.map(|at| at.slot)
    }

    /// The slot that the next new entry takes.
    pub fn next(&self) -> Slot {
        next(&self.entries)
    }

    /// The entry in this slot.
    pub fn get(&self, slot: Slot) -> Option<&T> {
        self.entries.get(slot.key())
    }

    /// The entry in this slot, to change anything but its uid.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.entries.get_mut(slot.key())
    }

    /// The entry of this uid.
    pub fn by_uid(&self, uid: &Uid) -> Option<&T> {
        self.get(self.find(uid)?)
    }

    /// The slot of this uid's entry, made by `make` if there is none yet.
    pub fn find_or_insert_with(&mut self, uid: &Uid, make: impl FnOnce() -> T) -> Slot {
        let Self {
            seed,
            entries,
            index,
        } = self;
        let hash = hash(*seed, uid);
        let same = |at: &Pointer| at.leads_to(hash, uid, entries);
        match index.entry(spread(hash), same, |at| spread(at.hash)) {
            hash_table::Entry::Occupied(found) => found.get().slot,
            hash_table::Entry::Vacant(place) => {
                let slot = next(entries);
                place.insert(Pointer { hash, slot });
                entries.insert(make());
                slot
            }
        }
    }

    /// Takes out the entry in this slot.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        let entry = self.entries.remove(slot.key())?;
        let hash = spread(hash(self.seed, entry.uid()));
        if let Ok(found) = self.index.find_entry(hash, |at| at.slot == slot) {
            found.remove();
        }
        self.shrink();
        Some(entry)
    }

    /// The first occupied slot at or after this one.
    pub fn at_or_after(&self, slot: Slot) -> Option<Slot> {
        (slot.0..self.end().0)
            .map(Slot)
            .find(|slot| self.entries.get(slot.key()).is_some())
    }

    /// All entries in the order of their slots, to change anything but their uids.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut()
    }

    /// All entries in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.entries
            .iter()
            .map(|(key, entry)| (Slot(u32::try_from(key).unwrap_or(u32::MAX)), entry))
    }

    /// One past the last slot that may be occupied.
    pub fn end(&self) -> Slot {
        Slot(u32::try_from(self.entries.end()).unwrap_or(u32::MAX))
    }

    /// Forgets all entries and their room.
    pub fn clear(&mut self) {
        *self = Self::new(self.seed);
    }

    /// Gives room back once three quarters of it lie idle. Trailing slots only: an entry never moves.
    fn shrink(&mut self) {
        if self.is_empty() {
            self.clear();
            return;
        }
        if self.index.capacity() > 64 && self.index.len() < self.index.capacity() / 4 {
            self.entries.shrink();
            let room = self.index.len() * 2;
            self.index.shrink_to(room, |at| spread(at.hash));
        }
    }
}

impl Pointer {
    /// Whether the entry it points to has this uid, whose hash this is.
    fn leads_to<T: HasUid>(&self, hash: u32, uid: &Uid, entries: &Slots<T>) -> bool {
        self.hash == hash && entries.get(self.slot.key()).is_some_and(|e| e.uid() == uid)
    }
}

fn next<T>(entries: &Slots<T>) -> Slot {
    // 2^32 entries of at least 24 bytes do not fit the machines this runs on.
    Slot(u32::try_from(entries.next()).unwrap_or(u32::MAX))
}

fn hash(seed: Seed, uid: &Uid) -> u32 {
    half(seed.hash(uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl HasUid for Uid {
        fn uid(&self) -> &Uid {
            self
        }
    }

    fn insert(table: &mut UidMap<Uid>, uid: &str) -> Slot {
        let uid = Uid::new(uid);
        table.find_or_insert_with(&uid, || uid.clone())
    }

    #[test]
    fn an_entry_keeps_its_slot_while_others_come_and_go() {
        let mut table = UidMap::new(Seed::FIXED);
        let slots: Vec<_> = (0..1000)
            .map(|n| insert(&mut table, &format!("u{n}")))
            .collect();
        for (n, slot) in slots.iter().enumerate() {
            if n % 3 != 0 {
                assert_eq!(table.remove(*slot), Some(Uid::new(&format!("u{n}"))));
            }
        }
        for (n, slot) in slots.iter().enumerate() {
            let found = table.find(&Uid::new(&format!("u{n}")));
            assert_eq!(found, (n % 3 == 0).then_some(*slot));
        }
        assert_eq!(insert(&mut table, "u0"), Slot::FIRST);
        assert_eq!(table.len(), 334);
    }

    #[test]
    fn an_emptied_table_gives_its_room_back() {
        let mut table = UidMap::new(Seed::FIXED);
        for n in 0..10_000 {
            insert(&mut table, &format!("u{n}"));
        }
        for n in 0..10_000 {
            let slot = table
                .find(&Uid::new(&format!("u{n}")))
                .expect("it is there");
            table.remove(slot);
        }
        assert_eq!((table.len(), table.capacity()), (0, 0));
    }
}
