//! Where each setting comes from. The definitions of the flags are walked, so that a new flag is
//! tried too.

use clap::{Arg, ArgAction, CommandFactory as _, error::ErrorKind};
use k8s_relay::cli::Cli;
use serde_json::Value;

use super::{TempFile, run};
use crate::support::certs::{Authority, Secret};

/// Flags that say what is done with settings.
const NOT_SETTINGS: [&str; 3] = ["config-file", "check-config", "json"];

/// Texts of which each flag takes one at least.
const TEXTS: [&str; 9] = [
    "61s",
    "7",
    "x",
    "tcp",
    "aws",
    "curl",
    "app=web",
    "[::1]:7",
    "http://localhost:7",
];

fn settings() -> Vec<Arg> {
    let command = Cli::command();
    let all = command.get_arguments().filter(|arg| {
        let name = arg.get_long().unwrap();
        !NOT_SETTINGS.contains(&name)
    });
    all.cloned().collect()
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// The same as a flag.
fn flag(arg: &Arg, value: &str) -> String {
    let name = arg.get_long().unwrap();
    match is_switch(arg) {
        true => format!("--{name}"),
        false => format!("--{name}={value}"),
    }
}

/// A value that it takes and that is not its default.
fn another_value(arg: &Arg) -> String {
    let defaults = arg.get_default_values();
    let known = arg.get_possible_values();
    let known = known.iter().map(|value| value.get_name());
    let takes = |value: &&str| {
        let line = ["k8s-relay".to_owned(), flag(arg, value)];
        !defaults.iter().any(|default| default == value)
            && (is_switch(arg) || Cli::parse_line(line.map(Into::into)).is_ok())
    };
    let mut candidates: Vec<&str> = known.chain(TEXTS).filter(takes).collect();
    if is_switch(arg) {
        candidates = vec!["true"];
    }
    // Some have one value only.
    let value = candidates.first().map(|value| (*value).to_owned());
    value.unwrap_or_else(|| defaults[0].to_str().unwrap().to_owned())
}

/// A value for a setting of TLS, which needs files that can be used, and what it needs with it.
fn of_tls(name: &str, secret: &Secret) -> Option<(String, Vec<String>)> {
    let (certificate, key) = (secret.path("tls.crt"), secret.path("tls.key"));
    let ca = secret.path("ca.crt");
    let (of, file) = match name {
        "tls" => return Some(("true".to_owned(), vec![format!("--tls-ca={ca}")])),
        "tls-server-name" => ("", "x".to_owned()),
        "tls-ca" => ("", ca.clone()),
        other => {
            let (of, part) = other.split_once("tls-")?;
            match part {
                "cert" => (of, certificate.clone()),
                "key" => (of, key.clone()),
                "client-ca" => (of, ca.clone()),
                _ => return None,
            }
        }
    };
    let mut all = vec![
        ("cert", format!("--{of}tls-cert={certificate}")),
        ("key", format!("--{of}tls-key={key}")),
    ];
    if of.is_empty() {
        all.extend([("", "--tls".to_owned()), ("ca", format!("--tls-ca={ca}"))]);
    }
    all.retain(|(part, _)| name != format!("{of}tls-{part}"));
    Some((file, all.into_iter().map(|(_, flag)| flag).collect()))
}

/// The setting of this name, as `--check-config --json` shows it.
fn shown(name: &str, env: &[(&str, &str)], args: &[&str]) -> Value {
    let args: Vec<&str> = args
        .iter()
        .copied()
        .chain(["--check-config", "--json"])
        .collect();
    let ended = run(env, &args);
    assert_eq!(ended.code, Some(0), "{env:?} {args:?}: {}", ended.stderr);
    let mut json: Value = serde_json::from_str(&ended.stdout).unwrap();
    let all = json["settings"].take();
    let found = all.as_array().unwrap().iter().find(|s| s["name"] == name);
    found.unwrap().clone()
}

/// What is shown as its value.
fn as_json(arg: &Arg, value: &str) -> Value {
    match arg.get_action() {
        ArgAction::SetTrue => (value == "true").into(),
        ArgAction::Append => vec![value].into(),
        _ => value.into(),
    }
}

#[test]
fn each_setting_can_be_given_by_flag_and_variable_and_file_and_shows_it() {
    let authority = Authority::new();
    let secret = Secret::new(&authority, &authority.pair("relay"));
    for arg in settings() {
        let name = arg.get_long().unwrap();
        let of_tls = of_tls(name, &secret);
        let (value, others) = of_tls.unwrap_or_else(|| (another_value(&arg), Vec::new()));
        let shown = |name: &str, env: &[(&str, &str)], args: &[&str]| {
            let others = others.iter().map(String::as_str);
            shown(
                name,
                env,
                &others.chain(args.iter().copied()).collect::<Vec<_>>(),
            )
        };
        let file = TempFile::new(format!("# a comment\n{name}: '{value}'\n"));
        let (by_flag, by_file) = (flag(&arg, &value), file.flag());
        let variable = arg.get_env().map(|name| name.to_str().unwrap());

        let in_file = shown(name, &[], &[&by_file]);
        assert_eq!(in_file["value"], as_json(&arg, &value), "{name}");
        assert_eq!(in_file["origin"], "file", "{name}");
        assert_eq!(in_file["file"], file.path.to_str().unwrap(), "{name}");
        assert_eq!(in_file["line"], 2, "{name}");

        if let Some(variable) = variable {
            let given = shown(name, &[(variable, &value)], &[&by_file]);
            assert_eq!(given["value"], as_json(&arg, &value), "{name}");
            assert_eq!(given["origin"], "variable", "{name}");
            assert_eq!(given["variable"], variable, "{name}");
        }
        let variables: Vec<_> = variable.map(|name| (name, &*value)).into_iter().collect();
        let given = shown(name, &variables, &[&by_file, &by_flag]);
        assert_eq!(given["value"], as_json(&arg, &value), "{name}");
        assert_eq!(given["origin"], "flag", "{name}");
    }
}

#[test]
fn a_setting_that_nobody_gives_shows_that_it_is_the_default() {
    let json = run(&[], &["--check-config", "--json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let shown = json["settings"].as_array().unwrap();
    assert!(shown.iter().all(|setting| setting["origin"] == "default"));
    for arg in settings() {
        let name = arg.get_long().unwrap();
        assert!(
            shown.iter().any(|setting| setting["name"] == name),
            "{name}"
        );
    }
}

#[test]
fn what_is_given_otherwise_goes_before_the_file_in_each_of_its_values() {
    let file = TempFile::new("namespace: [a, b]\ntrace: true\nno-log-file: true\n");
    let flag = file.flag();
    let value = |name: &str, env: &[_], args: &[&str]| {
        let args: Vec<&str> = args.iter().copied().chain([&*flag]).collect();
        shown(name, env, &args)["value"].to_string()
    };
    assert_eq!(value("namespace", &[], &[]), r#"["a","b"]"#);
    assert_eq!(
        value("namespace", &[], &["--namespace=c,d"]),
        r#"["c","d"]"#
    );
    let env = [("K8S_RELAY_NAMESPACE", "e,f")];
    assert_eq!(value("namespace", &env, &[]), r#"["e","f"]"#);
    // All levels are one setting, and so is whether there is a log file.
    assert_eq!(value("trace", &[], &[]), "true");
    assert_eq!(value("trace", &[], &["--error"]), "false");
    assert_eq!(value("no-log-file", &[], &[]), "true");
    assert_eq!(value("no-log-file", &[], &["--log-file=x"]), "false");
    let env = [("EBPF_NET_LOG_FILE_PATH", "x")];
    assert_eq!(value("no-log-file", &env, &[]), "false");
}

#[test]
fn a_mistake_in_the_file_is_found_though_a_flag_goes_before_it() {
    let file = TempFile::new("source: shadows\n");
    let ended = run(&[], &[&file.flag(), "--source=native", "--check-config"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
}

#[test]
fn a_tool_reads_no_config_file_and_warns_of_no_variable() {
    let ended = run(&[("K8S_RELAY_SORCE", "x")], &["decode", "/dev/null"]);
    assert!(
        !ended.stderr.contains("K8S_RELAY_SORCE"),
        "{}",
        ended.stderr
    );
}

/// Whether a flag of the relay, or of a tool, takes this text.
fn takes(tool: Option<&str>, flag: &str, text: &str) -> bool {
    let words = ["k8s-relay"].into_iter().chain(tool).map(str::to_owned);
    let line = words.chain([format!("--{flag}={text}")]);
    match Cli::parse_line(line.map(Into::into)) {
        Ok(_) => true,
        // Whatever else may be missing: it is asked for later.
        Err(error) => !matches!(
            error.kind(),
            ErrorKind::ValueValidation
                | ErrorKind::InvalidValue
                | ErrorKind::TooManyValues
                | ErrorKind::UnknownArgument
        ),
    }
}

#[test]
fn every_duration_has_an_upper_bound() {
    let command = Cli::command();
    let commands = command
        .get_subcommands()
        .map(|tool| (Some(tool.get_name()), tool));
    let mut found = Vec::new();
    for (tool, command) in commands.chain([(None, &command)]) {
        for flag in command.get_arguments().filter_map(Arg::get_long) {
            let takes = |text| takes(tool, flag, text);
            if takes("2m") && !takes("x1") && !takes("no time") {
                found.push((tool, flag));
            }
        }
    }
    for known in [
        (None, "owner-wait"),
        (None, "settle"),
        (None, "health-interval"),
        (Some("cluster"), "bookmarks-every"),
        (Some("tee"), "settle"),
    ] {
        assert!(found.contains(&known), "{known:?} is not in {found:?}");
    }
    for (tool, flag) in found {
        for text in ["366days", "100years", "500000000000years"] {
            assert!(!takes(tool, flag, text), "{tool:?} --{flag} takes {text}");
        }
    }
    for (milliseconds, fits) in [
        ("3600000", true),
        ("3600001", false),
        ("18446744073709551615", false),
    ] {
        assert_eq!(
            takes(None, "aws-timeout", milliseconds),
            fits,
            "{milliseconds}"
        );
    }
}
