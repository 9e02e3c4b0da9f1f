//! The admin listener of a relay, over real sockets.

mod connections;
mod loop_busy;
mod places;
mod routes;
mod world;
