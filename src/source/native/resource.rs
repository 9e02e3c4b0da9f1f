//! What a watch asks for, as paths and parameters of HTTP. Pure.
//!
//! Invariants: `resourceVersion=0` is never asked for (D11); the selector goes with pods only, or
//! their owners would be missing.

use std::{fmt::Write, time::Duration};

use super::{Timeouts, machine::ApiRequest};
use crate::model::{Form, Kind, KindRow};

const OBJECTS: &str = "application/json";
/// Behind the first choice stands what every server has: a full object has all that is read.
const METADATA: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// A kind in all namespaces, or in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The kind.
    pub kind: Kind,
    /// Its row.
    pub row: KindRow,
    /// The namespace; `None`: all.
    pub namespace: Option<String>,
    /// The label selector; not heeded unless the kind is pods.
    pub selector: Option<String>,
    /// The field selector.
    pub fields: Option<String>,
}

impl Resource {
    /// The namespace for people.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("all")
    }

    /// Path and parameters of a request.
    pub fn path(&self, ask: &ApiRequest<'_>, timeouts: &Timeouts) -> String {
        let mut path = self.row.root();
        if let Some(namespace) = &self.namespace {
            path.push_str("/namespaces/");
            encode(&mut path, namespace);
        }
        path.push('/');
        path.push_str(&self.row.resource);
        let mut query = Query {
            text: path,
            separator: '?',
        };
        match ask {
            ApiRequest::StreamedList => {
                query.add("watch", "true");
                query.add("sendInitialEvents", "true");
                query.add("resourceVersionMatch", "NotOlderThan");
                query.add("allowWatchBookmarks", "true");
                query.seconds("timeoutSeconds", timeouts.streamed_list);
            }
            ApiRequest::Page { limit, token } => {
                query.add("limit", &limit.to_string());
                if let Some(token) = token {
                    query.add("continue", token);
                }
            }
            ApiRequest::Version { selected } => {
                query.add("limit", "1");
                // It would make the server look at every object.
                if !selected {
                    return query.text;
                }
            }
            ApiRequest::Watch { version } => {
                query.add("watch", "true");
                query.add("allowWatchBookmarks", "true");
                query.seconds("timeoutSeconds", timeouts.watch);
                query.add("resourceVersion", version);
            }
        }
        if let Some(selector) = self.selector.as_ref().filter(|_| self.has_labels()) {
            query.add("labelSelector", selector);
        }
        if let Some(fields) = &self.fields {
            query.add("fieldSelector", fields);
        }
        query.text
    }

    /// Whether requests for it have a selector.
    pub fn is_selected(&self) -> bool {
        self.fields.is_some() || self.has_labels()
    }

    fn has_labels(&self) -> bool {
        self.kind == Kind::POD && self.selector.is_some()
    }

    /// The `Accept` header of a request.
    pub fn accept(&self, ask: &ApiRequest<'_>) -> &'static str {
        match (self.row.form, ask) {
            (Form::Pod | Form::Full, _) => OBJECTS,
            (Form::Metadata, ApiRequest::Page { .. } | ApiRequest::Version { .. }) => METADATA_LIST,
            (Form::Metadata, ApiRequest::StreamedList | ApiRequest::Watch { .. }) => METADATA,
        }
    }
}

struct Query {
    text: String,
    separator: char,
}

impl Query {
    fn add(&mut self, name: &str, value: &str) {
        self.text.push(std::mem::replace(&mut self.separator, '&'));
        self.text.push_str(name);
        self.text.push('=');
        encode(&mut self.text, value);
    }

    fn seconds(&mut self, name: &str, value: Duration) {
        self.add(name, &value.as_secs().max(1).to_string());
    }
}

/// Appends a text as a part of a URI.
fn encode(uri: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KindTable;

    fn resource(kind: Kind, namespace: Option<&str>) -> Resource {
        Resource {
            kind,
            row: KindTable::default().row(kind).clone(),
            namespace: namespace.map(str::to_owned),
            selector: Some("app=web,tier in (a)".to_owned()),
            fields: None,
        }
    }

    #[test]
    fn each_kind_has_its_path_and_only_pods_are_selected() {
        let watch = ApiRequest::Watch { version: "7" };
        let page = ApiRequest::Page {
            limit: 500,
            token: Some("a/b="),
        };
        let selector = "labelSelector=app%3Dweb%2Ctier%20in%20%28a%29";
        let following = "watch=true&allowWatchBookmarks=true&timeoutSeconds=60&resourceVersion=7";
        let streamed = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
                        &allowWatchBookmarks=true&timeoutSeconds=300";
        for (kind, namespace, ask, expected) in [
            (
                Kind::POD,
                None,
                &watch,
                format!("/api/v1/pods?{following}&{selector}"),
            ),
            (
                Kind::POD,
                Some("a"),
                &ApiRequest::StreamedList,
                format!("/api/v1/namespaces/a/pods?{streamed}&{selector}"),
            ),
            (
                Kind::REPLICA_SET,
                None,
                &page,
                "/apis/apps/v1/replicasets?limit=500&continue=a%2Fb%3D".to_owned(),
            ),
            (
                Kind::JOB,
                Some("b"),
                &watch,
                format!("/apis/batch/v1/namespaces/b/jobs?{following}"),
            ),
            (
                Kind::POD,
                None,
                &ApiRequest::Version { selected: false },
                "/api/v1/pods?limit=1".to_owned(),
            ),
            (
                Kind::POD,
                None,
                &ApiRequest::Version { selected: true },
                format!("/api/v1/pods?limit=1&{selector}"),
            ),
            (
                Kind::JOB,
                None,
                &ApiRequest::Version { selected: true },
                "/apis/batch/v1/jobs?limit=1".to_owned(),
            ),
        ] {
            let path = resource(kind, namespace).path(ask, &Timeouts::default());
            assert_eq!(path, expected);
        }
    }

    #[test]
    fn owners_are_asked_for_as_metadata() {
        let page = ApiRequest::Page {
            limit: 1,
            token: None,
        };
        let watch = ApiRequest::Watch { version: "1" };
        for (kind, ask, expected) in [
            (Kind::POD, &page, OBJECTS),
            (Kind::POD, &watch, OBJECTS),
            (Kind::JOB, &page, METADATA_LIST),
            (
                Kind::REPLICA_SET,
                &ApiRequest::Version { selected: false },
                METADATA_LIST,
            ),
            (Kind::REPLICA_SET, &ApiRequest::StreamedList, METADATA),
            (Kind::JOB, &watch, METADATA),
        ] {
            assert_eq!(
                resource(kind, None).accept(ask),
                expected,
                "{kind:?} {ask:?}"
            );
        }
    }
}
