//! A watcher of many pods, in few words.

use std::time::Duration;

use k8s_relay::{
    feeds::{Notice, Settings, Why},
    matcher::Generation,
};

use crate::support::core::{Core, PodDraft, pod, secs};

/// What a standby must not take away, and half of it, are both well below.
pub const PODS: usize = 100;

/// A core with one watcher that has listed [`PODS`] pods and follows them.
pub struct World {
    pub core: Core,
    pub stream: Generation,
    notices: Vec<Notice>,
}

impl World {
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Self {
        let mut core = Core::new(settings);
        let stream = core.open();
        let mut world = Self {
            core,
            stream,
            notices: Vec::new(),
        };
        world.sends(stream, 0..PODS);
        world.core.listed(stream);
        world.core.rest();
        world.core.pass(secs(60));
        world.sent();
        world.notices();
        world
    }

    /// The watcher's stream ends.
    pub fn ends(&mut self) {
        self.core.close(self.stream);
    }

    /// The watcher is there again, and begins to list: these pods so far.
    pub fn restarts(&mut self, pods: impl IntoIterator<Item = usize>) -> Generation {
        self.stream = self.core.open();
        self.sends(self.stream, pods);
        self.stream
    }

    /// These pods, as they have been all the time.
    pub fn sends(&mut self, stream: Generation, pods: impl IntoIterator<Item = usize>) {
        for n in pods {
            self.core.pod(stream, numbered(n));
        }
        self.core.rest();
    }

    /// A stranger who knows these pods of its own, and has listed them.
    pub fn stranger(&mut self, pods: usize) -> Generation {
        let stream = self.core.open();
        for n in 0..pods {
            self.core.pod(stream, pod(&format!("stranger-{n}")));
        }
        self.core.listed(stream);
        self.core.rest();
        stream
    }

    /// Another process on the same cluster, silent from the beginning.
    pub fn silent(&mut self) -> Generation {
        self.core.open()
    }

    pub fn pass(&mut self, span: Duration) {
        self.core.pass(span);
        self.core.rest();
    }

    /// What the reducer was sent since this was asked.
    pub fn sent(&mut self) -> String {
        self.core.rest();
        self.core.sent()
    }

    /// Of what it was sent, how many pods were deleted and how many announced.
    pub fn counted(&mut self) -> (usize, usize) {
        let sent = self.sent();
        let count = |verb: &str| sent.lines().filter(|line| line.starts_with(verb)).count();
        assert_eq!(count("pod_resync"), 0);
        (count("pod_delete "), count("pod_new "))
    }

    pub fn known(&self) -> usize {
        self.core.reducer.reducer_state.pods.len()
    }

    pub fn active(&self) -> Option<Generation> {
        self.core.feeds.active_generation()
    }

    pub fn pending(&self) -> Option<(Why, usize)> {
        let pending = self.core.feeds.deletes_pending()?;
        Some((pending.why, pending.pods))
    }

    /// The warnings since this was asked.
    pub fn warnings(&mut self) -> Vec<Notice> {
        let mut all = self.notices();
        all.retain(|notice| !matches!(notice, Notice::HandedOver { .. } | Notice::DeletesResumed));
        all
    }

    fn notices(&mut self) -> Vec<Notice> {
        self.notices.extend(self.core.feeds.take_notices());
        std::mem::take(&mut self.notices)
    }
}

/// A pod of the cluster.
pub fn numbered(n: usize) -> PodDraft {
    pod(&format!("p{n}")).running(&["c"])
}
