//! Certificates, tokens and kubeconfigs, and what stands where an API server should.

use std::{collections::BTreeSet, fs, path::Path, process::Output};

use k8s_relay::sim::kube::{Options, Pod, Requests, SimApi};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    end::spawned_with,
    world::{World, kubeconfig, reducer, write},
};
use crate::support::must;

async fn guarded() -> SimApi {
    let options = Options {
        tls: true,
        token: Some("first".to_owned()),
        ..Options::small()
    };
    SimApi::start(options).await.unwrap()
}

fn bare(name: &str) -> Pod {
    Pod::new("shop", name, name).address("10.0.0.1")
}

/// The kubeconfig of a server, changed.
fn changed(api: &SimApi, pointer: &str, to: Value) -> Value {
    let mut config = api.kubeconfig();
    *config.pointer_mut(pointer).unwrap() = to;
    config
}

#[tokio::test]
async fn a_rotated_token_is_used_at_once_over_tls() {
    let api = guarded().await;
    api.apply(bare("one"));
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    write(&token, "first\n");
    let user = json!({"tokenFile": token});
    let path = kubeconfig(&dir, &changed(&api, "/users/0/user", user));
    let world = World::between(api, reducer().await, |config| {
        config.native.kubeconfig = Some(path);
    })
    .await;
    world.known().await;
    world.watching(3).await;
    // As the kubelet does it: another file takes its place.
    let next = dir.path().join("next");
    write(&next, "second, and longer\n");
    fs::rename(&next, &token).unwrap();
    world.api.set_token(Some("second, and longer"));
    world.api.end_watches();
    world.quiet().await;
    assert_eq!(world.wrong(), None);
    assert_eq!(world.lists(), [1, 1, 1]);
    let shown: BTreeSet<String> = world.api.requests(|book| {
        let shown = book.kept.iter().map(|request| &request.authorization);
        shown.cloned().collect()
    });
    let expected = ["Bearer first", "Bearer second, and longer"];
    assert!(shown.iter().eq(expected), "{shown:?}");
    let refused = |book: &Requests| book.kept.iter().any(|request| request.code == Some(401));
    assert!(!world.api.requests(refused));
}

#[tokio::test]
async fn a_token_that_is_no_longer_let_in_is_replaced_as_soon_as_there_is_another() {
    let api = guarded().await;
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    write(&token, "stale");
    let user = json!({"tokenFile": token});
    let path = kubeconfig(&dir, &changed(&api, "/users/0/user", user));
    let world = World::between(api, reducer().await, |config| {
        config.native.kubeconfig = Some(path);
    })
    .await;
    let refused = |book: &Requests| {
        let mut refused = book.kept.iter().filter(|request| request.code == Some(401));
        refused.nth(5).is_some()
    };
    must("it is refused", world.api.wait_until(refused)).await;
    write(&token, "first");
    world.quiet().await;
    assert_eq!(world.wrong(), None);
}

/// The first warning of a watch, of a relay that goes on.
async fn warned(kubeconfig: &str) -> String {
    let reducer = reducer().await;
    let mut relay = spawned_with(kubeconfig, &reducer, &[]).await;
    let urgent = |line: &Value| {
        let message = line["message"].as_str();
        line["level"] == "WARN" && message.is_some_and(|said| said.starts_with("watch "))
    };
    let line = relay.logged("a warning", urgent).await;
    assert!(relay.is_alive(), "it is tried again");
    assert_eq!(relay.stop().await.code(), Some(0));
    line.to_string()
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_a_clear_line() {
    let (api, other) = (guarded().await, guarded().await);
    let dir = tempfile::tempdir().unwrap();
    let theirs = json!(format!("https://{}", other.addr()));
    let path = kubeconfig(&dir, &changed(&api, "/clusters/0/cluster/server", theirs));
    let line = warned(path.to_str().unwrap()).await;
    assert!(line.contains("watch fails"), "{line}");
    assert!(line.contains("certificate"), "{line}");
    assert_eq!(
        other.requests(Requests::total),
        0,
        "it saw no token of ours"
    );
}

#[tokio::test]
async fn what_is_no_kubernetes_is_a_clear_line() {
    for (status, sort, body) in [
        ("200 OK", "text/html", "<html>hello</html>"),
        ("404 Not Found", "text/html", "<html>nothing here</html>"),
        ("200 OK", "application/json", "{}"),
        ("200 OK", "application/json", "[1, 2, 3]"),
        ("200 OK", "text/plain", "hello"),
        ("302 Found", "text/html", ""),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {sort}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        let server = async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                // A server that goes away goes away.
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        };
        let _server = AbortOnDropHandle::new(tokio::spawn(server));
        let dir = tempfile::tempdir().unwrap();
        let path = kubeconfig(&dir, &kubeconfig_for(&format!("http://{address}")));
        let line = warned(path.to_str().unwrap()).await;
        assert!(line.contains(&address.to_string()), "{line}");
        let clue = match (status, sort) {
            (_, "text/html") if status != "302 Found" => "not a Kubernetes API server",
            ("302 Found", _) => "302",
            _ => "the ",
        };
        assert!(line.contains(clue), "{status} {sort} {body}: {line}");
    }
}

fn kubeconfig_for(server: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    })
}

/// Runs the program to its end.
async fn run(arguments: &[&str]) -> Output {
    let run = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
        .args(["--source", "native", "--server-address", "127.0.0.1:0"])
        .args(["--admin-address", "none", "--cloud", "none"])
        .args(arguments)
        .env_clear()
        .kill_on_drop(true)
        .output();
    must("it ends", run).await.unwrap()
}

/// It does not start, and one line says why. A check says the same.
async fn refused(arguments: &[&str], clues: &[&str]) {
    let checked = [arguments, &["--check-config"]].concat();
    for (arguments, code) in [(arguments, 1), (&checked, 2)] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        for clue in clues {
            assert!(said.contains(clue), "{arguments:?}: {said}");
        }
    }
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_ends_the_start_with_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let at = |name: &str, text: &str| {
        write(Path::new(&path(name)), text);
        path(name)
    };
    refused(
        &["--kubeconfig", &path("missing")],
        &["missing", "No such file"],
    )
    .await;
    refused(
        &["--kubeconfig", dir.path().to_str().unwrap()],
        &["cannot use the kubeconfig"],
    )
    .await;
    let malformed = at("malformed", "{{{ no yaml: [");
    refused(&["--kubeconfig", &malformed], &["malformed"]).await;
    let good = kubeconfig_for("https://127.0.0.1:1");
    let good = at("good", &good.to_string());
    let elsewhere = ["--kubeconfig", &good, "--context", "elsewhere"];
    refused(&elsewhere, &["good", "elsewhere"]).await;
    let mut unsigned = kubeconfig_for("https://127.0.0.1:1");
    unsigned["clusters"][0]["cluster"]["certificate-authority"] = json!("ca.pem");
    let unsigned = at("unsigned", &unsigned.to_string());
    refused(&["--kubeconfig", &unsigned], &["unsigned", "ca.pem"]).await;
    refused(&[], &["there is no kubeconfig", "--kubeconfig"]).await;
    refused(&["--context", "here"], &["here", "--kubeconfig"]).await;
}
