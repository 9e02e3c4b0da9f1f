//! Variables that look like settings and are none.

use std::collections::{BTreeMap, BTreeSet};

use crate::nearest::nearest;

const PREFIX: &str = "K8S_RELAY_";

/// That of the legacy programs' variables.
const LEGACY_PREFIX: &str = "EBPF_NET_";

/// Whether one of these variables speaks to the relay: its name starts as the relay's do, and it
/// is not one that Kubernetes sets for a Service.
pub(crate) fn has_own_variables(set: impl IntoIterator<Item = String>) -> bool {
    let set: BTreeSet<String> = set
        .into_iter()
        .filter(|name| name.starts_with(PREFIX) || name.starts_with(LEGACY_PREFIX))
        .collect();
    let services = services(&set);
    set.iter()
        .any(|name| !services.iter().any(|service| is_of(service, name)))
}

/// One warning about all variables that start as ours do and are unknown; `None` without one.
///
/// Kubernetes sets variables for each Service of a pod's namespace; those of a Service whose
/// name starts with `k8s-relay` are nobody's mistake.
pub(super) fn unknown<'a>(
    present: impl IntoIterator<Item = String>,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let present: BTreeSet<String> = present
        .into_iter()
        .filter(|name| name.starts_with(PREFIX))
        .collect();
    let known: BTreeSet<&str> = known.into_iter().collect();
    let services = services(&present);
    let wrong: BTreeMap<&str, Option<&str>> = present
        .iter()
        .map(String::as_str)
        .filter(|name| !known.contains(name) && !services.iter().any(|s| is_of(s, name)))
        .map(|name| (name, nearest(name, known.iter().copied())))
        .collect();
    if wrong.is_empty() {
        return None;
    }
    let shown = |(name, near): (&&str, &Option<&str>)| match near {
        Some(near) => format!("{name} (did you mean {near}?)"),
        None => (*name).to_owned(),
    };
    let all: Vec<String> = wrong.iter().map(shown).collect();
    Some(format!("unknown variables are ignored: {}", all.join(", ")))
}

/// The prefixes of Services' variables: always that of `k8s-relay`, whose name is reserved.
fn services(present: &BTreeSet<String>) -> Vec<&str> {
    let hosts = present
        .iter()
        .filter_map(|name| name.strip_suffix("_SERVICE_HOST"))
        .filter(|service| present.contains(&format!("{service}_SERVICE_PORT")));
    hosts.chain(["K8S_RELAY"]).collect()
}

fn is_of(service: &str, variable: &str) -> bool {
    variable.strip_prefix(service).is_some_and(|rest| {
        rest == "_PORT" || rest.starts_with("_PORT_") || rest.starts_with("_SERVICE_")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(present: &[&str], warning: Option<&str>) {
        let known = ["K8S_RELAY_SOURCE", "K8S_RELAY_LIST", "EBPF_NET_INTAKE_HOST"];
        let present = present.iter().map(|name| (*name).to_owned());
        assert_eq!(unknown(present, known).as_deref(), warning);
    }

    #[test]
    fn all_unknown_variables_are_one_warning_with_the_nearest_known_ones() {
        check(&[], None);
        check(&["K8S_RELAY_SOURCE", "HOME", "EBPF_NET_DEBUG_MODE"], None);
        check(
            &["K8S_RELAY_SORCE", "K8S_RELAY_LIST", "K8S_RELAY_QUUX"],
            Some(
                "unknown variables are ignored: K8S_RELAY_QUUX, \
                 K8S_RELAY_SORCE (did you mean K8S_RELAY_SOURCE?)",
            ),
        );
        check(
            &["K8S_RELAY_INTAKE_HOST"],
            Some(
                "unknown variables are ignored: \
                 K8S_RELAY_INTAKE_HOST (did you mean EBPF_NET_INTAKE_HOST?)",
            ),
        );
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_is_nobodys_mistake() {
        check(
            &[
                "K8S_RELAY_SERVICE_HOST",
                "K8S_RELAY_SERVICE_PORT",
                "K8S_RELAY_SERVICE_PORT_GRPC",
                "K8S_RELAY_PORT",
                "K8S_RELAY_PORT_8712_TCP_ADDR",
                "K8S_RELAY_ADMIN_SERVICE_HOST",
                "K8S_RELAY_ADMIN_SERVICE_PORT",
                "K8S_RELAY_ADMIN_PORT",
                "K8S_RELAY_ADMIN_PORT_8713_TCP_PROTO",
            ],
            None,
        );
        // No Service is called so.
        check(
            &["K8S_RELAY_LISTEN_PORT", "K8S_RELAY_PORTS"],
            Some("unknown variables are ignored: K8S_RELAY_LISTEN_PORT, K8S_RELAY_PORTS"),
        );
    }
}
