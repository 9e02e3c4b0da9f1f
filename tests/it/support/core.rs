//! Pods and owners in few words, a sink that remembers, and the core with a hand-moved clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use k8s_relay::{
    announce::{CatchUp, Epoch, Ledger, Sink, fields_hash},
    feeds::{Feeds, Handover, Input, Settings},
    matcher::{Generation, Live, OwnerSort},
    model::{
        ContainerId, ContainerMeta, Controller, ObjectMeta, Owner, OwnerKind, OwnerRef, Pod,
        PodMeta, Scope, Seed, Slot, Uid,
    },
};
use kube::runtime::watcher::Event;

use super::wired::{Row, Wired};

// --- objects ---

/// A pod with an address, without owner and containers; its uid is its name.
pub fn pod(name: &str) -> PodDraft {
    PodDraft(Pod {
        uid: Uid::new(name),
        name: name.into(),
        namespace: "shop".into(),
        version: "1".into(),
        owner: None,
        address: Some([10, 0, 0, 1].into()),
        host_network: false,
        containers: [].into(),
        auxiliary: 0,
    })
}

#[derive(Clone, Debug)]
pub struct PodDraft(pub Pod);

impl PodDraft {
    pub fn without_address(mut self) -> Self {
        self.0.address = None;
        self
    }

    pub fn owned_by(mut self, owner: OwnerRef) -> Self {
        self.0.owner = Some(owner);
        self
    }

    pub fn version(mut self, version: &str) -> Self {
        self.0.version = version.into();
        self
    }

    pub fn address(mut self, last: u8) -> Self {
        self.0.address = Some([10, 0, 0, last].into());
        self
    }

    pub fn running(mut self, containers: &[&str]) -> Self {
        self.0.containers = containers.iter().map(|id| container(id)).collect();
        self
    }

    /// The image of all its containers.
    pub fn image(mut self, image: &str) -> Self {
        for container in &mut self.0.containers {
            container.image = image.into();
        }
        self
    }
}

impl From<PodDraft> for PodMeta {
    fn from(draft: PodDraft) -> Self {
        Self::new(draft.0)
    }
}

pub fn container(id: &str) -> ContainerMeta {
    ContainerMeta {
        id: ContainerId::new(id),
        name: id.into(),
        image: NGINX.into(),
    }
}

/// The image of containers of which nothing else is said.
const NGINX: &str = "nginx:1";

/// A reference to an owner of this kind; its uid is its name.
pub fn a(kind: OwnerKind, name: &str) -> OwnerRef {
    OwnerRef::new(Controller {
        uid: Uid::new(name),
        name: name.into(),
        kind,
        custom: false,
    })
}

/// The same kind text of another API group; its uid is its name.
pub fn custom(kind: OwnerKind, name: &str) -> OwnerRef {
    OwnerRef::new(Controller {
        custom: true,
        ..Controller::clone(&a(kind, name))
    })
}

pub fn replica_set(name: &str) -> OwnerRef {
    a(OwnerKind::ReplicaSet, name)
}

pub fn job(name: &str) -> OwnerRef {
    a(OwnerKind::Job, name)
}

pub fn deployment(name: &str) -> OwnerRef {
    a(OwnerKind::Deployment, name)
}

/// The object behind a reference, and who controls it.
pub fn object(name: &str, controller: Option<OwnerRef>) -> ObjectMeta {
    ObjectMeta::new(Owner {
        uid: Uid::new(name),
        controller,
    })
}

// --- the sink ---

/// Bytes that each message counts for in [`Recorder::queued`].
pub const MESSAGE: usize = 100;

/// Takes what is sent to the reducer: as lines, as a reducer state, and with what is wrong about
/// it.
#[derive(Default)]
pub struct Recorder {
    pub lines: Vec<String>,
    pub reducer_state: ReducerState,
    pub queued: usize,
    pub connected: bool,
    /// How often a pod was announced that the reducer had.
    pub announced_again: u64,
    pub resyncs: u64,
    pub wrong: Vec<String>,
    epoch: Option<Epoch>,
    /// Where everything goes as well, if it does; its bytes count then.
    wired: Option<Wired>,
}

/// What the reducer knows (protocol 11): each pod as last announced, with the containers it has seen.
#[derive(Clone, Debug, Default)]
pub struct ReducerState {
    pub pods: BTreeMap<Uid, Pictured>,
}

#[derive(Clone, Debug)]
pub struct Pictured {
    pub pod: PodMeta,
    pub owner: Option<OwnerRef>,
    /// Each as it was sent first: the reducer ignores an id that it has seen.
    pub containers: BTreeMap<ContainerId, ContainerMeta>,
}

impl Pictured {
    pub fn fields(&self) -> u64 {
        self.fields_under(Seed::FIXED)
    }

    fn fields_under(&self, seed: Seed) -> u64 {
        let live = Live {
            slot: Slot::FIRST,
            pod: &self.pod,
            owner: self.owner.as_ref(),
        };
        fields_hash(&live, seed)
    }
}

impl ReducerState {
    pub fn uids(&self) -> BTreeSet<Uid> {
        self.pods.keys().cloned().collect()
    }

    /// What differs between this and the fold of the ledger.
    pub fn differs_from(&self, ledger: &Ledger) -> Option<String> {
        let sent: BTreeMap<_, _> = ledger.iter().map(|sent| (sent.uid.clone(), sent)).collect();
        if !sent.keys().eq(self.pods.keys()) {
            let sent: Vec<_> = sent.keys().collect();
            return Some(format!("ledger {sent:?}, reducer {:?}", self.uids()));
        }
        self.pods.iter().find_map(|(uid, known)| {
            let sent = sent[uid];
            let same_containers = sent.containers() == known.containers.len()
                && known.containers.values().all(|one| ledger.has(uid, one));
            let same = sent.fields == known.fields_under(ledger.seed()) && same_containers;
            (!same).then(|| format!("{sent:?} and {known:?}"))
        })
    }
}

impl Recorder {
    /// Everything goes through outbox, bytes and reader as well, and their bytes count.
    pub fn wired() -> Self {
        Self {
            wired: Some(Wired::new()),
            ..Self::default()
        }
    }

    /// What is wrong: each complaint, and how the states differ from each other.
    pub fn complaint(&mut self, ledger: &Ledger) -> Option<String> {
        if let Some(wrong) = self.wrong.first() {
            return Some(wrong.clone());
        }
        let wanted = || self.reducer_state.pods.values().map(Row::of);
        if let Some(wired) = &mut self.wired {
            let pictured = wired.pictured();
            if !pictured.iter().eq(wanted().collect::<Vec<_>>().iter()) {
                return Some(format!("on the wire: {pictured:?}"));
            }
        }
        self.reducer_state.differs_from(ledger)
    }

    /// The connection is there or gone; either way the reducer knows nothing.
    pub fn link(&mut self, connected: bool) {
        if let Some(wired) = &mut self.wired {
            wired.link(connected);
        }
        self.connected = connected;
        self.reducer_state.pods.clear();
        self.queued = 0;
    }

    pub fn drain(&mut self, bytes: usize) {
        self.queued = self.queued.saturating_sub(bytes);
        if let Some(wired) = &mut self.wired {
            wired.drain(bytes);
        }
    }

    /// The lines since this was asked the last time.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.lines).join("\n")
    }

    fn message(&mut self, line: String) {
        if !self.connected {
            self.wrong
                .push(format!("sent without a connection: {line}"));
        }
        self.queued += MESSAGE;
        self.lines.push(line);
    }

    fn announce(&mut self, pod: &PodMeta, owner: Option<&OwnerRef>) {
        if pod.address.is_none() {
            self.wrong
                .push(format!("announced without address: {pod:?}"));
        }
        let known = self.reducer_state.pods.remove(&pod.uid);
        self.announced_again += u64::from(known.is_some());
        let pictured = Pictured {
            pod: pod.clone(),
            owner: owner.cloned(),
            containers: known.map(|known| known.containers).unwrap_or_default(),
        };
        self.reducer_state.pods.insert(pod.uid.clone(), pictured);
    }
}

impl Sink for Recorder {
    fn queued(&self) -> usize {
        self.wired.as_ref().map_or(self.queued, Wired::queued)
    }

    fn pod_new(&mut self, pod: &PodMeta, owner: &OwnerRef) {
        if let Some(wired) = &mut self.wired {
            wired.outbox.pod_new(pod, owner);
        }
        let (kind, name) = (owner.kind.as_str(), &owner.name);
        self.message(format!(
            "pod_new {} v{} {kind}/{name}",
            pod.uid, pod.version
        ));
        self.announce(pod, Some(owner));
    }

    fn pod_new_no_owner(&mut self, pod: &PodMeta) {
        if let Some(wired) = &mut self.wired {
            wired.outbox.pod_new_no_owner(pod);
        }
        self.message(format!("pod_new {} v{}", pod.uid, pod.version));
        self.announce(pod, None);
    }

    fn pod_container(&mut self, pod: &Uid, container: &ContainerMeta) {
        if let Some(wired) = &mut self.wired {
            wired.outbox.pod_container(pod, container);
        }
        let image = match &*container.image {
            NGINX => String::new(),
            other => format!(" {other}"),
        };
        self.message(format!("pod_container {pod} {}{image}", container.id));
        match self.reducer_state.pods.get_mut(pod) {
            Some(known) => {
                let id = container.id.clone();
                known
                    .containers
                    .entry(id)
                    .or_insert_with(|| container.clone());
            }
            None => self
                .wrong
                .push(format!("container of an unknown pod: {pod}")),
        }
    }

    fn pod_delete(&mut self, pod: &Uid) {
        if let Some(wired) = &mut self.wired {
            wired.outbox.pod_delete(pod);
        }
        self.message(format!("pod_delete {pod}"));
        if self.reducer_state.pods.remove(pod).is_none() {
            self.wrong.push(format!("delete of an unknown pod: {pod}"));
        }
    }

    fn pod_resync(&mut self, epoch: Epoch) {
        if let Some(wired) = &mut self.wired {
            wired.outbox.pod_resync(epoch);
        }
        self.message(format!("pod_resync {}", epoch.0));
        if self.epoch.is_some_and(|before| before >= epoch) {
            self.wrong.push(format!("{epoch:?} after {:?}", self.epoch));
        }
        self.epoch = Some(epoch);
        self.resyncs += 1;
        self.reducer_state.pods.clear();
    }
}

// --- the core ---

/// The feeds, the reducer and a clock.
pub struct Core {
    pub feeds: Feeds,
    pub reducer: Recorder,
    pub start: Instant,
    pub now: Instant,
}

impl Core {
    /// Connected, without any feed.
    pub fn new(settings: Settings) -> Self {
        let mut core = Self::offline(settings);
        core.connect();
        core
    }

    pub fn offline(settings: Settings) -> Self {
        Self::with(Recorder::default(), settings)
    }

    /// Not connected yet.
    pub fn with(reducer: Recorder, settings: Settings) -> Self {
        let start = origin();
        Self {
            feeds: Feeds::new(settings, start),
            reducer,
            start,
            now: start,
        }
    }

    pub fn open(&mut self) -> Generation {
        self.feeds.open(self.now, &mut self.reducer)
    }

    pub fn close(&mut self, feed: Generation) {
        self.feeds.close(feed, self.now);
        self.resume();
    }

    pub fn handle(&mut self, feed: Generation, input: Input) {
        self.handle_in(Scope::default(), feed, input);
    }

    pub fn handle_in(&mut self, scope: Scope, feed: Generation, input: Input) {
        let is_full = self
            .feeds
            .handle(feed, scope, input, self.now, &mut self.reducer);
        if is_full {
            self.reducer.lines.push(format!("feed_overflow {}", feed.0));
        }
    }

    pub fn pod(&mut self, feed: Generation, pod: impl Into<PodMeta>) {
        self.handle(feed, Input::Pod(Event::Apply(pod.into())));
    }

    pub fn pod_gone(&mut self, feed: Generation, uid: &str) {
        self.handle(feed, Input::Pod(Event::Delete(pod(uid).into())));
    }

    pub fn replica_set(&mut self, feed: Generation, name: &str, controller: Option<OwnerRef>) {
        self.owner(feed, OwnerSort::ReplicaSet, object(name, controller));
    }

    pub fn owner(&mut self, feed: Generation, sort: OwnerSort, owner: ObjectMeta) {
        self.handle(feed, Input::Owner(sort, Event::Apply(owner)));
    }

    pub fn owner_gone(&mut self, feed: Generation, sort: OwnerSort, uid: &str) {
        self.handle(feed, Input::Owner(sort, Event::Delete(object(uid, None))));
    }

    pub fn listed(&mut self, feed: Generation) {
        self.handle(feed, Input::Listed);
    }

    /// Returns whether the streams are to be reset.
    pub fn connect(&mut self) -> bool {
        self.reducer.link(true);
        self.feeds.connected(self.now, &mut self.reducer)
    }

    pub fn disconnect(&mut self) {
        self.reducer.link(false);
        self.feeds.disconnected();
    }

    pub fn resume(&mut self) -> CatchUp {
        self.feeds.resume(self.now, &mut self.reducer)
    }

    /// The network takes everything, again and again, until nothing is left to announce.
    pub fn rest(&mut self) {
        for _ in 0..10_000 {
            self.reducer.drain(usize::MAX);
            if self.resume() == CatchUp::Done {
                return;
            }
        }
        panic!("what is to be sent has no end");
    }

    /// Time goes by; whatever becomes due meanwhile is done when it is due.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.feeds.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.timeout();
        }
        self.now = end;
    }

    pub fn timeout(&mut self) {
        self.feeds.handle_timeout(self.now, &mut self.reducer);
        let due = self.feeds.poll_timeout();
        assert!(
            due.is_none_or(|due| due > self.now),
            "due without end: {due:?}"
        );
    }

    /// The lines since this was asked the last time.
    pub fn sent(&mut self) -> String {
        assert_eq!(self.reducer.complaint(self.feeds.ledger()), None);
        self.reducer.take()
    }
}

/// Streams follow each other as in the legacy relay.
pub fn legacy() -> Settings {
    Settings {
        handover: Handover::Legacy,
        ..Settings::default()
    }
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Some instant. Nothing depends on which.
#[allow(clippy::disallowed_methods)]
pub fn origin() -> Instant {
    Instant::now()
}
