//! What all servers of this process share: where they listen, who connects, how many may.
//!
//! | file | what it is |
//! |---|---|
//! | [`listener`] | a port or a socket file, and the connections that come in there |
//! | [`socket_file`] | the file of a Unix socket: its permissions, a stale one, its removal |
//! | [`stream`] | such a connection: TCP, a Unix socket, TLS |
//! | [`tls`] | certificates and keys, and both ends of TLS |
//! | [`accept`] | accepting within a bound, and when accepting fails |
//! | [`places`] | the bound: how many are open at once, and which of them gives way |
//! | [`peer`] | who is at the other end (pure) |
//! | [`caller`] | who asks, and whether they still wait |
//! | [`seldom`] | equal log lines, once a minute |
//! | [`grpc`] | serving gRPC: many services on a port, with health, limits and an orderly end |
//! | [`mod@http`] | serving HTTP/1.1 and HTTP/2 on one port, with limits and an orderly end |
//!
//! Invariants: each server accepts through [`Acceptor`], so none has more connections open than
//! its [`Places`] allow, and none spins or ends when accepting fails. Absent here: what is served.

pub mod accept;
pub mod caller;
pub mod grpc;
pub mod http;
pub mod listener;
pub mod peer;
pub mod places;
pub mod seldom;
pub mod socket_file;
pub mod stream;
pub mod tls;

pub use accept::{Accepted, Acceptor};
pub use caller::Caller;
pub use listener::{BoundAddr, ListenError, Listener};
pub use peer::Peer;
pub use places::{Place, PlaceCounts, Places};
pub use seldom::Seldom;
pub use stream::Stream;
