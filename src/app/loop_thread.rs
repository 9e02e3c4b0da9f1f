//! The thread of the loop and of the watches.
//!
//! An event of the API server passes three tasks: that of the connection, that of the watch, and
//! the loop. Here each hands it on to the next without waking a thread. Workers of a pool wake each
//! other for every event, which costs more than all that is done with it.
//!
//! Invariant: nothing that may block runs here (see [`crate::late`]). Streams, probes and questions
//! are served elsewhere, so a page that is being read holds up nobody but the loop.

use std::{io, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// The thread; it ends soon after this is dropped, and with it every task that is left on it.
#[derive(Debug)]
pub struct LoopThread {
    handle: Handle,
    /// Dropped to end it. Nobody waits for the end: what is to be done in order has been done.
    _running: oneshot::Sender<()>,
}

impl LoopThread {
    /// A thread on which nothing runs yet.
    ///
    /// # Errors
    /// The system has no room for it.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel();
        thread::Builder::new()
            .name("loop".to_owned())
            .spawn(move || {
                // Nothing is ever sent.
                let _ = runtime.block_on(ended);
                // A name that is still being resolved is not waited for.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            handle,
            _running: running,
        })
    }

    /// Where its tasks are started.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn its_tasks_share_one_thread_and_end_with_it() {
        let thread = LoopThread::start().unwrap();
        let names = [(); 2].map(|()| {
            thread.handle().spawn(async {
                // Timers work there, too.
                let late = timeout(Duration::from_millis(1), pending::<()>()).await;
                assert!(late.is_err());
                thread::current().name().map(str::to_owned)
            })
        });
        for name in names {
            assert_eq!(name.await.unwrap().as_deref(), Some("loop"));
        }
        let endless = thread.handle().spawn(pending::<()>());
        drop(thread);
        let ended = timeout(Duration::from_secs(30), endless).await.unwrap();
        assert!(ended.unwrap_err().is_cancelled());
    }
}
