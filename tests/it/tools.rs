//! The tools `reducer` and `decode`, through real sockets and files.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use futures_util::stream;
use k8s_relay::tools::ToolError;
use k8s_relay::tools::decode::{DecodeArgs, decode};
use k8s_relay::tools::reducer::{ReducerArgs, Wish, serve};
use k8s_relay::wire::Encode;
use k8s_relay::wire::lz4::FrameWriter;
use k8s_relay::wire::messages::*;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::support::peer::{Peer, soon};

/// Output that can be looked at by others.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn lines(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap();
        bytes
            .split_inclusive(|&byte| byte == b'\n')
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Nobody reads what is written here.
struct ClosedPipe;

impl Write for ClosedPipe {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

struct Tool {
    addr: SocketAddr,
    task: tokio::task::JoinHandle<Result<(), ToolError>>,
    wishes: mpsc::Sender<Wish>,
}

/// Starts `k8s-relay reducer`, without a process around it.
async fn start(
    reducer_state: bool,
    connections: Option<usize>,
    out: impl Write + Send + 'static,
) -> Tool {
    let listen = "127.0.0.1:0".parse().unwrap();
    let connections = connections.and_then(NonZeroUsize::new);
    let args = ReducerArgs {
        tls: Default::default(),
        listen,
        json: false,
        state: reducer_state,
        connections,
    };
    let (bound, addr) = oneshot::channel();
    let (wishes, wished) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        let wished = ReceiverStream::new(wished);
        serve(&args, out, |addr| bound.send(addr).unwrap(), wished).await
    });
    Tool {
        addr: soon(addr).await.unwrap(),
        task,
        wishes,
    }
}

async fn send_one_pod(addr: SocketAddr, uid: &str) {
    let mut peer = Peer::connect(addr).await;
    peer.send_handshake().await;
    peer.pod(uid);
    peer.container(uid, "containerd://1");
    peer.container("nobody", "containerd://2");
    peer.send().await;
    peer.stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    soon(tokio::io::AsyncReadExt::read_to_end(
        &mut peer.stream,
        &mut rest,
    ))
    .await
    .unwrap();
}

#[tokio::test]
async fn the_reducer_shows_messages_in_the_form_of_the_recordings() {
    let out = Output::default();
    let tool = start(false, Some(2), out.clone()).await;
    send_one_pod(tool.addr, "a").await;
    send_one_pod(tool.addr, "b").await;
    soon(tool.task).await.unwrap().unwrap();
    let lines = out.lines();
    assert_eq!(lines.len(), 13);
    assert_eq!(
        lines[3].to_string(),
        r#"{"msg":"pod_new_with_name","ip_u32":16777226,"owner_kind":1,"is_host_network":0,"uid":"a","owner_name":"web","pod_name":"web-1","owner_uid":"d-1","ns":"shop","version":"1","ip":"10.0.0.1","timestamp":77}"#
    );
    assert_eq!(lines[6], json!({"marker": "new_connection", "index": 2}));
    assert_eq!(lines[10]["uid"], "b");
}

#[tokio::test]
async fn the_reducer_shows_a_reducer_state_at_the_end() {
    let out = Output::default();
    let tool = start(true, Some(2), out.clone()).await;
    send_one_pod(tool.addr, "a").await;
    assert!(out.lines().is_empty());
    send_one_pod(tool.addr, "b").await;
    soon(tool.task).await.unwrap().unwrap();
    let [pod, first, second] = &out.lines()[..] else {
        panic!("{:?}", out.lines())
    };
    assert_eq!(
        *pod,
        json!({
            "pod": "b", "ns": "shop", "pod_name": "web-1", "owner_kind": 1, "owner_name": "web",
            "owner_uid": "d-1", "version": "1", "ip": "10.0.0.1", "is_host_network": 0,
            "containers": [{"id": "containerd://1", "name": "app", "image": "shop/app:1.42", "version": "1.42"}],
        })
    );
    for (line, connection, pods) in [(first, 1, 0), (second, 2, 1)] {
        assert_eq!(
            (&line["connection"], &line["end"]),
            (&json!(connection), &json!("eof"))
        );
        assert_eq!(
            (&line["pods"], &line["pods_told"]),
            (&json!(pods), &json!(1))
        );
        let digest = line["digest"].as_str().unwrap();
        assert!(digest.ends_with(&format!("/{pods}")), "{digest}");
        assert_eq!(digest.starts_with("00000000"), pods == 0, "{digest}");
        assert_eq!(line["without_effect"]["containers_without_pod"], 1);
        assert_eq!(line["messages"]["pod_container"], 2);
    }
}

#[tokio::test]
async fn the_reducer_shows_what_it_knows_when_it_is_asked() {
    let out = Output::default();
    let tool = start(true, None, out.clone()).await;
    let shown = async |wish, lines| {
        let before = out.lines().len();
        tool.wishes.send(wish).await.unwrap();
        let all = async {
            while out.lines().len() < before + lines {
                tokio::task::yield_now().await;
            }
        };
        soon(all).await;
        out.lines().split_off(before)
    };
    assert_eq!(
        shown(Wish::Sum, 1).await,
        [json!({"connection": null})],
        "there is no connection yet"
    );
    send_one_pod(tool.addr, "a").await;
    send_one_pod(tool.addr, "b").await;
    let sum = shown(Wish::Sum, 1).await;
    assert_eq!(sum[0]["connection"], 2);
    assert_eq!(sum[0]["pods"], 1);
    let pods = shown(Wish::Pods, 2).await;
    assert_eq!(pods[0]["pod"], "b");
    assert_eq!(pods[1], sum[0]);
    tool.wishes.send(Wish::End).await.unwrap();
    soon(tool.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_reducer_shows_what_it_read_when_it_is_stopped() {
    let out = Output::default();
    let tool = start(false, None, out.clone()).await;
    send_one_pod(tool.addr, "a").await;
    tool.wishes.send(Wish::End).await.unwrap();
    soon(tool.task).await.unwrap().unwrap();
    assert_eq!(out.lines().len(), 6);
}

#[tokio::test]
async fn the_reducer_fails_when_a_relay_violates_the_protocol() {
    let tool = start(false, Some(1), Output::default()).await;
    let mut peer = Peer::connect(tool.addr).await;
    peer.push(Heartbeat {});
    peer.send().await;
    let error = soon(tool.task).await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "connection 1: heartbeat came before connect"
    );
}

#[tokio::test]
async fn the_reducer_says_which_address_is_taken() {
    let tool = start(false, None, Output::default()).await;
    let args = ReducerArgs {
        tls: Default::default(),
        listen: tool.addr,
        json: true,
        state: false,
        connections: None,
    };
    let error = serve(&args, Output::default(), |_| {}, stream::pending())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {}", tool.addr));
    tool.wishes.send(Wish::End).await.unwrap();
    soon(tool.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_closed_pipe_ends_the_reducer_quietly() {
    let tool = start(false, None, ClosedPipe).await;
    let mut peer = Peer::connect(tool.addr).await;
    peer.send_handshake().await;
    soon(tool.task).await.unwrap().unwrap();
}

/// A recording of two connections.
fn recording() -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 1..=2 {
        VersionInfo {
            major: 0,
            minor: 11,
            patch: n,
        }
        .encode(5, &mut bytes)
        .unwrap();
        Connect {
            collector_type: 3,
            hostname: b"h",
        }
        .encode(6, &mut bytes)
        .unwrap();
    }
    bytes
}

/// The raw bytes of one connection.
async fn capture() -> Vec<u8> {
    let options = k8s_relay::sim::reducer::Options::default();
    let listen = "127.0.0.1:0".parse().unwrap();
    let reducer = k8s_relay::sim::reducer::MockReducer::bind(listen, options)
        .await
        .unwrap();
    send_one_pod(reducer.addr(), "a").await;
    let mut state = soon(reducer.shutdown()).await;
    std::mem::take(&mut state.connections[0].raw)
}

fn shown(bytes: &[u8]) -> (Vec<Value>, Option<String>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let out = Output::default();
    let result = decode(
        "FILE",
        std::fs::File::open(file.path()).unwrap(),
        out.clone(),
    );
    (out.lines(), result.err().map(|error| error.to_string()))
}

#[test]
fn a_recording_is_shown_with_a_marker_at_each_new_connection() {
    let (lines, error) = shown(&recording());
    assert_eq!(error, None);
    assert_eq!(
        lines,
        [
            json!({"msg": "version_info", "major": 0, "minor": 11, "patch": 1, "timestamp": 5}),
            json!({"msg": "connect", "collector_type": 3, "hostname": "h", "timestamp": 6}),
            json!({"marker": "new_connection", "index": 2}),
            json!({"msg": "version_info", "major": 0, "minor": 11, "patch": 2, "timestamp": 5}),
            json!({"msg": "connect", "collector_type": 3, "hostname": "h", "timestamp": 6}),
        ]
    );
}

#[tokio::test]
async fn a_captured_connection_is_recognized_and_shown() {
    let capture = capture().await;
    let (lines, error) = shown(&capture);
    assert_eq!(error, None);
    let names: Vec<_> = lines
        .iter()
        .map(|line| line["msg"].as_str().unwrap())
        .collect();
    assert_eq!(names[..3], ["version_info", "connect", "metadata_complete"]);
    assert_eq!(
        names[3..],
        ["pod_new_with_name", "pod_container", "pod_container"]
    );
    // The handshake alone ends between two frames, and even the first message is a file.
    assert_eq!(shown(&capture[..24]).0.len(), 1);
}

#[tokio::test]
async fn a_broken_file_is_shown_up_to_where_it_breaks() {
    let recording = recording();
    let second = recording.len() / 2;
    let mut unknown = recording.clone();
    unknown[second + 8] = 0xff;
    let capture = capture().await;
    let mut broken = capture.clone();
    broken[28] ^= 2;
    for (bytes, lines, error) in [
        (&recording[..second + 7], 2, "a recording, at plain byte 38: the stream ends within a message".to_owned()),
        (&unknown[..], 2, "a recording, at plain byte 38: unknown message id 511".to_owned()),
        (&b"what is this?"[..], 0, "neither a recording nor a captured connection, at plain byte 0: unknown message id 26740".to_owned()),
        (&b"abc"[..], 0, "neither a recording nor a captured connection, at plain byte 0: the stream ends within a message".to_owned()),
        (
            &capture[..capture.len() - 1],
            6,
            format!(
                "a captured connection, at byte {}: the stream ends within a frame",
                capture.len() - 4
            ),
        ),
        (
            &broken[..],
            1,
            "a captured connection, at byte 24: \
             unknown frame descriptor 0x42 0x40"
                .to_owned(),
        ),
        (
            &capture[..30],
            1,
            "a captured connection, at byte 24: the stream ends within a frame".to_owned(),
        ),
    ] {
        let (shown, found) = shown(bytes);
        assert_eq!(shown.len(), lines, "{error}");
        assert_eq!(found, Some(format!("FILE: {error}")));
    }
    assert_eq!(shown(&[]), (Vec::new(), None), "a recording of nothing");

    let mut unknown = capture[..24].to_vec();
    let mut plain = Vec::new();
    Connect {
        collector_type: 3,
        hostname: b"h",
    }
    .encode(1, &mut plain)
    .unwrap();
    plain.extend([0xff; 10]);
    FrameWriter::default().frame(&plain, &mut unknown);
    let (lines, error) = shown(&unknown);
    assert_eq!(lines.len(), 2);
    let place = format!("unpacked from before byte {}", unknown.len() - 4);
    let problem = "FILE: a captured connection, at plain byte 38: unknown message id 65535";
    assert_eq!(error, Some(format!("{problem}, {place}")));
}

#[test]
fn a_closed_pipe_ends_decoding_quietly() {
    decode("FILE", &recording()[..], ClosedPipe).unwrap();
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let args = DecodeArgs {
        file: "/nowhere/at/all".into(),
    };
    let error = anyhow::Error::new(k8s_relay::tools::decode::run(&args).unwrap_err());
    // As the program says it: the system's reason once, behind ours.
    assert_eq!(
        format!("{error:#}"),
        "cannot read /nowhere/at/all: No such file or directory (os error 2)"
    );
}

#[test]
fn an_empty_recording_is_said_to_be_empty() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let ended = crate::surface::run(&[], &["decode", file.path().to_str().unwrap()]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    assert!(ended.stderr.contains("is empty: the relay never connected"));
}

#[test]
fn each_kind_of_recording_names_the_command_for_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let (streams, messages) = (dir.path().join("streams.rec"), dir.path().join("relay.rec"));
    std::fs::write(
        &streams,
        [&k8s_relay::tee::recording::MAGIC[..], &[0; 64]].concat(),
    )
    .unwrap();
    let mut message = Vec::new();
    let first = VersionInfo {
        major: 0,
        minor: 11,
        patch: 0,
    };
    first.encode(1, &mut message).unwrap();
    std::fs::write(&messages, &message).unwrap();
    let text = dir.path().join("text");
    std::fs::write(&text, "root:x:0:0").unwrap();
    let [streams, messages, text] =
        [streams, messages, text].map(|path| path.display().to_string());
    for (args, says) in [
        (&["decode", &streams][..], "Use `k8s-relay replay` with it."),
        (
            &["replay", &messages, "--to", "127.0.0.1:9"],
            "Use `k8s-relay decode` with it.",
        ),
        (
            &["replay", &text, "--to", "127.0.0.1:9"],
            "this is not a recording of streams",
        ),
    ] {
        let ended = crate::surface::run(&[], args);
        assert_eq!(ended.code, Some(1), "{args:?}");
        assert_eq!(ended.stdout, "", "the error alone: {args:?}");
        let (said, file) = (ended.stderr, args[1]);
        assert!(said.starts_with(&format!("error: {file}: ")), "{said}");
        assert!(said.contains(says), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
