//! The listener for people and probes (D15): `/livez`, `/readyz`, `/metrics`, `/statusz`,
//! `/explain`, `/digest` and `POST /migrate/…`, over TCP or a Unix socket.
//!
//! | file | what it is |
//! |---|---|
//! | [`api`] | the answers as data |
//! | [`mod@serve`] | connections: how many, how long, one request each |
//! | [`access`] | who may change something |
//! | `refusals` | which refusals are logged |
//! | [`routes`] | paths and answers |
//! | [`probes`] | what `/livez` and `/readyz` answer, from the status |
//! | [`find`] | a pod by its name, in slices of the stores |
//! | [`leadership`] | what this replica is among others |
//! | [`metrics`] | every metric's name, unit and meaning |
//! | [`page`] | the status as a page for people |
//! | [`process`] | what the operating system says of this process |
//! | [`watches`] | what is shown of kinds that the loop knows nothing of |
//! | [`client`] | the other end, for the command line |
//!
//! Invariants: it asks the driver's loop by [`DriverQuery`](crate::driver::query::DriverQuery)s, each O(1) or of at most 20 rows, and waits
//! for no answer longer than a limit; objects are read from the stores. Whatever clients do, it
//! holds so many connections for so long. State is changed from this machine only, and by no
//! web page. It knows nothing of matchers and ledgers.

pub mod access;
pub mod api;
pub mod client;
pub mod find;
pub mod leadership;
pub mod metrics;
pub mod page;
pub mod probes;
pub mod process;
mod refusals;
pub mod routes;
pub mod serve;
pub mod watches;

pub use routes::{AdminApi, Limits, Metadata, Sources};
pub use serve::{Connections, serve};
