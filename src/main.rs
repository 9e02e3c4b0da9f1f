//! `k8s-relay`. Everything is in the library: see [`k8s_relay::command`].

use std::{env, process::ExitCode};

/// Chosen by figures (`benches/README.md`). The C library's of a static build has one lock for
/// all threads; huge pages would hold memory that nobody asked for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    k8s_relay::command::run(env::args_os())
}
