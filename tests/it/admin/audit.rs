//! What the log says of steps, at the level of the manifests.

use std::{fs, path::Path};

use k8s_relay::sim::{
    kube::{Options, Owner, Pod, SimApi},
    reducer::{self, MockReducer},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, net::UnixStream, process::Command};

use super::world::{here, say};
use crate::support::{must, relay::Relay};

const STEP: &str = "migration step";

async fn relay(socket: &Path, arguments: &[&str]) -> Relay {
    let place = format!("unix:{}", socket.display());
    let arguments = [&["--admin-address", &place], arguments].concat();
    let relay = Relay::start_at("--info", &arguments).await;
    // It listens for watchers first.
    let listening = |line: &Value| line["admin"] == place;
    relay.logged("the admin listener", listening).await;
    relay
}

async fn asked(socket: &Path, step: &str) -> super::world::Answer {
    let request = format!("POST /migrate/{step} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    say(
        UnixStream::connect(socket).await.unwrap(),
        request.as_bytes(),
    )
    .await
}

async fn line(relay: &Relay, command: &str, result: &str) -> Value {
    let is = |line: &Value| {
        line["message"] == STEP && line["command"] == command && line["result"] == result
    };
    relay.logged(&format!("{command} {result}"), is).await
}

#[tokio::test]
async fn each_step_is_one_line_with_who_asked_what_came_of_it_and_what_it_sent() {
    let api = SimApi::start(Options::small()).await.unwrap();
    let web = || Owner::controller("DaemonSet", "web", "uid-web");
    for name in ["a", "b", "c"] {
        let pod = Pod::new("shop", name, &format!("uid-{name}"));
        let container = format!("containerd://{name}");
        api.apply(
            pod.address("10.0.0.1")
                .of(web())
                .container("app", "app:1", &container),
        );
    }
    let reducer = MockReducer::bind(here(0), reducer::Options::default());
    let reducer = reducer.await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (socket, kubeconfig) = (dir.path().join("relay.sock"), dir.path().join("kubeconfig"));
    fs::write(&kubeconfig, api.kubeconfig().to_string()).unwrap();
    let port = reducer.addr().port().to_string();
    let relay = relay(
        &socket,
        &[
            "--source=shadow",
            "--kubeconfig",
            kubeconfig.to_str().unwrap(),
            "--intake-host=127.0.0.1",
            "--intake-port",
            &port,
        ],
    )
    .await;
    let synced = async {
        loop {
            let status = b"GET /statusz HTTP/1.1\r\nhost: localhost\r\n\r\n";
            let status = say(UnixStream::connect(&socket).await.unwrap(), status)
                .await
                .json();
            let live = &status["native"]["live"];
            if live == 3
                && status["native"]["listed"] == true
                && status["reducer"]["connected"] == true
            {
                return;
            }
        }
    };
    must("the native source is synced", synced).await;

    assert_eq!(asked(&socket, "cutover").await.code, 409);
    let refused = line(&relay, "cutover", "refused").await;
    assert_eq!(refused["level"], "WARN");
    let by = refused["by"].as_str().unwrap();
    assert!(by.starts_with("the Unix socket, user "), "{by}");
    assert!(
        by.ends_with(&format!("process {}", std::process::id())),
        "{by}"
    );
    assert!(
        refused["why"]
            .as_str()
            .unwrap()
            .contains("no watcher is connected"),
        "{refused}"
    );
    assert_eq!(
        (&refused["stage"], &refused["force"]),
        (&"shadow".into(), &false.into())
    );

    assert_eq!(asked(&socket, "cutover?force=true").await.code, 200);
    let done = line(&relay, "cutover", "done").await;
    assert_eq!(
        (&done["from"], &done["to"]),
        (&"shadow".into(), &"shadow-native".into())
    );
    assert_eq!(done["force"], true);
    assert!(
        done["overridden"].as_str().unwrap().contains("no watcher"),
        "{done}"
    );
    let sent = [
        "sent_pods",
        "sent_containers",
        "sent_deletes",
        "sent_resyncs",
    ];
    assert_eq!(
        sent.map(|field| done[field].as_u64().unwrap()),
        [3, 3, 0, 0]
    );

    assert_eq!(asked(&socket, "cutover").await.code, 200);
    line(&relay, "cutover", "already so").await;
    let lines = relay
        .log()
        .iter()
        .filter(|line| line["message"] == STEP)
        .count();
    assert_eq!(lines, 3, "one for each that was asked for");
    assert_eq!(relay.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_step_whose_asker_has_gone_while_the_process_stood_still_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("relay.sock");
    let relay = relay(&socket, &[]).await;
    relay.signal(nix::sys::signal::Signal::SIGSTOP);
    let mut asker = UnixStream::connect(&socket).await.unwrap();
    asker
        .write_all(b"POST /migrate/rollback HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    drop(asker);
    relay.signal(nix::sys::signal::Signal::SIGCONT);
    let refused = line(&relay, "rollback", "refused").await;
    assert_eq!(refused["why"], "the client that asked for it has gone");
    let status = b"GET /statusz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let status = say(UnixStream::connect(&socket).await.unwrap(), status)
        .await
        .json();
    assert_eq!(status["last_step"], Value::Null, "{status}");
    assert_eq!(relay.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_command_that_is_refused_over_a_port_for_reading_leaves_a_line() {
    let relay = Relay::start_at("--info", &["--admin-address", "0.0.0.0:0"]).await;
    let listening = |line: &Value| line["message"] == "listening" && line["admin"].is_string();
    let place = relay.logged("the admin listener", listening).await;
    let place = place["admin"].as_str().unwrap().to_owned();
    let mut command = Command::new(env!("CARGO_BIN_EXE_k8s-relay"));
    command
        .args(["migrate", "shadow", "--admin-address", &place])
        .env_clear();
    let ended = must("the command ends", command.output()).await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        said.starts_with("error: refused: this port is for reading only"),
        "{said}"
    );
    let line = line(&relay, "shadow", "refused").await;
    assert!(
        line["by"].as_str().unwrap().starts_with("127.0.0.1:"),
        "{line}"
    );
    assert_eq!(relay.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_rollback_calls_off_a_step_whose_watches_have_not_started() {
    let api = SimApi::start(Options::small()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (socket, kubeconfig) = (dir.path().join("relay.sock"), dir.path().join("kubeconfig"));
    // It can be read as soon as somebody writes it.
    nix::unistd::mkfifo(&kubeconfig, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let relay = relay(&socket, &["--kubeconfig", kubeconfig.to_str().unwrap()]).await;
    let status = async || {
        let status = b"GET /statusz HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let asker = UnixStream::connect(&socket).await.unwrap();
        say(asker, status).await.json()
    };
    let (shadow, rollback) = tokio::join!(asked(&socket, "shadow"), async {
        let begun = async { while status().await["step"].is_null() {} };
        must("the step waits", begun).await;
        asked(&socket, "rollback").await
    });
    assert_eq!(rollback.code, 200);
    assert_eq!(shadow.code, 409);
    assert_eq!(shadow.json()["error"], "a rollback has called it off");
    line(&relay, "shadow", "failed").await;

    // Now they start, and end again; what is asked for next is another start.
    let (path, config) = (kubeconfig.clone(), api.kubeconfig().to_string());
    let written = tokio::task::spawn_blocking(move || {
        fs::write(&path, &config).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, &config).unwrap();
    });
    must("the kubeconfig is read", written).await.unwrap();
    for (step, stage) in [
        ("shadow", "shadow"),
        ("rollback", "legacy"),
        ("shadow", "shadow"),
    ] {
        assert_eq!(asked(&socket, step).await.code, 200, "{step}");
        assert_eq!(status().await["stage"], stage);
    }
    assert_eq!(relay.stop().await.code(), Some(0));
}

#[tokio::test]
async fn who_may_not_take_steps_does_not_fill_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("relay.sock");
    let relay = relay(&socket, &[]).await;
    let request = b"POST /migrate/shadow HTTP/1.1\r\nhost: localhost\r\norigin: http://a\r\n\r\n";
    for _ in 0..30 {
        let asker = UnixStream::connect(&socket).await.unwrap();
        assert_eq!(say(asker, request).await.code, 403);
    }
    assert_eq!(asked(&socket, "cutover").await.code, 409);
    line(&relay, "cutover", "refused").await;
    let log = relay.log();
    let lines = log.iter().filter(|line| line["command"] == "shadow");
    assert_eq!(lines.count(), 10);
    assert_eq!(relay.stop().await.code(), Some(0));
}
