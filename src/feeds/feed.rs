//! One feed: its stores, its matcher, and whether it is synced (D4).

use std::time::{Duration, Instant};

use kube::runtime::watcher::Event;

use super::{DirtyPods, Input, SourceKind};
use crate::{
    announce::{Announcer, Move, Sink},
    matcher::{Change, Matcher, OwnerSort, Policy},
    model::{HasUid, Kind, ObjectMeta, PerKind, PodMeta, Scope},
    stores::{Applied, Difference, StoreWriter, Stores},
};

#[derive(Debug)]
pub(super) struct Feed {
    /// Where it comes from.
    pub(super) source: SourceKind,
    pub(super) matcher: Matcher,
    pub(super) state: FeedState,
    /// Its first lists are complete.
    pub(super) synced: bool,
    pub(super) opened_at: Instant,
    pub(super) pods: StoreWriter<PodMeta>,
    owners: PerKind<StoreWriter<ObjectMeta>>,
    /// `None` if there was none yet.
    pub(super) last_event: Option<Instant>,
    /// It has sent a pod.
    pub(super) has_sent_pods: bool,
    /// Events so far.
    pub(super) events: u64,
    /// Of a stream that is not active: how many of the vouched pods it has live (`overlap.rs`).
    pub(super) shared: usize,
    /// By the clock, when it was synced.
    pub(super) synced_at: Duration,
    /// By the clock, when it was heard last, or opened.
    pub(super) heard_at: Duration,
    /// By the clock, since when the leading stream is silent while this one speaks.
    pub(super) ahead_since: Option<Duration>,
    /// Until then it is not believed to know all there is, synced or not.
    pub(super) doubted_until: Option<Instant>,
    /// By the clock, since when it shares less than half of its pods with the active stream.
    pub(super) disagrees_since: Option<Duration>,
    /// It has done so for long enough to say so.
    pub(super) disagrees: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FeedState {
    /// Its source speaks.
    Open,
    /// The guard rail has ended it; what its source still says is not heard.
    Overflowed,
    /// Its source is gone; only the active feed is kept in this state.
    Ended,
}

/// Takes what changes in a feed, and has it announced if that feed is the active one.
pub(super) struct EventContext<'a, S> {
    /// `None` for a shadow.
    pub(super) announcer: Option<&'a mut Announcer>,
    /// `None` for a feed that is not compared.
    pub(super) dirty_pods: Option<&'a mut DirtyPods>,
    /// What comes to be live and no longer is, of a standby whose pods are counted.
    pub(super) moves: Option<&'a mut Vec<Move>>,
    pub(super) source: SourceKind,
    pub(super) sink: &'a mut S,
    pub(super) now: Instant,
    pub(super) relist_resync: bool,
}

impl Feed {
    /// `scopes`: how many lists of each kind make it synced. `counted`: what the clock shows.
    pub(super) fn new(
        source: SourceKind,
        policy: Policy,
        scopes: u16,
        counted: Duration,
        now: Instant,
    ) -> Self {
        Self {
            source,
            matcher: Matcher::new(policy),
            state: FeedState::Open,
            synced: false,
            opened_at: now,
            pods: StoreWriter::new(scopes, policy.seed),
            owners: PerKind::only(&Kind::OWNERS, |_| StoreWriter::new(scopes, policy.seed)),
            last_event: None,
            has_sent_pods: false,
            events: 0,
            shared: 0,
            synced_at: counted,
            heard_at: counted,
            ahead_since: None,
            doubted_until: None,
            disagrees_since: None,
            disagrees: false,
        }
    }

    /// Where its objects are read.
    pub(super) fn objects(&self) -> Stores {
        Stores {
            pods: self.pods.store().clone(),
            owners: self.owners.map(|store| store.store().clone()),
        }
    }

    /// Takes an event into its store, then what it changes into the matcher.
    /// Returns whether the guard rail was met.
    pub(super) fn take(
        &mut self,
        scope: Scope,
        input: Input,
        mut context: EventContext<'_, impl Sink>,
    ) -> bool {
        if !matches!(input, Input::Listed) {
            self.last_event = Some(context.now);
            self.events += 1;
        }
        let overflow = match input {
            Input::Pod(event) => {
                self.has_sent_pods = true;
                self.take_pod(scope, event, &mut context)
            }
            Input::Owner(sort, event) => {
                self.take_owner(scope, sort, event, &mut context);
                false
            }
            Input::Seen(kind, uid) => {
                if kind == Kind::POD {
                    self.pods.seen(scope, &uid);
                } else if let Some(owners) = self.owners.get_mut(kind) {
                    owners.seen(scope, &uid);
                }
                false
            }
            Input::Listed => {
                self.synced = true;
                false
            }
        };
        self.note_synced();
        if overflow {
            self.state = FeedState::Overflowed;
        }
        overflow
    }

    /// This watch is refused: see [`StoreWriter::denied`].
    pub(super) fn denied(&mut self, kind: Kind, scope: Scope) {
        if kind == Kind::POD {
            self.pods.denied(scope);
        } else if let Some(owners) = self.owners.get_mut(kind) {
            owners.denied(scope);
        }
        self.note_synced();
    }

    /// Does what is due in the matcher.
    pub(super) fn handle_timeout(&mut self, mut context: EventContext<'_, impl Sink>) {
        let repeat = self.matcher.policy().repeat_containers;
        if let Some(announcer) = &mut context.announcer {
            // Pods of one list stop waiting in one go.
            announcer.begin_bulk();
        }
        self.matcher.handle_timeout(context.now, &mut |change| {
            context.change(change, repeat);
        });
    }

    /// Whether it is an open stream that has sent no pod and is not synced.
    pub(super) fn lacks_pods(&self) -> bool {
        let is_stream = self.source == SourceKind::Collect && self.state == FeedState::Open;
        is_stream && !self.synced && !self.has_sent_pods
    }

    fn take_pod(
        &mut self,
        scope: Scope,
        event: Event<PodMeta>,
        context: &mut EventContext<'_, impl Sink>,
    ) -> bool {
        let (matcher, now) = (&mut self.matcher, context.now);
        let repeat = matcher.policy().repeat_containers;
        context.expect(&event);
        let taken = self.pods.take(scope, event);
        if let Applied::Listed(Difference { relist: true, .. }) = taken {
            context.pods_are_relisted();
        }
        context.touch(&taken);
        let mut overflow = false;
        let mut on_change = |change: Change<'_>| {
            overflow |= matches!(change, Change::Overflow);
            context.change(change, repeat);
        };
        match taken {
            Applied::Nothing => {}
            // Only a legacy feed sends anything for an event that changes nothing (D10).
            Applied::Same(pod) | Applied::Refreshed(pod) if repeat => {
                matcher.apply_pod(pod, now, &mut on_change);
            }
            Applied::Same(_) => {}
            Applied::Refreshed(pod) => matcher.refresh(pod),
            Applied::Changed(pod) => matcher.apply_pod(pod, now, &mut on_change),
            Applied::Gone(pod) => matcher.delete_pod(pod.uid(), &mut on_change),
            Applied::Listed(difference) => {
                for pod in difference.gone {
                    matcher.delete_pod(pod.uid(), &mut on_change);
                }
                for pod in difference.changed {
                    matcher.apply_pod(pod, now, &mut on_change);
                }
            }
        }
        overflow
    }

    fn take_owner(
        &mut self,
        scope: Scope,
        sort: OwnerSort,
        event: Event<ObjectMeta>,
        context: &mut EventContext<'_, impl Sink>,
    ) {
        let (matcher, now) = (&mut self.matcher, context.now);
        let repeat = matcher.policy().repeat_containers;
        context.expect(&event);
        let mut elsewhere = false;
        let mut on_change = |change: Change<'_>| context.change(change, repeat);
        #[expect(clippy::indexing_slicing, reason = "each kind of owner has its store")]
        let store = &mut self.owners[sort.kind()];
        match store.take(scope, event) {
            Applied::Nothing | Applied::Same(_) => {}
            Applied::Refreshed(owner) => matcher.refresh_owner(owner),
            Applied::Changed(owner) => elsewhere = matcher.apply_owner(&owner, &mut on_change),
            Applied::Gone(owner) => matcher.delete_owner(owner.uid(), now),
            Applied::Listed(difference) => {
                for owner in difference.gone {
                    matcher.delete_owner(owner.uid(), now);
                }
                for owner in difference.changed {
                    elsewhere |= matcher.apply_owner(&owner, &mut on_change);
                }
            }
        }
        if let Some(dirty_pods) = context.dirty_pods.as_mut().filter(|_| elsewhere) {
            dirty_pods.all();
        }
    }

    fn note_synced(&mut self) {
        self.synced |= self.pods.is_listed() && self.owners.values().all(StoreWriter::is_listed);
    }
}

impl<S: Sink> EventContext<'_, S> {
    fn change(&mut self, change: Change<'_>, repeat: bool) {
        if let Some(dirty_pods) = &mut self.dirty_pods {
            dirty_pods.change(&change, self.source);
        }
        if let Some(moves) = &mut self.moves {
            moves.extend(Move::of(&change));
        }
        if let Some(announcer) = &mut self.announcer {
            announcer.change(change, repeat, self.now, self.sink);
        }
    }

    /// Notes the pods of which the store has something new, whatever the matcher makes of it.
    fn touch(&mut self, taken: &Applied<PodMeta>) {
        let Some(dirty_pods) = &mut self.dirty_pods else {
            return;
        };
        match taken {
            Applied::Nothing | Applied::Same(_) | Applied::Refreshed(_) => {}
            Applied::Changed(pod) | Applied::Gone(pod) => dirty_pods.pod(&pod.uid, self.source),
            Applied::Listed(difference) => {
                for pod in difference.gone.iter().chain(&difference.changed) {
                    dirty_pods.pod(&pod.uid, self.source);
                }
            }
        }
    }

    /// A list may bring more than there is room for at once.
    fn expect<T>(&mut self, event: &Event<T>) {
        let of_list = matches!(event, Event::InitApply(_) | Event::InitDone);
        if let Some(announcer) = self.announcer.as_mut().filter(|_| of_list) {
            announcer.begin_bulk();
        }
    }

    fn pods_are_relisted(&mut self) {
        if let Some(announcer) = self.announcer.as_mut().filter(|_| self.relist_resync) {
            announcer.owe_resync();
        }
    }
}
