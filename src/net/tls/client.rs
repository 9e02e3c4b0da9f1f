//! Our side of the connections that we open.

use std::{io, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, client::Resumption, crypto::ring, pki_types::ServerName,
        sign::SingleCertAndKey,
    },
};

use super::{
    files::Paths,
    material::{Material, Materials, Role, TlsError},
    reason::{Failure, Other},
    set::Set,
    verifier::Verifier,
};

/// TLS as it is spoken to one server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientTls {
    material: Arc<Material<ClientConfig>>,
    name: ServerName<'static>,
}

impl ClientTls {
    /// Reads the files. `host` is the name that the server's certificate must have.
    ///
    /// # Errors
    /// The files cannot be read or used, or there can be no certificate for `host`.
    pub async fn load(role: Role, paths: Paths, host: &str) -> Result<Self, TlsError> {
        let name = server_name(host).map_err(|why| TlsError { role, why })?;
        let material = Material::load(role, paths, config).await?;
        Ok(Self { material, name })
    }

    /// Has the files looked at again with `materials`.
    pub fn kept_by(&self, materials: &mut Materials) {
        materials.add(self.material.clone());
    }

    /// Makes the handshake. Takes as long as the server does.
    ///
    /// # Errors
    /// There is no TLS with this server.
    pub async fn connect<S>(&self, stream: S) -> Result<TlsStream<S>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(self.material.config());
        let connected = connector.connect(self.name.clone(), stream).await;
        connected.map_err(|error| Failure::of(&error, Other::Server))
    }

    /// The same error, in words if it is one of TLS: a server may find fault with us late.
    pub fn explain(error: io::Error) -> io::Error {
        match error.get_ref() {
            Some(inner) if inner.is::<tokio_rustls::rustls::Error>() => {
                io::Error::new(error.kind(), Failure::of(&error, Other::Server))
            }
            Some(_) | None => error,
        }
    }
}

fn config(set: &Set) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let authorities = set.authorities.clone().unwrap_or_default();
    let verifier = Verifier::by(authorities, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &set.identity {
        None => config.with_no_client_auth(),
        Some(identity) => {
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.clone())))
        }
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// A host's name or address as certificates know it.
///
/// # Errors
/// It is none.
pub fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.trim_end_matches('.');
    ServerName::try_from(bare.to_owned())
        .map_err(|_| format!("`{host}` is not the name of a server"))
}
