//! A simulated cluster: a Kubernetes API server over real HTTP, for the demo, tests, benches
//! and people.
//!
//! | file | what it is | pure |
//! |---|---|---|
//! | [`objects`] | pods, and the metadata of all other kinds | yes |
//! | [`render`] | their JSON, of realistic size | yes |
//! | [`store`] | the objects under one running version, with a bounded history | yes |
//! | [`query`], [`selector`], [`status`] | what requests ask for, and refusals | yes |
//! | [`scenario`] | a small cluster and a day in its life, for the demo | yes |
//! | [`churn`] | what goes on in a cluster, without end, from a seed | yes |
//! | [`expected_state`] | what a reducer should know, from the objects alone | yes |
//! | [`faults`], [`requests`] | what goes wrong, what was asked | yes |
//! | `leases` | the Leases of replicas, which clients may change | no |
//! | `server`, `answer`, `body` | connections, answers, streams | no |
//! | [`SimApi`] | all of it, as one thing to start and to play with | no |
//!
//! Invariants: what it answers, a real API server of version 1.35 answers, in everything that a
//! list or watch of its kinds uses. It is read-only: objects change by calls of the [`SimApi`].
//! Leases alone are written by clients.
//!
//! ```no_run
//! # async fn example() -> Result<(), k8s_relay::sim::kube::ApiError> {
//! use k8s_relay::{model::Kind, sim::kube::{Fault, Options, Pod, SimApi, When}};
//!
//! let api = SimApi::start(Options::small()).await?;
//! api.apply(Pod::new("shop", "web-1", "uid-1").address("10.0.0.1"));
//! api.fault(When::watch().of(Kind::POD).after(1).times(3), Fault::code(503));
//! # Ok(())
//! # }
//! ```

mod access;
mod answer;
mod body;
pub mod churn;
mod discovery;
pub mod expected_state;
pub mod faults;
mod leases;
pub mod objects;
mod pace;
pub mod query;
pub mod render;
pub mod requests;
pub mod scenario;
pub mod selector;
mod server;
pub mod status;
pub mod store;
mod world;

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex as Lock, PoisonError},
    time::Duration,
};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use serde_json::Value;
use tokio::{sync::Mutex, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    access::Tls,
    render::Renderer,
    server::Server,
    store::key,
    world::{State, World},
};
pub use self::{
    churn::{Churn, Mix, Population},
    expected_state::{ExpectedState, Strictness, View},
    faults::{Cut, Fault, FaultId, When},
    objects::{Container, Meta, Object, Owner, Phase, Pod, Raw, Report},
    render::Sizes,
    requests::{Request, Requests, Sort},
    status::Status,
    store::Store,
};
use super::{
    cluster::{self, Cluster},
    port::Port,
};
use crate::model::{Kind, KindTable};

/// Why a simulated cluster could not start, or give access to itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No certificate could be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// The kubeconfig was not understood.
    #[error("cannot use the kubeconfig")]
    Kubeconfig(#[from] KubeconfigError),
}

/// How a simulated cluster is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Over TLS, with certificates made at the start.
    pub tls: bool,
    /// The bearer token that clients must show.
    pub token: Option<String>,
    /// Whether lists are streamed to who asks (`WatchList`).
    pub watch_list: bool,
    /// What it serves.
    pub kinds: KindTable,
    /// How large objects are.
    pub sizes: Sizes,
    /// So many changes of each kind are remembered; older versions are gone (410).
    pub history: usize,
    /// How often a watch gets a bookmark, if anything has changed.
    pub bookmarks_every: Duration,
}

impl Default for Options {
    /// A cluster of usual size on a free port of this machine, without TLS and token.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: false,
            token: None,
            watch_list: true,
            kinds: KindTable::default(),
            sizes: Sizes::default(),
            history: 100_000,
            bookmarks_every: Duration::from_secs(60),
        }
    }
}

impl Options {
    /// The same with small objects.
    pub fn small() -> Self {
        Self {
            sizes: Sizes::SMALL,
            ..Self::default()
        }
    }
}

/// A simulated cluster that is being served.
///
/// Dropping it ends its tasks too, but does not wait for them.
pub struct SimApi {
    port: Port,
    tls: Option<Tls>,
    world: Arc<World>,
    churn: Arc<Lock<Option<Churn>>>,
    churning: Lock<CancellationToken>,
    accepting: Mutex<Option<Accepting>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Ends the connections that are open; another one for those that come after.
    cut: Arc<Lock<CancellationToken>>,
}

struct Accepting {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl SimApi {
    /// Serves an empty cluster.
    ///
    /// # Errors
    /// The address cannot be listened on, or a certificate not be made.
    pub async fn start(options: Options) -> Result<Self, ApiError> {
        let Options { listen: addr, .. } = options;
        let port = Port::take(addr).map_err(|source| ApiError::Listen { addr, source })?;
        let tls = options.tls.then(|| Tls::make(port.addr())).transpose()?;
        let state = State {
            store: Store::of(options.kinds.clone(), options.history),
            plan: faults::Plan::default(),
            requests: Requests::default(),
            leases: leases::Leases::default(),
            denied: BTreeSet::new(),
            watch_list: options.watch_list,
            token: options.token,
            bookmark_round: 0,
            end_round: 0,
        };
        let renderer = Renderer::new(options.kinds, options.sizes);
        let api = Self {
            port,
            tls,
            world: Arc::new(World::new(state, renderer, options.bookmarks_every)),
            churn: Arc::default(),
            churning: Lock::default(),
            accepting: Mutex::new(None),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            cut: Arc::default(),
        };
        api.start_listening().await?;
        Ok(api)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// A kubeconfig for it, as a file would have it: JSON, which is YAML too.
    pub fn kubeconfig(&self) -> Value {
        let authority = self.tls.as_ref().map(|tls| &*tls.authority);
        let token = self.world.lock().token.clone();
        access::kubeconfig(self.addr(), authority, token.as_deref())
    }

    /// The settings of a client, from that kubeconfig.
    ///
    /// # Errors
    /// Never, unless the kubeconfig is wrong.
    pub async fn config(&self) -> Result<kube::Config, ApiError> {
        let kubeconfig = Kubeconfig::from_yaml(&self.kubeconfig().to_string())?;
        let options = KubeConfigOptions::default();
        Ok(kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?)
    }

    // === what is in the cluster ===

    /// Looks at the objects, and changes them; watches see all of it at once afterwards.
    pub fn change<R>(&self, change: impl FnOnce(&mut Store) -> R) -> R {
        self.world.change(|state| change(&mut state.store))
    }

    /// Adds or replaces an object. Says the version that this made.
    pub fn apply(&self, object: impl Into<Object>) -> u64 {
        self.change(|store| store.apply(object))
    }

    /// Deletes an object; `None` if there is none.
    pub fn delete(&self, kind: Kind, namespace: &str, name: &str) -> Option<u64> {
        self.change(|store| store.delete(kind, &key(namespace, name)))
    }

    /// Adds everything of a synthetic cluster: the same uids, names and images.
    pub fn populate(&self, cluster: &Cluster) {
        self.change(|store| populate(store, cluster));
    }

    /// Fills the cluster with those who live in it; nothing happens to them yet.
    pub fn begin(&self, population: Population, mix: Mix) {
        let churn = self.change(|store| Churn::begin(population, mix, store));
        *self.churn.lock().unwrap_or_else(PoisonError::into_inner) = Some(churn);
    }

    /// Lets so many things happen at once, to those with whom the cluster was filled. Says how
    /// many did: none if nobody lives there.
    pub fn live(&self, steps: usize) -> usize {
        pace::live(&self.world, &self.churn, steps)
    }

    /// Lets so many things happen each second from now on; 0 stops it.
    pub fn churn(&self, per_second: u32) {
        let mut churning = self.churning.lock().unwrap_or_else(PoisonError::into_inner);
        churning.cancel();
        *churning = self.stop.child_token();
        if per_second > 0 {
            let stopped = churning.clone().cancelled_owned();
            let (world, churn) = (Arc::clone(&self.world), Arc::clone(&self.churn));
            self.tasks.spawn(async move {
                tokio::select! {
                    () = pace::run(&world, &churn, per_second) => {}
                    () = stopped => {}
                }
            });
        }
    }

    /// The version of the newest change.
    pub fn version(&self) -> u64 {
        self.world.lock().store.version()
    }

    /// What a reducer should know.
    pub fn expected_state(&self, view: View) -> ExpectedState {
        ExpectedState::of(&self.world.lock().store, view)
    }

    // === Leases ===

    /// A Lease as it is now.
    pub fn lease(&self, namespace: &str, name: &str) -> Option<Value> {
        self.world.lock().leases.get(namespace, name).cloned()
    }

    /// Changes a Lease as somebody with `kubectl edit` does; whether there is one.
    pub fn edit_lease(&self, namespace: &str, name: &str, edit: impl FnOnce(&mut Value)) -> bool {
        let change = |state: &mut State| state.leases.edit(namespace, name, edit);
        self.world.change(change)
    }

    /// Deletes a Lease; whether there was one.
    pub fn delete_lease(&self, namespace: &str, name: &str) -> bool {
        self.world
            .change(|state| state.leases.delete(namespace, name))
    }

    /// Refuses every request about Leases from now on, and ends their watches; or no more.
    pub fn refuse_leases(&self, away: bool) {
        self.world.change(|state| state.leases.away = away);
    }

    /// Waits until a Lease is so. It is looked at at once and after each change.
    pub async fn lease_until(
        &self,
        namespace: &str,
        name: &str,
        mut is: impl FnMut(Option<&Value>) -> bool,
    ) {
        let mut changes = self.world.changes();
        loop {
            changes.borrow_and_update();
            if is(self.lease(namespace, name).as_ref()) {
                return;
            }
            // Whoever changes it next is this server.
            let _ = changes.changed().await;
        }
    }

    // === how it is served ===

    /// Scripts a fault. Of several that hit a request the oldest counts.
    pub fn fault(&self, when: When, fault: Fault) -> FaultId {
        self.world.lock().plan.add(when, fault)
    }

    /// Ends a fault.
    pub fn cancel(&self, fault: FaultId) {
        self.world.lock().plan.cancel(fault);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.world.lock().plan.clear();
    }

    /// RBAC denies this kind from now on; open watches go on, as with the real server.
    pub fn deny(&self, kind: Kind) {
        self.world.lock().denied.insert(kind);
    }

    /// RBAC allows this kind again.
    pub fn allow(&self, kind: Kind) {
        self.world.lock().denied.remove(&kind);
    }

    /// Whether lists are streamed from now on.
    pub fn set_watch_list(&self, on: bool) {
        self.world.lock().watch_list = on;
    }

    /// The only token that is let in from now on; `None` lets everybody in.
    pub fn set_token(&self, token: Option<&str>) {
        self.world.lock().token = token.map(str::to_owned);
    }

    /// Forgets all history: a watch, list or page from an older version gets 410.
    pub fn compact(&self) {
        self.change(Store::compact);
    }

    /// Goes back to a lower version, as an etcd that was restored. All watches end.
    pub fn reset_to_version(&self, version: u64) {
        self.world.change(|state| {
            state.store.reset_to_version(version);
            state.end_round += 1;
        });
    }

    /// Sends a bookmark over each open watch that wants any and has something new to send.
    pub fn send_bookmarks(&self) {
        self.world.change(|state| state.bookmark_round += 1);
    }

    /// Ends all watches in an orderly way.
    pub fn end_watches(&self) {
        self.world.change(|state| state.end_round += 1);
    }

    /// Resets all open connections (RST).
    pub fn reset_connections(&self) {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *cut).cancel();
    }

    /// Refuses new connections from now on; open ones stay.
    pub async fn stop_listening(&self) {
        if let Some(accepting) = self.accepting.lock().await.take() {
            accepting.stop.cancel();
            // A panic in there has been printed, and nothing depends on its end.
            let _ = accepting.task.await;
        }
    }

    /// Accepts connections again, on the same port.
    ///
    /// # Errors
    /// The port cannot be listened on.
    pub async fn start_listening(&self) -> Result<(), ApiError> {
        let mut accepting = self.accepting.lock().await;
        if accepting.is_none() {
            let addr = self.addr();
            let listener = self.port.listen(None);
            let listener = listener.map_err(|source| ApiError::Listen { addr, source })?;
            let stop = self.stop.child_token();
            let stopped = stop.clone().cancelled_owned();
            let server = Server {
                world: Arc::clone(&self.world),
                tls: self.tls.as_ref().map(|tls| tls.acceptor.clone()),
                tasks: self.tasks.clone(),
                stop: self.stop.clone(),
                cut: Arc::clone(&self.cut),
            };
            let task = self.tasks.spawn(async move {
                tokio::select! { () = server.accept(listener) => {} () = stopped => {} }
            });
            *accepting = Some(Accepting { task, stop });
        }
        Ok(())
    }

    // === what was asked ===

    /// Looks at the book of requests.
    pub fn requests<R>(&self, look: impl FnOnce(&Requests) -> R) -> R {
        look(&self.world.lock().requests)
    }

    /// Waits until `done` says so of the book of requests; it is asked at once and after each
    /// change.
    pub async fn wait_until(&self, done: impl FnMut(&Requests) -> bool) {
        self.world.wait_until(done).await;
    }

    /// Ends everything, waits for every task and returns what was asked.
    pub async fn shutdown(self) -> Requests {
        self.stop_listening().await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        std::mem::take(&mut self.world.lock().requests)
    }
}

impl Drop for SimApi {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Adds everything of a synthetic cluster to a store.
pub fn populate(store: &mut Store, shape: &Cluster) {
    for number in 0..shape.replica_sets {
        let (namespace, name) = (
            cluster::namespace(number),
            cluster::replica_set_name(number),
        );
        let set = Object::from_info(&shape.replica_set(number), &namespace, &name);
        set.map(|set| store.apply(set));
    }
    for number in 0..shape.pods {
        let pod = Object::from_info(&shape.pod(number), "", "");
        pod.map(|pod| store.apply(pod));
    }
}
