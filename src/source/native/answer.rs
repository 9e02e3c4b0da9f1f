//! What answers of a server mean: their heads, their bodies, their failures.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{
    HeaderMap,
    header::{CONTENT_TYPE, DATE, RETRY_AFTER},
};

use super::{
    decode::PageError,
    ending::{End, causes, retry_after},
};

/// A part of a body.
pub(super) enum Part {
    Data(Bytes),
    End(End),
}

impl Part {
    pub(super) fn of(frame: Option<Result<http_body::Frame<Bytes>, kube::Error>>) -> Self {
        match frame {
            // Trailers say nothing.
            Some(Ok(frame)) => Self::Data(frame.into_data().unwrap_or_default()),
            Some(Err(error)) => Self::End(End::Cut(words(&error))),
            None => Self::End(End::Regular),
        }
    }
}

pub(super) fn end_of_page(error: PageError) -> End {
    match error {
        PageError::Refused(status) => End::Refused(status.into()),
        PageError::Garbled { at: 0 } | PageError::NotAList => End::Stranger,
        PageError::Garbled { .. } => End::Garbled,
    }
}

/// What has happened, without kube's own name for it.
pub(super) fn words(error: &kube::Error) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| causes(error), causes)
}

pub(super) fn is_html(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// What `Retry-After` says. A date is compared with the server's own clock if it shows it.
pub(super) fn wanted_pause(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let wanted = text(RETRY_AFTER)?;
    match text(DATE) {
        Some(now) => retry_after(wanted, now),
        None => retry_after(wanted, &httpdate::fmt_http_date(today())),
    }
}

#[expect(clippy::disallowed_methods, reason = "a server names a date")]
fn today() -> SystemTime {
    SystemTime::now()
}
