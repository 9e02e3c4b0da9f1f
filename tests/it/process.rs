//! The whole process on real input: a watcher on one side of the spawned program, a mock
//! reducer on the other.

mod bad_input;
mod bad_reducer;
mod descriptors;
mod end;
mod log;
mod plugin;
mod recording;
mod slow_reducer;
mod two_streams;
mod world;
