//! The way to an API server: its address, the proxy before it, TLS, and a pool of connections.
//!
//! Invariants: whatever is between us and the first byte of a request takes no longer than the
//! limit; names are looked up at each new connection, never twice at the same time.

use std::{
    error::Error as StdError,
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::BoxFuture;
use http::{
    HeaderMap, HeaderValue, Request, Response, Uri,
    header::PROXY_AUTHORIZATION,
    uri::{PathAndQuery, Scheme},
};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{
        Client, Error,
        connect::{
            Connected, Connection, HttpConnector,
            dns::Name,
            proxy::{SocksV5, Tunnel},
        },
    },
    rt::{TokioExecutor, TokioIo},
};
use kube::client::Body;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls, rustls::pki_types::ServerName};
use tower::{Service, ServiceExt as _, service_fn};

use super::{
    proxy::{Kind, Proxy},
    tls::{self, Tls},
};
use crate::late::Late;

type BoxError = Box<dyn StdError + Send + Sync>;

/// A way to a server, as one set of credentials.
pub(super) struct Way {
    /// Which one of this process it is.
    pub(super) number: u64,
    server: Uri,
    headers: HeaderMap,
    client: Client<Connector, Body>,
}

/// What a way is made of.
pub(super) struct Parts {
    pub(super) server: Uri,
    pub(super) proxy: Option<Proxy>,
    pub(super) tls: Tls,
    pub(super) headers: HeaderMap,
    /// To connect.
    pub(super) limit: Duration,
}

impl Way {
    pub(super) fn new(number: u64, parts: Parts) -> Self {
        let mut headers = parts.headers;
        let mut absolute = false;
        if let Some(proxy) = &parts.proxy
            && proxy.kind != Kind::Socks5
            && parts.server.scheme() == Some(&Scheme::HTTP)
        {
            absolute = true;
            headers.extend(login(proxy).map(|login| (PROXY_AUTHORIZATION, login)));
        }
        let connector = Connector {
            http: dialer(parts.limit),
            proxy: parts.proxy,
            absolute,
            tls: parts.tls,
            limit: parts.limit,
        };
        Self {
            number,
            server: parts.server,
            headers,
            client: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    /// Sends a request whose address is a path.
    pub(super) fn send(
        &self,
        mut request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Incoming>, BoxError>> + use<> {
        let uri = absolute(&self.server, request.uri());
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        let sent = uri.map(|uri| {
            *request.uri_mut() = uri;
            self.client.request(request)
        });
        async move { sent?.await.map_err(|error: Error| error.into()) }
    }
}

/// A path below the server's address, which may have one itself.
fn absolute(server: &Uri, path: &Uri) -> Result<Uri, BoxError> {
    let wanted = path.path_and_query().map_or("/", PathAndQuery::as_str);
    let below = server.path().trim_end_matches('/');
    let mut parts = server.clone().into_parts();
    parts.path_and_query = Some(format!("{below}{wanted}").parse()?);
    Ok(Uri::from_parts(parts)?)
}

fn login(proxy: &Proxy) -> Option<HeaderValue> {
    let (name, password) = proxy.login.as_ref()?;
    let login = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    let mut login = HeaderValue::try_from(login).ok()?;
    login.set_sensitive(true);
    Some(login)
}

// === connecting ===

type Dialer = HttpConnector<Resolver>;

/// TCP, to each of the addresses of a name.
fn dialer(limit: Duration) -> Dialer {
    let mut http = HttpConnector::new_with_resolver(Resolver::default());
    http.enforce_http(false);
    http.set_connect_timeout(Some(limit));
    http
}

#[derive(Clone)]
struct Connector {
    http: Dialer,
    proxy: Option<Proxy>,
    /// A proxy is sent whole addresses.
    absolute: bool,
    tls: Tls,
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let limit = connector.limit;
            match timeout(limit, connector.connect(server)).await {
                Ok(connected) => connected,
                Err(_) => {
                    let limit = humantime::format_duration(limit);
                    Err(format!("no connection within {limit}").into())
                }
            }
        })
    }
}

impl Connector {
    async fn connect(self, server: Uri) -> Result<Stream, BoxError> {
        let has_tls = server.scheme() != Some(&Scheme::HTTP);
        let stream = match &self.proxy {
            None => self.dial(&server).await?,
            Some(proxy) => {
                let through = self.through(proxy, &server, has_tls).await;
                through.map_err(|error| format!("by the proxy {}: {error}", proxy.address))?
            }
        };
        let inner = match has_tls {
            true => self.secure(stream, &server).await?,
            false => stream,
        };
        Ok(Stream {
            stream: TokioIo::new(inner),
            absolute: self.absolute,
        })
    }

    async fn through(&self, proxy: &Proxy, server: &Uri, has_tls: bool) -> Result<Bytes, String> {
        let stream = self
            .dial(&proxy.address)
            .await
            .map_err(|error| words(&*error))?;
        let mut stream = match proxy.kind {
            Kind::Http | Kind::Socks5 => stream,
            Kind::Https => {
                let secured = self.secure(stream, &proxy.address).await;
                secured.map_err(|error| words(&*error))?
            }
        };
        let port = server.port_u16().unwrap_or(if has_tls { 443 } else { 80 });
        let target = format!("https://{}:{port}/", server.host().unwrap_or_default());
        let target: Uri = target.parse().map_err(|_| "no host".to_owned())?;
        let address = proxy.address.clone();
        match proxy.kind {
            Kind::Http | Kind::Https if !has_tls => {}
            Kind::Http | Kind::Https => {
                let mut tunnel = Tunnel::new(address, already(stream));
                if let Some(login) = login(proxy) {
                    tunnel = tunnel.with_auth(login);
                }
                let tunnelled = tunnel.oneshot(target).await;
                stream = tunnelled.map_err(|error| words(&error))?.into_inner();
            }
            Kind::Socks5 => {
                let mut socks = SocksV5::new(address, already(stream));
                if let Some((name, password)) = &proxy.login {
                    socks = socks.with_auth(name.clone(), password.clone());
                }
                let tunnelled = socks.oneshot(target).await;
                stream = tunnelled.map_err(|error| words(&error))?.into_inner();
            }
        }
        Ok(stream)
    }

    async fn dial(&self, to: &Uri) -> Result<Bytes, BoxError> {
        let stream = self.http.clone().oneshot(to.clone()).await?;
        Ok(Box::new(stream.into_inner()))
    }

    async fn secure(&self, stream: Bytes, to: &Uri) -> Result<Bytes, BoxError> {
        let name: ServerName<'static> = match &self.tls.server_name {
            Some(name) => name.clone(),
            None => tls::server_name(to.host().unwrap_or_default())?,
        };
        let connector = TlsConnector::from(self.tls.config.clone());
        let secured = connector.connect(name, stream).await;
        let secured = secured.map_err(|error| handshake(&error))?;
        Ok(Box::new(secured))
    }
}

fn handshake(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match tls.map(|error: &rustls::Error| tls::explain(error)) {
        Some(explained) => format!("TLS: {explained}"),
        None => format!("TLS: {error}"),
    }
}

fn words(error: &(dyn StdError + 'static)) -> String {
    super::super::error::causes(error)
}

/// For a handshake with a proxy, over a connection that is there already.
fn already(
    stream: Bytes,
) -> impl Service<
    Uri,
    Response = TokioIo<Bytes>,
    Error = io::Error,
    Future = std::future::Ready<io::Result<TokioIo<Bytes>>>,
> {
    let mut stream = Some(TokioIo::new(stream));
    service_fn(move |_| {
        let stream = stream.take().ok_or(io::ErrorKind::NotConnected.into());
        std::future::ready(stream)
    })
}

// === names ===

/// Looks up one name at a time, the one of the server or of its proxy.
#[derive(Clone, Default)]
struct Resolver(Arc<Late<String, Result<Vec<SocketAddr>, String>>>);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let late = self.0.clone();
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found = late.get(name.clone(), move || {
                let found = (name.as_str(), 0).to_socket_addrs();
                found
                    .map(Iterator::collect)
                    .map_err(|error| error.to_string())
            });
            let found = found.await.map_err(io::Error::other)?;
            Ok(found.map_err(io::Error::other)?.into_iter())
        })
    }
}

// === streams ===

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// A connection, whatever is below it.
type Bytes = Box<dyn Both>;

/// A connection as hyper wants it.
struct Stream {
    stream: TokioIo<Bytes>,
    absolute: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.absolute)
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
