//! House rules as tests: what a reviewer would otherwise have to look for.

mod references;
mod rust;
mod words;

use std::{
    fs,
    path::{Path, PathBuf},
};

use k8s_relay::{
    admin::metrics::catalogue,
    migrate::{Stage, compare::Rule},
};
use rust::Source;

/// Which modules a module may import, besides itself. `*` is all of them.
/// Only what puts the modules together sees everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("backoff", &[]),
    ("model", &[]),
    ("wire", &[]),
    ("late", &[]),
    ("logging", &["notable"]),
    ("notable", &[]),
    ("seed", &["model"]),
    ("nearest", &[]),
    ("proto", &[]),
    (
        "config",
        &[
            "enrich",
            "feeds",
            "ha",
            "logging",
            "matcher",
            "migrate",
            "model",
            "nearest",
            "net",
            "reducer::cloud",
            "source",
        ],
    ),
    ("digest", &["wire"]),
    ("matcher", &["model"]),
    ("announce", &["matcher", "model"]),
    ("enrich", &["model", "nearest"]),
    ("enrich_api", &["enrich", "model", "net", "proto"]),
    ("feeds", &["announce", "model", "matcher", "stores"]),
    ("ha", &[]),
    ("stores", &["model"]),
    ("net", &["late", "proto"]),
    (
        "source",
        &[
            "backoff", "enrich", "late", "model", "net", "proto", "stores",
        ],
    ),
    (
        "reducer",
        &[
            "announce",
            "backoff",
            "ha::Fence",
            "late",
            "matcher",
            "model",
            "net",
            "wire",
        ],
    ),
    ("sim", &["digest", "model", "net", "proto", "wire"]),
    (
        "migrate",
        &[
            "digest", "feeds", "matcher", "model", "reducer", "stores", "wire",
        ],
    ),
    (
        "admin",
        &[
            "announce",
            "driver::query",
            "enrich_api",
            "feeds",
            "ha",
            "migrate",
            "model",
            "net",
            "notable",
            "reducer",
            "source",
            "stores",
        ],
    ),
    (
        "driver",
        &[
            "admin::api",
            "announce",
            "digest",
            "feeds",
            "ha",
            "matcher",
            "migrate",
            "model",
            "net",
            "reducer",
            "source",
            "stores",
        ],
    ),
    (
        "app",
        &[
            "admin",
            "announce",
            "backoff",
            "config",
            "driver",
            "enrich",
            "enrich_api",
            "feeds",
            "ha",
            "matcher",
            "migrate",
            "model",
            "net",
            "registry",
            "reducer",
            "seed",
            "source",
            "wire",
            "stores",
        ],
    ),
    ("registry", &["backoff", "enrich", "model", "source"]),
    (
        "tee",
        &["digest", "model", "proto", "sim", "source", "wire"],
    ),
    ("tools", &["*"]),
    ("cli", &["config", "tools"]),
    ("companion", &["config"]),
    ("command", &["*"]),
];

/// Modules and files that do no IO, read no clock, are not async and use no randomness.
const PURE: &[&str] = &[
    "src/admin/access.rs",
    "src/admin/api.rs",
    "src/admin/metrics",
    "src/admin/metrics.rs",
    "src/admin/page.rs",
    "src/admin/probes.rs",
    "src/admin/watches.rs",
    "src/announce",
    "src/backoff.rs",
    "src/config/print.rs",
    "src/config/reference.rs",
    "src/config/schema.rs",
    "src/config/variables.rs",
    "src/config/yaml.rs",
    "src/digest.rs",
    "src/enrich",
    "src/enrich_api/lines.rs",
    "src/enrich_api/reference.rs",
    "src/feeds",
    "src/ha/elector.rs",
    "src/ha/lease.rs",
    "src/ha/record.rs",
    "src/ha/settings.rs",
    "src/matcher",
    "src/migrate/auto.rs",
    "src/migrate/gate.rs",
    "src/migrate/compare",
    "src/migrate/compare.rs",
    "src/migrate/migration.rs",
    "src/migrate/mod.rs",
    "src/migrate/report.rs",
    "src/migrate/comparator.rs",
    "src/migrate/stage.rs",
    "src/migrate/standstill.rs",
    "src/model",
    "src/nearest.rs",
    "src/net/peer.rs",
    "src/reducer/cloud.rs",
    "src/reducer/cloud/aws.rs",
    "src/reducer/cloud/form.rs",
    "src/reducer/cloud/gcp.rs",
    "src/reducer/frames.rs",
    "src/reducer/handshake.rs",
    "src/reducer/lag.rs",
    "src/reducer/outbox.rs",
    "src/reducer/project.rs",
    "src/reducer/session.rs",
    "src/registry/area.rs",
    "src/registry/store.rs",
    "src/registry/writer.rs",
    "src/sim/cluster.rs",
    "src/sim/kube/discovery.rs",
    "src/sim/kube/faults.rs",
    "src/sim/kube/churn",
    "src/sim/kube/churn.rs",
    "src/sim/kube/objects.rs",
    "src/sim/kube/query.rs",
    "src/sim/kube/render.rs",
    "src/sim/kube/requests.rs",
    "src/sim/kube/selector.rs",
    "src/sim/kube/status.rs",
    "src/sim/kube/store.rs",
    "src/sim/kube/scenario.rs",
    "src/sim/kube/expected_state.rs",
    "src/sim/reducer_state.rs",
    "src/sim/session.rs",
    "src/sim/scenario.rs",
    "src/sim/load.rs",
    "src/source/health.rs",
    "src/source/inet.rs",
    "src/source/legacy/elsewhere.rs",
    "src/source/legacy/info.rs",
    "src/source/legacy/merge.rs",
    "src/source/native/connect/exec.rs",
    "src/source/native/connect/kubeconfig.rs",
    "src/source/native/connect/proxy.rs",
    "src/source/native/connect/schedule.rs",
    "src/source/native/decode",
    "src/source/native/error.rs",
    "src/source/native/lines.rs",
    "src/source/native/machine.rs",
    "src/source/native/machine/ends.rs",
    "src/source/native/machine/lists.rs",
    "src/source/native/machine/pace.rs",
    "src/source/native/machine/probe.rs",
    "src/source/native/machine/health.rs",
    "src/source/native/machine/steps.rs",
    "src/source/native/machine/streaming.rs",
    "src/source/native/outlet.rs",
    "src/source/native/resource.rs",
    "src/source/native/sink.rs",
    "src/source/native/unmatched.rs",
    "src/stores",
    "src/tee",
    "src/wire",
];

/// Files in [`PURE`] folders that are not: what a module and its surfaces agree on.
const NOT_PURE: &[&str] = &["src/enrich/service.rs"];

/// What a pure module never names.
const IMPURE: &[&str] = &[
    "std::io",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::thread",
    "std::time::SystemTime",
    "tokio",
    "fastrand",
    "Instant::now",
    "SystemTime::now",
    "async fn",
    "async move",
    ".await",
];

/// A file that is longer is about more than one thing.
const MAX_LINES: usize = 600;

/// The two commands of the README's first screen.
const COMMANDS: [&str; 2] = ["cargo run --release -- demo", "cargo test"];

#[test]
fn modules_import_only_what_the_arrows_allow() {
    let mut wrong = Vec::new();
    for source in Source::all("src") {
        let Some(module) = source.module() else {
            continue;
        };
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!(
                "{}: the module `{module}` has no row in ARROWS",
                source.path
            ));
            continue;
        };
        for (line, path) in source.paths() {
            let mut parts = path.split("::");
            let Some(other) = parts
                .next()
                .filter(|first| *first == "crate")
                .and(parts.next())
            else {
                continue;
            };
            let part = format!("{other}::{}", parts.next().unwrap_or_default());
            let is_allowed = |one: &&str| [other, part.as_str(), "*"].contains(one);
            if other != module && !allowed.iter().any(is_allowed) {
                wrong.push(format!(
                    "{}:{line}: `{module}` must not import `{other}`",
                    source.path
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_modules_stay_pure() {
    let mut wrong = Vec::new();
    for pure in PURE {
        let sources = Source::all(pure);
        assert!(!sources.is_empty(), "{pure} is in PURE but does not exist");
        for source in sources {
            if NOT_PURE.contains(&source.path.as_str()) {
                continue;
            }
            for (line, path) in source.paths() {
                let banned = |banned: &&&str| {
                    path.strip_prefix(**banned)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
                };
                if let Some(banned) = IMPURE.iter().find(banned) {
                    wrong.push(format!("{}:{line}: {banned}", source.path));
                }
            }
            for (line, code) in source.lines() {
                for banned in IMPURE.iter().filter(|banned| code.contains(**banned)) {
                    wrong.push(format!("{}:{line}: {banned}", source.path));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "a pure module names what it must not:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_source_file_is_compiled() {
    let mut reached = Vec::new();
    let roots = [
        "build.rs",
        "src/lib.rs",
        "src/main.rs",
        "tests/it/main.rs",
        "compat/main.rs",
    ];
    let mut next: Vec<PathBuf> = roots.map(|file| root().join(file)).to_vec();
    // Each file and each folder of `benches` is a target of its own.
    for bench in entries(&root().join("benches")) {
        next.push(if bench.is_dir() {
            bench.join("main.rs")
        } else {
            bench
        });
    }
    while let Some(file) = next.pop() {
        next.extend(rust::modules(&file));
        reached.push(file);
    }
    let all = ["src", "tests", "benches", "compat"]
        .into_iter()
        .flat_map(|dir| files(&root().join(dir)));
    let lost: Vec<_> = all
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .filter(|file| !reached.contains(file))
        .collect();
    assert!(lost.is_empty(), "no `mod` names these files: {lost:?}");
}

#[test]
fn no_source_file_is_too_long() {
    let long: Vec<_> = ["src", "tests", "benches", "compat"]
        .into_iter()
        .flat_map(|dir| files(&root().join(dir)))
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .filter(|file| fs::read_to_string(file).unwrap().lines().count() > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "more than {MAX_LINES} lines: {long:?}");
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for file in texts()
        .into_iter()
        .filter(|file| file.extension().is_some_and(|e| e == "md"))
    {
        let text = fs::read_to_string(&file).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = link.split('#').next().unwrap_or_default();
            let external = link.contains("://") || link.starts_with("mailto:");
            if !external && !target.is_empty() && !file.with_file_name(target).exists() {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_readmes_commands_are_the_ones_that_ci_and_just_run() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let has = |text: &str, command: &str| text.lines().any(|line| line.trim() == command);
    let (readme, ci, just) = (read("README.md"), read(".ci/run"), read("justfile"));
    let first_screen: Vec<&str> = readme.lines().take(40).collect();
    for command in COMMANDS {
        assert!(has(&first_screen.join("\n"), command), "README: {command}");
        assert!(has(&just, command), "justfile: {command}");
    }
    let tests = r#"step "tests" cargo test"#;
    assert!(has(&ci, tests), ".ci/run: the tests");
    assert!(has(&just, ".ci/run"), "justfile: `check` is what CI runs");
}

#[test]
fn what_documents_say_of_a_migration_is_there() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let (readme, guide) = (read("README.md"), read("docs/migration.md"));
    for rule in Rule::ALL {
        assert!(guide.contains(&format!("| `{}` |", rule.as_str())));
    }
    for stage in Stage::ALL {
        assert!(guide.contains(&format!("| `{stage}` |")));
    }
    let operations = read("docs/operations.md");
    let served = catalogue();
    let is_served = |name: &str| {
        let mut served = served.iter().map(|row| &*row.name);
        served.any(|served| served.strip_suffix("_total").unwrap_or(served) == name)
    };
    let named: Vec<&str> = [&readme, &guide, &operations]
        .into_iter()
        .flat_map(|text| text.split('`'))
        .filter(|word| word.starts_with("k8s_relay_"))
        .filter_map(|word| word.split('{').next())
        .map(|name| name.strip_suffix("_total").unwrap_or(name))
        .collect();
    assert!(named.len() > 10, "{named:?}");
    let lost: Vec<_> = named.iter().filter(|name| !is_served(name)).collect();
    assert!(lost.is_empty(), "no such metrics: {lost:?}");
}

#[test]
fn nothing_names_a_path_of_somebodys_machine() {
    // In two parts, or this file would be one of those.
    let homes = [
        ("/ho", "me/"),
        ("/ro", "ot/"),
        ("/Us", "ers/"),
        ("/wo", "rk/"),
    ];
    let mut wrong = Vec::new();
    for file in texts() {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if homes
                .iter()
                .any(|(start, end)| line.contains(&format!("{start}{end}")))
            {
                wrong.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files that people write: code, documents, settings; no recorded data.
fn texts() -> Vec<PathBuf> {
    let folders = [
        "src", "tests", "benches", "deploy", "proto", "compat", "docs", ".ci",
    ];
    let mut texts: Vec<PathBuf> = folders
        .iter()
        .flat_map(|dir| files(&root().join(dir)))
        .collect();
    texts.extend(entries(root()).into_iter().filter(|path| path.is_file()));
    texts.retain(|file| file.file_name().is_some_and(|name| name != ".git")); // a worktree's
    texts.retain(|file| file.extension().is_none_or(|e| e != "json" && e != "lock"));
    texts
}

/// All files below a folder, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    entries(dir)
        .into_iter()
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// What is in a folder, in order; nothing if it does not exist.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
