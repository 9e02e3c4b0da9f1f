//! Tokens, permissions, kubeconfigs.

use std::{fs, sync::Arc};

use k8s_relay::source::native::{self, Limits, ListMode, Options};

use tokio::{io::AsyncReadExt as _, net::TcpListener, sync::mpsc};
use tokio_rustls::{TlsAcceptor, rustls};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::watched::{SECOND, Watched, access, kubeconfig};
use crate::support::{
    api::{Api, object},
    must,
};

#[tokio::test(start_paused = true)]
async fn a_rotated_token_is_used_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "one\n").unwrap();
    // As with other tools, the file counts before a token next to it.
    let user = format!("tokenFile: {}\n    token: inline", path.display());
    let options = Options {
        list: ListMode::Pages,
        ..Options::default()
    };
    let mut watched = Watched::with(Api::start().await, options, &user).await;
    let call = watched.api.asked("page 500").await;
    assert_eq!(call.headers["authorization"], "Bearer one");
    let asked = call.at;
    fs::write(&path, "two\n").unwrap();
    call.refuse(401, "Unauthorized").await;
    let call = watched.api.asked("page 500").await;
    assert_eq!(call.headers["authorization"], "Bearer two");
    assert!(call.at - asked < SECOND / 2, "{:?}", call.at - asked);
    call.page(&[object("a", "1")], "5", None).await;
    let stream = watched.api.asked("watch 5").await.stream().await;
    // At most one renewal in 10 s; a watch that is open is left alone.
    fs::write(&path, "three").unwrap();
    tokio::time::advance(20 * SECOND).await;
    stream.end().await;
    let call = watched.api.pods().await;
    assert_eq!(
        call.headers["authorization"], "Bearer three",
        "without a refusal"
    );
    assert_eq!(
        watched.rest(),
        "init +a done healthy",
        "{:?}",
        watched.logged()
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_wait_for_credentials_that_come_later_than_it_may() {
    let mut api = Api::start().await;
    let dir = tempfile::tempdir().unwrap();
    let access = kubeconfig(&dir, &format!("http://{}", api.address), "token: t");
    let server = native::connect(&access, Limits::default()).await.unwrap();
    let mut waits = Vec::new();
    for _ in 0..4 {
        let request = http::Request::get("/api/v1/pods?limit=1").body(Vec::new());
        let (client, asked) = (server.client(), tokio::time::Instant::now());
        let answer = client.request_text(request.unwrap());
        let refused = async {
            let call = api.pods().await;
            let at = call.at;
            call.refuse(401, "Unauthorized").await;
            at
        };
        let (answer, at) = tokio::join!(answer, refused);
        assert!(answer.is_err(), "{answer:?}");
        waits.push((at - asked).as_secs());
    }
    // The second one has the next credentials; after those there are none for ten seconds.
    assert_eq!(waits, [0; 4]);
}

#[tokio::test]
async fn a_plugin_is_not_needed_by_whoever_has_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::generate_simple_self_signed(["me".to_owned()]).unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("crt"), key.cert.pem()).unwrap();
    fs::write(path("key"), key.signing_key.serialize_pem()).unwrap();
    let plugin = "exec: {apiVersion: client.authentication.k8s.io/v1, command: /gone/plugin}";
    let user = |certificate: &str| format!("{certificate}{plugin}");
    let access = kubeconfig(&dir, "https://127.0.0.1:1", &user(""));
    let why = native::connect(&access, Limits::default()).await.err();
    assert!(why.unwrap().to_string().contains("/gone/plugin"));
    let certificate = "client-certificate: crt\n    client-key: key\n    ";
    let access = kubeconfig(&dir, "https://127.0.0.1:1", &user(certificate));
    native::connect(&access, Limits::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_again_is_a_failure() {
    let mut watched = Watched::with(Api::start().await, Options::default(), "token: t").await;
    for _ in 0..3 {
        let call = watched.api.asked("stream").await;
        assert_eq!(call.headers["authorization"], "Bearer t");
        call.refuse(401, "Unauthorized").await;
    }
    assert_eq!(watched.until("failing").await, "failing");
    let logged = watched.logged();
    let warnings = logged.iter().filter(|line| line.starts_with("WARN"));
    assert_eq!(warnings.count(), 1, "{logged:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_kind_says_what_to_grant_and_works_when_it_is_granted() {
    for (code, message) in [
        (403, "pods is forbidden"),
        (404, "the server could not find it"),
    ] {
        let mut watched = Watched::start(ListMode::Pages).await;
        let mut last: Option<tokio::time::Instant> = None;
        let mut pauses = Vec::new();
        for _ in 0..5 {
            let call = watched.api.asked("page 500").await;
            let pause = last.map(|last| (call.at - last).as_secs_f64());
            // It may just have started.
            let expected = [0.0..0.0, 5.0..7.6, 20.0..31.0][pauses.len().min(2)].clone();
            assert!(
                pause.is_none_or(|pause| expected.contains(&pause)),
                "{pause:?}"
            );
            pauses.push(pause);
            last = Some(call.at);
            call.refuse(code, message).await;
        }
        assert_eq!(watched.until("denied").await, "denied");
        assert_eq!(watched.rest(), "");
        let logged = watched.logged();
        let levels: Vec<_> = logged.iter().map(|line| &line[..4]).collect();
        assert_eq!(levels, ["INFO", "WARN"], "{logged:?}");
        let words = "grant list and watch on pods in API group \"\"";
        assert!(logged[1].contains(words), "{logged:?}");
        assert!(
            logged.iter().all(|line| line.contains(message)),
            "{logged:?}"
        );
        let call = watched.api.asked("page 500").await;
        call.page(&[object("a", "1")], "5", None).await;
        assert_eq!(watched.until("healthy").await, "init +a done healthy");
        watched.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_is_taken_leaves_what_is_known() {
    let (mut watched, stream) = Watched::following().await;
    stream.end().await;
    // A probe says nothing about the watch.
    let call = watched.api.asked("version").await;
    call.refuse(403, "pods is forbidden").await;
    let call = watched.api.asked("watch 5").await;
    call.refuse(403, "pods is forbidden").await;
    assert_eq!(watched.until("denied").await, "failing denied");
    let (_, mut stream) = watched.reopened("5").await;
    stream.line(crate::support::api::bookmark("6")).await;
    assert_eq!(watched.until("healthy").await, "healthy");
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let good = |user: &str| {
        kubeconfig(&dir, "http://127.0.0.1:1", user);
        fs::read_to_string(dir.path().join("kubeconfig")).unwrap()
    };
    let cluster = |more: &str| {
        let server = "server: http://127.0.0.1:1";
        good("").replace(server, &format!("server: https://127.0.0.1:1\n    {more}"))
    };
    let gone = dir.path().join("gone");
    let gone = gone.display();
    let not_pem = dir.path().join("not.pem");
    fs::write(&not_pem, "this is no certificate").unwrap();
    let not_pem = not_pem.display();
    for (text, clue) in [
        ("{{{ no yaml: [".to_owned(), "parse"),
        ("\u{0}\u{1}".to_owned(), "parse"),
        ("just: text".to_owned(), "context"),
        (String::new(), "context"),
        (
            good("").replace("current-context: here", "current-context: there"),
            "there",
        ),
        (good("").replace("cluster: here", "cluster: there"), "there"),
        (
            good("").replace("user: me", "user: nobody"),
            "user `nobody`",
        ),
        (
            good("").replace("http://127.0.0.1:1", "ftp://127.0.0.1"),
            "https://",
        ),
        (
            good("").replace("http://127.0.0.1:1", "'http://a b'"),
            "address",
        ),
        (cluster(&format!("certificate-authority: {gone}")), "gone"),
        (cluster("certificate-authority-data: '%%%'"), "authority"),
        (
            good(&format!(
                "client-certificate: {gone}\n    client-key: {gone}"
            )),
            "gone",
        ),
        (
            good(&format!(
                "client-certificate: {not_pem}\n    client-key: {not_pem}"
            )),
            "client-certificate",
        ),
        (good(&format!("tokenFile: {gone}")), "gone"),
        (
            good(&format!(
                "exec: {{apiVersion: client.authentication.k8s.io/v1, command: {gone}, interactiveMode: Never}}"
            )),
            "gone is not there",
        ),
    ] {
        let path = dir.path().join("tried");
        fs::write(&path, &text).unwrap();
        let error = native::connect(&access(path), Limits::default())
            .await
            .err();
        let line = error
            .unwrap_or_else(|| panic!("accepted: {text}"))
            .to_string();
        assert!(line.contains(clue), "{text:?} → {line}");
        assert!(!line.contains('\n') && line.len() < 500, "{line:?}");
    }
    let missing = native::connect(&access(dir.path().join("missing")), Limits::default()).await;
    let line = missing.err().unwrap().to_string();
    assert!(
        line.contains("missing") && line.contains("No such file"),
        "{line}"
    );
    let mut context = kubeconfig(&dir, "http://127.0.0.1:1", "");
    context.context = Some("elsewhere".to_owned());
    let line = native::connect(&context, Limits::default())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(line.contains("elsewhere"), "{line}");
}

#[tokio::test]
async fn a_server_with_tls_is_known_by_its_authority_and_knows_us_by_our_token() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let chain = vec![key.cert.der().clone()];
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, private.unwrap())
        .unwrap();
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ca.pem"), key.cert.pem()).unwrap();
    // Paths are relative to the kubeconfig.
    let server = format!("https://localhost:{port}\n    certificate-authority: ca.pem");
    let access = kubeconfig(&dir, &server, "token: secret");
    let server = native::connect(&access, Limits::default()).await.unwrap();
    assert_eq!(*server.url(), *format!("https://localhost:{port}"));
    let (inputs, _sent) = mpsc::channel(8);
    let stop = CancellationToken::new();
    let watch = native::watch(
        server,
        Options::default(),
        inputs,
        Arc::default(),
        stop,
        Arc::default(),
    );
    let _watch = AbortOnDropHandle::new(tokio::spawn(watch));
    let (socket, _) = must("a connection", listener.accept()).await.unwrap();
    let mut socket = TlsAcceptor::from(Arc::new(config))
        .accept(socket)
        .await
        .unwrap();
    let mut head = [0; 4096];
    let length = must("a request", socket.read(&mut head)).await.unwrap();
    let head = std::str::from_utf8(&head[..length]).unwrap();
    assert!(head.contains("authorization: Bearer secret"), "{head}");
}

#[tokio::test]
async fn a_plugin_is_asked_again_when_its_token_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (runs, script) = (dir.path().join("runs"), dir.path().join("plugin"));
    let text = format!(
        "#!/bin/sh\necho run >> {runs}\n\
         echo '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\
         \"status\":{{\"token\":\" '$(wc -l < {runs})'\"}}}}'\n",
        runs = runs.display()
    );
    let written = std::process::Command::new("sh")
        .args([
            "-c",
            "printf '%s' \"$2\" > \"$1\" && chmod 700 \"$1\"",
            "sh",
        ])
        .arg(&script)
        .arg(text)
        .status();
    assert!(written.unwrap().success());
    let user = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: {}}}",
        script.display()
    );
    let options = Options {
        list: ListMode::Pages,
        ..Options::default()
    };
    let mut watched = Watched::with(Api::start().await, options, &user).await;
    let call = watched.api.asked("page 500").await;
    assert_eq!(call.headers["authorization"], "Bearer 1");
    call.refuse(401, "Unauthorized").await;
    let call = watched.api.asked("page 500").await;
    assert_eq!(call.headers["authorization"], "Bearer 2");
    call.page(&[object("a", "1")], "5", None).await;
    watched.api.asked("watch 5").await.stream().await;
    assert_eq!(watched.until("healthy").await, "init +a done healthy");
    assert_eq!(
        fs::read_to_string(&runs).unwrap(),
        "run\nrun\n",
        "once for all watches"
    );
}
