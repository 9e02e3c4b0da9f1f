//! Whether kept pods stay: the active feed does not have them live, and may not be trusted yet to
//! know all there is (D3, D4).

/// What becomes of kept pods. A feed that becomes the active one begins with [`Self::Holding`] or
/// [`Self::Settling`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Custody {
    /// All stay: the feed is not trusted yet.
    Holding,
    /// All stay again: the feed was trusted, and a pass over the ledger has ended since.
    HoldingAgain,
    /// The feed is trusted, and no pass over the ledger has ended since it is the active one: a
    /// kept pod that the feed does not know stays until its window is over.
    Settling,
    /// A pass has ended: only windows that were begun are waited for.
    Settled,
}

impl Custody {
    /// Another feed is active. `trusts` is whether what it does not have may go; without a
    /// connection there is nothing that could stay for a window.
    pub(super) fn of_new_feed(trusts: bool, is_connected: bool) -> Self {
        match (trusts, is_connected) {
            (false, _) => Self::Holding,
            (true, true) => Self::Settling,
            (true, false) => Self::Settled,
        }
    }

    /// Whether all kept pods stay.
    pub(super) fn holds(self) -> bool {
        match self {
            Self::Holding | Self::HoldingAgain => true,
            Self::Settling | Self::Settled => false,
        }
    }

    /// Whether a kept pod that the active feed does not know stays for its window.
    pub(super) fn has_windows_for_unknown(self) -> bool {
        match self {
            Self::Holding | Self::Settling => true,
            Self::HoldingAgain | Self::Settled => false,
        }
    }

    /// The active feed can no longer be trusted.
    pub(super) fn held(self) -> Self {
        match self {
            Self::Holding | Self::Settling => Self::Holding,
            Self::HoldingAgain | Self::Settled => Self::HoldingAgain,
        }
    }

    /// The active feed is trusted.
    pub(super) fn released(self) -> Self {
        match self {
            Self::Holding | Self::Settling => Self::Settling,
            Self::HoldingAgain | Self::Settled => Self::Settled,
        }
    }

    /// A pass over the ledger has ended, or the ledger is empty.
    pub(super) fn swept(self) -> Self {
        match self {
            Self::Settling => Self::Settled,
            Self::Holding | Self::HoldingAgain | Self::Settled => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Custody::{Holding, HoldingAgain, Settled, Settling};

    #[test]
    fn what_a_pass_has_settled_stays_settled_when_the_feed_is_trusted_again() {
        for (from, held, released, swept) in [
            (Holding, Holding, Settling, Holding),
            (HoldingAgain, HoldingAgain, Settled, HoldingAgain),
            (Settling, Holding, Settling, Settled),
            (Settled, HoldingAgain, Settled, Settled),
        ] {
            let all = (from.held(), from.released(), from.swept());
            assert_eq!(all, (held, released, swept), "{from:?}");
            assert!(held.holds() && !released.holds());
        }
    }
}
