use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};

use super::*;

/// PEM of a certificate and of its key.
fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["a".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn ours(certificate: &str, key: &str) -> Result<Tls, String> {
    Tls::new(&Material {
        insecure: true,
        identity: Some((certificate.into(), key.into())),
        ..Material::default()
    })
}

#[test]
fn where_the_system_has_no_authorities_a_server_without_tls_needs_none() {
    let none = || Err("the system has no authorities".to_owned());
    for (plain, insecure, usable) in [
        (true, false, true),
        (false, true, true),
        (false, false, false),
    ] {
        let material = Material {
            plain,
            insecure,
            ..Material::default()
        };
        let made = Tls::with(&material, none);
        assert_eq!(made.is_ok(), usable, "plain: {plain}, insecure: {insecure}");
    }
}

#[test]
fn a_certificate_and_its_key_say_who_we_are() {
    let (certificate, key) = pair();
    assert!(ours(&certificate, &key).is_ok());
    // Some tools write both into both files, and words around them.
    let both = format!("a word\n{key}\n{certificate}\n{certificate}");
    assert!(ours(&both, &both).is_ok());
}

#[test]
fn a_certificate_of_version_1_says_who_we_are_too() {
    // As `openssl x509 -req` makes it without extensions.
    let certificate = "\
        -----BEGIN CERTIFICATE-----\n\
        MIIBFDCBuwIUJ5J2/OnQ/12YIEQT8SSLBN5N9HcwCgYIKoZIzj0EAwIwDTELMAkG\n\
        A1UEAwwCY2EwHhcNMjYxMTMwMjE1OTMyWhcNMzYxMTI3MjE1OTMyWjANMQswCQYD\n\
        VQQDDAJtZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCqrtWuli8LH4XZZzoRk\n\
        YgXehV1Ct0Bp01UXYOapGWrojaROa/kuMZvXY+uZR8459BwOTJD+H3+ryV6y4XkS\n\
        WukwCgYIKoZIzj0EAwIDSAAwRQIhAIobCDo4sUph78qXSTpujbP1XjD+LdaVgtsj\n\
        dQcl9tj2AiBw4N0suq/0oWJVmoxKizCCnJ9BWO+y9GZLUrkD1HMDZw==\n\
        -----END CERTIFICATE-----\n";
    let key = "\
        -----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgT+aHEaIA9Rcv+L/5\n\
        cCbFe1TA/bkc0PfvMG9ju+qG5iyhRANCAAQqq7VrpYvCx+F2Wc6EZGIF3oVdQrdA\n\
        adNVF2DmqRlq6I2kTmv5LjGb12PrmUfOOfQcDkyQ/h9/q8lesuF5Elrp\n\
        -----END PRIVATE KEY-----\n";
    let (_, other) = pair();
    assert!(ours(certificate, key).is_ok());
    let why = ours(certificate, &other).unwrap_err();
    assert!(
        why.contains("client-certificate and the client-key"),
        "{why}"
    );
}

#[test]
fn what_to_do_about_an_unsupported_kind_of_key_comes_before_what_may_be_cut_off() {
    let why = explain(&rustls::Error::AlertReceived(
        rustls::AlertDescription::HandshakeFailure,
    ));
    let why = format!("client error (Connect): TLS: {why}");
    let said = why
        .get(..crate::source::native::error::MAX_WORDS)
        .unwrap_or(&why);
    assert!(said.contains("P-521") && said.contains("Ed25519"), "{said}");
}

#[test]
fn what_is_no_identity_is_one_line_that_says_so() {
    let (certificate, key) = pair();
    let (_, other) = pair();
    let broken = key.replace('M', "N");
    let p521 = "-----BEGIN PRIVATE KEY-----\n\
        MGACAQAwEAYHKoZIzj0CAQYFK4EEACMESTBHAgEBBEIAcVb5zOd0j2V1nPYCCbHh\n\
        rS3k9c2R5l0n1JmvJp3xUwJ4g9YdXc0dYbXl1KpC0kD2aV6wXn1pW8Yv6r5cJ0k=\n\
        -----END PRIVATE KEY-----\n";
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (certificate, key, clue) in [
        ("", key.as_str(), "holds no certificate"),
        ("junk", &key, "holds no certificate"),
        (&certificate, "", "no private key"),
        (&certificate, &certificate, "no private key"),
        (
            &certificate,
            &other,
            "client-certificate and the client-key",
        ),
        (&certificate, &broken, "client-key"),
        (&certificate, p521, "P-384"),
        (&certificate, encrypted, "encrypted"),
    ] {
        let why = ours(certificate, key).unwrap_err();
        assert!(why.contains(clue) && !why.contains('\n'), "{clue}: {why}");
    }
}

#[test]
fn authorities_are_certificates_and_junk_alongside_them_does_not_matter() {
    let (certificate, key) = pair();
    let by = |authority: &str| {
        Tls::new(&Material {
            authority: Some(authority.into()),
            ..Material::default()
        })
    };
    assert!(by(&certificate).is_ok());
    assert!(by(&format!("{key}\n# a word\n{certificate}")).is_ok());
    let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(by(&format!("{odd}{certificate}")).is_ok());
    for (authority, clue) in [
        ("", "no certificate"),
        (key.as_str(), "no certificate"),
        (odd, "can be read"),
    ] {
        let why = by(authority).unwrap_err();
        assert!(why.contains(clue), "{why}");
    }
}

proptest! {
    /// Whatever stands in keys, certificates and names, it is taken or refused in one line.
    #[test]
    fn no_key_certificate_or_name_is_too_odd(
        at in any::<prop::sample::Index>(),
        with in any::<char>(),
        cut in any::<prop::sample::Index>(),
        name in ".{0,20}",
    ) {
        let (certificate, key) = pair();
        let change = |text: &str| {
            let mut letters: Vec<char> = text.chars().collect();
            let at = at.index(letters.len());
            letters[at] = with;
            letters.truncate(letters.len().min(cut.index(2 * text.len())));
            letters.into_iter().collect::<String>()
        };
        let (odd_certificate, odd_key) = (change(&certificate), change(&key));
        for material in [
            Material { authority: Some(odd_certificate.clone().into()), ..Material::default() },
            Material { insecure: true, server_name: Some(name), ..Material::default() },
            Material {
                insecure: true,
                identity: Some((odd_certificate.into(), key.into())),
                ..Material::default()
            },
            Material {
                insecure: true,
                identity: Some((certificate.into(), odd_key.into())),
                ..Material::default()
            },
        ] {
            if let Err(why) = Tls::new(&material) {
                prop_assert!(!why.contains('\n') && !why.is_empty(), "{why:?}");
            }
        }
    }
}
