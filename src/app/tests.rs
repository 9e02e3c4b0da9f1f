//! How a relay ends when a part of it fails or is late: with FIN, in time, and saying so.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::{future::pending, future::ready, io, path::PathBuf, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{end::Part, *};

/// Longer than anything here takes, shorter than a limit that was not shortened.
const SOON: Duration = Duration::from_secs(30);

const NEVER: Duration = Duration::from_secs(3600);

fn here(port: u16) -> HostPort {
    HostPort {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

/// A relay that is connected to a reducer; and how that connection ends, with all that came.
async fn connected(set: impl FnOnce(&mut Config)) -> (Relay, JoinHandle<io::Result<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut config = Config::between(here(0), here(port));
    set(&mut config);
    let relay = Relay::start(config).await.unwrap();
    let (mut stream, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    // Its handshake has begun to arrive, so it is not cut off in the middle of its start.
    let mut all = vec![0; 1];
    timeout(SOON, stream.read_exact(&mut all))
        .await
        .unwrap()
        .unwrap();
    let reads = tokio::spawn(async move {
        stream.read_to_end(&mut all).await?;
        Ok(all)
    });
    (relay, reads)
}

/// The connection has ended by FIN; an RST would be an error.
async fn ended_by_fin(reducer: JoinHandle<io::Result<Vec<u8>>>, why: &str) {
    let read = timeout(SOON, reducer).await.unwrap().unwrap();
    assert!(read.is_ok_and(|bytes| !bytes.is_empty()), "{why}");
}

#[tokio::test]
async fn a_part_that_fails_by_itself_ends_the_relay_in_order_and_is_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    type Break = (&'static str, fn(&Relay));
    let breaks: [Break; 4] = [
        ("Collect server", |relay| relay.server.abort()),
        ("watches", |relay| relay.watches.abort()),
        ("keeper of the state file", |relay| relay.keeper.abort()),
        ("admin listener", |relay| relay.admin.abort()),
    ];
    for (name, breaks) in breaks {
        let (relay, reducer) = connected(|config| {
            config.migrate.state_file = Some(folder.path().join("state"));
            config.admin_address = AdminAddress::Tcp(here(0)).into();
        })
        .await;
        breaks(&relay);
        let ended = timeout(SOON, relay.run_until(pending())).await.unwrap();
        let why = ended.unwrap_err().to_string();
        assert_eq!(why, format!("the {name} has ended unexpectedly"));
        ended_by_fin(reducer, name).await;
    }
}

#[tokio::test]
async fn sources_that_are_late_do_not_cost_the_reducer_its_fin() {
    let (mut relay, reducer) = connected(|_| ()).await;
    relay.watches = Part::new("watches", spawn(pending()));
    relay.limits.sources = Duration::from_millis(20);
    let ended = timeout(SOON, relay.run_until(ready(()))).await.unwrap();
    let why = ended.unwrap_err().to_string();
    assert_eq!(
        why,
        "the relay did not end cleanly: the watches did not end in time"
    );
    ended_by_fin(reducer, "late").await;
}

#[tokio::test]
async fn a_second_signal_waits_for_nobody_and_still_ends_by_fin() {
    let (mut relay, reducer) = connected(|_| ()).await;
    relay.watches = Part::new("watches", spawn(pending()));
    (relay.limits.sources, relay.limits.all) = (NEVER, NEVER);
    let before = Instant::now();
    let ended = timeout(SOON, relay.run_while(ready(()), ready(())))
        .await
        .unwrap();
    assert!(ended.is_err() && before.elapsed() < SOON);
    ended_by_fin(reducer, "hurried").await;
}

#[tokio::test]
async fn a_stage_that_cannot_be_kept_is_said_at_the_end() {
    let (mut relay, reducer) = connected(|_| ()).await;
    let leave = relay.leave.clone();
    let error = StateFileError::Corrupt {
        path: PathBuf::from("state"),
        why: "the disk is full".to_owned(),
    };
    let keeper = async move {
        leave.cancelled().await;
        Err(error)
    };
    relay.keeper = Part::new("keeper", spawn(keeper));
    let ended = timeout(SOON, relay.run_until(ready(()))).await.unwrap();
    let why = ended.unwrap_err().to_string();
    assert!(
        why.starts_with("the relay did not end cleanly: the stage is not kept: "),
        "{why}"
    );
    ended_by_fin(reducer, "unkept").await;
}

#[tokio::test]
async fn a_relay_in_order_ends_without_an_error() {
    let (relay, reducer) = connected(|_| ()).await;
    timeout(SOON, relay.run_until(ready(())))
        .await
        .unwrap()
        .unwrap();
    ended_by_fin(reducer, "clean").await;
}
