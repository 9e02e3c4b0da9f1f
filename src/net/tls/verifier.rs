//! Who vouches for a server.
//!
//! Invariants: with authorities, a certificate counts if one of them has signed it, or if it is
//! one of them itself, byte for byte; in any case it must be valid now and hold the server's
//! name, and the server must have its key.

use std::sync::Arc;

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use webpki::{EndEntityCert, KeyUsage};

/// Decides whether a server is the one that is meant.
#[derive(Debug)]
pub struct Verifier {
    trusted: Trusted,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Which servers are meant.
#[derive(Debug)]
enum Trusted {
    Anybody,
    Nobody,
    Known(Known),
}

#[derive(Debug)]
struct Known {
    by_authority: Arc<WebPkiServerVerifier>,
    themselves: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// Accepts any server: for a kubeconfig that asks for that, and for nothing else.
    pub fn of_anybody(provider: &CryptoProvider) -> Self {
        Self {
            trusted: Trusted::Anybody,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    /// Takes nobody: there is no authority.
    pub fn of_nobody(provider: &CryptoProvider) -> Self {
        Self {
            trusted: Trusted::Nobody,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    /// Takes whom these vouch for, and these themselves.
    ///
    /// # Errors
    /// None of them can be read.
    pub fn by(
        themselves: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let (_, ignored) = roots.add_parsable_certificates(themselves.iter().cloned());
        if roots.is_empty() {
            return Err(format!(
                "holds no certificate that can be read, but {ignored} that cannot"
            ));
        }
        let by_authority =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        Ok(Self {
            trusted: Trusted::Known(Known {
                by_authority: by_authority.map_err(|error| error.to_string())?,
                themselves,
            }),
            algorithms: provider.signature_verification_algorithms,
        })
    }

    /// Whether a certificate that is its own authority is valid now and names the server.
    fn verify_itself(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        let bad = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
        let parsed = EndEntityCert::try_from(certificate).map_err(bad)?;
        // Time and use are looked at first. Without authorities the answer to the rest is either
        // that the issuer is unknown, or that an authority's certificate is no server's.
        let usage = KeyUsage::server_auth();
        let all = self.algorithms.all;
        match parsed.verify_for_usage(all, &[], &[], now, usage, None, None) {
            Ok(_) | Err(webpki::Error::UnknownIssuer | webpki::Error::CaUsedAsEndEntity) => Ok(()),
            Err(webpki::Error::CertExpired { time, not_after }) => {
                Err(CertificateError::ExpiredContext { time, not_after }.into())
            }
            Err(webpki::Error::CertNotValidYet { time, not_before }) => {
                Err(CertificateError::NotValidYetContext { time, not_before }.into())
            }
            Err(_) => Err(CertificateError::InvalidPurpose.into()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let known = match &self.trusted {
            Trusted::Anybody => return Ok(ServerCertVerified::assertion()),
            Trusted::Nobody => return Err(CertificateError::UnknownIssuer.into()),
            Trusted::Known(known) => known,
        };
        let by_authority = known.by_authority.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match by_authority {
            Err(_) if known.themselves.contains(end_entity) => self
                .verify_itself(end_entity, server_name, now)
                .map(|()| ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        KeyPair, date_time_ymd,
    };
    use tokio_rustls::rustls::crypto::ring;

    use super::*;

    /// Of the year 2025, of a server `a`.
    fn params(is_authority: bool) -> CertificateParams {
        let mut params = CertificateParams::new(["a".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2025, 12, 31);
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        } else {
            params.is_ca = IsCa::ExplicitNoCa;
        }
        params
    }

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        CertifiedIssuer::self_signed(params(true), KeyPair::generate().unwrap()).unwrap()
    }

    /// A server's certificate by an authority.
    fn leaf(
        params: &CertificateParams,
        by: &CertifiedIssuer<'_, KeyPair>,
    ) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, by).unwrap().der().clone()
    }

    fn verify(
        known: &CertificateDer<'static>,
        shown: &CertificateDer<'static>,
        name: &'static str,
        year: u64,
    ) -> bool {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::by(vec![known.clone()], &provider).unwrap();
        let name = ServerName::try_from(name).unwrap();
        let at = Duration::from_secs((year - 1970) * 31_557_600 + 180 * 86_400);
        let at = UnixTime::since_unix_epoch(at);
        verifier
            .verify_server_cert(shown, &[], &name, &[], at)
            .is_ok()
    }

    #[test]
    fn an_authority_vouches_for_its_leaves_and_a_certificate_for_itself() {
        let by = authority();
        let root = by.der().clone();
        let (one, other) = (leaf(&params(false), &by), leaf(&params(false), &by));
        let mut for_clients = params(false);
        for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let for_clients = leaf(&for_clients, &by);
        let stranger = leaf(&params(false), &authority());
        for (what, known, shown, expected) in [
            ("by an authority", &root, &one, true),
            ("itself, a leaf", &one, &one, true),
            ("itself, an authority", &root, &root, true),
            ("another leaf of the same authority", &one, &other, false),
            ("a leaf of another authority", &root, &stranger, false),
            (
                "its authority, of which it has only the leaf",
                &one,
                &root,
                false,
            ),
            ("a client's", &root, &for_clients, false),
            ("itself, a client's", &for_clients, &for_clients, false),
        ] {
            assert_eq!(verify(known, shown, "a", 2025), expected, "{what}");
            assert!(!verify(known, shown, "b", 2025), "{what}, another name");
            assert!(!verify(known, shown, "a", 2024), "{what}, not yet");
            assert!(!verify(known, shown, "a", 2026), "{what}, no longer");
        }
    }
}
