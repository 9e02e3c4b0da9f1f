//! What every call gets, whatever its service: it keeps its connection in use for as long as it
//! is open, and its request is read to the end ([`super::drain`]).

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tonic::{
    Status,
    body::Body,
    codegen::{Bytes, Service},
};

use super::{
    drain::{Drain, Unread},
    remote::{InUse, Remote},
};

/// A service whose calls are counted and whose requests are read to their end.
#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    inner: S,
    drain: Drain,
}

impl<S> Counted<S> {
    pub(super) fn new(inner: S, drain: Drain) -> Self {
        Self { inner, drain }
    }
}

impl<S> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Unread>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Answer>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let remote = request.extensions().get::<Remote>();
        // The request may end long before the answer, and the reverse.
        let [asking, answering] = [(); 2].map(|()| remote.map(Remote::in_use));
        let drain = self.drain.clone();
        let answered = self
            .inner
            .call(request.map(|body| Unread::new(body, drain).in_use(asking)));
        Box::pin(async move {
            let answer = answered.await?;
            Ok(answer.map(|body| Answer {
                body,
                _in_use: answering,
            }))
        })
    }
}

/// The body of an answer: the call is open until it is dropped.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    _in_use: Option<InUse>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
