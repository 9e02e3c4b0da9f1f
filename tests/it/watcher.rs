//! The watcher that we play, against a bare `Collect` server.

use std::time::Duration;

use k8s_relay::{
    model::Kind,
    proto::{
        Info, Response,
        collector_server::{Collector, CollectorServer},
    },
    sim::{
        cluster::Cluster,
        kube::{self, Meta, Object, Owner, Pod, SimApi},
        load::local_test,
        reducer::{MockReducer, Options, State},
        watcher::{Watcher, WatcherError},
    },
    tools::{
        watch_test::{self, WatchTestArgs},
        watcher::{self, WatcherArgs},
    },
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Request, Status, Streaming, transport::Server};

use crate::support::{must, relay::Relay};

#[tokio::test]
async fn what_the_watcher_sends_arrives_in_order_and_the_half_close_after_it() {
    let (address, mut calls) = server().await;
    let mut call = Watcher::connect(&address).await.unwrap().open();
    let mut seen = calls.next().await;
    let cluster = Cluster::new(3, 10);
    for info in cluster.list() {
        call.send(info).await.unwrap();
    }
    for info in cluster.list() {
        assert_eq!(seen.info().await, Ok(Some(info)));
    }
    assert_eq!(call.outcome(), None);
    call.half_close();
    assert_eq!(seen.info().await, Ok(None));
    seen.end(Status::cancelled("")).await;
    let outcome = must("the call ends", call.ended()).await;
    assert_eq!((outcome.status, outcome.responses), (Code::Cancelled, 0));
    assert!(matches!(
        call.send(cluster.pod(0)).await,
        Err(WatcherError::Ended)
    ));
}

#[tokio::test]
async fn a_watcher_opens_its_call_before_it_has_anything_to_send() {
    let (address, mut calls) = server().await;
    let _call = Watcher::connect(&address).await.unwrap().open();
    calls.next().await;
}

#[tokio::test]
async fn a_cancelled_call_is_reset_and_not_half_closed() {
    let (address, mut calls) = server().await;
    let mut call = Watcher::connect(&address).await.unwrap().open();
    let seen = calls.next().await;
    call.cancel();
    must("nobody waits for an answer", seen.answers.closed()).await;
    let outcome = must("the call ends", call.ended()).await;
    assert_eq!(outcome.status, Code::Cancelled);
}

#[tokio::test]
async fn bytes_that_are_no_message_go_out_as_they_are() {
    let (address, mut calls) = server().await;
    let mut call = Watcher::connect(&address).await.unwrap().open();
    let mut seen = calls.next().await;
    call.send(bytes::Bytes::from_static(b"\xff\xff"))
        .await
        .unwrap();
    assert!(seen.info().await.is_err());
}

#[tokio::test]
async fn responses_are_counted_and_the_final_status_is_kept() {
    let (address, mut calls) = server().await;
    let mut call = Watcher::connect(&address).await.unwrap().open();
    let seen = calls.next().await;
    seen.answer(Ok(Response {})).await;
    seen.end(Status::cancelled("Cancelled on the server side"))
        .await;
    let outcome = must("the call ends", call.ended()).await;
    assert_eq!(outcome.responses, 1);
    assert_eq!(outcome.details, "Cancelled on the server side");
}

#[tokio::test]
async fn sending_fails_when_the_relay_ends_the_call_without_reading() {
    let (address, mut calls) = server().await;
    let mut call = Watcher::connect(&address).await.unwrap().open();
    let seen = calls.next().await;
    let flood = tokio::spawn(async move {
        let cluster = Cluster::new(0, 1);
        while call.send(cluster.pod(0)).await.is_ok() {}
        call.outcome()
    });
    seen.end(Status::unavailable("the relay ends")).await;
    let outcome = must("sending fails", flood).await.unwrap();
    assert_eq!(outcome.unwrap().status, Code::Unavailable);
}

#[tokio::test]
async fn a_whole_list_is_played_in_one_go() {
    let (address, mut calls) = server().await;
    let watcher = Watcher::connect(&address).await.unwrap();
    let cluster = Cluster::new(10, 1_000);
    let playing =
        tokio::spawn(async move { watcher.play(tokio_stream::iter(cluster.list())).await });
    let mut seen = calls.next().await;
    let mut count = 0;
    while let Ok(Some(_)) = seen.info().await {
        count += 1;
    }
    assert_eq!(count, 1_010);
    seen.end(Status::cancelled("")).await;
    let outcome = must("the call ends", playing).await.unwrap();
    assert_eq!(outcome.status, Code::Cancelled);
}

#[tokio::test]
async fn nobody_listening_is_an_error_that_names_the_address() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let error = Watcher::connect(&address).await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn the_watch_test_sends_its_rounds_in_order_and_half_closes() {
    let (address, mut calls) = server().await;
    let test = watch_test(address, Some(2));
    let mut seen = calls.next().await;
    for info in [round(0), round(1)].concat() {
        assert_eq!(seen.info().await, Ok(Some(info)));
    }
    assert_eq!(seen.info().await, Ok(None));
    seen.end(Status::cancelled("")).await;
    must("the test ends", test).await.unwrap();
}

#[tokio::test]
async fn the_watch_test_calls_again_with_a_whole_round_when_the_relay_ends_the_call() {
    let (address, mut calls) = server().await;
    let _test = watch_test(address, None);
    let mut first = calls.next().await;
    assert_eq!(first.info().await, Ok(Some(round(0)[0].clone())));
    first.answer(Ok(Response {})).await;
    first.end(Status::cancelled("")).await;

    let mut second = calls.next().await;
    let set = second.info().await.unwrap().unwrap();
    let uid = set.rs_info.unwrap().uid;
    let i = uid.strip_prefix("RS-UID-").unwrap().parse().unwrap();
    for info in &round(i)[1..] {
        assert_eq!(second.info().await, Ok(Some(info.clone())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watch_test_leaves_one_pod_of_each_round_with_the_reducer() {
    let any_port = "127.0.0.1:0".parse().unwrap();
    let reducer = MockReducer::bind(any_port, Options::default());
    let reducer = reducer.await.unwrap();
    let port = reducer.addr().port().to_string();
    let relay = Relay::start(&["--intake-host", "127.0.0.1", "--intake-port", &port]).await;
    let connected = relay.until("the relay is connected", |p| p.connected).await;
    assert_eq!(connected.connection, 1);

    let test = watch_test(relay.address().to_string(), Some(3));
    let pods = |state: &State| state.latest().map_or(0, |c| c.count("pod_new_with_name"));
    must("six pods", reducer.wait_until(|state| pods(state) == 6)).await;
    must("the test ends", test).await.unwrap();

    reducer.with(|state| {
        assert_eq!(state.latest().unwrap().count("pod_delete"), 3);
        assert_eq!(state.reducer_state().unwrap().pods(), 3);
    });
    assert!(relay.stop().await.success());
}

#[tokio::test]
async fn the_legacy_watchers_stand_in_sends_owners_before_pods_and_then_what_happens() {
    let (api, kubeconfig) = cluster().await;
    let (address, mut calls) = server().await;
    let _watcher = legacy_watcher(&kubeconfig, &address);
    let mut seen = calls.next().await;
    assert_eq!(seen.sent().await, ["ADDED uid-set", "ADDED uid-web"]);
    // Its watch begins where its list has ended, so nothing between them is lost.
    api.delete(Kind::POD, "shop", "web-1");
    assert_eq!(seen.next().await, "DELETED uid-web");
}

#[tokio::test]
async fn the_legacy_watchers_stand_in_begins_again_when_its_call_ends_though_nothing_happens() {
    let (_api, kubeconfig) = cluster().await;
    let (address, mut calls) = server().await;
    let _watcher = legacy_watcher(&kubeconfig, &address);
    for _ in 0..2 {
        let mut seen = calls.next().await;
        assert_eq!(seen.sent().await, ["ADDED uid-set", "ADDED uid-web"]);
        seen.end(Status::cancelled("")).await;
    }
}

#[tokio::test]
async fn the_legacy_watchers_stand_in_says_what_is_wrong_with_its_kubeconfig() {
    let missing = tempfile::tempdir().unwrap().path().join("none");
    let args = WatcherArgs {
        kubeconfig: Some(missing.clone()),
        context: None,
        to: "localhost:1".parse().unwrap(),
    };
    let error = watcher::run(&args).await.unwrap_err().to_string();
    assert!(error.contains(missing.to_str().unwrap()), "{error}");
}

/// A ReplicaSet and its pod, and the file that leads there.
async fn cluster() -> (SimApi, tempfile::NamedTempFile) {
    let api = SimApi::start(kube::Options::small()).await.unwrap();
    let owner = Owner::controller("ReplicaSet", "web", "uid-set");
    let pod = Pod::new("shop", "web-1", "uid-web").address("10.0.0.1");
    api.apply(pod.of(owner));
    api.apply(Object::replica_set(Meta::new("shop", "web", "uid-set")));
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&kubeconfig, api.kubeconfig().to_string()).unwrap();
    (api, kubeconfig)
}

fn legacy_watcher(kubeconfig: &tempfile::NamedTempFile, to: &str) -> AbortOnDropHandle<()> {
    let args = WatcherArgs {
        kubeconfig: Some(kubeconfig.path().to_owned()),
        context: None,
        to: to.parse().unwrap(),
    };
    AbortOnDropHandle::new(tokio::spawn(
        async move { watcher::run(&args).await.unwrap() },
    ))
}

fn watch_test(server_address: String, count: Option<u64>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(watch_test::run(WatchTestArgs {
        server_address,
        rate: Some(1_000.0),
        count,
    })))
}

fn round(i: u64) -> Vec<Info> {
    local_test(i).map(|step| step.info).to_vec()
}

// === a server that only hands out what comes ===

type Answers = mpsc::Sender<Result<Response, Status>>;

struct Bare(mpsc::Sender<SeenCall>);

struct Calls(
    mpsc::Receiver<SeenCall>,
    #[expect(dead_code)] AbortOnDropHandle<()>,
);

/// A call as the server sees it.
struct SeenCall {
    infos: Streaming<Info>,
    answers: Answers,
}

async fn server() -> (String, Calls) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (calls, seen) = mpsc::channel(8);
    let server = Server::builder()
        .add_service(CollectorServer::new(Bare(calls)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let task = tokio::spawn(async move { server.await.unwrap() });
    (address, Calls(seen, AbortOnDropHandle::new(task)))
}

#[tonic::async_trait]
impl Collector for Bare {
    type CollectStream = ReceiverStream<Result<Response, Status>>;

    async fn collect(
        &self,
        request: Request<Streaming<Info>>,
    ) -> Result<tonic::Response<Self::CollectStream>, Status> {
        let (answers, stream) = mpsc::channel(8);
        let infos = request.into_inner();
        self.0.send(SeenCall { infos, answers }).await.unwrap();
        Ok(tonic::Response::new(ReceiverStream::new(stream)))
    }
}

impl Calls {
    async fn next(&mut self) -> SeenCall {
        must("a call", self.0.recv()).await.unwrap()
    }
}

impl SeenCall {
    async fn info(&mut self) -> Result<Option<Info>, Code> {
        let message = tokio::time::timeout(Duration::from_secs(30), self.infos.message()).await;
        message.unwrap().map_err(|status| status.code())
    }

    /// The next Info in words.
    async fn next(&mut self) -> String {
        let info = self.info().await.unwrap().unwrap();
        let uid = match (info.rs_info.as_ref(), info.pod_info.as_ref()) {
            (Some(set), _) => &set.uid,
            (_, Some(pod)) => &pod.uid,
            (None, None) => panic!("{info:?}"),
        };
        format!("{} {uid}", info.event().as_str_name())
    }

    /// The next two.
    async fn sent(&mut self) -> [String; 2] {
        [self.next().await, self.next().await]
    }

    async fn answer(&self, answer: Result<Response, Status>) {
        self.answers.send(answer).await.unwrap();
    }

    async fn end(self, status: Status) {
        self.answer(Err(status)).await;
    }
}
