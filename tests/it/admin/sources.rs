//! What an operator reads of a source that fails, of a watcher that is not needed any more, and of
//! a rollback that waits for one.

use std::fs;

use k8s_relay::sim::{
    cluster::Cluster,
    kube::{Options, Owner, Pod, SimApi},
    legacy_watcher,
    watcher::Watcher,
};

use super::{
    commands::run,
    native::native,
    world::{Answer, World},
};
use crate::support::{must, relay::Relay};

fn pod(name: &str, version: &str) -> Pod {
    Pod::new("shop", name, &format!("uid-{name}"))
        .address("10.0.0.1")
        .of(Owner::controller("DaemonSet", "web", "uid-web"))
        .container("app", &format!("app:{version}"), &format!("id-{name}"))
}

#[tokio::test]
async fn a_native_outage_is_no_reason_to_be_taken_out_of_service_but_strict_notices_at_once() {
    let api = SimApi::start(Options::small()).await.unwrap();
    api.apply(pod("a", "1"));
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(|config| native(config, &api, &dir)).await;
    let ok = |answer: &Answer| answer.body.contains("[+]source-synced ok");
    world.until("/readyz?verbose", ok).await;
    api.stop_listening().await;
    api.reset_connections();
    let failing = |answer: &Answer| {
        let failed = "[-]source-synced failed: the watch of ";
        answer.code == 503
            && answer.body.contains(failed)
            && answer.body.contains(" is failing for ")
    };
    let strict = world.until("/readyz?strict", failing).await.body;
    assert!(
        strict.contains("[+]source-age ok"),
        "long before that: {strict}"
    );
    assert_eq!(world.get("/readyz").await.body, "ok");
    let excluded = world.get("/readyz?strict&exclude=source%2Dsynced").await;
    assert!(
        !excluded.body.contains("[-]source-synced"),
        "{}",
        excluded.body
    );
    world.end().await;
}

#[tokio::test]
async fn a_watcher_that_is_not_needed_is_shown_and_a_rollback_waits_for_the_next_one() {
    let api = SimApi::start(Options::small()).await.unwrap();
    api.apply(pod("a", "1"));
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    fs::write(&kubeconfig, api.kubeconfig().to_string()).unwrap();
    let place = format!("unix:{}", dir.path().join("relay.sock").display());
    let mut relay = Relay::start(&[
        "--source=native",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--admin-address",
        &place,
    ])
    .await;
    let at = [("K8S_RELAY_ADMIN_ADDRESS", place.as_str())];
    let watcher = Watcher::connect(&relay.address().to_string())
        .await
        .unwrap();
    let mut call = watcher.open();
    let mut infos = 0;
    for info in Cluster::new(1, 4).list() {
        call.send(info).await.unwrap();
        infos += 1;
    }
    let status = |what: &'static str, is: fn(&str) -> bool| async move {
        must(what, async {
            loop {
                let (code, shown, _) = run(&at, &["status"]).await;
                if code == Some(0) && is(&shown) {
                    return shown;
                }
            }
        })
        .await
    };
    let shown = must("all Infos are counted", async {
        loop {
            let (_, json, _) = run(&at, &["status", "--json"]).await;
            let status: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
            let stream = &status["ignored_streams"][0];
            if stream["infos"] == infos {
                assert_eq!(stream["role"], "ignored");
                assert!(status["legacy"].is_null());
                return run(&at, &["status"]).await.1;
            }
        }
    })
    .await;
    assert!(shown.contains("\nlegacy   ignored"), "{shown}");
    let next = "Next:  end the legacy watcher: what it sends is ignored   \
                Undo:  k8s-relay migrate rollback\n";
    assert!(shown.ends_with(next), "{shown}");

    // Its stream ends with the stage, and it does not come back.
    let (code, out, said) = run(&at, &["migrate", "rollback"]).await;
    assert_eq!(code, Some(4), "{out}{said}");
    let waits = "from native to shadow: no legacy watcher is connected; \
                 the native source stays active until one is synced\n";
    assert_eq!(out, waits);
    assert_eq!(
        said,
        "error: the step is still in progress. See `k8s-relay status`.\n"
    );
    must("the stream ends", call.ended()).await;
    let shown = status("the stage", |shown| shown.contains("stage shadow")).await;
    for line in [
        "Rolled back, but no legacy watcher is connected: the native source stays active",
        "Last step: `rollback`, ",
        ": in progress.\n",
        "Next:  connect a legacy watcher: when it is synced, it takes over\n",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let (code, out, said) = run(&at, &["migrate", "finish"]).await;
    assert_eq!((code, &*out), (Some(4), ""), "{said}");
    assert!(
        said.starts_with("error: not taken: a rollback is in progress: no legacy"),
        "{said}"
    );
    let (code, out, _) = run(&at, &["migrate", "shadow"]).await;
    assert_eq!(code, Some(4));
    assert!(
        out.starts_with("already shadow: no legacy watcher is connected; "),
        "{out}"
    );
    let (code, out, _) = run(&at, &["migrate", "cutover", "--force"]).await;
    assert_eq!(code, Some(0), "the rollback is called off: {out}");
    relay.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(relay.ended().await.code(), Some(1), "there is no reducer");
    let log = relay.log();
    let last = log.last().unwrap()["message"].as_str().unwrap();
    let unsent = "the relay did not end cleanly: the reducer is not connected: \
                  1 of 1 pods were not announced to it";
    assert_eq!(last, unsent);
}

#[tokio::test]
async fn the_autopilots_reason_is_in_the_log() {
    let api = SimApi::start(Options::small()).await.unwrap();
    api.apply(pod("a", "1"));
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    fs::write(&kubeconfig, api.kubeconfig().to_string()).unwrap();
    let relay = Relay::start_at(
        "--info",
        &[
            "--source=shadow",
            "--migrate=auto",
            "--settle=100ms",
            "--parity-hold=2s",
            "--kubeconfig",
            kubeconfig.to_str().unwrap(),
            "--admin-address=none",
        ],
    )
    .await;
    let read = serde_json::from_value(api.kubeconfig()).unwrap();
    let client = kube::Config::from_custom_kubeconfig(read, &Default::default()).await;
    let client = kube::Client::try_from(client.unwrap()).unwrap();
    let address = relay.address().to_string();
    let watching =
        legacy_watcher::watch(client, &address, std::time::Duration::from_millis(10), drop);
    let changing = async {
        // By a change the stream is known to be synced.
        for version in 0_u64.. {
            api.apply(pod("a", &version.to_string()));
            tokio::task::yield_now().await;
            let is_step = |line: &serde_json::Value| line["message"] == "migration step";
            if let Some(step) = relay.log().into_iter().find(is_step) {
                return step;
            }
        }
        unreachable!("versions do not end")
    };
    let step = must("the autopilot's step", async {
        tokio::select! {
            _ = watching => unreachable!("it goes on"),
            step = changing => step,
        }
    })
    .await;
    assert_eq!(step["level"], "WARN");
    assert_eq!(
        (&step["command"], &step["by"]),
        (&"cutover".into(), &"the autopilot".into())
    );
    let why = step["why"].as_str().unwrap();
    assert!(why.starts_with("parity has held for 2s"), "{step}");
    drop(relay);
}
