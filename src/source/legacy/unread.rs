//! Reads on what a call has left unread, and throws it away.
//!
//! When the relay ends a call, its watcher is still sending. h2 charges each small frame
//! that nobody reads to a budget of the whole connection and never gives that back once
//! the request's body was dropped: after a few ended calls it would end the connection with
//! `too_many_data_frames`. So a dropped body is read on until the watcher has
//! seen the call's status and ends its side, at most for `linger`.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http_body::{Body as _, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    Status,
    body::Body,
    codegen::{Bytes, Service, http::Request},
    server::NamedService,
};

use super::connection::{InUse, Peer};

/// What the tasks that read on need.
#[derive(Clone, Debug)]
pub(super) struct Linger {
    pub(super) limit: Duration,
    pub(super) tasks: TaskTracker,
    pub(super) kill: CancellationToken,
    pub(super) runtime: Handle,
}

/// A service whose requests' bodies are read to their end, whoever drops them.
#[derive(Clone, Debug)]
pub(super) struct ReadOn<S> {
    pub(super) inner: S,
    pub(super) linger: Linger,
}

impl<S: Service<Request<Unread>>> Service<Request<Body>> for ReadOn<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        let linger = self.linger.clone();
        let in_use = request.extensions().get::<Peer>().map(Peer::in_use);
        self.inner.call(request.map(|body| Unread {
            body: Some(body),
            linger,
            _in_use: in_use,
        }))
    }
}

impl<S: NamedService> NamedService for ReadOn<S> {
    const NAME: &'static str = S::NAME;
}

/// A request's body that survives its own drop for a while.
#[derive(Debug)]
pub(super) struct Unread {
    /// `None` once it has ended.
    body: Option<Body>,
    linger: Linger,
    _in_use: Option<InUse>,
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
        // Mostly the watcher is gone already, and no task is needed.
        if read_on(&mut body, &mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        let Linger {
            limit,
            tasks,
            kill,
            runtime,
        } = self.linger.clone();
        let reading = async move {
            tokio::select! {
                () = std::future::poll_fn(|cx| read_on(&mut body, cx)) => {}
                () = tokio::time::sleep(limit) => {}
                () = kill.cancelled() => {}
            }
        };
        tasks.spawn_on(reading, &runtime);
    }
}

/// Throws away what is there; ready when the body has ended.
fn read_on(body: &mut Body, cx: &mut Context<'_>) -> Poll<()> {
    // A watcher that sends as fast as this reads must not keep the thread.
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
