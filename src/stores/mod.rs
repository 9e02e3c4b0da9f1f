//! The objects of a feed as they are now, for all who only read: enrichment, metrics, pages.
//!
//! A [`StoreWriter`] holds one kind of one feed and folds the list protocol of kube-rs into what has
//! changed (D1). A [`Reader`] looks into the stores of the active feed, whichever that is.
//!
//! Invariants: an object's data exists once, here is a handle of it; what is equal keeps the handle
//! it has. A first list is there as it comes; a later one takes effect at its end, in one step, and
//! readers see either side of it. What a list of one scope lacks is gone if that scope was the last
//! to report it. A change of the active feed swaps pointers.
//!
//! There is one lock in here, around each kind, and it is the only one between core and readers.
//! The writer takes it once for each event (two uncontended atomic steps, and held for a table
//! lookup) and once for the end of a list, not for a batch: a batch's time goes to the matcher,
//! and readers should not wait for that. A reader holds it for one lookup, or for one
//! [`SLICE`] of a walk; that is the longest that the writer waits for it.
//!
//! Absent here: which feed is active and why, what is announced, time.

mod reader;
mod store;
mod writer;

pub use reader::{Publisher, Reader, Stores};
pub use store::{SLICE, Slice, Store};
pub use writer::{Applied, Difference, StoreWriter};
