//! What answers of a server mean: their heads, their bodies, their failures.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{
    HeaderMap, StatusCode, Uri,
    header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER},
};
use hyper_util::client::legacy;

use super::{
    decode::PageError,
    error::{RequestError, causes, one_line, retry_after},
};

/// A part of a body.
pub(super) enum Part {
    Data(Bytes),
    End(RequestError),
}

impl Part {
    pub(super) fn of(frame: Option<Result<http_body::Frame<Bytes>, kube::Error>>) -> Self {
        match frame {
            // Trailers say nothing.
            Some(Ok(frame)) => Self::Data(frame.into_data().unwrap_or_default()),
            Some(Err(error)) => Self::End(RequestError::Cut(words(&error))),
            None => Self::End(RequestError::Regular),
        }
    }
}

pub(super) fn end_of_page(error: PageError) -> RequestError {
    match error {
        PageError::Refused(status) => RequestError::Refused(status.into()),
        PageError::InvalidJson { at: 0 } | PageError::NotAList => RequestError::NotAnApiServer,
        PageError::InvalidJson { .. } => RequestError::InvalidJson,
    }
}

/// What has happened, without kube's own name for it.
pub(super) fn words(error: &kube::Error) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| causes(error), causes)
}

/// Why a request has no answer. A connection that ends before it is distinguished from none at all:
/// a quiet watch whose head a proxy holds back may end so.
pub(super) fn no_answer(error: &kube::Error) -> RequestError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if let Some(sent) = one.downcast_ref::<legacy::Error>()
            && !sent.is_connect()
        {
            return RequestError::Cut(words(error));
        }
        cause = one.source();
    }
    RequestError::Unreachable(words(error))
}

/// Where an answer sends us, if it does: the address for `server:` in a kubeconfig. `path`: what
/// was asked for.
pub(super) fn redirect(status: StatusCode, headers: &HeaderMap, path: &str) -> Option<String> {
    if !status.is_redirection() {
        return None;
    }
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let Ok(uri) = location.parse::<Uri>() else {
        return Some(one_line(location));
    };
    let path = path.split('?').next().unwrap_or_default();
    let prefix = uri.path().strip_suffix(path).unwrap_or(uri.path());
    let host = uri.host().unwrap_or_default();
    let port = uri
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    // Without user names or passwords.
    Some(one_line(&match uri.scheme_str() {
        Some(scheme) => format!("{scheme}://{host}{port}{prefix}"),
        None => format!("{host}{port}{}", uri.path()),
    }))
}

pub(super) fn is_html(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// How the bytes of an answer are encoded, if they are. Nothing is asked for but plain ones.
pub(super) fn encoding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let all = texts.collect::<Vec<_>>().join(", ");
    let is_plain = |one: &str| one.trim().is_empty() || one.trim().eq_ignore_ascii_case("identity");
    (!all.split(',').all(is_plain)).then(|| one_line(&all))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_sent_from_what_says_that_it_is_not() {
        for (values, expected) in [
            (&[][..], None),
            (&["identity"], None),
            (&["", "Identity"], None),
            (&["gzip"], Some("gzip")),
            (&["identity, br"], Some("identity, br")),
            (&["deflate", "gzip"], Some("deflate, gzip")),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            assert_eq!(encoding(&headers).as_deref(), expected, "{values:?}");
        }
    }

    #[test]
    fn a_redirect_is_shown_as_the_address_of_a_kubeconfig() {
        let path = "/api/v1/pods?limit=1";
        for (location, expected) in [
            ("https://b:6443/api/v1/pods?limit=1", "https://b:6443"),
            ("https://b/k8s/c-1/api/v1/pods", "https://b/k8s/c-1"),
            ("https://me:secret@b/api/v1/pods", "https://b"),
            ("http://[::1]:1/login", "http://[::1]:1/login"),
            ("/login?next=1", "/login"),
            ("a b\r", "a b"),
        ] {
            let mut headers = HeaderMap::new();
            let Ok(value) = location.trim_end().parse() else {
                panic!("{location}");
            };
            headers.insert(LOCATION, value);
            let to = redirect(StatusCode::TEMPORARY_REDIRECT, &headers, path);
            assert_eq!(to.as_deref(), Some(expected), "{location}");
            assert_eq!(redirect(StatusCode::OK, &headers, path), None);
        }
        let none = HeaderMap::new();
        assert_eq!(redirect(StatusCode::FOUND, &none, path), None);
    }
}
