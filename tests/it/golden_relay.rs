//! Every recording of the legacy relay, played against the program itself: a gRPC client
//! plays the watcher, a mock reducer takes what comes. See `compat/README.md`.

mod collector;
pub mod exceptions;
mod native;
mod outcome;
mod player;
mod recording;

use std::{collections::BTreeSet, fs};

use self::{
    exceptions::Exception,
    outcome::{Outcome, Output},
    player::Reconnect,
    recording::Recording,
};

/// One test for each recording.
macro_rules! recordings {
    ($reconnect:expr; $($name:ident,)*) => {
        /// All that are played here.
        const ALL: &[&str] = &[$(stringify!($name)),*];

        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::check(stringify!($name), $reconnect).await;
            }
        )*
    };
}

/// Plays a recording and compares.
async fn check(name: &str, reconnect: Reconnect) {
    let recording = Recording::read(name);
    let exceptions = exceptions::read();
    let exception = exceptions
        .iter()
        .find(|e| e.case == name && reconnect == Reconnect::Replay);
    let expected = expected(&recording, exception);
    let (mut got, log) = player::play(&recording, reconnect, &expected.streams).await;
    if recording.has_fast_client() && exception.is_none() {
        got.output = got.output.only_counts();
    }
    if let Some(difference) = got.difference(&expected) {
        let against = match exception {
            Some(e) => format!("the exception for {} ({})", e.decision, e.reason.trim()),
            None => "the recording".to_owned(),
        };
        panic!(
            "{name}: {}\nnot as in {against} (- expected, + got)\n{difference}\nlog:\n{log}",
            recording.description
        );
    }
}

fn expected(recording: &Recording, exception: Option<&Exception>) -> Outcome {
    let recorded = recorded(recording);
    exception.map_or(recorded.clone(), |e| e.outcome(&recorded))
}

fn recorded(recording: &Recording) -> Outcome {
    let mut outcome = recording.outcome.clone();
    if recording.has_fast_client() {
        outcome.output = outcome.output.only_counts();
    }
    outcome
}

mod by_default {
    use super::Reconnect;

    recordings! {
        Reconnect::Replay;
        added_twice,
        bare_job_owner_first,
        bare_job_pod_first,
        bare_rs_owner_first,
        bare_rs_pod_first,
        concurrent_streams,
        concurrent_streams_b_closes,
        concurrent_streams_b_silent,
        container_image_20000_bytes,
        container_with_empty_fields,
        containers_400,
        delete_live,
        delete_no_ip,
        delete_then_readd_live,
        delete_twice,
        delete_unknown,
        delete_waiting,
        deprecated_containers_ids,
        empty_info,
        empty_ip_then_ip,
        empty_ip_then_ip_with_rs,
        event_error,
        fast_list_16000_pods,
        fast_list_pods_before_rs,
        garbage_bytes,
        handshake_label_limits,
        handshake_no_labels,
        handshake_two_labels,
        info_without_uid,
        invalid_ip,
        invalid_utf8_name,
        ipv6_ip,
        job_cronjob_owner_first,
        job_info_carrying_pod_info,
        modified_first,
        name_10000_bytes,
        name_300_bytes,
        name_40000_bytes,
        name_65536_bytes,
        name_70000_bytes,
        owner_becomes_known_then_update,
        owner_changes_while_waiting,
        owner_changes_while_waiting_back,
        owner_deleted_before_pod,
        owner_deleted_event_first,
        owner_kinds_direct,
        owner_present_but_empty,
        owner_purged_after_10000_deletes,
        owner_readded_after_delete,
        owner_rs_with_empty_uid,
        pod_info_carrying_rs_info,
        pod_no_owner,
        pod_no_owner_host_network,
        queue_full_big_pods,
        queue_full_small_pods,
        reducer_disconnect_idle_stream,
        reducer_disconnect_live_stream,
        reducer_disconnect_no_stream,
        reducer_disconnect_rs_only_stream,
        reducer_down_two_streams,
        reducer_down_while_sending,
        reducer_reset_live_stream,
        reducer_unreachable_at_first,
        reducer_unreachable_at_first_idle,
        rs_deleted_carrying_pod_info,
        rs_deployment_owner_first,
        rs_deployment_pod_first,
        rs_info_carrying_pod_info,
        rs_owned_by_other_kind,
        rs_owner_changes_after_live,
        rs_owner_lost_later,
        sequential_streams,
        sequential_streams_a_only_rs,
        sequential_streams_a_silent,
        sequential_streams_b_silent,
        sequential_streams_quick,
        stream_cancelled_no_new,
        stream_half_closed_no_new,
        stream_opened_no_messages,
        uid_70000_bytes,
        unicode,
        unknown_enum_values,
        unknown_owner_deleted_while_pod_waits,
        update_before_live_changes_containers,
        update_before_live_clears_fields,
        update_live_containers_only,
        update_live_ip_change,
        update_live_ip_removed,
        update_live_name_version_change,
        update_live_no_containers,
        update_live_owner_change,
        updates_before_live_no_ip,
        updates_while_waiting_for_rs,
        waiting_guard_rail_10000,
        waiting_guard_rail_9999,
        waiting_guard_rail_counts_pods_once,
        waiting_guard_rail_same_rs,
        waiting_pod_state_is_per_stream,
        wrong_job_owned_by_deployment_owner_first,
        wrong_job_owned_by_deployment_pod_first,
        wrong_rs_owned_by_cronjob_owner_first,
        wrong_rs_owned_by_cronjob_pod_first,
    }

    #[test]
    fn every_recording_is_played() {
        super::assert_same_names(ALL.iter().copied(), super::files());
    }
}

/// With `--reconnect reset-watcher` nothing about the reducer's connection differs.
mod with_reset_watcher {
    use super::Reconnect;

    recordings! {
        Reconnect::ResetWatcher;
        reducer_disconnect_idle_stream,
        reducer_disconnect_live_stream,
        reducer_disconnect_no_stream,
        reducer_disconnect_rs_only_stream,
        reducer_down_two_streams,
        reducer_down_while_sending,
        reducer_reset_live_stream,
        reducer_unreachable_at_first,
        reducer_unreachable_at_first_idle,
    }

    #[test]
    fn every_recording_about_the_reducer_is_played() {
        let about_it = super::files()
            .into_iter()
            .filter(|n| n.starts_with("reducer_"));
        super::assert_same_names(ALL.iter().copied(), about_it);
    }
}

#[test]
fn every_exception_has_a_recording_a_reason_and_a_real_difference() {
    let files: BTreeSet<String> = files().into_iter().collect();
    let mut seen = BTreeSet::new();
    for exception in exceptions::read() {
        let case = &exception.case;
        assert!(files.contains(case), "{case}: no such recording");
        assert!(seen.insert(case.clone()), "{case}: twice");
        assert!(!exception.reason.trim().is_empty(), "{case}: no reason");
        assert_decisions_exist(case, &exception.decision);
        let recorded = recorded(&Recording::read(case));
        let ours = Outcome {
            output: match exception.outcome(&recorded) {
                Outcome { output, .. } if matches!(recorded.output, Output::Summary { .. }) => {
                    output.only_counts()
                }
                Outcome { output, .. } => output,
            },
            ..exception.outcome(&recorded)
        };
        assert_ne!(
            ours.output, recorded.output,
            "{case}: that is what the legacy relay tells"
        );
    }
}

fn assert_decisions_exist(case: &str, decisions: &str) {
    for decision in decisions.split('/') {
        let number = decision.strip_prefix('D').map(str::parse::<u8>);
        assert!(matches!(number, Some(Ok(1..))), "{case}: {decision}?");
    }
}

fn files() -> Vec<String> {
    let name = |path: std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    fs::read_dir(recording::folder())
        .unwrap()
        .map(|entry| name(entry.unwrap().path()))
        .collect()
}

fn assert_same_names<'a>(
    played: impl Iterator<Item = &'a str>,
    files: impl IntoIterator<Item = String>,
) {
    let played: BTreeSet<String> = played.map(str::to_owned).collect();
    let files: BTreeSet<String> = files.into_iter().collect();
    assert_eq!(played, files);
}
