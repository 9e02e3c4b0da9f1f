//! A relay that answers questions about the objects of an index, and clients that ask it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, RwLock, RwLockReadGuard,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_relay::{
    enrich::{
        cluster::ClusterIdentity,
        index::Index,
        object::{Object, Timestamp},
        profile::ProfileSet,
        resource::Resource,
        service::{Objects, Service, StoreState, StoreStatus},
        view::{Found, FoundContainer, ObjectView, Sync},
    },
    enrich_api::{Counters, Limits, serve},
    model::{Seed, Uid},
    net::{BoundAddr, Listener},
    proto::k8smeta::metadata_enricher_client::MetadataEnricherClient,
};
use serde_json::{Value, json};
use smallvec::SmallVec;
use tokio::{net::TcpStream, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::super::{manifest, world::setting};
use crate::support::must;

/// The moment at which a world begins.
const START: i64 = 1_800_000_000_000;

/// An index behind a lock, at a time that stands still.
pub(super) struct Shared {
    index: RwLock<Index>,
    now: AtomicI64,
    changes: watch::Sender<u64>,
}

/// The index while it cannot change.
pub(super) struct Locked<'a> {
    index: RwLockReadGuard<'a, Index>,
    now: Timestamp,
}

impl Objects for Shared {
    type View<'a> = Locked<'a>;

    fn view(&self) -> Locked<'_> {
        Locked {
            index: self.index.read().unwrap(),
            now: self.now(),
        }
    }

    fn stores(&self) -> Vec<StoreStatus> {
        let index = self.index.read().unwrap();
        let row = |resource: Resource| {
            let kind = index.kind(resource);
            let (objects, buried) = kind.counts();
            let sync = kind.sync();
            StoreStatus {
                kind: resource.key().to_owned(),
                scope: "cluster".to_owned(),
                state: match sync.trouble {
                    None => StoreState::Ready,
                    Some(trouble) => StoreState::Degraded(trouble),
                },
                objects: objects as u64,
                bytes: 0,
                buried: buried as u64,
                last_event_ms: None,
                last_contact_ms: Some(sync.age_ms),
                users: vec!["default".to_owned()],
            }
        };
        Resource::ALL.map(row).to_vec()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Shared {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(SeqCst))
    }

    fn change(&self, change: impl FnOnce(&mut Index, Timestamp)) {
        change(&mut self.index.write().unwrap(), self.now());
        self.changes.send_modify(|number| *number += 1);
    }

    pub(super) fn apply(&self, manifest: &Value) {
        self.change(|index, now| index.apply(manifest::object(manifest), now));
    }

    pub(super) fn delete(&self, manifest: &Value) {
        let object = manifest::object(manifest);
        self.change(|index, now| index.delete(object.resource, &object.uid, now));
    }

    pub(super) fn set_sync(&self, resource: Resource, sync: Sync) {
        self.change(|index, _| index.set_sync(resource, sync));
    }

    pub(super) fn advance(&self, seconds: f64) {
        self.now.fetch_add((seconds * 1000.0) as i64, SeqCst);
        self.change(|index, now| index.expire(now));
    }
}

impl ObjectView for Locked<'_> {
    fn sync(&self, resource: Resource) -> Sync {
        self.index.at(self.now).sync(resource)
    }

    fn live(&self, resource: Resource, namespace: &str, name: &str) -> Option<Object> {
        self.index.at(self.now).live(resource, namespace, name)
    }

    fn buried(&self, resource: Resource, namespace: &str, name: &str) -> Option<Found> {
        self.index.at(self.now).buried(resource, namespace, name)
    }

    fn by_uid(&self, resource: Resource, uid: &Uid) -> Option<Found> {
        self.index.at(self.now).by_uid(resource, uid)
    }

    fn by_container(&self, id: &str) -> SmallVec<[FoundContainer; 1]> {
        self.index.at(self.now).by_container(id)
    }

    fn by_address(&self, address: IpAddr, at: Option<Timestamp>) -> SmallVec<[Found; 1]> {
        self.index.at(self.now).by_address(address, at)
    }
}

/// A relay that answers questions.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    pub(super) service: Arc<Service<Shared>>,
    pub(super) counters: Arc<Counters>,
    pub(super) ready: watch::Sender<bool>,
    pub(super) shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

/// Profiles of these settings.
pub(super) fn profiles(settings: &Value) -> ProfileSet {
    ProfileSet::read(&setting(settings), None, &|_| None).unwrap()
}

impl Relay {
    /// With one profile of these settings.
    pub(super) async fn new(profile: Value) -> Self {
        Self::with(
            json!({ "profiles": { "default": profile } }),
            Limits::default(),
        )
        .await
    }

    /// With these settings.
    pub(super) async fn with(settings: Value, limits: Limits) -> Self {
        let listener = Listener::tcp("127.0.0.1", 0).await.unwrap();
        let identity = ClusterIdentity::default();
        Self::at(listener, profiles(&settings), identity, limits)
    }

    /// Of the `config` of a recorded case.
    pub(super) async fn of_case(config: &Value) -> Self {
        let cluster = |key: &str| {
            config["cluster"][key]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let identity = ClusterIdentity {
            name: cluster("name"),
            url: cluster("url"),
        };
        let profile = super::super::world::settings(config);
        let settings = profiles(&json!({ "profiles": { "default": profile } }));
        let listener = Listener::tcp("127.0.0.1", 0).await.unwrap();
        Self::at(listener, settings, identity, Limits::default())
    }

    pub(super) fn at(
        listener: Listener,
        profiles: ProfileSet,
        identity: ClusterIdentity,
        limits: Limits,
    ) -> Self {
        let address = match listener.address().unwrap() {
            BoundAddr::Tcp(address) => address,
            BoundAddr::Unix(_) => ([127, 0, 0, 1], 0).into(),
        };
        let mut index = Index::new(Seed::FIXED, profiles.retention());
        for resource in Resource::ALL {
            index.set_sync(resource, Sync::LISTED);
        }
        let shared = Shared {
            index: RwLock::new(index),
            now: AtomicI64::new(START),
            changes: watch::channel(0).0,
        };
        let service = Service::new(shared, profiles, identity, Seed::FIXED, 64 << 20);
        let (service, counters) = (Arc::new(service), Arc::new(Counters::default()));
        let shutdown = CancellationToken::new();
        let (ready, is_ready) = watch::channel(true);
        let serving = serve(
            vec![listener],
            service.clone(),
            is_ready,
            shutdown.clone(),
            limits,
            counters.clone(),
        );
        Self {
            address,
            service,
            counters,
            ready,
            shutdown,
            serving: tokio::spawn(serving),
        }
    }

    pub(super) fn objects(&self) -> &Shared {
        self.service.objects()
    }

    pub(super) fn apply_all(&self, manifests: &Value) {
        for manifest in manifests.as_array().unwrap() {
            self.objects().apply(manifest);
        }
    }

    /// Ends, as a process would.
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        must("the end of the server", self.serving).await.unwrap();
    }

    /// Whether a question waits for a change.
    pub(super) fn is_waited_for(&self) -> bool {
        self.objects().changes.receiver_count() > 0
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(super) async fn grpc(&self) -> MetadataEnricherClient<Channel> {
        let channel = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        let channel = must("a connection", channel.connect()).await.unwrap();
        MetadataEnricherClient::new(channel)
            .max_decoding_message_size(64 << 20)
            .max_encoding_message_size(64 << 20)
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(super) async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Answer {
        let headers = [("content-type", content_type)];
        self.send(Method::POST, path, &headers, body).await
    }

    /// A request over a connection of its own.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let socket = TokioIo::new(self.connect().await);
        let (mut requests, connection) =
            hyper::client::conn::http1::handshake(socket).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = request(method, path, headers, body);
        let response = must("a response", requests.send_request(request))
            .await
            .unwrap();
        let answer = Answer::read(response).await;
        drop(requests);
        let _ = connection.await;
        answer
    }

    /// The same over HTTP/2, without an upgrade.
    pub(super) async fn send_http2(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let socket = TokioIo::new(self.connect().await);
        let (mut requests, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), socket)
                .await
                .unwrap();
        let connection = tokio::spawn(connection);
        let request = request(method, path, headers, body);
        let response = must("a response", requests.send_request(request))
            .await
            .unwrap();
        let answer = Answer::read(response).await;
        drop(requests);
        let _ = connection.await;
        answer
    }
}

fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> http::Request<Full<Bytes>> {
    let mut request = http::Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
        .header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// The answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    async fn read(response: http::Response<hyper::body::Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = must("the end of a response", body.collect()).await.unwrap();
        Self {
            code: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Each line as JSON.
    pub(super) fn lines(&self) -> Vec<Value> {
        let text = self.text();
        assert!(text.is_empty() || text.ends_with('\n'), "{text}");
        let line =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        text.lines().map(line).collect()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What a lookup says of a thing, with the code of its answer.
pub(super) fn state(answer: &Answer) -> (u16, String) {
    let said = answer.json();
    let state = said["state"].as_str().unwrap_or_default();
    (answer.code.as_u16(), state.to_owned())
}

/// Without what is joined.
pub(super) fn plain() -> Value {
    json!({ "add_resource_metadata": {
        "node": { "enabled": false }, "namespace": { "enabled": false },
    } })
}

pub(super) fn pod(name: &str) -> Value {
    json!({
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "resourceVersion": "7", "labels": { "app": name },
        },
        "spec": { "nodeName": "n1", "containers": [{ "name": "app", "image": "web:1" }] },
        "status": {
            "podIP": "10.0.0.1",
            "containerStatuses": [{ "name": "app", "containerID": format!("containerd://{name}-c") }],
        },
    })
}

/// An event about a pod.
pub(super) fn event(name: &str) -> String {
    format!(r#"{{"name":"{name}","n":1.10,"_module":{{"namespace":"shop"}}}}"#)
}

/// Waits until something holds, as it must soon.
pub(super) async fn until(what: &str, holds: impl Fn() -> bool) {
    must(what, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
