//! What a lookup is about, as it is written on the command line.

use std::str::FromStr;

use crate::enrich::resource::Resource;

/// An object, or a container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// By its name.
    Named {
        /// Its kind.
        resource: Resource,
        /// Its namespace, if the kind has one.
        namespace: Option<String>,
        /// Its name.
        name: String,
        /// A container of the pod.
        container: Option<String>,
    },
    /// By a uid, of any kind.
    Uid(String),
    /// By the id of a container.
    ContainerId(String),
    /// By the address of a pod.
    PodAddress(String),
}

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Another form.
    #[error(
        "expected NS/NAME, KIND/NS/NAME, KIND/NAME, NS/NAME/CONTAINER, uid:UID, container:ID or ip:ADDRESS"
    )]
    Form,
    /// The kind has namespaces.
    #[error("a {0} has a namespace: {0}/NAMESPACE/NAME")]
    NeedsNamespace(Resource),
    /// The kind has none.
    #[error("a {0} has no namespace: {0}/NAME")]
    NoNamespace(Resource),
    /// Only pods have containers.
    #[error("a {0} has no containers")]
    NoContainers(Resource),
    /// Not an address.
    #[error("`{0}` is not an IP address")]
    Address(String),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if let Some((form, rest)) = text.split_once(':')
            && ["uid", "container", "ip"].contains(&form)
        {
            return match (form, rest) {
                (_, "") => Err(ReferenceError::Form),
                ("uid", uid) => Ok(Self::Uid(uid.to_owned())),
                ("container", id) => Ok(Self::ContainerId(id.to_owned())),
                (_, address) => match address.parse::<std::net::IpAddr>() {
                    Ok(_) => Ok(Self::PodAddress(address.to_owned())),
                    Err(_) => Err(ReferenceError::Address(address.to_owned())),
                },
            };
        }
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(ReferenceError::Form);
        }
        let named = |resource, namespace: Option<&str>, name: &str, container: Option<&str>| {
            Ok(Self::Named {
                resource,
                namespace: namespace.map(str::to_owned),
                name: name.to_owned(),
                container: container.map(str::to_owned),
            })
        };
        let kind = parts.first().and_then(|part| Resource::from_key(part));
        match (parts.as_slice(), kind) {
            ([_, name], Some(kind)) if !kind.namespaced() => named(kind, None, name, None),
            ([_, _], Some(kind)) => Err(ReferenceError::NeedsNamespace(kind)),
            ([namespace, name], None) => named(Resource::Pod, Some(namespace), name, None),
            ([_, "-", name], Some(kind)) if !kind.namespaced() => named(kind, None, name, None),
            ([_, _, _], Some(kind)) if !kind.namespaced() => Err(ReferenceError::NoNamespace(kind)),
            ([_, namespace, name], Some(kind)) => named(kind, Some(namespace), name, None),
            ([namespace, name, container], None) => {
                named(Resource::Pod, Some(namespace), name, Some(container))
            }
            ([_, namespace, name, container], Some(Resource::Pod)) => {
                named(Resource::Pod, Some(namespace), name, Some(container))
            }
            ([_, _, _, _], Some(kind)) => Err(ReferenceError::NoContainers(kind)),
            _ => Err(ReferenceError::Form),
        }
    }
}

impl Reference {
    /// The path of its lookup, and what its query begins with.
    pub(super) fn path(&self) -> (String, Vec<(&'static str, String)>) {
        let by = |key, value: &String| ("/v1/lookup".to_owned(), vec![(key, value.clone())]);
        match self {
            Self::Uid(uid) => by("uid", uid),
            Self::ContainerId(id) => by("container_id", id),
            Self::PodAddress(address) => by("pod_ip", address),
            Self::Named {
                resource,
                namespace,
                name,
                container,
            } => {
                let namespace = encoded(namespace.as_deref().unwrap_or("-"));
                let path = format!("/v1/lookup/{resource}/{namespace}/{}", encoded(name));
                let container = container.iter().map(|name| ("container", name.clone()));
                (path, container.collect())
            }
        }
    }
}

/// A part of a path: everything but letters, digits and a few signs as `%` and two digits.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_a_path_and_a_query() {
        for (text, path) in [
            ("shop/web-1", "/v1/lookup/pod/shop/web-1"),
            ("pod/shop/web-1", "/v1/lookup/pod/shop/web-1"),
            ("deployment/shop/web", "/v1/lookup/deployment/shop/web"),
            ("node/worker-1", "/v1/lookup/node/-/worker-1"),
            ("node/-/worker-1", "/v1/lookup/node/-/worker-1"),
            ("namespace/shop", "/v1/lookup/namespace/-/shop"),
            (
                "shop/web-1/main",
                "/v1/lookup/pod/shop/web-1?container=main",
            ),
            (
                "pod/shop/web-1/main",
                "/v1/lookup/pod/shop/web-1?container=main",
            ),
            ("uid:6f1c", "/v1/lookup?uid=6f1c"),
            (
                "container:containerd://ab",
                "/v1/lookup?container_id=containerd://ab",
            ),
            ("ip:10.0.0.1", "/v1/lookup?pod_ip=10.0.0.1"),
            ("ip:fd00::1", "/v1/lookup?pod_ip=fd00::1"),
            ("a b/c?d", "/v1/lookup/pod/a%20b/c%3Fd"),
        ] {
            let (mut shown, query) = text.parse::<Reference>().unwrap().path();
            for (key, value) in query {
                shown += &format!("?{key}={value}");
            }
            assert_eq!(shown, path, "{text}");
        }
    }

    #[test]
    fn what_is_none_of_the_forms_is_refused_with_the_right_one() {
        for (text, why) in [
            ("", ReferenceError::Form),
            ("web-1", ReferenceError::Form),
            ("shop/", ReferenceError::Form),
            ("a/b/c/d/e", ReferenceError::Form),
            ("uid:", ReferenceError::Form),
            ("job/import", ReferenceError::NeedsNamespace(Resource::Job)),
            (
                "node/shop/worker-1",
                ReferenceError::NoNamespace(Resource::Node),
            ),
            (
                "service/shop/web/main",
                ReferenceError::NoContainers(Resource::Service),
            ),
            ("ip:10.0.0", ReferenceError::Address("10.0.0".to_owned())),
        ] {
            assert_eq!(text.parse::<Reference>(), Err(why), "{text}");
        }
    }
}
