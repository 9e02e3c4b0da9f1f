//! Our side of the connections that we accept.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        server::{NoServerSessionStorage, WebPkiClientVerifier},
        sign::SingleCertAndKey,
    },
};

use super::{
    files::Paths,
    material::{Material, Materials, Role, TlsError},
    reason::{Failure, Reason},
    set::Set,
};
use crate::net::{Peer, Seldom};

/// How long a handshake may take: as long as the head of a request.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// Whether clients show a certificate, where there are authorities to vouch for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCerts {
    /// They must.
    #[default]
    Required,
    /// They may; what they may do without one is decided by who answers.
    Optional,
}

/// TLS as a listener speaks it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerTls {
    material: Arc<Material<ServerConfig>>,
    within: Duration,
}

impl ServerTls {
    /// Reads the files. `protocols` are the names of what is spoken within (ALPN).
    ///
    /// # Errors
    /// The files cannot be read or used.
    pub async fn load(
        role: Role,
        paths: Paths,
        clients: ClientCerts,
        protocols: &'static [&'static str],
    ) -> Result<Self, TlsError> {
        let make = move |set: &Set| config(set, clients, protocols);
        let material = Material::load(role, paths, make).await?;
        Ok(Self {
            material,
            within: HANDSHAKE_WITHIN,
        })
    }

    /// Handshakes take this long at most.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// Has the files looked at again with `materials`.
    pub fn kept_by(&self, materials: &mut Materials) {
        materials.add(self.material.clone());
    }

    /// The names of the certificate in use.
    pub fn names(&self) -> Vec<String> {
        self.material.set().names().to_vec()
    }

    /// Whether clients can prove who they are.
    pub fn knows_clients(&self) -> bool {
        self.material.set().authorities.is_some()
    }

    /// How long a handshake may take.
    pub(super) fn limit(&self) -> Duration {
        self.within
    }

    /// Makes handshakes with what is in use now.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.material.config())
    }
}

fn config(set: &Set, clients: ClientCerts, protocols: &[&str]) -> Result<ServerConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let identity = set.identity.clone().ok_or("there is no certificate")?;
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = match &set.authorities {
        None => config.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(authorities.iter().cloned());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match clients {
                ClientCerts::Required => verifier,
                ClientCerts::Optional => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| error.to_string())?;
            config.with_client_cert_verifier(verifier)
        }
    };
    let mut config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    Ok(config)
}

/// The failed handshakes of one server, counted and logged. Ports without TLS have them, too.
#[derive(Debug)]
pub struct Handshakes {
    listener: &'static str,
    failed: [AtomicU64; Reason::ALL.len()],
    lines: [Seldom; Reason::ALL.len()],
}

impl Handshakes {
    /// None so far, of the server of this name.
    pub fn new(listener: &'static str) -> Arc<Self> {
        Arc::new(Self {
            listener,
            failed: Default::default(),
            lines: Default::default(),
        })
    }

    /// Which server's they are; a label.
    pub fn listener(&self) -> &'static str {
        self.listener
    }

    /// How many failed since the start, by reason.
    pub fn failed(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = self.failed.iter().map(|count| count.load(Relaxed));
        Reason::ALL.into_iter().zip(counts)
    }

    /// Counts a failure. The first of a kind is worth a line, and then one a minute.
    pub(in crate::net) fn fail(&self, peer: Peer, failure: &Failure) {
        let at = Reason::ALL.iter().position(|one| *one == failure.reason);
        let all = self.failed.iter().zip(&self.lines);
        let Some((count, line)) = at.and_then(|at| all.into_iter().nth(at)) else {
            return;
        };
        count.fetch_add(1, Relaxed);
        let (listener, reason) = (self.listener, failure.reason.label());
        // Probes that only connect do that all the time.
        if failure.reason == Reason::Closed {
            tracing::debug!(listener, %peer, reason, why = %failure, "no TLS with a client");
        } else if line.permits() {
            tracing::warn!(listener, %peer, reason, why = %failure, "no TLS with a client");
        }
    }
}

impl Default for Handshakes {
    fn default() -> Self {
        Self {
            listener: "other",
            failed: Default::default(),
            lines: Default::default(),
        }
    }
}
