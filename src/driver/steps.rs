//! The steps of a migration as the loop takes them: our own watches are started before a step
//! that needs them, and ended after one that does not.
//!
//! One step at a time. A step whose watches cannot be started is not taken at all.

use std::time::Instant;

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{Driver, WatchControl, WatchNews, WatchOrder, Watched};
use crate::{feeds::Feeds, migrate::Stage};

/// Where the migration stands, and the step that is being taken.
pub(super) struct Steps {
    pub(super) stage: Stage,
    pub(super) since: Instant,
    control: WatchControl,
    pending: Option<Pending>,
}

/// A step that waits for our own watches.
struct Pending {
    to: Stage,
    /// What is said when it is taken.
    said: String,
    answer: Answer,
}

/// The way back to whoever asked for a step; `None`: nobody did.
type Answer = Option<oneshot::Sender<Result<String, String>>>;

impl Steps {
    pub(super) fn new(
        stage: Stage,
        control: WatchControl,
        feeds: &mut Feeds,
        now: Instant,
    ) -> Self {
        feeds.compare(stage.compares());
        Self {
            stage,
            since: now,
            control,
            pending: None,
        }
    }

    /// What has come of an order; never, if there is nobody to give one to.
    pub(super) async fn news(&mut self) -> Option<WatchNews> {
        self.control.news.recv().await
    }

    fn order(&self, order: WatchOrder) {
        // There is room: the one before was answered. Who is gone ends the process anyway.
        let _ = self.control.orders.try_send(order);
    }
}

impl Driver {
    /// Goes to this stage, by way of watches that start or end if need be.
    pub(super) fn go(&mut self, to: Stage, said: String, answer: Answer) {
        let now = self.now();
        let pending = Pending { to, said, answer };
        match (to.watches(), self.watched.is_some()) {
            (true, false) => {
                self.steps.order(WatchOrder::Start);
                self.steps.pending = Some(pending);
            }
            (false, true) => {
                self.enter(to, now);
                self.watched = None;
                self.feeds.close_native(now);
                self.steps.order(WatchOrder::Stop);
                self.steps.pending = Some(pending);
            }
            (true, true) | (false, false) => {
                self.enter(to, now);
                pending.done();
            }
        }
    }

    /// Our own watches have been started or ended.
    pub(super) fn watches_changed(&mut self, news: WatchNews) {
        let now = self.now();
        let pending = self.steps.pending.take();
        match news {
            WatchNews::Started(watches) => {
                let feed = self.feeds.open_native(watches.scopes, now);
                self.watched = Some(Watched::new(feed));
                self.inputs.set_watches(Some(watches.inputs));
                if let Some(pending) = pending {
                    self.enter(pending.to, now);
                    pending.done();
                }
            }
            WatchNews::Failed(why) => {
                warn!(why, "our own watches cannot be started");
                if let Some(pending) = pending {
                    pending.failed(format!("our own watches cannot be started: {why}"));
                }
            }
            WatchNews::Stopped => {
                self.inputs.set_watches(None);
                if let Some(pending) = pending {
                    pending.done();
                }
            }
        }
    }

    fn enter(&mut self, to: Stage, now: Instant) {
        let from = self.steps.stage;
        if from.compares() != to.compares() {
            self.feeds.compare(to.compares());
        }
        if self.feeds.active_source() != to.active() {
            self.feeds.switch(to.active(), now);
        }
        if from != to {
            info!(%from, %to, "stage");
            self.steps.stage = to;
            self.steps.since = now;
        }
    }
}

impl Pending {
    fn done(self) {
        if let Some(answer) = self.answer {
            // Who asked may have gone.
            let _ = answer.send(Ok(self.said));
        }
    }

    fn failed(self, why: String) {
        if let Some(answer) = self.answer {
            let _ = answer.send(Err(why));
        }
    }
}
