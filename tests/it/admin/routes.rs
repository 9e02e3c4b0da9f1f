//! What each path answers.

use k8s_relay::{admin::api::Status, config::AdminAddress, migrate::Stage};

use super::world::World;

#[tokio::test]
async fn a_legacy_relay_is_alive_and_ready_and_says_how_it_stands() {
    let world = World::start().await;
    let live = world.get("/livez").await;
    assert_eq!((live.code, live.body.as_str()), (200, "ok"));
    let ready = world.until("/readyz", |answer| answer.code == 200).await;
    assert_eq!(ready.body, "ok");
    let verbose = world.get("/livez?verbose").await;
    assert_eq!(verbose.body, "[+]loop ok\nlivez check passed\n");
    let status = world.until("/statusz", |answer| {
        answer.json()["reducer"]["settled"] == true
    });
    let status: Status = serde_json::from_value(status.await.json()).unwrap();
    assert_eq!(status.stage, Stage::Legacy);
    assert!(status.reducer.connected);
    assert_eq!(
        (status.legacy, status.native, status.parity),
        (None, None, None)
    );
    world.end().await;
}

#[tokio::test]
async fn a_relay_that_never_reached_its_reducer_is_not_ready_and_says_why() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let world = World::with(|config| config.intake.port = port).await;
    let why = "[-]reducer-reached failed: the reducer was never connected: cannot connect to ";
    let says_why = |answer: &super::world::Answer| answer.body.contains(why);
    let not_ready = world.until("/readyz", says_why).await;
    assert_eq!(not_ready.code, 503);
    assert!(not_ready.body.ends_with("readyz check failed\n"));
    assert_eq!(world.get("/livez").await.code, 200, "alive all the same");
    assert_eq!(world.get("/readyz?exclude=reducer-reached").await.code, 200);
    let reducer = world.get("/statusz").await.json()["reducer"].take();
    assert_eq!(reducer["address"], format!("127.0.0.1:{port}"));
    assert_eq!(reducer["last_error"]["reason"], "refused");
    assert!(reducer["failures"].as_u64().unwrap() >= 1, "{reducer}");
    let metrics = world.get("/metrics").await.body;
    let down = "k8s_relay_reducer_down{reason=\"refused\"} 1.0\n";
    assert!(metrics.contains(down), "{metrics}");
    world.end().await;
}

#[tokio::test]
async fn a_reducer_that_has_gone_and_a_watcher_that_has_not_come_count_under_strict_only() {
    let world = World::start().await;
    world.until("/readyz", |answer| answer.code == 200).await;
    world.reducer.stop_listening().await;
    world.reducer.disconnect().await;
    let gone = |answer: &super::world::Answer| {
        answer
            .body
            .contains("[-]reducer-connected failed: the reducer is not connected: ")
    };
    let strict = world.until("/readyz?strict", gone).await;
    assert_eq!(strict.code, 503);
    assert!(
        strict
            .body
            .contains("[-]source-synced failed: there is no legacy source yet")
    );
    assert_eq!(world.get("/readyz").await.body, "ok", "it was reached once");
    let verbose = world.get("/readyz?verbose").await;
    assert_eq!(verbose.code, 200);
    assert!(
        verbose.body.contains("(counts with ?strict)"),
        "{}",
        verbose.body
    );
    let unfed = world.get("/statusz").await.json()["unfed"].take();
    assert_eq!(unfed["why"], "no legacy watcher has sent anything yet");
    world.end().await;
}

#[tokio::test]
async fn an_operators_rollback_suspends_the_autopilot_and_wakes_nobody() {
    let world = World::with(|config| config.migrate.mode = k8s_relay::config::Migrate::Auto).await;
    assert_eq!(world.post("/migrate/rollback").await.code, 200);
    let metrics = world.get("/metrics").await.body;
    for sample in [
        "k8s_relay_auto_rolled_back_too_often 0.0\n",
        "k8s_relay_auto_suspended{reason=\"operator\"} 1.0\n",
        "k8s_relay_auto_suspended{reason=\"rollbacks\"} 0.0\n",
    ] {
        assert!(metrics.contains(sample), "{sample}{metrics}");
    }
    let status = world.get("/statusz").await.json();
    assert_eq!(status["last_step"]["command"], "rollback");
    assert!(
        status["last_step"]["by"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
    world.end().await;
}

#[tokio::test]
async fn metrics_are_openmetrics_text_for_those_who_ask_for_it() {
    let world = World::start().await;
    let plain = world.get("/metrics").await;
    let kind = "content-type: text/plain; version=0.0.4; charset=utf-8\r\n";
    assert!(plain.head.contains(kind), "{}", plain.head);
    assert!(!plain.body.contains("# EOF") && !plain.body.contains("# UNIT"));
    let accept = "accept: text/plain;q=0.3\r\nAccept: application/openmetrics-text\r\n";
    let metrics = world.ask("GET", "/metrics", accept).await;
    assert_eq!(metrics.code, 200);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(metrics.head.contains(kind), "{}", metrics.head);
    assert!(metrics.body.ends_with("# EOF\n"));
    assert!(
        metrics
            .body
            .contains("k8s_relay_stage{stage=\"legacy\"} 1.0\n"),
        "{}",
        metrics.body
    );
    world.end().await;
}

#[tokio::test]
async fn what_is_asked_wrongly_is_answered_by_a_sentence() {
    let world = World::start().await;
    for (method, path, code, says) in [
        ("GET", "/index.html", 404, "there are GET / /livez"),
        ("POST", "/", 405, "everything else by GET"),
        ("GET", "/?pos=a", 400, "expected ?pod="),
        ("GET", "/livez/x", 404, "there are GET / /livez"),
        ("POST", "/statusz", 405, "everything else by GET"),
        ("GET", "/migrate/cutover", 405, "by POST"),
        (
            "GET",
            "/explain",
            400,
            "give ?pod=NAMESPACE/NAME or ?pod=UID",
        ),
        ("GET", "/explain?", 400, "no pod is named"),
        ("GET", "/explain?pod=", 400, "no pod is named"),
        ("GET", "/explain?pod", 400, "no pod is named"),
        ("GET", "/explain?pod=/", 400, "no pod is named"),
        ("GET", "/explain?pod=ns/", 400, "no pod is named"),
        ("GET", "/explain?pod=/name", 400, "no pod is named"),
        ("GET", "/explain?pos=a", 400, "expected ?pod="),
        ("GET", "/explain?pod=a&node=b", 400, "expected ?pod="),
        (
            "GET",
            "/explain?pod=nobody",
            404,
            "no source knows a pod of the uid nobody",
        ),
        (
            "GET",
            "/explain?pod=ns/nobody",
            404,
            "of the name ns/nobody",
        ),
        (
            "POST",
            "/migrate/jump",
            404,
            "there are shadow, cutover, finish, rollback",
        ),
        ("POST", "/migrate/cutover?force=maybe", 400, "?force=true"),
        ("POST", "/migrate/cutover?forse=true", 400, "?force=true"),
    ] {
        let answer = world.ask(method, path, "").await;
        assert_eq!(answer.code, code, "{path}");
        assert!(answer.error().contains(says), "{path}: {}", answer.body);
    }
    let long = format!("/explain?pod={}", "x".repeat(5000));
    assert_eq!(world.get(&long).await.code, 400);
    world.end().await;
}

#[tokio::test]
async fn the_state_is_not_changed_by_web_pages_or_under_other_names() {
    let world = World::start().await;
    for headers in [
        "origin: https://evil.example\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
    ] {
        let page = world.ask("POST", "/migrate/shadow", headers).await;
        assert_eq!(
            (page.code, page.error().as_str()),
            (403, "the state is not changed from a web page"),
            "{headers}"
        );
    }
    let rebound = b"POST /migrate/shadow HTTP/1.1\r\nhost: evil.example:8713\r\n\r\n";
    assert_eq!(world.say(rebound).await.code, 403);
    let nameless = b"POST /migrate/shadow HTTP/1.0\r\n\r\n";
    assert_eq!(world.say(nameless).await.code, 403);
    // A client that may read may do so under any name: a probe has the pod's address.
    let probe = b"GET /livez HTTP/1.1\r\nhost: 10.1.2.3:8713\r\n\r\n";
    assert_eq!(world.say(probe).await.code, 200);
    world.end().await;
}

#[tokio::test]
async fn the_state_is_not_changed_from_elsewhere() {
    // All of 127.0.0.0/8 is loopback; another address of this machine is as far as a test gets.
    let Some(elsewhere) = another_address() else {
        return;
    };
    let world = World::with(|config| {
        config.admin_address = AdminAddress::Tcp("0.0.0.0:0".parse().unwrap()).into();
    })
    .await;
    let k8s_relay::net::BoundAddr::Tcp(place) = world.place else {
        panic!("a port");
    };
    let ask = async |method: &str, path: &str| {
        let stream = tokio::net::TcpStream::connect((elsewhere, place.port()));
        let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        super::world::say(stream.await.unwrap(), request.as_bytes()).await
    };
    let refused = ask("POST", "/migrate/shadow").await;
    assert_eq!(refused.code, 403);
    assert!(
        refused.error().contains("from this machine only"),
        "{}",
        refused.body
    );
    assert_eq!(ask("GET", "/livez").await.code, 200);
    world.end().await;
}

#[tokio::test]
async fn over_a_port_that_others_reach_nothing_is_changed_from_this_machine_either() {
    let world = World::with(|config| {
        config.admin_address = AdminAddress::Tcp("0.0.0.0:0".parse().unwrap()).into();
    })
    .await;
    let k8s_relay::net::BoundAddr::Tcp(place) = world.place else {
        panic!("a port");
    };
    let ask = async |method: &str, path: &str| {
        let stream = tokio::net::TcpStream::connect(super::world::here(place.port()));
        let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        super::world::say(stream.await.unwrap(), request.as_bytes()).await
    };
    let refused = ask("POST", "/migrate/rollback").await;
    assert_eq!(refused.code, 403);
    let why = refused.error();
    assert!(why.contains("`--admin-address unix:PATH`"), "{why}");
    assert_eq!(ask("GET", "/statusz").await.code, 200);
    world.end().await;
}

/// An address of this machine that is not loopback, if it has one. Nothing is sent.
fn another_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[tokio::test]
async fn two_who_ask_for_steps_at_once_get_an_answer_each() {
    let world = World::start().await;
    let (refused, done) = tokio::join!(
        world.post("/migrate/cutover"),
        world.post("/migrate/rollback?force=true")
    );
    assert_eq!(refused.code, 409);
    let why = refused.error();
    assert!(why.contains("`k8s-relay migrate shadow` first"), "{why}");
    assert_eq!(done.code, 200);
    let done = done.json()["done"].as_str().unwrap().to_owned();
    assert!(done.starts_with("already legacy"), "{done}");
    world.end().await;
}
