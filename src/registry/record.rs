//! Who uses a kind, and by which watches. Pure.

use std::collections::BTreeMap;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::area::Area;
use crate::enrich::plan::Needs;

/// Which user it is: of two that are alike each has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UserId(pub(super) u64);

/// The users and the watches of a kind.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) users: BTreeMap<UserId, User>,
    /// Writes what is read.
    pub(super) active: Option<Flight>,
    /// Lists, to take the place of the active one.
    pub(super) pending: Option<Flight>,
    /// Lists what is to be kept of more.
    pub(super) refill: Option<Flight>,
    /// What is kept of objects; of all of them, once `refill` is over.
    pub(super) needs: Needs,
    /// More is to be kept than was kept of objects so far.
    pub(super) refill_due: bool,
    /// When a widening that has failed is tried again.
    pub(super) retry_at: Option<Instant>,
    /// When the record goes, if nobody comes.
    pub(super) ends_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) area: Area,
    pub(super) needs: Needs,
    pub(super) started: bool,
    /// It is the matcher: its watch is there anyway, and of enrichment it wants nothing.
    pub(super) is_matcher: bool,
}

/// Watches that were started together.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) area: Area,
    pub(super) stop: CancellationToken,
    /// They are the matcher's watches, which begin and end with it.
    pub(super) lent: bool,
}

impl Record {
    /// What the users that have started want; `None` if none has.
    pub(super) fn wanted(&self) -> Option<Area> {
        let started = self.users.values().filter(|user| user.started);
        union(started.map(|user| &user.area))
    }

    /// What is to be kept for all users.
    pub(super) fn wanted_needs(&self) -> Needs {
        let mut needs = Needs::default();
        for user in self.users.values() {
            needs.unite(&user.needs);
        }
        needs
    }

    /// Whether nobody uses it for enrichment.
    pub(super) fn is_idle(&self) -> bool {
        self.users.values().all(|user| user.is_matcher)
    }

    /// Whether the active watch is the matcher's.
    pub(super) fn is_lent(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.lent)
    }

    /// Whether the active watch covers this.
    pub(super) fn covers(&self, area: &Area) -> bool {
        let active = self.active.as_ref();
        active.is_some_and(|flight| flight.area.covers(area))
    }

    /// Whether a user, started or not, wants more than the active watch covers.
    pub(super) fn is_widening(&self) -> bool {
        let is_covered = |user: &User| self.covers(&user.area);
        self.active.is_some() && !self.users.values().all(is_covered)
    }

    /// Ends all its watches that are ours to end.
    pub(super) fn stop(&mut self) {
        for flight in [&mut self.active, &mut self.pending, &mut self.refill] {
            if let Some(flight) = flight.take() {
                flight.stop.cancel();
            }
        }
    }
}

fn union<'a>(mut areas: impl Iterator<Item = &'a Area>) -> Option<Area> {
    let first = areas.next()?.clone();
    Some(areas.fold(first, Area::and))
}
