//! A status for people.

use std::fmt::Write as _;

use crate::{
    admin::api::{Auto, EndedStep, Feed, LastError, Reducer, Status, Stream, Watch},
    migrate::Stage,
    tools::{
        ask::{counted, harmless, span},
        table::{Cell, Table, Tone},
    },
};

mod enrichment;
mod parity;

/// A table of watches has no more rows; those that are not healthy come first.
const WATCHES_SHOWN: usize = 12;

/// All of it, in lines with colours.
pub(super) fn status(status: &Status) -> String {
    let mut text = StatusText::default();
    if status.alone {
        let (version, up) = (harmless(&status.version), span(status.up_seconds));
        text.line(&format!(
            "k8s-relay {version}, up {up}; a metadata service alone (--source none)"
        ));
        status
            .enrichment
            .iter()
            .for_each(|one| text.enrichment(one));
        return text.0;
    }
    text.head(status);
    text.reducer(&status.reducer);
    text.handover(status);
    text.sources(status);
    if let Some(parity) = &status.parity {
        text.parity(parity, status);
    }
    text.next(status);
    status
        .enrichment
        .iter()
        .for_each(|one| text.enrichment(one));
    text.0
}

#[derive(Default)]
struct StatusText(String);

impl StatusText {
    fn line(&mut self, text: &str) {
        // A `String` takes everything.
        let _ = writeln!(self.0, "{text}");
    }

    /// A line under this heading; under none, one that goes on.
    fn item(&mut self, heading: &str, text: &str) {
        let _ = writeln!(self.0, "{heading:<9} {text}");
    }

    fn table(&mut self, table: &Table) {
        self.0.push('\n');
        table.write(&mut self.0);
    }

    fn head(&mut self, status: &Status) {
        let (version, up) = (harmless(&status.version), span(status.up_seconds));
        let (stage, since) = (status.stage, span(status.stage_seconds));
        let forced = if status.forced { ", forced" } else { "" };
        self.line(&format!(
            "k8s-relay {version}, up {up}; stage {stage}{forced}, for {since}"
        ));
        self.line(&meaning(status));
        if let Some(leadership) = &status.leadership {
            let tone = match &*leadership.role {
                "leader" | "follower" => Tone::Good,
                _ => Tone::Odd,
            };
            let said = harmless(&leadership.said());
            let identity = harmless(&leadership.identity);
            self.line(&tone.paint(&format!("Replica {identity}: {said}.")));
            if let Some(error) = &leadership.last_error {
                let error = harmless(error);
                let text = format!("The API server cannot be asked about the Lease: {error}.");
                self.line(&Tone::Odd.paint(&text));
            }
        }
        if let Some(unfed) = &status.unfed {
            let (why, age) = (harmless(&unfed.why), span(unfed.seconds));
            let text =
                format!("Nobody has fed the reducer's state for {age}: {why}. It stays as it was.");
            self.line(&Tone::Bad.paint(&text));
        }
        for certificates in &status.certificates {
            let what = harmless(&certificates.r#use);
            if let Some(why) = &certificates.unusable_files {
                let why = harmless(why);
                let text = format!("TLS ({what}): {why}. The certificates before are kept.");
                self.line(&Tone::Odd.paint(&text));
            }
            let mut chain = certificates.in_use.iter().filter(|one| one.part == "chain");
            if chain.any(|one| one.ends_in_seconds.is_some_and(|left| left < 0.0)) {
                let text = format!("TLS ({what}): a certificate in use has expired.");
                self.line(&Tone::Bad.paint(&text));
            }
        }
        if let Some(auto) = &status.auto {
            let (tone, text) = autopilot(auto);
            self.line(&tone.paint(&text));
        }
        if let Some(step) = &status.step {
            let (command, by) = (harmless(&step.command), harmless(&step.by));
            let (since, waits_for) = (span(step.seconds), harmless(&step.waits_for));
            let text =
                format!("`{command}`, asked for by {by}, is in progress for {since}: {waits_for}.");
            self.line(&Tone::Odd.paint(&text));
        }
        if let Some(step) = &status.last_step {
            let (tone, text) = ended(step, status.waiting_for_watcher);
            self.line(&tone.paint(&text));
        }
        let kept = status.kept.as_ref();
        if let Some(error) = kept.and_then(|kept| kept.error.as_ref()) {
            let text = format!("A restart would not know the stage: {}.", harmless(error));
            self.line(&Tone::Bad.paint(&text));
        }
    }

    fn reducer(&mut self, reducer: &Reducer) {
        let mut table = Table::new(["REDUCER", "STATE", "SINCE", "ANNOUNCED", "QUEUED"]);
        let state = match (reducer.connected, reducer.settled) {
            (true, true) => Cell::new(Tone::Good, "up to date"),
            (true, false) => Cell::new(Tone::Odd, "catching up"),
            (false, _) => Cell::new(Tone::Bad, "not connected"),
        };
        let announced = match reducer.connected {
            true => format!(
                "{}, {}",
                counted(reducer.pods, "pod"),
                counted(reducer.containers, "container")
            ),
            false => "nothing".to_owned(),
        };
        table.row([
            harmless(&reducer.address).into(),
            state,
            span(reducer.since_seconds).into(),
            announced.into(),
            format!("{} B", reducer.queued_bytes).into(),
        ]);
        self.table(&table);
        if !reducer.connected {
            if let Some(error) = &reducer.last_error {
                let failures = match reducer.failures {
                    0 => String::new(),
                    failures => format!(", {} so far", counted(failures, "failed attempt")),
                };
                self.line(&format!("last error {}{failures}", last(error)));
            }
            self.line(&match reducer.next_attempt_seconds {
                Some(seconds) => format!("next attempt in {}", span(seconds)),
                None => "an attempt to connect is under way".to_owned(),
            });
        }
    }

    /// What stands in the way of deletes, and streams that contradict each other.
    fn handover(&mut self, status: &Status) {
        if let Some(pending) = &status.deletes_pending {
            let (why, since) = (harmless(&pending.why), span(pending.since_seconds));
            let pods = counted(pending.pods, "pod");
            let text =
                format!("Deletes are pending for {since}: {why}. {pods} announced: they stay.");
            self.line(&Tone::Odd.paint(&text));
        }
        if status.streams_disagreeing > 0 {
            let streams = counted(status.streams_disagreeing, "standby stream");
            let text = format!(
                "{streams} shares less than half of the pods with the active one: is it a watcher \
                 of the same cluster and namespaces?"
            );
            self.line(&Tone::Bad.paint(&text));
        }
    }

    fn sources(&mut self, status: &Status) {
        let mut table = Table::new([
            "SOURCE",
            "ROLE",
            "STATE",
            "PODS",
            "LIVE",
            "NO OWNER YET",
            "OWNERS",
            "FED BY",
            "LAST EVENT",
        ]);
        for (name, feed) in [("legacy", &status.legacy), ("native", &status.native)] {
            match feed {
                Some(feed) => table.row(source(name, feed)),
                None if name == "legacy" && ignored(status).next().is_some() => {
                    table.row(ignored_source(status));
                }
                None => table.row([name.into(), "none".into()]),
            }
        }
        self.table(&table);
        self.streams(&status.ignored_streams);
        if let Some(legacy) = &status.legacy {
            self.streams(&legacy.streams);
        }
        if let Some(native) = &status.native {
            self.watches(&native.watches);
        }
    }

    fn streams(&mut self, streams: &[Stream]) {
        if streams.is_empty() {
            return;
        }
        let mut table = Table::new([
            "STREAM",
            "FROM",
            "ROLE",
            "STATE",
            "SINCE",
            "INFOS",
            "LAST EVENT",
        ]);
        for stream in streams {
            let tone = match (stream.open, stream.synced) {
                (false, _) => Tone::Bad,
                (true, true) => Tone::Good,
                (true, false) => Tone::Odd,
            };
            table.row([
                stream.stream.into(),
                stream
                    .peer
                    .as_deref()
                    .map_or_else(|| "unknown".into(), |peer| harmless(peer).into()),
                harmless(&stream.role).into(),
                Cell::new(
                    tone,
                    match (stream.open, stream.synced) {
                        (false, _) => "ended",
                        (true, _) if stream.role == "ignored" => "open",
                        (true, true) => "synced",
                        (true, false) => "not synced",
                    },
                ),
                span(stream.since_seconds).into(),
                stream.infos.into(),
                ago(stream.last_event_seconds).into(),
            ]);
        }
        self.table(&table);
    }

    fn watches(&mut self, watches: &[Watch]) {
        if watches.is_empty() {
            return;
        }
        let mut table = Table::new([
            "WATCH",
            "NAMESPACE",
            "STATE",
            "SINCE",
            "LAST EVENT",
            "LAST ERROR",
        ]);
        let mut shown: Vec<&Watch> = watches.iter().collect();
        shown.sort_by_key(|watch| watch.state == "healthy");
        for watch in shown.iter().take(WATCHES_SHOWN) {
            let tone = match watch.state.as_str() {
                "healthy" => Tone::Good,
                "starting" | "not allowed" => Tone::Odd,
                _ => Tone::Bad,
            };
            table.row([
                harmless(&watch.resource).into(),
                watch
                    .namespace
                    .as_deref()
                    .map_or_else(|| "all".into(), |name| harmless(name).into()),
                Cell::new(tone, harmless(&watch.state)),
                watch
                    .since_seconds
                    .map_or_else(Cell::default, |since| span(since).into()),
                ago(watch.last_event_seconds).into(),
                match (&watch.last_error, watch.state.as_str()) {
                    (None, _) => Cell::default(),
                    // It is shown next to what holds now.
                    (Some(error), "healthy") => format!("over; {}", last(error)).into(),
                    (Some(error), _) => last(error).into(),
                },
            ]);
        }
        self.table(&table);
        let more = shown.len().saturating_sub(WATCHES_SHOWN);
        if more > 0 {
            self.line(&format!("and {}", counted(more as u64, "more watch")));
        }
    }

    /// What would be accepted now, and what blocks the rest.
    fn next(&mut self, status: &Status) {
        self.0.push('\n');
        let find = |command: &str| status.steps.iter().find(|step| step.command == command);
        let is_open = |command| find(command).is_some_and(|step| step.blocked.is_none());
        if status.waiting_for_watcher && status.step.is_none() {
            self.line("Next:  connect a legacy watcher: when it is synced, it takes over");
            if status.stage == Stage::Shadow {
                self.line("Undo:  k8s-relay migrate cutover --force   (the native source stays)");
            }
            return;
        }
        let next = match status.stage {
            Stage::Legacy => Some("shadow"),
            Stage::Shadow => Some("cutover"),
            Stage::ShadowNative => Some("finish"),
            Stage::Native => None,
        };
        let undo = is_open("rollback").then_some("Undo:  k8s-relay migrate rollback");
        if let Some(step) = &status.step {
            self.line(&format!("Next:  wait for `{}`", harmless(&step.command)));
            return undo.into_iter().for_each(|undo| self.line(undo));
        }
        let blocked = next.and_then(|next| Some((next, find(next)?.blocked.as_ref()?)));
        let next = match (next, blocked) {
            (None, _) if ignored(status).next().is_some() => {
                "Next:  end the legacy watcher: what it sends is ignored".to_owned()
            }
            (None, _) => "Next:  nothing; the native source needs no watcher".to_owned(),
            (_, Some((next, why))) => {
                self.line(&format!("Next:  `{next}` is blocked: {}", harmless(why)));
                return undo.into_iter().for_each(|undo| self.line(undo));
            }
            (Some(next), None) => format!("Next:  k8s-relay migrate {next}"),
        };
        match undo {
            Some(undo) => self.line(&format!("{next}   {undo}")),
            None => self.line(&next),
        }
    }
}

fn source(name: &str, feed: &Feed) -> [Cell; 9] {
    let role = match feed.active {
        true => Cell::new(Tone::Good, "active"),
        false => "shadow".into(),
    };
    let state = match (feed.open, feed.listed) {
        (false, _) => Cell::new(Tone::Bad, "ended"),
        (true, true) => Cell::new(Tone::Good, "synced"),
        (true, false) => Cell::new(Tone::Odd, "not synced"),
    };
    let fed_by = match name {
        "native" => {
            let healthy = feed.sources.saturating_sub(feed.unhealthy);
            let text = format!("{healthy} of {}", counted(feed.sources, "watch"));
            match feed.unhealthy {
                0 => Cell::from(text),
                _ => Cell::new(Tone::Odd, text),
            }
        }
        _ => match feed.sources {
            0 => Cell::new(Tone::Bad, "nobody"),
            streams => counted(streams, "stream").into(),
        },
    };
    [
        name.into(),
        role,
        state,
        feed.pods.into(),
        feed.live.into(),
        feed.waiting.into(),
        feed.owners.into(),
        fed_by,
        ago(feed.last_event_seconds).into(),
    ]
}

/// Streams of watchers that are still connected, although the native source stands alone.
fn ignored(status: &Status) -> impl Iterator<Item = &Stream> {
    status.ignored_streams.iter().filter(|stream| stream.open)
}

/// They have no objects: what they send is dropped unread.
fn ignored_source(status: &Status) -> [Cell; 9] {
    let last = ignored(status).filter_map(|stream| stream.last_event_seconds);
    let last = last.min_by(f64::total_cmp);
    let [pods, live, waiting, owners, state] = [const { "-" }; 5].map(Cell::from);
    [
        "legacy".into(),
        Cell::new(Tone::Odd, "ignored"),
        state,
        pods,
        live,
        waiting,
        owners,
        counted(ignored(status).count() as u64, "stream").into(),
        ago(last).into(),
    ]
}

/// What the stage is, and who is announced now: they differ while a rollback waits for a watcher.
fn meaning(status: &Status) -> String {
    let waits = status.waits_for.as_deref().map(harmless);
    let waits = waits.filter(|_| status.waiting_for_watcher);
    match (status.stage, waits) {
        (Stage::Legacy, Some(waits)) => {
            return format!(
                "Rolled back, but {waits}: what the native source announced stays until one is \
                 synced."
            );
        }
        (_, Some(waits)) => {
            return format!(
                "Rolled back, but {waits}: the native source stays active until one is synced."
            );
        }
        (_, None) => {}
    }
    match status.stage {
        Stage::Legacy if status.legacy.is_none() => {
            "No legacy watcher has connected yet; the native source does not run."
        }
        Stage::Shadow if status.legacy.is_none() => {
            "No legacy watcher has connected yet; the native source is not announced."
        }
        Stage::Legacy => "The legacy source is active; the native source does not run.",
        Stage::Shadow => "The legacy source is active; the native source is compared with it.",
        Stage::ShadowNative => {
            "The native source is active; the legacy source is compared with it."
        }
        Stage::Native => "The native source is active; nothing is compared.",
    }
    .to_owned()
}

fn autopilot(auto: &Auto) -> (Tone, String) {
    let rollbacks = counted(u64::from(auto.rollbacks), "rollback");
    match (auto.suspended, auto.stopped_by_operator) {
        (true, _) => (
            Tone::Bad,
            format!(
                "The autopilot is suspended after {rollbacks} of its own: an operator decides."
            ),
        ),
        (false, true) => (
            Tone::Plain,
            "The autopilot is suspended, because an operator has rolled back: `migrate shadow` or \
             `migrate cutover` resumes it."
                .to_owned(),
        ),
        (false, false) => (
            Tone::Plain,
            format!("The autopilot takes the steps; {rollbacks} of its own so far."),
        ),
    }
}

fn ended(step: &EndedStep, waits: bool) -> (Tone, String) {
    let (command, by) = (harmless(&step.command), harmless(&step.by));
    let ago = span(step.seconds);
    let head = format!("Last step: `{command}`, {ago} ago, by {by}");
    match (&step.failed, &step.not_kept) {
        (Some(why), _) => (
            Tone::Bad,
            format!("{head}: failed, nothing has changed ({}).", harmless(why)),
        ),
        (None, Some(why)) => (
            Tone::Bad,
            format!("{head}: done, not kept ({}).", harmless(why)),
        ),
        (None, None) if waits && step.waits_for.is_some() => {
            (Tone::Odd, format!("{head}: in progress."))
        }
        (None, None) => (Tone::Plain, format!("{head}: done.")),
    }
}

/// As `2.0s ago: cannot connect (refused)`.
fn last(error: &LastError) -> String {
    format!("{} ago: {}", span(error.seconds), harmless(&error.text))
}

fn ago(seconds: Option<f64>) -> String {
    seconds.map_or_else(
        || "none".to_owned(),
        |seconds| format!("{} ago", span(seconds)),
    )
}

#[cfg(test)]
mod tests;
