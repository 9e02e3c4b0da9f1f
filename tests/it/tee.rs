//! The tee between a watcher and two relays, all of them real, on real sockets.

mod arguments;
mod recordings;
mod reducers;
mod replays;
mod second;
mod watchers;
mod world;
