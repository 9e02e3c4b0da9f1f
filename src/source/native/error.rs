//! How a request to the API server ends. Pure.
//!
//! Invariant: texts that come from outside are one line of at most [`MAX_WORDS`] bytes.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use super::decode::Status;

/// The longest text of a server or of the system that is kept, in bytes.
pub const MAX_WORDS: usize = 200;

/// Why a request is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The answer is complete.
    #[error("the answer ends without news")]
    Regular,
    /// The answer broke off.
    #[error("the answer breaks off: {0}")]
    Cut(String),
    /// Nothing came in time.
    #[error("the server does not answer in time")]
    Silence,
    /// There was no answer: no address, no connection, no TLS.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The server says no, as its answer or within it.
    #[error("the server answers {0}")]
    Refused(Refusal),
    /// The first events of a streamed list have no end.
    #[error("the server does not say where its first events end (see --list)")]
    NoEndMark,
    /// The server sends us elsewhere. No other tool follows it with our credentials, nor do we.
    #[error(
        "the server redirects to {0}, and the relay does not follow: if that is the API server, set it as \
         `server:` in the kubeconfig"
    )]
    Redirected(String),
    /// Something else than an API server answers.
    #[error("what answers is not a Kubernetes API server")]
    NotAnApiServer,
    /// A part of an answer is no JSON.
    #[error("the answer is not valid JSON")]
    InvalidJson,
    /// Its bytes are not those of the answer (`Content-Encoding`), though nobody asked for that.
    #[error(
        "the answer is encoded (Content-Encoding: {0}), and the relay did not ask for that: have the proxy \
         before the API server leave it as it is"
    )]
    Encoded(String),
    /// A page of a list is too large.
    #[error("a page of the list has more than {0} bytes")]
    TooLarge(usize),
    /// A list goes on and on.
    #[error("the list has more than {0} objects and no end")]
    Endless(usize),
    /// The server knows only versions before the one that we have seen: its store was
    /// restored from a copy.
    #[error("the server is at version {server}, before {ours}")]
    VersionRegressed {
        /// The version that was seen.
        ours: String,
        /// The server's.
        server: String,
    },
}

/// Why a request is over, in one of a few words: what metrics are labelled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The answer is complete: a watch's time is over.
    Ended,
    /// The answer broke off, or the connection did before it began.
    Cut,
    /// Nothing came in time.
    Timeout,
    /// There is no connection.
    Unreachable,
    /// The version is too old (410).
    Expired,
    /// The credentials are not accepted (401).
    Unauthorized,
    /// The credentials do not allow it (403).
    Forbidden,
    /// The server does not know the kind (404).
    NotFound,
    /// The server has too much to do (429, 503, 504).
    Overloaded,
    /// Another answer below 500 that says no.
    Refused,
    /// Another answer that says no: the server is at fault.
    ServerError,
    /// A streamed list has no end.
    NoEndMark,
    /// The server sends us elsewhere (3xx).
    Redirected,
    /// Something else than an API server answers.
    NotAnApiServer,
    /// A part of an answer is no JSON, or all of it is encoded.
    InvalidJson,
    /// A page of a list is too large, or a list has no end.
    TooLarge,
    /// The server's version went back.
    VersionRegressed,
}

/// A no, with its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// As of HTTP.
    pub code: u16,
    /// The server's words for people; one line.
    pub words: String,
    /// How long not to ask again.
    pub retry_after: Option<Duration>,
}

impl RequestError {
    /// The server's code, if it has said no.
    pub fn code(&self) -> Option<u16> {
        self.refusal().map(|refusal| refusal.code)
    }

    /// The reason as one of a few.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Regular => Reason::Ended,
            Self::Cut(_) => Reason::Cut,
            Self::Silence => Reason::Timeout,
            Self::Unreachable(_) => Reason::Unreachable,
            Self::NoEndMark => Reason::NoEndMark,
            Self::Redirected(_) => Reason::Redirected,
            Self::NotAnApiServer => Reason::NotAnApiServer,
            Self::InvalidJson | Self::Encoded(_) => Reason::InvalidJson,
            Self::TooLarge(_) | Self::Endless(_) => Reason::TooLarge,
            Self::VersionRegressed { .. } => Reason::VersionRegressed,
            Self::Refused(refusal) => match refusal.code {
                401 => Reason::Unauthorized,
                403 => Reason::Forbidden,
                404 => Reason::NotFound,
                410 => Reason::Expired,
                429 | 503 | 504 => Reason::Overloaded,
                400..500 => Reason::Refused,
                _ => Reason::ServerError,
            },
        }
    }

    /// How long the server wants us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal()?.retry_after
    }

    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Regular
            | Self::Cut(_)
            | Self::Silence
            | Self::Unreachable(_)
            | Self::NoEndMark
            | Self::Redirected(_)
            | Self::NotAnApiServer
            | Self::InvalidJson
            | Self::Encoded(_)
            | Self::TooLarge(_)
            | Self::Endless(_)
            | Self::VersionRegressed { .. } => None,
        }
    }
}

impl Reason {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Self; 17] = [
        Self::Ended,
        Self::Cut,
        Self::Timeout,
        Self::Unreachable,
        Self::Expired,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Overloaded,
        Self::Refused,
        Self::ServerError,
        Self::NoEndMark,
        Self::Redirected,
        Self::NotAnApiServer,
        Self::InvalidJson,
        Self::TooLarge,
        Self::VersionRegressed,
    ];

    /// The name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Cut => "cut",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Expired => "expired",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Overloaded => "overloaded",
            Self::Refused => "refused",
            Self::ServerError => "server_error",
            Self::NoEndMark => "no_end_mark",
            Self::Redirected => "redirected",
            Self::NotAnApiServer => "not_an_api_server",
            Self::InvalidJson => "invalid_json",
            Self::TooLarge => "too_large",
            Self::VersionRegressed => "version_regressed",
        }
    }
}

impl Refusal {
    /// From the status line, the value of `Retry-After` and the body of an HTTP error.
    pub fn of_answer(code: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        match Status::decode(body) {
            Some(status) => {
                let inner = Self::from(status);
                Self {
                    // Some say 500, and the reason says that the version is too old.
                    code: if inner.code == EXPIRED { EXPIRED } else { code },
                    words: inner.words,
                    retry_after: retry_after.or(inner.retry_after),
                }
            }
            None => Self {
                code,
                words: one_line(&String::from_utf8_lossy(body)),
                retry_after,
            },
        }
    }

    /// Whether the server does not know streamed lists (WatchList).
    pub fn is_about_streamed_lists(&self) -> bool {
        // Before 1.27 it is the other parameter that a server does not know.
        let named = ["sendInitialEvents", "resourceVersionMatch"];
        self.code == 422 || self.code == 400 && named.iter().any(|name| self.words.contains(name))
    }

    /// Whether the same request would always be answered so.
    pub fn is_about_the_request(&self) -> bool {
        (400..500).contains(&self.code) && !matches!(self.code, 401 | 403 | 404 | 408 | 429)
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let text = match status.message.is_empty() {
            true => &status.reason,
            false => &status.message,
        };
        Self {
            code: code_of(&status),
            words: one_line(text),
            retry_after: status
                .retry_after_seconds
                .map(|seconds| Duration::from_secs(seconds.into())),
        }
    }
}

/// The code of what is gone.
const EXPIRED: u16 = 410;

/// The code of a `Status`. `Expired` and `Gone` count by their names, whatever code is with them;
/// without a code each reason stands for the one that it goes with.
fn code_of(status: &Status) -> u16 {
    match (status.reason.as_str(), status.code) {
        ("Expired" | "Gone", _) => EXPIRED,
        (reason, 0) => match reason {
            "BadRequest" => 400,
            "Unauthorized" => 401,
            "Forbidden" => 403,
            "NotFound" => 404,
            "NotAcceptable" => 406,
            "Invalid" => 422,
            "TooManyRequests" => 429,
            "InternalError" | "ServerTimeout" => 500,
            "ServiceUnavailable" => 503,
            "Timeout" => 504,
            _ => 0,
        },
        (_, code) => code,
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        match self.words.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", self.words),
        }
    }
}

/// The value of a `Retry-After` header: seconds, or a date that is compared with `now`, the
/// value of a `Date` header.
pub fn retry_after(value: &str, now: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let now = httpdate::parse_http_date(now.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// The text in one line, without control characters, cut at [`MAX_WORDS`].
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > MAX_WORDS {
            line.truncate(line.floor_char_boundary(MAX_WORDS));
            line.push('…');
            break;
        }
    }
    line
}

/// An error with its causes in one line. A cause that its error repeats is said once.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next.filter(|_| line.len() <= MAX_WORDS) {
        let words = cause.to_string();
        if !line.contains(&words) {
            // Writing to a text cannot fail.
            let _ = write!(line, ": {words}");
        }
        next = cause.source();
    }
    one_line(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_say_in_seconds_or_by_a_date_when_to_ask_again() {
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (value, seconds) in [
            ("0", Some(0)),
            ("7", Some(7)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:42 GMT", Some(5)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(value, now), expected, "{value:?}");
        }
    }

    #[test]
    fn what_is_expired_or_gone_by_its_reason_counts_as_410() {
        let status = |code, reason: &str| Status {
            code,
            reason: reason.to_owned(),
            ..Status::default()
        };
        for (code, reason, expected) in [
            (500, "Expired", 410),
            (0, "Gone", 410),
            (410, "", 410),
            (500, "InternalError", 500),
            (0, "InternalError", 500),
            (0, "TooManyRequests", 429),
            (0, "Forbidden", 403),
            (0, "Whatever", 0),
        ] {
            let refusal = Refusal::from(status(code, reason));
            assert_eq!(refusal.code, expected, "{code} {reason}");
        }
        let body = br#"{"kind":"Status","reason":"Expired","code":500}"#;
        assert_eq!(Refusal::of_answer(500, None, body).code, 410);
        let body = br#"{"kind":"Status","reason":"Forbidden","code":403}"#;
        assert_eq!(Refusal::of_answer(500, None, body).code, 500);
    }

    #[test]
    fn each_reason_has_a_label_of_its_own() {
        let labels: std::collections::BTreeSet<_> = Reason::ALL.map(Reason::label).into();
        assert_eq!(labels.len(), Reason::ALL.len());
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at, "{reason:?}");
        }
        for (code, label) in [
            (0, "server_error"),
            (400, "refused"),
            (401, "unauthorized"),
            (410, "expired"),
            (422, "refused"),
            (429, "overloaded"),
            (500, "server_error"),
            (504, "overloaded"),
        ] {
            let refusal = Refusal {
                code,
                ..Refusal::default()
            };
            assert_eq!(
                RequestError::Refused(refusal).reason().label(),
                label,
                "{code}"
            );
        }
    }

    #[test]
    fn words_of_others_are_one_bounded_line() {
        assert_eq!(one_line(" a\r\n\tb\u{1b}[31mc "), "a b [31mc");
        assert_eq!(one_line(""), "");
        let long = one_line(&"é".repeat(10_000));
        assert!(long.len() <= MAX_WORDS + '…'.len_utf8(), "{}", long.len());
        assert!(long.ends_with("é…"));
    }

    #[test]
    fn the_body_of_an_error_may_be_no_status() {
        let refusal = Refusal::of_answer(404, None, b"404 page not found\n");
        assert_eq!(refusal.to_string(), "404: 404 page not found");
        assert_eq!(Refusal::of_answer(503, None, b"").to_string(), "503");
    }
}
