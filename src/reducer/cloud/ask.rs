//! One request to a metadata service, and its answer.
//!
//! Invariants: a request goes to the service that it is meant for and to nobody else: no proxy, no
//! redirect, no TLS; of an answer at most [`MAX_ANSWER`] bytes are read. Whoever drops the future
//! closes the connection. Absent here: how long anybody waits.

use std::{fmt, io, str::FromStr};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::reducer::Resolver;

/// The longest answer that is read, in bytes.
pub const MAX_ANSWER: usize = 64 << 10;

/// Where a metadata service is. It speaks HTTP without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address, IPv6 without brackets.
    host: String,
    port: u16,
    /// What every path begins with; empty or `/…` without a slash at its end.
    prefix: String,
}

/// Why a text is not the place of a metadata service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not a URL, or one with parts that no metadata service has.
    #[error("expected http://HOST[:PORT], without a user and a query")]
    Url,
    /// Not a host with or without a port.
    #[error("expected HOST[:PORT], with an IPv6 address in brackets")]
    Host,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody can say where it is, or nobody is there.
    #[error("no connection: {0}")]
    Unreachable(#[source] io::Error),
    /// What answers does not speak HTTP, or breaks off.
    #[error("no HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The request cannot be made.
    #[error("no such request: {0}")]
    Request(#[from] http::Error),
    /// It answers, but not with this.
    #[error("it answers {0}")]
    Refused(StatusCode),
    /// Longer than [`MAX_ANSWER`], or it breaks off.
    #[error("its answer cannot be read: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Not text.
    #[error("its answer is not text")]
    Encoding,
    /// An answer of somebody else.
    #[error("its answer has not the header {0}")]
    Stranger(&'static str),
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// `GET` or `PUT`.
    pub method: Method,
    /// Its path, with a slash at its beginning.
    pub path: &'a str,
    /// What it says besides.
    pub header: Option<(&'static str, HeaderValue)>,
    /// What the answer must say, or it is somebody else's.
    pub expects: Option<(&'static str, &'static str)>,
}

impl Endpoint {
    /// Where EC2 has it.
    pub fn aws() -> Self {
        Self::new("169.254.169.254")
    }

    /// Where Google has it.
    pub fn gcp() -> Self {
        Self::new("metadata.google.internal")
    }

    fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            port: 80,
            prefix: String::new(),
        }
    }

    /// Reads `http://HOST[:PORT][/PATH]`, as `AWS_EC2_METADATA_SERVICE_ENDPOINT` has it.
    ///
    /// # Errors
    /// It is something else.
    pub fn of_url(text: &str) -> Result<Self, EndpointError> {
        let url: Uri = text.parse().map_err(|_| EndpointError::Url)?;
        let authority = url.authority().ok_or(EndpointError::Url)?;
        let is_plain = url.scheme_str() == Some("http") && url.query().is_none();
        if !is_plain || text.contains('#') {
            return Err(EndpointError::Url);
        }
        let place = Self::of_host(authority.as_str()).map_err(|_| EndpointError::Url)?;
        Ok(Self {
            prefix: url.path().trim_end_matches('/').to_owned(),
            ..place
        })
    }

    /// Reads `HOST[:PORT]`, as `GCE_METADATA_HOST` has it.
    ///
    /// # Errors
    /// It is something else.
    pub fn of_host(text: &str) -> Result<Self, EndpointError> {
        let authority = http::uri::Authority::from_str(text).map_err(|_| EndpointError::Host)?;
        let (host, rest) = match text.strip_prefix('[') {
            Some(inner) => {
                let (host, rest) = inner.split_once(']').ok_or(EndpointError::Host)?;
                let _: std::net::Ipv6Addr = host.parse().map_err(|_| EndpointError::Host)?;
                (host, rest)
            }
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match rest.strip_prefix(':') {
            None => Some(80),
            Some(_) => authority.port_u16(),
        };
        match port {
            Some(port) if port > 0 && !host.is_empty() && !text.contains('@') => Ok(Self {
                host: host.to_owned(),
                port,
                prefix: String::new(),
            }),
            Some(_) | None => Err(EndpointError::Host),
        }
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// There is no answer, or it is not what was asked for. An answer other than 200, a redirect
    /// for instance, is not followed up.
    pub async fn ask(&self, resolver: &Resolver, ask: Ask<'_>) -> Result<String, AskError> {
        let stream = self.connect(resolver).await?;
        let (mut requests, connection) = http1::Builder::new()
            .max_buf_size(MAX_ANSWER)
            .handshake(TokioIo::new(stream))
            .await?;
        let mut request = Request::builder()
            .method(ask.method)
            .uri(format!("{}{}", self.prefix, ask.path))
            .header(header::HOST, self.authority())
            .header(header::USER_AGENT, AGENT)
            .header(header::CONNECTION, "close");
        if let Some((name, value)) = ask.header {
            request = request.header(name, value);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let answer = async {
            let (head, body) = requests.send_request(request).await?.into_parts();
            if head.status != StatusCode::OK {
                return Err(AskError::Refused(head.status));
            }
            if let Some((name, value)) = ask.expects
                && head.headers.get(name).is_none_or(|found| found != value)
            {
                return Err(AskError::Stranger(name));
            }
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(AskError::Body)?.to_bytes();
            String::from_utf8(body.into()).map_err(|_| AskError::Encoding)
        };
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            // It may end before the last of the answer is read.
            ended = connection => {
                ended?;
                answer.await
            }
        }
    }

    /// Connects to the first address that lets us in.
    async fn connect(&self, resolver: &Resolver) -> Result<TcpStream, AskError> {
        let found = resolver.resolve(self.host.clone(), self.port).await;
        let mut failure = io::Error::from(io::ErrorKind::NotFound);
        for address in found.map_err(AskError::Unreachable)? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(AskError::Unreachable(failure))
    }

    fn authority(&self) -> String {
        match (self.host.contains(':'), self.port) {
            (true, 80) => format!("[{}]", self.host),
            (true, port) => format!("[{}]:{port}", self.host),
            (false, 80) => self.host.clone(),
            (false, port) => format!("{}:{port}", self.host),
        }
    }
}

/// As a URL.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.prefix)
    }
}

const AGENT: &str = concat!("k8s-relay/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_host_with_or_without_a_port() {
        for (text, shown) in [
            ("http://169.254.169.254", Some("http://169.254.169.254")),
            ("http://169.254.169.254/", Some("http://169.254.169.254")),
            ("http://[fd00:ec2::254]", Some("http://[fd00:ec2::254]")),
            ("http://[::1]:1338/", Some("http://[::1]:1338")),
            ("http://imds:80/a/b/", Some("http://imds/a/b")),
            ("HTTP://imds:81", Some("http://imds:81")),
            ("https://169.254.169.254", None),
            ("169.254.169.254", None),
            ("imds:80", None),
            ("http://", None),
            ("http://:80", None),
            ("http://user@imds", None),
            ("http://imds?x=1", None),
            ("http://imds#x", None),
            ("http://imds:0", None),
            ("http://imds:65536", None),
            ("http://imds:", None),
            ("http://[::1", None),
            ("http://[imds]", None),
            ("http://a b", None),
            ("", None),
        ] {
            let read = Endpoint::of_url(text).map(|place| place.to_string());
            assert_eq!(read.ok().as_deref(), shown, "{text}");
        }
        for (text, shown) in [
            (
                "metadata.google.internal",
                Some("http://metadata.google.internal"),
            ),
            ("127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            ("[::1]:8080", Some("http://[::1]:8080")),
            ("::1", None),
            ("http://metadata", None),
            ("metadata/path", None),
            ("user@metadata", None),
            ("", None),
        ] {
            let read = Endpoint::of_host(text).map(|place| place.to_string());
            assert_eq!(read.ok().as_deref(), shown, "{text}");
        }
    }
}
