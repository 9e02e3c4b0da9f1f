//! The admin listener of a relay, over real sockets.

mod audit;
mod commands;
mod connections;
mod explained;
mod loop_busy;
mod metrics;
mod native;
mod places;
mod routes;
mod scrapes;
mod sources;
mod world;
