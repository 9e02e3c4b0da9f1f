//! The variables of all commands, and what empty, unknown and foreign ones do.

use clap::CommandFactory as _;
use k8s_relay::cli::Cli;

use super::{effective, run};

#[test]
fn the_variables_are_these() {
    let mut names = Vec::new();
    let mut commands = vec![Cli::command()];
    while let Some(command) = commands.pop() {
        let variables = command.get_arguments().filter_map(|arg| arg.get_env());
        names.extend(variables.map(|name| name.to_str().unwrap().to_owned()));
        commands.extend(command.get_subcommands().cloned());
    }
    names.sort();
    names.dedup();
    insta::assert_snapshot!(names.join("\n"), @r"
    AWS_EC2_METADATA_SERVICE_ENDPOINT
    EBPF_NET_INTAKE_HOST
    EBPF_NET_INTAKE_PORT
    EBPF_NET_LOG_FILE_PATH
    EBPF_NET_RECORD_INTAKE_OUTPUT_PATH
    GCE_METADATA_HOST
    K8S_RELAY_ADMIN_ADDRESS
    K8S_RELAY_ADMIN_TLS_CERT
    K8S_RELAY_ADMIN_TLS_CLIENT_CA
    K8S_RELAY_ADMIN_TLS_KEY
    K8S_RELAY_CLOUD
    K8S_RELAY_CONTAINERS
    K8S_RELAY_CONTEXT
    K8S_RELAY_CREDENTIALS_TIMEOUT
    K8S_RELAY_ENRICH_ADDRESS
    K8S_RELAY_ENRICH_TLS_CERT
    K8S_RELAY_ENRICH_TLS_CLIENT_CA
    K8S_RELAY_ENRICH_TLS_KEY
    K8S_RELAY_ESCALATE
    K8S_RELAY_HA
    K8S_RELAY_HA_FIN_ALLOWANCE
    K8S_RELAY_HA_HOLD
    K8S_RELAY_HA_LEASE
    K8S_RELAY_HA_NAME
    K8S_RELAY_HA_NAMESPACE
    K8S_RELAY_HA_RENEW_DEADLINE
    K8S_RELAY_HA_RETRY
    K8S_RELAY_HEALTH_INTERVAL
    K8S_RELAY_KUBECONFIG
    K8S_RELAY_LIST
    K8S_RELAY_LOG_FORMAT
    K8S_RELAY_MIGRATE
    K8S_RELAY_NAMESPACE
    K8S_RELAY_NODE_NAME
    K8S_RELAY_OWNER_WAIT
    K8S_RELAY_PAGE_SIZE
    K8S_RELAY_PARITY_HOLD
    K8S_RELAY_REANNOUNCE
    K8S_RELAY_RECONNECT
    K8S_RELAY_RELIST_RESYNC
    K8S_RELAY_ROLLBACK_AFTER
    K8S_RELAY_SELECTOR
    K8S_RELAY_SERVER_TLS_CERT
    K8S_RELAY_SERVER_TLS_CLIENT_CA
    K8S_RELAY_SERVER_TLS_KEY
    K8S_RELAY_SETTLE
    K8S_RELAY_SOURCE
    K8S_RELAY_STATE_FILE
    K8S_RELAY_STREAM_HANDOVER
    K8S_RELAY_STREAM_SILENCE
    K8S_RELAY_TLS
    K8S_RELAY_TLS_CA
    K8S_RELAY_TLS_CERT
    K8S_RELAY_TLS_KEY
    K8S_RELAY_TLS_SERVER_NAME
    ");
    for name in names {
        // Kubernetes sets these in every pod of a namespace with a Service `k8s-relay`.
        let taken = ["K8S_RELAY_PORT", "K8S_RELAY_SERVICE"];
        assert!(taken.iter().all(|taken| !name.starts_with(taken)), "{name}");
    }
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let env: Vec<_> = [
        "EBPF_NET_INTAKE_HOST",
        "EBPF_NET_INTAKE_PORT",
        "EBPF_NET_INTAKE_ENCODER",
        "EBPF_NET_LOG_FILE_PATH",
        "EBPF_NET_RECORD_INTAKE_OUTPUT_PATH",
        "K8S_RELAY_CLOUD",
        "K8S_RELAY_HEALTH_INTERVAL",
        "K8S_RELAY_LOG_FORMAT",
        "K8S_RELAY_RECONNECT",
    ]
    .map(|name| (name, ""))
    .to_vec();
    assert_eq!(effective(&env, &[]), effective(&[], &[]));
}

#[test]
fn an_unknown_variable_is_named_in_one_warning() {
    let env = [
        ("K8S_RELAY_SORCE", "native"),
        ("K8S_RELAY_QUUX", ""),
        ("K8S_RELAY_SOURCE", "shadow"),
    ];
    let ended = run(&env, &["--check-config"]);
    assert_eq!(ended.code, Some(0));
    let warning = "unknown variables are ignored: K8S_RELAY_QUUX, \
                   K8S_RELAY_SORCE (did you mean K8S_RELAY_SOURCE?)\n";
    assert!(ended.stderr.ends_with(warning), "{}", ended.stderr);
    assert!(ended.stderr.contains(" WARN "), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

#[test]
fn variables_of_others_are_ignored() {
    let env = [
        ("EBPF_NET_CLUSTER_NAME", "staging"),
        ("EBPF_NET_INTAKE_ENCODER", "nonsense"),
        ("EBPF_NET_DEBUG_MODE", "true"),
        ("EBPF_NET_RUN_UNDER_GDB", "gdb"),
        ("EBPF_NET_GDB_COMMANDS", "run"),
        ("EBPF_NET_MINIDUMP_DIR", "/dumps"),
        ("EBPF_NET_CRASH_METRIC_HOST", "metrics"),
        ("EBPF_NET_CRASH_METRIC_PORT", "junk"),
        ("EBPF_NET_DATA_DIR", "/data"),
        ("K8S_RELAY_SERVICE_HOST", "10.0.0.1"),
        ("K8S_RELAY_PORT", "tcp://10.0.0.1:8712"),
        ("K8S_RELAY_PORT_8712_TCP_PORT", "8712"),
        ("RUST_LOG", "trace"),
    ];
    assert_eq!(effective(&env, &[]), effective(&[], &[]));
}
