//! What is logged, and where.

use std::fs;

use super::{TempFile, run, setting};

#[test]
fn of_several_levels_the_most_talkative_counts_in_any_order() {
    for (args, level) in [
        (
            &[
                "--critical",
                "--error",
                "--warning",
                "--info",
                "--debug",
                "--trace",
            ][..],
            "trace",
        ),
        (&["--critical", "--debug", "--info"], "debug"),
        (&["--warning", "--info"], "info"),
        (&["--error", "--warning"], "warning"),
        (&["--warn"], "warning"),
        (&["--critical", "--error"], "error"),
        (&["--critical"], "critical"),
        (&[], "info"),
    ] {
        assert_eq!(setting("log-level", &[], args), level, "{args:?}");
    }
}

#[test]
fn a_whitelist_names_what_is_logged_in_full() {
    let (link, cloud) = ("k8s_relay::reducer", "k8s_relay::reducer::cloud");
    for (arg, target) in [
        ("--log-whitelist-channel=tcp", link),
        (
            "--log-whitelist-channel=none|upstream; reconnecting_channel,tls",
            link,
        ),
        ("--log-whitelist-channel=*", link),
        ("--log-whitelist-cloud-platform=aws", cloud),
        ("--log-whitelist-cloud-platform=unknown", ""),
        ("--log-whitelist-utility=curl", cloud),
        ("--log-whitelist-utility=none", ""),
        ("--log-whitelist-component=*", ""),
    ] {
        assert_eq!(
            setting("log-traced", &[], &["--error", arg]),
            target,
            "{arg}"
        );
    }
}

#[test]
fn a_json_log_is_json_in_every_line() {
    let file = TempFile::new("intake: [a]\n");
    let ended = run(&[], &[&file.flag(), "--check-config", "--log-format=json"]);
    let line: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["message"], "`intake` is not a map and is ignored");
    let failed = run(&[], &["--config-file=/no/such/file", "--log-format=json"]);
    let line: serde_json::Value = serde_json::from_str(&failed.stderr).unwrap();
    assert_eq!(
        (line["level"].as_str(), failed.code),
        (Some("ERROR"), Some(1))
    );
}

#[test]
fn a_log_file_gets_the_lines_too_unless_it_is_refused() {
    let file = TempFile::new("intake: [a]\n");
    let path = file.dir.path().join("relay.log");
    let env = [("EBPF_NET_LOG_FILE_PATH", path.to_str().unwrap())];
    let args = [&*file.flag(), "--check-config"];
    let after_time = |line: &str| line.split_once(' ').unwrap().1.to_owned();
    let logged = || fs::read_to_string(&path).unwrap_or_default();

    run(&env, &[args[0], args[1], "--no-log-file"]);
    assert_eq!(logged(), "");
    let ended = run(&env, &args);
    assert_eq!(after_time(&logged()), after_time(&ended.stderr));
    let again = run(&env, &[args[0], args[1], "--log-format=json"]);
    assert!(again.stderr.starts_with('{'), "{}", again.stderr);
    assert_eq!(
        logged().lines().count(),
        2,
        "it is text, and goes on where it was"
    );
}

#[test]
fn a_log_file_is_rotated_at_1_mib_and_five_are_kept() {
    let file = TempFile::new("intake: [a]\n");
    let path = file.dir.path().join("relay.log");
    let env = [("EBPF_NET_LOG_FILE_PATH", path.to_str().unwrap())];
    for _ in 0..7 {
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap()
            .set_len((1 << 20) + 1)
            .unwrap();
        run(&env, &[&file.flag(), "--check-config"]);
    }
    let mut logs: Vec<String> = fs::read_dir(file.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("relay"))
        .collect();
    logs.sort();
    let names = [
        "relay.log",
        "relay.log.1",
        "relay.log.2",
        "relay.log.3",
        "relay.log.4",
    ];
    assert_eq!(logs, names);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
}

#[test]
fn a_log_file_that_cannot_be_opened_stops_the_start_with_one_line() {
    for path in ["/no/such/directory/relay.log", "/"] {
        let ended = run(&[("EBPF_NET_LOG_FILE_PATH", path)], &["--check-config"]);
        assert_eq!(ended.code, Some(1));
        let line = format!("k8s-relay: cannot open the log file {path}: ");
        assert!(ended.stderr.starts_with(&line), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}
