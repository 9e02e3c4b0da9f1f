//! TLS of a relay: to the reducer, and on its own ports.

use std::{io::IsTerminal as _, sync::Arc};

use tokio::sync::watch;

use super::{end::Part, spawn};
use crate::{
    config::{Config, ListenerTls, ReducerTls},
    net::tls::{
        Authorities, ClientCerts, ClientTls, Handshakes, Materials, Paths, Role, ServerTls,
        TlsError, material::LOOK,
    },
};

const REDUCER: Role = Role {
    label: "reducer",
    words: "to the reducer",
};
const COLLECT: Role = Role {
    label: "collect",
    words: "for legacy watchers",
};
const ADMIN: Role = Role {
    label: "admin",
    words: "of the admin listener",
};
const ENRICHMENT: Role = Role {
    label: "enrichment",
    words: "of the metadata service",
};

/// What is spoken within TLS at each port.
const HTTP_2: &[&str] = &["h2"];
const HTTP_1: &[&str] = &["http/1.1"];
const HTTP_BOTH: &[&str] = &["h2", "http/1.1"];

/// TLS as the settings want it.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) reducer: Option<ClientTls>,
    pub(super) collect: Option<ServerTls>,
    pub(super) admin: Option<ServerTls>,
    pub(super) enrichment: Option<ServerTls>,
    /// All of them, to be kept up with their files.
    pub(super) materials: Materials,
    /// The failed handshakes of the `Collect` ports, of the admin listener and of the metadata
    /// service.
    pub(super) handshakes: [Arc<Handshakes>; 3],
}

impl Tls {
    /// Reads all files.
    ///
    /// # Errors
    /// Some cannot be read or used.
    pub(super) async fn load(config: &Config) -> Result<Self, TlsError> {
        let mut materials = Materials::default();
        let reducer = match &config.reducer_tls {
            None => None,
            Some(tls) => {
                let tls = to_reducer(tls, &config.intake.host).await?;
                tls.kept_by(&mut materials);
                Some(tls)
            }
        };
        let collect = &config.server_tls;
        let collect = listener(COLLECT, collect, ClientCerts::Required, HTTP_2).await?;
        // Probes have no certificate; the listener itself asks all others for one.
        let admin = &config.admin_tls;
        let admin = listener(ADMIN, admin, ClientCerts::Optional, HTTP_1).await?;
        let enrichment = &config.enrich.tls;
        let enrichment = listener(ENRICHMENT, enrichment, ClientCerts::Required, HTTP_BOTH).await?;
        for tls in [&collect, &admin, &enrichment].into_iter().flatten() {
            tls.kept_by(&mut materials);
        }
        materials.say();
        Ok(Self {
            reducer,
            collect,
            admin,
            enrichment,
            materials,
            handshakes: [COLLECT, ADMIN, ENRICHMENT].map(|role| Handshakes::new(role.label)),
        })
    }
}

async fn to_reducer(tls: &ReducerTls, host: &str) -> Result<ClientTls, TlsError> {
    let paths = Paths {
        identity: tls.identity.clone(),
        authorities: match &tls.ca {
            Some(path) => Authorities::File(path.clone()),
            None => Authorities::System,
        },
    };
    let name = tls.server_name.as_deref().unwrap_or(host);
    ClientTls::load(REDUCER, paths, name).await
}

async fn listener(
    role: Role,
    tls: &Option<ListenerTls>,
    clients: ClientCerts,
    protocols: &'static [&'static str],
) -> Result<Option<ServerTls>, TlsError> {
    let Some(tls) = tls else { return Ok(None) };
    let paths = Paths {
        identity: Some((tls.certificate.clone(), tls.key.clone())),
        authorities: match &tls.client_ca {
            Some(path) => Authorities::File(path.clone()),
            None => Authorities::None,
        },
    };
    ServerTls::load(role, paths, clients, protocols)
        .await
        .map(Some)
}

/// The task that reads certificates and keys again, if there are any.
pub(super) fn keeping(materials: Materials, asked: watch::Receiver<u64>) -> Part<()> {
    const NAME: &str = "keeper of certificates";
    match materials.is_empty() {
        true => Part::none(NAME),
        false => Part::new(NAME, spawn(materials.keep(LOOK, asked))),
    }
}

/// Whether SIGHUP asks for files to be read again. To a process on a terminal it says that the
/// terminal is gone, and without TLS there is nothing to read: then the relay ends in order.
pub(super) fn hangup_rereads(config: &Config) -> bool {
    let of_listeners = [&config.server_tls, &config.admin_tls, &config.enrich.tls];
    let has_tls = config.reducer_tls.is_some() || of_listeners.into_iter().any(Option::is_some);
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    has_tls && !stdin.is_terminal() && !stdout.is_terminal() && !stderr.is_terminal()
}
