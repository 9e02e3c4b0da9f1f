//! A relay that may open a few descriptors only, and more clients than that.

use k8s_relay::{
    proto::{Info, PodInfo, info::Type},
    sim::reducer::Options,
};
use serde_json::Value;
use tokio::net::TcpStream;

use super::world::{connect, reducer, to};
use crate::support::{must, relay::Relay};

#[tokio::test]
async fn a_lack_of_descriptors_is_a_line_and_another_when_it_is_over() {
    const FAILS: &str = "the listener cannot accept connections";
    const OVER: &str = "the listener accepts connections again";
    let reducer = reducer(Options::default()).await;
    let arguments = to(&reducer);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let relay = Relay::with_descriptors(50, "--info", &arguments).await;
    let says = |text: &'static str| move |line: &Value| line["message"] == text;
    let mut clients = Vec::new();
    for _ in 0..100 {
        // The kernel lets them in, whether the relay can have them or not.
        let client = TcpStream::connect(relay.address());
        clients.push(must("a connection", client).await.unwrap());
    }
    relay.logged("that it fails", says(FAILS)).await;
    drop(clients);
    relay.logged("that it is over", says(OVER)).await;
    // A watcher is served as if nothing had been.
    let mut call = connect(&relay).await.open();
    let info = Info {
        r#type: Type::K8sPod as i32,
        pod_info: Some(PodInfo::default()),
        ..Info::default()
    };
    must("the relay reads", call.send(info)).await.unwrap();
    relay.logged("the stream", says("stream opened")).await;
    let lines = relay.log();
    let count = |text| lines.iter().filter(|line| says(text)(line)).count();
    let (began, over) = (count(FAILS), count(OVER));
    assert_eq!(began, over);
    // It is tried ten times a second; each of these may have met a descriptor that was just free.
    assert!(began < 10, "{began} lines");
}
