//! The subcommands beside the relay.

pub mod watch_test;
