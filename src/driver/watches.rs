//! What the driver knows of the native watches: how they fare, since when and why, and how much
//! they have sent.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    admin::api::Watch,
    matcher::Generation,
    model::{Kind, KindTable, Scope},
    source::{FeedEvent, WatchFailure, WatchHealth, WatchState},
};

/// Rows of watches, at most; those that are not healthy first.
const ROWS: usize = 96;

/// How many watches there are, and of those how many are not as they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// How many there are.
    pub(super) watches: usize,
    /// Fail, are refused, or have not heard from the server yet.
    pub(super) unhealthy: usize,
    /// What they have reported grows old: they fail, or are refused what they were allowed before.
    pub(super) failing: usize,
    /// Of those, how many are refused.
    pub(super) revoked: usize,
}

/// The native watches.
pub(super) struct Watched {
    pub(super) feed: Generation,
    kinds: KindTable,
    /// How many there are.
    watches: usize,
    /// Of those that have said something.
    states: BTreeMap<(Kind, Scope), WatchState>,
    /// Events taken so far, list marks included.
    events: BTreeMap<Kind, u64>,
    /// What the scopes are called; none: there is one, of all namespaces.
    namespaces: Vec<String>,
}

impl Watched {
    /// One for each kind that the matcher uses in each scope.
    pub(super) fn new(feed: Generation, scopes: u16) -> Self {
        Self {
            feed,
            kinds: KindTable::default(),
            watches: Kind::MATCHED.len() * usize::from(scopes.max(1)),
            states: BTreeMap::new(),
            events: BTreeMap::new(),
            namespaces: Vec::new(),
        }
    }

    /// The scopes are these namespaces.
    pub(super) fn of(mut self, namespaces: Vec<String>) -> Self {
        self.namespaces = namespaces;
        self
    }

    /// Notes a batch of events, which are all of one kind.
    pub(super) fn heard(&mut self, scope: Scope, events: &[FeedEvent], now: Instant) {
        let Some(kind) = events.iter().find_map(kind) else {
            return;
        };
        *self.events.entry(kind).or_default() += events.len() as u64;
        let state = self.states.entry((kind, scope)).or_default();
        state.last_event = Some(now);
    }

    /// Notes how a watch fares. The watch itself logs it, with the reason.
    pub(super) fn fares(
        &mut self,
        kind: Kind,
        scope: Scope,
        health: WatchHealth,
        since: Instant,
        last_failure: Option<WatchFailure>,
    ) {
        let state = self.states.entry((kind, scope)).or_default();
        state.changed(health, since, last_failure);
    }

    /// Since when every watch fails or is refused; `None` while one is healthy or starts.
    pub(super) fn all_failing_since(&self) -> Option<Instant> {
        let failing = |state: &WatchState| match state.health? {
            (WatchHealth::Healthy, _) => None,
            (WatchHealth::Denied | WatchHealth::Failing, since) => Some(since),
        };
        let all: Option<Vec<Instant>> = self.states.values().map(failing).collect();
        let all = all.filter(|all| all.len() == self.watches);
        all.and_then(|all| all.into_iter().max())
    }

    /// One row for each watch.
    pub(super) fn rows(&self, now: Instant) -> Vec<Watch> {
        let scopes = self.watches / Kind::MATCHED.len();
        let scopes = 0..u16::try_from(scopes).unwrap_or(u16::MAX);
        let mut all: Vec<_> = scopes
            .flat_map(|scope| Kind::MATCHED.map(|kind| (kind, Scope(scope))))
            .collect();
        if all.len() > ROWS {
            all.sort_by_key(|watch| self.states.get(watch).is_some_and(WatchState::is_healthy));
            all.truncate(ROWS);
        }
        let rows = all.into_iter();
        rows.map(|(kind, scope)| self.row(kind, scope, now))
            .collect()
    }

    fn row(&self, kind: Kind, scope: Scope, now: Instant) -> Watch {
        let namespace = self.namespaces.get(usize::from(scope.0));
        let starting = WatchState::default();
        let state = self.states.get(&(kind, scope)).unwrap_or(&starting);
        let resource = &self.kinds.row(kind).resource;
        Watch::of(resource, namespace.map(String::as_str), state, now)
    }

    /// One that was never allowed is not well, but does not fail: nothing is missing from what it
    /// has reported (D4).
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally {
            watches: self.watches,
            unhealthy: self.watches,
            ..Tally::default()
        };
        for state in self.states.values() {
            match state.health {
                None => {}
                Some((WatchHealth::Healthy, _)) => {
                    tally.unhealthy = tally.unhealthy.saturating_sub(1)
                }
                Some((WatchHealth::Failing, _)) => tally.failing += 1,
                Some((WatchHealth::Denied, _)) => {
                    tally.revoked += usize::from(state.is_revoked());
                }
            }
        }
        tally.failing += tally.revoked;
        tally
    }

    /// As `Pod:12 ReplicaSet:3`.
    pub(super) fn progress(&self) -> String {
        let kinds = self.events.iter();
        let kinds: Vec<_> = kinds.map(|(kind, n)| format!("{kind:?}:{n}")).collect();
        kinds.join(" ")
    }
}

fn kind(event: &FeedEvent) -> Option<Kind> {
    match event {
        FeedEvent::Pod(_) => Some(Kind::POD),
        FeedEvent::ReplicaSet(_) => Some(Kind::REPLICA_SET),
        FeedEvent::Job(_) => Some(Kind::JOB),
        FeedEvent::Seen(kind, _) => Some(*kind),
        FeedEvent::Listed => None,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::source::Reason;

    fn fares(watched: &mut Watched, kind: Kind, scope: u16, health: WatchHealth) {
        watched.fares(kind, Scope(scope), health, Instant::now(), None);
    }

    #[test]
    fn each_watch_says_its_state_and_why_and_since_when() {
        let mut watched = Watched::new(Generation(1), 2).of(vec!["shop".into(), "till".into()]);
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let failure = WatchFailure {
            reason: Reason::Forbidden,
            text: "403 Forbidden".to_owned(),
            at: start + second,
        };
        watched.heard(
            Scope(0),
            &[FeedEvent::Seen(
                Kind::POD,
                Box::new(crate::model::Uid::new("uid")),
            )],
            start,
        );
        watched.fares(Kind::POD, Scope(0), WatchHealth::Healthy, start, None);
        let failed = Some(failure);
        watched.fares(
            Kind::JOB,
            Scope(1),
            WatchHealth::Denied,
            start,
            failed.clone(),
        );
        watched.fares(Kind::POD, Scope(1), WatchHealth::Healthy, start, None);
        watched.fares(Kind::POD, Scope(1), WatchHealth::Denied, start, failed);
        let rows = watched.rows(start + 3 * second);
        let shown: Vec<_> = rows
            .iter()
            .map(|row| {
                let error = row.last_error.as_ref();
                let error = error.map(|error| format!("{} {}s", error.reason, error.seconds));
                let last = row.last_event_seconds;
                let (resource, namespace) = (&row.resource, row.namespace.as_deref());
                format!("{resource} {namespace:?}: {} {last:?} {error:?}", row.state)
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        pods Some("shop"): healthy Some(3.0) None
        replicasets Some("shop"): starting None None
        jobs Some("shop"): starting None None
        pods Some("till"): refused None Some("forbidden 2s")
        replicasets Some("till"): starting None None
        jobs Some("till"): not allowed None Some("forbidden 2s")
        "#);
        assert_eq!(rows[0].since_seconds, Some(3.0));
        assert_eq!(watched.all_failing_since(), None);
    }

    #[test]
    fn all_fail_since_the_last_of_them_does_and_not_while_one_is_silent() {
        let mut watched = Watched::new(Generation(1), 1);
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        for (n, kind) in (0..).zip(Kind::MATCHED) {
            assert_eq!(watched.all_failing_since(), None);
            watched.fares(
                kind,
                Scope(0),
                WatchHealth::Failing,
                start + n * second,
                None,
            );
        }
        assert_eq!(watched.all_failing_since(), Some(start + 2 * second));
    }

    fn tally(unhealthy: usize, failing: usize, revoked: usize) -> Tally {
        Tally {
            watches: 6,
            unhealthy,
            failing,
            revoked,
        }
    }

    #[test]
    fn a_watch_that_has_said_nothing_yet_is_not_well_and_does_not_fail() {
        let mut watched = Watched::new(Generation(1), 2);
        assert_eq!(watched.tally(), tally(6, 0, 0));
        fares(&mut watched, Kind::POD, 0, WatchHealth::Healthy);
        fares(&mut watched, Kind::POD, 1, WatchHealth::Failing);
        assert_eq!(watched.tally(), tally(5, 1, 0));
    }

    #[test]
    fn a_watch_that_is_refused_fails_only_if_it_has_been_well() {
        let mut watched = Watched::new(Generation(1), 2);
        for (health, unhealthy, failing, revoked) in [
            (WatchHealth::Denied, 6, 0, 0),
            (WatchHealth::Failing, 6, 1, 0),
            (WatchHealth::Denied, 6, 0, 0),
            (WatchHealth::Healthy, 5, 0, 0),
            (WatchHealth::Denied, 6, 1, 1),
            (WatchHealth::Failing, 6, 1, 0),
            (WatchHealth::Denied, 6, 1, 1),
            (WatchHealth::Healthy, 5, 0, 0),
        ] {
            fares(&mut watched, Kind::POD, 0, health);
            assert_eq!(watched.tally(), tally(unhealthy, failing, revoked));
        }
        fares(&mut watched, Kind::POD, 1, WatchHealth::Denied);
        fares(&mut watched, Kind::JOB, 0, WatchHealth::Denied);
        assert_eq!(watched.tally(), tally(5, 0, 0), "each watch for itself");
    }
}
