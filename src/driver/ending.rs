//! What the loop leaves when it ends.

use super::Driver;
use crate::{announce::CatchUp, reducer::Reducer};

/// The link to the reducer, and what did not go over it.
pub struct Ended {
    /// To be ended in order.
    pub reducer: Reducer,
    /// What the reducer was not sent although it should have been, in words.
    pub unsent: Option<String>,
}

impl Driver {
    /// The end of [`Driver::run`].
    pub(super) fn ended(self) -> Ended {
        Ended {
            unsent: self.unsent(),
            reducer: self.reducer,
        }
    }

    fn unsent(&self) -> Option<String> {
        if !self.writes() {
            // Another replica announces it.
            return None;
        }
        let active = self.feeds.active()?;
        let live = active.counts().live;
        let (unsent, why) = if !self.reducer.is_connected() {
            (live, "the reducer is not connected")
        } else if self.resume == CatchUp::Done {
            (0, "")
        } else {
            let ledger = self.feeds.ledger();
            let is_unsent = |uid| ledger.get(uid).is_none();
            let unsent = active.all_live().filter(|live| is_unsent(&live.pod.uid));
            (unsent.count(), "the reducer takes too little")
        };
        (unsent > 0).then(|| format!("{why}: {unsent} of {live} pods were not announced to it"))
    }
}
