//! Stands in for a legacy watcher: a typed client of the API server that streams what it sees to a
//! relay (protocol 13.0). For `k8s-relay watcher` and tests; the real thing is a Go program.
//!
//! Invariants: it lists ReplicaSets, Jobs and pods, in this order, each list whole, and sends all
//! as ADDED; then it watches from the versions of the lists. Whatever fails, or any end of the
//! call, ends all of it; it begins again after a pause. A watch that ends in order goes on from its
//! last version, without a list.
//!
//! Absent here: everything of ours that decodes or merges, so that nothing can be wrong twice.

use std::{borrow::Cow, fmt::Debug, marker::PhantomData, time::Duration};

use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::ReplicaSet, batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::Deserialize;
use tokio::time::sleep;

use super::watcher::{Call, Watcher, WatcherError};
use crate::proto::{
    ContainerInfo, Info, JobInfo, OwnerInfo, PodInfo, ReplicaSetInfo,
    info::{Event, Type},
};

/// A watch is reopened so often.
const ROTATE_SECONDS: u32 = 290;

/// Why a run of the watcher has ended. It begins again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OldWatcherError {
    /// The API server refuses or fails.
    #[error("a request to the API server failed")]
    Server(#[from] kube::Error),
    /// A watch has ended with an error of the server's.
    #[error("a watch ended: {0}")]
    Watch(String),
    /// The relay is not there, or has ended the call.
    #[error(transparent)]
    Relay(#[from] WatcherError),
}

/// What the watcher reads of an object of kind `K`. The whole of a pod is some two hundred types,
/// which are slow to compile.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "")]
struct Object<K> {
    metadata: ObjectMeta,
    spec: Option<Spec>,
    status: Option<Status>,
    #[serde(skip)]
    kind: PhantomData<K>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    host_network: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Status {
    #[serde(rename = "podIP", default)]
    pod_ip: String,
    #[serde(rename = "containerStatuses", default)]
    containers: Vec<Container>,
}

#[derive(Clone, Debug, Deserialize)]
struct Container {
    name: String,
    image: String,
    #[serde(rename = "containerID", default)]
    id: String,
}

impl<K> Resource for Object<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A kind of object as a legacy watcher sends it.
trait Listed:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + Sync + 'static
{
    fn info(object: &Object<Self>, event: Event) -> Info;
}

/// How long the legacy watcher waited before it began again.
pub const PAUSE: Duration = Duration::from_millis(200);

/// Watches `server` for the relay at `HOST:PORT`, run after run, with `pause` between them. `ended`
/// is called with why each run has ended. Ends never; drop it to end it.
pub async fn watch(
    server: Client,
    relay: &str,
    pause: Duration,
    mut ended: impl FnMut(OldWatcherError),
) {
    loop {
        if let Err(error) = run(server.clone(), relay).await {
            ended(error);
        }
        sleep(pause).await;
    }
}

/// One run: until something fails.
///
/// # Errors
/// Always: nothing else ends it.
pub async fn run(server: Client, relay: &str) -> Result<(), OldWatcherError> {
    let mut call = Watcher::connect(relay).await?.open();
    let (replica_sets, jobs, pods) = (
        Api::<Object<ReplicaSet>>::all(server.clone()),
        Api::<Object<Job>>::all(server.clone()),
        Api::<Object<Pod>>::all(server),
    );
    let from = [
        list(&replica_sets, &mut call).await?,
        list(&jobs, &mut call).await?,
        list(&pods, &mut call).await?,
    ];
    let [replica_sets_from, jobs_from, pods_from] = from;
    // As one list of three kinds of streams, sent in the order of arrival.
    let mut events = stream::select_all([
        follow(replica_sets, replica_sets_from).boxed(),
        follow(jobs, jobs_from).boxed(),
        follow(pods, pods_from).boxed(),
    ]);
    loop {
        let info = tokio::select! {
            info = events.try_next() => info?,
            _ = call.ended() => return Err(WatcherError::Ended.into()),
        };
        match info {
            Some(info) => call.send(info).await?,
            None => return Ok(()),
        }
    }
}

/// Sends a whole list; gives the version to watch from.
async fn list<K: Listed>(api: &Api<Object<K>>, call: &mut Call) -> Result<String, OldWatcherError> {
    let list = api.list(&ListParams::default()).await?;
    for object in &list.items {
        call.send(K::info(object, Event::Added)).await?;
    }
    Ok(list.metadata.resource_version.unwrap_or_default())
}

/// What happens from this version on.
fn follow<K: Listed>(
    api: Api<Object<K>>,
    from: String,
) -> impl Stream<Item = Result<Info, OldWatcherError>> + Send {
    let following = Following {
        api,
        version: from,
        events: None,
    };
    stream::try_unfold(following, |mut following| async {
        let info = following.next().await?;
        Ok(Some((info, following)))
    })
}

/// A watch, reopened whenever it ends in order.
struct Following<K> {
    api: Api<Object<K>>,
    version: String,
    events: Option<BoxStream<'static, kube::Result<WatchEvent<Object<K>>>>>,
}

impl<K: Listed> Following<K> {
    async fn next(&mut self) -> Result<Info, OldWatcherError> {
        loop {
            let events = match &mut self.events {
                Some(events) => events,
                none => {
                    let asked = WatchParams::default().timeout(ROTATE_SECONDS);
                    let events = self.api.watch(&asked, &self.version).await?;
                    none.insert(events.boxed())
                }
            };
            let (event, object) = match events.try_next().await? {
                None => {
                    self.events = None;
                    continue;
                }
                Some(WatchEvent::Bookmark(bookmark)) => {
                    self.version = bookmark.metadata.resource_version;
                    continue;
                }
                Some(WatchEvent::Error(status)) => {
                    return Err(OldWatcherError::Watch(status.to_string()));
                }
                Some(WatchEvent::Added(object)) => (Event::Added, object),
                Some(WatchEvent::Modified(object)) => (Event::Modified, object),
                Some(WatchEvent::Deleted(object)) => (Event::Deleted, object),
            };
            if let Some(version) = object.resource_version() {
                self.version = version;
            }
            return Ok(K::info(&object, event));
        }
    }
}

impl Listed for ReplicaSet {
    fn info(object: &Object<Self>, event: Event) -> Info {
        Info {
            r#type: Type::K8sReplicaset as i32,
            event: event as i32,
            rs_info: Some(ReplicaSetInfo {
                uid: uid(&object.metadata),
                owner: owner(&object.metadata),
            }),
            ..Info::default()
        }
    }
}

impl Listed for Job {
    fn info(object: &Object<Self>, event: Event) -> Info {
        Info {
            r#type: Type::K8sJob as i32,
            event: event as i32,
            job_info: Some(JobInfo {
                uid: uid(&object.metadata),
                owner: owner(&object.metadata),
            }),
            ..Info::default()
        }
    }
}

impl Listed for Pod {
    fn info(object: &Object<Self>, event: Event) -> Info {
        let status = object.status.as_ref();
        let containers = status.map(|status| status.containers.as_slice());
        let containers = containers.unwrap_or_default();
        let mut images: Vec<_> = containers
            .iter()
            .map(|container| format!("'{}'", container.image))
            .collect();
        images.sort_unstable();
        let pod_info = PodInfo {
            uid: uid(&object.metadata),
            ip: status
                .map(|status| status.pod_ip.clone())
                .unwrap_or_default(),
            owner: owner(&object.metadata),
            ns: object.namespace().unwrap_or_default(),
            is_host_network: object.spec.as_ref().is_some_and(|spec| spec.host_network),
            name: object.name_any(),
            version: images.join(","),
            container_infos: containers.iter().map(Container::info).collect(),
            ..PodInfo::default()
        };
        Info {
            r#type: Type::K8sPod as i32,
            event: event as i32,
            pod_info: Some(pod_info),
            ..Info::default()
        }
    }
}

impl Container {
    fn info(&self) -> ContainerInfo {
        ContainerInfo {
            id: self.id.clone(),
            name: self.name.clone(),
            image: self.image.clone(),
        }
    }
}

fn uid(metadata: &ObjectMeta) -> String {
    metadata.uid.clone().unwrap_or_default()
}

fn owner(metadata: &ObjectMeta) -> Option<OwnerInfo> {
    let mut owners = metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    Some(OwnerInfo {
        uid: owner.uid.clone(),
        name: owner.name.clone(),
        kind: owner.kind.clone(),
    })
}
