//! Why there is no TLS with a peer: in one line for people, and as a label.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "kinds of errors of rustls and of the system, of which there will be more"
)]

use std::{fmt, io, time::Duration};

use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError, OtherError, PeerIncompatible, pki_types::ServerName,
};

use super::certificate::date;

/// Why there is no TLS with a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// As a label.
    pub reason: Reason,
    /// In one line, of whoever speaks to the peer.
    pub text: String,
}

/// The kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The peer's certificate is over.
    Expired,
    /// The peer's certificate is not valid yet.
    NotYetValid,
    /// The peer's certificate names others.
    WrongName,
    /// No authority of ours vouches for the peer.
    UnknownIssuer,
    /// The peer's certificate cannot be used for another reason.
    BadCertificate,
    /// The peer shows no certificate.
    NoCertificate,
    /// The peer does not accept our certificate, or that there is none.
    Refused,
    /// There is no version, cipher or protocol that both speak.
    Incompatible,
    /// The peer speaks something that is not TLS.
    PlainText,
    /// The peer speaks TLS where it is not spoken.
    TlsAtPlainPort,
    /// The peer takes too long.
    Timeout,
    /// The peer has ended the connection.
    Closed,
    /// Anything else.
    Other,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    Server,
    Client,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Self; 13] = [
        Self::Expired,
        Self::NotYetValid,
        Self::WrongName,
        Self::UnknownIssuer,
        Self::BadCertificate,
        Self::NoCertificate,
        Self::Refused,
        Self::Incompatible,
        Self::PlainText,
        Self::TlsAtPlainPort,
        Self::Timeout,
        Self::Closed,
        Self::Other,
    ];

    /// The name in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongName => "wrong_name",
            Self::UnknownIssuer => "unknown_issuer",
            Self::BadCertificate => "bad_certificate",
            Self::NoCertificate => "no_certificate",
            Self::Refused => "refused",
            Self::Incompatible => "incompatible",
            Self::PlainText => "plain_text",
            Self::TlsAtPlainPort => "tls_at_plain_port",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Other => "other",
        }
    }
}

impl Failure {
    pub(super) fn new(reason: Reason, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { reason, text }
    }

    /// What an error of a connection to `other` means.
    pub(super) fn of(error: &io::Error, other: Other) -> Self {
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(cause) = cause {
            return Self::explain(cause, other);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::new(
                Reason::Closed,
                match other {
                    Other::Server => {
                        "it ended the connection in the TLS handshake. Does it speak TLS?"
                    }
                    Other::Client => "the client ended the connection in the TLS handshake",
                },
            ),
            _ => Self::new(Reason::Other, error.to_string()),
        }
    }

    fn explain(error: &rustls::Error, other: Other) -> Self {
        use rustls::Error;
        match error {
            Error::InvalidCertificate(error) => certificate(error, other),
            Error::NoCertificatesPresented => Self::new(
                Reason::NoCertificate,
                format!("{other} shows no certificate"),
            ),
            Error::InvalidMessage(_) => Self::new(
                Reason::PlainText,
                match other {
                    Other::Server => "it answers something that is not TLS",
                    Other::Client => "plain text came to a TLS port",
                },
            ),
            Error::AlertReceived(alert) => refusal(*alert, other),
            Error::PeerIncompatible(why) => incompatible(why, other),
            Error::NoApplicationProtocol => Self::new(
                Reason::Incompatible,
                format!("{other} asks for another protocol within TLS (ALPN)"),
            ),
            _ => Self::new(Reason::Other, error.to_string()),
        }
    }
}

/// What is wrong with a peer's certificate.
fn certificate(error: &CertificateError, other: Other) -> Failure {
    let at = |time: &rustls::pki_types::UnixTime| date(Duration::from_secs(time.as_secs()));
    let whose = match other {
        Other::Server => "its certificate",
        Other::Client => "the client's certificate",
    };
    let (reason, text) = match error {
        CertificateError::Expired => (Reason::Expired, format!("{whose} has expired")),
        CertificateError::ExpiredContext { not_after, .. } => (
            Reason::Expired,
            format!("{whose} expired on {}", at(not_after)),
        ),
        CertificateError::NotValidYet => (
            Reason::NotYetValid,
            format!("{whose} is not valid yet. Are both clocks right?"),
        ),
        CertificateError::NotValidYetContext { not_before, .. } => (
            Reason::NotYetValid,
            format!(
                "{whose} is not valid before {}. Are both clocks right?",
                at(not_before)
            ),
        ),
        CertificateError::NotValidForName => {
            (Reason::WrongName, format!("{whose} is for another name"))
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => (
            Reason::WrongName,
            format!(
                "{whose} is not for {}, but for {}",
                named(expected),
                listed(presented)
            ),
        ),
        CertificateError::UnknownIssuer => (
            Reason::UnknownIssuer,
            format!("{whose} was issued by an authority that is not trusted here"),
        ),
        CertificateError::BadSignature => (
            Reason::UnknownIssuer,
            format!(
                "{whose} was issued by an authority that is not trusted here, though it has the \
                 name of one that is"
            ),
        ),
        CertificateError::Other(OtherError(cause)) => (
            Reason::BadCertificate,
            match cause.downcast_ref() {
                Some(webpki::Error::CaUsedAsEndEntity) => {
                    format!("{whose} is an authority's own, which proves nobody's name")
                }
                _ => format!("{whose} cannot be used ({cause})"),
            },
        ),
        other => (
            Reason::BadCertificate,
            format!(
                "{whose} cannot be used ({})",
                first_line(&other.to_string())
            ),
        ),
    };
    Failure { reason, text }
}

/// A peer's last words.
fn refusal(alert: AlertDescription, other: Other) -> Failure {
    let ours = |why: &str| {
        let text = format!("{other} does not accept our certificate: {why}");
        Failure::new(Reason::Refused, text)
    };
    match alert {
        AlertDescription::CertificateExpired => ours("it has expired, or is not valid yet"),
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            ours("it does not trust its issuer")
        }
        AlertDescription::CertificateRevoked => ours("it is revoked"),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => ours("it is not one that it can use"),
        AlertDescription::AccessDenied => ours("access denied"),
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => Failure::new(
            Reason::Refused,
            format!("{other} asks for a certificate, and there is none to show"),
        ),
        AlertDescription::UnrecognisedName => Failure::new(
            Reason::WrongName,
            format!("{other} has no certificate for the name that it was asked for"),
        ),
        AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity
        | AlertDescription::NoApplicationProtocol => Failure::new(
            Reason::Incompatible,
            format!("{other} speaks no version, cipher or protocol of ours ({alert:?})"),
        ),
        AlertDescription::HandshakeFailure => Failure::new(
            Reason::Incompatible,
            format!(
                "{other} refuses the TLS handshake: no cipher or kind of key that both know, or \
                 it misses a certificate of ours"
            ),
        ),
        alert => Failure::new(Reason::Other, format!("{other} ends TLS with {alert:?}")),
    }
}

fn incompatible(why: &PeerIncompatible, other: Other) -> Failure {
    let text = match why {
        PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic => {
            format!("{other} speaks neither TLS 1.2 nor TLS 1.3")
        }
        _ => format!("{other} speaks no cipher or kind of key of ours ({why:?})"),
    };
    Failure::new(Reason::Incompatible, text)
}

fn named(name: &ServerName<'_>) -> String {
    match name {
        ServerName::IpAddress(address) => std::net::IpAddr::from(*address).to_string(),
        name => name.to_str().into_owned(),
    }
}

/// The names of a certificate, of which rustls gives texts such as `DnsName("a")`.
fn listed(presented: &[String]) -> String {
    let bare = |text: &String| {
        let inner = text
            .split_once('(')
            .and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(text).trim_matches('"').replace('\n', " ")
    };
    let names: Vec<String> = presented.iter().take(8).map(bare).collect();
    match (names.is_empty(), presented.len() - names.len()) {
        (true, _) => "no name at all (it needs a subject alternative name)".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "it",
            Self::Client => "the client",
        })
    }
}
