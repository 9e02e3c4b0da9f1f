//! The API server of the benches: the simulated one, with a large cluster that changes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use k8s_relay::{
    model::Kind,
    sim::{
        cluster::Cluster,
        kube::{
            Meta, Object, Options, Report, Requests, SimApi, Store,
            store::{Key, key},
        },
    },
};
use tokio::runtime::{self, Runtime};

/// Changes of each kind that a watch may be late.
const HISTORY: usize = 300_000;

/// Longer than any bench: a version that only a bookmark could carry is old.
const NO_BOOKMARKS: Duration = Duration::from_secs(24 * 3_600);

/// An API server on threads of its own, and its cluster: pods are numbered, and the oldest
/// ones are deleted first.
pub struct ApiServer {
    api: SimApi,
    kubeconfig: PathBuf,
    cluster: Cluster,
    oldest: u32,
    next: u32,
    /// Jobs that were added to nobody's interest.
    jobs: u32,
    /// So many events were made.
    events: u32,
    runtime: Runtime,
}

/// A change of the cluster.
pub enum Change {
    /// An update of a pod, in nothing that the relay needs.
    Touch(Key),
    /// A pod's first container runs again, under this id.
    Restart(Key, String),
    /// A pod goes.
    Delete(Key),
    /// A pod comes.
    Add(Box<Object>),
}

impl ApiServer {
    /// Starts one with this cluster.
    pub fn start(cluster: Cluster) -> Self {
        let mut runtime = runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        let options = Options {
            history: HISTORY,
            bookmarks_every: NO_BOOKMARKS,
            ..Options::default()
        };
        let api = runtime.block_on(SimApi::start(options)).unwrap();
        api.populate(&cluster);
        let file = format!("k8s-relay-bench-{}.kubeconfig", api.addr().port());
        let kubeconfig = env::temp_dir().join(file);
        fs::write(&kubeconfig, api.kubeconfig().to_string()).unwrap();
        Self {
            api,
            kubeconfig,
            cluster,
            oldest: 0,
            next: cluster.pods,
            jobs: 0,
            events: 0,
            runtime,
        }
    }

    /// How to reach it.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Bytes of all bodies so far.
    pub fn body_bytes(&self) -> u64 {
        self.api.requests(|book| book.body_bytes)
    }

    /// Objects of a complete list of all kinds, and the ends of the three lists.
    pub fn list_events(&self) -> u64 {
        let kinds = [Kind::POD, Kind::REPLICA_SET, Kind::JOB];
        self.api.change(|store| {
            let objects = kinds.iter().map(|&kind| store.count(kind) as u64);
            objects.sum::<u64>() + kinds.len() as u64
        })
    }

    /// Makes one event: of ten, eight are updates, one deletes a pod and the last one adds
    /// one. Says whether it added one.
    pub fn event(&mut self) -> bool {
        let change = self.next_change();
        self.api.change(|store| change.make(store));
        matches!(change, Change::Add(_))
    }

    /// Makes so many events, ten or a multiple of ten, and shows all of them at once. Says
    /// when that was.
    pub fn events(&mut self, events: u32) -> Instant {
        let changes: Vec<Change> = (0..events).map(|_| self.next_change()).collect();
        self.make(&changes)
    }

    /// Makes these changes, and shows all of them at once. Says when that was. They are none of
    /// those that [`Self::event`] makes, which knows nothing of them.
    pub fn make(&self, changes: &[Change]) -> Instant {
        self.api.change(|store| {
            changes.iter().for_each(|change| change.make(store));
            Instant::now()
        })
    }

    fn next_change(&mut self) -> Change {
        let nth = self.events;
        self.events += 1;
        match nth % 10 {
            9 => Change::Add(Box::new(self.new_pod())),
            8 => {
                self.oldest += 1;
                Change::Delete(self.pod_key(self.oldest - 1))
            }
            _ => {
                // All over the cluster.
                let at = u64::from(nth) * 7_919 % u64::from(self.next - self.oldest);
                Change::Touch(self.pod_key(self.oldest + at as u32))
            }
        }
    }

    fn new_pod(&mut self) -> Object {
        self.next += 1;
        Object::from_info(&self.cluster.pod(self.next - 1), "", "").unwrap()
    }

    fn pod_key(&self, number: u32) -> Key {
        let pod = self.cluster.pod(number).pod_info.unwrap();
        key(&pod.ns, &pod.name)
    }

    /// Adds one pod.
    pub fn add_pod(&mut self) {
        let pod = self.new_pod();
        self.api.apply(pod);
    }

    /// Forgets the versions of pods and ReplicaSets that watches know, and ends the watches:
    /// they list again. Waits until the lists were sent.
    pub fn force_lists(&mut self) {
        let name = format!("job-{}", self.jobs);
        let job = Meta::new("default", &name, &name);
        self.jobs += 1;
        let objects = self.list_events() - 3;
        let sent = |book: &Requests| (book.objects, book.lists(Kind::POD));
        let (before, lists) = self.api.requests(sent);
        self.api.apply(Object::job(job));
        self.api.compact();
        self.api.end_watches();
        let listed =
            |book: &Requests| book.lists(Kind::POD) > lists && book.objects >= before + objects;
        self.runtime.block_on(self.api.wait_until(listed));
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // Somebody may have tidied up already.
        let _ = fs::remove_file(&self.kubeconfig);
    }
}

impl Change {
    fn make(&self, store: &mut Store) {
        match self {
            Self::Touch(pod) => store.touch(Kind::POD, pod),
            Self::Restart(pod, id) => store.change(Kind::POD, pod, |pod| {
                if let Object::Pod(pod) = pod
                    && let Some(container) = pod.containers.first_mut()
                {
                    container.report = Report::Running(id.clone());
                }
            }),
            Self::Delete(pod) => store.delete(Kind::POD, pod),
            Self::Add(pod) => Some(store.apply(Object::clone(pod))),
        }
        .expect("the pod is there");
    }
}
