//! A replica's connection that another replica's replaces (D19): whether there shall be one, and
//! whether pods are held up on it.

use std::{net::SocketAddr, time::Instant};

use super::{Reducer, ReducerConn};

impl Reducer {
    /// There shall be a connection; nothing if there is one.
    pub fn serve(&mut self, now: Instant) {
        self.session.serve(now);
    }

    /// There shall be none: what waits is thrown away, and one that stands ends by FIN. Whether
    /// one stood.
    pub fn stand_by(&mut self, now: Instant) -> bool {
        self.session.park();
        let stood = self.session.is_up();
        if stood {
            let (connection, bytes) = (self.progress.connection, self.queued());
            tracing::info!(
                connection,
                bytes,
                "reducer connection closed: this replica does not lead"
            );
            self.outbox.close();
            self.since = now;
            if let ReducerConn::Open(link) = &mut self.conn {
                link.end();
            }
            self.session.ending(now);
        } else if let ReducerConn::Dialing(_) = &self.conn {
            self.conn = ReducerConn::None;
        }
        stood
    }

    /// Whether pods are held up by the fence.
    pub fn is_silent(&self) -> bool {
        let fence = self.options.fence.as_ref();
        fence.is_some_and(|fence| !fence.may_begin())
    }

    /// Our address and the reducer's, when no frame is half written or held by a layer.
    pub fn between_frames(&self) -> Option<(SocketAddr, SocketAddr)> {
        match &self.conn {
            ReducerConn::Open(link) if self.session.is_up() => {
                let is_between = self.outbox.is_between_frames() && link.is_flushed();
                is_between.then(|| link.ends()).flatten()
            }
            ReducerConn::Open(_) | ReducerConn::Dialing(_) | ReducerConn::None => None,
        }
    }

    /// What the fence holds up is another replica's to say.
    pub(super) fn drop_held_up(&mut self) {
        if self.is_silent() && self.session.is_up() {
            self.outbox.close();
        }
    }
}
