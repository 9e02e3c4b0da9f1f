//! When credentials are renewed (D16 e). Pure.
//!
//! Invariants: at most one renewal in [`PAUSE`], but for the first one after the start; one that
//! does not help doubles the pause, up to [`LONGEST`]; a file that has changed asks for another
//! try after [`PAUSE`] in any case.

use std::time::{Duration, Instant};

/// Between two renewals, at least.
pub const PAUSE: Duration = Duration::from_secs(10);

/// Between two renewals of which none helps, at most.
pub const LONGEST: Duration = Duration::from_secs(300);

/// So long before they expire, credentials are renewed, or after three quarters of their time.
const AHEAD: Duration = Duration::from_secs(60);

/// When the next renewal is due.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// When the last renewal ended; what the start did is none if it has worked.
    last: Option<Instant>,
    /// When there were credentials for the last time that were new.
    renewed: Option<Instant>,
    /// Renewals in a row that did not help.
    vain: u32,
    due: Option<Instant>,
}

impl Schedule {
    /// When to renew; `None`: when something happens.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// There are new credentials. They count for `lasts`, if that is known.
    pub fn succeeded(&mut self, now: Instant, lasts: Option<Duration>) {
        if self.renewed.is_some() {
            self.last = Some(now);
        }
        self.renewed = Some(now);
        self.due = None;
        let Some(lasts) = lasts else { return };
        let wanted = lasts.saturating_sub(AHEAD.min(lasts / 4));
        if wanted < PAUSE {
            // Such as have expired already are used while nobody minds.
            self.last = Some(now);
            self.wait_longer(now);
        } else {
            self.due = now.checked_add(wanted);
        }
    }

    /// There are none.
    pub fn failed(&mut self, now: Instant) {
        self.last = Some(now);
        self.wait_longer(now);
    }

    /// The server refuses the present ones.
    pub fn refused(&mut self, now: Instant) {
        match self.renewed {
            // They were good for long.
            Some(renewed) if now.duration_since(renewed) >= LONGEST => self.vain = 0,
            Some(_) | None => {}
        }
        let at = match self.last {
            None => now,
            Some(last) => last + pause(self.vain.saturating_sub(1)),
        };
        if self.due.is_none_or(|due| at < due) {
            self.due = Some(at);
            // This one helps, or the next one waits longer.
            self.vain = self.vain.saturating_add(1);
        }
    }

    /// A file that they come from has changed.
    pub fn changed(&mut self, now: Instant) {
        self.vain = 0;
        let at = self.last.map_or(now, |last| (last + PAUSE).max(now));
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn wait_longer(&mut self, now: Instant) {
        self.due = Some(now + pause(self.vain));
        self.vain = self.vain.saturating_add(1);
    }
}

/// After so many renewals in vain.
fn pause(vain: u32) -> Duration {
    PAUSE.saturating_mul(1 << vain.min(10)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// Seconds from `start` until the next renewal.
    fn due(schedule: &Schedule, start: Instant) -> Option<u64> {
        Some(schedule.due()?.duration_since(start).as_secs())
    }

    #[test]
    fn credentials_that_are_refused_are_renewed_at_once_and_then_more_and_more_seldom() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.succeeded(start, None);
        assert_eq!(due(&schedule, start), None);
        let mut at = start + 2 * S;
        let mut renewals = Vec::new();
        for _ in 0..8 {
            // Several watches are refused.
            schedule.refused(at);
            schedule.refused(at);
            at = at.max(schedule.due().unwrap());
            renewals.push(at.duration_since(start).as_secs());
            schedule.succeeded(at, None);
            at += S;
        }
        assert_eq!(renewals, [2, 12, 32, 72, 152, 312, 612, 912]);
        at += LONGEST;
        schedule.refused(at);
        assert_eq!(schedule.due(), Some(schedule.last.unwrap() + PAUSE));
    }

    #[test]
    fn a_changed_file_is_read_soon_however_often_it_did_not_help() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        for second in 0..9 {
            schedule.failed(start + second * S);
        }
        schedule.changed(start + 9 * S);
        assert_eq!(due(&schedule, start), Some(18));
        schedule.succeeded(start + 18 * S, None);
        schedule.changed(start + 100 * S);
        assert_eq!(due(&schedule, start), Some(100));
    }

    #[test]
    fn an_expiry_is_met_ahead() {
        let start = Instant::now();
        for (lasts, expected) in [(3600, 3540), (240, 180), (60, 45), (12, 10), (0, 10)] {
            let mut schedule = Schedule::default();
            schedule.succeeded(start, Some(lasts * S));
            let found = schedule.due().unwrap().duration_since(start).as_secs();
            assert!(found.abs_diff(expected) <= 1, "{lasts}: {found}");
        }
        let mut schedule = Schedule::default();
        let mut at = start;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            schedule.succeeded(at, Some(Duration::ZERO));
            let next = schedule.due().unwrap();
            pauses.push(next.duration_since(at).as_secs());
            at = next;
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn without_credentials_the_next_try_comes_later_and_later() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        let mut at = start;
        let mut tries = Vec::new();
        for _ in 0..7 {
            schedule.failed(at);
            at = schedule.due().unwrap();
            tries.push(at.duration_since(start).as_secs());
        }
        assert_eq!(tries, [10, 30, 70, 150, 310, 610, 910]);
    }
}
