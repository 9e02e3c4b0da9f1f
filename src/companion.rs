//! What the program is in the container of the legacy watcher: an idle companion of the relay.
//!
//! The `opentelemetry-ebpf` chart starts two containers in one pod and names no program for
//! either. With this image in both, the same program starts twice: once with the relay's command
//! line, once with the watcher's. The second has nothing left to do.
//!
//! Invariants: the name, the arguments and the variables of the process decide, before anything
//! else is read; a companion binds nothing, opens nothing and connects to nothing.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::Path,
};

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::config::has_own_variables;

/// The name of the legacy watcher's program.
const WATCHER: &str = "k8s-watcher";

/// The legacy watcher's flags that the chart sets, without dashes.
const LOG_LEVEL: &str = "log-level";
const LOG_CONSOLE: &str = "log-console";

/// Whether this command line, program name first, and these variables are those of the legacy
/// watcher's container.
///
/// They are if the program is called `k8s-watcher`. They are as well if its arguments are the
/// watcher's log level and, at most, its console switch, while no variable speaks to the relay.
pub fn is_meant(
    line: &[OsString],
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> bool {
    let Some((program, arguments)) = line.split_first() else {
        return false;
    };
    if Path::new(program).file_name() == Some(OsStr::new(WATCHER)) {
        return true;
    }
    if !are_the_watchers(arguments) {
        return false;
    }
    let set = variables
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, _)| name.into_string().ok());
    !has_own_variables(set)
}

/// Whether these are the flags that the chart gives its watcher, as Go reads them: with one or
/// two dashes, the level behind `=` or in the next word, the switch alone or with a value.
fn are_the_watchers(arguments: &[OsString]) -> bool {
    let mut has_level = false;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.to_str().and_then(without_dashes) else {
            return false;
        };
        match flag.split_once('=') {
            Some((LOG_LEVEL, _)) => has_level = true,
            Some((LOG_CONSOLE, _)) => {}
            None if flag == LOG_LEVEL && words.next().is_some() => has_level = true,
            None if flag == LOG_CONSOLE => {}
            Some(_) | None => return false,
        }
    }
    has_level
}

fn without_dashes(word: &str) -> Option<&str> {
    let flag = word.strip_prefix('-')?;
    Some(flag.strip_prefix('-').unwrap_or(flag))
}

/// Says what this process is, and waits for SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
///
/// When signals cannot be waited for.
pub async fn run() -> io::Result<()> {
    // What ends a companion would end the watcher, too.
    let (mut term, mut int, mut hup) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    );
    info!(
        "this container is an idle companion: its command line is that of the legacy k8s-watcher, \
         which this program replaces. The k8s-relay container must run this program, too, with \
         --source=native; a legacy relay needs the image of the legacy k8s-watcher here"
    );
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        _ = hup.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, variables: &[(&str, &str)], meant: bool) {
        let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let variables = variables
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        assert_eq!(is_meant(&words, variables), meant, "{line}");
    }

    #[test]
    fn a_program_called_k8s_watcher_is_a_companion_whatever_else_is_said() {
        let ours = [("EBPF_NET_INTAKE_HOST", "reducer")];
        for line in [
            "k8s-watcher",
            "/srv/k8s-watcher --log-console --log-level=warning",
            "./k8s-watcher -server-address localhost:8712",
        ] {
            check(line, &[], true);
            check(line, &ours, true);
        }
    }

    #[test]
    fn the_charts_watcher_is_known_by_its_log_level() {
        for (arguments, meant) in [
            ("--log-console --log-level=warning", true),
            ("--log-level=debug --log-console", true),
            ("-log-console -log-level=warn", true),
            ("--log-level info", true),
            ("-log-console=true -log-level=trace", true),
            ("--log-level=a --log-level=b", true),
            ("--log-level=", true),
            // Nothing here is the watcher's alone.
            ("--log-console", false),
            ("-log-console=true", false),
            ("--log-level", false),
            ("log-level=info", false),
            ("---log-level=info", false),
            ("--log-levels=info", false),
            ("--log-console --log-level=info --source=native", false),
            ("--log-level=info --warning", false),
            ("--log-level=info status", false),
            ("status", false),
            ("--log-console true --log-level=info", false),
        ] {
            check(&format!("/srv/k8s-relay {arguments}"), &[], meant);
        }
        check("k8s-relay", &[], false);
        assert!(!is_meant(&[], []));
    }

    #[test]
    fn a_variable_that_speaks_to_the_relay_makes_it_the_relay() {
        let line = "/srv/k8s-relay --log-console --log-level=warning";
        for (variables, meant) in [
            (&[("EBPF_NET_INTAKE_HOST", "reducer")][..], false),
            (&[("EBPF_NET_DEBUG_MODE", "true")], false),
            (&[("K8S_RELAY_SOURCE", "native")], false),
            // An empty variable counts as unset.
            (&[("EBPF_NET_CLUSTER_NAME", "")], true),
            (
                &[("HOME", "/"), ("KUBERNETES_PORT", "tcp://10.0.0.1")],
                true,
            ),
        ] {
            check(line, variables, meant);
        }
    }

    #[test]
    fn what_kubernetes_sets_for_services_does_not_make_it_the_relay() {
        check(
            "/srv/k8s-relay --log-console --log-level=warning",
            &[
                ("K8S_RELAY_SERVICE_HOST", "10.0.0.7"),
                ("K8S_RELAY_SERVICE_PORT", "8712"),
                ("K8S_RELAY_PORT", "tcp://10.0.0.7:8712"),
                ("EBPF_NET_REDUCER_SERVICE_HOST", "10.0.0.8"),
                ("EBPF_NET_REDUCER_SERVICE_PORT", "7000"),
                ("EBPF_NET_REDUCER_SERVICE_PORT_TELEMETRY", "7000"),
                ("EBPF_NET_REDUCER_PORT", "tcp://10.0.0.8:7000"),
                ("EBPF_NET_REDUCER_PORT_7000_TCP_ADDR", "10.0.0.8"),
            ],
            true,
        );
    }
}
