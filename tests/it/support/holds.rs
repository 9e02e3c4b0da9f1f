//! What holds of a matcher and of a reducer state, given the expected state.

use std::collections::{BTreeMap, BTreeSet};

use k8s_relay::{
    announce::{Ledger, fields_hash},
    matcher::Matcher,
    model::{Seed, Uid},
};

use super::{
    core::{Recorder, ReducerState},
    truth::{Form, Truth},
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
        for (uid, told) in &reducer.picture.pods {
            assert!(
                self.seen[uid].contains(&told.fields()),
                "{told:?} was never true"
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

pub fn same_picture(picture: &ReducerState, live: &BTreeMap<Uid, Form>) {
    let told = picture.pods.iter().map(|(uid, told)| {
        let containers = told.containers.clone();
        (
            uid.clone(),
            Form {
                fields: told.fields(),
                containers,
            },
        )
    });
    assert_eq!(&told.collect::<BTreeMap<_, _>>(), live);
}

/// Fields may be older, and containers that are gone may have stayed (D14).
pub fn same_pods_with_their_containers(picture: &ReducerState, truth: &Truth) {
    assert_eq!(picture.uids(), truth.live_uids());
    for (uid, form) in truth.live() {
        let told = &picture.pods[&uid];
        assert!(
            form.containers
                .keys()
                .all(|id| told.containers.contains_key(id)),
            "{told:?} lacks of {form:?}"
        );
    }
}
