//! Texts and owner references that repeat exist once.
//!
//! Invariant: an [`Interner`] holds at most twice what its users hold (and a small constant): what
//! nobody else shares any more is swept out when the table has doubled or, after
//! [`Interner::sweep`], at once.

use std::{fmt, ops::Deref, sync::Arc};

use arcstr::ArcStr;
use hashbrown::HashTable;

use super::{
    Controller, OwnerKind, OwnerRef, Seed, Slot, Uid,
    seed::{half, spread},
};

/// An immutable, shared text. One word: a pod with two containers has seven of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SharedStr(ArcStr);

/// Finds the one copy of each text and owner reference.
#[derive(Debug)]
pub struct Interner {
    seed: Seed,
    texts: Pool<SharedStr>,
    owners: Pool<OwnerRef>,
}

impl Interner {
    /// Nothing is held yet.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            texts: Pool::default(),
            owners: Pool::default(),
        }
    }

    /// Lets go of everything, and of the room it took. What is still in use elsewhere lives on
    /// there, unshared.
    pub fn clear(&mut self) {
        *self = Self::new(self.seed);
    }

    /// The shared copy of `text`.
    pub fn text(&mut self, text: &str) -> SharedStr {
        if text.is_empty() {
            return SharedStr::default();
        }
        let same = |known: &SharedStr| **known == *text;
        let found = self
            .texts
            .get(self.seed.hash(text), same, || SharedStr::from(text));
        found.shared.clone()
    }

    /// The shared reference to this controller of a built-in kind, or of a kind whose API
    /// group is not known.
    pub fn owner(&mut self, uid: Uid, name: &str, kind: OwnerKind) -> OwnerRef {
        self.controller(uid, name, kind, false)
    }

    /// The shared reference to this controller. `custom`: see [`Controller::custom`].
    pub fn controller(&mut self, uid: Uid, name: &str, kind: OwnerKind, custom: bool) -> OwnerRef {
        self.find_owner(uid, name, kind, custom).shared.clone()
    }

    /// [`Self::owner`], and a place to note the slot of an object that it owns:
    /// [`Slot::PAST_ALL`] at first. What was noted may be gone, and another object be there.
    pub fn owner_of(&mut self, uid: Uid, name: &str, kind: OwnerKind) -> (OwnerRef, &mut Slot) {
        let Entry { shared, owned, .. } = self.find_owner(uid, name, kind, false);
        (shared.clone(), owned)
    }

    fn find_owner(
        &mut self,
        uid: Uid,
        name: &str,
        kind: OwnerKind,
        custom: bool,
    ) -> &mut Entry<OwnerRef> {
        let Self {
            seed,
            texts,
            owners,
        } = self;
        let same = |known: &OwnerRef| {
            known.uid == uid && *known.name == *name && known.kind == kind && known.custom == custom
        };
        owners.get(seed.hash(&(&uid, name)), same, || {
            let same = |known: &SharedStr| **known == *name;
            let name = match name {
                "" => SharedStr::default(),
                name => texts
                    .get(seed.hash(name), same, || SharedStr::from(name))
                    .shared
                    .clone(),
            };
            OwnerRef::new(Controller {
                uid: uid.clone(),
                name,
                kind: kind.clone(),
                custom,
            })
        })
    }

    /// Lets go of everything that nobody else holds, and of the room it took.
    pub fn sweep(&mut self) {
        self.owners.sweep();
        self.texts.sweep();
    }

    /// How many texts and owner references are held.
    pub fn len(&self) -> usize {
        self.texts.table.len() + self.owners.table.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Debug)]
struct Pool<T> {
    table: HashTable<Entry<T>>,
    /// The table is swept when it has grown to this many entries.
    sweep_at: usize,
}

/// Two words for a shared handle.
#[derive(Debug)]
struct Entry<T> {
    /// So that growing, and passing by a stranger, looks at no text.
    hash: u32,
    /// Of an owner: see [`Interner::owner_of`].
    owned: Slot,
    shared: T,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            table: HashTable::new(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

const FIRST_SWEEP: usize = 1024;

/// A handle that knows whether another handle of the same data exists.
trait Shared {
    fn is_shared(&self) -> bool;
}

impl<T: Shared> Pool<T> {
    /// The entry of this hash that is the same, made if there is none.
    fn get(
        &mut self,
        hash: u64,
        same: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> &mut Entry<T> {
        if self.table.len() >= self.sweep_at {
            self.sweep();
        }
        let hash = half(hash);
        let same = |known: &Entry<T>| known.hash == hash && same(&known.shared);
        let entry = self
            .table
            .entry(spread(hash), same, |known| spread(known.hash));
        entry
            .or_insert_with(|| Entry {
                hash,
                owned: Slot::PAST_ALL,
                shared: make(),
            })
            .into_mut()
    }

    fn sweep(&mut self) {
        self.table.retain(|known| known.shared.is_shared());
        self.table.shrink_to_fit(|known| spread(known.hash));
        self.sweep_at = (self.table.len() * 2).max(FIRST_SWEEP);
    }
}

impl Shared for SharedStr {
    fn is_shared(&self) -> bool {
        ArcStr::strong_count(&self.0).is_some_and(|count| count > 1)
    }
}

impl Shared for OwnerRef {
    fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl From<&str> for SharedStr {
    /// A text of its own; [`Interner::text`] shares instead.
    fn from(text: &str) -> Self {
        if text.is_empty() {
            Self::default()
        } else {
            Self(text.into())
        }
    }
}

impl Deref for SharedStr {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SharedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for SharedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_and_owners_are_one_allocation() {
        let mut interner = Interner::new(Seed::FIXED);
        let (a, b) = (interner.text("nginx:1"), interner.text("nginx:1"));
        assert!(ArcStr::ptr_eq(&a.0, &b.0));
        assert_eq!(size_of_val(&a), size_of::<usize>());
        let (a, b) = (
            interner.owner(Uid::new("d"), "web", OwnerKind::Deployment),
            interner.owner(Uid::new("d"), "web", OwnerKind::Deployment),
        );
        assert!(Arc::ptr_eq(&a.0, &b.0));
        assert_ne!(
            a,
            interner.owner(Uid::new("d"), "web", OwnerKind::ReplicaSet)
        );
    }

    #[test]
    fn what_is_noted_with_an_owner_is_found_by_its_uid_and_name() {
        let mut interner = Interner::new(Seed::FIXED);
        let uid = Uid::new("d");
        let (owner, noted) = interner.owner_of(uid.clone(), "web", OwnerKind::Job);
        assert_eq!(*noted, Slot::PAST_ALL);
        *noted = Slot::FIRST;
        let (again, noted) = interner.owner_of(uid.clone(), "web", OwnerKind::Job);
        assert_eq!((again, *noted), (owner, Slot::FIRST));
        let (_, noted) = interner.owner_of(uid, "db", OwnerKind::Job);
        assert_eq!(*noted, Slot::PAST_ALL);
        assert_eq!(size_of::<Entry<OwnerRef>>(), 16);
    }

    #[test]
    fn what_nobody_holds_is_let_go() {
        let mut interner = Interner::new(Seed::FIXED);
        let kept = interner.text("kept");
        for n in 0..100_000 {
            interner.text(&format!("gone-{n}"));
            interner.owner(Uid::new(&format!("o-{n}")), "x", OwnerKind::Job);
        }
        assert!(interner.len() <= 2 * FIRST_SWEEP + 2);
        interner.sweep();
        assert_eq!(interner.len(), 1);
        assert_eq!(&*kept, "kept");
        drop(kept);
        interner.sweep();
        assert!(interner.is_empty());
    }
}
