//! `config`, `completions` and `man`; and the document of all settings.

use std::{env, fs, path::Path};

use clap::ValueEnum as _;
use clap_complete::Shell;
use k8s_relay::{cli, config};
use serde_json::Value;

use super::{TempFile, effective, run};

/// Settings from everywhere: a file, variables and flags.
const FILE: &str = "\
labels: {environment: 'a: b # c', zone: 1.10, 'on': ~, tier.one: \"\\t\"}
intake: {host: reducer.otel, port: 7000}
namespace: [shop, billing]
relist-resync: true
context: 1.10
debug: true
";
const VARIABLES: [(&str, &str); 3] = [
    ("K8S_RELAY_OWNER_WAIT", "90s"),
    ("K8S_RELAY_RECONNECT", "reset-watcher"),
    ("EBPF_NET_INTAKE_PORT", "7001"),
];
const FLAGS: [&str; 4] = [
    "--selector=env in (a, b),tier!=db",
    "--server-address=[::1]:0",
    "--admin-address=unix:/run/k8s-relay.sock",
    "--heartbeat-interval-sec=-1",
];

#[test]
fn config_check_is_another_name_of_check_config() {
    let file = TempFile::new(FILE);
    let flag = file.flag();
    let cases: [(&[&str], i32); 5] = [
        (&[], 0),
        (&[&flag, "--intake-port=1"], 0),
        (&[&flag, "--json"], 0),
        (&["--intake-port=none"], 2),
        (&["--parity-hold=1s", "--settle=2s"], 2),
    ];
    for (args, code) in cases {
        let by_command = run(&VARIABLES, &[&["config", "check"], args].concat());
        let by_flag = run(&VARIABLES, &[args, &["--check-config"]].concat());
        assert_eq!(by_command.code, Some(code), "{args:?}");
        assert_eq!(by_flag.code, Some(code), "{args:?}");
        assert_eq!(by_command.stdout, by_flag.stdout, "{args:?}");
    }
}

#[test]
fn what_config_print_prints_is_a_file_that_comes_to_the_same_settings() {
    let file = TempFile::new(FILE);
    let flag = file.flag();
    let line = [&FLAGS[..], &[&flag]].concat();
    let printed = run(&VARIABLES, &[&["config", "print"], &line[..]].concat());
    assert_eq!((printed.code, &*printed.stderr), (Some(0), ""));
    for (part, origin) in [
        ("owner-wait: 90s", "variable K8S_RELAY_OWNER_WAIT"),
        ("#list: auto", "default"),
        ("#stream-handover: legacy", "default"),
        ("heartbeat-interval-sec: \"-1\"", "flag"),
    ] {
        let line = format!("{part}  # {origin}");
        assert!(
            printed.stdout.lines().any(|one| one == line),
            "{line}:\n{}",
            printed.stdout
        );
    }
    let again = TempFile::new(&printed.stdout);
    let mut before = effective(&VARIABLES, &line);
    let mut after = effective(&[], &[&again.flag()]);
    before.remove("config-file");
    after.remove("config-file");
    assert_eq!(before, after);
    assert_eq!(before["labels.environment"], "a: b # c");
    // Defaults alone are a file that says nothing.
    let defaults = run(&[], &["config", "print"]).stdout;
    let says_nothing = |line: &str| line.starts_with('#');
    assert!(defaults.lines().all(says_nothing), "{defaults}");
}

#[test]
fn what_config_print_must_not_show_is_a_comment_with_stars() {
    let secret = "--record-intake-output=https://user:s3cret@host/x";
    for form in [
        &["config", "print", secret][..],
        &["config", "print", secret, "--json"],
    ] {
        let printed = run(&[], form);
        assert_eq!(printed.code, Some(0));
        assert!(!printed.stdout.contains("s3cret"), "{}", printed.stdout);
        assert!(printed.stdout.contains("***@host/x"), "{}", printed.stdout);
    }
}

#[test]
fn a_mistake_is_said_by_config_print_as_by_a_start() {
    let file = TempFile::new("sorce: native\n");
    for args in [&["config", "print"][..], &["config", "check"], &[]] {
        let ended = run(&[], &[args, &[&file.flag()]].concat());
        assert_eq!(ended.code, Some(2), "{args:?}");
        let said = "line 1: unknown key \"sorce\"; did you mean `source`?";
        assert!(ended.stderr.contains(said), "{args:?}: {}", ended.stderr);
    }
    let ended = run(&[], &["--json"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--check-config"), "{}", ended.stderr);
}

#[test]
fn config_schema_knows_every_setting() {
    let printed = run(&[], &["config", "schema"]);
    assert_eq!((printed.code, &*printed.stderr), (Some(0), ""));
    let schema: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(schema, config::schema());
    let settings = effective(&[], &[]);
    for name in settings.keys().filter(|name| *name != "config-file") {
        let property = &schema["properties"][name];
        assert!(property["description"].is_string(), "{name}: {property}");
    }
}

#[test]
fn every_shell_is_given_completions_of_flags_and_commands() {
    for shell in Shell::value_variants() {
        let printed = run(&[], &["completions", &shell.to_string()]);
        assert_eq!((printed.code, &*printed.stderr), (Some(0), ""), "{shell}");
        for word in ["intake-host", "enrich-address", "watch-test", "schema"] {
            assert!(printed.stdout.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run(&[], &["completions", "cmd"]).code, Some(2));
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("man/man1");
    let ended = run(&[], &["man", inner.to_str().unwrap()]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    let page = |name: &str| fs::read_to_string(inner.join(name)).unwrap();
    assert!(page("k8s-relay.1").contains("intake\\-host"));
    for command in cli::defined().get_subcommands() {
        let name = format!("k8s-relay-{}.1", command.get_name());
        assert!(page(&name).starts_with(".ie"), "{name}");
    }
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let ended = run(&[], &["man", file.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
}

/// Between these lines a document is made by the program.
const BEGIN: &str = "<!-- Made of the flags' definitions: `just docs` writes it again. -->\n";
const END: &str = "<!-- The end of what is made. -->\n";

#[test]
fn the_document_lists_every_setting_as_it_is_defined() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let document = fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (listed, after) = rest.split_once(END).unwrap();
    let defined = config::reference();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{defined}\n{END}{after}")).unwrap();
    } else {
        let is_same = listed.trim_end() == defined.trim_end();
        assert!(
            is_same,
            "docs/configuration.md is behind the flags; run `just docs`"
        );
    }
}
