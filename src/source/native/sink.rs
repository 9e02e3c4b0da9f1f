//! Where enrichment has what a watch sees: at once, in the watch's own task.

use std::sync::Arc;

use kube::runtime::watcher::Event;

use super::decode::Keep;
use crate::{
    enrich::object::Object,
    model::{Scope, Uid},
    source::{WatchFailure, WatchHealth},
};

/// Takes what a watch sees, event by event. It is called by the watch's task, so it never waits.
pub trait Sink: Send + Sync + 'static {
    /// What is to be kept of the objects from now on; `None`: nothing. Asked before each line of
    /// a stream and before each page.
    fn keep(&self) -> Option<Arc<Keep>>;

    /// An event, of which was kept what the [`Keep`] of this number says.
    fn take(&self, scope: Scope, event: Event<Object>, kept: u64);

    /// A list names this object, but in a form that cannot be used.
    fn seen(&self, scope: Scope, uid: &Uid);

    /// The server was heard; `events`: so many were taken since this was said last.
    fn heard(&self, scope: Scope, events: usize);

    /// The watch stands differently now.
    fn changed(&self, scope: Scope, health: WatchHealth, last_failure: Option<&WatchFailure>);
}
