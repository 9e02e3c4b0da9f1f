//! The manifests in `deploy/`: what the chart has (protocol 15.7), the same with watches beside the
//! watcher, the same without a watcher, and settings that the binary takes in the sense that is meant.

use std::{fs, path::Path};

use k8s_relay::model::KindTable;
use saphyr::{LoadableYamlNode as _, Yaml};

use crate::surface::effective;

const MOUNT: &str = "/etc/network-explorer";
const STAGE_MOUNT: &str = "/var/lib/k8s-relay";
const RUN_MOUNT: &str = "/run/k8s-relay";

/// The chart's pod with this relay, the same on its way, and the relay alone.
const LEGACY: &str = "deploy/k8s-relay.yaml";
const SHADOW: &str = "deploy/shadow.yaml";
const NATIVE: &str = "deploy/native.yaml";
const ALL: [&str; 3] = [LEGACY, SHADOW, NATIVE];

/// The documents of a manifest by their kind.
struct Manifest(Vec<Yaml<'static>>);

impl Manifest {
    fn read(file: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text: &'static str = fs::read_to_string(path).unwrap().leak();
        Self(Yaml::load_from_str(text).unwrap())
    }

    fn kind(&self, kind: &str) -> &Yaml<'static> {
        let mut found = self
            .0
            .iter()
            .filter(|document| text(document, &["kind"]) == kind);
        let document = found.next().unwrap_or_else(|| panic!("no {kind}"));
        assert!(found.next().is_none(), "more than one {kind}");
        document
    }

    fn pod(&self) -> &Yaml<'static> {
        at(self.kind("Deployment"), &["spec", "template", "spec"])
    }

    fn container(&self, name: &str) -> &Yaml<'static> {
        let containers = at(self.pod(), &["containers"]).as_sequence().unwrap();
        containers
            .iter()
            .find(|container| text(container, &["name"]) == name)
            .unwrap()
    }

    /// The relay's settings, with the ConfigMap's files in `dir`.
    fn relay_settings(&self, dir: &Path) -> (Vec<(&str, &str)>, Vec<String>) {
        for (name, content) in at(self.kind("ConfigMap"), &["data"]).as_mapping().unwrap() {
            fs::write(dir.join(name.as_str().unwrap()), content.as_str().unwrap()).unwrap();
        }
        let relay = self.container("k8s-relay");
        let dir = dir.to_str().unwrap();
        let mounts = [MOUNT, STAGE_MOUNT, RUN_MOUNT];
        let local = |text: &str| {
            mounts
                .iter()
                .fold(text.to_owned(), |it, at| it.replace(at, dir))
        };
        let env = at(relay, &["env"]).as_sequence().unwrap().iter();
        let env = env
            .map(|var| {
                let value: &'static str = local(text(var, &["value"])).leak();
                (text(var, &["name"]), value)
            })
            .collect();
        let args = strings(at(relay, &["args"]))
            .into_iter()
            .map(local)
            .collect();
        (env, args)
    }
}

fn at<'a>(node: &'a Yaml<'static>, path: &[&str]) -> &'a Yaml<'static> {
    path.iter().fold(node, |node, key| {
        node.as_mapping_get(key)
            .unwrap_or_else(|| panic!("no {key} in {path:?}"))
    })
}

fn text<'a>(node: &'a Yaml<'static>, path: &[&str]) -> &'a str {
    at(node, path)
        .as_str()
        .unwrap_or_else(|| panic!("{path:?} is no text"))
}

fn strings<'a>(node: &'a Yaml<'static>) -> Vec<&'a str> {
    node.as_sequence()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap())
        .collect()
}

#[test]
fn the_binary_takes_the_manifests_arguments_and_variables_as_they_are_meant() {
    for (file, source, log_level) in [
        (LEGACY, "legacy", "warning"),
        (SHADOW, "shadow", "warning"),
        (NATIVE, "native", "warning"),
    ] {
        is_meant_so(&Manifest::read(file), source, log_level);
    }
}

fn is_meant_so(manifest: &Manifest, source: &str, log_level: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (env, args) = manifest.relay_settings(dir.path());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let effective = effective(&env, &args);
    let admin = format!("unix:{}/admin.sock,0.0.0.0:8713", dir.path().display());
    for (name, value) in [
        ("source", source),
        ("server-address", "localhost:8712"),
        ("intake-host", "opentelemetry-ebpf-reducer"),
        ("intake-port", "7000"),
        ("heartbeat-interval-sec", "2"),
        ("admin-address", &*admin),
        (log_level, "true"),
        ("log-file", ""),
        ("labels.environment", "my-cluster"),
    ] {
        assert_eq!(
            effective.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
}

#[test]
fn the_binary_takes_all_else_that_the_chart_can_set() {
    let manifest = Manifest::read(LEGACY);
    let dir = tempfile::tempdir().unwrap();
    let (mut env, args) = manifest.relay_settings(dir.path());
    fs::write(dir.path().join("config.yaml"), "labels:\n  environment: \n").unwrap();
    env.extend([
        ("EBPF_NET_CLUSTER_NAME", ""),
        ("EBPF_NET_DEBUG_MODE", "true"),
        ("EBPF_NET_RUN_UNDER_GDB", ""),
        ("EBPF_NET_MINIDUMP_DIR", "/dumps"),
        ("EBPF_NET_CRASH_METRIC_HOST", "metrics"),
        ("EBPF_NET_CRASH_METRIC_PORT", "8125"),
    ]);
    for (level, shown) in [
        ("--error", "error"),
        ("--warning", "warning"),
        ("--warn", "warning"),
        ("--info", "info"),
        ("--debug", "debug"),
        ("--trace", "trace"),
    ] {
        let mut args: Vec<&str> = args
            .iter()
            .map(String::as_str)
            .filter(|arg| *arg != "--warning")
            .collect();
        args.extend([
            level,
            "--log-whitelist-channel=reconnecting_channel tcp",
            "--log-whitelist-component=k8s",
            "--log-whitelist-cloud-platform=aws",
        ]);
        let effective = effective(&env, &args);
        assert_eq!(effective[shown], "true");
        assert_eq!(
            effective["labels.environment"], "null",
            "as the legacy reads it"
        );
    }
}

#[test]
fn the_account_may_list_and_watch_the_kinds_of_the_table_and_nothing_else() {
    for file in ALL {
        grants_the_table(&Manifest::read(file));
    }
}

fn grants_the_table(manifest: &Manifest) {
    let rules = at(manifest.kind("ClusterRole"), &["rules"])
        .as_sequence()
        .unwrap();
    let mut granted = Vec::new();
    for rule in rules {
        assert_eq!(strings(at(rule, &["verbs"])), ["get", "list", "watch"]);
        for group in strings(at(rule, &["apiGroups"])) {
            granted.extend(
                strings(at(rule, &["resources"]))
                    .into_iter()
                    .map(|kind| (group, kind)),
            );
        }
    }
    granted.sort();
    let table = KindTable::default();
    let rows = table.iter().map(|(_, row)| (&*row.group, &*row.resource));
    let mut watched: Vec<_> = rows.collect();
    watched.sort();
    assert_eq!(granted, watched);
}

#[test]
fn the_parts_name_each_other() {
    for file in ALL {
        fits_together(&Manifest::read(file));
    }
}

fn fits_together(manifest: &Manifest) {
    let name = |kind: &str| text(manifest.kind(kind), &["metadata", "name"]);
    let account = name("ServiceAccount");
    assert_eq!(text(manifest.pod(), &["serviceAccountName"]), account);
    let binding = manifest.kind("ClusterRoleBinding");
    assert_eq!(text(binding, &["roleRef", "name"]), name("ClusterRole"));
    let subject = &at(binding, &["subjects"]).as_sequence().unwrap()[0];
    assert_eq!(text(subject, &["name"]), account);
    let namespace = text(manifest.kind("ServiceAccount"), &["metadata", "namespace"]);
    assert_eq!(text(subject, &["namespace"]), namespace);
    for kind in ["ConfigMap", "Deployment"] {
        assert_eq!(
            text(manifest.kind(kind), &["metadata", "namespace"]),
            namespace
        );
    }

    let deployment = manifest.kind("Deployment");
    let labels = at(deployment, &["spec", "template", "metadata", "labels"])
        .as_mapping()
        .unwrap();
    for (key, value) in at(deployment, &["spec", "selector", "matchLabels"])
        .as_mapping()
        .unwrap()
    {
        assert_eq!(labels.get(key), Some(value));
    }

    let volume = &at(manifest.pod(), &["volumes"]).as_sequence().unwrap()[0];
    assert_eq!(text(volume, &["configMap", "name"]), name("ConfigMap"));
    let mount = &at(manifest.container("k8s-relay"), &["volumeMounts"])
        .as_sequence()
        .unwrap()[0];
    assert_eq!(text(mount, &["name"]), text(volume, &["name"]));
    assert_eq!(text(mount, &["mountPath"]), MOUNT);
}

#[test]
fn the_probes_ask_the_admin_listener_where_the_kubelet_reaches_it() {
    for file in ALL {
        let manifest = Manifest::read(file);
        let relay = manifest.container("k8s-relay");
        let port = &at(relay, &["ports"]).as_sequence().unwrap()[0];
        let number = at(port, &["containerPort"]).as_integer().unwrap();
        let address = admin_address(relay);
        assert!(
            address
                .split(',')
                .any(|one| one == format!("0.0.0.0:{number}"))
        );
        for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
            let get = at(relay, &[probe, "httpGet"]);
            assert_eq!(text(get, &["path"]), path);
            assert_eq!(text(get, &["port"]), text(port, &["name"]));
            // The relay itself gives its loop a second to answer.
            let limit = at(relay, &[probe, "timeoutSeconds"]).as_integer().unwrap();
            assert!(limit > 1, "{probe}");
        }
    }
}

fn admin_address<'a>(relay: &'a Yaml<'static>) -> &'a str {
    let mut env = at(relay, &["env"]).as_sequence().unwrap().iter();
    let named = |var: &&Yaml<'static>| text(var, &["name"]) == "K8S_RELAY_ADMIN_ADDRESS";
    text(env.find(named).unwrap(), &["value"])
}

#[test]
fn steps_are_taken_over_a_socket_in_a_folder_of_the_pod() {
    for file in ALL {
        let manifest = Manifest::read(file);
        let relay = manifest.container("k8s-relay");
        let socket = admin_address(relay)
            .split(',')
            .find_map(|one| one.strip_prefix("unix:"))
            .unwrap();
        let folder = Path::new(socket).parent().unwrap();
        assert_eq!(folder, Path::new(RUN_MOUNT), "{file}");
        let mounts = at(relay, &["volumeMounts"]).as_sequence().unwrap();
        let mount = mounts
            .iter()
            .find(|mount| text(mount, &["mountPath"]) == RUN_MOUNT)
            .unwrap();
        assert!(mount.as_mapping_get("readOnly").is_none(), "{file}");
        let volumes = at(manifest.pod(), &["volumes"]).as_sequence().unwrap();
        let volume = volumes
            .iter()
            .find(|volume| text(volume, &["name"]) == text(mount, &["name"]))
            .unwrap();
        assert!(volume.as_mapping_get("emptyDir").is_some(), "{file}");
    }
}

#[test]
fn the_pod_is_the_charts_pod_with_another_relay() {
    let manifest = Manifest::read(LEGACY);
    let spec = at(manifest.kind("Deployment"), &["spec"]);
    assert_eq!(at(spec, &["replicas"]).as_integer(), Some(1));
    assert_eq!(text(spec, &["strategy", "type"]), "RollingUpdate");
    let grace = at(manifest.pod(), &["terminationGracePeriodSeconds"]);
    assert_eq!(grace.as_integer(), Some(30));
    assert_eq!(
        strings(at(manifest.container("k8s-watcher"), &["args"])),
        ["--log-console", "--log-level=warning"]
    );
    // The entry point of the image, as the Dockerfile sets it.
    let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile");
    let dockerfile = fs::read_to_string(dockerfile).unwrap();
    let entry = strings(at(manifest.container("k8s-relay"), &["command"]));
    assert!(
        dockerfile.contains(&format!("ENTRYPOINT {entry:?}")),
        "{entry:?}"
    );
}

#[test]
fn the_relay_alone_differs_from_the_charts_pod_by_the_watcher_and_one_argument() {
    let (legacy, native) = (Manifest::read(LEGACY), Manifest::read(NATIVE));
    let containers = at(native.pod(), &["containers"]).as_sequence().unwrap();
    assert_eq!(containers.len(), 1);
    let [legacy_args, native_args] =
        [&legacy, &native].map(|manifest| strings(at(manifest.container("k8s-relay"), &["args"])));
    assert_eq!(
        native_args,
        [&["--source=native"], &legacy_args[..]].concat()
    );
    for kind in [
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
    ] {
        assert_eq!(legacy.kind(kind), native.kind(kind), "{kind}");
    }
}

#[test]
fn the_pod_on_its_way_differs_by_the_source_and_a_place_where_the_stage_is_kept() {
    let (legacy, shadow) = (Manifest::read(LEGACY), Manifest::read(SHADOW));
    let [legacy_args, args] =
        [&legacy, &shadow].map(|manifest| strings(at(manifest.container("k8s-relay"), &["args"])));
    let stage = format!("--state-file={STAGE_MOUNT}/stage.json");
    let meant = [&["--source=shadow", &stage], &legacy_args[..]].concat();
    assert_eq!(args, meant);
    let relay = shadow.container("k8s-relay");
    let mount = &at(relay, &["volumeMounts"]).as_sequence().unwrap()[2];
    let volume = &at(shadow.pod(), &["volumes"]).as_sequence().unwrap()[2];
    assert_eq!(text(mount, &["mountPath"]), STAGE_MOUNT);
    assert!(mount.as_mapping_get("readOnly").is_none());
    assert_eq!(text(mount, &["name"]), text(volume, &["name"]));
    assert!(volume.as_mapping_get("emptyDir").is_some());
    assert_eq!(
        legacy.container("k8s-watcher"),
        shadow.container("k8s-watcher")
    );
    for kind in [
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
    ] {
        assert_eq!(legacy.kind(kind), shadow.kind(kind), "{kind}");
    }
}
