//! TLS at both ends of the relay, over real sockets, and the files that it comes from.

mod listeners;
mod reducer;
mod reload;
mod start;
