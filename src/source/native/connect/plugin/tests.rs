use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Instant};

use nix::errno::Errno;
use tempfile::TempDir;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

const HELLO: &str = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}'"#;

/// A plugin that is this script; `$0` is in a folder of its own.
fn plugin(script: &str) -> (TempDir, Call) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("plugin");
    // Written by another process: a thread that forks meanwhile would keep it open for writing,
    // and then the system does not run it.
    let written = std::process::Command::new("sh")
        .args([
            "-c",
            "printf '%s' \"$2\" > \"$1\" && chmod 700 \"$1\"",
            "sh",
        ])
        .arg(&program)
        .arg(format!("#!/bin/sh\n{script}\n"))
        .status();
    assert!(written.unwrap().success());
    assert_ne!(
        fs::metadata(&program).unwrap().permissions().mode() & 0o100,
        0
    );
    let call = Call {
        name: "plugin".to_owned(),
        program,
        args: vec!["one".to_owned()],
        env: vec![("WITH".to_owned(), "two".to_owned())],
        info: "the info".to_owned(),
        version: exec::VERSIONS[0].to_owned(),
    };
    (dir, call)
}

/// Waits until a process is no more, or has ended and only waits to be seen.
async fn gone(dir: &Path) {
    let id = fs::read_to_string(dir.join("id")).unwrap();
    let id: i32 = id.trim().parse().unwrap();
    let end = Instant::now() + LIMIT;
    loop {
        let state = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let is_zombie = state.rsplit(')').next().unwrap().trim().starts_with('Z');
        let is_there = nix::sys::signal::kill(Pid::from_raw(id), None) != Err(Errno::ESRCH);
        if !is_there || is_zombie {
            return;
        }
        assert!(Instant::now() < end, "process {id} is left: {state}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_plugin_is_called_as_the_kubeconfig_says_and_without_input() {
    let said = r#"[ "$1 $WITH $KUBERNETES_EXEC_INFO $(cat)" = "one two the info " ] || exit 3"#;
    let (_dir, call) = plugin(&format!("{said}\n{HELLO}"));
    let answer = ask(&call, LIMIT).await.unwrap();
    assert_eq!(answer.token.as_deref(), Some("t"));
}

#[tokio::test]
async fn a_plugin_that_fails_is_quoted_in_one_line() {
    for (script, clue) in [
        (
            "echo no such profile >&2; echo >&2; exit 7",
            "exit status: 7: no such profile",
        ),
        ("exit 1", "exit status: 1"),
        ("kill -9 $$", "signal: 9"),
        ("", "printed nothing"),
        ("echo junk", "not an ExecCredential"),
        (
            "head -c 100000 /dev/zero | tr '\\0' x >&2; exit 2",
            "exit status: 2: xxx",
        ),
    ] {
        let (_dir, call) = plugin(script);
        let why = ask(&call, LIMIT).await.unwrap_err();
        assert!(
            why.contains(clue) && why.starts_with("the credential plugin plugin: "),
            "{why}"
        );
        assert!(!why.contains('\n') && why.len() < 500, "{why}");
    }
    let (dir, mut call) = plugin("");
    call.program = dir.path().join("gone");
    let why = ask(&call, LIMIT).await.unwrap_err();
    assert!(why.contains("cannot be started: No such file"), "{why}");
}

#[tokio::test]
async fn what_a_plugin_leaves_behind_does_not_keep_its_answer_and_is_killed() {
    let (dir, call) = plugin(&format!("sleep 1000 & echo $! > \"${{0%/*}}/id\"\n{HELLO}"));
    assert!(ask(&call, LIMIT).await.is_ok());
    gone(dir.path()).await;
}

#[tokio::test]
async fn a_plugin_that_prints_without_end_is_killed() {
    let (dir, call) = plugin("echo $$ > \"${0%/*}/id\"; exec cat /dev/zero");
    let why = ask(&call, LIMIT).await.unwrap_err();
    assert!(why.contains("more than 1 MiB"), "{why}");
    gone(dir.path()).await;
}

#[tokio::test]
async fn an_answer_may_have_exactly_the_most_bytes() {
    let size = MAX_OUTPUT - HELLO.len() + "echo ''".len() - 1;
    for (more, fits) in [(0, true), (1, false)] {
        let pad = format!("head -c {} /dev/zero | tr '\\0' ' '", size + more);
        let (_dir, call) = plugin(&format!("{HELLO}\n{pad}"));
        let answer = ask(&call, LIMIT).await;
        assert_eq!(answer.is_ok(), fits, "{answer:?}");
    }
}

#[tokio::test]
async fn a_plugin_that_does_not_end_is_killed_with_all_that_it_has_started() {
    let short = Duration::from_millis(300);
    for script in [
        "sleep 1000 & echo $! > \"${0%/*}/id\"; wait",
        // It closes its output and stays.
        "echo $$ > \"${0%/*}/id\"; exec sleep 1000 >&- 2>&-",
        "trap '' TERM; echo $$ > \"${0%/*}/id\"; while :; do sleep 1; done",
    ] {
        let (dir, call) = plugin(script);
        let why = ask(&call, short).await.unwrap_err();
        assert!(why.contains("not ended within 300ms"), "{why}");
        if dir.path().join("id").exists() {
            gone(dir.path()).await;
        }
    }
}

#[tokio::test]
async fn whoever_gives_up_leaves_no_plugin_behind() {
    let (dir, call) = plugin(
        "echo $$ > \"${0%/*}/id.new\"; mv \"${0%/*}/id.new\" \"${0%/*}/id\"; exec sleep 1000",
    );
    let id = dir.path().join("id");
    let asking = tokio::spawn(async move { ask(&call, LIMIT).await });
    while !id.exists() {
        tokio::task::yield_now().await;
    }
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    gone(dir.path()).await;
}
