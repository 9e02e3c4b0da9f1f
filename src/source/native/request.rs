//! What is sent, and which answers are read.

use std::{
    future::{Future, pending},
    pin::pin,
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode, header::ACCEPT};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use tokio::time::{sleep_until, timeout};

use super::{
    Options,
    error::{Refusal, RequestError},
    machine::{ApiRequest, WatchMachine},
    resource::Resource,
    response::{Part, encoding, is_html, no_answer, redirect},
    watch::now,
};

/// How an answer with 200 is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sort {
    Stream,
    Page,
    Version,
}

impl Sort {
    pub(super) fn of(ask: &ApiRequest<'_>) -> Self {
        match ask {
            ApiRequest::StreamedList | ApiRequest::Watch { .. } => Self::Stream,
            ApiRequest::Page { .. } => Self::Page,
            ApiRequest::Version { .. } => Self::Version,
        }
    }
}

pub(super) fn request(
    resource: &Resource,
    ask: &ApiRequest<'_>,
    options: &Options,
) -> Result<Request<Body>, http::Error> {
    Request::get(resource.path(ask, &options.timeouts))
        .header(ACCEPT, resource.accept(ask))
        .body(Body::empty())
}

/// What cannot be read as the answer to a request.
pub(super) enum Declined {
    End(RequestError),
    /// It says no.
    Answer(Box<Response<Body>>),
}

/// An answer with 200 of what may be an API server.
pub(super) fn accepted(answer: Response<Body>, path: &str) -> Result<Response<Body>, Declined> {
    let status = answer.status();
    let strange = matches!(
        status,
        StatusCode::OK | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
    ) && is_html(answer.headers());
    if strange {
        return Err(Declined::End(RequestError::NotAnApiServer));
    }
    if let Some(to) = redirect(status, answer.headers(), path) {
        return Err(Declined::End(RequestError::Redirected(to)));
    }
    match (status, encoding(answer.headers())) {
        (StatusCode::OK, None) => Ok(answer),
        (StatusCode::OK, Some(encoding)) => Err(Declined::End(RequestError::Encoded(encoding))),
        _ => Err(Declined::Answer(Box::new(answer))),
    }
}

/// Makes a request and reads all of its answer, of at most `most` bytes, within `patience`.
///
/// # Errors
/// There is none of 200, or it is too large, or late.
pub(super) async fn whole_answer(
    client: Client,
    request: Request<Body>,
    patience: Duration,
    most: usize,
) -> Result<Vec<u8>, RequestError> {
    let answer = async {
        let path = request.uri().path().to_owned();
        let answer = client.send(request).await;
        let answer = answer.map_err(|error| no_answer(&error))?;
        let answer = accepted(answer, &path).map_err(|no| match no {
            Declined::End(end) => end,
            Declined::Answer(no) => {
                RequestError::Refused(Refusal::of_answer(no.status().as_u16(), None, b""))
            }
        })?;
        let (mut body, mut text) = (answer.into_body(), Vec::new());
        loop {
            match Part::of(body.frame().await) {
                Part::Data(data) if text.len() + data.len() <= most => {
                    text.extend_from_slice(&data);
                }
                Part::Data(_) => return Err(RequestError::TooLarge(most)),
                Part::End(RequestError::Regular) => return Ok(text),
                Part::End(end) => return Err(end),
            }
        }
    };
    timeout(patience, answer)
        .await
        .unwrap_or(Err(RequestError::Silence))
}

/// Waits as long as the machine is ready to.
pub(super) async fn in_time<T, O>(
    machine: &mut WatchMachine<T>,
    future: impl Future<Output = O>,
) -> Result<O, RequestError> {
    let mut future = pin!(future);
    loop {
        let due = machine.poll_timeout();
        tokio::select! {
            biased;
            done = &mut future => return Ok(done),
            () = until(due) => if let Some(end) = machine.timed_out(now()) {
                return Err(end);
            },
        }
    }
}

pub(super) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}
