use std::path::PathBuf;

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

use super::*;

/// In the year 2025.
const NOW: Duration = Duration::from_secs(1_750_000_000);

/// PEM of a certificate of these years, and of its key.
fn pair(from: i32, until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn parse(identity: Option<(&str, &str)>, authorities: Option<&str>) -> Result<Set, String> {
    let contents = Contents {
        identity: identity.map(|(certificate, key)| (certificate.into(), key.into())),
        authorities: authorities.map(Into::into),
        of_the_system: None,
    };
    let paths = Paths {
        identity: identity.map(|_| (PathBuf::from("/c.pem"), PathBuf::from("/k.pem"))),
        authorities: match authorities {
            None => Authorities::None,
            Some(_) => Authorities::File("/ca.pem".into()),
        },
    };
    Set::parse(&contents, &paths, NOW)
}

#[test]
fn a_chain_its_key_and_authorities_are_one_set() {
    let (certificate, key) = pair(2025, 2027);
    let (old, _) = pair(2020, 2021);
    // One of two authorities may be over, and chain and key may stand in one file.
    let both = format!("a word\n{key}\n{certificate}");
    for (identity, authorities, shown) in [
        (Some((certificate.as_str(), key.as_str())), None, 1),
        (Some((&both, &both)), Some(format!("{old}{certificate}")), 3),
        (None, Some(certificate.clone()), 1),
    ] {
        let set = parse(identity, authorities.as_deref()).unwrap();
        assert_eq!(set.identity.is_some(), identity.is_some());
        assert_eq!(set.authorities.is_some(), authorities.is_some());
        assert_eq!(set.certificates.len(), shown);
        let names: &[&str] = if identity.is_some() {
            &["a.example"]
        } else {
            &[]
        };
        assert_eq!(set.names(), names);
    }
}

#[test]
fn what_is_no_set_is_one_line_that_says_why_and_which_file() {
    let (certificate, key) = pair(2025, 2027);
    let (_, other) = pair(2025, 2027);
    let (expired, expired_key) = pair(2023, 2025);
    let (early, early_key) = pair(2026, 2027);
    let half = &certificate[..certificate.len() / 2];
    let broken = key.replacen("MI", "NI", 1);
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let ours = |certificate, key| parse(Some((certificate, key)), None);
    for (parsed, clues) in [
        (ours("", &key), ["/c.pem", "holds no certificate"]),
        (ours(half, &key), ["/c.pem", "not PEM"]),
        (ours(&certificate, ""), ["/k.pem", "holds no private key"]),
        (ours(&certificate, &key[..60]), ["/k.pem", "not the PEM"]),
        (ours(&certificate, &broken), ["/k.pem", "broken"]),
        (ours(&certificate, encrypted), ["/k.pem", "encrypted"]),
        (
            ours(&certificate, &other),
            ["/c.pem and the key file /k.pem", "another"],
        ),
        (
            ours(&expired, &expired_key),
            ["/c.pem", "has expired, on 2025-01-01"],
        ),
        (
            ours(&early, &early_key),
            ["/c.pem", "not valid before 2026-01-01"],
        ),
        (parse(None, Some("")), ["/ca.pem", "holds no certificate"]),
        (parse(None, Some(half)), ["/ca.pem", "half-written"]),
        (
            parse(None, Some(&format!("{certificate}{half}"))),
            ["/ca.pem", "half-written"],
        ),
        (parse(None, Some(odd)), ["/ca.pem", "can be read"]),
        (parse(None, Some(&key)), ["/ca.pem", "holds no certificate"]),
        (parse(None, Some(&expired)), ["/ca.pem", "has expired"]),
        (
            parse(None, Some(&format!("{expired}{early}"))),
            ["/ca.pem", "has expired"],
        ),
    ] {
        let why = parsed.map(drop).unwrap_err();
        let has_all = clues.iter().all(|clue| why.contains(clue));
        assert!(has_all && !why.contains('\n'), "{clues:?}: {why}");
        let secret = key.lines().nth(1).unwrap();
        assert!(!why.contains(secret), "{why}");
    }
}

proptest! {
    /// Wherever a file is cut off, it is a set, or one line.
    #[test]
    fn no_file_is_cut_off_too_oddly(at in any::<prop::sample::Index>()) {
        let (certificate, key) = pair(2025, 2027);
        let cut = |text: &str| text[..at.index(text.len())].to_owned();
        for parsed in [
            parse(Some((&cut(&certificate), &key)), None),
            parse(Some((&certificate, &cut(&key))), None),
            parse(None, Some(&cut(&certificate))),
        ] {
            if let Err(why) = parsed {
                prop_assert!(!why.contains('\n') && !why.is_empty(), "{why:?}");
            }
        }
    }
}
