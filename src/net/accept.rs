//! Accepting connections within a bound, and going on when accepting fails.

use std::{io, sync::Arc, time::Duration};

use super::{BoundAddr, Listener, Peer, Place, Places, Stream};

/// How long nothing is accepted after accepting failed. Without descriptors the next attempt
/// would fail at once, too, and others have to end first.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts the connections of one listener for as long as there are places for them.
#[derive(Debug)]
pub struct Acceptor {
    listener: Listener,
    /// For log lines.
    address: Option<BoundAddr>,
    places: Arc<Places>,
    /// The last attempt has failed.
    failing: bool,
}

/// A connection that has a place.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// Who is at its other end.
    pub peer: Peer,
    /// To be held for as long as it is open.
    pub place: Place,
}

impl Acceptor {
    /// Accepts what comes in at `listener`. The acceptors of one server share its `places`.
    pub fn new(listener: Listener, places: Arc<Places>) -> Self {
        Self {
            address: listener.address().ok(),
            listener,
            places,
            failing: false,
        }
    }

    /// The next connection that gets a place. One that gets none is closed at once and counted.
    /// A lack of descriptors is waited out: one line when it begins, one when it is over.
    ///
    /// Nothing is lost if this is dropped.
    pub async fn accept(&mut self) -> Accepted {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if std::mem::take(&mut self.failing) {
                        let listener = self.address.as_ref().map(tracing::field::display);
                        tracing::info!(listener, "the listener accepts connections again");
                    }
                    if let Some(place) = self.places.take() {
                        return Accepted {
                            stream,
                            peer,
                            place,
                        };
                    }
                    self.refused(peer);
                }
                // The peer gave up while it was queued; nothing is wrong here.
                Err(error) if is_of_peer(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        let listener = self.address.as_ref().map(tracing::field::display);
                        tracing::warn!(listener, %error, "the listener cannot accept connections");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn refused(&self, peer: Peer) {
        if self.places.logs_refusal() {
            let limit = self.places.limit();
            tracing::warn!(%peer, limit, "too many connections are open: the relay closes new ones");
        }
    }
}

fn is_of_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}
