//! The admin listeners of a relay (D15).

use std::sync::Arc;

use futures_util::future::select_all;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{info, warn};

use super::{AppError, spawn};
use crate::{
    admin::{AdminApi, Connections, Limits, Sources, serve},
    config::{AdminAddress, AdminAddresses},
    driver::query::DriverHandle,
    net::{
        BoundAddr, ListenError, Listener,
        tls::{Handshakes, ServerTls},
    },
};

/// Listeners that serve. They end, and their socket files go, when this is dropped.
pub(super) struct Admin {
    /// At least one.
    pub(super) addresses: Vec<BoundAddr>,
    pub(super) task: AbortOnDropHandle<()>,
}

/// Starts them, if there shall be any. They ask `driver`.
///
/// # Errors
/// An address that was asked for cannot be had.
pub(super) async fn start(
    addresses: &AdminAddresses,
    driver: DriverHandle,
    sources: Sources,
    tls: (Option<ServerTls>, Arc<Handshakes>),
    stop: CancellationToken,
) -> Result<Option<Admin>, AppError> {
    let (mut bound, mut listeners) = (Vec::new(), Vec::new());
    for address in &addresses.at {
        let listener = match listen(address).await {
            Ok(Some(listener)) => listener,
            Ok(None) => continue,
            Err(source) if addresses.asked_for => {
                let address = address.clone();
                return Err(AppError::Admin { address, source });
            }
            Err(error) => {
                warn!(
                    %address, %error,
                    "the relay runs without an admin listener: it cannot bind the default address. Set --admin-address"
                );
                continue;
            }
        };
        let at = listener.address().map_err(|error| AppError::Admin {
            address: address.clone(),
            source: error.into(),
        })?;
        info!(admin = %at, "listening");
        bound.push(at);
        let (tls, handshakes) = tls.clone();
        listeners.push(listener.secured(tls, handshakes));
    }
    if listeners.is_empty() {
        return Ok(None);
    }
    let router = AdminApi {
        driver,
        sources,
        limits: Limits::default(),
        stop,
    }
    .router();
    let serving = listeners
        .into_iter()
        .map(move |listener| Box::pin(serve(listener, router.clone(), Connections::default())));
    // None of them ends by itself.
    let serving = select_all(serving);
    let task = spawn(async move { drop(serving.await) });
    let addresses = bound;
    Ok(Some(Admin { addresses, task }))
}

async fn listen(address: &AdminAddress) -> Result<Option<Listener>, ListenError> {
    match address {
        AdminAddress::None => Ok(None),
        AdminAddress::Tcp(address) => Listener::tcp(&address.host, address.port).await.map(Some),
        AdminAddress::Unix(path) => Listener::unix(path).map(Some),
    }
}
