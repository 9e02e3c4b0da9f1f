//! Connections: accepted, served over HTTP/1.1 or HTTP/2, plain or over TLS, and ended.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::{rt::Executor, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use socket2::{SockRef, Socket};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{answer::answer, world::World};

/// Waits so long after a failed accept; without file handles it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a connection can be made to do by those who answer on it.
pub(super) struct Link {
    /// Counts connections from 1.
    pub(super) number: u64,
    /// Another handle of the same socket, to say how it ends.
    socket: Socket,
    end: CancellationToken,
}

impl Link {
    /// Ends the connection where it stands.
    pub(super) fn end(&self) {
        self.end.cancel();
    }

    /// Resets the connection.
    pub(super) fn reset(&self) {
        // It fails if the connection is gone already.
        let _ = self.socket.set_linger(Some(Duration::ZERO));
        self.end();
    }
}

/// Serves all connections of a listener until `stop`.
pub(super) struct Server {
    pub(super) world: Arc<World>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) tasks: TaskTracker,
    /// Ends all connections, and everything else.
    pub(super) stop: CancellationToken,
    /// Ends the connections that are open, by RST.
    pub(super) cut: Arc<Mutex<CancellationToken>>,
}

impl Server {
    /// Accepts without end.
    pub(super) async fn accept(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // What cannot be prepared is closed.
                    if let Ok(connection) = self.prepare(&stream, peer) {
                        self.tasks.spawn(connection.serve(stream));
                    }
                }
                // Such as a peer that went away before it was accepted.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn prepare(&self, stream: &TcpStream, peer: SocketAddr) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let number = self.world.book(|book| {
            book.connections += 1;
            book.connections
        });
        tracing::debug!(number, %peer, "accepted");
        Ok(Connection {
            link: Arc::new(Link {
                number,
                socket: SockRef::from(stream).try_clone()?,
                end: CancellationToken::new(),
            }),
            world: Arc::clone(&self.world),
            tls: self.tls.clone(),
            tasks: self.tasks.clone(),
            stop: self.stop.clone(),
            cut: self
                .cut
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        })
    }
}

struct Connection {
    link: Arc<Link>,
    world: Arc<World>,
    tls: Option<TlsAcceptor>,
    tasks: TaskTracker,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let (link, stop, cut) = (Arc::clone(&self.link), self.stop.clone(), self.cut.clone());
        tokio::select! {
            () = self.talk(stream) => {}
            () = link.end.cancelled() => {}
            () = stop.cancelled() => {}
            () = cut.cancelled() => link.reset(),
        }
    }

    async fn talk(self, stream: TcpStream) {
        match &self.tls {
            None => self.http(stream).await,
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => self.http(stream).await,
                Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
            },
        }
    }

    async fn http<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| {
            let (world, link) = (Arc::clone(&self.world), Arc::clone(&self.link));
            async move { answer(world, link, request).await }
        });
        let builder = auto::Builder::new(Tasks(self.tasks.clone(), self.stop.clone()));
        let ended = builder
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = ended {
            tracing::debug!(error, "a connection has ended with an error");
        }
    }
}

/// Runs the streams of HTTP/2 connections among the tasks of the server.
#[derive(Clone)]
struct Tasks(TaskTracker, CancellationToken);

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let stop = self.1.clone();
        self.0.spawn(async move {
            tokio::select! { () = task => {} () = stop.cancelled() => {} }
        });
    }
}
