//! The settings of enrichment, asked of the spawned binary.

use crate::surface::{TempFile, effective, run};

/// What of a settings file a metadata service reads.
const BLOCK: &str = "\
enrichment:
  address: 127.0.0.1:${PORT:0}
  profiles:
    default:
    - module: kubernetes
      metricsets: [pod, container]
      period: 10s
      hosts: ['https://${NODE_NAME}:10250']
      ssl.verification_mode: none
      add_resource_metadata:
        deployment: true
";

#[test]
fn a_block_of_metricbeat_is_shown_with_its_lines_and_what_it_does_not_need_in_one_line() {
    let file = TempFile::new(BLOCK);
    let ended = run(&[("PORT", "0")], &[&file.flag(), "--check-config"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let path = file.path.display();
    for (name, value, line) in [
        ("enrich-address", "127.0.0.1:0", 2),
        ("enrichment.profiles.default.module", "kubernetes", 5),
        ("enrichment.profiles.default.metricsets", "pod,container", 6),
        (
            "enrichment.profiles.default.add_resource_metadata.deployment",
            "true",
            11,
        ),
    ] {
        let shown = format!("{name} = {value}  # file {path}:{line}\n");
        assert!(ended.stdout.contains(&shown), "{shown}: {}", ended.stdout);
    }
    let notes: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(notes.len(), 1, "{}", ended.stderr);
    let note = "settings of profiles that have no effect here: default: period, hosts, ssl";
    assert!(
        notes[0].contains(" INFO ") && notes[0].ends_with(note),
        "{notes:?}"
    );
}

#[test]
fn the_address_is_none_by_default_and_on_loopback_for_a_service_alone() {
    let address = |args: &[&str]| effective(&[], args)["enrich-address"].clone();
    assert_eq!(address(&[]), "none");
    assert_eq!(address(&["--source=native"]), "none");
    assert_eq!(address(&["--source=none"]), "127.0.0.1:8714");
    assert_eq!(
        address(&["--source=none", "--enrich-address=[::1]:1"]),
        "[::1]:1"
    );
}

#[test]
fn settings_that_would_open_or_close_everything_stop_the_start_with_one_line() {
    for (args, line) in [
        (
            &["--enrich-address=0.0.0.0:8714"][..],
            "--enrich-address 0.0.0.0:8714 can be reached from other machines, and whoever asks \
             there learns the labels of the whole cluster: give an address on loopback or unix:PATH, \
             or let in who has a certificate: --enrich-tls-cert, --enrich-tls-key and \
             --enrich-tls-client-ca",
        ),
        (
            &["--enrich-address=10.0.0.1:8714", "--source=none"],
            "--enrich-address 10.0.0.1:8714 can be reached from other machines, and whoever asks \
             there learns the labels of the whole cluster: give an address on loopback or unix:PATH, \
             or let in who has a certificate: --enrich-tls-cert, --enrich-tls-key and \
             --enrich-tls-client-ca",
        ),
        // TLS alone says nothing of who asks.
        (
            &[
                "--enrich-address=[::]:1",
                "--enrich-tls-cert=/c",
                "--enrich-tls-key=/k",
            ],
            "--enrich-address [::]:1 can be reached from other machines, and whoever asks \
             there learns the labels of the whole cluster: give an address on loopback or unix:PATH, \
             or let in who has a certificate: --enrich-tls-cert, --enrich-tls-key and \
             --enrich-tls-client-ca",
        ),
        (
            &["--enrich-tls-client-ca=/ca"],
            "--enrich-tls-client-ca needs --enrich-tls-cert",
        ),
        (
            &["--source=none", "--enrich-address=none"],
            "--source none only answers questions about metadata, and --enrich-address none takes \
             none: leave one of them out",
        ),
        (
            &["--enrich-address=127.0.0.1:8712"],
            "--server-address localhost:8712 and --enrich-address 127.0.0.1:8712 cannot be had \
             both: they are, or include, the same address",
        ),
        (
            &["--node-name=Worker"],
            "invalid value 'Worker' for '--node-name <NAME>': expected the name of a node: \
             lower-case letters, digits, `-` and `.`, at most 253",
        ),
    ] {
        for check in [None, Some("--check-config")] {
            let args: Vec<&str> = args.iter().copied().chain(check).collect();
            let ended = run(&[], &args);
            assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
            let first = ended.stderr.lines().next().unwrap_or_default();
            assert_eq!(first, format!("error: {line}"), "{args:?}");
        }
    }
    // Nothing of watchers is served without a source.
    let free = run(
        &[],
        &[
            "--source=none",
            "--enrich-address=127.0.0.1:8712",
            "--check-config",
        ],
    );
    assert_eq!(free.code, Some(0), "{}", free.stderr);
}

#[test]
fn settings_without_effect_are_named_in_one_line() {
    let warnings = |args: &[&str], content: &str| {
        let file = TempFile::new(content);
        let flag = file.flag();
        let args: Vec<&str> = args
            .iter()
            .copied()
            .chain([&*flag, "--check-config"])
            .collect();
        let ended = run(&[("EBPF_NET_INTAKE_HOST", "reducer")], &args);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let line = |line: &str| line.split_once("WARN ").map(|(_, text)| text.to_owned());
        ended
            .stderr
            .lines()
            .filter_map(line)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let alone = warnings(
        &["--source=none", "--migrate=auto", "--reannounce=never"],
        "labels: {a: b}\nselector: a=b\n",
    );
    let end = "with --source none these settings have no effect: selector, migrate, reannounce, \
               intake-host, labels.a";
    assert!(alone.ends_with(end), "{alone}");
    let unasked = warnings(&[], "enrichment: {profiles: {default: {}}}");
    assert!(
        unasked.ends_with(
            "the block `enrichment` has no effect: no address is set to ask at (--enrich-address)"
        ),
        "{unasked}"
    );
    assert_eq!(warnings(&["--source=native"], "selector: a=b\n"), "");
}
