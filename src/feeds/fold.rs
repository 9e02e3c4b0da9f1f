//! Folds the list protocol of kube-rs into plain changes (D1).
//!
//! The very first list streams through; a later one is staged and takes effect at its end,
//! in one step. A list that starts again before it ended starts the staging again.

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use kube::runtime::watcher::Event;

use crate::model::{Keyed, Uid};

/// The objects of a list. Its hasher has no random seed: this room knows no chance.
pub type Uids = HashSet<Uid, FixedState>;

/// What an event means for those who do not care about lists.
#[derive(Debug)]
pub enum Fact<T> {
    /// The object is there, in this form.
    Apply(T),
    /// The object is gone.
    Delete(T),
    /// A list has ended: objects that are not in this set are gone.
    Sweep(Uids),
}

/// The list protocol of one kind in one feed.
#[derive(Debug)]
pub struct Fold<T> {
    state: State<T>,
    /// A list has been seen to its end.
    listed: bool,
}

#[derive(Debug)]
enum State<T> {
    /// Between lists, or in a source that knows none.
    Following,
    /// In the first list. What an earlier attempt had streamed must be swept at the end, hence
    /// the uids of this attempt, if there was an earlier one.
    FirstList(Option<Uids>),
    /// In a later list.
    Staging(Vec<T>),
}

impl<T> Default for Fold<T> {
    fn default() -> Self {
        Self {
            state: State::Following,
            listed: false,
        }
    }
}

impl<T: Keyed> Fold<T> {
    /// Whether a list has been seen to its end.
    pub fn listed(&self) -> bool {
        self.listed
    }

    /// Takes one event and hands on what it means.
    pub fn fold(&mut self, event: Event<T>, mut then: impl FnMut(Fact<T>)) {
        match event {
            Event::Init => {
                let state = std::mem::replace(&mut self.state, State::Following);
                self.state = match (self.listed, state) {
                    (true, _) => State::Staging(Vec::new()),
                    (false, State::Following) => State::FirstList(None),
                    (false, State::FirstList(_) | State::Staging(_)) => {
                        State::FirstList(Some(Uids::default()))
                    }
                };
            }
            Event::InitApply(object) => match &mut self.state {
                State::Following => then(Fact::Apply(object)),
                State::FirstList(seen) => {
                    if let Some(seen) = seen {
                        seen.insert(object.uid().clone());
                    }
                    then(Fact::Apply(object));
                }
                State::Staging(staged) => staged.push(object),
            },
            Event::InitDone => {
                self.listed = true;
                match std::mem::replace(&mut self.state, State::Following) {
                    State::Following | State::FirstList(None) => {}
                    State::FirstList(Some(seen)) => then(Fact::Sweep(seen)),
                    State::Staging(staged) => {
                        let keep = staged.iter().map(|object| object.uid().clone()).collect();
                        for object in staged {
                            then(Fact::Apply(object));
                        }
                        then(Fact::Sweep(keep));
                    }
                }
            }
            Event::Apply(object) => then(Fact::Apply(object)),
            Event::Delete(object) => then(Fact::Delete(object)),
        }
    }
}
