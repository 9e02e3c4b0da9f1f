//! The objects of a simulated cluster, under one running version, with a bounded history.
//!
//! Pure. Invariants: each change has a version of its own, one higher than the one before, over all
//! kinds. What was at a version can be listed as long as history reaches back to it; then it is
//! [`Gone`], as after etcd's compaction. Objects are shared, never copied.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    ops::Bound,
    sync::Arc,
};

use super::objects::Object;
use crate::model::{Kind, KindTable, PerKind};

/// How an object is filed: `namespace/name`, in etcd's order.
pub type Key = Arc<str>;

/// An object as it was at a version.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The version of its last change.
    pub version: u64,
    /// The object.
    pub object: Arc<Object>,
}

/// One change. At least one of both states is there.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version that it made.
    pub version: u64,
    /// How the object is filed.
    pub key: Key,
    /// The object before it; `None` if there was none.
    pub before: Option<Stored>,
    /// The object after it; `None` if it was deleted.
    pub after: Option<Arc<Object>>,
}

/// History does not reach back to the version that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The oldest version that can be asked for.
    pub oldest: u64,
}

/// All objects.
#[derive(Debug)]
pub struct Store {
    version: u64,
    kinds: KindTable,
    shelves: PerKind<Shelf>,
    history: usize,
    departed: VecDeque<Arc<Object>>,
}

/// So many deleted owners are remembered.
const DEPARTED: usize = 10_000;

/// The objects of one kind.
#[derive(Debug, Default)]
struct Shelf {
    objects: BTreeMap<Key, Stored>,
    /// All changes after the version `from`.
    history: VecDeque<Change>,
    from: u64,
}

/// A part of the objects of a kind, as they were at one version.
#[derive(Debug)]
pub struct Page {
    /// The objects in the order of their keys.
    pub items: Vec<Stored>,
    /// The last one's key, if there are more.
    pub last: Option<Key>,
}

impl Store {
    /// An empty store of the fixed kinds that remembers so many changes of each.
    pub fn new(history: usize) -> Self {
        Self::of(KindTable::default(), history)
    }

    /// An empty store of these kinds that remembers so many changes of each.
    pub fn of(kinds: KindTable, history: usize) -> Self {
        Self {
            version: 1,
            shelves: PerKind::all(&kinds, |_, _| Shelf::default()),
            kinds,
            history,
            departed: VecDeque::new(),
        }
    }

    /// What it may hold.
    pub fn kinds(&self) -> &KindTable {
        &self.kinds
    }

    /// The version of the newest change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.shelf(kind).objects.len()
    }

    /// An object.
    pub fn get(&self, kind: Kind, key: &str) -> Option<&Stored> {
        self.shelf(kind).objects.get(key)
    }

    /// All objects of a kind, by key.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Stored)> {
        self.shelf(kind).objects.iter()
    }

    /// ReplicaSets and Jobs that were deleted, oldest first: pods may still name them.
    pub fn departed(&self) -> impl Iterator<Item = &Object> {
        self.departed.iter().map(|object| &**object)
    }

    /// Adds an object, or replaces the one of the same name. Says the version that it made.
    pub fn apply(&mut self, object: impl Into<Object>) -> u64 {
        let object = object.into();
        let key = key(object.namespace(), object.name());
        self.put(key, Arc::new(object))
    }

    /// Changes an object; `None` if there is none.
    pub fn change(
        &mut self,
        kind: Kind,
        key: &Key,
        change: impl FnOnce(&mut Object),
    ) -> Option<u64> {
        let mut object = Arc::clone(&self.get(kind, key)?.object);
        change(Arc::make_mut(&mut object));
        Some(self.put(Key::clone(key), object))
    }

    /// A change of nothing but the version; `None` if there is no such object.
    pub fn touch(&mut self, kind: Kind, key: &Key) -> Option<u64> {
        let object = Arc::clone(&self.get(kind, key)?.object);
        Some(self.put(Key::clone(key), object))
    }

    /// Deletes an object; `None` if there is none.
    pub fn delete(&mut self, kind: Kind, key: &str) -> Option<u64> {
        let (key, before) = self.shelf_mut(kind).objects.remove_entry(key)?;
        self.version += 1;
        if matches!(kind, Kind::REPLICA_SET | Kind::JOB) {
            self.departed.push_back(Arc::clone(&before.object));
            let surplus = self.departed.len().saturating_sub(DEPARTED);
            self.departed.drain(..surplus);
        }
        self.remember(
            kind,
            Change {
                version: self.version,
                key,
                before: Some(before),
                after: None,
            },
        );
        Some(self.version)
    }

    /// The objects of a kind as they were at `version`, of one namespace or all, after a key,
    /// at most `limit`.
    ///
    /// # Errors
    /// History does not reach back so far.
    pub fn list(
        &self,
        kind: Kind,
        version: u64,
        namespace: Option<&str>,
        after: Option<&str>,
        limit: Option<usize>,
        mut selects: impl FnMut(&Object) -> bool,
    ) -> Result<Page, Gone> {
        let shelf = self.shelf(kind);
        let then = shelf.then(version)?;
        let prefix = namespace.map(|namespace| format!("{namespace}/"));
        let prefix = prefix.as_deref().unwrap_or_default();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let inside = |key: &str| key.starts_with(prefix);
        let mut now = shelf
            .objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| inside(key))
            .filter(|(key, _)| !then.contains_key(*key))
            .peekable();
        let mut then = then
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| inside(key))
            .filter_map(|(key, stored)| Some((key, stored.as_ref()?)))
            .peekable();
        let mut merged = std::iter::from_fn(|| match (now.peek(), then.peek()) {
            (Some((left, _)), Some((right, _))) if right < left => then.next(),
            (Some(_), _) => now.next(),
            (None, _) => then.next(),
        })
        .filter(|(_, stored)| selects(&stored.object));
        let mut page = Page {
            items: Vec::new(),
            last: None,
        };
        let mut last = None;
        while limit.is_none_or(|limit| page.items.len() < limit) {
            let Some((key, stored)) = merged.next() else {
                return Ok(page);
            };
            page.items.push(stored.clone());
            last = Some(key);
        }
        page.last = merged.next().and(last).map(Key::clone);
        Ok(page)
    }

    /// The changes of a kind after a version, oldest first.
    ///
    /// # Errors
    /// History does not reach back so far.
    pub fn changes(
        &self,
        kind: Kind,
        after: u64,
    ) -> Result<impl ExactSizeIterator<Item = &Change>, Gone> {
        self.shelf(kind).after(after)
    }

    /// Forgets all history: every version but the present one is gone.
    pub fn compact(&mut self) {
        let version = self.version;
        for shelf in self.shelves.values_mut() {
            shelf.history = VecDeque::new();
            shelf.from = version;
        }
    }

    /// Goes back to a lower version, as an etcd that was restored from a backup: history is
    /// lost, the objects stay, none is newer than `version`.
    pub fn reset_to_version(&mut self, version: u64) {
        self.version = version;
        self.compact();
        for shelf in self.shelves.values_mut() {
            for stored in shelf.objects.values_mut() {
                stored.version = stored.version.min(version);
            }
        }
    }

    fn put(&mut self, key: Key, object: Arc<Object>) -> u64 {
        self.version += 1;
        let version = self.version;
        let stored = Stored {
            version,
            object: Arc::clone(&object),
        };
        let kind = object.kind();
        let (key, before) = match self.shelf_mut(kind).objects.entry(key) {
            Entry::Occupied(mut known) => (Key::clone(known.key()), Some(known.insert(stored))),
            Entry::Vacant(free) => {
                let key = Key::clone(free.key());
                free.insert(stored);
                (key, None)
            }
        };
        let after = Some(object);
        self.remember(
            kind,
            Change {
                version,
                key,
                before,
                after,
            },
        );
        version
    }

    fn remember(&mut self, kind: Kind, change: Change) {
        let limit = self.history;
        let shelf = self.shelf_mut(kind);
        shelf.history.push_back(change);
        while shelf.history.len() > limit {
            if let Some(lost) = shelf.history.pop_front() {
                shelf.from = lost.version;
            }
        }
    }

    fn shelf(&self, kind: Kind) -> &Shelf {
        #[expect(
            clippy::indexing_slicing,
            reason = "a kind is one of its store's table"
        )]
        &self.shelves[kind]
    }

    fn shelf_mut(&mut self, kind: Kind) -> &mut Shelf {
        #[expect(clippy::indexing_slicing, reason = "as above")]
        &mut self.shelves[kind]
    }
}

impl Shelf {
    fn after(&self, version: u64) -> Result<impl ExactSizeIterator<Item = &Change>, Gone> {
        if version < self.from {
            return Err(Gone { oldest: self.from });
        }
        let seen = self.history.partition_point(|c| c.version <= version);
        Ok(self.history.range(seen..))
    }

    /// What was otherwise at a version: the state of each object that has changed since.
    fn then(&self, version: u64) -> Result<BTreeMap<Key, Option<Stored>>, Gone> {
        let mut then = BTreeMap::new();
        for change in self.after(version)? {
            then.entry(Key::clone(&change.key))
                .or_insert_with(|| change.before.clone());
        }
        Ok(then)
    }
}

/// The key of an object.
pub fn key(namespace: &str, name: &str) -> Key {
    format!("{namespace}/{name}").into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
