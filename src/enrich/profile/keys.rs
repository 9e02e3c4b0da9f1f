//! The names that settings of a profile have, and what a wrong one was meant to be.

use crate::nearest::nearest;

/// Keys of a `- module: kubernetes` block that say how metrics are fetched.
pub(super) const WITHOUT_EFFECT: [&str; 9] = [
    "enabled",
    "period",
    "hosts",
    "host",
    "ssl",
    "bearer_token_file",
    "headers",
    "processors",
    "sync_period",
];

/// Metricsets of that module whose events have no metadata of an object.
pub(super) const NOT_ENRICHED: [&str; 9] = [
    "apiserver",
    "controllermanager",
    "event",
    "proxy",
    "scheduler",
    "state_horizontalpodautoscaler",
    "state_resourcequota",
    "system",
    "volume",
];

/// Keys of documents that an owner must not take.
pub(super) const TAKEN: [&str; 10] = [
    "annotations",
    "container",
    "labels",
    "namespace",
    "namespace_annotations",
    "namespace_labels",
    "namespace_uid",
    "node",
    "selectors",
    "state_namespace",
];

/// The settings of a profile that are its own.
const OF_PROFILES: [&str; 28] = [
    "module",
    "metricsets",
    "lookups",
    "scope",
    "add_metadata",
    "kube_config",
    "kube_client_options.qps",
    "kube_client_options.burst",
    "node",
    "namespace",
    "use_kubeadm",
    "add_resource_metadata.node.enabled",
    "add_resource_metadata.namespace.enabled",
    "add_resource_metadata.deployment",
    "add_resource_metadata.cronjob",
    "container_image",
    "pod_ips",
    "deleted_grace_seconds",
    "deleted_capacity",
    "watch_linger_seconds",
    "warm_cluster_scope",
    "extra_owner_kinds",
    "output_schema",
    "semconv",
    "parity",
    "cluster.name",
    "cluster.url",
    "cluster.config_map",
];

/// The settings of filters; each stands for the main object, for its node and its namespace.
const OF_FILTERS: [&str; 7] = [
    "include_labels",
    "exclude_labels",
    "include_annotations",
    "use_regex_include",
    "use_regex_exclude",
    "labels.dedot",
    "annotations.dedot",
];

/// Every setting that a wrong one may have been meant to be.
pub(super) fn known_keys() -> Vec<String> {
    let places = [
        "",
        "add_resource_metadata.node.",
        "add_resource_metadata.namespace.",
    ];
    let filters = places
        .iter()
        .flat_map(|place| OF_FILTERS.map(|key| format!("{place}{key}")));
    let own = OF_PROFILES.into_iter().chain(WITHOUT_EFFECT);
    own.map(str::to_owned).chain(filters).collect()
}

/// What is added to an error about a wrong name.
pub(super) fn suggestion(wrong: &str, known: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let known: Vec<_> = known.into_iter().collect();
    match nearest(wrong, known.iter().map(AsRef::as_ref)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::profile::{Profile, ProfileError, Setting};

    #[test]
    fn every_key_that_is_suggested_is_a_setting() {
        for key in known_keys() {
            // Whatever it takes, it is not this list: only an unknown key is refused by its name.
            let odd = Setting::List(vec![Setting::List(Vec::new())]);
            let block = Setting::Map(vec![(key.clone(), odd)]);
            let read = Profile::read(&block, None, &|_| None);
            let unknown = matches!(read, Err(ProfileError::UnknownKey(_)));
            assert!(!unknown, "{key}");
        }
    }
}
