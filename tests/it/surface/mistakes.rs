//! What the binary says about mistakes.

use std::{os::unix::ffi::OsStrExt as _, process::Command};

use super::{TempFile, run};

#[test]
fn a_wrong_command_line_is_refused_with_code_2() {
    let port = "expected a port number up to 65535, found";
    for (args, end) in [
        (
            &["--no-such-flag"][..],
            "unexpected argument '--no-such-flag' found",
        ),
        (&["positional"], "unrecognized subcommand 'positional'"),
        (&["--intake-host="], "expected a host name or address"),
        (&["--intake-host", ""], "expected a host name or address"),
        (&["--intake-host", "a b"], "expected a host name or address"),
        (
            &["--intake-host", "http://a"],
            "expected a host name or address",
        ),
        (
            &["--intake-host", "10.0.0.256"],
            "expected a host name or address",
        ),
        (
            &["--intake-host", "a:7000"],
            "expected a host name or address alone: the port has a setting of its own",
        ),
        (
            &["--admin-address", &format!("unix:/{}", "a".repeat(107))],
            "expected a path of at most 107 bytes for a Unix socket",
        ),
        (&["--intake-port="], &format!("{port} ``")),
        (&["--intake-port=http"], &format!("{port} `http`")),
        (&["--intake-port=0"], &format!("{port} `0`")),
        (&["--intake-port=65536"], &format!("{port} `65536`")),
        (
            &["--intake-encoder=otlp"],
            "invalid value 'otlp' for '--intake-encoder <NAME>'",
        ),
        (
            &["--server-address=localhost"],
            "expected HOST:PORT, with an IPv6 address in brackets",
        ),
        (
            &["--server-address=localhost:grpc"],
            &format!("{port} `grpc`"),
        ),
        (
            &["--heartbeat-interval-sec=65536"],
            "expected a decimal number of seconds up to 65535",
        ),
        (
            &["--heartbeat-interval-sec=0x2"],
            "expected a decimal number of seconds up to 65535",
        ),
        (&["--aws-timeout=1s"], "expected a number of milliseconds"),
        (&["--health-interval=1ms"], "expected at least 10ms"),
        (
            &["--health-interval=1"],
            "expected a number with a unit, as in `200ms` or `1s`",
        ),
        (
            &["--reconnect=never"],
            "invalid value 'never' for '--reconnect <HOW>'",
        ),
        (
            &["--source=shadows"],
            "invalid value 'shadows' for '--source <SOURCE>'",
        ),
        (
            &["--migrate=by-itself"],
            "invalid value 'by-itself' for '--migrate <WHO>'",
        ),
        (&["--settle=0s"], "expected 100ms to 10m"),
        (&["--settle=601s"], "expected 100ms to 10m"),
        (&["--parity-hold=99ms"], "expected 100ms to 7days"),
        (&["--parity-hold=8days"], "expected 100ms to 7days"),
        (&["--rollback-after=61m"], "expected 100ms to 1h"),
        (
            &["--parity-hold=300"],
            "expected a number with a unit, as in `60s` or `2m`",
        ),
        (
            &["--namespace=Shop"],
            "expected the name of a namespace: lower-case letters, digits and `-`, at most 63",
        ),
        (
            &["--selector=app=web,,"],
            "`` is not a requirement on a label, as in `app=web`, `tier!=db` or `env in (a, b)`",
        ),
        (&["--page-size=0"], "0 is not in 1..=10000"),
        (&["--owner-wait=500000000000years"], "expected at most 1day"),
        (&["tee", "--settle=2years"], "expected at most 1year"),
        (
            &["--owner-wait=60"],
            "expected a number with a unit, as in `60s` or `2m`",
        ),
        (
            &["cluster", "--pods=many"],
            "invalid value 'many' for '--pods <N>': invalid digit found in string",
        ),
        (
            &["cluster", "--pods=3000000"],
            "3000000 is not in 0..=2000000",
        ),
        (&["cluster", "--namespaces=0"], "0 is not in 1..=100000"),
        (&["cluster", "--churn=-1"], "-1 is not in 0..=1000000"),
        (
            &["cluster", "--listen=localhost"],
            "invalid value 'localhost' for '--listen <ADDR>': invalid socket address syntax",
        ),
        (
            &["cluster", "--watch-list=maybe"],
            "invalid value 'maybe' for '--watch-list <WATCH_LIST>'",
        ),
        (&["cluster", "--bookmarks-every=0s"], "shorter than 1ms"),
        (
            &["--cloud=azure"],
            "invalid value 'azure' for '--cloud <NAME>'",
        ),
        (
            &["--log-format=xml"],
            "invalid value 'xml' for '--log-format <FORM>'",
        ),
        (
            &["--log-whitelist-channel=tcp,udp"],
            "unknown token `udp`; expected `*` or some of: none, tls, reconnecting_channel, tcp, upstream",
        ),
        (
            &["--log-whitelist-cloud-platform=azure"],
            "unknown token `azure`; expected `*` or some of: unknown, aws, gcp",
        ),
        (
            &["--log-whitelist-utility=*,curl"],
            "unknown token `*`; expected `*` or some of: none, curl",
        ),
    ] {
        refused(&[], args, 2, end);
    }
}

#[test]
fn a_wrong_variable_is_refused_with_code_2() {
    for (variable, value, end) in [
        (
            "EBPF_NET_INTAKE_PORT",
            "http",
            "expected a port number up to 65535, found `http`",
        ),
        (
            "EBPF_NET_INTAKE_PORT",
            " 1",
            "expected a port number up to 65535, found ` 1`",
        ),
        ("K8S_RELAY_HEALTH_INTERVAL", "0s", "expected at least 10ms"),
        (
            "K8S_RELAY_RECONNECT",
            "x",
            "invalid value 'x' for '--reconnect <HOW>'",
        ),
        (
            "K8S_RELAY_CLOUD",
            "x",
            "invalid value 'x' for '--cloud <NAME>'",
        ),
        (
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            "https://169.254.169.254",
            "expected http://HOST[:PORT], without a user and a query",
        ),
        (
            "GCE_METADATA_HOST",
            "http://metadata",
            "expected HOST[:PORT], with an IPv6 address in brackets",
        ),
        (
            "K8S_RELAY_LOG_FORMAT",
            "x",
            "invalid value 'x' for '--log-format <FORM>'",
        ),
    ] {
        refused(&[(variable, value)], &[], 2, end);
        let sent = run(&[(variable, value)], &[]).stderr;
        let tip = format!("tip: the value comes from the variable {variable}");
        assert!(sent.contains(&tip), "{sent}");
    }
}

#[test]
fn a_recording_that_cannot_be_opened_is_found_by_a_check_and_nothing_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let missing = path("no/such/folder");
    let end = format!("cannot record into {missing}: No such file or directory (os error 2)");
    refused(&[], &["--record-intake-output", &missing], 2, &end);
    let fine = path("recording");
    let ended = run(&[], &["--record-intake-output", &fine, "--check-config"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!dir.path().join("recording").exists());
}

#[test]
fn a_hold_in_which_no_difference_could_count_is_refused() {
    let end = "--parity-hold 9s is shorter than --settle 10s: \
               no difference would be confirmed before the cutover";
    refused(&[], &["--parity-hold=9s"], 2, end);
    let started = run(&[], &["--parity-hold=9s"]);
    assert_eq!(started.code, Some(2));
    assert_eq!(started.stderr, format!("error: {end}\n"));
    let ended = run(&[], &["--parity-hold=9s", "--settle=9s", "--check-config"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// What a start and a check say of these settings: the start as it logs it.
fn both_refuse(args: &[&str], code: i32, end: &str) {
    refused(&[], args, 2, end);
    let started = run(&[], args);
    assert_eq!(started.code, Some(code), "{args:?}: {}", started.stderr);
    let said = started.stderr.trim_end();
    assert!(
        said.ends_with(end),
        "{args:?}: {said} should end with {end}"
    );
}

#[test]
fn a_place_that_cannot_be_listened_at_is_found_by_a_check_and_nothing_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let unix = |name: &str| format!("unix:{}", dir.path().join(name).display());
    std::fs::write(dir.path().join("file"), "of somebody else").unwrap();
    let admin = "(set --admin-address; `none` disables the listener)";
    for (address, why) in [
        (
            unix("gone/relay.sock"),
            "No such file or directory (os error 2)",
        ),
        (
            unix("file"),
            "the file is not a socket, and the relay leaves it alone",
        ),
        (unix("file/relay.sock"), "Not a directory (os error 20)"),
        (
            "192.0.2.1:8713".to_owned(),
            "Cannot assign requested address (os error 99)",
        ),
    ] {
        let args = ["--server-address=127.0.0.1:0", "--admin-address", &*address];
        both_refuse(
            &args,
            1,
            &format!("cannot listen on {address} {admin}: {why}"),
        );
    }
    let args = ["--server-address=192.0.2.1:8712", "--admin-address=none"];
    let end = "cannot listen on 192.0.2.1:8712 (see --server-address): \
               Cannot assign requested address (os error 99)";
    both_refuse(&args, 1, end);

    let fine = unix("relay.sock");
    let ended = run(&[], &["--admin-address", &fine, "--check-config"]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    let names = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 1, "the check leaves nothing behind");
}

#[test]
fn what_a_running_relay_has_is_no_mistake_of_the_one_that_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.sock");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("--server-address={}", port.local_addr().unwrap());
    let admin = format!("--admin-address=unix:{}", path.display());
    let ended = run(&[], &[&server, &admin, "--check-config"]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    assert!(path.exists());
}

#[test]
fn two_listeners_at_one_address_are_a_mistake() {
    for (server, admin, first, second) in [
        (
            "127.0.0.1:8712",
            "127.0.0.1:8712",
            "--server-address 127.0.0.1:8712",
            "--admin-address 127.0.0.1:8712",
        ),
        (
            "localhost:8712",
            "0.0.0.0:8712",
            "--server-address localhost:8712",
            "--admin-address 0.0.0.0:8712",
        ),
        (
            "127.0.0.1:0",
            "unix:/run/a,[::1]:1,unix:/run/a",
            "--admin-address unix:/run/a",
            "--admin-address unix:/run/a",
        ),
    ] {
        let args = ["--server-address", server, "--admin-address", admin];
        let end = format!(
            "{first} and {second} cannot be had both: they are, or include, the same address"
        );
        both_refuse(&args, 2, &end);
    }
}

#[test]
fn the_stage_in_the_state_file_decides_whether_a_kubeconfig_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let kubeconfig = path("gone");
    let legacy = ["--server-address=127.0.0.1:0", "--kubeconfig", &kubeconfig];
    let ended = run(&[], &[&legacy[..], &["--check-config"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("`k8s-relay migrate shadow` would fail"),
        "{}",
        ended.stderr
    );
    let recorded = r#"{"schema": "k8s-relay/migration/1", "source": "legacy", "stage": "shadow",
        "forced": false, "auto": {"rollbacks": 0, "given_up": false}}"#;
    std::fs::write(path("state"), recorded).unwrap();
    let state = path("state");
    let shadow = [&legacy[..], &["--state-file", &state]].concat();
    let end =
        format!("cannot use the kubeconfig {kubeconfig}: No such file or directory (os error 2)");
    both_refuse(&shadow, 1, &end);
}

#[test]
fn a_state_file_that_is_of_no_use_stops_the_start_and_a_check_creates_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let missing = path("no/state");
    let end =
        format!("cannot write the state file {missing}: No such file or directory (os error 2)");
    refused(&[], &["--state-file", &missing], 2, &end);
    let cut = path("cut");
    std::fs::write(&cut, "").unwrap();
    let end =
        format!("cannot use the state file {cut}: it is empty; delete it to start at --source");
    refused(&[], &["--state-file", &cut], 2, &end);
    let started = run(&[], &["--state-file", &cut, "--server-address=127.0.0.1:0"]);
    assert_eq!(started.code, Some(1));
    assert!(
        started.stderr.trim_end().ends_with(&end),
        "{}",
        started.stderr
    );
    let fine = path("state");
    let ended = run(&[], &["--state-file", &fine, "--check-config"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!dir.path().join("state").exists());
}

#[test]
fn a_wrong_file_is_refused_with_one_line_that_names_it_and_the_place() {
    let at = |file: &TempFile, rest: &str| format!("config file {}: {rest}", file.path.display());
    for (content, rest) in [
        (
            &b"just text"[..],
            "line 1: the document is not a map of settings",
        ),
        (b"labels: [1]", "line 1: `labels` is not a map"),
        (
            b"labels: {a: [b]}",
            "line 1: label \"a\" has no plain value",
        ),
        (
            b"intake: {port: 1}",
            "line 1: `intake` needs a plain `host`",
        ),
        (
            b"\xef\xbb\xbflabels: {}\r\nsorce: native\r\n",
            "line 2: unknown key \"sorce\"; did you mean `source`?",
        ),
        (
            b"source: native\n\nsettle: 1h\nbogus: 1\n",
            "line 3: `settle` is \"1h\": expected 100ms to 10m; line 4: unknown key \"bogus\"",
        ),
        (
            b"labels: {a: 'b",
            "line 1: not YAML: while scanning a quoted scalar, found unexpected end of stream",
        ),
        (
            b"labels: {a: \xff}",
            "not UTF-8: invalid utf-8 sequence of 1 bytes from index 12",
        ),
    ] {
        let file = TempFile::new(content);
        file_refused(&file.flag(), &at(&file, rest));
    }
    let long = TempFile::new(vec![b'#'; (1 << 20) + 1]);
    file_refused(&long.flag(), &at(&long, "longer than 1048576 bytes"));
    let pipe = TempFile::new("").dir;
    let pipe_path = pipe.path().join("pipe");
    let mode = nix::sys::stat::Mode::S_IRWXU;
    std::fs::create_dir_all(pipe.path()).unwrap();
    nix::unistd::mkfifo(&pipe_path, mode).unwrap();
    let pipe_path = pipe_path.display();
    for (path, end) in [
        (
            "/no/such/file",
            "cannot read the config file /no/such/file: No such file or directory (os error 2)",
        ),
        ("/", "cannot read the config file /: it is a directory"),
        (
            &*pipe_path.to_string(),
            &*format!("cannot read the config file {pipe_path}: it is a pipe"),
        ),
        (
            "/dev/zero",
            "config file /dev/zero: longer than 1048576 bytes",
        ),
    ] {
        file_refused(&format!("--config-file={path}"), end);
    }
}

/// By a check and by a start, with one line.
fn file_refused(flag: &str, line: &str) {
    for args in [&[flag][..], &[flag, "--check-config"]] {
        let ended = run(&[], args);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{args:?}");
        assert_eq!(ended.stderr, format!("error: {line}\n"), "{args:?}");
    }
}

#[test]
fn a_label_that_is_too_long_is_a_warning() {
    let file = TempFile::new("labels: {a-key-of-21-bytes-xxx: b, short: kept}\n");
    let ended = run(&[], &[&file.flag(), "--check-config"]);
    assert_eq!(ended.code, Some(0));
    let kept = format!("labels.short = kept  # file {}:1\n", file.path.display());
    assert!(ended.stdout.ends_with(&kept), "{}", ended.stdout);
    let warnings: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(warnings.len(), 1, "{}", ended.stderr);
    assert!(warnings[0].contains(" WARN "), "{}", warnings[0]);
    assert!(warnings[0].contains("\"a-key-of-21-bytes-xx\" is skipped"));
    let quiet = run(&[], &[&file.flag(), "--check-config", "--error"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_value_that_is_no_text_is_refused_with_the_name_of_its_variable_or_flag() {
    let bytes = std::ffi::OsStr::from_bytes(b"\xff");
    let relay = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_k8s-relay"));
        command.env_clear().arg("--check-config");
        command
    };
    let by_variable = relay().env("K8S_RELAY_CONTEXT", bytes).output().unwrap();
    let by_flag = relay().arg("--context").arg(bytes).output().unwrap();
    for (output, line) in [
        (
            by_variable,
            "error: the value of the variable K8S_RELAY_CONTEXT is not UTF-8\n",
        ),
        (by_flag, "error: the argument `\u{fffd}` is not UTF-8\n"),
    ] {
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), line);
    }
    // A path may have any bytes.
    let path = relay().env("K8S_RELAY_KUBECONFIG", bytes).output().unwrap();
    assert_eq!(path.status.code(), Some(0));
}

#[test]
fn an_address_that_is_taken_stops_the_start_with_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ended = run(&[], &[&format!("--server-address={address}"), "--error"]);
    assert_eq!(ended.code, Some(1));
    let end = format!(
        "cannot listen on {address} (see --server-address): Address already in use (os error 98)\n"
    );
    assert!(ended.stderr.ends_with(&end), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

/// Fails with this code, and the last line of the mistake ends so.
fn refused(env: &[(&str, &str)], args: &[&str], code: i32, end: &str) {
    let args: Vec<&str> = args.iter().copied().chain(["--check-config"]).collect();
    let ended = run(env, &args);
    assert_eq!(ended.code, Some(code), "{env:?} {args:?}: {}", ended.stderr);
    assert_eq!(ended.stdout, "", "{env:?} {args:?}");
    let mut lines = ended.stderr.lines();
    assert!(
        lines.next().unwrap_or_default().ends_with(end),
        "{env:?} {args:?}: {} should end with {end}",
        ended.stderr
    );
    if code == 1 {
        assert_eq!(lines.next(), None, "one line says it all: {}", ended.stderr);
    }
}
