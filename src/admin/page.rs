//! The page for people: the status as one screen of HTML. Pure.
//!
//! Invariants: every text is escaped; the page needs no script and no other file, and changes
//! nothing.

use std::time::Instant;

use askama::Template;

use super::api::{Feed, Findings, Status};
use crate::notable::Notable;

/// What the page may do in a browser: show itself, and ask for itself again.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
                          base-uri 'none'; frame-ancestors 'none'";

/// All that the page shows.
#[derive(Debug, Template)]
#[template(path = "page.html")]
pub struct Page {
    status: Box<Status>,
    events: Vec<Event>,
    asked: String,
    findings: Findings,
    error: Option<String>,
    refreshes: bool,
}

/// A line of the log, as it is shown.
#[derive(Debug)]
struct Event {
    ago: String,
    level: &'static str,
    is_warning: bool,
    text: String,
}

impl Page {
    /// Of this status, and the notable events before `now`, latest first.
    pub fn new(status: Box<Status>, events: Vec<Notable>, now: Instant) -> Self {
        let events = events.into_iter().rev().map(|event| {
            let ago = now.saturating_duration_since(event.at);
            Event {
                ago: age_of(ago.as_secs_f64()),
                level: event.level.as_str(),
                is_warning: event.level <= tracing::Level::WARN,
                text: event.text,
            }
        });
        Self {
            status,
            events: events.collect(),
            asked: String::new(),
            findings: Findings::default(),
            error: None,
            refreshes: true,
        }
    }

    /// Does not refresh itself: somebody reads, or types.
    #[must_use]
    pub fn still(self) -> Self {
        Self {
            refreshes: false,
            ..self
        }
    }

    /// With what was found of a pod, or why nothing was.
    #[must_use]
    pub fn explaining(self, asked: String, found: Result<Findings, String>) -> Self {
        let (findings, error) = match found {
            Ok(findings) => (findings, None),
            Err(error) => (Findings::default(), Some(error)),
        };
        Self {
            asked,
            findings,
            error,
            refreshes: false,
            ..self
        }
    }

    /// As HTML.
    ///
    /// # Errors
    /// None is known.
    pub fn html(&self) -> Result<String, askama::Error> {
        self.render()
    }

    /// The sources that there are.
    fn feeds(&self) -> impl Iterator<Item = (&'static str, &Feed)> {
        let status = &self.status;
        let all = [("legacy", &status.legacy), ("native", &status.native)];
        all.into_iter()
            .filter_map(|(name, feed)| Some((name, feed.as_ref()?)))
    }

    fn active(&self) -> Option<(&'static str, &Feed)> {
        self.feeds().find(|(_, feed)| feed.active)
    }

    #[expect(clippy::unused_self, reason = "called from the template")]
    fn age(&self, seconds: &f64) -> String {
        age_of(*seconds)
    }

    #[expect(clippy::unused_self, reason = "called from the template")]
    fn maybe_age(&self, seconds: &Option<f64>) -> String {
        seconds.map_or_else(|| "never".to_owned(), |seconds| age_of(seconds) + " ago")
    }

    #[expect(clippy::unused_self, reason = "called from the template")]
    fn maybe_span(&self, seconds: &Option<f64>) -> String {
        seconds.map(age_of).unwrap_or_default()
    }

    #[expect(clippy::unused_self, reason = "called from the template")]
    #[allow(clippy::cast_precision_loss)]
    fn bytes(&self, bytes: &u64) -> String {
        let kib = *bytes as f64 / 1024.0;
        match kib {
            few if few < 1.0 => format!("{bytes} B"),
            some if some < 1024.0 => format!("{some:.1} KiB"),
            many => format!("{:.1} MiB", many / 1024.0),
        }
    }
}

/// In its two largest units at most.
fn age_of(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = seconds.max(0.0) as u64;
    match (
        whole / 86_400,
        whole / 3600 % 24,
        whole / 60 % 60,
        whole % 60,
    ) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units_at_most() {
        for (seconds, shown) in [
            (-1.0, "0 s"),
            (59.9, "59 s"),
            (61.0, "1 min 1 s"),
            (3661.0, "1 h 1 min"),
            (90_000.0, "1 d 1 h"),
            (f64::NAN, "0 s"),
        ] {
            assert_eq!(age_of(seconds), shown);
        }
    }
}
