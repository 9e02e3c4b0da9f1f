//! The settings of profiles.

use k8s_relay::enrich::{
    profile::{Parity, Profile, ProfileSet, Schema, ScopeSetting, Semconv, Setting, Watch},
    resource::{Metricset, Resource},
};
use serde_json::{Value, json};

use super::world::setting;

fn read(settings: Value) -> Profile {
    Profile::read(&setting(&settings), None, &environment).unwrap_or_else(|error| panic!("{error}"))
}

fn environment(name: &str) -> Option<String> {
    (name == "NODE_NAME").then(|| "worker-1".to_owned())
}

/// Of a node-scoped profile: `pod*`.
fn watches(profile: &Profile) -> String {
    shown(&profile.watches())
}

fn shown(watches: &[Watch]) -> String {
    let word = |watch: &Watch| {
        format!(
            "{}{}",
            watch.resource,
            if watch.node_scope { "*" } else { "" }
        )
    };
    watches.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_empty_block_has_the_defaults_of_beats() {
    let profile = read(json!({}));
    assert_eq!(profile.metricsets, Metricset::ALL);
    assert_eq!(profile.scope, ScopeSetting::Cluster);
    assert!(profile.add_metadata && profile.container_image && profile.use_kubeadm);
    assert!(profile.node.is_some() && profile.namespace.is_some());
    assert!(!profile.deployment && !profile.cronjob && !profile.pod_ips);
    assert!(profile.main.dedot_labels && profile.main.include_labels.is_none());
    assert_eq!(
        (profile.schema, profile.semconv),
        (Schema::Ecs, Semconv::V1)
    );
    assert_eq!(profile.deleted_grace.as_secs(), 120);
    assert_eq!(
        watches(&profile),
        "node namespace pod deployment daemonset replicaset statefulset job cronjob service \
         persistentvolume persistentvolumeclaim storageclass"
    );
}

#[test]
fn a_whole_block_of_metricbeat_can_be_given() {
    let profile = read(json!([{
        "module": "kubernetes",
        "metricsets": ["pod", "container", "pod", "volume", "system"],
        "enabled": true, "period": "10s", "hosts": ["https://${NODE_NAME}:10250"],
        "bearer_token_file": "/token", "ssl.verification_mode": "none",
        "ssl": { "certificate_authorities": ["/ca"] },
        "processors": [{ "add_cloud_metadata": { "x": 1 } }],
        "headers": { "a": "b" }, "host": "x", "sync_period": "10m",
        "node": "${NODE_NAME}", "namespace": "${NONE:shop}", "add_metadata": "yes",
        "labels.dedot": false, "annotations": { "dedot": false },
        "include_labels": "app", "exclude_labels": [],
        "add_resource_metadata": {
            "node": { "include_labels": ["zone"], "enabled": true },
            "namespace.enabled": false, "deployment": true, "cronjob": null,
        },
        "kube_client_options": { "qps": 2.5, "burst": 4 },
    }]));
    assert_eq!(profile.metricsets, [Metricset::Pod, Metricset::Container]);
    assert_eq!(
        profile.without_effect,
        [
            "metricsets: volume",
            "metricsets: system",
            "enabled",
            "period",
            "hosts",
            "bearer_token_file",
            "ssl",
            "processors",
            "headers",
            "host",
            "sync_period",
            "kube_client_options.qps",
            "kube_client_options.burst",
        ]
    );
    assert_eq!(profile.scope, ScopeSetting::Node("worker-1".to_owned()));
    assert_eq!(profile.watched_namespace, "shop");
    assert!(!profile.main.dedot_labels && !profile.main.dedot_annotations);
    let included = profile.main.include_labels.as_ref().unwrap();
    assert!(included.selects("app") && !included.selects("apps"));
    assert!(profile.main.exclude_labels.is_none());
    let node = profile
        .node
        .as_ref()
        .unwrap()
        .include_labels
        .as_ref()
        .unwrap();
    assert!(node.selects("zone") && profile.namespace.is_none());
    assert!(profile.deployment && !profile.cronjob);
    assert_eq!(watches(&profile), "node replicaset pod*");
}

#[test]
fn a_setting_that_is_none_stops_the_reading() {
    for (settings, expected) in [
        (
            json!({ "inclde_labels": [] }),
            "`inclde_labels` is not a setting of a profile; did you mean `include_labels`?",
        ),
        (
            json!({ "add_resource_metadata.pod.enabled": true }),
            "`add_resource_metadata.pod.enabled` is not a setting of a profile; \
             did you mean `add_resource_metadata.node.enabled`?",
        ),
        (
            json!({ "labels.dedott": null }),
            "`labels.dedott` is not a setting of a profile; did you mean `labels.dedot`?",
        ),
        (
            json!({ "module": "system" }),
            "`module`: expected `kubernetes`",
        ),
        (
            json!({ "metricsets": ["state_pods"] }),
            "`metricsets`: `state_pods` is not a metricset; did you mean `state_pod`?",
        ),
        (
            json!({ "metricsets": [["pod"]] }),
            "`metricsets`: expected a list of texts",
        ),
        (
            json!({ "use_kubeadm": "maybe" }),
            "`use_kubeadm`: expected true or false, not `maybe`",
        ),
        (
            json!({ "output_schema": "ECS" }),
            "`output_schema`: expected `ecs` or `otel`, not `ECS`",
        ),
        (
            json!({ "deleted_grace_seconds": -1 }),
            "`deleted_grace_seconds`: expected a number from 0, not `-1`",
        ),
        (
            json!({ "deleted_capacity": 1.5 }),
            "`deleted_capacity`: expected a whole number from 0, not `1.5`",
        ),
        (
            json!({ "cluster.config_map": "a/b" }),
            "`cluster.config_map`: expected `namespace/name/key`",
        ),
        (
            json!({ "extra_owner_kinds": ["Node"] }),
            "`extra_owner_kinds`: documents say something else under `node`",
        ),
        (
            json!({ "extra_owner_kinds": ["a b"] }),
            "`extra_owner_kinds`: `a b` is not a kind, such as `Rollout`",
        ),
        (
            json!({ "node": "${NODE}" }),
            "`node`: the variable `NODE` is not set",
        ),
        (
            json!({ "node": "${NODE" }),
            "`node`: `${NODE` has a `${` without its `}`",
        ),
        (
            json!({ "scope": "node", "a": { "b": 1 } }),
            "`a.b` is not a setting of a profile",
        ),
        (
            json!({ "labels.dedot": true, "labels": { "dedot": true } }),
            "`labels.dedot` is set twice",
        ),
        (
            json!([{}, {}]),
            "a profile is one map of settings, or a list of one",
        ),
        (
            json!("pod"),
            "a profile is one map of settings, or a list of one",
        ),
    ] {
        let shown = settings.to_string();
        let error = Profile::read(&setting(&settings), None, &environment).unwrap_err();
        assert_eq!(error.to_string(), expected, "{shown}");
    }
}

#[test]
fn an_expression_that_does_not_compile_is_one_warning() {
    let profile = read(json!({
        "include_labels": ["(", "^app"], "use_regex_include": true,
        "add_resource_metadata.node": { "exclude_labels": ["a**"], "use_regex_exclude": true },
    }));
    assert_eq!(
        profile.warnings,
        [
            "`(` is left out: missing ): `(`",
            "`a**` is left out: repetition of a repetition: `*`",
        ]
    );
}

#[test]
fn the_scope_follows_from_the_node_unless_it_is_set() {
    let node = |name: &str| ScopeSetting::Node(name.to_owned());
    for (settings, sent, expected) in [
        (json!({}), None, ScopeSetting::Cluster),
        (json!({}), Some("n"), node("n")),
        (json!({ "node": "m" }), Some("n"), node("m")),
        (
            json!({ "node": "m", "scope": "cluster" }),
            Some("n"),
            ScopeSetting::Cluster,
        ),
        (json!({ "scope": "node" }), None, node("")),
    ] {
        let profile = Profile::read(&setting(&settings), sent, &environment).unwrap();
        assert_eq!(profile.scope, expected, "{settings}");
    }
}

#[test]
fn a_watch_is_of_a_node_only_if_all_who_share_it_are() {
    for (settings, expected) in [
        (
            json!({ "metricsets": ["pod"], "node": "n" }),
            "node namespace pod*",
        ),
        (
            json!({ "metricsets": ["pod", "state_pod"], "node": "n" }),
            "node namespace pod",
        ),
        (
            json!({ "metricsets": ["state_container"], "node": "n" }),
            "node namespace pod",
        ),
        (json!({ "metricsets": ["pod"] }), "node namespace pod"),
        (
            json!({ "metricsets": ["container"], "lookups": ["pod", "service"], "node": "n" }),
            "node namespace pod* service",
        ),
        (
            json!({ "metricsets": [], "lookups": ["persistentvolume"] }),
            "persistentvolume",
        ),
        (
            json!({ "metricsets": ["state_service"], "add_resource_metadata.namespace.enabled": false }),
            "service",
        ),
        (json!({ "add_metadata": false }), ""),
    ] {
        assert_eq!(watches(&read(settings.clone())), expected, "{settings}");
    }
}

#[test]
fn what_must_be_kept_of_a_kind_follows_from_its_uses() {
    let profile = read(json!({
        "metricsets": ["pod", "state_service"],
        "include_annotations": ["a"],
        "add_resource_metadata": {
            "node": { "include_annotations": ["^n"], "use_regex_include": true },
            "deployment": true,
        },
    }));
    for (resource, labels, details, annotations) in [
        (Resource::Pod, true, true, "a"),
        (Resource::Service, true, true, "a"),
        (Resource::Node, true, true, "n1"),
        (Resource::Namespace, true, true, ""),
        (Resource::ReplicaSet, false, false, ""),
        (Resource::Job, false, false, ""),
    ] {
        let needs = profile.needs(resource);
        assert_eq!(
            (needs.labels, needs.details),
            (labels, details),
            "{resource}"
        );
        let kept: Vec<_> = ["a", "n1"]
            .into_iter()
            .filter(|key| needs.keeps_annotation(key))
            .collect();
        assert_eq!(kept.join(" "), annotations, "{resource}");
        assert!(!needs.otel);
    }
    let otel = read(json!({ "output_schema": "otel", "include_annotations": ["b"] }));
    assert!(
        otel.deployment && otel.cronjob,
        "owners are named unless that is switched off"
    );
    let (mut united, other) = (profile.needs(Resource::Pod), otel.needs(Resource::Pod));
    assert!(!united.cover(&other) && other.otel);
    united.unite(&other);
    assert!(united.cover(&other) && united.cover(&profile.needs(Resource::Pod)));
    assert!(united.keeps_annotation("a") && united.keeps_annotation("b"));
}

#[test]
fn parity_with_beats_leaves_the_image_to_the_event() {
    let image = |settings: Value| read(settings).container_image;
    assert!(!image(json!({ "parity": "beats" })));
    assert!(image(json!({ "parity": "beats", "container_image": true })));
    assert_eq!(read(json!({ "parity": "beats" })).parity, Parity::Beats);
}

#[test]
fn a_built_in_owner_kind_needs_no_setting() {
    let profile = read(json!({ "extra_owner_kinds": ["Rollout", "Deployment", "CloneSet"] }));
    let keys: Vec<_> = profile
        .extra_owner_kinds
        .iter()
        .map(|extra| extra.key.as_str())
        .collect();
    assert_eq!(keys, ["rollout", "cloneset"]);
}

#[test]
fn profiles_share_watches_and_unite_their_needs() {
    let set = |settings: Value| ProfileSet::read(&setting(&settings), None, &environment);
    let one = set(json!({
        "address": "127.0.0.1:${PORT:8714}",
        "default_profile": "b",
        "profiles": {
            "a": { "metricsets": ["pod"], "node": "n", "deleted_grace_seconds": 7 },
            "b": [{ "metricsets": ["pod", "state_job"], "include_annotations": ["x"],
                    "deleted_capacity": 3 }],
        },
    }));
    let one = one.unwrap();
    assert_eq!(one.address.as_deref(), Some("127.0.0.1:8714"));
    assert_eq!(shown(&one.watches()), "node namespace pod job");
    assert!(one.needs(Resource::Pod).keeps_annotation("x"));
    assert!(one.needs(Resource::Job).labels && !one.needs(Resource::Service).labels);
    let retention = one.retention();
    assert_eq!(
        (retention.grace.as_secs(), retention.capacity),
        (120, 10_000)
    );
    let empty = set(json!({})).unwrap();
    assert_eq!(
        (empty.profiles.len(), empty.default_profile.as_str()),
        (1, "default")
    );
    assert_eq!(empty.address, None);
}

#[test]
fn settings_that_are_no_profiles_say_why() {
    for (settings, expected) in [
        (
            json!({ "profile": {} }),
            "`enrichment.profile` is not a setting; did you mean `profiles`?",
        ),
        (
            json!({ "profiles": [] }),
            "`enrichment.profiles`: expected a map of profiles",
        ),
        (
            json!([]),
            "`enrichment.profiles`: expected a map of profiles",
        ),
        (
            json!({ "address": {} }),
            "`enrichment.address`: expected a text",
        ),
        (
            json!({ "address": "${PORT}" }),
            "`enrichment.address`: the variable `PORT` is not set",
        ),
        (
            json!({ "profiles": {
                "a": { "kube_config": "/one" }, "default": {}, "b": { "kube_config": "/two" },
            } }),
            "the profiles `a` and `b` name two kubeconfigs: a relay watches one cluster, so \
             `kube_config` must be the same wherever it is set",
        ),
        (
            json!({ "default_profile": "a" }),
            "`enrichment.default_profile`: there is no profile `a`",
        ),
        (
            json!({ "profiles": { "a": { "scop": 1 } } }),
            "the profile `a`: `scop` is not a setting of a profile; did you mean `scope`?",
        ),
        (
            json!({ "profiles": { "a": {} } }),
            "`enrichment.default_profile`: there is no profile `default`",
        ),
    ] {
        let shown = settings.to_string();
        let error = ProfileSet::read(&setting(&settings), None, &environment).unwrap_err();
        assert_eq!(error.to_string(), expected, "{shown}");
    }
    let twice = |key: &str| (key.to_owned(), Setting::Null);
    let settings = Setting::Map(vec![twice("address"), twice("address")]);
    let error = ProfileSet::read(&settings, None, &environment).unwrap_err();
    assert_eq!(error.to_string(), "`enrichment.address` is set twice");
    let settings = Setting::Map(vec![(
        "profiles".to_owned(),
        Setting::Map(vec![twice("a"), twice("a")]),
    )]);
    let error = ProfileSet::read(&settings, None, &environment).unwrap_err();
    assert_eq!(error.to_string(), "`enrichment.profiles.a` is set twice");
}
