//! What the reducer was sent, and what is left to send.
//!
//! The [`Announcer`] holds the [`Ledger`], which is what was announced on the present connection,
//! and brings it in line with the matcher of the active feed: by changes as they come, by a full
//! resend, or by a difference.
//!
//! Invariants: nothing is announced without an address or before its owner is resolved; a pod is
//! announced once per [`Epoch`], unless D9 or D14 announces it again; the reducer's state is the
//! fold of the ledger; a full resend or difference pauses when the sink is full, and ends. Under
//! [`Reannounce::OnChange`](crate::matcher::Reannounce::OnChange) that state is the live set
//! whenever nothing is left to send.
//!
//! Absent here: sockets, clocks, async, which feed is active, limits of text. Time comes in as
//! `now`.

mod announcer;
mod custody;
mod kept;
mod ledger;
mod limits;
mod resends;
mod sink;
mod windows;

pub use announcer::{Announcer, Changeover};
pub use kept::Move;
pub use ledger::{Ledger, LedgerEntry, fields_hash};
pub use limits::{CatchUp, Watermarks, WindowConfig};
pub use resends::{ResendReason, Resends};
pub use sink::{Epoch, Sink};
