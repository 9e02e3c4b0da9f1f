//! A whole relay on its way from an old watcher to its own watches and back: API server, old
//! watcher, relay, admin listener and reducer on real sockets.

mod steps;
mod troubles;
mod world;
