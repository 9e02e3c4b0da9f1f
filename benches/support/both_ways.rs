//! One cluster that is sent both ways: by an API server, and as the Infos of a watcher. What
//! happens in it is made first and shown to either, both or nobody later.

use std::path::Path;

use bytes::Bytes;
use k8s_relay::{
    proto::{Info, info::Event},
    sim::{
        cluster::{Cluster, sent_as},
        kube::{
            Object,
            store::{Key, key},
        },
    },
};

use super::{
    api_server::{ApiServer, Change},
    watcher::{Load, encode},
};

/// Pods are numbered, and the oldest ones are deleted first.
pub struct BothWays {
    cluster: Cluster,
    api: ApiServer,
    oldest: u32,
    /// How often each pod was restarted, by number. The next pod has the number of its length.
    restarts: Vec<u32>,
    /// So many pods were picked.
    picked: u32,
}

/// What happens, in the words of both.
#[derive(Default)]
pub struct Happening {
    infos: Vec<Bytes>,
    changes: Vec<Change>,
}

impl BothWays {
    /// Starts an API server with this cluster.
    pub fn start(cluster: Cluster) -> Self {
        Self {
            cluster,
            api: ApiServer::start(cluster),
            oldest: 0,
            restarts: vec![0; cluster.pods as usize],
            picked: 0,
        }
    }

    /// How to reach the API server.
    pub fn kubeconfig(&self) -> &Path {
        self.api.kubeconfig()
    }

    /// Its shape at the start.
    pub fn shape(&self) -> Cluster {
        self.cluster
    }

    /// How many pods there are.
    pub fn pods(&self) -> u64 {
        u64::from(self.next() - self.oldest)
    }

    /// All that a watcher sends first, and an update of a pod, which ends its lists.
    pub fn list(&self) -> Load {
        let pods = (self.oldest..self.next()).map(|number| self.pod(number));
        let update = sent_as(Event::Modified, self.pod(self.oldest));
        encode(self.cluster.all_replica_sets().chain(pods).chain([update]))
    }

    /// Updates of pods all over the cluster in which nothing is new, and one more pod at the end.
    pub fn updates(&mut self, count: u32) -> Happening {
        let mut happening = Happening::default();
        for _ in 0..count {
            let number = self.pick();
            let key = self.key(number);
            happening.add(
                sent_as(Event::Modified, self.pod(number)),
                Change::Touch(key),
            );
        }
        self.come(&mut happening);
        happening
    }

    /// Changes that matter: of ten, eight restart a container of some pod, one deletes a pod and
    /// one adds one; and one more pod at the end.
    pub fn changes(&mut self, count: u32) -> Happening {
        let mut happening = Happening::default();
        for nth in 0..count {
            match nth % 10 {
                9 => self.come(&mut happening),
                8 => self.go(&mut happening),
                _ => self.restart(&mut happening),
            }
        }
        self.come(&mut happening);
        happening
    }

    /// One more pod.
    pub fn newcomer(&mut self) -> Happening {
        let mut happening = Happening::default();
        self.come(&mut happening);
        happening
    }

    /// Makes it happen in the API server, all at once.
    pub fn show(&self, happening: &Happening) {
        self.api.make(&happening.changes);
    }

    fn next(&self) -> u32 {
        self.restarts.len() as u32
    }

    /// Some pod; neighbours are far from each other.
    fn pick(&mut self) -> u32 {
        self.picked += 1;
        let at = u64::from(self.picked) * 7_919 % self.pods();
        self.oldest + at as u32
    }

    fn come(&mut self, happening: &mut Happening) {
        let number = self.next();
        self.restarts.push(0);
        let pod = self.pod(number);
        let object = Object::from_info(&pod, "", "").unwrap();
        happening.add(pod, Change::Add(Box::new(object)));
    }

    fn go(&mut self, happening: &mut Happening) {
        let number = self.oldest;
        let gone = Change::Delete(self.key(number));
        happening.add(sent_as(Event::Deleted, self.pod(number)), gone);
        self.oldest += 1;
    }

    fn restart(&mut self, happening: &mut Happening) {
        let number = self.pick();
        self.restarts[number as usize] += 1;
        let pod = self.pod(number);
        let id = pod.pod_info.as_ref().unwrap().container_infos[0].id.clone();
        let restarted = Change::Restart(self.key(number), id);
        happening.add(sent_as(Event::Modified, pod), restarted);
    }

    /// The pod of this number as it is now, ADDED; with the version that a watcher makes of
    /// its images (protocol 13.0).
    fn pod(&self, number: u32) -> Info {
        let mut info = self.cluster.pod(number);
        let pod = info.pod_info.as_mut().unwrap();
        let images = pod.container_infos.iter();
        let mut images: Vec<_> = images.map(|one| format!("'{}'", one.image)).collect();
        images.sort_unstable();
        pod.version = images.join(",");
        let restarts = self.restarts[number as usize];
        if restarts > 0 {
            let id = &mut pod.container_infos[0].id;
            let prefix = "containerd://".len();
            id.replace_range(prefix..prefix + 8, &format!("{restarts:08x}"));
        }
        info
    }

    fn key(&self, number: u32) -> Key {
        let pod = self.cluster.pod(number).pod_info.unwrap();
        key(&pod.ns, &pod.name)
    }
}

impl Happening {
    /// As a watcher sends it.
    pub fn load(&self) -> Load {
        self.infos.clone().into()
    }

    fn add(&mut self, info: Info, change: Change) {
        self.infos
            .extend(encode([info].into_iter()).iter().cloned());
        self.changes.push(change);
    }
}
