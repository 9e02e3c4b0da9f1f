//! The last notable lines of the log, for who looks at the running process.
//!
//! Invariants: as many as [`MOST`], each of [`WIDTH`] bytes at most, whatever is logged. Only lines
//! of our own at INFO and above; those that come again and again by the clock are left out.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// As many lines are kept.
const MOST: usize = 50;

/// The longest line, in bytes.
const WIDTH: usize = 400;

/// The report of every five minutes.
const REGULAR: &str = "state";

static RECENT: Mutex<VecDeque<Notable>> = Mutex::new(VecDeque::new());

/// One line.
#[derive(Clone, Debug)]
pub struct Notable {
    /// When it was logged.
    pub at: Instant,
    /// How bad it is.
    pub level: Level,
    /// Its message, then its fields.
    pub text: String,
}

/// The last lines, the oldest first.
pub fn recent() -> Vec<Notable> {
    let recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    recent.iter().cloned().collect()
}

/// Keeps the lines that are logged.
#[derive(Debug)]
pub struct Keeper;

impl<S: Subscriber> Layer<S> for Keeper {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        if line.message != REGULAR {
            keep(
                &mut RECENT.lock().unwrap_or_else(PoisonError::into_inner),
                Notable {
                    at: now(),
                    level: *event.metadata().level(),
                    text: line.text(),
                },
            );
        }
    }
}

fn keep(recent: &mut VecDeque<Notable>, line: Notable) {
    if recent.len() >= MOST {
        recent.pop_front();
    }
    recent.push_back(line);
}

/// The parts of a line.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn text(self) -> String {
        let Self {
            message: mut text,
            fields,
        } = self;
        text.push_str(&fields);
        if text.len() > WIDTH {
            text.truncate(text.floor_char_boundary(WIDTH));
            text.push('…');
        }
        text
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            // Writing to a text cannot fail.
            name => drop(write!(self.fields, " {name}={value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text cannot fail.
        match field.name() {
            "message" => drop(write!(self.message, "{value:?}")),
            name => drop(write!(self.fields, " {name}={value:?}")),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "when a line was logged")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_long_ones_are_cut_at_a_character() {
        let mut recent = VecDeque::new();
        for number in 0..MOST + 7 {
            let line = Line {
                message: "ä".repeat(WIDTH),
                fields: format!(" number={number}"),
            };
            keep(
                &mut recent,
                Notable {
                    at: now(),
                    level: Level::INFO,
                    text: line.text(),
                },
            );
        }
        assert_eq!(recent.len(), MOST);
        assert!(
            recent
                .iter()
                .all(|line| line.text.len() <= WIDTH + '…'.len_utf8())
        );
    }

    #[test]
    fn lines_are_kept_with_their_fields_and_without_the_regular_report() {
        use tracing_subscriber::layer::SubscriberExt as _;
        let subscriber = tracing_subscriber::registry().with(Keeper);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(pods = 3, "state");
            tracing::warn!(who = "<script>", why = ?"x", "a notable line");
        });
        let lines = recent();
        let line = lines
            .iter()
            .find(|line| line.text.starts_with("a notable line"));
        let line = line.map(|line| (line.level, line.text.as_str()));
        assert_eq!(
            line,
            Some((Level::WARN, "a notable line who=<script> why=\"x\""))
        );
        assert!(lines.iter().all(|line| !line.text.starts_with("state")));
    }
}
