//! Asks a relay of the benches by its admin listener, and waits until it says what is wanted.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use http::Method;
use k8s_relay::admin::{
    api::Status,
    client::{Target, call},
};
use serde_json::Value;
use tokio::runtime::{self, Runtime};

use super::PATIENCE;

/// How often a status is asked for. It costs the relay some 0.1 ms.
const PAUSE: Duration = Duration::from_millis(20);

/// The admin listener of a relay, at a socket file.
pub struct Admin {
    socket: PathBuf,
    runtime: Runtime,
}

impl Admin {
    /// Asks nothing yet.
    pub fn at(socket: &Path) -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        Self {
            socket: socket.to_owned(),
            runtime: runtime.unwrap(),
        }
    }

    /// How the relay is.
    pub fn status(&self) -> Status {
        self.ask(Method::GET, "/statusz")
    }

    /// Takes a step of the migration. Returns when it is taken.
    pub fn step(&self, step: &str) {
        let _: Value = self.ask(Method::POST, &format!("/migrate/{step}"));
    }

    /// Asks again and again until the relay is so.
    pub fn wait(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            assert!(
                Instant::now() < end,
                "waited in vain for {what}: {status:#?}"
            );
            thread::sleep(PAUSE);
        }
    }

    fn ask<T: serde::de::DeserializeOwned>(&self, method: Method, path: &str) -> T {
        let target = Target::Unix(self.socket.clone());
        let asked = call(&target, method, path, PATIENCE);
        let (_, answer) = self.runtime.block_on(asked).unwrap();
        answer
    }
}
