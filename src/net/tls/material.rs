//! The set in use, and the reading of its files again.
//!
//! Invariants: files are read on a thread that may wait, at most one reading of a set at a time. A
//! set that cannot be used leaves the one in use as it is; the log has one line when that comes up
//! and one when it is over, not one for each look.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use futures_util::future::{BoxFuture, join_all};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    certificate::date,
    files::{Fingerprint, Paths},
    set::{Certificate, Part, Set},
};
use crate::late::Late;

/// Between two looks at the files.
pub const LOOK: Duration = Duration::from_secs(15);

/// After so long, files that are not read yet are said to hang.
const SLOW: Duration = Duration::from_secs(10);

/// Who uses a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// The name in metrics.
    pub label: &'static str,
    /// For people, after `TLS`, as in `to the reducer`.
    pub words: &'static str,
}

/// Why TLS cannot be had at the start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS {}: {why}", role.words)]
pub struct TlsError {
    /// Who needs it.
    pub role: Role,
    /// In one line, which names files.
    pub why: String,
}

/// What one user of TLS needs, kept up with its files. `C` is what the user makes of a set.
pub struct Material<C> {
    role: Role,
    paths: Arc<Paths>,
    make: Arc<Make<C>>,
    reader: Late<(), Arc<Outcome<C>>>,
    state: Mutex<State<C>>,
}

type Make<C> = dyn Fn(&Set) -> Result<C, String> + Send + Sync;

/// What reading has come to.
enum Outcome<C> {
    /// They hold what is in use.
    Same,
    New(Made<C>),
    Unusable(String),
}

struct Made<C> {
    fingerprint: Fingerprint,
    set: Arc<Set>,
    config: Arc<C>,
}

struct State<C> {
    made: Made<C>,
    /// What keeps newer files out.
    flaw: Option<String>,
    /// The log has said that the leaf in use is over.
    is_over: bool,
}

/// How the set of one user stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Who uses it.
    pub role: Role,
    /// What is in use.
    pub certificates: Vec<Certificate>,
    /// What keeps newer files out, if they are kept out.
    pub flaw: Option<String>,
}

impl<C: Send + Sync + 'static> Material<C> {
    /// Reads the files, and has `make` prepare what they hold.
    ///
    /// # Errors
    /// They cannot be read or used.
    pub async fn load(
        role: Role,
        paths: Paths,
        make: impl Fn(&Set) -> Result<C, String> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, TlsError> {
        let (paths, make): (_, Arc<Make<C>>) = (Arc::new(paths), Arc::new(make));
        let reader = Late::default();
        let read = reader.get((), reading(paths.clone(), make.clone(), None));
        let failed = |why| TlsError { role, why };
        let read = read.await.map_err(|error| failed(error.to_string()))?;
        let made = match &*read {
            Outcome::New(made) => made.clone(),
            Outcome::Unusable(why) => return Err(failed(why.clone())),
            Outcome::Same => return Err(failed("nothing was read".to_owned())),
        };
        let state = State {
            made,
            flaw: None,
            is_over: false,
        };
        Ok(Arc::new(Self {
            role,
            paths,
            make,
            reader,
            state: Mutex::new(state),
        }))
    }

    /// What is in use.
    pub fn config(&self) -> Arc<C> {
        self.state().made.config.clone()
    }

    /// The set in use.
    pub fn set(&self) -> Arc<Set> {
        self.state().made.set.clone()
    }

    /// Reads the files again, and takes what they hold if it can be used.
    async fn look_again(&self) {
        let in_use = self.state().made.fingerprint;
        let reading = reading(self.paths.clone(), self.make.clone(), Some(in_use));
        let slow = || Outcome::Unusable("its files are not read yet: the disk is slow".to_owned());
        let read = match timeout(SLOW, self.reader.get((), reading)).await {
            Ok(Ok(read)) => read,
            Ok(Err(failed)) => Arc::new(Outcome::Unusable(failed.to_string())),
            Err(_) => Arc::new(slow()),
        };
        let mut state = self.state();
        let role = self.role.words;
        match &*read {
            Outcome::Same => {
                if state.flaw.take().is_some() {
                    info!("TLS {role}: the files hold what is in use again");
                }
            }
            Outcome::New(made) => {
                for one in &made.set.certificates {
                    say(self.role, one, "the relay has read a new certificate");
                }
                *state = State {
                    made: made.clone(),
                    flaw: None,
                    is_over: false,
                };
            }
            Outcome::Unusable(why) => {
                if state.flaw.as_ref() != Some(why) {
                    warn!(
                        why,
                        "TLS {role}: the relay keeps the certificates that it has"
                    );
                    state.flaw = Some(why.clone());
                }
            }
        }
        let leaf = state.made.set.certificates.first();
        let over = leaf
            .filter(|leaf| leaf.part == Part::Chain)
            .map(|leaf| leaf.check(now()));
        if let Some(Err(why)) = over
            && !std::mem::replace(&mut state.is_over, true)
        {
            warn!("TLS {role}: the certificate in use {why}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The work of reading, for a thread that may wait.
fn reading<C>(
    paths: Arc<Paths>,
    make: Arc<Make<C>>,
    in_use: Option<Fingerprint>,
) -> impl FnOnce() -> Arc<Outcome<C>> + Send + 'static
where
    C: Send + Sync + 'static,
{
    move || {
        let read = || {
            let contents = paths.read()?;
            let fingerprint = contents.fingerprint();
            if in_use == Some(fingerprint) {
                return Ok(Outcome::Same);
            }
            let set = Set::parse(&contents, &paths, now())?;
            let config = make(&set)?;
            Ok(Outcome::New(Made {
                fingerprint,
                set: Arc::new(set),
                config: Arc::new(config),
            }))
        };
        Arc::new(read().unwrap_or_else(Outcome::Unusable))
    }
}

fn say(role: Role, one: &Certificate, what: &'static str) {
    let until = one.validity.map(|validity| date(validity.not_after));
    let (subject, part) = (&one.subject, one.part.label());
    info!(use = role.label, part, subject, until, "{what}");
}

impl<C> Clone for Made<C> {
    fn clone(&self) -> Self {
        Self {
            fingerprint: self.fingerprint,
            set: self.set.clone(),
            config: self.config.clone(),
        }
    }
}

impl<C> fmt::Debug for Material<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Material").field(&self.role.label).finish()
    }
}

/// The sets of all users, whatever they make of them.
#[derive(Clone, Default)]
pub struct Materials(Vec<Arc<dyn Kept>>);

trait Kept: Send + Sync {
    fn look_again(&self) -> BoxFuture<'_, ()>;
    fn standing(&self) -> Standing;
}

impl<C: Send + Sync + 'static> Kept for Material<C> {
    fn look_again(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.look_again())
    }

    fn standing(&self) -> Standing {
        let state = self.state();
        Standing {
            role: self.role,
            certificates: state.made.set.certificates.clone(),
            flaw: state.flaw.clone(),
        }
    }
}

impl Materials {
    /// This one, too.
    pub fn add<C: Send + Sync + 'static>(&mut self, material: Arc<Material<C>>) {
        self.0.push(material);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How each of them stands.
    pub fn standing(&self) -> Vec<Standing> {
        self.0.iter().map(|one| one.standing()).collect()
    }

    /// Logs what is in use.
    pub fn say(&self) {
        for standing in self.standing() {
            for one in &standing.certificates {
                say(standing.role, one, "the relay uses a certificate");
            }
        }
    }

    /// Reads the files of all of them again.
    pub async fn look_again(&self) {
        join_all(self.0.iter().map(|one| one.look_again())).await;
    }

    /// Reads the files again every `interval`, and whenever `asked` changes. Never ends.
    pub async fn keep(self, interval: Duration, mut asked: watch::Receiver<u64>) {
        loop {
            tokio::select! {
                () = sleep(interval) => {}
                Ok(()) = asked.changed() => {
                    info!("the relay reads certificates and keys again");
                }
            }
            self.look_again().await;
        }
    }
}

impl fmt::Debug for Materials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles = self.0.iter().map(|one| one.standing().role.label);
        f.debug_list().entries(roles).finish()
    }
}

/// Time since the UNIX epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge: whether a certificate is valid now"
)]
pub fn now() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}
