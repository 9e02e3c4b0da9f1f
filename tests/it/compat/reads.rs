//! Case files, peers files and recordings, with and without mistakes; and what is planned.

use std::{fs, sync::Arc, time::Duration};

use k8s_relay::tee::recording::{Record, What, Writer};
use serde_json::{Value, json};

use crate::harness::{
    case::{self, Case, Compared, Control, Heard, Step},
    exceptions,
    peers::{Handover, Kind, Peer, Peers},
    plan, recording,
};

#[test]
fn every_case_file_is_a_case_and_every_recording_is_one() {
    let cases = case::read_all(&case::folder()).unwrap();
    assert!(cases.len() > 10);
    assert!(cases.iter().all(|case| case.recorded.is_none()));
    for name in recording::names().unwrap() {
        assert!(recording::read(&name).unwrap().recorded.is_some());
    }
}

#[test]
fn a_case_file_with_a_mistake_is_named_with_it() {
    for (text, mistake) in [
        ("steps = [\"settle\"]", "missing field `name`"),
        ("name = \"a b\"\nsteps = []", "no steps"),
        (
            "name = \"short\"\nsteps = [\"settle\"]",
            "the name is not a sentence: \"short\"",
        ),
        (
            "name = \"a b\"\nsteps = [\"settle\"]\nspeed = 3",
            "unknown field `speed`",
        ),
        (
            "name = \"a b\"\nsteps = [\"sleep\"]",
            "unknown variant `sleep`",
        ),
        (
            "name = \"a b\"\nsteps = [{ added = { pod = { id = \"p\" } } }]",
            "unknown field `id`",
        ),
        (
            "name = \"a b\"\nsteps = [{ added = { node = { } } }]",
            "unknown field `node`",
        ),
        (
            "name = \"a b\"\nsteps = [{ added = { } }]",
            "about one of pod, replica_set and job",
        ),
        (
            "name = \"a b\"\nsteps = [{ added = { pod = { uid = \"p\" }, job = { uid = \"j\" } } }]",
            "about one of pod, replica_set and job",
        ),
        (
            "name = \"a b\"\nsteps = [{ bytes = \"abc\" }]",
            "no pairs of hex digits: \"abc\"",
        ),
        (
            "name = \"a b\"\nsteps = [{ connection = -1 }]",
            "invalid value: integer `-1`",
        ),
        (
            "name = \"a b\"\ncompared = \"colours\"\nsteps = [\"settle\"]",
            "unknown variant `colours`",
        ),
        ("name = \"a b", "TOML parse error"),
        (
            "name = \"a b\"\nrecording = \"r\"\nsteps = [\"settle\"]",
            "steps next to a recording",
        ),
        ("name = \"a b\"\nrecording = \"nowhere\"", "nowhere"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("wrong.toml"), text).unwrap();
        let error = format!("{:#}", case::read_all(folder.path()).unwrap_err());
        assert!(error.contains("wrong.toml"), "{error}");
        assert!(error.contains(mistake), "{mistake}: {error}");
    }
}

#[test]
fn two_cases_do_not_have_one_name() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["a.toml", "b.toml"] {
        let text = "name = \"the same\"\nsteps = [\"settle\"]";
        fs::write(folder.path().join(file), text).unwrap();
    }
    let error = case::read_all(folder.path()).unwrap_err().to_string();
    assert_eq!(error, "two cases are named \"the same\"");
}

#[test]
fn a_peers_file_with_a_mistake_is_named_with_it() {
    for (text, mistake) in [
        ("[old]\nkind = \"docker\"", "unknown variant `docker`"),
        ("[old]\nprogram = \"x\"", "missing field `kind`"),
        ("[old]\nkind = \"command\"", "missing field `program`"),
        (
            "[old]\nkind = \"command\"\nprogram = \"\"",
            "peer old: program is empty",
        ),
        (
            "[old]\nkind = \"command\"\nprogram = \"x\"\nport = 1",
            "unknown field `port`",
        ),
        (
            "[old]\nkind = \"command\"\nprogram = \"x\"\nquiet = \"soon\"",
            "expected number at 0",
        ),
        (
            "[old]\nkind = \"command\"\nprogram = \"x\"\nstop = \"PLEASE\"",
            "no signal",
        ),
        (
            "[old]\nkind = \"recorded\"\nquiet = \"1s\"",
            "unknown field `quiet`",
        ),
        (
            "[old]\nkind = \"running\"\naddress = \"a:1\"\nreducer = \"b\"",
            "invalid socket address",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wrong.toml");
        fs::write(&file, text).unwrap();
        let error = format!("{:#}", Peers::read(Some(&file)).unwrap_err());
        assert!(error.contains("wrong.toml"), "{error}");
        assert!(error.contains(mistake), "{mistake}: {error}");
    }
    let error = Peers::read(None).unwrap().get("newest").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no peer \"newest\"; there are ")
    );
}

#[test]
fn a_recording_that_was_cut_or_altered_is_named_with_its_mistake() {
    let whole = fs::read_to_string(recording::folder().join("name_300_bytes.json")).unwrap();
    let altered = |path: &str, value: Value| {
        let mut json: Value = serde_json::from_str(&whole).unwrap();
        *json.pointer_mut(path).unwrap() = value;
        json.to_string()
    };
    for (text, mistake) in [
        (whole[..whole.len() / 2].to_owned(), "EOF while parsing"),
        (
            altered("/name", "other".into()),
            "it is named \"other\" inside",
        ),
        (
            altered("/output", Value::Null),
            "neither output nor output_summary",
        ),
        (
            altered("/grpc_outcome/0/final_status", Value::Null),
            "stream A has no end",
        ),
        (
            altered("/input/0", json!({"control": "dance"})),
            "input 0: unknown variant `dance`",
        ),
        (
            altered("/input/0", json!({"raw_hex": "zz"})),
            "no pairs of hex digits",
        ),
        (
            altered("/input/0", json!({"type": "K8S_NODE"})),
            "no such value: K8S_NODE",
        ),
        (
            altered(
                "/input/0/pod_info/name",
                json!({"$repeat": ["n", 1_u64 << 60]}),
            ),
            "$repeat of 1152921504606846976 bytes",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("name_300_bytes.json");
        fs::write(&file, text).unwrap();
        let error = format!("{:#}", recording::read_file(&file).unwrap_err());
        assert!(error.contains("name_300_bytes.json: "), "{error}");
        assert!(error.contains(mistake), "{mistake}: {error}");
    }
}

#[test]
fn an_exception_needs_a_recording_a_reason_a_rule_and_a_difference() {
    let cases: Vec<_> = recording::names().unwrap();
    let cases: Vec<_> = cases.iter().map(|n| recording::read(n).unwrap()).collect();
    let mut exceptions = exceptions::read().unwrap();
    assert_eq!(exceptions::mistakes(&exceptions, &cases), [""; 0]);
    let same = recording::read("name_300_bytes").unwrap().recorded.unwrap();
    exceptions[0].case = "name_300_bytes".into();
    exceptions[0].set_output(&same);
    exceptions[1].case = "no_such_case".into();
    exceptions[2].reason = " \n".into();
    exceptions[3].decision = "because".into();
    exceptions[4].case = exceptions[5].case.clone();
    let twice = exceptions[5].case.clone();
    let mistakes = exceptions::mistakes(&exceptions, &cases);
    assert!(mistakes[0].ends_with("that is what the legacy relay sends"));
    assert_eq!(mistakes[1], "no_such_case: no such recording");
    assert!(mistakes[2].ends_with("no reason"));
    assert!(mistakes[3].ends_with("because?"));
    assert!(mistakes.contains(&format!("{twice}: twice")));
}

#[test]
fn an_exception_of_a_written_case_needs_that_case_a_reason_a_rule_and_a_difference() {
    let cases = case::read_all(&case::folder()).unwrap();
    let read = || exceptions::Exceptions::read().unwrap().written;
    assert_eq!(exceptions::mistakes_of_written(&read(), &cases), [""; 0]);
    type Change = fn(&mut exceptions::Written);
    for (change, mistake) in [
        (
            (|w| w.case = "name_300_bytes".into()) as Change,
            "name_300_bytes: no such written case",
        ),
        (|w| w.reason = " \n".into(), "no reason"),
        (|w| w.decision = "because".into(), "because?"),
        (
            |w| {
                w.legacy.output.clone_from(&w.ours.output);
                w.legacy.streams.clone_from(&w.ours.streams);
            },
            "that is what the legacy relay does",
        ),
    ] {
        let mut written = read();
        change(&mut written[0]);
        let mistakes = exceptions::mistakes_of_written(&written, &cases);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].ends_with(mistake), "{mistakes:?}");
    }
    // Twice is once for each way to hand over, and once for one of them and both.
    for (one, other, is_twice) in [
        (None, None, true),
        (Some(Handover::Legacy), None, true),
        (Some(Handover::Legacy), Some(Handover::Legacy), true),
        (Some(Handover::Legacy), Some(Handover::Seamless), false),
    ] {
        let mut written = read();
        written[1] = read().remove(0);
        (written[0].handover, written[1].handover) = (one, other);
        let mistakes = exceptions::mistakes_of_written(&written, &cases);
        assert_eq!(mistakes.len(), usize::from(is_twice), "{one:?}, {other:?}");
    }
}

#[test]
fn an_exception_names_the_way_to_hand_over_that_it_is_for_or_is_for_both() {
    let mut all = exceptions::read().unwrap();
    all.truncate(2);
    all[0].case = "a".into();
    all[1].case = "a".into();
    all[0].handover = Some(Handover::Legacy);
    all[1].handover = Some(Handover::Seamless);
    let found = |all: &[exceptions::Exception], handover| {
        exceptions::find(all, "a", handover).map(|e| e.handover)
    };
    for handover in [Handover::Legacy, Handover::Seamless] {
        assert_eq!(found(&all, handover), Some(Some(handover)));
    }
    assert_eq!(found(&all[..1], Handover::Seamless), None);
    all[0].handover = None;
    assert_eq!(found(&all[..1], Handover::Seamless), Some(None));
    for (args, handover) in [
        (&[][..], Handover::Seamless),
        (&["--stream-handover=legacy"], Handover::Legacy),
        (
            &["--stream-handover", "legacy", "--trace"],
            Handover::Legacy,
        ),
        (&["--stream-handover=seamless"], Handover::Seamless),
        (
            &["--stream-handover=legacy", "--stream-handover=seamless"],
            Handover::Seamless,
        ),
        (&["--stream-handover-else=legacy"], Handover::Seamless),
    ] {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let peer = Peer::new("this", Kind::This { args });
        assert_eq!(peer.handover(), handover, "{peer:?}");
    }
}

#[test]
fn each_peer_is_compared_with_the_one_before_it_and_a_heavy_case_costs_one_play() {
    let peers = Peers::read(None).unwrap();
    let case = |name| Arc::new(recording::read(name).unwrap());
    let cases = [case("queue_full_big_pods"), case("name_300_bytes")];
    let names = |all| {
        let jobs = plan::jobs(&peers, plan::DEFAULT[0], &cases, all).unwrap();
        let names = |job: &plan::Job| job.peers.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
        jobs.iter().map(names).collect::<Vec<_>>()
    };
    let three = ["recorded", "this", "this#2"].map(str::to_owned).to_vec();
    assert_eq!(names(false), [three[..2].to_vec(), three.clone()]);
    assert_eq!(names(true), [three.clone(), three]);
    let about_the_reducer = plan::jobs(&peers, plan::DEFAULT[2], &cases, false).unwrap();
    assert!(about_the_reducer.is_empty());
    assert!(plan::jobs(&peers, &["this"], &cases, false).is_err());
    assert!(plan::jobs(&peers, &["running", "running"], &cases, false).is_err());
}

#[test]
fn a_case_says_states_or_as_it_once_did_reducer_states() {
    for word in ["states", "pictures"] {
        let text = format!("name = \"a b\"\ncompared = \"{word}\"\nsteps = [\"settle\"]");
        let case = case::parse(&text, &case::folder()).unwrap();
        assert_eq!(case.compared, Compared::ReducerStates, "{word}");
    }
}

#[test]
fn the_lesser_demand_holds() {
    assert!(Compared::ReducerStates < Compared::Sequences);
}

#[test]
fn what_watchers_were_heard_to_say_is_a_case_that_settles_where_they_paused() {
    let ms = Duration::from_millis;
    let message = || Heard::Message("m".into());
    let case = Case::of_streams(
        "two streams".into(),
        [
            (ms(0), 1, Heard::Opened),
            (ms(1), 1, message()),
            (ms(2), 1, message()),
            (ms(102), 1, message()),
            (ms(103), 2, Heard::Opened),
            (ms(104), 2, message()),
            (ms(105), 1, Heard::Cancelled),
            (ms(106), 2, Heard::HalfClosed),
        ],
    );
    let steps = case.steps.iter().map(|step| match step {
        Step::Send { stream, .. } => format!("send on {}", stream.as_deref().unwrap()),
        Step::Control(Control::Settle) => "settle".to_owned(),
        Step::Control(control) => format!("{control:?}"),
    });
    insta::assert_snapshot!(steps.collect::<Vec<_>>().join("\n"), @r#"
    OpenStream { stream: "stream 1" }
    send on stream 1
    send on stream 1
    settle
    send on stream 1
    settle
    OpenStream { stream: "stream 2" }
    send on stream 2
    settle
    CancelStream { stream: "stream 1" }
    settle
    HalfClose { stream: "stream 2" }
    "#);
}

#[test]
fn what_a_tee_has_recorded_is_a_case_up_to_where_it_was_cut() {
    let sent = bytes::Bytes::from_static(b"info");
    let records = [What::Opened, What::Message(sent.clone()), What::HalfClosed];
    let (mut file, mut writer) = (Vec::new(), None);
    for what in records {
        let writer = writer.get_or_insert_with(|| Writer::new(0, &mut file));
        let at = Duration::ZERO;
        let stream = 1;
        writer.push(&Record { at, stream, what }, &mut file);
        writer.flush(&mut file);
    }
    let whole_without_end = file.len();
    writer.unwrap().finish(Duration::ZERO, &mut file);
    let folder = tempfile::tempdir().unwrap();
    let text = "name = \"a watcher, as it was\"\nrecording = \"streams\"";
    fs::write(folder.path().join("case.toml"), text).unwrap();
    let read = |bytes: &[u8]| {
        fs::write(folder.path().join("streams"), bytes).unwrap();
        case::read_all(folder.path()).map(|mut cases| cases.pop().unwrap())
    };

    let case = read(&file).unwrap();
    assert_eq!(
        (&*case.name, &*case.description),
        ("a watcher, as it was", "")
    );
    assert_eq!(case.steps.len(), 3);
    let cut = read(&file[..whole_without_end]).unwrap();
    assert_eq!(cut.steps.len(), 3);
    let description = format!(" (cut at byte {whole_without_end})");
    assert_eq!(cut.description, description);
    let mut altered = file.clone();
    *altered.last_mut().unwrap() ^= 1;
    let error = format!("{:#}", read(&altered).unwrap_err());
    assert!(error.contains("streams"), "{error}");
    let error = format!("{:#}", read(b"").unwrap_err());
    assert!(error.contains("nothing happens in it"), "{error}");
}
