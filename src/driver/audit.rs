//! Which steps were asked for, by whom, with which result, and what they sent: one line each, at
//! a level that is always logged.
//!
//! A step is granted long before all is known: the state file is written elsewhere, and a large
//! difference is sent in parts. Its line is written when both have ended, at the latest
//! [`LINE_WITHIN`] after it took effect. What is sent meanwhile for other reasons is counted, too;
//! deletes that wait for the end of the hand-over window are not.

use std::time::{Duration, Instant};

use tracing::warn;

use super::query::{Done, DoneSender};
use crate::{
    announce::CatchUp,
    migrate::{Command, Stage, Step},
    reducer::SendCounters,
};

/// The message of each line, for those who search the log.
const STEP: &str = "migration step";

/// A line is written no later, whatever is not known by then.
const LINE_WITHIN: Duration = Duration::from_secs(10);

/// So many lines are unfinished at most; the oldest is written for a newer one.
const UNFINISHED: usize = 32;

/// A step that somebody, or the autopilot, asks for.
pub(super) struct Asked {
    /// From 1, if it is granted.
    pub(super) number: u64,
    pub(super) command: Command,
    pub(super) force: bool,
    /// In words.
    pub(super) by: String,
    /// The autopilot's reason.
    pub(super) why: Option<String>,
    /// The stage then.
    pub(super) from: Stage,
    pub(super) at: Instant,
    /// Where its end is said; `None` for the autopilot.
    pub(super) answer: Option<DoneSender>,
}

/// The lines that are not finished.
#[derive(Default)]
pub(super) struct Audit(Vec<Line>);

/// A step that was taken, on its way to a line.
pub(super) struct Line {
    number: u64,
    command: Command,
    force: bool,
    by: String,
    why: Option<String>,
    from: Stage,
    to: Stage,
    overridden: Option<String>,
    /// What had been sent when it took effect.
    before: SendCounters,
    until: Instant,
    sent: Option<Sent>,
    kept: Option<Kept>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// So much more than before.
    Messages(SendCounters),
    /// There is no reducer to send it to.
    Unconnected,
}

enum Kept {
    /// Or nothing was to be kept.
    Yes,
    No(String),
}

impl Asked {
    /// Writes that it was not taken.
    pub(super) fn refused(&self, why: &str) {
        let Self {
            command,
            force,
            by,
            from,
            why: reason,
            ..
        } = self;
        let reason = reason.as_deref();
        warn!(
            %command, by, force, reason, result = "refused", stage = %from, why,
            "{STEP}"
        );
    }

    fn failed(&self, why: &str) {
        let Self {
            command,
            force,
            by,
            from,
            ..
        } = self;
        warn!(
            %command, by, force, result = "failed", stage = %from, why,
            "{STEP}"
        );
    }
}

impl Audit {
    pub(super) fn begin(&mut self, line: Line) {
        if self.0.len() >= UNFINISHED {
            self.0.remove(0).write();
        }
        self.0.push(line);
    }

    /// The caller that asked for this step is answered how it ended.
    pub(super) fn kept(&mut self, asked: &Asked, said: &Result<Done, String>, now: Instant) {
        let done = match said {
            Ok(done) => done,
            Err(why) => return asked.failed(why),
        };
        let line = self.0.iter_mut().find(|line| line.number == asked.number);
        if let Some(line) = line {
            line.kept = Some(match &done.not_kept {
                None => Kept::Yes,
                Some(why) => Kept::No(why.clone()),
            });
        }
        self.write_finished(now);
    }

    /// What has been sent so far, and whether all there is to send was.
    pub(super) fn note_sent(
        &mut self,
        resume: CatchUp,
        connected: bool,
        sent: SendCounters,
        now: Instant,
    ) {
        if self.0.is_empty() {
            return;
        }
        for line in self.0.iter_mut().filter(|line| line.sent.is_none()) {
            line.sent = match (connected, resume) {
                (false, _) => Some(Sent::Unconnected),
                (true, CatchUp::Done) => Some(Sent::Messages(sent)),
                (true, _) if line.until <= now => Some(Sent::Messages(sent)),
                (true, CatchUp::More | CatchUp::Full) => None,
            };
        }
        self.write_finished(now);
    }

    /// When the next line is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.iter().map(|line| line.until).min()
    }

    /// The process ends: what is known is written.
    pub(super) fn end(&mut self) {
        self.0.drain(..).for_each(Line::write);
    }

    fn write_finished(&mut self, now: Instant) {
        let is_finished = |line: &mut Line| {
            let is_known = line.sent.is_some() && line.kept.is_some();
            is_known || line.until <= now
        };
        self.0.extract_if(.., is_finished).for_each(Line::write);
    }
}

impl Line {
    /// Of a step that takes effect now, when so much had been sent.
    pub(super) fn new(asked: &Asked, step: &Step, before: SendCounters, now: Instant) -> Self {
        Self {
            number: asked.number,
            command: asked.command,
            force: asked.force,
            by: asked.by.clone(),
            why: asked.why.clone(),
            from: step.from,
            to: step.to,
            overridden: step.overridden.as_ref().map(ToString::to_string),
            before,
            until: now + LINE_WITHIN,
            sent: None,
            kept: None,
        }
    }

    fn write(self) {
        let Self {
            command,
            force,
            by,
            why,
            from,
            to,
            overridden,
            before,
            sent,
            kept,
            ..
        } = self;
        let result = match (from == to, &kept) {
            (true, _) => "already so",
            (false, Some(Kept::Yes)) => "done",
            (false, Some(Kept::No(_))) => "done, not kept",
            (false, None) => "done, not kept yet",
        };
        let not_kept = match &kept {
            Some(Kept::No(why)) => Some(why.as_str()),
            Some(Kept::Yes) | None => None,
        };
        let (pods, containers, deletes, resyncs) = match sent {
            Some(Sent::Messages(sent)) => (
                sent.pods - before.pods,
                sent.containers - before.containers,
                sent.deletes - before.deletes,
                sent.resyncs - before.resyncs,
            ),
            Some(Sent::Unconnected) | None => (0, 0, 0, 0),
        };
        let reducer = (sent == Some(Sent::Unconnected)).then_some("not connected");
        let (why, overridden) = (why.as_deref(), overridden.as_deref());
        warn!(
            %command, by, force, result, %from, %to, why, overridden, not_kept, reducer,
            sent_pods = pods, sent_containers = containers, sent_deletes = deletes,
            sent_resyncs = resyncs,
            "{STEP}"
        );
    }
}
