//! What is logged, and where.

use std::fs;

use k8s_relay::{cli::Cli, logging::LoggingConfig};

use super::{Ended, TempFile, run};

/// What of the log these flags come to.
fn logging(args: &[&str]) -> LoggingConfig {
    let line = ["k8s-relay"].iter().chain(args).map(Into::into);
    Cli::parse_line(line).unwrap().relay.log.into_config()
}

/// A label that is too long is a warning.
const LONG_LABEL: &str = "labels: {a-key-of-21-bytes-xxx: b}";

/// A start that says two things, the second of them that its address is taken.
fn start_in_vain(env: &[(&str, &str)], args: &[&str]) -> Ended {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("--server-address={}", taken.local_addr().unwrap());
    let args: Vec<&str> = args.iter().copied().chain([&*address]).collect();
    let ended = run(env, &args);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    ended
}

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
        assert_eq!(logging(args).level.to_string(), level, "{args:?}");
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
        let traced: Vec<&str> = logging(&["--error", arg]).traced.into_iter().collect();
        assert_eq!(traced.join(","), target, "{arg}");
    }
}

#[test]
fn a_json_log_is_json_in_every_line() {
    let file = TempFile::new(LONG_LABEL);
    let ended = run(&[], &[&file.flag(), "--check-config", "--log-format=json"]);
    let line: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(line["level"], "WARN");
    let message = line["message"].as_str().unwrap();
    assert!(message.contains(" is skipped: "), "{message}");
}

#[test]
fn a_log_file_gets_the_lines_too_unless_it_is_refused() {
    let file = TempFile::new(LONG_LABEL);
    let path = file.dir.path().join("relay.log");
    let env = [("EBPF_NET_LOG_FILE_PATH", path.to_str().unwrap())];
    let flag = file.flag();
    // What is after the time.
    let warning = |log: &str| {
        let lines = log.lines().filter(|line| line.contains(" is skipped: "));
        let texts = lines.map(|line| line.split_once(' ').unwrap().1.to_owned());
        texts.collect::<Vec<_>>()
    };
    let logged = || fs::read_to_string(&path).unwrap_or_default();

    start_in_vain(&env, &[&flag, "--no-log-file"]);
    assert!(!path.exists());
    let ended = start_in_vain(&env, &[&flag]);
    assert_eq!(warning(&logged()), warning(&ended.stderr));
    assert_eq!(warning(&logged()).len(), 1, "{}", logged());
    let again = start_in_vain(&env, &[&flag, "--log-format=json"]);
    assert!(again.stderr.starts_with('{'), "{}", again.stderr);
    let lines = warning(&logged());
    assert_eq!(lines.len(), 2, "it goes on where it was");
    assert_eq!(lines[0], lines[1], "it is text");
}

#[test]
fn a_check_creates_no_log_file_and_finds_one_that_could_not_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.log");
    let env = [("EBPF_NET_LOG_FILE_PATH", path.to_str().unwrap())];
    assert_eq!(run(&env, &["--check-config"]).code, Some(0));
    assert!(!path.exists());
    for path in ["/no/such/directory/relay.log", "/"] {
        let ended = run(&[("EBPF_NET_LOG_FILE_PATH", path)], &["--check-config"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
        let line = format!("cannot open the log file {path}: ");
        assert!(ended.stderr.contains(&line), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn a_log_file_is_rotated_at_1_mib_and_five_are_kept() {
    let file = TempFile::new(LONG_LABEL);
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
        start_in_vain(&env, &[&file.flag()]);
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
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
}

#[test]
fn a_pipe_that_nobody_reads_is_no_log_file_and_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let path = pipe.to_str().unwrap();
    for (arguments, code) in [(&[][..], 1), (&["--check-config"][..], 2)] {
        let ended = run(&[("EBPF_NET_LOG_FILE_PATH", path)], arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        let line = format!("cannot open the log file {path}: ");
        assert!(ended.stderr.contains(&line), "{}", ended.stderr);
    }
}

#[test]
fn a_log_file_that_cannot_be_opened_stops_the_start_with_one_line() {
    for path in ["/no/such/directory/relay.log", "/"] {
        let ended = run(&[("EBPF_NET_LOG_FILE_PATH", path)], &[]);
        assert_eq!(ended.code, Some(1));
        let line = format!("k8s-relay: cannot open the log file {path}: ");
        assert!(ended.stderr.starts_with(&line), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}
