//! Asks a metadata service over HTTP, at a port or a socket file.

use std::{convert::Infallible, iter::successors, time::Duration};

use bytes::Bytes;
use http::{
    Method, Request, Response,
    header::{CONTENT_TYPE, HOST},
};
use http_body::Body;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::{MetadataError, ServiceArgs};
use crate::{config::AdminAddress, tools::ask::tls_with};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// An answer whose body is still to be read; the connection ends with it.
pub struct Answer {
    /// What has come of it.
    pub response: Response<Incoming>,
    _connection: AbortOnDropHandle<hyper::Result<()>>,
}

/// Asks for this path with this body.
///
/// # Errors
/// Nobody is there, or what is there does not speak HTTP.
pub async fn ask<B>(
    service: &ServiceArgs,
    method: Method,
    path: &str,
    content_type: Option<&str>,
    body: B,
) -> Result<Answer, MetadataError>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let place = &service.address;
    let unreachable = |source| MetadataError::Unreachable {
        place: place.clone(),
        source,
    };
    let late = |_| unreachable(std::io::ErrorKind::TimedOut.into());
    let (host, stream): (String, Box<dyn Stream>) = match place {
        AdminAddress::None => return Err(MetadataError::Nowhere),
        AdminAddress::Tcp(at) => {
            // Where the relay listens on all addresses, this machine's own will do.
            let host = match at.host.as_str() {
                "0.0.0.0" => "127.0.0.1",
                "::" => "::1",
                other => other,
            };
            let connecting = TcpStream::connect((host, at.port));
            let stream = timeout(CONNECT, connecting).await.map_err(late)?;
            let stream = stream.map_err(unreachable)?;
            let identity = service.cert.clone().zip(service.key.clone());
            let stream: Box<dyn Stream> = match tls_with(service.tls_ca.as_deref(), identity, host)
                .await
                .map_err(MetadataError::Files)?
            {
                None => Box::new(stream),
                Some(tls) => {
                    let no_tls = |source| MetadataError::NoTls {
                        place: place.clone(),
                        source,
                    };
                    let handshake = timeout(CONNECT, tls.connect(stream));
                    Box::new(handshake.await.map_err(late)?.map_err(no_tls)?)
                }
            };
            (at.to_string(), stream)
        }
        AdminAddress::Unix(path) => {
            let stream = timeout(CONNECT, UnixStream::connect(path))
                .await
                .map_err(late)?;
            (
                "localhost".to_owned(),
                Box::new(stream.map_err(unreachable)?),
            )
        }
    };
    let no_answer = |problem: String| MetadataError::NoAnswer {
        place: place.clone(),
        problem,
    };
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| no_answer(in_full(&error)))?;
    let connection = running(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host);
    if let Some(content_type) = content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    let request = request
        .body(body)
        .map_err(|error| no_answer(error.to_string()))?;
    match requests.send_request(request).await {
        Ok(response) => Ok(Answer {
            response,
            _connection: connection,
        }),
        Err(error) => {
            // The request knows only that the connection is over, and the connection knows why: a
            // server that speaks TLS refuses a certificate after the handshake.
            drop(requests);
            let why = match timeout(CONNECT, connection).await {
                Ok(Ok(Err(why))) => why,
                Ok(_) | Err(_) => error,
            };
            Err(no_answer(in_full(&why)))
        }
    }
}

/// An error with all that it comes from.
fn in_full(error: &hyper::Error) -> String {
    let sources = successors(std::error::Error::source(error), |error| error.source());
    let sources: Vec<_> = sources.map(ToString::to_string).collect();
    [&[error.to_string()], &sources[..]].concat().join(": ")
}

/// What bytes go through.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

#[expect(
    clippy::disallowed_methods,
    reason = "ended with the answer that it brings"
)]
fn running<T: Send + 'static>(
    connection: impl Future<Output = T> + Send + 'static,
) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(connection))
}
