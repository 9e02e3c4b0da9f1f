//! Pods by their addresses.
//!
//! Rules: a pod on its node's network has no address of its own. A finished pod has released
//! its address. Of several live pods that claim one address the last to start has it.

use std::net::IpAddr;

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::{
    enrich::{
        object::{Object, Timestamp},
        view::Found,
    },
    model::{Seed, Uid},
};

#[derive(Debug)]
pub(super) struct Addresses {
    seed: Seed,
    entries: HashTable<Entry>,
}

/// A claim of a pod on an address.
#[derive(Debug)]
struct Entry {
    address: IpAddr,
    pod: Uid,
    /// When the pod was first seen finished.
    finished_at: Option<Timestamp>,
}

/// A claim, with what is known of the time of it.
struct Claim {
    pod: Found,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
}

impl Addresses {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            seed,
            entries: HashTable::new(),
        }
    }

    /// A pod is as it is now. Its claims of before have been [removed](Self::remove).
    pub(super) fn apply(&mut self, pod: &Object, finished_at: Option<Timestamp>) {
        let seed = self.seed;
        for address in addresses(pod) {
            let entry = Entry {
                address,
                pod: pod.uid.clone(),
                finished_at,
            };
            let hash = |entry: &Entry| seed.hash(&entry.address);
            self.entries.insert_unique(hash(&entry), entry, hash);
        }
    }

    /// The claims of a pod are gone. Returns when it was first seen finished.
    pub(super) fn remove(&mut self, pod: &Object) -> Option<Timestamp> {
        let mut finished_at = None;
        for address in addresses(pod) {
            let same = |entry: &Entry| entry.address == address && entry.pod == pod.uid;
            if let Ok(found) = self.entries.find_entry(self.seed.hash(&address), same) {
                let (entry, _) = found.remove();
                finished_at = finished_at.or(entry.finished_at);
            }
        }
        finished_at
    }

    /// Whose address it is, or was `at` that time; several if that is not known.
    pub(super) fn find(
        &self,
        address: IpAddr,
        at: Option<Timestamp>,
        pod: impl Fn(&Uid) -> Option<Found>,
    ) -> SmallVec<[Found; 1]> {
        let entries = self.entries.iter_hash(self.seed.hash(&address));
        let claims = entries.filter(|entry| entry.address == address);
        let claims = claims.filter_map(|entry| {
            let pod = pod(&entry.pod)?;
            Some(Claim {
                started: started(&pod.object),
                ended: entry.finished_at.or(pod.deleted_at),
                pod,
            })
        });
        let claims: SmallVec<[Claim; 2]> = claims.collect();
        match at {
            None => now(claims),
            Some(at) => then(claims, at),
        }
    }
}

/// Whose an address is: the last live pod to start; if none lives, the last deleted one.
fn now(claims: SmallVec<[Claim; 2]>) -> SmallVec<[Found; 1]> {
    let has_it = |claim: &&Claim| claim.ended.is_none();
    if claims.iter().any(|claim| claim.ended.is_none()) {
        let last = claims
            .iter()
            .filter(has_it)
            .map(|claim| claim.started)
            .max();
        return these(claims, |claim| {
            claim.ended.is_none() && Some(claim.started) == last
        });
    }
    // A pod that finished and is still there has released it, and says nothing of who is next.
    let deleted = |claim: &Claim| claim.pod.deleted_at.and(claim.ended);
    let last = claims.iter().filter_map(deleted).max();
    these(claims, |claim| last.is_some() && deleted(claim) == last)
}

/// Whose an address was.
fn then(claims: SmallVec<[Claim; 2]>, at: Timestamp) -> SmallVec<[Found; 1]> {
    // API times are whole seconds: a pod that started within this one may have started before.
    let second = at.millis().div_euclid(1000);
    let had_it = |claim: &Claim| {
        let begun = |started: Timestamp| started.millis().div_euclid(1000) <= second;
        claim.started.is_none_or(begun) && claim.ended.is_none_or(|ended| at <= ended)
    };
    let mut all = claims.iter().filter(|claim| had_it(claim));
    // Among those that never gave it up the last to start has it, as now.
    if all.all(|claim| claim.ended.is_none()) {
        let last = claims
            .iter()
            .filter(|claim| had_it(claim))
            .map(|claim| claim.started)
            .max();
        return these(claims, |claim| had_it(claim) && Some(claim.started) == last);
    }
    these(claims, had_it)
}

fn these(claims: SmallVec<[Claim; 2]>, are: impl Fn(&Claim) -> bool) -> SmallVec<[Found; 1]> {
    let mut found: SmallVec<[Found; 1]> = claims
        .into_iter()
        .filter(are)
        .map(|claim| claim.pod)
        .collect();
    found.sort_by(|one, other| one.object.uid.cmp(&other.object.uid));
    found
}

/// When a pod came to have its address, as far as is known.
fn started(pod: &Object) -> Option<Timestamp> {
    pod.pod()
        .and_then(|details| details.started)
        .or(pod.created)
}

/// The addresses that are a pod's own.
fn addresses(pod: &Object) -> SmallVec<[IpAddr; 2]> {
    let own = pod.pod().filter(|details| !details.host_network);
    let texts = own.into_iter().flat_map(|details| details.addresses());
    let mut addresses: SmallVec<[IpAddr; 2]> = SmallVec::new();
    for address in texts.filter_map(|text| text.parse().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}
