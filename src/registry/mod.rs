//! The watches of this process and who uses them: one watch for each kind, however many users.
//!
//! A user subscribes to a kind in a [`Scope`], says what is to be kept of its objects, and has a
//! [`WatchHandle`]; the last handle that is dropped ends the watch, after a while. Stores are
//! written by the watches' own tasks and read by anyone, who waits at most for one event.
//!
//! ```text
//! profiles ─► handles ─► records: users, watches ─► edge: the API server
//!                                                    │ events
//! answers ◄── view ◄── stores ◄── writers ◄──────────┘
//! ```
//!
//! Invariants:
//! - Users are counted by identity. To release one twice is to release it once.
//! - A watch is widened by a second one that lists alongside it into a store of its own. It takes the
//!   place of the first in one step, or fails and leaves everything as it was. What a watch of
//!   before still says is not heard.
//! - More is kept of objects by a list alongside the watch, which replaces them one by one; nothing
//!   is taken out for it.
//! - A kind that is refused, or a server that is away, is a state of that kind, and no error.
//! - The lock of the records is held for no list, no network and no reader.
//!
//! | part | what it is | pure |
//! |---|---|---|
//! | [`Scope`], `area` | what is watched of a kind | yes |
//! | `store`, `writer` | the objects of a kind, and what its watches write | yes |
//! | `record`, `life` | who uses a kind, and by which watches | no |
//! | `view` | how objects are read, `profiles`: whose needs they are | no |
//! | [`Edge`] | the API server, or a test | no |
//! | `keeper` | what is to be done later | no |
//!
//! Absent here: HTTP, JSON, questions and their answers.

mod area;
mod clock;
mod edge;
mod keeper;
mod lending;
mod life;
mod profiles;
mod record;
mod store;
mod view;
mod writer;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

pub use area::Scope;
use clock::Clock;
pub use edge::{Edge, NativeEdge, Task};
pub use lending::Lent;
use record::{Record, UserId};
use store::Store;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
pub use view::RegistryView;

use crate::{
    enrich::{index::Retention, plan::Needs, resource::Resource},
    model::Seed,
};

/// All durations of a registry, and what else differs between processes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a watch outlives its last user.
    pub linger: Duration,
    /// After so long a widening that has failed is tried again.
    pub retry: Duration,
    /// How long deleted objects answer.
    pub retention: Retention,
    /// The namespaces that the relay is limited to; none: all.
    pub namespaces: Vec<String>,
    /// What the hashes of tables depend on.
    pub seed: Seed,
}

/// The watches of this process. A cheap handle; the last one that is dropped ends the watches.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
    _stop: Arc<DropGuard>,
}

/// A use of a kind. Dropping it ends the use.
#[derive(Debug)]
#[must_use = "the watch ends when this is dropped"]
pub struct WatchHandle {
    inner: Arc<Inner>,
    resource: Resource,
    user: UserId,
}

struct Inner {
    stores: Vec<Arc<Store>>,
    state: Mutex<State>,
    edge: Box<dyn Edge>,
    clock: Clock,
    namespaces: Vec<String>,
    retry: Duration,
    changes: watch::Sender<u64>,
    /// Moves when a watch begins, ends, has listed, or fails.
    moves: watch::Sender<u64>,
    /// There is something for the keeper.
    wake: Arc<Notify>,
    tasks: TaskTracker,
    /// Where all tasks run, whoever starts them.
    runtime: Handle,
    stop: CancellationToken,
    numbers: AtomicU64,
}

/// What the lock of the records holds.
struct State {
    records: Vec<Option<Record>>,
    linger: Duration,
    retention: Retention,
    /// The uses of the profiles that are in effect.
    profiles: Vec<(Resource, UserId)>,
    /// The kinds that were watched and are not any more.
    ended: BTreeSet<Resource>,
    stopped: bool,
}

impl Registry {
    /// Nothing is watched yet. The watches run on the runtime that this is called on.
    ///
    /// # Panics
    /// It is called on none.
    pub fn new(settings: Settings, edge: impl Edge) -> Self {
        let Settings {
            linger,
            retry,
            retention,
            namespaces,
            seed,
        } = settings;
        let stores = Resource::ALL.map(|resource| Arc::new(Store::new(resource, seed, retention)));
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            stores: stores.into(),
            state: Mutex::new(State {
                records: Resource::ALL.map(|_| None).into(),
                linger,
                retention,
                profiles: Vec::new(),
                ended: BTreeSet::new(),
                stopped: false,
            }),
            edge: Box::new(edge),
            clock: Clock::begin(),
            namespaces,
            retry,
            changes: watch::channel(0).0,
            moves: watch::channel(0).0,
            wake: Arc::default(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            stop: stop.clone(),
            numbers: AtomicU64::new(1),
        });
        let keeper = keeper::run(Arc::downgrade(&inner));
        let keeper = stop.clone().run_until_cancelled_owned(keeper);
        inner.tasks.spawn_on(keeper, &inner.runtime);
        Self {
            inner,
            _stop: Arc::new(stop.drop_guard()),
        }
    }

    /// Registers a use of a kind. Nothing is asked for until [`WatchHandle::start`].
    pub fn subscribe(
        &self,
        resource: Resource,
        scope: Scope,
        needs: Needs,
        name: &str,
    ) -> WatchHandle {
        let user = self.inner.register(resource, scope, needs, name);
        WatchHandle {
            inner: Arc::clone(&self.inner),
            resource,
            user,
        }
    }

    /// The kinds that have users, or had them a moment ago.
    pub fn kinds(&self) -> Vec<Resource> {
        let state = self.inner.state();
        let is_used = |resource: &Resource| {
            let record = state.record(*resource);
            record.is_some_and(|record| !(record.is_idle() && record.is_lent()))
        };
        Resource::ALL.into_iter().filter(is_used).collect()
    }

    /// Whether the watch of a kind is to be widened for one of its users, and was not yet.
    pub fn is_widening(&self, resource: Resource) -> bool {
        let state = self.inner.state();
        state.record(resource).is_some_and(Record::is_widening)
    }

    /// Ends all watches. Ready when none of their tasks is left.
    pub async fn stop(&self) {
        self.inner.state().stopped = true;
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.edge.close().await;
    }
}

impl WatchHandle {
    /// Asks for the objects, if nobody has yet. Of two that are called one after the other the
    /// first one's list is asked for first.
    pub fn start(&self) {
        self.inner.start(self.resource, self.user);
    }

    /// Waits until the objects are known as far as this use needs them. `false`: that will not be
    /// soon, for the server refuses or fails, or the registry has stopped.
    pub async fn ready(&self) -> bool {
        let mut moves = self.inner.moves.subscribe();
        loop {
            moves.mark_unchanged();
            if let Some(ready) = self.inner.is_ready(self.resource, self.user) {
                return ready;
            }
            tokio::select! {
                changed = moves.changed() => if changed.is_err() { return false },
                () = self.inner.stop.cancelled() => return false,
            }
        }
    }

    /// Ends the use, as dropping the handle does. To do it again does nothing.
    pub fn release(&self) {
        self.inner.release(self.resource, self.user);
    }
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        self.release();
    }
}

impl State {
    fn record(&self, resource: Resource) -> Option<&Record> {
        self.records.get(resource.index())?.as_ref()
    }

    fn slot(&mut self, resource: Resource) -> Option<&mut Option<Record>> {
        self.records.get_mut(resource.index())
    }

    fn record_mut(&mut self, resource: Resource) -> Option<&mut Record> {
        self.slot(resource)?.as_mut()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::indexing_slicing, reason = "one for each resource")]
    fn store(&self, resource: Resource) -> &Arc<Store> {
        &self.stores[resource.index()]
    }

    /// A number that was not given before.
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    /// Says that objects, or what is known of a store, have changed.
    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Says that a watch fares differently.
    fn moved(&self) {
        self.moves.send_modify(|moves| *moves += 1);
        self.changed();
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
