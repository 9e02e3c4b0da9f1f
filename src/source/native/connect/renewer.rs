//! Gets credentials, and renews them (D16 e): one attempt at a time for all who make requests.
//!
//! Invariants: whatever takes long or fails holds up nobody who has credentials; the last ones are
//! used until there are others. Files are read, and looked at for changes, on threads that may
//! wait.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use http::header::AUTHORIZATION;
use tokio::{
    sync::watch,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Access, ConnectError, Current, Doubts, describe,
    exec::Answer,
    files::Seen,
    load::{self, Loaded, bearer},
    plugin,
    schedule::Schedule,
    tls::{Material, Tls},
    way::{Parts, Way},
};
use crate::late::Late;

/// How long anything may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// To connect to the server: the look-up of its name, a proxy, TLS.
    pub connect: Duration,
    /// For a credential plugin.
    pub plugin: Duration,
    /// Between two looks at the files that credentials come from.
    pub look: Duration,
    /// After so long, files that are not read yet are said to hang.
    pub files: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            plugin: Duration::from_secs(30),
            look: Duration::from_secs(5),
            files: Duration::from_secs(10),
        }
    }
}

/// What files say, ready for use.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) loaded: Arc<Loaded>,
    /// Without what a plugin may add.
    tls: Tls,
}

/// What reading has come to.
#[derive(Clone)]
pub(super) struct Read {
    seen: Arc<Seen>,
    pub(super) prepared: Result<Prepared, ConnectError>,
}

/// Reads files, one attempt at a time.
pub(super) type Reader = Arc<Late<Access, Read>>;

/// Gets the credentials of one server.
pub(super) struct Renewer {
    pub(super) access: Access,
    pub(super) limits: Limits,
    pub(super) reader: Reader,
    /// What the start has read, if it was in time.
    pub(super) first: Option<Read>,
    pub(super) current: watch::Sender<Current>,
    pub(super) doubts: Arc<Doubts>,
    pub(super) stop: CancellationToken,
}

impl Renewer {
    /// Goes on until it is stopped. No plugin is left when it is done or dropped.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        // What is published by `current` ends after whatever was under way.
        let _ = stop.run_until_cancelled(self.renew()).await;
    }

    async fn renew(&mut self) {
        let mut schedule = Schedule::default();
        let mut number = 0;
        loop {
            number += 1;
            match self.attempt(number).await {
                Ok(lasts) => schedule.succeeded(now(), lasts),
                Err(why) => {
                    self.note(why);
                    schedule.failed(now());
                }
            }
            self.wait(&mut schedule).await;
        }
    }

    /// One attempt. Returns how long what it has got will count.
    async fn attempt(&mut self, number: u64) -> Result<Option<Duration>, String> {
        let read = match self.first.take() {
            Some(read) => read,
            None => self.read().await?,
        };
        let seen = read.seen;
        // Nobody waits for that by itself.
        self.current.send_if_modified(|current| {
            current.attempt = number;
            current.seen = seen.clone();
            current.rests_until = None;
            false
        });
        let Prepared { loaded, mut tls } = read.prepared.map_err(|error| error.to_string())?;
        let mut headers = loaded.headers.clone();
        let mut lasts = None;
        if let Some(call) = &loaded.plugin {
            let answer = plugin::ask(call, self.limits.plugin).await?;
            if let Some(token) = &answer.token {
                let token = bearer(token).map_err(|why| {
                    format!("the credential plugin {}: its token: {why}", call.name)
                })?;
                headers.insert(AUTHORIZATION, token);
            }
            if let Some(identity) = &answer.identity {
                tls = self.with_identity(&loaded.material, identity).await?;
            }
            lasts = time_left(&answer);
        }
        self.stay_in(loaded.context.clone());
        let url: Arc<str> = describe(&loaded.server).into();
        let way = Way::new(
            number,
            Parts {
                server: loaded.server.clone(),
                proxy: loaded.proxy.clone(),
                tls,
                headers,
                limit: self.limits.connect,
            },
        );
        let before = self.current.send_replace(Current {
            way: Some(Arc::new(way)),
            trouble: None,
            url: url.clone(),
            attempt: number,
            seen,
            rests_until: None,
        });
        if before.url != url {
            info!(server = %url, "the kubeconfig names another address of the API server");
        }
        if number > 1 {
            info!(server = %url, "the relay has renewed the credentials for the API server");
        }
        Ok(lasts)
    }

    /// A kubeconfig whose current context changes must not lead to another cluster.
    fn stay_in(&mut self, context: Option<String>) {
        if self.access.context.is_none() {
            self.access.context = context;
        }
    }

    async fn read(&self) -> Result<Read, String> {
        let read = read(&self.reader, &self.access);
        tokio::pin!(read);
        if let Ok(read) = timeout(self.limits.files, &mut read).await {
            return read;
        }
        self.note(
            "the kubeconfig, or a file that it names, is not read yet: its disk does not answer"
                .to_owned(),
        );
        read.await
    }

    /// A certificate of a plugin's.
    async fn with_identity(
        &self,
        material: &Material,
        identity: &(String, String),
    ) -> Result<Tls, String> {
        let (certificate, key) = identity;
        let material = Material {
            identity: Some((certificate.clone().into(), key.clone().into())),
            ..material.clone()
        };
        let late: Late<(), Result<Tls, String>> = Late::default();
        let made = late.get((), move || guarded(|| Tls::new(&material)));
        made.await.map_err(|error| error.to_string())?
    }

    /// Says once what keeps us from credentials.
    fn note(&self, why: String) {
        let why: Arc<str> = why.into();
        let is_new = self.current.send_if_modified(|current| {
            let is_new = current.trouble.as_ref() != Some(&why);
            current.trouble = Some(why.clone());
            is_new
        });
        if is_new {
            let has_some = self.current.borrow().way.is_some();
            let meanwhile = if has_some {
                "the relay uses the last ones"
            } else {
                "the relay has none yet"
            };
            warn!(%why, meanwhile, "the relay cannot renew the credentials for the API server");
        }
    }

    /// A caller that waits for better credentials may hear that none will come for a while.
    fn rest(&self, schedule: &Schedule) {
        let due = schedule.due().map(Into::into);
        self.current
            .send_modify(|current| current.rests_until = due);
    }

    /// Waits until a renewal is due.
    async fn wait(&self, schedule: &mut Schedule) {
        let (number, attempt, seen) = {
            let current = self.current.borrow();
            let number = current.way.as_ref().map(|way| way.number);
            (number, current.attempt, current.seen.clone())
        };
        let mut watching = !seen.is_empty();
        if number == Some(self.doubts.refused.load(Relaxed)) {
            self.rest(schedule);
        }
        // Goes on while credentials are refused, however often.
        let change = look(&self.doubts, attempt, seen, self.limits.look);
        tokio::pin!(change);
        loop {
            let due = schedule.due();
            tokio::select! {
                () = until(due) => return,
                () = self.doubts.notify.notified() => {
                    // What was said of older ones is over.
                    let refused = number == Some(self.doubts.refused.load(Relaxed));
                    let outdated = self.doubts.outdated.load(Relaxed) == attempt;
                    if refused {
                        schedule.refused(now());
                    }
                    if outdated {
                        schedule.changed(now());
                    }
                    if refused || outdated {
                        self.rest(schedule);
                    }
                }
                () = &mut change, if watching => {
                    watching = false;
                    schedule.changed(now());
                }
            }
        }
    }
}

/// Reads everything that says how to reach the server, and makes of it what can be made.
pub(super) async fn read(reader: &Reader, access: &Access) -> Result<Read, String> {
    let question = access.clone();
    let asked = question.clone();
    let read = reader.get(question, move || {
        let (seen, loaded) = load::load(&asked);
        let prepared = loaded.and_then(|loaded| {
            let tls = guarded(|| Tls::new(&loaded.material)).map_err(ConnectError::Client)?;
            let loaded = Arc::new(loaded);
            Ok(Prepared { loaded, tls })
        });
        let seen = Arc::new(seen);
        Read { seen, prepared }
    });
    let read = read.await;
    read.map_err(|error| format!("the files that say how to reach it cannot be read: {error}"))
}

/// What a library does with somebody's keys and certificates: should it panic, that is an error.
fn guarded<T>(make: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(make)) {
        Ok(made) => made,
        Err(_) => Err("the keys and certificates are beyond the TLS library".to_owned()),
    }
}

/// Ready when one of the files has changed.
async fn look(doubts: &Doubts, attempt: u64, seen: Arc<Seen>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        // A file that cannot be read is checked again later.
        if doubts.has_changed(attempt, seen.clone()).await {
            return;
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// How long an answer counts from now on.
fn time_left(answer: &Answer) -> Option<Duration> {
    let expires = u64::try_from(answer.expires?.max(0)).ok()?;
    let expires = Duration::from_secs(expires);
    Some(expires.saturating_sub(since_epoch()))
}

#[expect(clippy::disallowed_methods, reason = "a plugin names a date")]
fn since_epoch() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// By the clock of the timers that wait for it.
#[expect(clippy::disallowed_methods, reason = "renewals are timed here")]
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
