#![allow(clippy::unwrap_used)]

use std::path::Path;

use clap::Args as _;

use super::*;
use crate::config::RelayArgs;

/// What a file comes to: its settings, labels and warnings in one line, or its mistakes.
fn read(text: &str) -> String {
    let command = RelayArgs::augment_args(Command::new("k8s-relay"));
    let file = match FromFile::parse(Path::new("f"), text.as_bytes(), &command) {
        Ok(file) => file,
        Err(mistakes) => return format!("error: {}", mistakes.join("; ")),
    };
    let settings = file.settings.iter();
    let settings = settings.map(|(id, (values, line))| format!("{line}:{id}={}", values.join("|")));
    let labels = file.labels.iter();
    let labels = labels.map(|(key, (value, line))| format!("{line}:labels.{key}={value:?}"));
    let warnings = file
        .warnings
        .iter()
        .map(|warning| format!("warning: {warning}"));
    settings
        .chain(labels)
        .chain(warnings)
        .collect::<Vec<_>>()
        .join(" ")
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(read(text), *expected, "{text}");
    }
}

#[test]
fn a_key_is_a_flag_and_takes_what_the_flag_takes() {
    check(&[
        ("source: native", "1:source=native"),
        (
            "owner-wait: 90s\nrelist-resync: true\n",
            "1:owner_wait=90s 2:relist_resync=true",
        ),
        ("relist-resync: false", "1:relist_resync=false"),
        ("namespace: [shop, billing]", "1:namespace=shop|billing"),
        ("namespace: shop,billing", "1:namespace=shop,billing"),
        ("migrate: auto", "1:mode=auto"),
        ("warn: true", "1:warning=true"),
        ("context: 1.10", "1:context=1.10"),
        ("heartbeat-interval-sec: -1", "1:heartbeat_interval_sec=-1"),
        (
            "source: shadows",
            "error: line 1: `source` is \"shadows\": \
             expected one of: legacy, shadow, shadow-native, native, none",
        ),
        (
            "\nowner-wait: 60",
            "error: line 2: `owner-wait` is \"60\": \
             expected a number with a unit, as in `60s` or `2m`",
        ),
        (
            "relist-resync: yes",
            "error: line 1: `relist-resync` is \"yes\": expected true or false",
        ),
        ("source:", "error: line 1: `source` has no value"),
        (
            "source: [native]",
            "error: line 1: `source` has one value, not a list",
        ),
        (
            "source: {a: b}",
            "error: line 1: `source` has a map for a value",
        ),
        (
            "namespace: [[a]]",
            "error: line 1: `namespace` is not a list of plain values",
        ),
        (
            "namespace: []",
            "error: line 1: `namespace` is not a list of plain values",
        ),
        (
            "namespace: [a, B]",
            "error: line 1: `namespace` is \"B\": expected the name of a namespace: \
             lower-case letters, digits and `-`, at most 63",
        ),
        (
            "source: native\nsource: legacy\n",
            "error: line 2: `source` is set in line 1, too",
        ),
        (
            "warning: true\nwarn: true\n",
            "error: line 2: `warn` is set in line 1, too",
        ),
        (
            "intake-port: 1\nintake: {host: a, port: 2}\n",
            "error: line 2: `intake.port` is set in line 1, too",
        ),
    ]);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    check(&[
        (
            "sorce: native\n",
            "error: line 1: unknown key \"sorce\"; did you mean `source`?",
        ),
        (
            "labels: {}\n\nlables: {a: b}\nbogus: 1\n",
            "error: line 3: unknown key \"lables\"; did you mean `labels`?; \
             line 4: unknown key \"bogus\"",
        ),
        (
            "owner_wait: 1s",
            "error: line 1: unknown key \"owner_wait\"; did you mean `owner-wait`?",
        ),
        (
            "K8S_RELAY_OWNER_WAIT: 1s",
            "error: line 1: unknown key \"K8S_RELAY_OWNER_WAIT\"; did you mean `owner-wait`?",
        ),
        (
            "intake:\n  host: a\n  port: 1\n  prot: 2\n",
            "error: line 4: below `intake`: unknown key \"prot\"; did you mean `port`?",
        ),
        ("? [a]\n: b", "error: line 1: a key has parts"),
        (
            "check-config: true",
            "error: line 1: `check-config` can be a flag only",
        ),
        (
            "config-file: other.yaml",
            "error: line 1: `config-file` can be a flag only",
        ),
    ]);
}

#[test]
fn labels_are_read_as_the_legacy_relay_reads_them() {
    check(&[
        (
            "labels: {a: 1.10, b: , c: ~, d: ''}",
            r#"1:labels.a="1.10" 1:labels.b="null" 1:labels.c="null" 1:labels.d="""#,
        ),
        ("labels: {~: a}", r#"1:labels.null="a""#),
        ("labels:", ""),
        (
            "labels: {a: 1, b: 2, a: 3}",
            "1:labels.a=\"3\" 1:labels.b=\"2\" warning: line 1: label \"a\" is set in line 1, too: the \
             last one counts",
        ),
        ("labels: {a: 1}\nlabels: {b: 2}", r#"2:labels.b="2""#),
        (
            "labels:\n  a: 1\n  a: 2",
            "3:labels.a=\"2\" warning: line 3: label \"a\" is set in line 2, too: the last one counts",
        ),
        ("labels: [1]", "error: line 1: `labels` is not a map"),
        ("labels: some", "error: line 1: `labels` is not a map"),
        ("labels: ''", "error: line 1: `labels` is not a map"),
        (
            "labels:\n  a: {b: c}\n",
            "error: line 2: label \"a\" has no plain value",
        ),
        (
            "labels: {[a]: b}",
            "error: line 1: a key below `labels` has parts",
        ),
    ]);
    let (k20, k21) = ("k".repeat(20), "k".repeat(21));
    let (v40, v41) = ("v".repeat(40), "v".repeat(41));
    let e21 = format!("{}k", "é".repeat(10)); // 11 characters, 21 bytes
    let skipped = |key: &str, key_len: usize, value_len: usize| {
        format!(
            "warning: line 1: label {key:?} is skipped: its key has {key_len} of at most 20 bytes, \
             its value {value_len} of at most 40"
        )
    };
    for (key, value, expected) in [
        (&k20, &v40, format!("1:labels.{k20}={v40:?}")),
        (&k21, &v40, skipped(&k20, 21, 40)),
        (&k20, &v41, skipped(&k20, 20, 41)),
        (&e21, &v40, skipped(&e21, 21, 40)),
    ] {
        assert_eq!(read(&format!("labels: {{{key}: {value}}}")), expected);
    }
}

#[test]
fn the_reducer_has_a_host_and_a_port_or_the_file_is_wrong() {
    let needs = |part: &str| format!("error: line 1: `intake` needs a plain `{part}`");
    let port = |text: &str| {
        format!(
            "error: line 1: `intake.port` is {text:?}: \
             expected a port number up to 65535, found `{text}`"
        )
    };
    check(&[
        (
            "intake: {host: reducer, port: 7000}",
            "1:intake_host=reducer 1:intake_port=7000",
        ),
        (
            "intake:\n  host: '[::1]'\n  port: '07000'",
            "2:intake_host=[::1] 3:intake_port=07000",
        ),
        (
            "intake: {host: a, port: 1, host: b}",
            "1:intake_host=b 1:intake_port=1",
        ),
        (
            "intake:\nintake: {host: a, port: 1}",
            "2:intake_host=a 2:intake_port=1",
        ),
        ("intake:", "error: line 1: `intake` has no value"),
        (
            "intake: [host, port]",
            "error: line 1: `intake` is not a map",
        ),
        (
            "intake: reducer:7000",
            "error: line 1: `intake` is not a map",
        ),
        ("intake: {host: a}", &needs("port")),
        ("intake: {port: 1}", &needs("host")),
        ("intake: {host: , port: 1}", &needs("host")),
        ("intake: {host: [a], port: 1}", &needs("host")),
        ("intake: {host: a, port: {b: c}}", &needs("port")),
        (
            "intake: {host: '', port: 1}",
            "error: line 1: `intake.host` is \"\": expected a host name or address",
        ),
        ("intake: {host: a, port: http}", &port("http")),
        ("intake: {host: a, port: 0}", &port("0")),
        ("intake: {host: a, port: 65536}", &port("65536")),
        ("intake: {host: a, port: 0x10}", &port("0x10")),
    ]);
}

#[test]
fn who_a_url_is_for_is_not_shown() {
    for (text, shown) in [
        ("http://host:80/path", "http://host:80/path"),
        ("http://me:secret@host", "http://***@host"),
        ("http://token@host/a", "http://***@host/a"),
        ("http://me:s/e@c@host", "http://***@host"),
        (
            "a http://u:p@h b ftp://u:p@i",
            "a http://***@h b ftp://***@i",
        ),
        ("me@host", "me@host"),
        ("://", "://"),
    ] {
        assert_eq!(masked(text), shown);
    }
}

#[test]
fn a_value_that_would_break_its_line_is_quoted() {
    assert_eq!(printable("a b # c"), "a b # c");
    assert_eq!(printable("a\nb"), r#""a\nb""#);
}

#[test]
fn the_profiles_of_enrichment_are_checked_and_each_mistake_has_its_line() {
    check(&[
        (
            "enrichment:\n  address: 127.0.0.1:1\n",
            "2:enrich_address=127.0.0.1:1",
        ),
        (
            "enrichment: {address: '127.0.0.1:${K8S_RELAY_UNSET:7}'}",
            "1:enrich_address=127.0.0.1:7",
        ),
        ("enrichment:", ""),
        (
            "enrichment:\n  profiles:\n    default:\n    - module: kubernetes\n      metricsets: [pod]\n",
            "",
        ),
        (
            "enrichment:\n  profile: {}\n",
            "error: line 2: `enrichment.profile` is not a setting; did you mean `profiles`?",
        ),
        (
            "enrichment: [a]",
            "error: line 1: `enrichment.profiles`: expected a map of profiles",
        ),
        (
            "enrichment:\n  profiles:\n    default:\n    - module: kubernetes\n      \
             add_resource_metadata:\n        node:\n          include_lables: [a]\n",
            "error: line 7: the profile `default`: \
             `add_resource_metadata.node.include_lables` is not a setting of a profile; \
             did you mean `add_resource_metadata.node.include_labels`?",
        ),
        (
            "enrichment:\n  profiles:\n    default:\n      labels.dedot: true\n      labels:\n        \
             dedot: false\n",
            "error: line 6: the profile `default`: `labels.dedot` is set twice",
        ),
        (
            "enrichment:\n  profiles:\n    default:\n      scope: nodes\n",
            "error: line 4: the profile `default`: `scope`: expected `cluster` or `node`, not `nodes`",
        ),
        (
            "enrichment:\n  default_profile: web\n  profiles:\n    default: {}\n",
            "error: line 2: `enrichment.default_profile`: there is no profile `web`",
        ),
        (
            "enrichment: {profiles: {default: [{}, {}]}}",
            "error: line 1: the profile `default`: a profile is one map of settings, or a list of one",
        ),
        (
            "enrichment: {address: '127.0.0.1:${K8S_RELAY_UNSET}'}",
            "error: line 1: `enrichment.address`: the variable `K8S_RELAY_UNSET` is not set",
        ),
        (
            "enrichment: {address: nowhere}",
            "error: line 1: `enrichment.address` is \"nowhere\": expected HOST:PORT, unix:PATH or none",
        ),
        (
            "enrich-address: 127.0.0.1:1\nenrichment: {address: '127.0.0.1:2'}",
            "error: line 2: `enrichment.address` is set in line 1, too",
        ),
        (
            "enrichment: {}\nenrichment: {}",
            "error: line 2: `enrichment` is set in line 1, too",
        ),
        (
            "enrichment: {profiles: {default: {[a]: b}}}",
            "error: line 1: a key has parts",
        ),
        (
            "enrichmant: {}",
            "error: line 1: unknown key \"enrichmant\"; did you mean `enrichment`?",
        ),
    ]);
}
