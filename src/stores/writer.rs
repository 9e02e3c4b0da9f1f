//! The writer of one kind: the list protocol of kube-rs, by scope.

use std::sync::Arc;

use foldhash::fast::SeedableRandomState;
use hashbrown::HashSet;
use kube::runtime::watcher::Event;

use super::{
    Store,
    store::{Entry, ListId},
};
use crate::model::{HasUid, Scope, Seed, Stored, Uid, UidMap};

/// The objects of one kind in one feed, and where each scope is in its lists.
///
/// Scopes do not overlap. Where two report an object, the later report counts, that of a list at
/// its end.
#[derive(Debug)]
pub struct StoreWriter<T> {
    seed: Seed,
    store: Arc<Store<T>>,
    scopes: Vec<Progress<T>>,
    /// Expected scopes whose first list has neither ended nor been denied.
    unlisted: usize,
}

/// What an event has changed.
#[derive(Debug)]
pub enum Applied<T> {
    /// Nothing; in a list, perhaps nothing yet.
    Nothing,
    /// The object is known in this very form. This is the handle that is kept.
    Same(T),
    /// The object is known in this form, but for what equality does not see. This handle is kept
    /// from now on; at once, also in a list.
    Refreshed(T),
    /// The object is new or has changed.
    Changed(T),
    /// The object is gone, if it was known at all.
    Gone(T),
    /// A list has ended.
    Listed(Difference<T>),
}

/// What the end of a list has changed.
#[derive(Debug)]
pub struct Difference<T> {
    /// New and changed objects that had to wait for the end.
    pub changed: Vec<T>,
    /// Objects that the list lacks.
    pub gone: Vec<T>,
    /// It was not the first list of its scope to reach its end.
    pub relist: bool,
}

/// How far one scope is.
#[derive(Debug)]
struct Progress<T> {
    /// Of its latest list; what the scope reported since carries it.
    list_id: ListId,
    /// A list has ended: the next one is staged.
    listed: bool,
    /// Counts as listed: as above, or it was denied.
    settled: bool,
    /// The list it is in.
    list: Option<Box<List<T>>>,
}

/// A list that has not ended.
#[derive(Debug)]
struct List<T> {
    /// New and changed objects, which wait for the end.
    staged: UidMap<T>,
    /// Applied or deleted meanwhile: that is later than what the list says of them.
    decided: HashSet<Uid, SeedableRandomState>,
}

impl<T: Stored> StoreWriter<T> {
    /// Nothing known; so many scopes are expected to list, one at least.
    pub fn new(scopes: u16, seed: Seed) -> Self {
        let scopes = usize::from(scopes.max(1));
        Self {
            seed,
            store: Arc::new(Store::new(seed)),
            scopes: (0..scopes).map(|_| Progress::default()).collect(),
            unlisted: scopes,
        }
    }

    /// Where its objects are read.
    pub fn store(&self) -> &Arc<Store<T>> {
        &self.store
    }

    /// Whether every expected scope has seen a list to its end or was denied.
    pub fn is_listed(&self) -> bool {
        self.unlisted == 0
    }

    /// If this object is known in this very form, what equality does not see among it, its handle is
    /// kept from now on.
    pub fn hold(&mut self, object: &T) {
        let mut table = self.store.write();
        let slot = table.find(object.uid());
        let known = slot.and_then(|slot| table.get_mut(slot));
        let Some(entry) = known.filter(|entry| entry.object.is_interchangeable(object)) else {
            return;
        };
        let before = std::mem::replace(&mut entry.object, object.clone());
        drop(table);
        drop(before);
    }

    /// The scope may not be read (D4). If it has never listed, it counts as listed from now on;
    /// what is known of it stays until a list or an event says otherwise.
    pub fn denied(&mut self, scope: Scope) {
        self.settle(scope);
    }

    /// The list that a scope is in names this object, but in a form that cannot be used. What is
    /// known of it stays.
    pub fn seen(&mut self, scope: Scope, uid: &Uid) {
        let store = Arc::clone(&self.store);
        let progress = self.progress(scope);
        let list_id = progress.list_id;
        // Outside of a list it says nothing; what was applied or deleted since is later.
        let counts = |list: &List<T>| !list.decided.contains(uid);
        if !progress.list.as_deref().is_some_and(counts) {
            return;
        }
        let mut table = store.write();
        let known = table.find(uid);
        if let Some(entry) = known.and_then(|slot| table.get_mut(slot)) {
            (entry.list_id, entry.scope) = (list_id, scope);
        }
    }

    /// Takes one event of a scope.
    pub fn take(&mut self, scope: Scope, event: Event<T>) -> Applied<T> {
        match event {
            Event::Init => {
                let seed = self.seed;
                let progress = self.progress(scope);
                progress.list_id = progress.list_id.next();
                progress.list = Some(Box::new(List::new(seed)));
                Applied::Nothing
            }
            Event::InitApply(object) => self.listed(scope, object),
            Event::InitDone => self.list_ended(scope),
            Event::Apply(object) => {
                let progress = self.progress(scope);
                progress.decide(object.uid());
                let list_id = progress.list_id;
                self.put(scope, list_id, object)
            }
            Event::Delete(object) => {
                self.progress(scope).decide(object.uid());
                let removed = {
                    let mut table = self.store.write();
                    table.find(object.uid()).and_then(|slot| table.remove(slot))
                };
                drop(removed);
                Applied::Gone(object)
            }
        }
    }

    /// An object of a list: it counts at once in a first list, else it waits if it is news.
    fn listed(&mut self, scope: Scope, object: T) -> Applied<T> {
        let store = Arc::clone(&self.store);
        let progress = self.progress(scope);
        let (list_id, staging) = (progress.list_id, progress.listed);
        let Some(list) = &mut progress.list else {
            // Outside of a list it is as good as any other word.
            return self.put(scope, list_id, object);
        };
        if list.decided.contains(object.uid()) {
            return Applied::Nothing;
        }
        if !staging {
            return self.put(scope, list_id, object);
        }
        let mut table = store.write();
        let known = table.find(object.uid());
        if let Some(entry) = known.and_then(|slot| table.get_mut(slot)) {
            (entry.list_id, entry.scope) = (list_id, scope);
            if entry.object == object {
                // Should the list name it twice, this is the later form.
                list.unstage(object.uid());
                if entry.object.same_extra(&object) {
                    return Applied::Nothing;
                }
                let before = std::mem::replace(&mut entry.object, object.clone());
                drop(table);
                drop(before);
                return Applied::Refreshed(object);
            }
        }
        drop(table);
        list.stage(object);
        Applied::Nothing
    }

    /// The list is complete: what waited takes effect, what it lacks is gone.
    fn list_ended(&mut self, scope: Scope) -> Applied<T> {
        self.settle(scope);
        let progress = self.progress(scope);
        let relist = std::mem::replace(&mut progress.listed, true);
        let Some(list) = progress.list.take() else {
            return Applied::Nothing;
        };
        let list_id = progress.list_id;
        let news = list.staged.len();
        let (mut changed, mut replaced) = (Vec::with_capacity(news), Vec::with_capacity(news));
        let mut table = self.store.write();
        for (_, object) in list.staged.iter() {
            let mut is_new = false;
            let slot = table.find_or_insert_with(object.uid(), || {
                is_new = true;
                Entry::new(object, list_id, scope)
            });
            let Some(entry) = table.get_mut(slot) else {
                continue;
            };
            (entry.list_id, entry.scope) = (list_id, scope);
            // Another scope may have reported the same meanwhile.
            let differs = is_new || entry.object != *object;
            if differs || !entry.object.same_extra(object) {
                replaced.push(std::mem::replace(&mut entry.object, object.clone()));
            }
            if differs {
                changed.push(object.clone());
            }
        }
        let lacks = |entry: &Entry<T>| entry.scope == scope && entry.list_id != list_id;
        let lost: Vec<_> = table
            .iter()
            .filter_map(|(slot, entry)| lacks(entry).then_some(slot))
            .collect();
        let gone = lost
            .into_iter()
            .filter_map(|slot| Some(table.remove(slot)?.object))
            .collect();
        drop(table);
        // Perhaps the last handles: not under the lock.
        drop(replaced);
        Applied::Listed(Difference {
            changed,
            gone,
            relist,
        })
    }

    fn put(&mut self, scope: Scope, list_id: ListId, object: T) -> Applied<T> {
        let mut is_new = false;
        let mut table = self.store.write();
        let slot = table.find_or_insert_with(object.uid(), || {
            is_new = true;
            Entry::new(&object, list_id, scope)
        });
        let Some(entry) = table.get_mut(slot) else {
            return Applied::Nothing;
        };
        (entry.list_id, entry.scope) = (list_id, scope);
        if is_new {
            return Applied::Changed(object);
        }
        // Handles of the same data are equal without a look at it.
        let is_same = entry.object == object;
        if is_same && entry.object.same_extra(&object) {
            return Applied::Same(entry.object.clone());
        }
        let before = std::mem::replace(&mut entry.object, object.clone());
        drop(table);
        drop(before);
        match is_same {
            true => Applied::Refreshed(object),
            false => Applied::Changed(object),
        }
    }

    fn settle(&mut self, scope: Scope) {
        if !std::mem::replace(&mut self.progress(scope).settled, true) {
            self.unlisted -= 1;
        }
    }

    /// An unexpected scope is one more to be listed, which says no more than it does.
    fn progress(&mut self, scope: Scope) -> &mut Progress<T> {
        let at = usize::from(scope.0);
        while self.scopes.len() <= at {
            self.scopes.push(Progress::default());
            self.unlisted += 1;
        }
        #[expect(clippy::indexing_slicing, reason = "it was made to fit above")]
        &mut self.scopes[at]
    }
}

impl<T: Clone> Entry<T> {
    fn new(object: &T, list_id: ListId, scope: Scope) -> Self {
        Self {
            object: object.clone(),
            list_id,
            scope,
        }
    }
}

impl<T: HasUid + Clone> Progress<T> {
    /// Something came about this object that no list undoes.
    fn decide(&mut self, uid: &Uid) {
        if let Some(list) = &mut self.list {
            list.unstage(uid);
            list.decided.insert(uid.clone());
        }
    }
}

impl<T: HasUid + Clone> List<T> {
    fn stage(&mut self, object: T) {
        let slot = self
            .staged
            .find_or_insert_with(object.uid(), || object.clone());
        if let Some(staged) = self.staged.get_mut(slot) {
            *staged = object;
        }
    }

    fn unstage(&mut self, uid: &Uid) {
        if let Some(slot) = self.staged.find(uid) {
            self.staged.remove(slot);
        }
    }
}

impl<T> Default for Progress<T> {
    fn default() -> Self {
        Self {
            list_id: ListId::default(),
            listed: false,
            settled: false,
            list: None,
        }
    }
}

impl<T> List<T> {
    fn new(seed: Seed) -> Self {
        Self {
            staged: UidMap::new(seed),
            decided: HashSet::with_hasher(seed.state()),
        }
    }
}
