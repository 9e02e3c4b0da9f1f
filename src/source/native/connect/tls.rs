//! TLS towards an API server: who vouches for it, and who we are.
//!
//! Invariants: whatever PEM holds, what comes of it is a configuration or one line.

use std::sync::Arc;

use tokio_rustls::rustls::{
    self, ClientConfig,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    sign::SingleCertAndKey,
};

pub(super) use crate::net::tls::client::server_name;
use crate::net::tls::{
    set::{KINDS, Named, identity},
    verifier::Verifier,
};

/// Our certificate and its key, as kubeconfigs call them.
const NAMED: Named<'_> = Named {
    certificate: "the client-certificate",
    key: "the client-key",
};

/// What a kubeconfig says about TLS, with the contents of the files that it names.
#[derive(Clone, Debug, Default)]
pub(super) struct Material {
    /// PEM of authorities; `None`: those of the system.
    pub(super) authority: Option<Vec<u8>>,
    /// Nobody needs to vouch for the server.
    pub(super) insecure: bool,
    /// The server speaks no TLS; a proxy in front of it may.
    pub(super) plain: bool,
    /// The name in the server's certificate, if that is not the host's.
    pub(super) server_name: Option<String>,
    /// PEM of our certificates and of the key.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// TLS as it is spoken to one server.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    /// See [`Material::server_name`].
    pub(super) server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// May read the system's authorities.
    ///
    /// # Errors
    /// Something in it is unusable.
    pub(super) fn new(material: &Material) -> Result<Self, String> {
        Self::with(material, of_the_system)
    }

    /// The same, with the system's authorities from here.
    fn with(
        material: &Material,
        of_the_system: impl FnOnce() -> Result<Vec<CertificateDer<'static>>, String>,
    ) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let by = |authorities| {
            let verifier = Verifier::by(authorities, &provider);
            verifier.map_err(|why| format!("the certificate-authority {why}"))
        };
        let verifier = match (&material.authority, material.insecure) {
            (_, true) => Verifier::of_anybody(&provider),
            (Some(pem), false) => by(authorities(pem)?)?,
            (None, false) => match of_the_system() {
                Ok(authorities) => by(authorities)?,
                // An image from scratch has none, and nobody here has to show a certificate.
                Err(_) if material.plain => Verifier::of_nobody(&provider),
                Err(why) => return Err(why),
            },
        };
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match &material.identity {
            None => config.with_no_client_auth(),
            Some((certificates, key)) => {
                let identity = identity(certificates, key, &provider, NAMED)?;
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
            }
        };
        let server_name = material
            .server_name
            .as_deref()
            .map(server_name)
            .transpose()?;
        Ok(Self {
            config: Arc::new(config),
            server_name,
        })
    }
}

/// What went wrong with TLS, and what to do if that is a matter of what is supported.
#[expect(deprecated, reason = "older kinds of the same error")]
pub(super) fn explain(error: &rustls::Error) -> String {
    use rustls::{AlertDescription, CertificateError, Error, OtherError};
    let is_unsupported = matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::UnsupportedSignatureAlgorithm
                | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) | Error::AlertReceived(AlertDescription::HandshakeFailure)
            | Error::PeerIncompatible(_)
    );
    if is_unsupported {
        return format!(
            "is there a certificate of a kind that is not supported, such as P-521? Supported: \
             {KINDS} ({error})"
        );
    }
    if let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error
        && matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
    {
        return format!("{error} (it may itself be put into certificate-authority-data)");
    }
    error.to_string()
}

/// The certificates of a bundle. As with other tools, one that cannot be read is left out if
/// there is another.
fn authorities(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    let mut flaw = None;
    for one in CertificateDer::pem_slice_iter(bytes) {
        match one {
            Ok(one) => found.push(one),
            Err(error) => flaw = Some(error.to_string()),
        }
    }
    match (found.is_empty(), flaw) {
        (false, _) => Ok(found),
        (true, Some(flaw)) => Err(format!("the certificate-authority is not PEM: {flaw}")),
        (true, None) => Err("the certificate-authority holds no certificate".to_owned()),
    }
}

fn of_the_system() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    match (found.certs.is_empty(), found.errors.first()) {
        (false, _) => Ok(found.certs),
        (true, Some(error)) => Err(format!("the system's authorities cannot be read: {error}")),
        (true, None) => {
            Err("no certificate-authority is named, and the system has no authorities".to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
