//! The pieces of an answer, on their way to a client.

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::counters::{Counters, LimitHit};

/// Sends the pieces of an answer. It holds one that the client has not taken.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    sender: mpsc::Sender<Result<T, Status>>,
    stall: Duration,
}

/// The pieces as the server takes them.
pub(super) type Pieces<T> = ReceiverStream<Result<T, Status>>;

/// The client has gone, or takes nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone;

impl<T> Outbox<T> {
    /// For an answer whose client may take nothing for `stall`.
    pub(super) fn new(stall: Duration) -> (Self, Pieces<T>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self { sender, stall }, ReceiverStream::new(receiver))
    }

    /// Sends a piece when the one before was taken.
    ///
    /// # Errors
    /// Nobody takes it.
    pub(super) async fn send(&self, piece: T, counters: &Counters) -> Result<(), Gone> {
        match timeout(self.stall, self.sender.send(Ok(piece))).await {
            Ok(sent) => sent.map_err(|_| Gone),
            Err(_) => {
                counters.hit(LimitHit::Stalled);
                Err(Gone)
            }
        }
    }

    /// Ends the answer before its time.
    pub(super) async fn fail(self, status: Status) {
        // Who takes nothing needs no reason.
        let _ = timeout(self.stall, self.sender.send(Err(status))).await;
    }

    /// Ready when nobody takes the answer any more.
    pub(super) async fn gone(&self) {
        self.sender.closed().await;
    }
}
