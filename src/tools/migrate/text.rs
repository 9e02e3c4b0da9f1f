//! A status for people.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    migrate::{
        Stage, Status,
        status::{Feed, Parity, Reducer, Row, Switch},
    },
    tools::ask::{counted, harmless, span},
};

/// All of it, in lines.
pub(super) fn status(status: &Status) -> String {
    let mut page = Page::default();
    page.stage(status);
    page.line("reducer", &reducer(&status.reducer));
    page.feed("legacy", "stream", status.legacy.as_ref());
    page.feed("native", "watch", status.native.as_ref());
    if let Some(parity) = &status.parity {
        page.parity(parity, status.stage);
    }
    page.line("next", next(status.stage));
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    /// A line under this heading; under none, one that goes on.
    fn line(&mut self, heading: &str, text: &str) {
        // A `String` takes everything.
        let _ = writeln!(self.0, "{heading:<9} {text}");
    }

    fn stage(&mut self, status: &Status) {
        let Status {
            version,
            up_seconds,
            stage,
            stage_seconds,
            ..
        } = status;
        let forced = if status.forced { ", forced" } else { "" };
        let since = span(*stage_seconds);
        let version = harmless(version);
        let up = span(*up_seconds);
        self.line(
            "stage",
            &format!("{stage}{forced}, for {since} (k8s-relay {version}, up {up})"),
        );
        self.line("", meaning(*stage));
        if status.waiting_for_watcher {
            self.line(
                "",
                "No watcher is connected: the relay's own watches are told on until one is.",
            );
        }
        if let Some(auto) = &status.auto {
            let given_up = if auto.given_up {
                "; it has given up, an operator decides"
            } else {
                ""
            };
            let rollbacks = counted(u64::from(auto.rollbacks), "rollback");
            self.line("auto", &format!("{rollbacks} of its own{given_up}"));
        }
    }

    fn feed(&mut self, name: &str, source: &str, feed: Option<&Feed>) {
        let Some(feed) = feed else {
            return self.line(name, "none");
        };
        let told = if feed.active { "told" } else { "not told" };
        let ended = if feed.open { "" } else { "ended, " };
        let listed = if feed.listed { "listed" } else { "not listed" };
        let last = feed.last_event_seconds.map_or_else(
            || "no event yet".to_owned(),
            |seconds| format!("last event {} ago", span(seconds)),
        );
        self.line(
            name,
            &format!(
                "{told}; feed {}, {ended}opened {} ago, {listed}, {last}",
                feed.generation,
                span(feed.since_seconds)
            ),
        );
        let unwell = match feed.unwell {
            0 => String::new(),
            unwell => format!(", {unwell} not well"),
        };
        self.line(
            "",
            &format!(
                "{} ({} live, {} waiting), {}; {}{unwell}",
                counted(feed.pods, "pod"),
                feed.live,
                feed.waiting,
                counted(feed.owners, "owner"),
                counted(feed.sources, source),
            ),
        );
        if let Some(revoked) = revoked(feed.revoked) {
            self.line("", &revoked);
        }
    }

    fn parity(&mut self, parity: &Parity, stage: Stage) {
        self.line("parity", &held(parity, stage));
        if let Some(autopilot) = autopilot(parity, stage) {
            self.line("", &autopilot);
        }
        let equal = if parity.legacy_digest == parity.native_digest {
            "equal"
        } else {
            "different"
        };
        self.line("", &format!("digests are {equal}"));
        self.line("", &format!("  legacy {}", harmless(&parity.legacy_digest)));
        self.line("", &format!("  native {}", harmless(&parity.native_digest)));
        let (counts, young) = (parity.divergences, parity.unsettled);
        let settle = span(parity.settle_seconds);
        let fields = listed(&parity.by_field);
        self.line(
            "",
            &format!(
                "{} for {settle} or longer, {young} younger{fields}",
                counted(counts, "divergence")
            ),
        );
        if parity.waiting > 0 {
            let pods = counted(parity.waiting, "pod");
            self.line(
                "",
                &format!("{pods} told by one feed a moment ago, to be compared"),
            );
        }
        if !parity.excused.is_empty() {
            let all = parity.excused.values().sum();
            let rules = listed(&parity.excused);
            self.line(
                "",
                &format!("{} on purpose{rules}", counted(all, "difference")),
            );
        }
        self.line("", &switch(&parity.switch, stage));
        let all = counts + young;
        if !parity.rows.is_empty() && (parity.rows.len() as u64) < all {
            let shown = parity.rows.len();
            self.line("", &format!("the oldest {shown} of {all}:"));
        }
        for row in &parity.rows {
            self.divergence(row);
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
        let counts = if row.counts {
            ""
        } else {
            ", too young to count"
        };
        let head = format!("{namespace}/{name} ({uid}): {field}");
        let since = span(row.seconds);
        self.line("", &format!("{}, for {since}{counts}", harmless(&head)));
        self.line("", &format!("  legacy {}", harmless(&row.legacy)));
        self.line("", &format!("  native {}", harmless(&row.native)));
    }
}

/// What to think of watches that are refused now and were not before.
fn revoked(watches: u64) -> Option<String> {
    let (were, it) = match watches {
        0 => return None,
        1 => ("was", "it"),
        _ => ("were", "they"),
    };
    let watches = counted(watches, "watch");
    Some(format!(
        "{watches} {were} allowed before, and refused now: what {it} told is kept, and grows old"
    ))
}

fn reducer(reducer: &Reducer) -> String {
    let Reducer {
        epoch,
        queued_bytes,
        ..
    } = reducer;
    if !reducer.connected {
        return "not connected; it is told everything once it is".to_owned();
    }
    let settled = if reducer.settled {
        "nothing is owed"
    } else {
        "not all is told yet"
    };
    let pods = counted(reducer.pods, "pod");
    let containers = counted(reducer.containers, "container");
    format!(
        "connected; told {pods}, {containers} in epoch {epoch}; {settled}, {queued_bytes} bytes wait"
    )
}

fn held(parity: &Parity, stage: Stage) -> String {
    if let Some(paused) = parity.paused.as_ref().filter(|_| !parity.comparing) {
        return format!("paused: {}", harmless(paused));
    }
    let (held, hold) = (parity.held_seconds, parity.hold_seconds);
    let rest = hold - held;
    if stage.active() == Stage::Native.active() {
        return format!("held for {}", span(held));
    }
    let gate = if parity.divergences > 0 {
        "a cut-over is refused while divergences count".to_owned()
    } else if rest > 0.0 {
        format!("a cut-over is refused for {} more", span(rest))
    } else {
        "long enough for a cut-over".to_owned()
    };
    format!("held for {} of {}: {gate}", span(held), span(hold))
}

/// What the autopilot waits for: it can be more than an operator does.
fn autopilot(parity: &Parity, stage: Stage) -> Option<String> {
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
        Stage::Legacy | Stage::Shadow => "a cut-over",
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
    format!("{step} would announce {announce}, delete {delete} and change {change} pods")
}

fn meaning(stage: Stage) -> &'static str {
    match stage {
        Stage::Legacy => "Old watchers alone.",
        Stage::Shadow => "Old watchers are told on; the relay's own watches run beside them.",
        Stage::ShadowNative => "The relay's own watches are told on; old watchers run beside them.",
        Stage::Native => "The relay's own watches alone.",
    }
}

fn next(stage: Stage) -> &'static str {
    match stage {
        Stage::Legacy => "`migrate shadow` starts the relay's own watches beside them",
        Stage::Shadow => {
            "`migrate cutover` once parity has held; `migrate rollback` ends the relay's own watches"
        }
        Stage::ShadowNative => "`migrate finish` ends the comparison; `migrate rollback` goes back",
        Stage::Native => {
            "`migrate shadow` compares again; `migrate rollback` goes back to old watchers"
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::status::Auto;

    fn feed() -> Feed {
        Feed {
            generation: 3,
            active: true,
            open: true,
            listed: true,
            since_seconds: 11_460.0,
            last_event_seconds: Some(0.42),
            pods: 1200,
            live: 1190,
            waiting: 4,
            owners: 300,
            sources: 1,
            ..Feed::default()
        }
    }

    #[test]
    fn a_relay_that_has_just_started_says_what_it_waits_for() {
        let just_started = Status {
            version: "1.2.3".to_owned(),
            up_seconds: 1.25,
            stage_seconds: 1.25,
            ..Status::default()
        };
        insta::assert_snapshot!(status(&just_started), @r"
        stage     legacy, for 1.2s (k8s-relay 1.2.3, up 1.2s)
                  Old watchers alone.
        reducer   not connected; it is told everything once it is
        legacy    none
        native    none
        next      `migrate shadow` starts the relay's own watches beside them
        ");
    }

    #[test]
    fn a_relay_in_shadow_shows_how_the_feeds_compare() {
        let row = |counts| Row {
            uid: "uid-1".to_owned(),
            namespace: "shop".to_owned(),
            name: "web-1".to_owned(),
            field: "owner".to_owned(),
            legacy: "Deployment/web".to_owned(),
            native: "ReplicaSet/web-5d4f\u{1b}[2J\n".to_owned(),
            seconds: 75.0,
            counts,
        };
        let shadow = Status {
            version: "1.2.3".to_owned(),
            up_seconds: 11_520.0,
            stage: Stage::Shadow,
            stage_seconds: 725.0,
            auto: Some(Auto {
                rollbacks: 1,
                given_up: true,
                stopped_by_operator: false,
            }),
            reducer: Reducer {
                connected: true,
                epoch: 3,
                pods: 1190,
                containers: 2380,
                settled: true,
                ..Reducer::default()
            },
            legacy: Some(feed()),
            native: Some(Feed {
                generation: 1,
                active: false,
                listed: false,
                sources: 3,
                unwell: 1,
                revoked: 1,
                last_event_seconds: None,
                ..feed()
            }),
            parity: Some(Parity {
                comparing: true,
                held_seconds: 0.0,
                hold_seconds: 300.0,
                settle_seconds: 10.0,
                divergences: 30,
                unsettled: 1,
                waiting: 2,
                by_field: BTreeMap::from([("owner".to_owned(), 30), ("version".to_owned(), 1)]),
                excused: BTreeMap::from([("init-containers".to_owned(), 12)]),
                legacy_digest: "2:00ff".to_owned(),
                native_digest: "3:11ee".to_owned(),
                rows: vec![row(true), row(false)],
                switch: Switch {
                    announce: 1,
                    delete: 0,
                    change: 30,
                },
                ..Parity::default()
            }),
            ..Status::default()
        };
        insta::assert_snapshot!(status(&shadow), @r"
        stage     shadow, for 12m 5s (k8s-relay 1.2.3, up 3h 12m)
                  Old watchers are told on; the relay's own watches run beside them.
        auto      1 rollback of its own; it has given up, an operator decides
        reducer   connected; told 1190 pods, 2380 containers in epoch 3; nothing is owed, 0 bytes wait
        legacy    told; feed 3, opened 3h 11m ago, listed, last event 0.4s ago
                  1200 pods (1190 live, 4 waiting), 300 owners; 1 stream
        native    not told; feed 1, opened 3h 11m ago, not listed, no event yet
                  1200 pods (1190 live, 4 waiting), 300 owners; 3 watches, 1 not well
                  1 watch was allowed before, and refused now: what it told is kept, and grows old
        parity    held for 0.0s of 5m: a cut-over is refused while divergences count
                  digests are different
                    legacy 2:00ff
                    native 3:11ee
                  30 divergences for 10.0s or longer, 1 younger: owner 30, version 1
                  2 pods told by one feed a moment ago, to be compared
                  12 differences on purpose: init-containers 12
                  a cut-over would announce 1, delete 0 and change 30 pods
                  the oldest 2 of 31:
                  shop/web-1 (uid-1): owner, for 1m 15s
                    legacy Deployment/web
                    native ReplicaSet/web-5d4f\u{1b}[2J\n
                  shop/web-1 (uid-1): owner, for 1m 15s, too young to count
                    legacy Deployment/web
                    native ReplicaSet/web-5d4f\u{1b}[2J\n
        next      `migrate cutover` once parity has held; `migrate rollback` ends the relay's own watches
        ");
    }

    #[test]
    fn a_relay_after_the_cutover_says_what_a_rollback_would_send() {
        let parity = Parity {
            comparing: true,
            held_seconds: 310.0,
            hold_seconds: 300.0,
            settle_seconds: 10.0,
            legacy_digest: "2:00ff".to_owned(),
            native_digest: "2:00ff".to_owned(),
            ..Parity::default()
        };
        let native = Status {
            version: "1.2.3".to_owned(),
            up_seconds: 11_520.0,
            stage: Stage::ShadowNative,
            stage_seconds: 0.0,
            forced: true,
            native: Some(feed()),
            parity: Some(parity.clone()),
            ..Status::default()
        };
        insta::assert_snapshot!(status(&native), @r"
        stage     shadow-native, forced, for 0.0s (k8s-relay 1.2.3, up 3h 12m)
                  The relay's own watches are told on; old watchers run beside them.
        reducer   not connected; it is told everything once it is
        legacy    none
        native    told; feed 3, opened 3h 11m ago, listed, last event 0.4s ago
                  1200 pods (1190 live, 4 waiting), 300 owners; 1 watch
        parity    held for 5m 10s
                  digests are equal
                    legacy 2:00ff
                    native 2:00ff
                  0 divergences for 10.0s or longer, 0 younger
                  a rollback would send nothing
        next      `migrate finish` ends the comparison; `migrate rollback` goes back
        ");
        let young = Parity {
            held_seconds: 100.0,
            ..parity.clone()
        };
        assert_eq!(
            held(&young, Stage::Shadow),
            "held for 1m 40s of 5m: a cut-over is refused for 3m 20s more"
        );
        let rolled_back = Parity {
            auto_hold_seconds: Some(910.0),
            ..parity.clone()
        };
        assert_eq!(
            held(&rolled_back, Stage::Shadow),
            "held for 5m 10s of 5m: long enough for a cut-over"
        );
        assert_eq!(
            autopilot(&rolled_back, Stage::Shadow).unwrap(),
            "the autopilot cuts over when it has held for 15m 10s, in 10m"
        );
        assert_eq!(autopilot(&rolled_back, Stage::ShadowNative), None);
        assert_eq!(autopilot(&parity, Stage::Shadow), None);
        let paused = Parity {
            comparing: false,
            paused: Some("no stream is open".to_owned()),
            ..parity
        };
        assert_eq!(held(&paused, Stage::Shadow), "paused: no stream is open");
    }
}
