//! One native feed that is active all the time, with its lists folded.

use std::time::{Duration, Instant};

use k8s_relay::{
    feeds::{Fact, Fold},
    matcher::{Counts, Marks, Matcher, OwnerSort, Policy, Reannounce, Resume, Telling, Windows},
    model::{Keyed, OwnerMeta, OwnerRef, PodMeta},
};
use kube::runtime::watcher::Event;

use super::core::{Recorder, object, origin, pod, secs};

pub struct Native {
    pub matcher: Matcher,
    pub telling: Telling,
    pub reducer: Recorder,
    pub now: Instant,
    pods: Fold<PodMeta>,
    replica_sets: Fold<OwnerMeta>,
    jobs: Fold<OwnerMeta>,
}

impl Native {
    /// Connected; pods wait a minute for their owners.
    pub fn new(marks: Marks) -> Self {
        Self::telling(Recorder::default(), marks, Policy::native(secs(60)))
    }

    /// The same, and told pods are announced again when they change.
    pub fn reannouncing(marks: Marks) -> Self {
        let reannounce = Reannounce::OnChange;
        let policy = Policy {
            reannounce,
            ..Policy::native(secs(60))
        };
        Self::telling(Recorder::default(), marks, policy)
    }

    pub fn telling(reducer: Recorder, marks: Marks, policy: Policy) -> Self {
        let now = origin();
        let mut native = Self {
            matcher: Matcher::new(policy),
            telling: Telling::new(marks, Windows::default(), now).reannouncing(policy.reannounce),
            reducer,
            now,
            pods: Fold::default(),
            replica_sets: Fold::default(),
            jobs: Fold::default(),
        };
        native.reconnect();
        native
    }

    pub fn reconnect(&mut self) {
        self.disconnect();
        self.connect();
        self.rest();
    }

    pub fn connect(&mut self) {
        self.reducer.link(true);
        self.telling.connected();
    }

    pub fn disconnect(&mut self) {
        self.reducer.link(false);
        self.telling.disconnected();
    }

    pub fn pod_event(&mut self, event: Event<PodMeta>) {
        let Self {
            matcher,
            telling,
            reducer,
            now,
            ..
        } = self;
        let mut tell = |change: k8s_relay::matcher::Change<'_>| {
            telling.change(change, false, *now, reducer);
        };
        self.pods.fold(event, |fact| match fact {
            Fact::Apply(pod) => matcher.apply_pod(pod, *now, &mut tell),
            Fact::Delete(pod) => matcher.delete_pod(pod.uid(), &mut tell),
            Fact::Sweep(keep) => matcher.sweep_pods(|uid| keep.contains(uid), &mut tell),
        });
    }

    pub fn owner_event(&mut self, sort: OwnerSort, event: Event<OwnerMeta>) {
        let Self {
            matcher,
            telling,
            reducer,
            now,
            ..
        } = self;
        let mut tell = |change: k8s_relay::matcher::Change<'_>| {
            telling.change(change, false, *now, reducer);
        };
        let fold = match sort {
            OwnerSort::ReplicaSet => &mut self.replica_sets,
            OwnerSort::Job => &mut self.jobs,
        };
        fold.fold(event, |fact| match fact {
            Fact::Apply(owner) => matcher.apply_owner(sort, &owner, &mut tell),
            Fact::Delete(owner) => matcher.delete_owner(owner.uid(), *now),
            Fact::Sweep(keep) => matcher.sweep_owners(sort, |uid| keep.contains(uid), *now),
        });
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
        self.pod_event(Event::Init);
        for pod in pods {
            self.pod_event(Event::InitApply(pod));
        }
        self.pod_event(Event::InitDone);
    }

    /// Time goes by; whatever becomes due meanwhile is done when it is due.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.timeout();
        }
        self.now = end;
    }

    pub fn timeout(&mut self) {
        let Self {
            matcher,
            telling,
            reducer,
            now,
            ..
        } = self;
        telling.handle_timeout(*now);
        matcher.handle_timeout(*now, &mut |change| {
            telling.change(change, false, *now, reducer);
        });
        let due = self.due();
        assert!(
            due.is_none_or(|due| due > self.now),
            "due for ever: {due:?}"
        );
    }

    fn due(&self) -> Option<Instant> {
        let due = [self.matcher.poll_timeout(), self.telling.poll_timeout()];
        due.into_iter().flatten().min()
    }

    pub fn resume(&mut self) -> Resume {
        let active = Some(&self.matcher);
        self.telling.resume(active, self.now, &mut self.reducer)
    }

    /// The network takes everything, again and again, until nothing is left to tell.
    pub fn rest(&mut self) {
        for _ in 0..10_000 {
            self.reducer.drain(usize::MAX);
            if self.resume() == Resume::Done {
                return;
            }
        }
        panic!("what is to be told has no end");
    }

    pub fn counts(&self) -> Counts {
        self.matcher.counts()
    }

    /// The lines since this was asked the last time.
    pub fn told(&mut self) -> String {
        assert_eq!(self.reducer.complaint(self.telling.ledger()), None);
        self.reducer.take()
    }
}
