//! Keeps a [`Comparison`] in step with the two feeds: what has changed is re-checked, and all pods
//! are, in slices, when another stream is the newest one.
//!
//! A pod that has changed in one feed waits until the other feed sends something of it, too, which
//! mostly is the same, so that one check is enough for both. It waits for half the settle window at
//! most, and what differs then has differed since it waits: nothing counts later for that. A pod
//! that differs does not wait, and one that changes again in the same feed waits no longer: that it
//! is equal, if only for a moment, is not missed. What waits when a feed goes is as new when the
//! next one is there.
//!
//! Invariants: the clocks of the comparison run only while both feeds are listed and every pod has
//! been looked at since they were. What pauses them loses nothing. Time in which nobody looked,
//! because the process or its machine stood still, is not theirs.

use std::time::{Duration, Instant};

use super::{
    compare::{Comparison, Seen, Turn},
    debounce::Debounce,
    standstill::Standstill,
};
use crate::{
    feeds::{DirtyPods, Feeds, View},
    matcher::{Generation, Matcher, PodStatus, Reannounce},
    model::{Seed, Slot, Uid},
};

/// Two feeds and their comparison.
#[derive(Debug)]
pub struct Comparator {
    comparison: Comparison,
    /// The feeds that it is about.
    feeds: Option<(Generation, Generation)>,
    pass: Pass,
    /// All pods are to be looked at once more when the pass over all of them has ended. It is not
    /// started again: under changes that keep coming it would never end.
    again: bool,
    /// Every pod has been looked at since these two are listed.
    whole: bool,
    debounce: Debounce,
    /// Pods that differ are re-checked, because a change of an owner is not an event of its pods.
    look_again: Duration,
    look_again_at: Option<Instant>,
    /// Since the clocks were read last.
    standstill: Standstill,
}

/// What is left to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Nothing,
    /// The pods of the stream from this slot on, and all that follows.
    Collect(Slot),
    /// Those of the native watches, and all that follows.
    Native(Slot),
    /// Those that neither may have any longer.
    Known(Slot),
    /// Those that differ, from this one on, and before the other one.
    Differing(Turn, Turn),
}

/// Why the two feeds are not compared now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Pause {
    /// There is no open stream.
    #[error("no watcher is connected")]
    NoStream,
    /// The newest open stream has not sent its lists.
    #[error("the legacy source is not synced yet")]
    StreamUnlisted,
    /// The native watches do not run.
    #[error("the native watches do not run")]
    NoWatches,
    /// The native watches have not listed.
    #[error("the native source is not synced yet")]
    WatchesUnlisted,
    /// It has begun.
    #[error("not every pod has been compared yet")]
    Looking,
}

/// Pods that are looked at in one [`Comparator::attend`] of a pass: a millisecond at most.
const SLICE: usize = 512;

/// A change waits no longer for the other feed to send the same, however long the settle window is:
/// a status shows divergences that do not count yet, too.
const PATIENCE: Duration = Duration::from_secs(5);

/// The clocks are read so often, also if nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Comparator {
    /// Nothing compared yet. The feeds reannounce like this.
    pub fn new(settle: Duration, reannounce: Reannounce, seed: Seed) -> Self {
        Self {
            comparison: Comparison::new(settle).of(reannounce, seed),
            feeds: None,
            pass: Pass::Nothing,
            again: false,
            whole: false,
            debounce: Debounce::new(PATIENCE.min(settle / 2), seed),
            look_again: settle / 3,
            look_again_at: None,
            standstill: Standstill::default(),
        }
    }

    /// The comparison, as of now.
    pub fn comparison(&mut self, now: Instant) -> &mut Comparison {
        // Neither feed could be heard: nothing has been equal, or different, meanwhile.
        if self.standstill.look(now).is_some() {
            self.comparison.skip(now);
        }
        &mut self.comparison
    }

    /// Why nothing is compared now, if so.
    pub fn pause(&self, feeds: &Feeds) -> Option<Pause> {
        let pair = pair(feeds);
        match pair {
            Err(pause) => Some(pause),
            Ok(_) if self.whole => None,
            Ok(_) => Some(Pause::Looking),
        }
    }

    /// Looks at what has changed, and at a slice of what is left. Returns whether more is left.
    pub fn attend(&mut self, feeds: &mut Feeds, now: Instant) -> bool {
        self.comparison(now);
        let compared = pair(feeds).ok();
        if compared != self.feeds || compared.is_none() {
            self.feeds = compared;
            self.comparison.pause(now);
            self.look_again_at = None;
            self.debounce.clear();
            (self.again, self.whole) = (false, false);
            self.pass = match compared {
                Some(_) => Pass::Collect(Slot::FIRST),
                None => Pass::Nothing,
            };
            if let Some(dirty_pods) = feeds.dirty_pods() {
                dirty_pods.clear();
            }
        }
        if compared.is_none() {
            return false;
        }
        let more = self.look_at_touched(feeds, now);
        self.look_at_slice(feeds, now);
        self.comparison.handle_timeout(now);
        more || self.pass != Pass::Nothing
    }

    /// How many pods have changed in one feed and were not looked at since.
    pub fn waiting(&self) -> usize {
        self.debounce.len()
    }

    /// Looks at what waits, if that is little: a slice.
    pub fn catch_up(&mut self, feeds: &mut Feeds, now: Instant) {
        if pair(feeds).ok() != self.feeds || self.feeds.is_none() {
            // All of it is to be looked at anyway, or nothing.
            return;
        }
        self.comparison(now);
        self.look_at_touched(feeds, now);
        for _ in 0..SLICE {
            let Some((uid, since)) = self.debounce.take() else {
                return;
            };
            self.look_at(feeds, &uid, since, now);
        }
    }

    /// When [`Self::attend`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let look = self.feeds.and(self.standstill.looked_at());
        let look = look.and_then(|at| at.checked_add(LOOK_EVERY));
        [
            self.comparison.poll_timeout(),
            self.debounce.poll_timeout(),
            self.look_again_at,
            look,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// At what both feeds have sent, and at what has waited for long enough. Returns whether more
    /// of that is left.
    fn look_at_touched(&mut self, feeds: &mut Feeds, now: Instant) -> bool {
        if feeds.dirty_pods().is_some_and(DirtyPods::take_all) {
            match self.pass {
                Pass::Nothing | Pass::Differing(..) => self.pass = Pass::Collect(Slot::FIRST),
                Pass::Collect(_) | Pass::Native(_) | Pass::Known(_) => self.again = true,
            }
        }
        let mut left = SLICE;
        let is_many = |feeds: &mut Feeds| {
            feeds
                .dirty_pods()
                .is_some_and(|dirty_pods| dirty_pods.is_many())
        };
        while left > 0 || is_many(feeds) {
            let Some(touch) = feeds.dirty_pods().and_then(DirtyPods::pop) else {
                break;
            };
            if self.comparison.differs(&touch.uid) {
                self.debounce.forget(&touch.uid);
                self.look_at(feeds, &touch.uid, now, now);
            } else if let Some(since) = self.debounce.touch(&touch, now) {
                self.look_at(feeds, &touch.uid, since, now);
            }
            left = left.saturating_sub(1);
        }
        while left > 0 || self.debounce.is_full() {
            let Some((uid, since)) = self.debounce.pop(now) else {
                break;
            };
            self.look_at(feeds, &uid, since, now);
            left = left.saturating_sub(1);
        }
        left == 0
    }

    fn look_at_slice(&mut self, feeds: &mut Feeds, now: Instant) {
        if self.pass == Pass::Nothing && self.look_again_at.is_some_and(|at| at <= now) {
            self.look_again_at = None;
            self.pass = Pass::Differing(Turn::FIRST, self.comparison.next_divergence());
        }
        for _ in 0..SLICE {
            let next = match self.pass {
                Pass::Nothing => break,
                Pass::Collect(slot) => {
                    let matcher = feeds.compared_stream_view().map(|view| view.matcher());
                    match matcher.and_then(|matcher| pod_at_or_after(matcher, slot)) {
                        Some((slot, uid)) => Some((Pass::Collect(slot.next()), uid)),
                        None => {
                            self.pass = Pass::Native(Slot::FIRST);
                            continue;
                        }
                    }
                }
                Pass::Native(slot) => {
                    let matcher = feeds.native_view().map(|view| view.matcher());
                    match matcher.and_then(|matcher| pod_at_or_after(matcher, slot)) {
                        Some((slot, uid)) => Some((Pass::Native(slot.next()), uid)),
                        None => {
                            self.pass = Pass::Known(Slot::FIRST);
                            continue;
                        }
                    }
                }
                Pass::Known(slot) => self
                    .comparison
                    .at_or_after(slot)
                    .map(|(slot, uid)| (Pass::Known(slot.next()), uid)),
                Pass::Differing(turn, end) => self
                    .comparison
                    .differing_at_or_after(turn)
                    .filter(|(turn, _)| *turn < end)
                    .map(|(turn, uid)| (Pass::Differing(turn.next(), end), uid)),
            };
            let Some((pass, uid)) = next else {
                self.pass = match std::mem::take(&mut self.again) {
                    true => Pass::Collect(Slot::FIRST),
                    false => Pass::Nothing,
                };
                self.whole = true;
                self.comparison.start(now);
                break;
            };
            self.pass = pass;
            if !was_looked_at(feeds, pass, &uid) {
                let since = self.debounce.forget(&uid).unwrap_or(now);
                self.look_at(feeds, &uid, since, now);
            }
        }
        let differs = self.comparison.differing_at_or_after(Turn::FIRST).is_some();
        if self.pass == Pass::Nothing && differs && self.look_again_at.is_none() {
            self.look_again_at = now.checked_add(self.look_again);
        }
    }

    /// At a pod that is since then what it is now.
    fn look_at(&mut self, feeds: &mut Feeds, uid: &Uid, since: Instant, now: Instant) {
        let (Some(stream), Some(watches)) = (feeds.compared_stream_view(), feeds.native_view())
        else {
            return;
        };
        let (legacy, native) = (
            Seen::of(stream.matcher(), uid),
            Seen::of(watches.matcher(), uid),
        );
        let twice = match (&legacy, &native) {
            (Seen::Live(one, _), Seen::Live(other, _)) => {
                !one.pod.ptr_eq(other.pod) && one.pod == other.pod
            }
            _ => false,
        };
        let long = now.saturating_duration_since(since);
        self.comparison.refresh_late(uid, legacy, native, long, now);
        if twice {
            feeds.hold_once(uid);
        }
    }
}

/// The feeds to compare.
fn pair(feeds: &Feeds) -> Result<(Generation, Generation), Pause> {
    let watches = feeds
        .native_view()
        .filter(View::is_open)
        .ok_or(Pause::NoWatches)?;
    if !watches.is_listed() {
        return Err(Pause::WatchesUnlisted);
    }
    let stream = feeds.compared_stream_view().ok_or(Pause::NoStream)?;
    if !stream.is_listed() {
        return Err(Pause::StreamUnlisted);
    }
    Ok((stream.generation, watches.generation))
}

/// Whether an earlier part of the pass has met this pod: of a feed it looks at every pod, and what
/// comes later or changes is touched.
fn was_looked_at(feeds: &Feeds, pass: Pass, uid: &Uid) -> bool {
    let knows = |view: Option<View<'_>>| {
        view.is_some_and(|view| view.matcher().standing(uid) != PodStatus::Unknown)
    };
    match pass {
        Pass::Nothing | Pass::Collect(_) | Pass::Differing(..) => false,
        Pass::Native(_) => knows(feeds.compared_stream_view()),
        Pass::Known(_) => knows(feeds.compared_stream_view()) || knows(feeds.native_view()),
    }
}

fn pod_at_or_after(matcher: &Matcher, slot: Slot) -> Option<(Slot, Uid)> {
    let slot = matcher.pod_at_or_after(slot)?;
    Some((slot, matcher.pod_at(slot)?.uid.clone()))
}
