//! The harness's self-tests: bad peers, and the result that each must get.

use std::{
    any::Any, collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tokio_util::task::AbortOnDropHandle;

use super::{
    case::{self, Case, Compared},
    case_result::Word,
    fault::Fault,
    peers::{Command, Kind, Peer},
    plan::{Job, Must},
    relay::{Relay, free_port},
};

/// What is done to them all: one pod that waits for its owner, an update, an end.
const CASE: &str = r#"
name = "a self-test"
steps = [
    { added = { pod = { uid = "p1", ip = "10.0.0.1", name = "web-1", owner = { uid = "rs1", name = "web", kind = "ReplicaSet" }, containers = [{ id = "containerd://a", name = "app", image = "app:1" }, { id = "containerd://b", name = "proxy", image = "proxy:1" }] } } },
    "settle",
    { added = { replica_set = { uid = "rs1", owner = { uid = "d1", name = "web", kind = "Deployment" } } } },
    "settle",
    { added = { pod = { uid = "p2", ip = "10.0.0.2", name = "batch-1" } } },
    { half_close = "A" },
]
"#;

/// No message for so long is rest: `this` applies and sends within milliseconds.
const QUIET: Duration = Duration::from_millis(400);
/// A peer that has sent less than the other is waited for so long.
const BEHIND: Duration = Duration::from_secs(2);
/// How much later a delayed message comes.
const DELAY: Duration = Duration::from_millis(300);
/// A program that never listens.
const READY: Duration = Duration::from_secs(5);
/// A peer that hangs. Others have the time that all cases have.
const LIMIT: Duration = Duration::from_secs(10);

/// What goes wrong, the result it must get, and what this must say.
const FAULTS: [(&str, Fault, Word, &str); 8] = [
    ("nothing goes wrong", Fault::Nothing, Word::Equal, ""),
    (
        "a message is dropped",
        Fault::Drop,
        Word::Different,
        "- pod_new_with_name",
    ),
    (
        "a message is altered",
        Fault::Alter,
        Word::Different,
        "pod_name=\"altered\"",
    ),
    ("a message is delayed", Fault::Delay(DELAY), Word::Equal, ""),
    (
        "two messages of a pod change places",
        Fault::Reorder,
        Word::Different,
        "+ pod_container",
    ),
    (
        "a relay stops doing anything",
        Fault::Hang,
        Word::Different,
        "faulty: step 6: it hangs",
    ),
    (
        "a relay dies",
        Fault::Die,
        Word::Different,
        "faulty ended, signal: 9 (SIGKILL)",
    ),
    (
        "bytes come that are no message",
        Fault::Garbage,
        Word::Different,
        "refused differs",
    ),
];

/// All of them; each is compared with `this`.
pub fn jobs() -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for (name, fault, word, says) in FAULTS {
        let mut faulty = this("faulty");
        faulty.fault = Some(fault);
        jobs.push(Job {
            limit: (fault == Fault::Hang).then_some(LIMIT),
            ..job(name, Some(faulty), Must { word, says })?
        });
    }
    let equal = Must {
        word: Word::Equal,
        says: "",
    };
    let foreigner = peer("command", Kind::Command(foreign(&[])));
    jobs.push(job("a relay by its command", Some(foreigner), equal)?);
    jobs.push(Job {
        last: Some(Box::pin(running())),
        ..job("a relay that runs already", None, equal)?
    });
    let nowhere = Command {
        program: "no-such-relay".to_owned(),
        ..foreign(&[])
    };
    let deaf = Command {
        program: "sleep".to_owned(),
        args: vec!["60".to_owned()],
        ..foreign(&[])
    };
    for (name, command, says) in [
        (
            "a program that does not exist",
            nowhere,
            "bad: did not start: no-such-relay: No such file",
        ),
        (
            "a program that ends at once",
            foreign(&["--no-such-flag"]),
            "bad: did not start: ended, exit status:",
        ),
        (
            "a program that does not listen",
            deaf,
            "bad: did not start: did not listen at",
        ),
    ] {
        let bad = peer("bad", Kind::Command(command)).times(Some(READY), None, None);
        jobs.push(job(name, Some(bad), different(says))?);
    }
    for (file, more, fault, must) in stand_ins() {
        jobs.push(written(file, more, fault, must)?);
    }
    for (name, answer, says) in [
        (
            "a relay that answers nothing",
            &b""[..],
            "bad: the start: it hangs",
        ),
        (
            "a relay that speaks something else",
            b"SSH-2.0-relay\r\n",
            "bad: the start: it hangs",
        ),
    ] {
        jobs.push(Job {
            last: Some(Box::pin(answering(answer))),
            limit: Some(LIMIT),
            ..job(name, None, different(says))?
        });
    }
    Ok(jobs)
}

/// A relay that loses its state when the reducer goes away, until its watcher lists again: as
/// the legacy relay.
const FORGETS: &[&str] = &["--reconnect", "reset-watcher"];

/// Relays in the legacy relay's place in a written case that has an exception: one that does
/// what is known of it; one that also does something else; one that does what ours does.
fn stand_ins() -> [(&'static str, &'static [&'static str], Fault, Must); 4] {
    let exception = Must {
        word: Word::Exception,
        says: "",
    };
    let (away, resets) = ("reducer_goes_away.toml", "reducer_resets.toml");
    [
        (away, FORGETS, Fault::Nothing, exception),
        (resets, FORGETS, Fault::Nothing, exception),
        (
            away,
            FORGETS,
            Fault::Alter,
            different("not as exceptions.toml says of stand-in"),
        ),
        (
            resets,
            &[],
            Fault::Nothing,
            different("the exception makes no difference"),
        ),
    ]
}

fn written(file: &str, more: &[&str], fault: Fault, must: Must) -> Result<Job> {
    let legacy = Peer {
        legacy: true,
        fault: (fault != Fault::Nothing).then_some(fault),
        ..peer("stand-in", Kind::Command(foreign(more)))
    };
    let mut ours = this("this");
    ours.hand_over_as_legacy();
    Ok(Job {
        case: Arc::new(case::read(&case::folder().join(file))?),
        peers: vec![legacy, ours],
        left_out: Vec::new(),
        must: Some(must),
        limit: None,
        last: None,
    })
}

fn different(says: &'static str) -> Must {
    Must {
        word: Word::Different,
        says,
    }
}

fn job(name: &str, other: Option<Peer>, must: Must) -> Result<Job> {
    let case = Case {
        name: format!("self-test: {name}"),
        ..case::parse(CASE, Path::new(".")).context("the self-test's case")?
    };
    Ok(Job {
        case: Arc::new(case),
        peers: [this("this")].into_iter().chain(other).collect(),
        left_out: Vec::new(),
        must: Some(must),
        limit: None,
        last: None,
    })
}

fn peer(name: &str, kind: Kind) -> Peer {
    Peer::new(name, kind).times(None, Some(QUIET), Some(BEHIND))
}

fn this(name: &str) -> Peer {
    peer(name, Kind::This { args: Vec::new() })
}

/// Ours, as if it were another's.
fn foreign(more: &[&str]) -> Command {
    let args = [
        "--server-address={listen_host}:{listen_port}",
        "--admin-address=none",
        "--cloud=none",
        "--config-file={config}",
        "--intake-host={reducer_host}",
        "--intake-port={reducer_port}",
    ];
    Command {
        program: env!("CARGO_BIN_EXE_k8s-relay").to_owned(),
        args: args
            .iter()
            .chain(more)
            .map(|arg| (*arg).to_owned())
            .collect(),
        env: BTreeMap::new(),
        stop: Signal::SIGTERM,
    }
}

/// One that somebody else has started, with the address of its reducer.
async fn running() -> Result<(Peer, Box<dyn Any + Send>)> {
    let reducer = free_port()?;
    let relay = Relay::start(&this("started"), reducer, &serde_json::Map::new()).await;
    let relay = relay.map_err(anyhow::Error::msg)?;
    let running = Kind::Running {
        address: relay.address().to_owned(),
        reducer,
    };
    let running = Peer {
        compared: Compared::ReducerStates,
        ..peer("running", running)
    };
    Ok((running, Box::new(relay)))
}

/// Something that is no relay.
async fn answering(answer: &'static [u8]) -> Result<(Peer, Box<dyn Any + Send>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let task = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if stream.write_all(answer).await.is_ok() {
                connections.push(stream);
            }
        }
    });
    let reducer = SocketAddr::from(([127, 0, 0, 1], 0));
    let bad = peer("bad", Kind::Running { address, reducer });
    Ok((bad, Box::new(AbortOnDropHandle::new(task))))
}
