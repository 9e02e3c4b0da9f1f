//! The admin listener of a relay (D15).

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::info;

use super::{AppError, spawn};
use crate::{
    admin::{Asker, Connections, Limits, Listener, Page, Place, Question, Sources, serve},
    config::AdminAddress,
};

/// A listener that serves. It ends, and its socket file goes, when this is dropped.
pub(super) struct Admin {
    pub(super) place: Place,
    pub(super) task: AbortOnDropHandle<()>,
}

/// Starts it, if there shall be one. Gives what the loop is asked.
///
/// # Errors
/// The address cannot be had.
pub(super) async fn start(
    address: &AdminAddress,
    sources: Sources,
    stop: CancellationToken,
) -> Result<(Option<Admin>, mpsc::Receiver<Question>), AppError> {
    let (asker, questions) = Asker::new();
    let listener = match address {
        AdminAddress::None => return Ok((None, questions)),
        AdminAddress::Tcp(address) => Listener::tcp(&address.host, address.port).await,
        AdminAddress::Unix(path) => Listener::unix(path),
    };
    let failed = |source| AppError::Admin {
        address: address.clone(),
        source,
    };
    let listener = listener.map_err(failed)?;
    let place = listener.place().map_err(|error| failed(error.into()))?;
    info!(admin = %place, "listening");
    let page = Page {
        asker,
        sources,
        limits: Limits::default(),
        stop,
    };
    let task = spawn(serve(listener, page.router(), Connections::default()));
    Ok((Some(Admin { place, task }), questions))
}
