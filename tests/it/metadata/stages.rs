//! The metadata service next to a relay: whatever happens to it is nothing to the relay.

use k8s_relay::{
    app::Relay,
    config::{AdminAddress, Config, Source},
    net::BoundAddr,
    sim::reducer::{MockReducer, Options},
};
use tokio_util::sync::CancellationToken;

use super::world::{Answer, POD, Shop, anywhere, ask, until};
use crate::support::must;

/// Runs a relay with enrichment next to `test`, and ends it.
async fn next_to(set: impl FnOnce(&mut Config), test: impl AsyncFnOnce(&BoundAddr, &BoundAddr)) {
    let reducer = MockReducer::bind(([127, 0, 0, 1], 0).into(), Options::default());
    let reducer = reducer.await.unwrap();
    let mut config = Config::between(anywhere(), anywhere());
    config.intake.port = reducer.addr().port();
    config.admin_address = AdminAddress::Tcp(anywhere()).into();
    config.enrich.address = AdminAddress::Tcp(anywhere());
    set(&mut config);
    let relay = Relay::start(config).await.unwrap();
    let (admin, address) = (
        relay.admin().unwrap().clone(),
        relay.enrichment().unwrap().clone(),
    );
    let end = CancellationToken::new();
    let running = tokio::spawn(relay.run_until(end.clone().cancelled_owned()));
    test(&admin, &address).await;
    end.cancel();
    must("the relay ends", running).await.unwrap().unwrap();
    reducer.shutdown().await;
}

#[tokio::test]
async fn questions_are_answered_in_every_stage() {
    for source in [
        Source::Legacy,
        Source::Shadow,
        Source::ShadowNative,
        Source::Native,
    ] {
        let shop = Shop::open().await;
        let kubeconfig = shop.kubeconfig();
        next_to(
            |config| {
                config.source = source;
                config.native.kubeconfig = Some(kubeconfig);
            },
            async |admin, address| {
                let live = |answer: &Answer| answer.json()["state"] == "LIVE";
                until(address, &format!("/v1/lookup/pod/{POD}"), live).await;
                let status = ask(admin, "GET", "/statusz").await.json();
                assert_eq!(status["stage"], source.to_string());
                assert_eq!(status["enrichment"]["address"], address.to_string());
            },
        )
        .await;
        shop.api.shutdown().await;
    }
}

#[tokio::test]
async fn an_api_that_is_absent_or_has_no_credentials_never_ends_a_legacy_relay() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = dir.path().join("nobody");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let text = format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: c}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n"
    );
    std::fs::write(&nobody, text).unwrap();
    for kubeconfig in [nobody, dir.path().join("missing")] {
        next_to(
            |config| config.native.kubeconfig = Some(kubeconfig.clone()),
            async |admin, address| {
                let unreachable = |answer: &Answer| {
                    answer.code == 503 && answer.json()["reason"] == "unreachable"
                };
                let answer = until(address, &format!("/v1/lookup/pod/{POD}"), unreachable).await;
                assert_eq!(answer.json()["state"], "SYNCING");
                until(admin, "/readyz", |answer| answer.code == 200).await;
            },
        )
        .await;
    }
}
