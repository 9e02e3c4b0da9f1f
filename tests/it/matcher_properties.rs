//! What holds after every history: properties of the matcher, the ledger and the feeds.

use std::collections::BTreeMap;

use k8s_relay::{
    announce::{CatchUp, Watermarks},
    feeds::{OnReconnect, Settings},
    matcher::{Generation, Matcher, OwnerSort, Policy, Reannounce},
    model::{PodMeta, Uid},
};
use proptest::prelude::*;

use crate::support::{
    core::{Core, MESSAGE, Recorder, deployment, object, pod, replica_set, secs},
    expected_state::{ExpectedState, Form},
    history::{self, Happening, Object, any_marks, any_pod, any_reannounce, any_settings},
    holds::{Forms, same_live_set, same_pods_with_their_containers, same_reducer_state},
    native::Native,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_streams_do_the_reducer_knows_what_the_ledger_says_and_ends_with_the_live_set(
        settings in any_settings(Reannounce::Never),
        happenings in history::of_streams(),
    ) {
        Streams::new(settings).live_through(happenings);
    }

    #[test]
    fn whatever_streams_do_the_reducer_knows_under_on_change_the_live_set_whenever_nothing_is_left_to_send(
        settings in any_settings(Reannounce::OnChange),
        happenings in history::of_streams(),
    ) {
        Streams::new(settings).live_through(happenings);
    }

    #[test]
    fn objects_sent_once_in_any_order_end_in_the_same_reducer_state(
        (one, other) in history::objects().prop_flat_map(|objects| {
            (Just(objects.clone()).prop_shuffle(), Just(objects).prop_shuffle())
        }),
        drains in any::<u64>(),
        settings in any_reannounce().prop_flat_map(any_settings),
    ) {
        let marks = Watermarks::default();
        let ample = sent_in_order(one, Settings { marks, ..settings }, u64::MAX);
        let tight = sent_in_order(other, settings, drains);
        prop_assert_eq!(ample, tight);
    }

    #[test]
    fn a_replay_with_a_buffer_of_any_size_and_events_in_between_ends_and_is_right(
        marks in any_marks(),
        reannounce in any_reannounce(),
        pods in 1..40_usize,
        meanwhile in proptest::collection::vec((any_pod(), any::<bool>(), 0..6 * MESSAGE), 0..25),
    ) {
        let settings = Settings { marks, reannounce, ..Settings::default() };
        let mut core = Core::with(Recorder::wired(), settings);
        let feed = core.open();
        let mut expected_state = ExpectedState::new(&Policy { reannounce, ..Policy::LEGACY });
        // The first pods, in the first slots, are those that events change.
        for name in (0..pods).map(|n| format!("p{n}")) {
            let pod = PodMeta::from(pod(&name).running(&["c0", "c1", "c2"]));
            expected_state.apply_pod(pod.clone(), core.now);
            core.pod(feed, pod);
        }
        core.connect();
        for (pod, gone, drained) in meanwhile {
            if gone {
                expected_state.delete_pod(&pod.uid);
                core.pod_gone(feed, &pod.uid.to_string());
            } else {
                expected_state.apply_pod(pod.clone(), core.now);
                core.pod(feed, pod);
            }
            core.reducer.drain(drained);
            core.resume();
            core.sent();
        }
        core.rest();
        core.sent();
        same_pods_with_their_containers(&core.reducer.reducer_state, &expected_state);
        if reannounce == Reannounce::OnChange {
            same_reducer_state(&core.reducer.reducer_state, &expected_state.live());
        }
    }
}

#[test]
fn once_everything_is_deleted_nothing_is_kept() {
    for native in [Native::new, Native::reannouncing] {
        let mut native = native(Watermarks::default());
        for round in 0..3 {
            fill_and_empty(&mut native, round);
            assert_eq!(native.feeds.ledger().capacity(), 0);
            assert_eq!(native.counts().pods, 0);
            assert!(
                native.counts().owners > 0,
                "deleted owners resolve for a minute"
            );
            native.pass(secs(60));
            assert_eq!(native.counts().owners, 0);
            assert_eq!(native.matcher().capacity(), 0);
        }
    }
}

#[test]
fn a_legacy_feed_keeps_of_what_is_deleted_nothing_but_10000_owners() {
    let mut matcher = Matcher::new(Policy::LEGACY);
    let now = crate::support::core::origin();
    for n in 0..40_000 {
        let owner = object(&format!("rs{n}"), Some(deployment("d")));
        matcher.apply_owner(&owner, &mut |_| {});
        let pod = pod(&format!("p{n}")).owned_by(replica_set(&format!("rs{n}")));
        matcher.apply_pod(pod.into(), now, &mut |_| {});
    }
    for n in 0..40_000 {
        matcher.delete_pod(&Uid::new(&format!("p{n}")), &mut |_| {});
        matcher.delete_owner(&Uid::new(&format!("rs{n}")), now);
    }
    assert_eq!(
        (matcher.counts().pods, matcher.counts().owners),
        (0, 10_000)
    );
    assert!(matcher.capacity() < 41_000, "{}", matcher.capacity());
}

/// Live pods, waiting pods and pods without address come and go, owners too.
fn fill_and_empty(native: &mut Native, round: usize) {
    let names: Vec<_> = (0..2000).map(|n| format!("{round}-{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        let owner = format!("rs{name}");
        let draft = pod(name)
            .owned_by(replica_set(&owner))
            .running(&["c1", "c2"]);
        match n % 3 {
            0 => native.pod(draft.without_address()),
            1 => native.pod(draft),
            _ => {
                native.replica_set(&owner, None);
                native.pod(draft);
            }
        }
    }
    assert!(native.feeds.ledger().capacity() > 0);
    for name in &names {
        native.owner_gone(OwnerSort::ReplicaSet, &format!("rs{name}"));
        native.pod_gone(name);
    }
    native.sent();
}

// --- streams ---

/// The core next to the expected state of each stream.
struct Streams {
    core: Core,
    settings: Settings,
    truths: BTreeMap<Generation, (ExpectedState, Open)>,
    forms: Forms,
}

#[derive(PartialEq)]
enum Open {
    Yes,
    No,
}

impl Streams {
    fn new(settings: Settings) -> Self {
        Self {
            core: Core::with(Recorder::wired(), settings),
            settings,
            truths: BTreeMap::new(),
            forms: Forms::default(),
        }
    }

    fn live_through(mut self, happenings: Vec<Happening>) {
        for happening in happenings {
            self.happens(happening);
        }
        self.end_well();
    }

    fn happens(&mut self, happening: Happening) {
        let now = self.core.now;
        match happening {
            Happening::Open => {
                let policy = Policy {
                    escalate: self.settings.escalate,
                    reannounce: self.settings.reannounce,
                    ..Policy::LEGACY
                };
                let feed = self.core.open();
                self.truths
                    .insert(feed, (ExpectedState::new(&policy), Open::Yes));
            }
            Happening::Close(at) => {
                if let Some((feed, _)) = self.open_stream(at) {
                    self.core.close(feed);
                    self.truths.get_mut(&feed).unwrap().1 = Open::No;
                }
            }
            Happening::Listed(at) => {
                if let Some((feed, _)) = self.open_stream(at) {
                    self.core.listed(feed);
                }
            }
            Happening::Pod(at, pod) => {
                if let Some((feed, expected_state)) = self.open_stream(at) {
                    expected_state.apply_pod(pod.clone(), now);
                    self.core.pod(feed, pod);
                }
            }
            Happening::PodGone(at, uid) => {
                if let Some((feed, expected_state)) = self.open_stream(at) {
                    expected_state.delete_pod(&Uid::new(uid));
                    self.core.pod_gone(feed, uid);
                }
            }
            Happening::Owner(at, sort, owner) => {
                if let Some((feed, expected_state)) = self.open_stream(at) {
                    expected_state.apply_owner(&owner, now);
                    self.core.owner(feed, sort, owner);
                }
            }
            Happening::OwnerGone(at, sort, uid) => {
                if let Some((feed, expected_state)) = self.open_stream(at) {
                    expected_state.delete_owner(&Uid::new(uid), now);
                    self.core.owner_gone(feed, sort, uid);
                }
            }
            Happening::Cut(_) | Happening::List(_) | Happening::Step(_) => {}
            Happening::Connect if !self.core.reducer.connected => self.connect(),
            Happening::Disconnect if self.core.reducer.connected => self.core.disconnect(),
            Happening::Connect | Happening::Disconnect => {}
            Happening::Drain(bytes) => self.core.reducer.drain(bytes),
            Happening::Resume => {
                self.core.resume();
            }
            Happening::Pass(span) => self.core.pass(span),
        }
        self.holds();
    }

    /// It may end all streams: see [`OnReconnect::ResetWatcher`].
    fn connect(&mut self) {
        if self.core.connect() {
            assert_eq!(self.settings.on_reconnect, OnReconnect::ResetWatcher);
            for (_, open) in self.truths.values_mut() {
                *open = Open::No;
            }
        }
    }

    /// One of the streams opened so far, if it is still open.
    fn open_stream(&mut self, at: usize) -> Option<(Generation, &mut ExpectedState)> {
        let newest = self.truths.len().checked_sub(1)?;
        let (feed, (expected_state, open)) = self.truths.iter_mut().rev().nth(at.min(newest))?;
        (*open == Open::Yes).then_some((*feed, expected_state))
    }

    fn expected_state(&self) -> Option<&ExpectedState> {
        let active = self.core.feeds.active_generation()?;
        Some(&self.truths[&active].0)
    }

    fn holds(&mut self) {
        let live = self
            .expected_state()
            .map(ExpectedState::live)
            .unwrap_or_default();
        let feeds = &self.core.feeds;
        if let Some(matcher) = feeds.active() {
            same_live_set(matcher, &live);
        }
        self.forms
            .hold(&mut self.core.reducer, feeds.ledger(), &live);
        let reducer_state = &self.core.reducer.reducer_state;
        match self.settings.reannounce {
            Reannounce::Never => {
                let again = self.core.reducer.announced_again;
                assert_eq!(again, 0, "once per pod and epoch");
                if feeds.is_settled() {
                    assert_eq!(reducer_state.uids(), live.keys().cloned().collect());
                }
            }
            Reannounce::OnChange if feeds.is_settled() => same_reducer_state(reducer_state, &live),
            Reannounce::OnChange => {}
        }
    }

    fn end_well(mut self) {
        // At quiet, after the windows, the difference is sent.
        self.happens(Happening::Connect);
        for _ in 0..3 {
            self.core.rest();
            self.happens(Happening::Pass(secs(61)));
        }
        self.core.rest();
        self.holds();
        assert!(self.core.feeds.is_settled());
        // Right after a reconnect the reducer's state is the live set, to the letter.
        self.core.disconnect();
        self.connect();
        self.core.rest();
        self.holds();
        let live = self
            .expected_state()
            .map(ExpectedState::live)
            .unwrap_or_default();
        same_reducer_state(&self.core.reducer.reducer_state, &live);
        self.core.sent();
        // Once everything is deleted nothing is left.
        let active = self.core.feeds.active_generation();
        let is_open = |feed: &Generation| self.truths[feed].1 == Open::Yes;
        if let Some(feed) = active.filter(is_open) {
            for uid in self.truths[&feed].0.pods.keys() {
                self.core.pod_gone(feed, &uid.to_string());
            }
            self.core.rest();
            assert_eq!(self.core.sent().matches("pod_new").count(), 0);
            assert!(self.core.feeds.ledger().is_empty());
            assert_eq!(self.core.feeds.counts().pods, 0);
            assert_eq!(self.core.feeds.counts().waiting, 0);
        }
    }
}

// --- permutations ---

/// The reducer's state once all objects are sent. Bit n of `drains`: the network takes everything
/// after the n-th object.
fn sent_in_order(objects: Vec<Object>, settings: Settings, drains: u64) -> Vec<(Uid, Form)> {
    let mut core = Core::with(Recorder::wired(), settings);
    core.connect();
    let feed = core.open();
    for (n, object) in objects.into_iter().enumerate() {
        match object {
            Object::Pod(pod) => core.pod(feed, pod),
            Object::Owner(sort, owner) => core.owner(feed, sort, owner),
        }
        if drains >> (n % 64) & 1 == 1 {
            core.reducer.drain(usize::MAX);
            assert!(matches!(core.resume(), CatchUp::Done | CatchUp::Full));
        }
    }
    core.rest();
    core.sent();
    let pictured = core.reducer.reducer_state.pods.into_iter();
    let forms = pictured.map(|(uid, sent)| {
        let (fields, containers) = (sent.fields(), sent.containers);
        (uid, Form { fields, containers })
    });
    forms.collect()
}
