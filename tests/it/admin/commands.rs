//! `k8s-relay migrate` and `k8s-relay explain`, asked of a spawned relay.

use std::{path::Path, process::Output};

use k8s_relay::admin::api::{EndedStep, RunningStep, Status};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
};

use crate::support::{must, relay::Relay};

/// Runs a command to its end.
pub(super) async fn run(env: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_k8s-relay"));
    command.args(args).env_clear().envs(env.iter().copied());
    let Output {
        status,
        stdout,
        stderr,
    } = must("the command ends", command.output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A relay with a socket file there.
async fn relay(path: &Path) -> (Relay, String) {
    let place = format!("unix:{}", path.display());
    let relay = Relay::start(&["--admin-address", &place]).await;
    let line = |line: &serde_json::Value| line["admin"] == *place && line["message"] == "listening";
    relay.logged("the admin listener", line).await;
    (relay, place)
}

#[tokio::test]
async fn an_operator_looks_and_asks_for_steps_over_a_socket_file() {
    let dir = tempfile::tempdir().unwrap();
    let (relay, place) = relay(&dir.path().join("relay.sock")).await;
    let at = [("K8S_RELAY_ADMIN_ADDRESS", place.as_str())];
    let (code, shown, _) = run(&at, &["migrate", "status"]).await;
    assert_eq!(code, Some(0));
    let head = format!("k8s-relay {}, up ", env!("CARGO_PKG_VERSION"));
    assert!(
        shown.starts_with(&head) && shown.contains("stage legacy"),
        "{shown}"
    );
    assert!(
        !shown.contains('\u{1b}'),
        "no colours but on a terminal: {shown}"
    );
    let (code, same, _) = run(&at, &["status"]).await;
    assert_eq!(code, Some(0));
    assert_eq!(same.lines().count(), shown.lines().count());
    let (code, json, _) = run(
        &[],
        &["migrate", "status", "--json", "--admin-address", &place],
    )
    .await;
    assert_eq!(code, Some(0));
    let status: Status = serde_json::from_str(&json).unwrap();
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    // Two at once, and each gets its answer.
    let steps = tokio::join!(
        run(&at, &["migrate", "cutover"]),
        run(&at, &["migrate", "rollback"])
    );
    let (code, out, said) = steps.0;
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        said.starts_with("error: refused: the stage is legacy"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    let (code, out, said) = steps.1;
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(out.starts_with("already legacy"), "{out}");
    let (code, _, said) = run(&at, &["explain", "shop/web 1"]).await;
    assert_eq!(code, Some(1));
    assert!(
        said.starts_with("error: no source knows a pod of the name shop/web 1"),
        "{said}"
    );
    let (code, _, said) = run(&at, &["explain", "/"]).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("expected NAMESPACE/NAME or UID"), "{said}");
    for step in ["shadow", "finish", "rollback"] {
        let (code, _, said) = run(&at, &["migrate", step, "--force"]).await;
        assert_eq!(code, Some(2), "nothing can be forced: {said}");
    }
    assert_eq!(relay.stop().await.code(), Some(0));
}

#[tokio::test]
async fn when_no_relay_answers_the_line_says_what_to_look_at() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let stranger = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 mail ready\r\n").await.unwrap();
        stream
    };
    let args = ["migrate", "status", "--admin-address", &place];
    let ((code, _, said), _stream) = tokio::join!(run(&[], &args), stranger);
    assert_eq!(code, Some(3));
    assert!(
        said.contains("what answers there is not a k8s-relay"),
        "{said}"
    );
    drop(listener);
    for (place, code, why) in [
        (
            place.as_str(),
            3,
            "(Connection refused (os error 111)). Is it running with this --admin-address?",
        ),
        (
            "unix:/no/such/file",
            3,
            "error: cannot reach the relay at unix:/no/such/file (No such file",
        ),
        ("none", 2, "--admin-address is none"),
        ("nonsense", 2, "expected HOST:PORT, unix:PATH or none"),
    ] {
        for args in [&["migrate", "cutover"][..], &["explain", "a"]] {
            let args = [args, &["--admin-address", place]].concat();
            let (ended, out, said) = run(&[], &args).await;
            assert_eq!((ended, out.as_str()), (Some(code), ""), "{place}");
            assert!(said.contains(why), "{said}");
        }
    }
}

#[tokio::test]
async fn of_several_addresses_the_socket_is_asked_and_the_next_if_nobody_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (relay, place) = relay(&dir.path().join("relay.sock")).await;
    for all in [
        format!("127.0.0.1:9,{place}"),
        format!("unix:/no/such/file,{place}"),
        format!("0.0.0.0:9,none,{place}"),
    ] {
        let at = [("K8S_RELAY_ADMIN_ADDRESS", all.as_str())];
        let (code, out, said) = run(&at, &["migrate", "rollback"]).await;
        assert_eq!((code, said.as_str()), (Some(0), ""), "{all}: {out}");
    }
    assert_eq!(relay.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_step_that_cannot_be_kept_is_done_and_says_so_with_a_status_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, state) = (
        dir.path().join("relay.sock"),
        dir.path().join("state/stage"),
    );
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let place = format!("unix:{}", socket.display());
    let state_file = format!("--state-file={}", state.display());
    let mut relay = Relay::start(&["--admin-address", &place, &state_file]).await;
    let at = [("K8S_RELAY_ADMIN_ADDRESS", place.as_str())];
    let (code, _, said) = run(&at, &["migrate", "rollback"]).await;
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let kept = std::fs::read_to_string(&state).unwrap();
    assert!(
        kept.contains("\"stage\": \"legacy\""),
        "done means kept: {kept}"
    );
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    let (code, out, said) = run(&at, &["migrate", "rollback"]).await;
    assert_eq!(code, Some(4), "{said}");
    assert!(out.starts_with("already legacy"), "{out}");
    assert!(
        said.starts_with("error: done, but not kept (cannot write"),
        "{said}"
    );
    let (_, shown, _) = run(&at, &["status"]).await;
    assert!(
        shown.contains("A restart would not know the stage"),
        "{shown}"
    );
    relay.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(relay.ended().await.code(), Some(1), "it was never kept");
    let last = relay.log().pop().unwrap();
    let why = last["message"].as_str().unwrap();
    assert!(
        why.starts_with("the relay did not end cleanly: the stage is not kept: cannot write"),
        "{why}"
    );
    assert!(why.ends_with("(os error 2)"), "with its reason: {why}");
}

#[tokio::test]
async fn the_help_of_the_commands_teaches_them() {
    let (code, help, _) = run(&[], &["migrate", "--help"]).await;
    assert_eq!(code, Some(0));
    insta::assert_snapshot!("migrate_help", help);
    let (code, help, _) = run(&[], &["explain", "--help"]).await;
    assert_eq!(code, Some(0));
    insta::assert_snapshot!("explain_help", help);
    let (code, help, _) = run(&[], &["status", "--help"]).await;
    assert_eq!(code, Some(0));
    insta::assert_snapshot!("status_help", help);
    let (code, _, _) = run(&[], &["migrate"]).await;
    assert_eq!(code, Some(2));
}

/// Gives these answers, one after the other.
async fn answering(listener: &TcpListener, answers: &[(&str, String)]) {
    for (code, body) in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut asked).await.unwrap(), 0);
        }
        let answer = format!(
            "HTTP/1.1 {code}\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_step_that_takes_longer_is_waited_for_and_its_end_is_sent() {
    let ended = |number, done: Option<&str>, failed: Option<&str>, not_kept: Option<&str>| {
        Some(EndedStep {
            number,
            command: if number == 7 { "shadow" } else { "rollback" }.to_owned(),
            done: done.map(str::to_owned),
            failed: failed.map(str::to_owned),
            not_kept: not_kept.map(str::to_owned),
            ..EndedStep::default()
        })
    };
    let done = Some("from legacy to shadow");
    for (last_step, code, out, error) in [
        (ended(7, done, None, None), 0, "from legacy to shadow\n", ""),
        (
            ended(7, None, Some("no API server"), None),
            1,
            "",
            "error: the step has failed, and nothing has changed (no API server)\n",
        ),
        (
            ended(7, done, None, Some("the disk is full")),
            4,
            "from legacy to shadow\n",
            "error: done, but not kept (the disk is full). \
             A restart of the relay would begin in the stage before.\n",
        ),
        (
            ended(8, Some("already legacy"), None, None),
            1,
            "",
            "error: what has come of `shadow` is not known: `rollback` was taken since. \
             See `k8s-relay status`.\n",
        ),
        (
            None,
            4,
            "",
            "error: the step is still in progress. See `k8s-relay status`.\n",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let running = RunningStep {
            number: 7,
            command: "shadow".to_owned(),
            seconds: 6.0,
            waits_for: "the native watches start".to_owned(),
            ..RunningStep::default()
        };
        let (earlier, running) = (ended(6, Some("before"), None, None), Some(running));
        let status = |step, last_step| {
            let status = Status {
                step,
                last_step,
                ..Status::default()
            };
            ("200 OK", serde_json::to_string(&status).unwrap())
        };
        let answers = [
            (
                "202 Accepted",
                r#"{"in_progress": "wait", "number": 7}"#.to_owned(),
            ),
            status(running, earlier),
            status(None, last_step),
        ];
        let args = ["migrate", "shadow", "--admin-address", &place];
        let ((ended, sent, said), ()) =
            tokio::join!(run(&[], &args), answering(&listener, &answers));
        assert_eq!((ended, sent.as_str()), (Some(code), out), "{said}");
        let progress = "`shadow` is in progress for 6.0s: the native watches start\n";
        assert_eq!(said, format!("{progress}{error}"));
    }
}
