//! What a certificate says: whom it names, and until when it is valid.
//!
//! Absent here: whether anybody should believe it.

use std::{fmt::Write as _, time::Duration};

use jiff::Timestamp;
use tokio_rustls::rustls::{
    crypto::ring,
    pki_types::{CertificateDer, UnixTime},
};
use webpki::{EndEntityCert, KeyUsage};

/// Names of one certificate that are shown, at most.
const MOST_NAMES: usize = 16;

/// The longest name that is shown, in bytes.
const LONGEST_NAME: usize = 256;

/// A certificate that a peer has shown, and that was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCert {
    /// Its subject, as in `CN=watcher,O=team`; at most 256 bytes.
    pub subject: String,
    /// Its common names, in order.
    pub common_names: Vec<String>,
    /// Its DNS names and URIs, as in `watcher.otel.svc` and `spiffe://cluster/ns/otel`.
    pub names: Vec<String>,
}

/// Between which times a certificate is valid, both as time since the UNIX epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From.
    pub not_before: Duration,
    /// Until.
    pub not_after: Duration,
}

impl ClientCert {
    /// What this certificate says.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok(parsed) = EndEntityCert::try_from(certificate) else {
            return Self::default();
        };
        let (subject, common_names) = subject(parsed.subject());
        let names = parsed.valid_dns_names().chain(parsed.valid_uri_names());
        Self {
            subject,
            common_names,
            names: names.take(MOST_NAMES).map(shown).collect(),
        }
    }
}

/// When it is valid; `None` if it is of a form that has to be taken on trust (version 1).
pub fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let at = |time| {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(time));
        // The time is looked at before all else.
        let usage = KeyUsage::server_auth();
        parsed
            .verify_for_usage(algorithms.all, &[], &[], time, usage, None, None)
            .err()
    };
    let Some(webpki::Error::CertExpired { not_after, .. }) = at(u64::MAX >> 1) else {
        return None;
    };
    let not_before = match at(0) {
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => not_before,
        _ => UnixTime::since_unix_epoch(Duration::ZERO),
    };
    let secs = |time: UnixTime| Duration::from_secs(time.as_secs());
    Some(Validity {
        not_before: secs(not_before),
        not_after: secs(not_after),
    })
}

/// A time since the UNIX epoch, for people.
pub fn date(since_epoch: Duration) -> String {
    let seconds = i64::try_from(since_epoch.as_secs()).ok();
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "a time far away".to_owned(), |time| time.to_string())
}

/// A stranger's text: no longer than needed, and nothing in it that a terminal obeys.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for char in text.chars() {
        if shown.len() + char.len_utf8() > LONGEST_NAME {
            break;
        }
        shown.push(if char.is_control() { '?' } else { char });
    }
    shown
}

/// A subject as text, and its common names.
fn subject(mut rest: &[u8]) -> (String, Vec<String>) {
    let (mut text, mut common_names) = (String::new(), Vec::new());
    while let Some((SET, mut parts, after)) = element(rest) {
        rest = after;
        while let Some((SEQUENCE, part, after)) = element(parts) {
            parts = after;
            let Some((OBJECT_ID, attribute, value)) = element(part) else {
                continue;
            };
            let Some((_, value, _)) = element(value) else {
                continue;
            };
            let value = shown(&String::from_utf8_lossy(value));
            let label = match attribute {
                [0x55, 4, 3] => "CN",
                [0x55, 4, 6] => "C",
                [0x55, 4, 7] => "L",
                [0x55, 4, 8] => "ST",
                [0x55, 4, 10] => "O",
                [0x55, 4, 11] => "OU",
                _ => continue,
            };
            let between = if text.is_empty() { "" } else { "," };
            // A `String` takes everything.
            let _ = write!(text, "{between}{label}={}", value.replace(',', "\\,"));
            if label == "CN" && common_names.len() < MOST_NAMES {
                common_names.push(value);
            }
        }
    }
    (shown(&text), common_names)
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;

/// The first element of DER: its tag, what is in it, and what comes after it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, len], mut rest) = bytes.split_first_chunk()?;
    let len = match len {
        0..=0x7f => usize::from(len),
        0x81..=0x84 => {
            let mut long = 0;
            for _ in 0x80..len {
                let (&byte, after) = rest.split_first()?;
                long = long << 8 | usize::from(byte);
                rest = after;
            }
            long
        }
        _ => return None,
    };
    let (inner, after) = rest.split_at_checked(len)?;
    Some((tag, inner, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn made(params: CertificateParams) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn a_certificate_says_whom_it_names_and_when_it_is_valid() {
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        let uri = "spiffe://cluster/ns/otel".try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = &mut params.distinguished_name;
        name.push(DnType::OrganizationName, "Ops, Inc.");
        name.push(DnType::CommonName, "watcher\u{1b}");
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2026, 1, 1);
        let certificate = made(params);
        assert_eq!(
            ClientCert::of(&certificate),
            ClientCert {
                subject: "O=Ops\\, Inc.,CN=watcher?".to_owned(),
                common_names: vec!["watcher?".to_owned()],
                names: vec![
                    "a.example".to_owned(),
                    "spiffe://cluster/ns/otel".to_owned()
                ],
            }
        );
        let Validity {
            not_before,
            not_after,
        } = validity(&certificate).unwrap();
        let dates = [date(not_before), date(not_after)];
        assert_eq!(dates, ["2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]);
    }

    #[test]
    fn an_authority_says_when_it_is_valid_as_well() {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(2049, 12, 31);
        let validity = validity(&made(params)).unwrap();
        assert_eq!(date(validity.not_after), "2049-12-31T00:00:00Z");
    }

    proptest! {
        #[test]
        fn no_subject_is_too_odd(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            at in any::<prop::sample::Index>(),
            with in any::<u8>(),
        ) {
            subject(&bytes);
            let mut whole = made(CertificateParams::new(["a".to_owned()]).unwrap()).to_vec();
            let at = at.index(whole.len());
            whole[at] = with;
            let odd = CertificateDer::from(whole);
            let _ = (ClientCert::of(&odd), validity(&odd));
        }
    }
}
