//! The comparison for people.

use std::collections::BTreeMap;

use super::StatusText;
use crate::{
    admin::api::{Parity, Row, Status, Switch},
    migrate::Stage,
    tools::{
        ask::{counted, harmless, span},
        table::Tone,
    },
};

impl StatusText {
    pub(super) fn parity(&mut self, parity: &Parity, status: &Status) {
        let stage = status.stage;
        self.0.push('\n');
        let (tone, text) = held(parity, stage);
        self.item("PARITY", &tone.paint(&text));
        let suspended = status.auto.as_ref().is_some_and(|auto| auto.is_suspended());
        if let Some(autopilot) = autopilot(parity, stage).filter(|_| !suspended) {
            self.item("", &autopilot);
        }
        if parity.comparing {
            self.differences(parity);
            self.item("", &switch(&parity.switch, stage));
        } else {
            // What was found before stands still, and says nothing of now.
            self.item(
                "",
                "nothing is compared meanwhile; what was found before goes on from there",
            );
        }
        let all = parity.divergences + parity.unsettled;
        if !parity.rows.is_empty() && (parity.rows.len() as u64) < all {
            let shown = parity.rows.len();
            self.item("", &format!("the oldest {shown} of {all}:"));
        }
        for row in &parity.rows {
            self.divergence(row);
        }
    }

    fn differences(&mut self, parity: &Parity) {
        if parity.legacy_digest == parity.native_digest {
            self.item(
                "",
                &format!("digests are equal: {}", harmless(&parity.legacy_digest)),
            );
        } else {
            self.item("", "digests are different");
            self.item("", &format!("  legacy {}", harmless(&parity.legacy_digest)));
            self.item("", &format!("  native {}", harmless(&parity.native_digest)));
        }
        let (confirmed, unconfirmed) = (parity.divergences, parity.unsettled);
        let settle = span(parity.settle_seconds);
        let fields = listed(&parity.by_field);
        let text = format!(
            "{}, confirmed after {settle}; {unconfirmed} unconfirmed{fields}",
            counted(confirmed, "divergence")
        );
        let tone = match (confirmed, unconfirmed) {
            (0, 0) => Tone::Plain,
            (0, _) => Tone::Odd,
            (_, _) => Tone::Bad,
        };
        self.item("", &tone.paint(&text));
        if parity.waiting > 0 {
            let pods = counted(parity.waiting, "pod");
            self.item(
                "",
                &format!("{pods} changed in one source a moment ago, to be compared"),
            );
        }
        if !parity.expected.is_empty() {
            let all = parity.expected.values().sum();
            let rules = listed(&parity.expected);
            self.item(
                "",
                &format!("{}{rules}", counted(all, "expected difference")),
            );
        }
    }

    fn divergence(&mut self, row: &Row) {
        let Row {
            uid,
            namespace,
            name,
            field,
            ..
        } = row;
        let confirmed = if row.counts { "" } else { ", unconfirmed" };
        let head = format!("{namespace}/{name} ({uid}): {field}");
        let since = span(row.seconds);
        self.item("", &format!("{}, for {since}{confirmed}", harmless(&head)));
        self.item("", &format!("  legacy {}", harmless(&row.legacy)));
        self.item("", &format!("  native {}", harmless(&row.native)));
    }
}

pub(super) fn held(parity: &Parity, stage: Stage) -> (Tone, String) {
    if let Some(paused) = parity.paused.as_ref().filter(|_| !parity.comparing) {
        let held = match parity.held_seconds {
            0.0 => String::new(),
            _ => format!("; until then {}", so_far(parity)),
        };
        return (Tone::Odd, format!("paused: {}{held}", harmless(paused)));
    }
    let (held, hold) = (parity.held_seconds, parity.hold_seconds);
    let rest = hold - held;
    if stage.active() == Stage::Native.active() {
        return (Tone::Plain, format!("held for {}", span(held)));
    }
    let (tone, gate) = if parity.divergences > 0 {
        (
            Tone::Bad,
            "cutover is blocked by confirmed divergences".to_owned(),
        )
    } else if rest > 0.0 {
        (
            Tone::Odd,
            format!("cutover is blocked for {} more", span(rest)),
        )
    } else {
        (Tone::Good, ENOUGH.to_owned())
    };
    (
        tone,
        format!("held for {} of {}: {gate}", span(held), span(hold)),
    )
}

/// What the autopilot waits for: it can be more than an operator does.
pub(super) fn autopilot(parity: &Parity, stage: Stage) -> Option<String> {
    let due = parity.auto_hold_seconds?;
    let left = due - parity.held_seconds;
    let waits = stage == Stage::Shadow && parity.comparing && left > 0.0;
    waits.then(|| match parity.divergences {
        0 => format!(
            "the autopilot cuts over when it has held for {}, in {}",
            span(due),
            span(left)
        ),
        _ => format!("the autopilot cuts over when it has held for {}", span(due)),
    })
}

fn switch(switch: &Switch, stage: Stage) -> String {
    let step = match stage {
        Stage::Legacy | Stage::Shadow => "a cutover",
        Stage::ShadowNative | Stage::Native => "a rollback",
    };
    let Switch {
        announce,
        delete,
        change,
    } = switch;
    if announce + delete + change == 0 {
        return format!("{step} would send nothing");
    }
    let differ = match change {
        0 => String::new(),
        _ => format!(
            "; of {} that differ, what the reducer lacks",
            counted(*change, "pod")
        ),
    };
    let announced = counted(*announce, "pod");
    format!("{step} would announce {announced} and delete {delete}{differ}")
}

/// As `: name 2, owner 1`; nothing if there is nothing.
fn listed(counts: &BTreeMap<String, u64>) -> String {
    let counts = counts.iter().filter(|(_, count)| **count > 0);
    let counts: Vec<_> = counts
        .map(|(name, count)| format!("{} {count}", harmless(name)))
        .collect();
    match counts.as_slice() {
        [] => String::new(),
        some => format!(": {}", some.join(", ")),
    }
}

/// What a pause has not taken away.
fn so_far(parity: &Parity) -> String {
    let (held, hold) = (parity.held_seconds, parity.hold_seconds);
    let so_far = format!("held for {} of {}", span(held), span(hold));
    match held < hold {
        true => so_far,
        false => format!("{so_far}: {ENOUGH}"),
    }
}

/// Of the time for which parity has held.
const ENOUGH: &str = "long enough for a cut-over";
