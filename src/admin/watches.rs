//! Of the kinds that the loop knows nothing of, all that is shown. Pure.

use std::time::Instant;

use super::api::{Status, Watch};
use crate::source::native::Unmatched;

/// Rows of watches that the loop knows nothing of, at most; those that are not healthy first.
const ROWS: usize = 96;

/// Adds what is known of the kinds that the matcher does not use, if native watches run.
pub fn complete(status: &mut Status, unmatched: &Unmatched, now: Instant) {
    let Some(native) = &mut status.native else {
        return;
    };
    let kinds = unmatched.kinds();
    let mut states = unmatched.states();
    // Stable: each half stays in the order of the table.
    states.sort_by_key(|(_, _, state)| state.is_healthy());
    states.truncate(ROWS);
    states.sort_by_key(|(kind, _, _)| *kind);
    let rows = states.iter();
    native.watches.extend(rows.map(|(kind, namespace, state)| {
        Watch::of(&kinds.row(*kind).resource, *namespace, state, now)
    }));
    for (kind, objects) in unmatched.objects().iter() {
        let stored = objects.len() as u64;
        native.stored.insert(kinds.row(kind).key(), stored);
    }
}
