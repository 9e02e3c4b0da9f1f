//! How clients get in: certificates made for this run, and the kubeconfig that names them.

use std::{net::SocketAddr, sync::Arc};

use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

use super::ApiError;

/// A server's certificate, and the authority that signed it.
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    /// The authority's certificate.
    pub(super) authority: String,
}

impl Tls {
    /// Makes both, for `localhost` and an address.
    pub(super) fn make(addr: SocketAddr) -> Result<Self, ApiError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "simulated authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        // With the authority's name it would look self-signed.
        params
            .distinguished_name
            .push(DnType::CommonName, "simulated API server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names.push(SanType::IpAddress(addr.ip()));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        let key = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|why| ApiError::Tls(rustls::Error::General(why.to_owned())))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            authority: authority.pem(),
        })
    }
}

/// A kubeconfig for the server; JSON is YAML.
pub(super) fn kubeconfig(addr: SocketAddr, authority: Option<&str>, token: Option<&str>) -> Value {
    let cluster = match authority {
        Some(pem) => json!({
            "server": format!("https://{addr}"),
            "certificate-authority-data": ByteString(pem.as_bytes().to_vec()),
        }),
        None => json!({"server": format!("http://{addr}")}),
    };
    let user = match token {
        Some(token) => json!({"token": token}),
        None => json!({}),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "simulated", "cluster": cluster}],
        "users": [{"name": "relay", "user": user}],
        "contexts": [
            {"name": "simulated", "context": {"cluster": "simulated", "user": "relay"}}
        ],
        "current-context": "simulated",
    })
}
