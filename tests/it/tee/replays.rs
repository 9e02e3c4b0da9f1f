//! `replay`.

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use k8s_relay::{
    sim::{cluster::Cluster, reducer::MockReducer},
    tee::recording::{Outcome, Record, What, Writer},
    tools::{
        ToolError,
        replay::{PATIENCE, Progress, ReplayArgs, Speed, play},
    },
};
use prost::Message as _;

use super::world::{Behind, Tee, World, host_port, mock_reducer, new_file, send, to};
use crate::support::must;

/// Plays a file; gives the numbers and the result.
async fn replay(file: &Path, relay: &Behind, speed: Speed) -> (String, Result<(), ToolError>) {
    let args = ReplayArgs {
        file: file.to_owned(),
        to: host_port(relay.address),
        speed,
    };
    let mut out = Vec::new();
    let played = must(
        "it is played",
        play(&args, &mut out, Progress::Off, PATIENCE),
    )
    .await;
    (String::from_utf8(out).unwrap(), played)
}

async fn relay() -> (MockReducer, Behind) {
    let reducer = mock_reducer().await;
    let relay = Behind::start(reducer.addr(), |_| ()).await;
    (reducer, relay)
}

async fn knows(reducer: &MockReducer, pods: usize) {
    let known = reducer.wait_until(|s| s.reducer_state().is_some_and(|p| p.pods() == pods));
    must("the reducer knows the pods", known).await;
}

fn record(millis: u64, stream: u64, what: What) -> Record {
    Record {
        at: Duration::from_millis(millis),
        stream,
        what,
    }
}

fn message(info: k8s_relay::proto::Info) -> What {
    What::Message(info.encode_to_vec().into())
}

fn write(file: &Path, records: &[Record]) {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(0, &mut bytes);
    for record in records {
        writer.push(record, &mut bytes);
        writer.flush(&mut bytes);
    }
    writer.finish(Duration::from_secs(1), &mut bytes);
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn what_was_recorded_before_two_relays_leads_a_third_to_the_same_reducer_state() {
    let (_dir, file) = new_file();
    let world = World::with(|tee| tee.record = Some(file.clone()), |_| ()).await;
    world.compared().await;
    let mut call = world.tee.call().await;
    send(&mut call, Cluster::new(5, 50).list()).await;
    call.half_close();
    must("it ends", call.ended()).await;
    let mut call = world.tee.call().await;
    send(&mut call, Cluster::new(5, 40).list()).await;
    world.tee.equal(40).await;
    world.sent(40).await;
    world.tee.stop().await.0.unwrap();

    let (reducer, third) = relay().await;
    let (numbers, played) = replay(&file, &third, Speed::Max).await;
    played.unwrap();
    assert!(
        numbers.starts_with("played 2 streams, 100 messages, "),
        "{numbers}"
    );
    assert!(numbers.ends_with("ends: Cancelled 2\n"), "{numbers}");
    knows(&reducer, 40).await;
    let digest =
        |reducer: &MockReducer| reducer.with(|s| s.reducer_state().unwrap().digests().total());
    assert_eq!(digest(&reducer), digest(&world.reducer));
}

#[tokio::test]
async fn at_a_pace_nothing_is_sent_before_its_time() {
    let (_dir, file) = new_file();
    let cluster = Cluster::new(1, 1);
    let ended = Outcome {
        code: 1,
        ..Outcome::default()
    };
    write(
        &file,
        &[
            record(0, 1, What::Opened),
            record(10, 1, message(cluster.replica_set(0))),
            record(400, 1, message(cluster.pod(0))),
            record(500, 1, What::HalfClosed),
            record(600, 1, What::Ended(ended)),
        ],
    );
    let (reducer, relay) = relay().await;
    let start = std::time::Instant::now();
    replay(&file, &relay, Speed::Times(2.0)).await.1.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
    knows(&reducer, 1).await;
}

#[test]
fn a_speed_is_a_number_or_max_and_divides_the_time() {
    let second = Duration::from_secs(1);
    for (text, due) in [
        ("1", second),
        ("0.5", 2 * second),
        ("10", second / 10),
        ("max", Duration::ZERO),
    ] {
        assert_eq!(text.parse::<Speed>().unwrap().due(second), due, "{text}");
    }
    for wrong in ["", "fast", "0", "-1", "nan", "inf", "1e9"] {
        wrong.parse::<Speed>().unwrap_err();
    }
    assert_eq!(Speed::Times(0.001).due(Duration::MAX), Duration::MAX);
}

#[tokio::test]
async fn a_cut_recording_is_played_up_to_the_cut_and_an_altered_one_up_to_there() {
    let (_dir, file) = new_file();
    let cluster = Cluster::new(1, 1);
    write(
        &file,
        &[
            record(0, 1, What::Opened),
            record(0, 1, message(cluster.replica_set(0))),
            record(0, 1, message(cluster.pod(0))),
            record(0, 1, What::HalfClosed),
        ],
    );
    let whole = fs::read(&file).unwrap();
    let mut altered = whole.clone();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    for (bytes, words) in [
        (&whole[..whole.len() - 3], "the recording is cut here"),
        (&altered[..], "the recording was altered here"),
    ] {
        let (reducer, relay) = relay().await;
        fs::write(&file, bytes).unwrap();
        let (numbers, played) = replay(&file, &relay, Speed::Max).await;
        assert!(
            numbers.starts_with("played 1 streams, 2 messages"),
            "{numbers}"
        );
        let error = played.unwrap_err().to_string();
        let place = format!("{}: at byte ", file.display());
        assert!(
            error.starts_with(&place) && error.ends_with(words),
            "{error}"
        );
        knows(&reducer, 1).await;
    }
}

#[tokio::test]
async fn a_relay_that_ends_a_stream_before_its_time_has_not_taken_everything() {
    let (_dir, file) = new_file();
    let rubbish = What::Message(Bytes::from_static(&[0xff; 9]));
    let later = (1..2_000).map(|n| record(n, 1, message(Cluster::new(1, 1).pod(0))));
    let start = [record(0, 1, What::Opened), record(0, 1, rubbish)];
    let records: Vec<_> = start.into_iter().chain(later).collect();
    write(&file, &records);
    let (_reducer, relay) = relay().await;
    let (_, played) = replay(&file, &relay, Speed::Times(2.0)).await;
    let error = played.unwrap_err().to_string();
    assert!(
        error.starts_with("1 streams were ended by the relay before their time"),
        "{error}"
    );
}

#[tokio::test]
async fn a_relay_that_is_not_there_is_named() {
    let (_dir, file) = new_file();
    write(&file, &[record(0, 1, What::Opened)]);
    let (_reducer, relay) = relay().await;
    let address = relay.address;
    relay.stop().await;
    let args = ReplayArgs {
        file,
        to: host_port(address),
        speed: Speed::Max,
    };
    let played = play(&args, std::io::sink(), Progress::Off, PATIENCE).await;
    let error = played.unwrap_err().to_string();
    assert_eq!(error, format!("cannot connect to the relay at {address}"));
}

#[tokio::test]
async fn a_replay_may_go_through_a_tee_and_is_recorded_the_same() {
    let (_dir, file) = new_file();
    let (_dir2, again) = new_file();
    let cluster = Cluster::new(1, 5);
    let mut records = vec![record(0, 1, What::Opened)];
    records.extend(cluster.list().map(|info| record(1, 1, message(info))));
    records.push(record(2, 1, What::HalfClosed));
    records.push(record(
        3,
        1,
        What::Ended(Outcome {
            code: 1,
            ..Outcome::default()
        }),
    ));
    write(&file, &records);
    let (_reducer, relay) = relay().await;
    let mut args = to(&[relay.address]);
    args.record = Some(again.clone());
    let tee = Tee::start(args).await;
    let through = ReplayArgs {
        file: file.clone(),
        to: host_port(tee.bound.watchers.unwrap()),
        speed: Speed::Max,
    };
    let played = play(&through, std::io::sink(), Progress::Off, PATIENCE);
    must("it is played", played).await.unwrap();
    tee.stop().await.0.unwrap();
    let whats = |records: &[Record]| -> Vec<_> {
        records
            .iter()
            .map(|record| (record.stream, record.what.clone()))
            .collect()
    };
    assert_eq!(super::recordings::read(&again), whats(&records));
}
