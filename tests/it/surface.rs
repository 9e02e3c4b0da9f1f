//! What a user types, sets and reads: flags, variables, the file, and their precedence.
//! Asked of the spawned binary.

mod command_lines;
mod configuration;
mod log;
mod mistakes;
mod origins;
mod variables;

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command, sync::LazyLock};

/// How one run of the binary ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Of an API server that nobody asks: where the native source is wanted, one must be known.
static KUBECONFIG: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
    let file = tempfile::NamedTempFile::new().unwrap();
    let content = "current-context: here\n\
        contexts: [{name: here, context: {cluster: c}}]\n\
        clusters: [{name: c, cluster: {server: 'https://10.0.0.1'}}]\n";
    fs::write(file.path(), content).unwrap();
    file
});

/// Runs the binary with nothing in its environment but `env` and a kubeconfig.
pub fn run(env: &[(&str, &str)], args: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_k8s-relay"));
    let output = command
        .env_clear()
        .env("KUBECONFIG", KUBECONFIG.path())
        .envs(env.iter().copied())
        .args(args)
        .output()
        .unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The effective configuration that these settings come to.
pub fn effective(env: &[(&str, &str)], args: &[&str]) -> BTreeMap<String, String> {
    let args: Vec<&str> = args.iter().copied().chain(["--check-config"]).collect();
    let ended = run(env, &args);
    assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
    let pair = |line: &str| {
        let (name, rest) = line.split_once(" = ").unwrap();
        let (value, _origin) = rest.rsplit_once("  # ").unwrap();
        (name.to_owned(), value.to_owned())
    };
    ended.stdout.lines().map(pair).collect()
}

/// One setting of the effective configuration.
fn setting(name: &str, env: &[(&str, &str)], args: &[&str]) -> String {
    effective(env, args).remove(name).unwrap_or_default()
}

pub struct TempFile {
    dir: tempfile::TempDir,
    pub path: PathBuf,
}

impl TempFile {
    pub fn new(content: impl AsRef<[u8]>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        fs::write(&path, content).unwrap();
        Self { dir, path }
    }

    pub fn flag(&self) -> String {
        format!("--config-file={}", self.path.display())
    }
}

#[test]
fn the_help_teaches_the_program() {
    let help = run(&[], &["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!(help.stdout);
}

#[test]
fn the_version_is_that_of_the_crate() {
    let version = run(&[], &["--version"]);
    assert_eq!(
        version.stdout,
        format!("k8s-relay {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(version.code, Some(0));
}

#[test]
fn without_any_setting_the_defaults_hold() {
    insta::assert_snapshot!(run(&[], &["--check-config"]).stdout, @r"
    config-file =   # default
    source = legacy  # default
    server-address = localhost:8712  # default
    stream-handover = seamless  # default
    stream-silence = 5m  # default
    server-tls-cert =   # default
    server-tls-key =   # default
    server-tls-client-ca =   # default
    kubeconfig =   # default
    context =   # default
    credentials-timeout = 30s  # default
    namespace =   # default
    selector =   # default
    list = auto  # default
    page-size = 500  # default
    containers = all  # default
    owner-wait = 60s  # default
    relist-resync = false  # default
    migrate = manual  # default
    state-file =   # default
    settle = 10s  # default
    parity-hold = 5m  # default
    rollback-after = 60s  # default
    ha = none  # default
    ha-name = k8s-relay  # default
    ha-namespace =   # default
    ha-lease = 15s  # default
    ha-renew-deadline = 8s  # default
    ha-retry = 2s  # default
    ha-hold = 5m  # default
    ha-fin-allowance = 2s  # default
    reannounce = never  # default
    escalate = known  # default
    intake-host = 127.0.0.1  # default
    intake-port = 8000  # default
    intake-encoder = binary  # default
    heartbeat-interval-sec = 2  # default
    health-interval = 1s  # default
    reconnect = replay  # default
    cloud = auto  # default
    aws-timeout = 1000  # default
    aws-metadata-endpoint =   # default
    gce-metadata-host =   # default
    record-intake-output =   # default
    tls = false  # default
    tls-ca =   # default
    tls-cert =   # default
    tls-key =   # default
    tls-server-name =   # default
    enrich-address = none  # default
    node-name =   # default
    enrich-tls-cert =   # default
    enrich-tls-key =   # default
    enrich-tls-client-ca =   # default
    admin-address = 127.0.0.1:8713  # default
    admin-tls-cert =   # default
    admin-tls-key =   # default
    admin-tls-client-ca =   # default
    log-format = text  # default
    log-file =   # default
    no-log-file = false  # default
    log-console = false  # default
    trace = false  # default
    debug = false  # default
    info = false  # default
    warning = false  # default
    error = false  # default
    critical = false  # default
    log-whitelist-all = false  # default
    log-whitelist-channel =   # default
    log-whitelist-cloud-platform =   # default
    log-whitelist-utility =   # default
    log-whitelist-component =   # default
    ");
}

#[test]
fn every_setting_can_be_changed() {
    let file = TempFile::new("labels: {zone: b, environment: 1.10}");
    let log = file.dir.path().join("log");
    let kubeconfig = file.dir.path().join("kubeconfig");
    let prod = "current-context: test\n\
        contexts: [{name: prod, context: {cluster: c}}]\n\
        clusters: [{name: c, cluster: {server: 'https://10.0.0.1'}}]\n";
    std::fs::write(&kubeconfig, prod).unwrap();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let ended = run(
        &[("EBPF_NET_LOG_FILE_PATH", log.to_str().unwrap())],
        &[
            &file.flag(),
            "--source=shadow-native",
            &format!("--kubeconfig={kubeconfig}"),
            "--context=prod",
            "--credentials-timeout=2m",
            "--namespace=shop",
            "--namespace=billing,shop",
            "--selector=app=web,tier!=db",
            "--list=pages",
            "--page-size=250",
            "--containers=main",
            "--owner-wait=90s",
            "--relist-resync",
            "--migrate=auto",
            "--state-file=state.json",
            "--settle=5s",
            "--parity-hold=1h",
            "--rollback-after=90s",
            "--ha=none",
            "--ha-name=writer",
            "--ha-namespace=relays",
            "--ha-lease=30s",
            "--ha-renew-deadline=10s",
            "--ha-retry=1s",
            "--ha-hold=0s",
            "--ha-fin-allowance=1s",
            "--reannounce=on-change",
            "--escalate=any",
            "--server-address=[::]:0",
            "--aws-timeout=250",
            "--heartbeat-interval-sec=7",
            "--intake-host=reducer.otel",
            "--intake-port=7000",
            "--intake-encoder=binary",
            "--health-interval=200ms",
            "--reconnect=reset-watcher",
            "--cloud=none",
            "--aws-metadata-endpoint=http://[::1]:1338",
            "--gce-metadata-host=metadata:8080",
            "--enrich-address=unix:/run/k8s-relay-enrich.sock",
            "--node-name=worker-1",
            "--admin-address=unix:/run/k8s-relay.sock",
            "--record-intake-output=relay.rec",
            "--log-console",
            "--log-format=json",
            "--debug",
            "--log-whitelist-all",
            "--log-whitelist-component=anything at all",
            "--check-config",
        ],
    );
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let shown = ended.stdout.replace(log.to_str().unwrap(), "LOG");
    let shown = shown.replace(file.path.to_str().unwrap(), "FILE");
    let shown = shown.replace(kubeconfig, "KUBECONFIG");
    insta::assert_snapshot!(shown, @r"
    config-file = FILE  # flag
    source = shadow-native  # flag
    server-address = [::]:0  # flag
    stream-handover = legacy  # default
    stream-silence = 5m  # default
    server-tls-cert =   # default
    server-tls-key =   # default
    server-tls-client-ca =   # default
    kubeconfig = KUBECONFIG  # flag
    context = prod  # flag
    credentials-timeout = 2m  # flag
    namespace = shop,billing,shop  # flag
    selector = app=web,tier!=db  # flag
    list = pages  # flag
    page-size = 250  # flag
    containers = main  # flag
    owner-wait = 90s  # flag
    relist-resync = true  # flag
    migrate = auto  # flag
    state-file = state.json  # flag
    settle = 5s  # flag
    parity-hold = 1h  # flag
    rollback-after = 90s  # flag
    ha = none  # flag
    ha-name = writer  # flag
    ha-namespace = relays  # flag
    ha-lease = 30s  # flag
    ha-renew-deadline = 10s  # flag
    ha-retry = 1s  # flag
    ha-hold = 0s  # flag
    ha-fin-allowance = 1s  # flag
    reannounce = on-change  # flag
    escalate = any  # flag
    intake-host = reducer.otel  # flag
    intake-port = 7000  # flag
    intake-encoder = binary  # flag
    heartbeat-interval-sec = 7  # flag
    health-interval = 200ms  # flag
    reconnect = reset-watcher  # flag
    cloud = none  # flag
    aws-timeout = 250  # flag
    aws-metadata-endpoint = http://[::1]:1338  # flag
    gce-metadata-host = metadata:8080  # flag
    record-intake-output = relay.rec  # flag
    tls = false  # default
    tls-ca =   # default
    tls-cert =   # default
    tls-key =   # default
    tls-server-name =   # default
    enrich-address = unix:/run/k8s-relay-enrich.sock  # flag
    node-name = worker-1  # flag
    enrich-tls-cert =   # default
    enrich-tls-key =   # default
    enrich-tls-client-ca =   # default
    admin-address = unix:/run/k8s-relay.sock  # flag
    admin-tls-cert =   # default
    admin-tls-key =   # default
    admin-tls-client-ca =   # default
    log-format = json  # flag
    log-file = LOG  # variable EBPF_NET_LOG_FILE_PATH
    no-log-file = false  # default
    log-console = true  # flag
    trace = false  # default
    debug = true  # flag
    info = false  # default
    warning = false  # default
    error = false  # default
    critical = false  # default
    log-whitelist-all = true  # flag
    log-whitelist-channel =   # default
    log-whitelist-cloud-platform =   # default
    log-whitelist-utility =   # default
    log-whitelist-component = anything at all  # flag
    labels.environment = 1.10  # file FILE:1
    labels.zone = b  # file FILE:1
    ");
}

#[test]
fn a_flag_goes_before_a_variable_before_the_file_before_the_default() {
    let file = TempFile::new("intake: {host: from-file, port: 3}");
    for (flag, variable, in_file, host, port) in [
        (true, true, true, "from-flag", "1"),
        (true, true, false, "from-flag", "1"),
        (true, false, true, "from-flag", "1"),
        (true, false, false, "from-flag", "1"),
        (false, true, true, "from-variable", "2"),
        (false, true, false, "from-variable", "2"),
        (false, false, true, "from-file", "3"),
        (false, false, false, "127.0.0.1", "8000"),
    ] {
        let mut args: Vec<String> = Vec::new();
        let mut env = Vec::new();
        if flag {
            args.extend([
                "--intake-host=from-flag".to_owned(),
                "--intake-port=1".to_owned(),
            ]);
        }
        if variable {
            env.extend([
                ("EBPF_NET_INTAKE_HOST", "from-variable"),
                ("EBPF_NET_INTAKE_PORT", "2"),
            ]);
        }
        if in_file {
            args.push(file.flag());
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let effective = effective(&env, &args);
        assert_eq!(effective["intake-host"], host, "{args:?} {env:?}");
        assert_eq!(effective["intake-port"], port, "{args:?} {env:?}");
    }
}

#[test]
fn host_and_port_are_decided_each_on_its_own() {
    let file = TempFile::new("intake: {host: from-file, port: 3}");
    let effective = effective(
        &[("EBPF_NET_INTAKE_PORT", "2")],
        &[&file.flag(), "--intake-host", "from-flag"],
    );
    assert_eq!(
        (&*effective["intake-host"], &*effective["intake-port"]),
        ("from-flag", "2")
    );
}

#[test]
fn new_settings_have_variables_of_their_own() {
    for (name, variable, value, flag, over) in [
        (
            "health-interval",
            "K8S_RELAY_HEALTH_INTERVAL",
            "200ms",
            "--health-interval=5s",
            "5s",
        ),
        (
            "reconnect",
            "K8S_RELAY_RECONNECT",
            "reset-watcher",
            "--reconnect=replay",
            "replay",
        ),
        ("cloud", "K8S_RELAY_CLOUD", "none", "--cloud=gcp", "gcp"),
        (
            "aws-metadata-endpoint",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            "http://localhost:1338",
            "--aws-metadata-endpoint=http://imds",
            "http://imds",
        ),
        (
            "gce-metadata-host",
            "GCE_METADATA_HOST",
            "localhost:8080",
            "--gce-metadata-host=metadata",
            "metadata",
        ),
        (
            "source",
            "K8S_RELAY_SOURCE",
            "shadow",
            "--source=native",
            "native",
        ),
        (
            "migrate",
            "K8S_RELAY_MIGRATE",
            "auto",
            "--migrate=manual",
            "manual",
        ),
        (
            "state-file",
            "K8S_RELAY_STATE_FILE",
            "from-variable",
            "--state-file=from-flag",
            "from-flag",
        ),
        ("settle", "K8S_RELAY_SETTLE", "1s", "--settle=2s", "2s"),
        (
            "parity-hold",
            "K8S_RELAY_PARITY_HOLD",
            "10s",
            "--parity-hold=7days",
            "7days",
        ),
        (
            "rollback-after",
            "K8S_RELAY_ROLLBACK_AFTER",
            "100ms",
            "--rollback-after=1h",
            "1h",
        ),
        (
            "admin-address",
            "K8S_RELAY_ADMIN_ADDRESS",
            "none",
            "--admin-address=[::1]:0",
            "[::1]:0",
        ),
        (
            "log-format",
            "K8S_RELAY_LOG_FORMAT",
            "json",
            "--log-format=text",
            "text",
        ),
        (
            "record-intake-output",
            "EBPF_NET_RECORD_INTAKE_OUTPUT_PATH",
            "from-variable",
            "--record-intake-output=from-flag",
            "from-flag",
        ),
    ] {
        assert_eq!(setting(name, &[(variable, value)], &[]), value);
        assert_eq!(setting(name, &[(variable, value)], &[flag]), over);
        assert_eq!(
            setting(name, &[(variable, "")], &[]),
            setting(name, &[], &[]),
            "empty"
        );
    }
}

#[test]
fn the_last_of_repeated_flags_counts_in_either_form() {
    for (name, args, value) in [
        (
            "server-address",
            &["--server-address=a:1", "--server-address", "b:2"][..],
            "b:2",
        ),
        (
            "intake-host",
            &["--intake-host", "a", "--intake-host=b"],
            "b",
        ),
        (
            "intake-port",
            &["--intake-port=1", "--intake-port=2", "--intake-port=3"],
            "3",
        ),
        (
            "heartbeat-interval-sec",
            &[
                "--heartbeat-interval-sec",
                "-1",
                "--heartbeat-interval-sec=0",
            ],
            "0",
        ),
        (
            "heartbeat-interval-sec",
            &[
                "--heartbeat-interval-sec=0",
                "--heartbeat-interval-sec",
                "-1",
            ],
            "-1",
        ),
        ("aws-timeout", &["--aws-timeout=1", "--aws-timeout=2"], "2"),
        (
            "warning",
            &["--warning", "--warning", "--log-console", "--log-console"],
            "true",
        ),
        (
            "log-whitelist-channel",
            &[
                "--log-whitelist-channel=tcp",
                "--log-whitelist-channel=none",
            ],
            "none",
        ),
        (
            "log-format",
            &["--log-format=json", "--log-format=text"],
            "text",
        ),
        (
            "record-intake-output",
            &["--record-intake-output=a", "--record-intake-output=b"],
            "b",
        ),
    ] {
        assert_eq!(setting(name, &[], args), value, "{args:?}");
    }
    let first = TempFile::new("labels: [");
    let args = [&*first.flag(), "--config-file="];
    assert_eq!(setting("intake-port", &[], &args), "8000");
}
