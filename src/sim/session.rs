//! Whether a reducer would go on listening: the order of messages, the version, the size of
//! blocks (protocol 10.2, 18). One session is one connection.

use super::reducer_state::ReducerState;
use crate::wire::lz4::{Counters, MAX_PLAIN};
use crate::wire::messages::VersionInfo;
use crate::wire::{Message, StreamError};

/// Why a reducer closes a connection, or would lose something of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Only few messages are allowed before `connect`.
    #[error("{0} came before connect")]
    BeforeConnect(&'static str),
    /// Older senders are not understood.
    #[error("version {0}.{1}.{2} is older than 0.9.0")]
    TooOld(u32, u32, u32),
    /// A session is opened once.
    #[error("connect came twice")]
    SecondConnect,
    /// Larger blocks make a reducer lose data silently (protocol 8.3).
    #[error("an LZ4 block holds {0} plain bytes, more than {MAX_PLAIN}")]
    BlockTooLarge(usize),
    /// The bytes are malformed.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// One connection's messages, checked and folded.
#[derive(Clone, Debug, Default)]
pub struct Session {
    connected: bool,
    handshake_done: bool,
    reducer_state: ReducerState,
}

impl Session {
    /// A session on which nothing was received.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// A reducer would close the connection here.
    pub fn apply(&mut self, message: &Message<'_>) -> Result<(), Violation> {
        if !self.connected && !message.row().before_connect {
            return Err(Violation::BeforeConnect(message.row().name));
        }
        if let Message::VersionInfo(VersionInfo {
            major,
            minor,
            patch,
        }) = *message
            && (major, minor, patch) < (0, 9, 0)
        {
            return Err(Violation::TooOld(major, minor, patch));
        }
        if matches!(message, Message::Connect(_)) {
            if self.connected {
                return Err(Violation::SecondConnect);
            }
            self.connected = true;
        }
        self.handshake_done |= matches!(message, Message::MetadataComplete(_));
        self.reducer_state.apply(message);
        Ok(())
    }

    /// Looks at the frames that were read so far.
    ///
    /// # Errors
    /// One of them is a trap for a reducer.
    pub fn check_frames(&self, counters: &Counters) -> Result<(), Violation> {
        match counters.largest_block {
            0..=MAX_PLAIN => Ok(()),
            larger => Err(Violation::BlockTooLarge(larger)),
        }
    }

    /// Whether the handshake is complete.
    pub fn handshake_done(&self) -> bool {
        self.handshake_done
    }

    /// Forgets the pods, as a reducer does when the connection ends. The counts stay.
    pub fn forget(&mut self) {
        self.reducer_state.forget();
    }

    /// What the reducer knows of this connection's pods.
    pub fn reducer_state(&self) -> &ReducerState {
        &self.reducer_state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::*;

    fn version(major: u32, minor: u32, patch: u32) -> Message<'static> {
        VersionInfo {
            major,
            minor,
            patch,
        }
        .into()
    }

    #[test]
    fn a_session_is_opened_in_order_or_not_at_all() {
        let connect = || {
            Connect {
                collector_type: 3,
                hostname: b"h",
            }
            .into()
        };
        let probe = || {
            HealthCheck {
                client_type: 8,
                origin: b"o",
            }
            .into()
        };
        let heartbeat = || Heartbeat {}.into();
        for (messages, end) in [
            (
                vec![version(0, 9, 0), connect(), heartbeat(), version(1, 0, 0)],
                Ok(()),
            ),
            (vec![connect(), heartbeat()], Ok(())),
            (vec![probe(), version(0, 11, 0), connect()], Ok(())),
            (
                vec![heartbeat()],
                Err(Violation::BeforeConnect("heartbeat")),
            ),
            (
                vec![probe(), heartbeat()],
                Err(Violation::BeforeConnect("heartbeat")),
            ),
            (vec![version(0, 8, 99)], Err(Violation::TooOld(0, 8, 99))),
            (
                vec![connect(), version(0, 8, 99)],
                Err(Violation::TooOld(0, 8, 99)),
            ),
            (vec![connect(), connect()], Err(Violation::SecondConnect)),
        ] {
            let mut session = Session::new();
            let found = messages
                .iter()
                .try_for_each(|message| session.apply(message));
            assert_eq!(found, end, "{messages:?}");
        }
    }

    #[test]
    fn a_block_may_be_full_but_no_larger() {
        let with = |largest_block| Counters {
            largest_block,
            ..Counters::default()
        };
        let session = Session::new();
        assert_eq!(session.check_frames(&with(16_384)), Ok(()));
        assert_eq!(
            session.check_frames(&with(16_385)),
            Err(Violation::BlockTooLarge(16_385))
        );
    }
}
