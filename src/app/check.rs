//! `--check-config`: what the start would refuse, found without starting anything.
//!
//! Invariants: no request is sent, no name is looked up, no plugin is run, no file is made or
//! changed. What only a running relay stands in the way of is no mistake: the one that is to be
//! replaced may run.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Socket, Type};
use tracing::warn;

use super::{AppError, at_leisure, migrating, tls::Tls, watches};
use crate::{
    config::{AdminAddress, Config, HostPort, Source},
    migrate::Stage,
    net::Listener,
    reducer,
    source::native::{self, NativeError},
};

/// Checks what the start would open and what the form of a flag does not show.
///
/// # Errors
///
/// What the start would end with: the kubeconfig, the state file or the recording cannot be used,
/// or an address not be listened at.
pub async fn check(config: &Config) -> Result<(), AppError> {
    Tls::load(config).await?;
    let ours = config.clone();
    let stage = at_leisure("reading of the state file", move || {
        match ours.source.stage() {
            Some(source) => migrating::would_begin(&ours, source).map(Some),
            None => Ok(None),
        }
    });
    let stage = stage.await??;
    let access = watches::access(&config.native);
    let reached = native::check(&access, native::Limits::default()).await;
    match reached {
        Err(error) if stage.is_none_or(Stage::watches) => {
            return Err(NativeError::Connect(error).into());
        }
        // The start has no use for it yet. What is not named may come with the pod.
        Err(error) if access != native::Access::default() => {
            warn!(%error, "the relay starts, but `k8s-relay migrate shadow` would fail");
        }
        Ok(()) | Err(_) => {}
    }
    let ours = config.clone();
    at_leisure("look at files and addresses", move || places(&ours)).await?
}

fn places(config: &Config) -> Result<(), AppError> {
    if config.source == Source::None {
        return answering(config);
    }
    if let Some(path) = &config.record {
        reducer::Recorder::check(path).map_err(|source| {
            let path = path.clone();
            AppError::Reducer(reducer::ReducerError::Recording { path, source })
        })?;
    }
    can_listen(&config.server_address).map_err(|source| AppError::Listen {
        address: config.server_address.clone(),
        source: source.into(),
    })?;
    answering(config)
}

/// The listeners that answer questions.
fn answering(config: &Config) -> Result<(), AppError> {
    let can_be_had = |address: &AdminAddress| match address {
        AdminAddress::None => Ok(()),
        AdminAddress::Tcp(place) => can_listen(place).map_err(Into::into),
        AdminAddress::Unix(path) => Listener::check_unix(path),
    };
    let address = &config.enrich.address;
    can_be_had(address).map_err(|source| AppError::Enrichment {
        address: address.clone(),
        source,
    })?;
    let admin = &config.admin_address;
    for address in admin.at.iter().filter(|_| admin.asked_for) {
        can_be_had(address).map_err(|source| AppError::Admin {
            address: address.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Whether one of the addresses could be bound, as far as they are known without a look-up.
fn can_listen(place: &HostPort) -> io::Result<()> {
    let addresses: Vec<IpAddr> = match &*place.host {
        "localhost" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        other => other.parse().into_iter().collect(),
    };
    let mut failure = None;
    for address in addresses {
        match bind(SocketAddr::new(address, place.port)) {
            Ok(()) => return Ok(()),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Binds, as the start would, but lets nobody in.
fn bind(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    match socket.bind(&address.into()) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
        bound => bound,
    }
}
