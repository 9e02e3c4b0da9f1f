//! The list protocol written down a second time, as plainly as possible (D1).

use std::collections::{BTreeMap, BTreeSet};

use k8s_relay::model::{HasUid, Scope, Uid};
use kube::runtime::watcher::Event;

/// The objects of one kind as its events report them.
#[derive(Clone, Debug)]
pub struct Lists<T> {
    pub known: BTreeMap<Uid, T>,
    /// Which scope spoke last of each known object.
    reported_by: BTreeMap<Uid, Scope>,
    open: BTreeMap<Scope, Open<T>>,
    listed: BTreeSet<Scope>,
}

/// What a list has said that has not ended.
#[derive(Clone, Debug)]
struct Open<T> {
    named: BTreeSet<Uid>,
    news: BTreeMap<Uid, T>,
    /// Applied or deleted since it began.
    decided: BTreeSet<Uid>,
}

/// What an event means for who does not care about lists.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact<T> {
    Apply(T),
    Delete(Uid),
}

impl<T: HasUid + Clone + PartialEq> Lists<T> {
    pub fn new() -> Self {
        Self {
            known: BTreeMap::new(),
            reported_by: BTreeMap::new(),
            open: BTreeMap::new(),
            listed: BTreeSet::new(),
        }
    }

    /// Deletes are said even if the object was not known.
    pub fn take(&mut self, scope: Scope, event: Event<T>) -> Vec<Fact<T>> {
        match event {
            Event::Init => {
                let open = Open {
                    named: BTreeSet::new(),
                    news: BTreeMap::new(),
                    decided: BTreeSet::new(),
                };
                self.open.insert(scope, open);
                Vec::new()
            }
            Event::InitApply(object) => self.named(scope, object),
            Event::InitDone => {
                self.listed.insert(scope);
                let Some(open) = self.open.remove(&scope) else {
                    return Vec::new();
                };
                self.done(scope, open)
            }
            Event::Apply(object) => {
                self.decide(scope, object.uid());
                self.apply(scope, object)
            }
            Event::Delete(object) => {
                self.decide(scope, object.uid());
                self.known.remove(object.uid());
                vec![Fact::Delete(object.uid().clone())]
            }
        }
    }

    /// Names an object in a form that cannot be used.
    pub fn see(&mut self, scope: Scope, uid: &Uid) {
        let open = self.open.get_mut(&scope);
        if let Some(open) = open.filter(|open| !open.decided.contains(uid)) {
            open.named.insert(uid.clone());
            if self.known.contains_key(uid) {
                self.reported_by.insert(uid.clone(), scope);
            }
        }
    }

    fn named(&mut self, scope: Scope, object: T) -> Vec<Fact<T>> {
        let uid = object.uid().clone();
        let Some(open) = self.open.get_mut(&scope) else {
            return self.apply(scope, object);
        };
        if open.decided.contains(&uid) {
            return Vec::new();
        }
        open.named.insert(uid.clone());
        if !self.listed.contains(&scope) {
            return self.apply(scope, object);
        }
        if self.known.contains_key(&uid) {
            self.reported_by.insert(uid.clone(), scope);
        }
        if self.known.get(&uid) == Some(&object) {
            open.news.remove(&uid);
        } else {
            open.news.insert(uid, object);
        }
        Vec::new()
    }

    fn done(&mut self, scope: Scope, open: Open<T>) -> Vec<Fact<T>> {
        let mut facts = Vec::new();
        for uid in self.known.keys().cloned().collect::<Vec<_>>() {
            let said = open.named.contains(&uid) || open.decided.contains(&uid);
            if self.reported_by[&uid] == scope && !said {
                self.known.remove(&uid);
                facts.push(Fact::Delete(uid));
            }
        }
        for (_, object) in open.news {
            facts.extend(self.apply(scope, object));
        }
        facts
    }

    fn apply(&mut self, scope: Scope, object: T) -> Vec<Fact<T>> {
        self.reported_by.insert(object.uid().clone(), scope);
        let before = self.known.insert(object.uid().clone(), object.clone());
        if before.as_ref() == Some(&object) {
            return Vec::new();
        }
        vec![Fact::Apply(object)]
    }

    fn decide(&mut self, scope: Scope, uid: &Uid) {
        if let Some(open) = self.open.get_mut(&scope) {
            open.news.remove(uid);
            open.decided.insert(uid.clone());
        }
    }
}
