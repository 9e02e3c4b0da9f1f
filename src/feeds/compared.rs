//! Two feeds side by side: what a comparison must re-check, and data that is held once.

use std::collections::VecDeque;

use kube::runtime::watcher::Event;

use super::{Feed, FeedState, Feeds, Handover, Input, SourceKind};
use crate::{
    matcher::{Change, Generation},
    model::{PodMeta, Stored, Uid},
};

/// Pods of which either of the compared feeds may know something else than before, in the order
/// in which they were touched.
#[derive(Debug, Default)]
pub struct DirtyPods {
    pods: VecDeque<DirtyPod>,
    all: bool,
}

/// A pod, and which feed may know something else of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtyPod {
    /// The pod.
    pub uid: Uid,
    /// Where the feed comes from.
    pub by: SourceKind,
}

impl DirtyPods {
    /// Beyond so many it is cheaper to look at all pods, and memory stays bounded.
    const LIMIT: usize = 8192;

    pub(super) fn pod(&mut self, uid: &Uid, by: SourceKind) {
        let last = self.pods.back();
        if self.all || last.is_some_and(|last| last.uid == *uid && last.by == by) {
            return;
        }
        if self.pods.len() == Self::LIMIT {
            return self.all();
        }
        let uid = uid.clone();
        self.pods.push_back(DirtyPod { uid, by });
    }

    /// Any pod may be another one.
    pub(super) fn all(&mut self) {
        self.all = true;
        self.pods.clear();
    }

    pub(super) fn change(&mut self, change: &Change<'_>, by: SourceKind) {
        match change {
            Change::Announced(live) | Change::Reannounced(live) => {
                self.pod(&live.pod.uid, by);
            }
            Change::Gone { uid, .. } => self.pod(uid, by),
            // An update comes of an object's event, and is noted if that brought anything new.
            Change::Updated(_) | Change::Overflow => {}
        }
    }

    /// Whether there are so many that soon it will be all.
    pub fn is_many(&self) -> bool {
        self.pods.len() > Self::LIMIT / 2
    }

    /// Whether all pods are to be looked at; asked once.
    pub fn take_all(&mut self) -> bool {
        std::mem::take(&mut self.all)
    }

    /// The one that was touched first.
    pub fn pop(&mut self) -> Option<DirtyPod> {
        self.pods.pop_front()
    }

    /// There is no use for what was noted so far.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Feeds {
    /// Notes from now on what a comparison has to look at, and holds pods once that are equal
    /// in both feeds; or ends that.
    pub fn compare(&mut self, compare: bool) {
        self.dirty_pods = compare.then(DirtyPods::default);
    }

    /// What a comparison has to look at.
    pub fn dirty_pods(&mut self) -> Option<&mut DirtyPods> {
        self.dirty_pods.as_mut()
    }

    /// The stream that is compared with the native watches.
    pub(super) fn compared_stream(&self) -> Option<Generation> {
        match self.settings.handover {
            Handover::Seamless => Some(self.leading()?.0),
            Handover::Legacy => {
                let mut newest_first = self.feeds.iter().rev();
                let (generation, _) = newest_first.find(|(_, feed)| {
                    feed.source == SourceKind::Collect && feed.state == FeedState::Open
                })?;
                Some(*generation)
            }
        }
    }

    /// Whether changes in this feed are to be noted.
    pub(super) fn is_compared(&self, generation: Generation) -> bool {
        self.dirty_pods.is_some()
            && (self.native == Some(generation) || self.compared_stream() == Some(generation))
    }

    /// A pod of a compared feed that the other one has in the same form takes its handle, so
    /// that its data exists once: always that of the stream, because the source of the stream keeps its
    /// own, too.
    pub(super) fn share(&mut self, generation: Generation, input: Input) -> Input {
        let Some((native, newest)) = self.native.zip(self.compared_stream()) else {
            return input;
        };
        match input {
            Input::Pod(Event::Apply(pod)) => {
                Input::Pod(Event::Apply(self.shared(generation, native, newest, pod)))
            }
            Input::Pod(Event::InitApply(pod)) => Input::Pod(Event::InitApply(
                self.shared(generation, native, newest, pod),
            )),
            Input::Pod(Event::Init | Event::InitDone | Event::Delete(_))
            | Input::Owner(..)
            | Input::Seen(..)
            | Input::Listed => input,
        }
    }

    fn shared(
        &mut self,
        generation: Generation,
        native: Generation,
        newest: Generation,
        pod: PodMeta,
    ) -> PodMeta {
        // What the stream holds in this form already, it goes on holding, and the native watches
        // hold it since they or the stream have sent it last.
        let held = self.held(newest, &pod.uid);
        let held = held.filter(|held| held.is_interchangeable(&pod));
        if let Some(held) = held {
            return held.clone();
        }
        if generation == newest
            && let Some(feed) = self.feeds.get_mut(&native)
        {
            feed.hold(&pod);
        }
        pod
    }

    /// Has both feeds hold this pod once, if it is the same in both.
    pub fn hold_once(&mut self, uid: &Uid) {
        let Some((native, newest)) = self.native.zip(self.compared_stream()) else {
            return;
        };
        let held = self.held(newest, uid).cloned();
        if let (Some(pod), Some(feed)) = (held, self.feeds.get_mut(&native)) {
            feed.hold(&pod);
        }
    }

    /// The pod as a feed holds it. The matcher is asked: the comparison asks it next.
    fn held(&self, feed: Generation, uid: &Uid) -> Option<&PodMeta> {
        let matcher = &self.feeds.get(&feed)?.matcher;
        matcher.pod(uid)
    }
}

impl Feed {
    /// Where this pod is known in this very form, this handle is kept from now on.
    fn hold(&mut self, pod: &PodMeta) {
        if self.matcher.hold(pod) {
            self.pods.hold(pod);
        }
    }
}
