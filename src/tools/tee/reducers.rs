//! What stands in for the relays' reducers: either listens only, or is a tap before a real one.
//!
//! Invariant: a tap passes every byte on unchanged, in both directions and before it is looked at;
//! what it cannot read it passes on, too.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::session::{Connection, Session};
use crate::{
    config::HostPort,
    reducer::Tcp,
    tee::compare::Side,
    wire::{Reader, StreamError},
};

const READ: usize = 64 << 10;
/// Waits so long after a failed accept; without file handles it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a real reducer may take to end after its relay has.
const LINGER: Duration = Duration::from_secs(2);

/// The reducer of one relay.
#[derive(Clone)]
pub(super) struct Reducer {
    pub(super) side: Side,
    /// The real one, if this is a tap.
    pub(super) real: Option<HostPort>,
    pub(super) session: Arc<Session>,
}

impl Reducer {
    /// Serves the relay until `stop`.
    pub(super) async fn serve(
        self,
        listener: TcpListener,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((relay, peer)) => {
                    let (this, stop) = (self.clone(), stop.clone());
                    tasks.spawn(async move {
                        tokio::select! {
                            () = this.connection(relay, peer) => {}
                            () = stop.cancelled() => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a relay's connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, relay: TcpStream, peer: SocketAddr) {
        Tcp::default().guard(&relay);
        let real = match &self.real {
            None => None,
            Some(address) => match connect(address).await {
                Ok(real) => Some(real),
                Err(error) => {
                    // The relay is sent away, as the reducer itself would have.
                    self.session.line(format_args!(
                        "the reducer at {address} cannot be reached: {error}"
                    ));
                    return;
                }
            },
        };
        tracing::debug!(%peer, side = ?self.side, "a relay or another client connects");
        let mut ear = TapDecoder::new(&self.session, self.side);
        let why = match real {
            None => self.listen(&mut ear, relay).await,
            Some(real) => self.tap(&mut ear, relay, real).await,
        };
        ear.lost(why);
    }

    /// Reads to the end. Says why it has ended.
    async fn listen(&self, ear: &mut TapDecoder<'_>, relay: TcpStream) -> String {
        let (mut from, _to) = relay.into_split();
        let mut buffer = vec![0; READ];
        loop {
            match read(&mut from, &mut buffer).await {
                Ok([]) => return LEFT.to_owned(),
                Ok(bytes) => {
                    if let Err(error) = ear.hear(bytes) {
                        return unreadable(&error);
                    }
                }
                Err(error) => return format!("its reducer has lost it: {error}"),
            }
        }
    }

    /// Passes on to the end, both ways. Says why it has ended.
    async fn tap(&self, ear: &mut TapDecoder<'_>, relay: TcpStream, real: TcpStream) -> String {
        let ((from_relay, to_relay), (from_real, to_real)) =
            (relay.into_split(), real.into_split());
        let mut down = std::pin::pin!(self.pass_down(ear, from_relay, to_real));
        let mut up = std::pin::pin!(pass_up(from_real, to_relay));
        tokio::select! {
            why = &mut down => {
                // The reducer has the end; its own comes soon.
                let _ = timeout(LINGER, up).await;
                why
            }
            () = &mut up => {
                // The relay has the end; what it still says nobody hears.
                let _ = timeout(LINGER, down).await;
                "its reducer has ended the connection".to_owned()
            }
        }
    }

    async fn pass_down(
        &self,
        ear: &mut TapDecoder<'_>,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
    ) -> String {
        let mut buffer = vec![0; READ];
        let why = loop {
            let bytes = match read(&mut from, &mut buffer).await {
                Ok([]) => break LEFT.to_owned(),
                Ok(bytes) => bytes,
                Err(error) => break format!("the tap has lost it: {error}"),
            };
            if let Err(error) = to.write_all(bytes).await {
                break format!("its reducer takes no more: {error}");
            }
            if let Err(error) = ear.hear(bytes) {
                ear.lost(unreadable(&error));
            }
        };
        // A reducer leaks what belongs to a connection that does not end in order.
        let _ = to.shutdown().await;
        why
    }
}

const LEFT: &str = "it has left its reducer";

async fn pass_up(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // Whichever fails: the connection is over.
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

async fn read<'a>(from: &mut OwnedReadHalf, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let len = from.read(buffer).await?;
    Ok(buffer.get(..len).unwrap_or_default())
}

/// As a relay connects: a tap must not hide that either side has gone without a word.
async fn connect(address: &HostPort) -> io::Result<TcpStream> {
    let target = (address.host.as_str(), address.port);
    let tcp = Tcp::default();
    let stream = timeout(tcp.connect_timeout, TcpStream::connect(target)).await??;
    tcp.guard(&stream);
    Ok(stream)
}

fn unreadable(error: &StreamError) -> String {
    format!("it sends its reducer what cannot be decoded: {error}")
}

/// Understands what a relay sends.
///
/// Invariant: who says nothing that a relay says is none: a probe of the port disturbs nobody.
struct TapDecoder<'a> {
    session: &'a Session,
    side: Side,
    hears: Hears,
}

enum Hears {
    /// Somebody who has not said a whole message yet.
    Stranger(Reader),
    /// A relay.
    Relay(Reader, Connection),
    /// Nothing more.
    Nothing,
}

impl<'a> TapDecoder<'a> {
    fn new(session: &'a Session, side: Side) -> Self {
        let hears = Hears::Stranger(Reader::new());
        Self {
            session,
            side,
            hears,
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        match &mut self.hears {
            Hears::Stranger(reader) | Hears::Relay(reader, _) => reader.push(bytes),
            Hears::Nothing => return Ok(()),
        }
        if let Hears::Stranger(reader) = &mut self.hears {
            // The first message is about no pod.
            match reader.next_message() {
                Ok(None) => return Ok(()),
                Ok(Some(_)) => {
                    let connection = self.session.connected(self.side);
                    self.hears = Hears::Relay(std::mem::take(reader), connection);
                }
                Err(error) => {
                    self.hears = Hears::Nothing;
                    self.session.stranger(self.side, unreadable(&error));
                    return Err(error);
                }
            }
        }
        if let Hears::Relay(reader, connection) = &mut self.hears
            && self.session.sent(*connection, reader)?
        {
            self.session.handshake_done(*connection);
        }
        Ok(())
    }

    /// Hears no more, for this reason.
    fn lost(&mut self, why: String) {
        if let Hears::Relay(_, connection) = self.hears {
            self.session.disconnected(connection, why);
        }
        self.hears = Hears::Nothing;
    }
}
