//! A whole relay on its way from a legacy watcher to its native watches and back: API server,
//! legacy watcher, relay, admin listener and reducer on real sockets.

mod steps;
mod troubles;
mod world;
