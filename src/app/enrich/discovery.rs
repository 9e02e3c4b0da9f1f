//! What is found out of the cluster once: its identity, and the node of this process
//! . Everything degrades: what cannot be read is not known, and no more.

use std::{path::Path, time::Duration};

use serde::Deserialize;

use crate::{
    enrich::{
        cluster::{ClusterIdentity, ClusterSources},
        node_name::{self, NodeFacts, UnknownNode},
        profile::{ConfigMapKey, Profile, ProfileSet, ScopeSetting},
    },
    reducer::host,
    source::native::{self, Access, Limits, NoAnswer, Server},
};

/// How long one question to the API server may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Nodes that are looked at in one answer.
const PAGE: usize = 100;

/// Where a pod finds its namespace.
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Where a machine's id may stand.
const MACHINE_IDS: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// Finds out.
pub(super) struct Discovery {
    access: Access,
    limits: Limits,
}

/// What was found out.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// The cluster's name and address in the kubeconfig that is used.
    kubeconfig: Option<(String, String)>,
    kubeadm: Option<String>,
    config_map: Option<String>,
    node: Option<String>,
    /// Nothing more will be found: everybody who was asked has answered.
    pub(super) is_complete: bool,
}

#[derive(Deserialize)]
struct ConfigMap {
    #[serde(default)]
    data: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Pod {
    spec: PodSpec,
}

#[derive(Deserialize)]
struct PodSpec {
    #[serde(default, rename = "nodeName")]
    node_name: String,
}

#[derive(Deserialize)]
struct Nodes {
    #[serde(default)]
    metadata: ListMeta,
    items: Vec<Node>,
}

#[derive(Default, Deserialize)]
struct ListMeta {
    #[serde(default, rename = "continue")]
    token: String,
}

#[derive(Deserialize)]
struct Node {
    metadata: NodeMeta,
    status: NodeStatus,
}

#[derive(Deserialize)]
struct NodeMeta {
    name: String,
}

#[derive(Deserialize)]
struct NodeStatus {
    #[serde(rename = "nodeInfo")]
    info: NodeInfo,
}

#[derive(Deserialize)]
struct NodeInfo {
    #[serde(default, rename = "machineID")]
    machine_id: String,
}

impl Discovery {
    pub(super) fn new(access: Access, limits: Limits) -> Self {
        Self { access, limits }
    }

    /// Asks whoever may know, once.
    pub(super) async fn look(&self, set: &ProfileSet) -> Found {
        let mut found = Found::default();
        let in_cluster = match native::named_cluster(&self.access, self.limits).await {
            Ok(named) => {
                found.kubeconfig = named;
                found.kubeconfig.is_none()
            }
            // Whatever is wrong with the files may be mended.
            Err(_) => return found,
        };
        let server = match native::connect(&self.access, self.limits).await {
            Ok(server) => server,
            Err(_) => return found,
        };
        let mut asked = Asked {
            server,
            unanswered: false,
        };
        if let Some(default) = default_profile(set)
            && found.kubeconfig.is_none()
        {
            asked.identity(default, &mut found).await;
        }
        if needs_node(set) {
            found.node = asked.node(in_cluster).await;
        }
        found.is_complete = !asked.unanswered;
        asked.server.close().await;
        found
    }
}

/// An API server that is asked, and whether it was there.
struct Asked {
    server: Server,
    unanswered: bool,
}

impl Asked {
    /// `None` also if it may not be read, or is something else.
    async fn get<T: for<'a> Deserialize<'a>>(&mut self, path: &str) -> Option<T> {
        match self.server.get(path, PATIENCE).await {
            Ok(text) => serde_json::from_str(&text).ok(),
            Err(NoAnswer::Refused(_)) => None,
            Err(NoAnswer::Unreachable(_)) => {
                self.unanswered = true;
                None
            }
        }
    }

    async fn identity(&mut self, profile: &Profile, found: &mut Found) {
        if profile.use_kubeadm {
            found.kubeadm = self
                .config_map("kube-system", "kubeadm-config", "ClusterConfiguration")
                .await;
        }
        if let Some(ConfigMapKey {
            namespace,
            name,
            key,
        }) = &profile.cluster.config_map
        {
            found.config_map = self.config_map(namespace, name, key).await;
        }
    }

    async fn config_map(&mut self, namespace: &str, name: &str, key: &str) -> Option<String> {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
        let mut map: ConfigMap = self.get(&path).await?;
        map.data.remove(key)
    }

    async fn node(&mut self, in_cluster: bool) -> Option<String> {
        let own_pod = match in_cluster {
            true => match tokio::fs::read_to_string(NAMESPACE).await {
                Ok(namespace) => {
                    let name = host::hostname();
                    let name = String::from_utf8_lossy(&name);
                    self.node_of(namespace.trim(), &name).await
                }
                Err(_) => None,
            },
            false => None,
        };
        let variable = std::env::var("NODE_NAME").ok();
        let facts = NodeFacts {
            configured: "",
            in_cluster,
            own_pod: own_pod.as_deref(),
            variable: variable.as_deref(),
            by_machine_id: None,
        };
        if let Ok(name) = node_name::discover(&facts) {
            return Some(name.to_owned());
        }
        let by_machine_id = match machine_id().await {
            Some(own) => self.by_machine_id(&own).await,
            None => None,
        };
        let by_machine_id = by_machine_id.as_deref();
        let facts = NodeFacts {
            by_machine_id,
            ..facts
        };
        node_name::discover(&facts).ok().map(str::to_owned)
    }

    /// The node that a pod is on.
    async fn node_of(&mut self, namespace: &str, name: &str) -> Option<String> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let pod: Pod = self.get(&path).await?;
        Some(pod.spec.node_name)
    }

    /// The last resort: every node is looked at.
    async fn by_machine_id(&mut self, own: &str) -> Option<String> {
        let mut token = String::new();
        loop {
            let path = format!("/api/v1/nodes?limit={PAGE}&continue={token}");
            let nodes: Nodes = self.get(&path).await?;
            let mut items = nodes.items.into_iter();
            if let Some(node) = items.find(|node| node.status.info.machine_id == own) {
                return Some(node.metadata.name);
            }
            if nodes.metadata.token.is_empty() {
                return None;
            }
            token = form_urlencoded::byte_serialize(nodes.metadata.token.as_bytes()).collect();
        }
    }
}

async fn machine_id() -> Option<String> {
    for path in MACHINE_IDS {
        if let Ok(id) = tokio::fs::read_to_string(Path::new(path)).await
            && !id.trim().is_empty()
        {
            return Some(id.trim().to_owned());
        }
    }
    None
}

impl Found {
    /// The profiles, with the name of the node where one was to be found out.
    pub(super) fn resolve(&self, set: &ProfileSet) -> ProfileSet {
        let mut set = set.clone();
        for (_, profile) in &mut set.profiles {
            if is_unnamed(profile)
                && let Some(node) = &self.node
            {
                profile.scope = ScopeSetting::Node(node.clone());
            }
        }
        set
    }

    /// Those of them that can be watched for: a node that is not known yet is not all nodes.
    pub(super) fn watchable(&self, set: &ProfileSet) -> ProfileSet {
        let mut set = self.resolve(set);
        set.profiles.retain(|(_, profile)| !is_unnamed(profile));
        set
    }

    /// That profiles are of a node that nobody knows.
    pub(super) fn unknown_node(&self, set: &ProfileSet) -> Option<UnknownNode> {
        (self.is_complete && self.node.is_none() && needs_node(set)).then_some(UnknownNode)
    }

    /// Whether it was looked for all that these profiles ask for.
    pub(super) fn covers(&self, set: &ProfileSet) -> bool {
        self.is_complete && (self.node.is_some() || !needs_node(set))
    }

    /// The cluster's identity, as far as it is known.
    pub(super) fn identity(&self, set: &ProfileSet) -> ClusterIdentity {
        let Some(profile) = default_profile(set) else {
            return ClusterIdentity::default();
        };
        let kubeconfig = self.kubeconfig.as_ref();
        let sources = ClusterSources {
            kubeconfig: kubeconfig.map(|(name, url)| (name.as_str(), url.as_str())),
            kubeadm: self.kubeadm.as_deref().filter(|_| profile.use_kubeadm),
            config_map: self.config_map.as_deref(),
        };
        ClusterIdentity::choose(&profile.cluster, sources)
    }
}

fn needs_node(set: &ProfileSet) -> bool {
    set.profiles.iter().any(|(_, profile)| is_unnamed(profile))
}

fn is_unnamed(profile: &Profile) -> bool {
    profile.scope == ScopeSetting::Node(String::new())
}

/// The one whose settings say which cluster it is.
fn default_profile(set: &ProfileSet) -> Option<&Profile> {
    let mut named = set
        .profiles
        .iter()
        .filter(|(name, _)| *name == set.default_profile);
    named.next().map(|(_, profile)| profile)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::{
        enrich::profile::Setting,
        model::{Kind, KindRow, KindTable},
        sim::kube::{self, Object, Raw, SimApi},
    };

    const KUBEADM: &str = "clusterName: prod\ncontrolPlaneEndpoint: api.prod:6443\n";

    struct World {
        api: SimApi,
        kinds: KindTable,
        asked: Asked,
        _dir: TempDir,
    }

    impl World {
        async fn new() -> Self {
            let nodes = KindRow {
                namespaced: false,
                ..KindRow::full("v1", "Node", "nodes")
            };
            let maps = KindRow::full("v1", "ConfigMap", "configmaps");
            let kinds = KindTable::with([nodes, maps]).unwrap();
            let options = kube::Options {
                kinds: kinds.clone(),
                ..kube::Options::small()
            };
            let api = SimApi::start(options).await.unwrap();
            let dir = tempfile::tempdir().unwrap();
            let kubeconfig = dir.path().join("config");
            std::fs::write(&kubeconfig, api.kubeconfig().to_string()).unwrap();
            let access = Access {
                kubeconfig: Some(kubeconfig),
                context: None,
            };
            let server = native::connect(&access, Limits::default()).await.unwrap();
            Self {
                api,
                kinds,
                asked: Asked {
                    server,
                    unanswered: false,
                },
                _dir: dir,
            }
        }

        fn kind(&self, resource: &str) -> Kind {
            self.kinds.find("", resource).unwrap()
        }

        fn put(&self, resource: &str, namespace: &str, name: &str, more: Value) {
            let mut json = json!({ "metadata": { "uid": name, "name": name } });
            if !namespace.is_empty() {
                json["metadata"]["namespace"] = namespace.into();
            }
            for (key, value) in more.as_object().unwrap() {
                json[key] = value.clone();
            }
            self.api.apply(Object::Manifest(Raw {
                kind: self.kind(resource),
                namespace: namespace.into(),
                name: name.to_owned(),
                json,
            }));
        }
    }

    fn set(settings: &[(&str, &str)]) -> ProfileSet {
        let settings = settings.iter();
        let settings =
            settings.map(|(key, value)| ((*key).to_owned(), Setting::Text((*value).to_owned())));
        let profiles = Setting::Map(vec![(
            "default".to_owned(),
            Setting::Map(settings.collect()),
        )]);
        let block = Setting::Map(vec![("profiles".to_owned(), profiles)]);
        ProfileSet::read(&block, None, &|_| None).unwrap()
    }

    #[tokio::test]
    async fn the_cluster_is_named_by_kubeadm_else_by_the_config_map_of_the_settings() {
        let kubeadm = json!({ "data": { "ClusterConfiguration": KUBEADM } });
        let other = json!({ "data": { "name": "by-map\n", "else": "no" } });
        let by_map: &[_] = &[("cluster.config_map", "ops/cluster/name")];
        let without: &[_] = &[
            ("cluster.config_map", "ops/cluster/name"),
            ("use_kubeadm", "false"),
        ];
        let absent_key: &[_] = &[("cluster.config_map", "ops/cluster/nope")];
        let nothing = json!({});
        for (settings, kubeadm, other, name, url) in [
            (&[][..], Some(&kubeadm), None, "prod", "api.prod:6443"),
            (
                by_map,
                Some(&kubeadm),
                Some(&other),
                "prod",
                "api.prod:6443",
            ),
            (by_map, None, Some(&other), "by-map", ""),
            (by_map, Some(&nothing), Some(&other), "by-map", ""),
            (without, Some(&kubeadm), Some(&other), "by-map", ""),
            (absent_key, None, Some(&other), "", ""),
            (&[], None, None, "", ""),
        ] {
            let mut world = World::new().await;
            if let Some(kubeadm) = kubeadm {
                world.put(
                    "configmaps",
                    "kube-system",
                    "kubeadm-config",
                    kubeadm.clone(),
                );
            }
            if let Some(other) = other {
                world.put("configmaps", "ops", "cluster", other.clone());
            }
            let set = set(settings);
            let mut found = Found::default();
            let profile = default_profile(&set).unwrap();
            world.asked.identity(profile, &mut found).await;
            let identity = found.identity(&set);
            assert_eq!(
                (identity.name.as_str(), identity.url.as_str()),
                (name, url),
                "{settings:?}"
            );
            assert!(!world.asked.unanswered, "{settings:?}");
        }
    }

    #[tokio::test]
    async fn a_map_that_may_not_be_read_is_not_known_and_a_server_that_is_away_is_asked_again() {
        let mut world = World::new().await;
        let kubeadm = json!({ "data": { "ClusterConfiguration": KUBEADM } });
        world.put("configmaps", "kube-system", "kubeadm-config", kubeadm);
        world.api.deny(world.kind("configmaps"));
        let set = set(&[]);
        let profile = default_profile(&set).unwrap();
        let mut found = Found::default();
        world.asked.identity(profile, &mut found).await;
        assert!(found.kubeadm.is_none() && !world.asked.unanswered);
        world.api.allow(world.kind("configmaps"));
        world.api.stop_listening().await;
        world.api.reset_connections();
        world.asked.identity(profile, &mut found).await;
        assert!(found.kubeadm.is_none() && world.asked.unanswered);
        world.api.start_listening().await.unwrap();
        world.asked.identity(profile, &mut found).await;
        assert_eq!(found.identity(&set).name, "prod");
    }

    #[tokio::test]
    async fn the_own_node_is_that_of_the_own_pod() {
        let mut world = World::new().await;
        world.put(
            "pods",
            "relay",
            "relay-1",
            json!({ "spec": { "nodeName": "n7" } }),
        );
        world.put("pods", "relay", "relay-2", json!({ "spec": {} }));
        let node = world.asked.node_of("relay", "relay-1").await;
        assert_eq!(node.as_deref(), Some("n7"));
        // Not scheduled, as far as the server knows: that is none.
        let unscheduled = world.asked.node_of("relay", "relay-2").await.unwrap();
        let facts = NodeFacts {
            in_cluster: true,
            own_pod: Some(&unscheduled),
            ..NodeFacts::default()
        };
        assert_eq!(node_name::discover(&facts), Err(UnknownNode));
        assert_eq!(world.asked.node_of("relay", "absent").await, None);
        assert!(!world.asked.unanswered);
    }

    #[tokio::test]
    async fn a_node_is_known_by_its_machine_however_many_there_are() {
        let mut world = World::new().await;
        for number in 0..=PAGE {
            let info = json!({ "status": { "nodeInfo": { "machineID": format!("m{number}") } } });
            world.put("nodes", "", &format!("n{number:03}"), info);
        }
        let last = world.asked.by_machine_id(&format!("m{PAGE}")).await;
        assert_eq!(last, Some(format!("n{PAGE:03}")));
        assert_eq!(world.asked.by_machine_id("of another cluster").await, None);
    }
}
