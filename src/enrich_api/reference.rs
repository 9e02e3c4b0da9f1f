//! Whom a lookup is about, as clients write it.

use std::net::IpAddr;

use serde::Deserialize;

use crate::enrich::{Reference, object::Timestamp, resource::Resource};

/// A reference with its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ref {
    /// [`Reference::Named`]
    Named {
        resource: Resource,
        namespace: String,
        name: String,
        container: Option<String>,
        uid: Option<String>,
    },
    /// [`Reference::Uid`]
    Uid(String),
    /// [`Reference::PodUid`]
    PodUid(String),
    /// [`Reference::ContainerId`]
    ContainerId(String),
    /// [`Reference::PodAddress`]
    PodAddress {
        address: IpAddr,
        at: Option<Timestamp>,
    },
}

/// A reference as it comes in; what is not set is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRef {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) container: String,
    pub(super) uid: String,
    pub(super) container_id: String,
    pub(super) pod_uid: String,
    pub(super) pod_ip: String,
    /// RFC 3339.
    pub(super) at: String,
}

/// Why it is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RefError {
    /// No kind has this key.
    #[error("`{0}` is not a kind that is known here")]
    Kind(String),
    /// It says nothing.
    #[error("a lookup needs a kind with a name or uid, or a uid, container id, or pod address")]
    Nothing,
    /// It says two things.
    #[error("a lookup is about one thing: a name, or a uid, container id, or pod address")]
    Several,
    /// A part is missing.
    #[error("{0}")]
    Part(String),
}

impl Ref {
    /// What the module is asked.
    pub(super) fn as_reference(&self) -> Reference<'_> {
        match self {
            Self::Named {
                resource,
                namespace,
                name,
                container,
                uid,
            } => Reference::Named {
                resource: *resource,
                namespace,
                name,
                container: container.as_deref(),
                uid: uid.as_deref(),
            },
            Self::Uid(uid) => Reference::Uid(uid),
            Self::PodUid(uid) => Reference::PodUid(uid),
            Self::ContainerId(id) => Reference::ContainerId(id),
            Self::PodAddress { address, at } => Reference::PodAddress {
                address: *address,
                at: *at,
            },
        }
    }
}

impl RawRef {
    /// What it means.
    ///
    /// # Errors
    /// It means nothing, or several things, or a part of it cannot be read.
    pub(super) fn read(self) -> Result<Ref, RefError> {
        let at = match self.at.as_str() {
            "" => None,
            text => {
                let problem =
                    || RefError::Part(format!("`at` is not a time of RFC 3339: `{text}`"));
                Some(Timestamp::parse(text).ok_or_else(problem)?)
            }
        };
        self.read_at(at)
    }

    /// The same, where the time is known.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn read_at(self, at: Option<Timestamp>) -> Result<Ref, RefError> {
        let is_named = [&self.kind, &self.namespace, &self.name, &self.container]
            .iter()
            .any(|part| !part.is_empty());
        let forms = [
            is_named || !self.uid.is_empty(),
            !self.container_id.is_empty(),
            !self.pod_uid.is_empty(),
            !self.pod_ip.is_empty(),
        ];
        match forms.into_iter().filter(|is_set| *is_set).count() {
            0 => return Err(RefError::Nothing),
            1 => {}
            _ => return Err(RefError::Several),
        }
        if at.is_some() && self.pod_ip.is_empty() {
            let problem = "only a pod's address is looked up `at` a time";
            return Err(RefError::Part(problem.to_owned()));
        }
        if is_named {
            return self.named();
        }
        if !self.uid.is_empty() {
            return Ok(Ref::Uid(self.uid));
        }
        if !self.pod_uid.is_empty() {
            return Ok(Ref::PodUid(self.pod_uid));
        }
        if !self.container_id.is_empty() {
            return container_id(self.container_id);
        }
        let address = self.pod_ip.parse();
        let address = address
            .map_err(|_| RefError::Part(format!("`{}` is not an IP address", self.pod_ip)))?;
        Ok(Ref::PodAddress { address, at })
    }

    fn named(self) -> Result<Ref, RefError> {
        if self.kind.is_empty() {
            return Err(RefError::Part("a lookup by name needs a kind".to_owned()));
        }
        let resource = Resource::from_key(&self.kind).ok_or(RefError::Kind(self.kind))?;
        let namespace = if self.namespace == "-" {
            String::new()
        } else {
            self.namespace
        };
        let missing = |part: &str| RefError::Part(format!("a {resource} is looked up by {part}"));
        if self.uid.is_empty() {
            if self.name.is_empty() {
                return Err(missing("its name or its uid"));
            }
            if namespace.is_empty() && resource.namespaced() {
                return Err(missing("its namespace and its name"));
            }
        }
        if !self.container.is_empty() && resource != Resource::Pod {
            return Err(RefError::Part(format!("a {resource} has no containers")));
        }
        let given = |text: String| (!text.is_empty()).then_some(text);
        Ok(Ref::Named {
            resource,
            namespace,
            name: self.name,
            container: given(self.container),
            uid: given(self.uid),
        })
    }
}

/// `ID` or `RUNTIME://ID`
fn container_id(id: String) -> Result<Ref, RefError> {
    let bare = id.split_once("://").map_or(id.as_str(), |(_, bare)| bare);
    match bare.is_empty() {
        true => Err(RefError::Part(format!("`{id}` is not a container id"))),
        false => Ok(Ref::ContainerId(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Ref, String> {
        let raw: RawRef = serde_json::from_str(json).map_err(|error| error.to_string())?;
        raw.read().map_err(|error| error.to_string())
    }

    fn named(resource: Resource, namespace: &str, name: &str) -> Ref {
        Ref::Named {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            container: None,
            uid: None,
        }
    }

    #[test]
    fn a_reference_has_one_of_its_forms() {
        let at = Timestamp::parse("2026-11-30T08:00:00Z");
        for (json, expected) in [
            (
                r#"{"kind":"pod","namespace":"n","name":"a"}"#,
                named(Resource::Pod, "n", "a"),
            ),
            (
                r#"{"kind":"node","namespace":"-","name":"a"}"#,
                named(Resource::Node, "", "a"),
            ),
            (r#"{"uid":"u"}"#, Ref::Uid("u".to_owned())),
            (r#"{"pod_uid":"u"}"#, Ref::PodUid("u".to_owned())),
            (
                r#"{"container_id":"containerd://c"}"#,
                Ref::ContainerId("containerd://c".to_owned()),
            ),
            (
                r#"{"pod_ip":"fd00::1","at":"2026-11-30T08:00:00Z"}"#,
                Ref::PodAddress {
                    address: "fd00::1".parse().unwrap(),
                    at,
                },
            ),
        ] {
            assert_eq!(read(json), Ok(expected), "{json}");
        }
        let by_uid = read(r#"{"kind":"pod","uid":"u","container":"c"}"#);
        assert!(matches!(by_uid, Ok(Ref::Named { uid: Some(_), .. })));
    }

    #[test]
    fn what_is_no_reference_says_why() {
        for (json, problem) in [
            ("{}", "needs a kind"),
            (r#"{"at":"2026-11-30T08:00:00Z"}"#, "needs a kind"),
            (
                r#"{"kind":"rollout","name":"a"}"#,
                "`rollout` is not a kind",
            ),
            (
                r#"{"kind":"Pod","namespace":"n","name":"a"}"#,
                "`Pod` is not a kind",
            ),
            (r#"{"name":"a"}"#, "needs a kind"),
            (r#"{"kind":"pod","name":"a"}"#, "its namespace and its name"),
            (
                r#"{"kind":"pod","namespace":"-","name":"a"}"#,
                "its namespace",
            ),
            (r#"{"kind":"node"}"#, "its name or its uid"),
            (
                r#"{"kind":"node","name":"a","container":"c"}"#,
                "no containers",
            ),
            (r#"{"uid":"u","pod_ip":"10.0.0.1"}"#, "one thing"),
            (
                r#"{"kind":"pod","namespace":"n","name":"a","container_id":"c"}"#,
                "one thing",
            ),
            (
                r#"{"pod_ip":"10.0.0.256"}"#,
                "`10.0.0.256` is not an IP address",
            ),
            (r#"{"pod_ip":"10.0.0.1","at":"yesterday"}"#, "`yesterday`"),
            (
                r#"{"uid":"u","at":"2026-11-30T08:00:00Z"}"#,
                "only a pod's address",
            ),
            (r#"{"container_id":"docker://"}"#, "is not a container id"),
            (r#"{"other":"x"}"#, "unknown field `other`"),
            (r#"{"uid":7}"#, "expected a string"),
        ] {
            let said = read(json).unwrap_err();
            assert!(said.contains(problem), "{json}: {said}");
        }
    }
}
