//! `--record`, and the process around it.

use std::{fs, net::SocketAddr, path::Path, process::Stdio};

use k8s_relay::{
    sim::{cluster::Cluster, watcher::Watcher},
    tee::recording::{Fault, Outcome, Reader, What},
    tools::ToolError,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use prost::Message as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
};

use super::world::{Behind, Tee, mock_reducer, new_file, send, to};
use crate::support::must;

/// Everything in a whole recording: stream and what happened.
pub(super) fn read(path: &Path) -> Vec<(u64, What)> {
    let mut reader = Reader::new();
    reader.push(&fs::read(path).unwrap());
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        records.push((record.stream, record.what));
    }
    reader.finish().unwrap();
    records
}

#[tokio::test]
async fn a_recording_holds_what_every_watcher_sent_and_how_its_stream_ended() {
    let (_dir, file) = new_file();
    let relay = Behind::start(mock_reducer().await.addr(), |_| ()).await;
    let mut args = to(&[relay.address]);
    args.record = Some(file.clone());
    let tee = Tee::start(args).await;

    let cluster = Cluster::new(2, 20);
    let mut half_closed = tee.call().await;
    send(&mut half_closed, cluster.list()).await;
    half_closed.half_close();
    must("the relay ends it", half_closed.ended()).await;
    let mut cancelled = tee.call().await;
    send(&mut cancelled, [cluster.pod(0)]).await;
    tee.counts("23 messages").await;
    cancelled.cancel();
    let open = tee.call().await;
    tee.counts("3 streams").await;
    let (result, shown) = tee.stop().await;
    result.unwrap();
    drop(open);
    let size = fs::metadata(&file).unwrap().len();
    let summary = format!("{} holds 30 records in {size} bytes", file.display());
    assert!(shown.contains(&summary), "{shown}");

    let records = read(&file);
    let of = |stream| {
        let of_it = records.iter().filter(move |(of, _)| *of == stream);
        of_it.map(|(_, what)| what.clone()).collect::<Vec<_>>()
    };
    let message = |info: k8s_relay::proto::Info| What::Message(info.encode_to_vec().into());
    let ended = What::Ended(Outcome {
        code: 1,
        ..Outcome::default()
    });
    let mut first = vec![What::Opened];
    first.extend(cluster.list().map(message));
    first.extend([What::HalfClosed, ended]);
    assert_eq!(of(1), first);
    assert_eq!(
        of(2),
        [What::Opened, message(cluster.pod(0)), What::Cancelled]
    );
    assert_eq!(of(3), [What::Opened, What::Cancelled]);
}

#[tokio::test]
async fn a_recording_is_never_overwritten() {
    let (_dir, file) = new_file();
    fs::write(&file, "of an earlier run").unwrap();
    let mut args = to(&[([127, 0, 0, 1], 1).into()]);
    args.record = Some(file.clone());
    let refused = k8s_relay::tools::tee::serve(
        &args,
        super::world::times(),
        std::io::sink(),
        |_| panic!("it does not listen"),
        tokio_stream::empty(),
        std::future::pending(),
    );
    let refused = must("it does not start", refused).await;
    assert!(
        matches!(refused, Err(ToolError::Record { .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read(&file).unwrap(), b"of an earlier run");
}

/// The program itself, recording into this file.
struct Process {
    child: Child,
    watchers: SocketAddr,
    out: Lines<BufReader<ChildStdout>>,
    _err: Lines<BufReader<ChildStderr>>,
}

impl Process {
    async fn start(relay: SocketAddr, file: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
            .args([
                "tee",
                "--listen",
                "127.0.0.1:0",
                "--to",
                &relay.to_string(),
                "--record",
            ])
            .arg(file)
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut err = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = must("it listens", err.next_line()).await.unwrap().unwrap();
        let watchers = line.strip_prefix("listening on ").unwrap().parse().unwrap();
        Self {
            child,
            watchers,
            out,
            _err: err,
        }
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().unwrap().try_into().unwrap());
        kill(id, signal).unwrap();
    }

    async fn line(&mut self) -> String {
        must("it shows something", self.out.next_line())
            .await
            .unwrap()
            .unwrap()
    }
}

#[tokio::test]
async fn the_process_shows_how_things_stand_when_asked_and_ends_in_order() {
    let (_dir, file) = new_file();
    let relay = Behind::start(mock_reducer().await.addr(), |_| ()).await;
    let mut tee = Process::start(relay.address, &file).await;
    tee.signal(Signal::SIGUSR1);
    let line = tee.line().await;
    assert!(
        line.ends_with("summary: 0 streams, 0 of them open, 0 messages"),
        "{line}"
    );
    tee.signal(Signal::SIGTERM);
    let status = must("it ends", tee.child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(read(&file), []);
}

#[tokio::test]
async fn a_process_that_is_killed_leaves_a_recording_that_is_cut() {
    let (_dir, file) = new_file();
    let relay = Behind::start(mock_reducer().await.addr(), |_| ()).await;
    let mut tee = Process::start(relay.address, &file).await;
    let mut call = Watcher::connect(&tee.watchers.to_string())
        .await
        .unwrap()
        .open();
    send(&mut call, Cluster::new(1, 9).list()).await;
    let recorded = || {
        let mut reader = Reader::new();
        reader.push(&fs::read(&file).unwrap());
        let records = std::iter::from_fn(|| reader.next_record().unwrap()).count();
        (records, reader.finish().unwrap_err().fault)
    };
    must("it is written soon", async {
        while recorded() != (11, Fault::Cut) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    tee.signal(Signal::SIGKILL);
    must("it is gone", tee.child.wait()).await.unwrap();
    assert_eq!(recorded(), (11, Fault::Cut));
}
