//! Files that a build from before the present names wrote or read: they mean what they meant.
//!
//! That build wrote `state.json`, `intake.rec`, `streams.rec` and, as its mock reducer,
//! `reducer.json`; it read the others, and found `settings.txt` in `settings.yaml`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use k8s_relay::{
    migrate::{Stage, state_file::State},
    proto::Info,
    tee::recording::{Reader, What},
};
use prost::Message as _;
use serde_json::Value;

use crate::{
    harness::{
        case::{self, Compared},
        exceptions::Exceptions,
        peers::{Handover, Kind, Peers},
    },
    surface::effective,
};

#[test]
fn a_state_file_of_an_old_build_is_read_and_its_keys_are_still_written() {
    let text = read("state.json");
    let state = State::parse(text.as_bytes()).unwrap();
    assert_eq!(
        (state.source, state.stage, state.forced),
        (Stage::Shadow, Stage::ShadowNative, true)
    );
    // So an old build can be put back.
    assert_eq!(state.render().unwrap(), text);
    let suspended = text.replace("\"given_up\": false", "\"given_up\": true");
    assert!(State::parse(suspended.as_bytes()).unwrap().auto.suspended);
}

#[test]
fn a_recording_of_streams_of_an_old_build_is_read_whole() {
    let mut reader = Reader::new();
    reader.push(&fs::read(path("streams.rec")).unwrap());
    let (mut ends, mut infos) = (Vec::new(), 0);
    while let Some(record) = reader.next_record().unwrap() {
        assert_eq!(record.stream, 1);
        match record.what {
            What::Message(bytes) => {
                Info::decode(bytes).unwrap();
                infos += 1;
            }
            What::Opened => assert_eq!(infos, 0),
            other => ends.push(other),
        }
    }
    reader.finish().unwrap();
    assert_eq!(infos, 12);
    let is_end = matches!(&*ends, [What::HalfClosed, What::Ended(outcome)] if outcome.code == 1);
    assert!(is_end, "{ends:?}");
}

#[test]
fn a_recording_of_the_connection_of_an_old_build_decodes_to_what_its_reducer_counted() {
    let output = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
        .arg("decode")
        .arg(path("intake.rec"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let decoded = String::from_utf8(output.stdout).unwrap();
    let mut messages: BTreeMap<String, u64> = BTreeMap::new();
    for line in decoded.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(name) = line["msg"].as_str() {
            *messages.entry(name.to_owned()).or_default() += 1;
        }
    }
    let reducer: Value = serde_json::from_str(&read("reducer.json")).unwrap();
    assert_eq!(
        serde_json::to_value(&messages).unwrap(),
        reducer["messages"]
    );
}

#[test]
fn settings_of_an_old_build_have_the_values_that_they_had() {
    let flag = format!("--config-file={}", path("settings.yaml").display());
    let now = effective(&[], &[&flag]);
    let lost: Vec<String> = read("settings.txt")
        .lines()
        .filter(|line| {
            let (name, value) = line.split_once(" = ").unwrap();
            now.get(name).map(String::as_str) != Some(value)
        })
        .map(str::to_owned)
        .collect();
    assert!(lost.is_empty(), "{lost:#?} of {now:#?}");
}

#[test]
fn files_of_the_harness_of_an_old_build_are_read() {
    let old = case::parse(&read("case.toml"), &folder()).unwrap();
    assert_eq!(
        (old.steps.len(), old.compared),
        (5, Compared::ReducerStates)
    );

    let peers = Peers::parse(&read("peers.toml")).unwrap();
    let this = peers.get("this").unwrap();
    assert!(matches!(this.kind, Kind::This { .. }), "{this:?}");
    assert_eq!(this.handover(), Handover::Legacy);
    for name in [
        "recorded",
        "this-reset-watcher",
        "legacy",
        "released",
        "running",
    ] {
        peers.get(name).unwrap();
    }

    let exceptions = Exceptions::parse(&read("exceptions.toml")).unwrap();
    let names: Vec<&str> = exceptions.recorded.iter().map(|one| &*one.case).collect();
    assert_eq!(
        names,
        [
            "container_image_20000_bytes",
            "queue_full_small_pods",
            "queue_full_big_pods"
        ]
    );
    assert_eq!(exceptions.written.len(), 1);
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/old_build")
}

fn path(file: &str) -> PathBuf {
    folder().join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap()
}
