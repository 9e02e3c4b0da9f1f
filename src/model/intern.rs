//! Texts and owner references that repeat exist once.
//!
//! Law: an [`Interner`] holds at most twice what its users hold (and a small constant):
//! what nobody else shares any more is swept out when the table has doubled or, after
//! [`Interner::sweep`], at once.

use std::{borrow::Borrow, fmt, hash::Hash, ops::Deref, sync::Arc};

use hashbrown::HashSet;

use super::{Controller, OwnerKind, OwnerRef, Uid};

/// An immutable, shared text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(Arc<str>);

/// Finds the one copy of each text and owner reference.
#[derive(Debug, Default)]
pub struct Interner {
    texts: Pool<Text>,
    owners: Pool<OwnerRef>,
}

impl Interner {
    /// The shared copy of `text`.
    pub fn text(&mut self, text: &str) -> Text {
        if text.is_empty() {
            return Text::default();
        }
        self.texts.get(text, || Text::from(text))
    }

    /// The shared reference to this controller.
    pub fn owner(&mut self, uid: Uid, name: &str, kind: OwnerKind) -> OwnerRef {
        let controller = Controller {
            uid,
            name: self.text(name),
            kind,
        };
        self.owners
            .get(&controller, || OwnerRef::new(controller.clone()))
    }

    /// Lets go of everything that nobody else holds, and of the room it took.
    pub fn sweep(&mut self) {
        self.owners.sweep();
        self.texts.sweep();
    }

    /// How many texts and owner references are held.
    pub fn len(&self) -> usize {
        self.texts.set.len() + self.owners.set.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Debug)]
struct Pool<T> {
    set: HashSet<T, foldhash::fast::FixedState>,
    /// The table is swept when it has grown to this many entries.
    sweep_at: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            set: HashSet::default(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

const FIRST_SWEEP: usize = 1024;

/// A handle that can tell whether anybody else holds the same data.
trait Shared {
    fn is_shared(&self) -> bool;
}

impl<T: Shared + Clone + Eq + Hash> Pool<T> {
    fn get<Q: ?Sized + Hash + Eq>(&mut self, key: &Q, make: impl FnOnce() -> T) -> T
    where
        T: Borrow<Q>,
    {
        if let Some(known) = self.set.get(key) {
            return known.clone();
        }
        if self.set.len() >= self.sweep_at {
            self.sweep();
        }
        let new = make();
        self.set.insert(new.clone());
        new
    }

    fn sweep(&mut self) {
        self.set.retain(Shared::is_shared);
        self.set.shrink_to_fit();
        self.sweep_at = (self.set.len() * 2).max(FIRST_SWEEP);
    }
}

impl Shared for Text {
    fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Shared for OwnerRef {
    fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<Controller> for OwnerRef {
    fn borrow(&self) -> &Controller {
        &self.0
    }
}

impl From<&str> for Text {
    /// A text of its own; [`Interner::text`] shares instead.
    fn from(text: &str) -> Self {
        if text.is_empty() {
            Self::default()
        } else {
            Self(text.into())
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_and_owners_are_one_allocation() {
        let mut interner = Interner::default();
        let (a, b) = (interner.text("nginx:1"), interner.text("nginx:1"));
        assert!(Arc::ptr_eq(&a.0, &b.0));
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
    fn what_nobody_holds_is_let_go() {
        let mut interner = Interner::default();
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
