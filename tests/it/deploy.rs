//! What is in `deploy/`, and the Dockerfile: it parses, the program knows each of its flags and
//! variables and takes them as they are meant, and rights are those of the one table.
//!
//! Rendered by Helm and kustomize, and shown to a real API server: `compat/deploy`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use clap::CommandFactory as _;
use k8s_relay::{cli::Cli, model::KindTable};
use saphyr::{LoadableYamlNode as _, Yaml};

use crate::surface::effective;

const KUSTOMIZE: &str = "deploy/kustomize";
const CHART: &str = "deploy/helm/k8s-relay";

/// Where the pods have the files that the tests put elsewhere.
const MOUNTS: [&str; 3] = ["/etc/k8s-relay", "/run/k8s-relay", "/var/lib/k8s-relay"];

/// A mode, the `--source` of it, and where kustomize has its roles.
const MODES: [(&str, &str, Option<&str>); 5] = [
    ("legacy-sidecar", "legacy", Some("base/rbac.yaml")),
    ("shadow", "shadow", Some("base/rbac.yaml")),
    ("native", "native", Some("base/rbac.yaml")),
    ("enrichment", "none", None),
    (
        "enrichment-node",
        "none",
        Some("overlays/enrichment-node/rbac.yaml"),
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(text: &str) -> Vec<Yaml<'static>> {
    let text: &'static str = text.to_owned().leak();
    Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// All YAML files below a folder.
fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(yaml_files(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            found.push(path);
        }
    }
    found.sort();
    found
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

fn sequence<'a>(node: &'a Yaml<'static>, path: &[&str]) -> &'a [Yaml<'static>] {
    at(node, path).as_sequence().unwrap()
}

fn strings<'a>(node: &'a Yaml<'static>, path: &[&str]) -> Vec<&'a str> {
    let all = sequence(node, path).iter();
    all.map(|item| item.as_str().unwrap()).collect()
}

// === kustomize ===

/// The relay's container of a workload.
fn relay<'a>(workload: &'a Yaml<'static>) -> &'a Yaml<'static> {
    let containers = sequence(workload, &["spec", "template", "spec", "containers"]);
    let named = |one: &&Yaml<'static>| text(one, &["name"]) == "k8s-relay";
    containers.iter().find(named).unwrap()
}

fn workload(file: &str) -> Yaml<'static> {
    documents(&read(Path::new(KUSTOMIZE).join(file))).remove(0)
}

/// What an overlay patches to the front of the relay's arguments, in its order.
fn patched_args(mode: &str) -> Vec<String> {
    let file = format!("{KUSTOMIZE}/overlays/{mode}/kustomization.yaml");
    let overlay = documents(&read(file)).remove(0);
    let mut args = Vec::new();
    for patch in sequence(&overlay, &["patches"]) {
        for step in documents(text(patch, &["patch"]))
            .remove(0)
            .as_sequence()
            .unwrap()
        {
            let place = text(step, &["path"]);
            if let Some(index) = place.strip_prefix("/spec/template/spec/containers/0/args/") {
                args.insert(index.parse().unwrap(), text(step, &["value"]).to_owned());
            }
        }
    }
    args
}

#[test]
fn the_program_takes_the_overlays_settings_as_they_are_meant() {
    for (mode, source, roles) in MODES {
        if roles.is_none() {
            continue;
        }
        let alone = mode == "enrichment-node";
        let (file, config) = match alone {
            true => (
                "overlays/enrichment-node/daemonset.yaml",
                "overlays/enrichment-node",
            ),
            false => ("base/deployment.yaml", "base"),
        };
        let workload = workload(file);
        let dir = tempfile::tempdir().unwrap();
        let local = |text: &str| {
            let dir = dir.path().to_str().unwrap();
            MOUNTS
                .iter()
                .fold(text.to_owned(), |it, at| it.replace(at, dir))
        };
        fs::write(
            dir.path().join("config.yaml"),
            read(format!("{KUSTOMIZE}/{config}/config.yaml")),
        )
        .unwrap();
        let mut args = if alone {
            Vec::new()
        } else {
            patched_args(mode)
        };
        let relay = relay(&workload);
        args.extend(strings(relay, &["args"]).into_iter().map(ToOwned::to_owned));
        let args: Vec<String> = args.iter().map(|arg| local(arg)).collect();
        let env: Vec<(&str, String)> = sequence(relay, &["env"])
            .iter()
            .map(|one| {
                let value = one.as_mapping_get("value");
                // The name of the node comes from the API server.
                let value = value.map_or("node-1", |value| value.as_str().unwrap());
                (text(one, &["name"]), local(value))
            })
            .collect();
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, &**value)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let effective = effective(&env, &args);
        let host = if alone { "127.0.0.1" } else { "0.0.0.0" };
        let admin = format!("unix:{}/admin.sock,{host}:8713", dir.path().display());
        let mut meant = vec![
            ("source", source),
            ("warning", "true"),
            ("admin-address", &admin),
        ];
        match alone {
            true => meant.extend([
                ("enrich-address", "127.0.0.1:8714"),
                ("node-name", "node-1"),
            ]),
            false => meant.extend([
                ("intake-host", "opentelemetry-ebpf-reducer"),
                ("intake-port", "7000"),
                ("labels.environment", "my-cluster"),
                ("server-address", "localhost:8712"),
            ]),
        }
        for (name, value) in meant {
            let found = effective.get(name).map(String::as_str);
            assert_eq!(found, Some(value), "{mode}: {name}");
        }
        assert_eq!(
            effective["state-file"].is_empty(),
            mode != "shadow",
            "{mode}"
        );
    }
}

#[test]
fn the_watcher_in_the_pod_is_started_as_the_chart_starts_it() {
    let file = format!("{KUSTOMIZE}/components/legacy-watcher/kustomization.yaml");
    let component = documents(&read(file)).remove(0);
    let patch = text(&sequence(&component, &["patches"])[0], &["patch"]);
    let steps = documents(patch).remove(0);
    let container = at(&steps.as_sequence().unwrap()[0], &["value"]);
    assert_eq!(
        strings(container, &["args"]),
        ["--log-console", "--log-level=warning"]
    );
    // The same lines in the Helm chart, which Go renders.
    let template = read(format!("{CHART}/templates/workload.yaml"));
    assert!(template.contains("- --log-level={{ .Values.watcher.logLevel }}"));
}

#[test]
fn the_kubelet_reaches_the_probes_and_the_socket_is_in_a_folder_of_the_pod() {
    for file in [
        "base/deployment.yaml",
        "overlays/enrichment-node/daemonset.yaml",
    ] {
        let workload = workload(file);
        let relay = relay(&workload);
        let port = &sequence(relay, &["ports"])[0];
        let number = at(port, &["containerPort"]).as_integer().unwrap();
        let mut env = sequence(relay, &["env"]).iter();
        let admin = env
            .find(|one| text(one, &["name"]) == "K8S_RELAY_ADMIN_ADDRESS")
            .unwrap();
        let (socket, tcp) = text(admin, &["value"]).split_once(',').unwrap();
        for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
            let get = at(relay, &[probe, "httpGet"]);
            assert_eq!(text(get, &["path"]), path);
            assert_eq!(text(get, &["port"]), text(port, &["name"]));
            // On the node's own network the listener is on loopback, and the probe asks there.
            let host = get
                .as_mapping_get("host")
                .map_or("0.0.0.0", |host| host.as_str().unwrap());
            assert_eq!(tcp, format!("{host}:{number}"), "{file}");
            // The relay itself gives its loop a second to answer.
            assert!(at(relay, &[probe, "timeoutSeconds"]).as_integer().unwrap() > 1);
        }
        let folder = Path::new(socket.strip_prefix("unix:").unwrap())
            .parent()
            .unwrap();
        let mounts = sequence(relay, &["volumeMounts"]).iter();
        let mount = mounts
            .clone()
            .find(|mount| Path::new(text(mount, &["mountPath"])) == folder)
            .unwrap();
        assert!(mount.as_mapping_get("readOnly").is_none(), "{file}");
    }
}

// === both forms ===

/// The flags and variables of the relay that a text names as a manifest does.
fn named_settings(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
    {
        for word in line.split([' ', '"', '=', ',', '{', '}', '`']) {
            let flag = word
                .strip_prefix("--")
                .is_some_and(|name| !name.trim_matches('-').is_empty());
            if flag || word.starts_with("K8S_RELAY_") || word.starts_with("EBPF_NET_") {
                found.insert(word.to_owned());
            }
        }
    }
    found
}

#[test]
fn the_program_knows_every_flag_and_variable_that_deploy_names() {
    let command = Cli::command();
    let mut known: BTreeSet<String> = BTreeSet::new();
    for arg in command.get_arguments() {
        known.extend(arg.get_long().map(|long| format!("--{long}")));
        known.extend(arg.get_env().map(|name| name.to_str().unwrap().to_owned()));
    }
    // The watcher's, and the level of the relay's log, which is a value of the chart.
    known.extend(["--log-level", "--log-console"].map(ToOwned::to_owned));
    let mut seen = 0;
    for file in yaml_files(&root().join("deploy")) {
        for name in named_settings(&fs::read_to_string(&file).unwrap()) {
            assert!(known.contains(&name), "{}: {name}", file.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} settings");
}

#[test]
fn everything_that_is_plain_yaml_parses() {
    let templates = root().join(CHART).join("templates");
    let mut parsed = 0;
    for file in yaml_files(&root().join("deploy")) {
        if !file.starts_with(&templates) {
            parsed += documents(&fs::read_to_string(&file).unwrap()).len();
        }
    }
    assert!(parsed > 15, "only {parsed} documents");
    let schema: serde_json::Value =
        serde_json::from_str(&read(format!("{CHART}/values.schema.json"))).unwrap();
    // Each value of the chart is in its schema, and the other way round.
    let values = documents(&read(format!("{CHART}/values.yaml"))).remove(0);
    let values: BTreeSet<&str> = values
        .as_mapping()
        .unwrap()
        .keys()
        .map(|key| key.as_str().unwrap())
        .collect();
    let in_schema = schema["properties"].as_object().unwrap().keys();
    let in_schema: BTreeSet<&str> = in_schema
        .map(String::as_str)
        .filter(|name| *name != "global")
        .collect();
    assert_eq!(values, in_schema);
}

/// A resource with its group and a verb.
type Right = (String, String, String);

/// The table of docs/operations.md: the rights of each mode.
fn documented() -> BTreeMap<String, BTreeSet<Right>> {
    let mut found: BTreeMap<String, BTreeSet<Right>> = BTreeMap::new();
    let mut modes: Vec<String> = Vec::new();
    for line in read("docs/operations.md").lines() {
        let Some(row) = line.strip_prefix('|') else {
            modes.clear();
            continue;
        };
        let cells = row.trim_end_matches('|').split('|');
        let cells: Vec<String> = cells.map(|cell| cell.trim().replace('`', "")).collect();
        if cells[0] == "API group" {
            modes = cells[3..].to_vec();
        } else if !modes.is_empty() && !cells[0].starts_with("---") {
            let group = cells[0].replace("core", "");
            for (mode, cell) in modes.iter().zip(&cells[3..]) {
                let rights = found.entry(mode.clone()).or_default();
                match cell.as_str() {
                    "yes" => rights.extend(
                        cells[2]
                            .split(", ")
                            .map(|verb| (group.clone(), cells[1].clone(), verb.to_owned())),
                    ),
                    "–" => {}
                    other => panic!("neither yes nor –: {other}"),
                }
            }
        }
    }
    found
}

fn rights(rules: &Yaml<'static>) -> BTreeSet<Right> {
    let mut found = BTreeSet::new();
    for rule in rules.as_sequence().unwrap() {
        assert_eq!(
            rule.as_mapping().unwrap().len(),
            3,
            "only groups, resources, verbs"
        );
        for group in strings(rule, &["apiGroups"]) {
            for resource in strings(rule, &["resources"]) {
                for verb in strings(rule, &["verbs"]) {
                    found.insert((group.to_owned(), resource.to_owned(), verb.to_owned()));
                }
            }
        }
    }
    found
}

/// The rules of each mode in the Helm chart: an `if` for some of them, the last for all others.
fn of_the_chart(mode: &str) -> BTreeSet<Right> {
    let helpers = read(format!("{CHART}/templates/_helpers.tpl"));
    let (_, rules) = helpers
        .split_once("define \"k8s-relay.rules\" -}}")
        .unwrap();
    let case = format!("eq .Values.mode \"{mode}\" -}}}}");
    let (_, from) = rules
        .split_once(&case)
        .or_else(|| rules.split_once("{{- else -}}"))
        .unwrap();
    let (until, _) = from.split_once("{{-").unwrap();
    rights(&documents(until)[0])
}

#[test]
fn every_role_grants_what_the_table_says() {
    let table = documented();
    let modes: Vec<&str> = table.keys().map(String::as_str).collect();
    let mut ours = MODES.map(|(mode, _, _)| mode);
    ours.sort_unstable();
    assert_eq!(modes, ours);
    for (mode, _, roles) in MODES {
        assert_eq!(of_the_chart(mode), table[mode], "the chart, {mode}");
        let Some(roles) = roles else { continue };
        let namespaced = "components/namespaced/rbac.yaml";
        let files = [Some(roles), (mode == "native").then_some(namespaced)];
        for file in files.into_iter().flatten() {
            let all = documents(&read(Path::new(KUSTOMIZE).join(file)));
            let is_role = |one: &&Yaml<'static>| text(one, &["kind"]).ends_with("Role");
            let role = all.iter().find(is_role).unwrap();
            assert_eq!(rights(at(role, &["rules"])), table[mode], "{file}, {mode}");
        }
    }
}

/// A rule of one Lease, as its row of docs/operations.md has it: names, verbs.
type LeaseRule = (bool, Vec<String>);

fn lease_rules(rules: &Yaml<'static>) -> Vec<LeaseRule> {
    let rules = rules.as_sequence().unwrap().iter();
    rules
        .map(|rule| {
            assert_eq!(strings(rule, &["apiGroups"]), ["coordination.k8s.io"]);
            assert_eq!(strings(rule, &["resources"]), ["leases"]);
            let verbs = strings(rule, &["verbs"]);
            let is_named = rule.as_mapping_get("resourceNames").is_some();
            (
                is_named,
                verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            )
        })
        .collect()
}

#[test]
fn the_role_of_the_lease_grants_what_its_rows_say() {
    let operations = read("docs/operations.md");
    let rows = operations
        .lines()
        .filter_map(|line| line.strip_prefix("| coordination.k8s.io | leases | "));
    let table: Vec<LeaseRule> = rows
        .map(|row| {
            let (name, verbs) = row.trim_end_matches(" |").split_once(" | ").unwrap();
            (
                name == "`--ha-name`",
                verbs.split(", ").map(str::to_owned).collect(),
            )
        })
        .collect();
    assert_eq!(table.len(), 2);
    let component = documents(&read(format!("{KUSTOMIZE}/components/ha/rbac.yaml"))).remove(0);
    assert_eq!(lease_rules(at(&component, &["rules"])), table);
    let helpers = read(format!("{CHART}/templates/_helpers.tpl"));
    let (_, rules) = helpers
        .split_once("define \"k8s-relay.leaseRules\" -}}")
        .unwrap();
    let (rules, _) = rules.split_once("{{- end -}}").unwrap();
    let rules = rules.replace("{{ include \"k8s-relay.fullname\" . | quote }}", "\"name\"");
    assert_eq!(lease_rules(&documents(&rules)[0]), table);
}

#[test]
fn the_relays_own_modes_may_list_and_watch_what_the_matcher_does() {
    let table = KindTable::default();
    let watched: BTreeSet<Right> = table
        .iter()
        .flat_map(|(_, row)| {
            ["list", "watch"].map(|verb| {
                let (group, resource) = (row.group.to_string(), row.resource.to_string());
                (group, resource, verb.to_owned())
            })
        })
        .collect();
    assert_eq!(documented()["native"], watched);
}

// === the image ===

#[test]
fn the_image_has_the_layout_that_manifests_and_guides_name() {
    let dockerfile = read("Dockerfile");
    for line in [
        "FROM scratch",
        "COPY --from=build /image/ /",
        "WORKDIR /srv",
        "USER 65532:65532",
        "ENTRYPOINT [\"/srv/k8s-relay\"]",
    ] {
        assert!(dockerfile.lines().any(|one| one == line), "{line}");
    }
    assert!(dockerfile.contains("/image/srv/k8s-relay"));
    assert!(dockerfile.contains("ln -s k8s-relay /image/srv/k8s-watcher"));
}

#[test]
fn the_image_is_built_by_the_toolchain_and_has_the_version_of_the_crate() {
    let dockerfile = read("Dockerfile");
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = "));
    let channel = channel.unwrap().trim_matches('"');
    assert!(dockerfile.contains(&format!("rust:{channel}-")));
    assert!(dockerfile.contains(&format!("ENV RUSTUP_TOOLCHAIN={channel}\n")));
    let version = env!("CARGO_PKG_VERSION");
    let label = format!("org.opencontainers.image.version=\"{version}\"");
    assert!(dockerfile.contains(&label), "{label}");
    let chart = documents(&read(format!("{CHART}/Chart.yaml"))).remove(0);
    assert_eq!(text(&chart, &["appVersion"]), version);
    for folder in ["base", "overlays/enrichment-node"] {
        let file = format!("{KUSTOMIZE}/{folder}/kustomization.yaml");
        let images = documents(&read(file)).remove(0);
        assert_eq!(
            text(&sequence(&images, &["images"])[0], &["newTag"]),
            version
        );
    }
    // One compiler and one linker for what is shipped, however it is built.
    let pinned = |text: &str, name: &str| {
        let (_, after) = text.split_once(&format!("{name}==")).unwrap();
        after.split_whitespace().next().unwrap().to_owned()
    };
    let script = read(".ci/dist");
    for name in ["cargo-zigbuild", "ziglang"] {
        assert_eq!(pinned(&dockerfile, name), pinned(&script, name));
    }
}
