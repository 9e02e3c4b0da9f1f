//! The core with the native watches as the active feed.

use std::ops::{Deref, DerefMut};

use k8s_relay::{
    announce::Watermarks,
    feeds::{Input, Settings, SourceKind},
    matcher::{Generation, Matcher, OwnerSort, Reannounce},
    model::{ObjectMeta, OwnerRef, PodMeta, Scope},
};
use kube::runtime::watcher::Event;

use super::core::{Core, Recorder, object, pod};

pub struct Native {
    pub core: Core,
    pub feed: Generation,
}

impl Native {
    /// Connected; one scope; pods wait a minute for their owners.
    pub fn new(marks: Watermarks) -> Self {
        Self::with(Recorder::default(), native(marks), 1)
    }

    /// The same, and announced pods are announced again when they change.
    pub fn reannouncing(marks: Watermarks) -> Self {
        let settings = Settings {
            reannounce: Reannounce::OnChange,
            ..native(marks)
        };
        Self::with(Recorder::default(), settings, 1)
    }

    pub fn with(reducer: Recorder, settings: Settings, scopes: u16) -> Self {
        let mut core = Core::with(reducer, settings);
        let feed = core.feeds.open_native(scopes, core.now);
        core.connect();
        Self { core, feed }
    }

    pub fn reconnect(&mut self) {
        self.disconnect();
        self.connect();
        self.rest();
    }

    pub fn pod_event(&mut self, event: Event<PodMeta>) {
        self.pod_event_in(Scope::default(), event);
    }

    pub fn pod_event_in(&mut self, scope: Scope, event: Event<PodMeta>) {
        let feed = self.feed;
        self.handle_in(scope, feed, Input::Pod(event));
    }

    pub fn owner_event(&mut self, sort: OwnerSort, event: Event<ObjectMeta>) {
        self.owner_event_in(Scope::default(), sort, event);
    }

    pub fn owner_event_in(&mut self, scope: Scope, sort: OwnerSort, event: Event<ObjectMeta>) {
        let feed = self.feed;
        self.handle_in(scope, feed, Input::Owner(sort, event));
    }

    pub fn pod(&mut self, pod: impl Into<PodMeta>) {
        self.pod_event(Event::Apply(pod.into()));
    }

    pub fn pod_gone(&mut self, uid: &str) {
        self.pod_event(Event::Delete(pod(uid).into()));
    }

    pub fn replica_set(&mut self, name: &str, controller: Option<OwnerRef>) {
        self.owner_event(
            OwnerSort::ReplicaSet,
            Event::Apply(object(name, controller)),
        );
    }

    pub fn owner_gone(&mut self, sort: OwnerSort, name: &str) {
        self.owner_event(sort, Event::Delete(object(name, None)));
    }

    /// A list of pods, from its beginning to its end.
    pub fn list_pods(&mut self, pods: impl IntoIterator<Item = PodMeta>) {
        self.list_pods_in(Scope::default(), pods);
    }

    pub fn list_pods_in(&mut self, scope: Scope, pods: impl IntoIterator<Item = PodMeta>) {
        for event in list_of(pods) {
            self.pod_event_in(scope, event);
        }
    }

    pub fn list_owners(&mut self, sort: OwnerSort, owners: impl IntoIterator<Item = ObjectMeta>) {
        for event in list_of(owners) {
            self.owner_event(sort, event);
        }
    }

    pub fn matcher(&self) -> &Matcher {
        self.core.feeds.active().unwrap()
    }

    pub fn counts(&self) -> k8s_relay::matcher::Counts {
        self.core.feeds.counts()
    }
}

/// The native watches are the active source.
pub fn native(marks: Watermarks) -> Settings {
    Settings {
        active: SourceKind::Native,
        marks,
        ..Settings::default()
    }
}

/// The events of a whole list.
pub fn list_of<T>(objects: impl IntoIterator<Item = T>) -> impl Iterator<Item = Event<T>> {
    let objects = objects.into_iter().map(Event::InitApply);
    [Event::Init]
        .into_iter()
        .chain(objects)
        .chain([Event::InitDone])
}

impl Deref for Native {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl DerefMut for Native {
    fn deref_mut(&mut self) -> &mut Core {
        &mut self.core
    }
}
