//! Reads on what a call has left unread, and throws it away.
//!
//! When a service ends a call, its client is still sending. h2 charges each small frame
//! that nobody reads to a budget of the whole connection and never gives that back once
//! the request's body was dropped: after a few ended calls it would end the connection with
//! `too_many_data_frames`. So a dropped body is read on until the client has
//! seen the call's status and ends its side, at most for a while.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http_body::{Body as _, Frame, SizeHint};
use tokio::runtime::Handle;
use tonic::{Status, body::Body, codegen::Bytes};

use super::{Tasks, remote::InUse};

/// What the tasks that read on need.
#[derive(Clone, Debug)]
pub struct Drain {
    limit: Duration,
    tasks: Tasks,
    runtime: Handle,
}

impl Drain {
    /// Reads on for at most `limit`. To be called within a runtime: its tasks run there.
    pub fn new(limit: Duration, tasks: &Tasks) -> Self {
        Self {
            limit,
            tasks: tasks.clone(),
            runtime: Handle::current(),
        }
    }
}

/// A request's body that survives its own drop for a while.
#[derive(Debug)]
pub struct Unread {
    /// `None` once it has ended.
    body: Option<Body>,
    drain: Drain,
    _in_use: Option<InUse>,
}

impl Unread {
    /// This body, read on by `drain`.
    pub fn new(body: Body, drain: Drain) -> Self {
        Self {
            body: Some(body),
            drain,
            _in_use: None,
        }
    }

    /// The same, as a part of a call.
    pub(super) fn in_use(mut self, in_use: Option<InUse>) -> Self {
        self._in_use = in_use;
        self
    }
}

impl http_body::Body for Unread {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take() else {
            return;
        };
        // Mostly the client is gone already, and no task is needed.
        if read_on(&mut body, &mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        let Drain {
            limit,
            tasks: Tasks { tracker, kill },
            runtime,
        } = self.drain.clone();
        let reading = async move {
            tokio::select! {
                () = std::future::poll_fn(|cx| read_on(&mut body, cx)) => {}
                () = tokio::time::sleep(limit) => {}
                () = kill.cancelled() => {}
            }
        };
        tracker.spawn_on(reading, &runtime);
    }
}

/// Throws away what is there; ready when the body has ended.
fn read_on(body: &mut Body, cx: &mut Context<'_>) -> Poll<()> {
    // A client that sends as fast as this reads must not keep the thread.
    for _ in 0..1024 {
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
