//! What the process is sent: to end, or to load its profiles again.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::spawn;

/// Counts signals while it is held.
pub(super) struct Signals {
    ends: watch::Receiver<u64>,
    reloads: watch::Receiver<u64>,
    _counting: AbortOnDropHandle<()>,
}

impl Signals {
    /// Counts from now on. A SIGHUP ends the process, unless there is something to reload.
    ///
    /// # Errors
    /// The system has no room for it.
    pub(super) fn count(hangup_reloads: bool) -> io::Result<Self> {
        let (mut term, mut int, mut hup) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            // A terminal that is closed ends the relay, too: in order, or the reducer leaks pods.
            signal(SignalKind::hangup())?,
        );
        let (end, ends) = watch::channel(0);
        let (reload, reloads) = watch::channel(0);
        let counting = spawn(async move {
            loop {
                let to = tokio::select! {
                    _ = term.recv() => { info!("received SIGTERM"); &end }
                    _ = int.recv() => { info!("received SIGINT"); &end }
                    _ = hup.recv() => {
                        info!("received SIGHUP");
                        if hangup_reloads { &reload } else { &end }
                    }
                };
                to.send_modify(|count| *count += 1);
            }
        });
        Ok(Self {
            ends,
            reloads,
            _counting: counting,
        })
    }

    /// Ready when the process was sent so many signals to end.
    pub(super) fn ends(&self, count: u64) -> impl Future<Output = ()> + use<> {
        let mut ends = self.ends.clone();
        async move {
            // They are counted for as long as the process runs.
            let _ = ends.wait_for(|came| *came >= count).await;
        }
    }

    /// Moves with each signal to reload.
    pub(super) fn reloads(&self) -> watch::Receiver<u64> {
        self.reloads.clone()
    }
}
