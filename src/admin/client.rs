//! Asks a running relay, over TCP or its socket file.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::net::tls::{ClientTls, Failure};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// Where a relay may be asked.
#[derive(Clone, Debug)]
pub enum Target {
    /// At this host and port.
    Tcp(String, u16),
    /// At this host and port, over TLS.
    Tls(String, u16, ClientTls),
    /// At this socket file.
    Unix(std::path::PathBuf),
}

/// Why there is no answer, or which.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody is there.
    #[error("nothing listens there")]
    Unreachable(#[source] io::Error),
    /// The process there does not answer in time.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    TooSlow(Duration),
    /// Somebody is there, with whom there is no TLS.
    #[error("no TLS with what is there: {0}")]
    NoTls(#[from] Failure),
    /// What answers is no relay.
    #[error("what answers there is not a k8s-relay: {0}")]
    Stranger(String),
    /// The relay says no, in its own words.
    #[error("{0}")]
    Refused(String),
    /// The relay does not know what it was asked about.
    #[error("{0}")]
    Unknown(String),
    /// The relay says no, because a step before has not had its effect yet.
    #[error("{0}")]
    InProgress(String),
    /// The relay has tried, and nothing has come of it.
    #[error("{0}")]
    Failed(String),
    /// The relay has no time, and has done nothing.
    #[error("{0}")]
    Busy(String),
}

/// What a relay says when it says no.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    failed: bool,
    #[serde(default)]
    in_progress: bool,
}

impl CallError {
    fn stranger(problem: impl ToString) -> Self {
        Self::Stranger(problem.to_string())
    }
}

/// Asks for this path, and waits so long at most; gives the answer as it came and as it is read.
///
/// # Errors
/// There is no answer, or it is a refusal.
pub async fn call<T: DeserializeOwned>(
    target: &Target,
    method: Method,
    path: &str,
    limit: Duration,
) -> Result<(Bytes, T), CallError> {
    let (code, answer) = timeout(limit, exchange(target, method, path))
        .await
        .unwrap_or(Err(CallError::TooSlow(limit)))?;
    if code.is_success() {
        let read = serde_json::from_slice(&answer).map_err(CallError::stranger)?;
        return Ok((answer, read));
    }
    match serde_json::from_slice(&answer) {
        Ok(Refusal {
            error,
            failed,
            in_progress,
        }) => Err(match code {
            StatusCode::NOT_FOUND => CallError::Unknown(error),
            StatusCode::SERVICE_UNAVAILABLE => CallError::Busy(error),
            _ if failed => CallError::Failed(error),
            _ if in_progress => CallError::InProgress(error),
            _ => CallError::Refused(error),
        }),
        Err(_) => Err(CallError::stranger(format_args!("it says {code}"))),
    }
}

async fn exchange(
    target: &Target,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Bytes), CallError> {
    match target {
        Target::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await;
            let stream = stream.map_err(CallError::Unreachable)?;
            ask(stream, method, path, &named(host, *port)).await
        }
        Target::Tls(host, port, tls) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await;
            let stream = stream.map_err(CallError::Unreachable)?;
            let stream = tls.connect(stream).await?;
            ask(stream, method, path, &named(host, *port)).await
        }
        Target::Unix(file) => {
            let stream = UnixStream::connect(file).await;
            let stream = stream.map_err(CallError::Unreachable)?;
            ask(stream, method, path, "localhost").await
        }
    }
}

fn named(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    host: &str,
) -> Result<(StatusCode, Bytes), CallError> {
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(CallError::stranger)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .body(Empty::<Bytes>::new())
        .map_err(CallError::stranger)?;
    let answer = async {
        let answer = requests.send_request(request).await;
        let (head, body) = answer.map_err(CallError::stranger)?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        Ok((head.status, body.map_err(CallError::stranger)?.to_bytes()))
    };
    // The connection moves while the answer is waited for; its end brings that, too.
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}
