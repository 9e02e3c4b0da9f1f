//! What holds of a matcher and of a reducer state, given the expected state.

use std::collections::{BTreeMap, BTreeSet};

use k8s_relay::{
    announce::{Ledger, fields_hash},
    matcher::Matcher,
    model::{Seed, Uid},
};

use super::{
    core::{Recorder, ReducerState},
    expected_state::{ExpectedState, Form},
};

/// Every form in which each pod was live since the reducer's state was empty: an announced pod has
/// one of them, as later changes may never be sent (D14).
#[derive(Default)]
pub struct Forms {
    seen: BTreeMap<Uid, BTreeSet<u64>>,
    live: BTreeMap<Uid, Form>,
    resyncs: u64,
    connected: bool,
}

impl Forms {
    pub fn hold(&mut self, reducer: &mut Recorder, ledger: &Ledger, live: &BTreeMap<Uid, Form>) {
        assert_eq!(reducer.complaint(ledger), None);
        let live_before = std::mem::replace(&mut self.live, live.clone());
        if self.resyncs != reducer.resyncs || self.connected != reducer.connected {
            (self.resyncs, self.connected) = (reducer.resyncs, reducer.connected);
            // The last known forms stay: what changed may have been sent before it did.
            self.seen.clear();
            self.see(&live_before);
        }
        self.see(live);
        for (uid, sent) in &reducer.reducer_state.pods {
            assert!(
                self.seen[uid].contains(&sent.fields()),
                "{sent:?} was never true"
            );
        }
    }

    fn see(&mut self, live: &BTreeMap<Uid, Form>) {
        for (uid, form) in live {
            let forms = self.seen.entry(uid.clone()).or_default();
            forms.insert(form.fields);
        }
    }
}

pub fn same_live_set(matcher: &Matcher, live: &BTreeMap<Uid, Form>) {
    let known = matcher
        .all_live()
        .map(|live| (live.pod.uid.clone(), fields_hash(&live, Seed::FIXED)));
    let known: BTreeMap<_, _> = known.collect();
    let wanted: BTreeMap<_, _> = live
        .iter()
        .map(|(uid, form)| (uid.clone(), form.fields))
        .collect();
    assert_eq!(known, wanted);
    assert_eq!(matcher.counts().live, live.len());
}

pub fn same_reducer_state(reducer_state: &ReducerState, live: &BTreeMap<Uid, Form>) {
    let sent = reducer_state.pods.iter().map(|(uid, sent)| {
        let containers = sent.containers.clone();
        (
            uid.clone(),
            Form {
                fields: sent.fields(),
                containers,
            },
        )
    });
    assert_eq!(&sent.collect::<BTreeMap<_, _>>(), live);
}

/// Fields may be older, and containers that are gone may have stayed (D14).
pub fn same_pods_with_their_containers(
    reducer_state: &ReducerState,
    expected_state: &ExpectedState,
) {
    assert_eq!(reducer_state.uids(), expected_state.live_uids());
    for (uid, form) in expected_state.live() {
        let sent = &reducer_state.pods[&uid];
        assert!(
            form.containers
                .keys()
                .all(|id| sent.containers.contains_key(id)),
            "{sent:?} lacks of {form:?}"
        );
    }
}
