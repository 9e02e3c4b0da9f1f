//! One connection to the reducer, and how it comes to be.
//!
//! Invariants: input is read and thrown away all the time, and a connection ends with FIN:
//! unread input or a stall would turn the close into RST, on which the reducer leaks pods (D5).
//!
//! Absent here: what is sent, when to connect again, what lies above TCP ([`super::transport`]).

use std::{
    fmt, io,
    net::{Shutdown, SocketAddr, ToSocketAddrs as _},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::TcpStream,
    task::coop::unconstrained,
    time::timeout,
};

use super::{
    outbox::Outbox,
    transport::{Layer, Socket, Transport},
};
use crate::{ha::Fence, late::Late};

/// Finds the addresses of a name and port.
#[derive(Clone)]
pub struct Resolver(Arc<Lookup>);

type Lookup = dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// The waits and options of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// How long finding a name's addresses may take. Default 10 s.
    pub resolve_timeout: Duration,
    /// How long connecting to one address may take. Default 10 s.
    pub connect_timeout: Duration,
    /// Idle time before the kernel probes whether the peer is there. Default 10 s.
    pub keepalive_time: Duration,
    /// Between two probes, whole seconds. Default 5 s.
    pub keepalive_interval: Duration,
    /// Probes without answer that end the connection. Default 3.
    pub keepalive_retries: u32,
    /// How long sent bytes may stay unacknowledged. Default 30 s.
    pub user_timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The name has no addresses, or nobody can say.
    #[error("cannot resolve {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// No address let us in; this is what the last one said.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// What happened.
        source: io::Error,
    },
    /// The reducer is there, but the layer above TCP could not be agreed on with it.
    #[error("no TLS with {address}: {source}")]
    Layer {
        /// The last address that was tried.
        address: SocketAddr,
        /// What happened.
        source: io::Error,
    },
}

impl DialError {
    /// A short name for counters.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "resolve",
            Self::Layer { .. } => "tls",
            Self::Connect { source, .. } => {
                let kind = source.kind();
                if kind == io::ErrorKind::ConnectionRefused {
                    "refused"
                } else if kind == io::ErrorKind::TimedOut {
                    "timeout"
                } else {
                    "unreachable"
                }
            }
        }
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// The reducer closed it.
    #[error("the reducer closed the connection")]
    Closed,
    /// It broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// The reducer took no byte for too long (D6).
    #[error("send timeout: the reducer reads nothing")]
    Stalled,
}

/// What went wrong with the connection, or an attempt to have one.
#[derive(Clone, Debug)]
pub struct Failure {
    /// One of [`Failure::REASONS`].
    pub reason: &'static str,
    /// In one line.
    pub text: String,
    /// When.
    pub at: Instant,
}

impl Failure {
    /// Every reason there is: of attempts, then of connections.
    pub const REASONS: [&'static str; 8] = [
        "resolve",
        "refused",
        "timeout",
        "unreachable",
        "tls",
        "closed",
        "broken",
        "send_timeout",
    ];
}

/// An open connection.
pub(super) struct Link {
    transport: Box<dyn Transport>,
    /// Who polls it. What is written between two polls must not take its place.
    waker: Waker,
    user_timeout: Duration,
    /// Whether the kernel watches over progress, or only we do.
    trusted: bool,
    /// A layer above TCP has bytes that the network has not taken yet.
    holds: bool,
    /// What may hold up pods, one frame at a time.
    fence: Option<Fence>,
    discarded: u64,
}

/// What one round of writing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Bytes the network took.
    pub(super) bytes: usize,
    /// Whether it takes no more now.
    pub(super) blocked: bool,
}

/// Connects to the first address that lets us in. Names are resolved each time.
pub(super) async fn dial(
    resolver: Resolver,
    host: String,
    port: u16,
    tcp: Tcp,
    layer: Layer,
    fence: Option<Fence>,
) -> Result<Link, DialError> {
    let lookup = timeout(tcp.resolve_timeout, resolver.resolve(host.clone(), port)).await;
    let addresses = match lookup.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(addresses) => addresses,
        Err(source) => return Err(DialError::Resolve { host, source }),
    };
    tracing::debug!(host, port, ?addresses, "connecting to the reducer");
    let source = io::Error::new(io::ErrorKind::NotFound, "no address");
    let mut error = DialError::Resolve { host, source };
    for address in addresses {
        let mut is_there = false;
        let open = Link::open(address, &tcp, &layer, fence.clone(), &mut is_there);
        let attempt = timeout(tcp.connect_timeout, open).await;
        error = match (attempt, is_there) {
            (Ok(Ok(link)), _) => return Ok(link),
            (Ok(Err(source)), false) => DialError::Connect { address, source },
            (Ok(Err(source)), true) => DialError::Layer { address, source },
            (Err(_), false) => {
                let source = io::ErrorKind::TimedOut.into();
                DialError::Connect { address, source }
            }
            (Err(_), true) => {
                let source = io::Error::new(io::ErrorKind::TimedOut, NO_ANSWER);
                DialError::Layer { address, source }
            }
        };
        tracing::debug!(%address, %error, "a connection attempt failed");
    }
    Err(error)
}

impl Tcp {
    /// Has a connection notice a peer that has gone without a word. Small messages leave at once.
    /// An option that the system refuses, as sandboxes do, is left out.
    pub fn guard(&self, stream: &TcpStream) {
        let socket = SockRef::from(stream);
        optional("TCP_NODELAY", socket.set_tcp_nodelay(true));
        // One by one: a system that refuses one of them still gets the others.
        for (name, keepalive) in [
            (
                "TCP_KEEPIDLE",
                TcpKeepalive::new().with_time(self.keepalive_time),
            ),
            (
                "TCP_KEEPINTVL",
                TcpKeepalive::new().with_interval(self.keepalive_interval),
            ),
            (
                "TCP_KEEPCNT",
                TcpKeepalive::new().with_retries(self.keepalive_retries),
            ),
        ] {
            optional(name, socket.set_tcp_keepalive(&keepalive));
        }
        let limit = Some(self.user_timeout);
        optional("TCP_USER_TIMEOUT", socket.set_tcp_user_timeout(limit));
    }
}

impl Link {
    /// `is_there` is set once somebody is.
    async fn open(
        address: SocketAddr,
        tcp: &Tcp,
        layer: &Layer,
        fence: Option<Fence>,
        is_there: &mut bool,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        *is_there = true;
        tcp.guard(&stream);
        // What the peer does not take yet waits with us, where a stall is seen.
        let set = SockRef::from(&stream).set_tcp_notsent_lowat(KERNEL_BACKLOG);
        optional("TCP_NOTSENT_LOWAT", set);
        Ok(Self {
            transport: layer.over(Socket::new(stream, fence.clone())).await?,
            waker: Waker::noop().clone(),
            user_timeout: tcp.user_timeout,
            trusted: true,
            holds: false,
            fence,
            discarded: 0,
        })
    }

    /// Our address and the reducer's.
    pub(super) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let tcp = self.transport.tcp();
        Some((tcp.local_addr().ok()?, tcp.peer_addr().ok()?))
    }

    /// The reducer's address.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.transport.tcp().peer_addr().ok()
    }

    /// Bytes that the reducer said, which it never should.
    pub(super) fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Reads and throws away what there is, up to a bound; ready when the connection is
    /// over. Who is over the bound is asked again after everybody else had a turn.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<Loss> {
        let mut scratch = [0; 4096];
        for _ in 0..ROUNDS {
            let mut read = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.transport).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if read.filled().is_empty() => {
                    return Poll::Ready(Loss::Closed);
                }
                Poll::Ready(Ok(())) => self.discarded += read.filled().len() as u64,
                Poll::Ready(Err(error)) if is_idle(&error) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Hands bytes to the network until it takes no more, up to a bound.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
    ) -> io::Result<Written> {
        self.waker.clone_from(cx.waker());
        let written = self.write(cx, outbox, ROUNDS)?;
        if !written.blocked && !self.holds && self.next(outbox).is_some() {
            cx.waker().wake_by_ref();
        }
        Ok(written)
    }

    /// Hands bytes to the network as far as it takes them at once. The rest is for
    /// [`Self::poll_write`], whose caller is woken for it.
    pub(super) fn try_write(&mut self, outbox: &mut Outbox) -> io::Result<Written> {
        let waker = self.waker.clone();
        let write = std::future::poll_fn(|cx| Poll::Ready(self.write(cx, outbox, usize::MAX)));
        // What the network takes is asked of the network, not of a budget of this task.
        match pin!(unconstrained(write)).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(written) => written,
            Poll::Pending => Ok(Written::default()),
        }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
        rounds: usize,
    ) -> io::Result<Written> {
        let mut written = Written::default();
        for _ in 0..rounds {
            // With a fence, what a layer still has belongs to the frame before.
            if self.fence.is_some() && self.flush(cx)?.is_pending() {
                break;
            }
            let Some((bytes, control)) = self.next(outbox) else {
                break;
            };
            if let Some(fence) = &self.fence {
                fence.set_control(control);
            }
            match Pin::new(&mut self.transport).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(len)) => {
                    outbox.advance(len);
                    written.bytes += len;
                    self.trust();
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    written.blocked = !self.is_shut();
                    return Ok(written);
                }
            }
        }
        // A layer may have taken more than the network has.
        written.blocked = self.flush(cx)?.is_pending() && !self.is_shut();
        Ok(written)
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        let flushed = Pin::new(&mut self.transport).poll_flush(cx)?;
        self.holds = flushed.is_pending();
        Ok(flushed)
    }

    /// What may be written now.
    fn next<'a>(&self, outbox: &'a Outbox) -> Option<(&'a [u8], bool)> {
        match &self.fence {
            None => outbox.next(true, true),
            Some(fence) => outbox.next(fence.may_begin(), fence.is_open()),
        }
    }

    /// Whether pods are held up, so that what waits is no stall.
    fn is_shut(&self) -> bool {
        self.fence.as_ref().is_some_and(|fence| !fence.is_open())
    }

    /// Whether the network has all that was taken from the outbox, as far as was seen by writing.
    pub(super) fn is_flushed(&self) -> bool {
        !self.holds
    }

    /// Bytes that were taken from the outbox, and that the network does not have, at most.
    pub(super) fn held(&self) -> usize {
        self.transport.held()
    }

    /// Our own clock decides about a stall from here on. The kernel's limit, which a
    /// closed window also runs into, would end the connection with RST.
    pub(super) fn distrust(&mut self) {
        self.trusted = false;
        self.set_user_timeout(None);
    }

    /// Sends FIN behind all that the network has taken. What a stalled peer takes later
    /// still reaches it, and then the FIN.
    pub(super) fn end(&mut self) {
        self.distrust();
        let mut cx = Context::from_waker(Waker::noop());
        let is_held_up = self.is_shut() && self.held() > 0;
        if let Some(fence) = self.fence.as_ref().filter(|_| !is_held_up) {
            fence.set_control(true);
        }
        let ended = match is_held_up {
            // The last word of a layer would take pods along.
            true => Poll::Pending,
            false => Pin::new(&mut self.transport).poll_shutdown(&mut cx),
        };
        let ended = match ended {
            Poll::Ready(ended) => ended,
            // A layer cannot say its last word now: the FIN does not wait for it.
            Poll::Pending => SockRef::from(self.transport.tcp()).shutdown(Shutdown::Write),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "the connection broke before the relay closed it");
        }
    }

    /// The network takes bytes: the kernel may watch over it again.
    fn trust(&mut self) {
        if !std::mem::replace(&mut self.trusted, true) {
            self.set_user_timeout(Some(self.user_timeout));
        }
    }

    fn set_user_timeout(&self, limit: Option<Duration>) {
        if let Err(error) = SockRef::from(self.transport.tcp()).set_tcp_user_timeout(limit) {
            tracing::debug!(%error, "cannot set the connection's user timeout");
        }
    }
}

impl Resolver {
    /// Finds addresses by `lookup`.
    pub fn new<F>(lookup: impl Fn(String, u16) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Self(Arc::new(move |host, port| Box::pin(lookup(host, port))))
    }

    /// The addresses of a host, which may be one itself.
    pub(super) async fn resolve(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        (self.0)(host, port).await
    }
}

impl Default for Resolver {
    /// Asks the operating system. A look-up that takes longer than anybody waits goes on, and
    /// the next attempt gets its answer: with a dead first nameserver each takes 5 s a step.
    fn default() -> Self {
        let late = Arc::new(Late::default());
        Self::new(move |host, port| {
            let late = late.clone();
            async move {
                let question = (host, port);
                let found = late.get(question.clone(), move || {
                    let found = question.to_socket_addrs();
                    // An error of the system cannot be copied; its text can.
                    found.map_or_else(
                        |error| Err((error.kind(), error.to_string())),
                        |found| Ok(found.collect::<Vec<_>>()),
                    )
                });
                match found.await.map_err(io::Error::other)? {
                    Ok(found) => Ok(found),
                    Err((kind, text)) => Err(io::Error::new(kind, text)),
                }
            }
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            resolve_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            keepalive_time: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(5),
            keepalive_retries: 3,
            user_timeout: Duration::from_secs(30),
        }
    }
}

impl Loss {
    /// A short name for counters.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Broken(_) => "broken",
            Self::Stalled => "send_timeout",
        }
    }
}

/// Notes an option of a socket that the system refuses. The connection works without.
fn optional(option: &'static str, set: io::Result<()>) {
    if let Err(error) = set {
        tracing::debug!(option, %error, "the kernel refused a socket option");
    }
}

fn is_idle(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// What a peer does that waits for something else than we say.
const NO_ANSWER: &str = "it does not answer the TLS handshake in time. Does it speak TLS?";

/// Reads or writes before somebody else has a turn.
const ROUNDS: usize = 16;

/// With this many unsent bytes the kernel takes no more. The smallest number there is: a peer
/// whose window is closed is then met by our next heartbeat, long before the kernel's own limit,
/// which would end the connection with RST.
const KERNEL_BACKLOG: u32 = 1;
