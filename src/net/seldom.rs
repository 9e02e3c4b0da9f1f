//! How often equal log lines are written.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// After this time a line may be logged again.
const AGAIN: Duration = Duration::from_secs(60);

/// Lets the first of many equal log lines through, and then one a minute.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether the line is to be logged now.
    pub fn permits(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= AGAIN);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge: when a line was logged last"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_equal_line_is_logged_once_a_minute() {
        let line = Seldom::default();
        assert_eq!([line.permits(), line.permits()], [true, false]);
        tokio::time::advance(AGAIN).await;
        assert_eq!([line.permits(), line.permits()], [true, false]);
    }
}
