//! The bodies of requests: their type, their encoding, and their bytes up to a limit.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::Refusal;
use crate::enrich_api::{
    Limits,
    counters::{Counters, LimitHit},
    inflate::Inflater,
};

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// `application/json`
    Json,
    /// `application/x-ndjson`
    Lines,
}

/// What the body of a request is.
///
/// # Errors
/// It is nothing that is known here.
pub(super) fn content(headers: &HeaderMap) -> Result<Content, Refusal> {
    let text = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let bare = text.and_then(|text| text.split(|byte| *byte == b';').next());
    let is = |name: &str| {
        bare.is_some_and(|bare| bare.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    };
    if is("application/json") {
        Ok(Content::Json)
    } else if is("application/x-ndjson") {
        Ok(Content::Lines)
    } else {
        let error = "the body must be application/x-ndjson or application/json";
        Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error))
    }
}

/// How the body of a request is read.
///
/// # Errors
/// Its encoding is not known here.
pub(super) fn inflater(headers: &HeaderMap) -> Result<Inflater, Refusal> {
    let encoding = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes());
    let error = "the body may be compressed with gzip, and with nothing else";
    Inflater::of(encoding).ok_or_else(|| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error))
}

/// Reads a whole body.
///
/// # Errors
/// It is longer than a batch may be, it is damaged, or it stops coming.
pub(super) async fn whole(
    mut body: Body,
    mut inflater: Inflater,
    limits: &Limits,
    counters: &Counters,
) -> Result<Bytes, Refusal> {
    let mut text = BytesMut::new();
    let most = limits.batch_bytes;
    let mut keep = |some: Bytes| {
        if text.len() + some.len() > most {
            counters.hit(LimitHit::Batch);
            let error = format!("the body is longer than {most} bytes");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error));
        }
        text.extend_from_slice(&some);
        Ok(())
    };
    loop {
        let Ok(frame) = timeout(limits.body, body.frame()).await else {
            let error = "the body does not come";
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, error));
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Refusal::bad(format!("the body is cut: {error}")))?;
        let mut piece = frame.into_data().unwrap_or_default();
        while !piece.is_empty() {
            keep(inflater.take(&mut piece).map_err(Refusal::bad)?)?;
        }
    }
    keep(inflater.finish().map_err(Refusal::bad)?)?;
    Ok(text.freeze())
}
