//! Leases of `coordination.k8s.io/v1`: got, listed, watched, created, updated and deleted, with the
//! optimistic concurrency of a real server. They have a version and a history of their own.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};

use super::{answer::Frames, world::World};

/// The path below which they are.
const ROOT: &str = "/apis/coordination.k8s.io/v1/namespaces/";

/// All Leases, and what has happened to them.
#[derive(Debug, Default)]
pub(super) struct Leases {
    all: BTreeMap<Key, Value>,
    /// Each change with its version.
    history: Vec<(u64, Key, Value)>,
    version: u64,
    /// Every request about them fails.
    pub(super) away: bool,
}

/// Namespace and name.
type Key = (String, String);

impl Leases {
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Value> {
        self.all.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Stores a Lease, with the next version.
    fn store(&mut self, key: Key, mut lease: Value, event: &str) -> Value {
        self.version += 1;
        let version = self.version;
        let uid = match self.all.get(&key) {
            Some(before) => before.pointer("/metadata/uid").cloned(),
            None => Some(format!("lease-{version}").into()),
        };
        if let Some(metadata) = lease.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("uid".to_owned(), uid.unwrap_or_default());
            metadata.insert("namespace".to_owned(), key.0.clone().into());
            metadata.insert("resourceVersion".to_owned(), version.to_string().into());
        }
        let seen = json!({ "type": event, "object": lease });
        self.history.push((version, key.clone(), seen));
        self.all.insert(key, lease.clone());
        lease
    }

    /// Changes a Lease behind everybody's back; whether there is one.
    pub(super) fn edit(
        &mut self,
        namespace: &str,
        name: &str,
        edit: impl FnOnce(&mut Value),
    ) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        let Some(mut lease) = self.all.get(&key).cloned() else {
            return false;
        };
        edit(&mut lease);
        self.store(key, lease, "MODIFIED");
        true
    }

    /// Deletes a Lease; whether there was one.
    pub(super) fn delete(&mut self, namespace: &str, name: &str) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        let Some(lease) = self.all.remove(&key) else {
            return false;
        };
        self.version += 1;
        let seen = json!({ "type": "DELETED", "object": lease });
        self.history.push((self.version, key, seen));
        true
    }

    fn create(&mut self, namespace: &str, lease: Value) -> Result<Value, (u16, &'static str)> {
        let name = text(&lease, "/metadata/name");
        let key = (namespace.to_owned(), name);
        match self.all.contains_key(&key) {
            true => Err((409, "AlreadyExists")),
            false => Ok(self.store(key, lease, "ADDED")),
        }
    }

    fn replace(&mut self, key: Key, lease: Value) -> Result<Value, (u16, &'static str)> {
        let before = self.all.get(&key).ok_or((404, "NotFound"))?;
        for path in ["/metadata/uid", "/metadata/resourceVersion"] {
            let wanted = text(&lease, path);
            if !wanted.is_empty() && wanted != text(before, path) {
                return Err((409, "Conflict"));
            }
        }
        Ok(self.store(key, lease, "MODIFIED"))
    }
}

/// The answer, if the request is about Leases.
pub(super) async fn answer(
    world: &Arc<World>,
    request: Request<Incoming>,
) -> Result<Response<StreamBody<Frames>>, Request<Incoming>> {
    let path = request.uri().path().to_owned();
    let parts: Option<Vec<&str>> = path
        .strip_prefix(ROOT)
        .map(|rest| rest.split('/').collect());
    let (namespace, name) = match parts.as_deref() {
        Some([namespace, "leases"]) => ((*namespace).to_owned(), None),
        Some([namespace, "leases", name]) => ((*namespace).to_owned(), Some((*name).to_owned())),
        Some([..]) | None => return Err(request),
    };
    if world.lock().leases.away {
        return Ok(refusal(503, "ServiceUnavailable"));
    }
    let query: BTreeMap<String, String> =
        form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let method = request.method().clone();
    if method == Method::GET
        && query
            .get("watch")
            .is_some_and(|is| is == "true" || is == "1")
    {
        return Ok(watch(world, namespace, &query));
    }
    let body = request.into_body().collect().await;
    let body = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = world.change(|state| {
        let leases = &mut state.leases;
        match (method, name) {
            (Method::GET, Some(name)) => {
                let found = leases.get(&namespace, &name);
                found.cloned().ok_or((404, "NotFound"))
            }
            (Method::GET, None) => {
                let items = leases.all.iter().filter(|(key, _)| key.0 == namespace);
                let items = items.filter(|(key, _)| is_selected(&key.1, &query));
                let items: Vec<&Value> = items.map(|(_, lease)| lease).collect();
                Ok(json!({
                    "kind": "LeaseList",
                    "apiVersion": "coordination.k8s.io/v1",
                    "metadata": { "resourceVersion": leases.version.to_string() },
                    "items": items,
                }))
            }
            (Method::POST, None) => leases.create(&namespace, sent),
            (Method::PUT, Some(name)) => leases.replace((namespace, name), sent),
            (_, _) => Err((405, "MethodNotAllowed")),
        }
    });
    Ok(match answer {
        Ok(object) => whole(200, &object),
        Err((code, reason)) => refusal(code, reason),
    })
}

/// What a real server says when it refuses.
fn refusal(code: u16, reason: &str) -> Response<StreamBody<Frames>> {
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": format!("the request about a Lease was refused: {reason}"),
        "reason": reason,
        "code": code,
    });
    whole(code, &status)
}

fn is_selected(name: &str, query: &BTreeMap<String, String>) -> bool {
    let wanted = query.get("fieldSelector");
    let wanted = wanted.and_then(|selector| selector.strip_prefix("metadata.name="));
    wanted.is_none_or(|wanted| wanted == name)
}

/// Everything that has happened since a version, and then everything that happens.
fn watch(
    world: &Arc<World>,
    namespace: String,
    query: &BTreeMap<String, String>,
) -> Response<StreamBody<Frames>> {
    let since = query.get("resourceVersion");
    let since: u64 = since.and_then(|version| version.parse().ok()).unwrap_or(0);
    let (world, query) = (Arc::clone(world), query.clone());
    let changes = world.changes();
    let events = stream::unfold((since, changes), move |(mut since, mut changes)| {
        let (world, query, namespace) = (Arc::clone(&world), query.clone(), namespace.clone());
        async move {
            loop {
                changes.borrow_and_update();
                let lines = {
                    let state = world.lock();
                    if state.leases.away {
                        return None;
                    }
                    let news = state.leases.history.iter().filter(|(at, ..)| *at > since);
                    let ours = news
                        .filter(|(_, key, _)| key.0 == namespace && is_selected(&key.1, &query));
                    let lines: String = ours.map(|(.., event)| format!("{event}\n")).collect();
                    since = state.leases.version;
                    lines
                };
                if !lines.is_empty() {
                    return Some((Ok(Frame::data(lines.into())), (since, changes)));
                }
                changes.changed().await.ok()?;
            }
        }
    });
    response(200, Box::pin(events))
}

fn whole(code: u16, object: &Value) -> Response<StreamBody<Frames>> {
    let body = Bytes::from(object.to_string());
    response(
        code,
        Box::pin(stream::once(async { Ok(Frame::data(body)) })),
    )
}

fn response(code: u16, frames: Frames) -> Response<StreamBody<Frames>> {
    let mut response = Response::new(StreamBody::new(frames));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn text(value: &Value, path: &str) -> String {
    let found = value.pointer(path).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}
