//! TLS: what proves who we are and whom we trust, and both ends of a connection.
//!
//! | file | what it is |
//! |---|---|
//! | [`files`] | which files, and their contents |
//! | [`set`] | certificate chain, key and authorities as one set, out of PEM |
//! | [`certificate`] | what a certificate says: names, until when it is valid |
//! | [`reason`] | why there is no TLS with a peer, in one line and as a label |
//! | [`material`] | the set in use, and the reading of files again |
//! | [`client`] | our side of connections that we open |
//! | [`server`] | our side of connections that we accept |
//! | [`session`] | an accepted connection, from its first byte on |
//! | [`verifier`] | who vouches for a server |
//!
//! Invariants: chain, key and authorities are taken together or not at all. A set that cannot be
//! used leaves the one in use as it is. TLS 1.2 is the oldest version. No setting turns the
//! verification off, and no session is resumed, so that each connection is verified. Secrets are
//! in no text: errors and logs name files.

pub mod certificate;
pub mod client;
pub mod files;
pub mod material;
pub mod reason;
pub mod server;
pub mod session;
pub mod set;
pub mod verifier;

pub use certificate::ClientCert;
pub use client::ClientTls;
pub use files::{Authorities, Paths};
pub use material::{Material, Materials, Role, TlsError};
pub use reason::{Failure, Reason};
pub use server::{ClientCerts, Handshakes, ServerTls};
