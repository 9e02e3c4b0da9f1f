//! How to reach the API server: settings as every Kubernetes tool has them.
//!
//! Invariants: whatever is wrong with them is one clear line and ends the start; that the server
//! itself, a credential plugin or a disk does not answer does not. Nothing here blocks. Credentials
//! are renewed behind the client's back: its next request has the new ones, and what is under way
//! is left alone.
//!
//! | part | what it is | pure |
//! |---|---|---|
//! | [`kubeconfig`] | what kubeconfigs say | yes |
//! | [`proxy`] | which proxy leads there | yes |
//! | [`exec`] | what is said to credential plugins, and what they answer | yes |
//! | [`schedule`] | when credentials are renewed | yes |
//! | `load`, `files` | reading all of it | no |
//! | `plugin` | credential plugins as processes | no |
//! | `tls`, `verifier` | who vouches for the server, and who we are | no |
//! | `way` | connections | no |
//! | `renewer` | gets credentials, again and again | no |

pub mod exec;
mod files;
pub mod kubeconfig;
mod load;
mod plugin;
pub mod proxy;
mod renewer;
pub mod schedule;
mod tls;
mod way;

use std::{
    error::Error as StdError,
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{ACCEPT_ENCODING, USER_AGENT},
};
use hyper::body::Incoming;
use kube::{
    Client,
    client::{Body, ClientBuilder},
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tower::Service;

use files::Seen;
pub use plugin::{MAX_OUTPUT, end_plugins};
pub use renewer::Limits;
use renewer::{Read, Reader, Renewer};
use way::Way;

use crate::late::Late;

/// Which kubeconfig, and what of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The file; `None`: those of `$KUBECONFIG`, else `~/.kube/config` if it is there, else
    /// the service account of the pod that we are in.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; `None`: the current one.
    pub context: Option<String>,
}

/// An API server. Cloning it copies handles.
#[derive(Clone)]
pub struct Server {
    pub(super) client: Client,
    current: watch::Receiver<Current>,
    renewing: Arc<Renewing>,
}

/// Where it is said how to reach the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In these kubeconfigs, with a colon between each two.
    Kubeconfig(String),
    /// In the service account of the pod that we are in.
    ServiceAccount,
}

impl Origin {
    fn unusable(&self, why: String) -> ConnectError {
        let origin = self.clone();
        ConnectError::Unusable { origin, why }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubeconfig(paths) => write!(f, "kubeconfig {paths}"),
            Self::ServiceAccount => f.write_str("service account of this pod"),
        }
    }
}

/// Why there is no way to an API server. Each is one line.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The kubeconfig or the pod's service account, or a file that it names, cannot be used.
    #[error("cannot use the {origin}: {why}")]
    Unusable {
        /// Which, and where it is.
        origin: Origin,
        /// What is wrong.
        why: String,
    },
    /// There is none, and this is no pod either.
    #[error(
        "no API server: there is no kubeconfig (see --kubeconfig), and the relay does not run in a pod: {0}"
    )]
    Nowhere(String),
    /// A context was asked for, but there is no kubeconfig.
    #[error("there is no kubeconfig that could have the context `{0}` (see --kubeconfig)")]
    NoKubeconfig(String),
    /// The token cannot be read.
    #[error("cannot read the token file {path}: {why}")]
    Token {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It can be neither HTTP nor HTTPS.
    #[error("the API server's address `{0}` must begin with https:// or http://")]
    Address(String),
    /// Certificates, keys or a proxy are unusable.
    #[error("cannot set up connections to the API server: {0}")]
    Client(String),
}

/// Why an object was not got.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The server answers that there is none, or that it may not be read.
    #[error("the API server answers {0}")]
    Refused(u16),
    /// There is no answer, or the server cannot give one now.
    #[error("the API server does not answer: {0}")]
    Unreachable(String),
}

/// Whether [`connect`] would accept these settings. Nothing is sent, and no plugin is run.
///
/// # Errors
/// As [`connect`].
pub async fn check(access: &Access, limits: Limits) -> Result<(), ConnectError> {
    first_read(&Reader::default(), access, limits)
        .await
        .map(drop)
}

/// What a kubeconfig calls the cluster, and where its server is, if a kubeconfig says how to reach
/// it. Nothing is sent, and no plugin is run.
///
/// # Errors
/// As [`connect`]; also if the files take too long to read.
pub async fn named_cluster(
    access: &Access,
    limits: Limits,
) -> Result<Option<(String, String)>, ConnectError> {
    let late = || ConnectError::Client("its files are not read in time".to_owned());
    let read = first_read(&Reader::default(), access, limits).await?;
    let loaded = read.ok_or_else(late)?.prepared?.loaded;
    let server = loaded.server.to_string();
    let server = server.trim_end_matches('/').to_owned();
    Ok(loaded.cluster.clone().map(|name| (name, server)))
}

/// What the settings say now; `None` if the files take too long to read.
async fn first_read(
    reader: &Reader,
    access: &Access,
    limits: Limits,
) -> Result<Option<Read>, ConnectError> {
    match timeout(limits.files / 2, renewer::read(reader, access)).await {
        Ok(Ok(read)) => {
            read.prepared.clone()?;
            Ok(Some(read))
        }
        Ok(Err(why)) => Err(ConnectError::Client(why)),
        Err(_) => Ok(None),
    }
}

/// Prepares the way to the API server. Nothing is sent yet. Files that are not read in time, and
/// credential plugins, are waited for by the requests.
///
/// # Errors
/// The settings are unusable.
pub async fn connect(access: &Access, limits: Limits) -> Result<Server, ConnectError> {
    let reader = Reader::default();
    let first = first_read(&reader, access, limits).await?;
    let loaded = first.as_ref().and_then(|read| read.prepared.as_ref().ok());
    let url = loaded.map_or_else(String::new, |prepared| describe(&prepared.loaded.server));
    let (sender, current) = watch::channel(Current {
        way: None,
        trouble: None,
        url: url.into(),
        attempt: 0,
        seen: Arc::default(),
        rests_until: None,
    });
    let doubts = Arc::new(Doubts::default());
    let stop = CancellationToken::new();
    let renewer = Renewer {
        access: access.clone(),
        limits,
        reader,
        first,
        current: sender,
        doubts: doubts.clone(),
        stop: stop.clone(),
    };
    let renewing = Arc::new(Renewing {
        stop,
        _task: spawn(renewer.run()),
    });
    let service = Requests {
        current: current.clone(),
        doubts,
        _renewing: renewing.clone(),
    };
    Ok(Server {
        client: ClientBuilder::new(service, "default").build(),
        current,
        renewing,
    })
}

impl Server {
    /// Where it is, for people: without user names or passwords. Empty until that is known.
    pub fn url(&self) -> Arc<str> {
        self.current.borrow().url.clone()
    }

    /// For a caller that asks it something else than this module does.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The object at this path, as text.
    ///
    /// # Errors
    /// The server says no, or nothing within `limit`.
    pub async fn get(&self, path: &str, limit: Duration) -> Result<String, NoAnswer> {
        let unreachable = |why: &dyn fmt::Display| NoAnswer::Unreachable(why.to_string());
        let request = Request::get(path).body(Vec::new());
        let request = request.map_err(|error| unreachable(&error))?;
        match timeout(limit, self.client.request_text(request)).await {
            Ok(Ok(text)) => Ok(text),
            // Credentials may be mended, and load goes by.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 400 | 403..=428) => {
                Err(NoAnswer::Refused(status.code))
            }
            Ok(Err(error)) => Err(unreachable(&error)),
            Err(late) => Err(unreachable(&late)),
        }
    }

    /// Ends what gets credentials: when this is ready, no plugin is left. Requests have those
    /// that there are.
    pub async fn close(mut self) {
        self.renewing.stop.cancel();
        // Its sender goes with it.
        while self.current.changed().await.is_ok() {}
    }
}

/// How long a request waits for a look at files, and for better credentials.
const SETTLE: Duration = Duration::from_secs(3);

/// What requests are made with.
#[derive(Clone)]
struct Current {
    /// `None`: not yet.
    way: Option<Arc<Way>>,
    /// Why there is nothing, or nothing newer.
    trouble: Option<Arc<str>>,
    url: Arc<str>,
    /// The number of the last attempt to get credentials, and the files that it has read.
    attempt: u64,
    seen: Arc<Seen>,
    /// These are in doubt, and until then nobody tries to get others.
    rests_until: Option<Instant>,
}

/// What requests say of the credentials.
#[derive(Debug, Default)]
struct Doubts {
    /// The number of those that were refused.
    refused: AtomicU64,
    /// The attempt since which a file has changed.
    outdated: AtomicU64,
    notify: Notify,
    looks: Late<u64, bool>,
}

impl Doubts {
    fn refuse(&self, way: &Way) {
        self.refused.store(way.number, Relaxed);
        self.notify.notify_one();
    }

    /// Has a request wait a little where better credentials are about to be there: those that
    /// there are were refused, or a file has changed.
    async fn settle(&self, current: &mut watch::Receiver<Current>) {
        let Current {
            way, attempt, seen, ..
        } = current.borrow().clone();
        let Some(way) = way else { return };
        if self.refused.load(Relaxed) != way.number {
            if !self.has_changed(attempt, seen).await {
                return;
            }
            self.outdated.store(attempt, Relaxed);
            self.notify.notify_one();
        }
        let until = Instant::from_std(renewer::now()) + SETTLE;
        let is_settled = |current: &Current| {
            let number = current.way.as_ref().map(|way| way.number);
            let rests = current.rests_until.is_some_and(|rests| rests > until);
            number != Some(way.number) || rests
        };
        // If there are none by then, or ever, the old ones are tried again.
        let _ = timeout_at(until, current.wait_for(is_settled)).await;
    }

    async fn has_changed(&self, attempt: u64, seen: Arc<Seen>) -> bool {
        if seen.is_empty() {
            return false;
        }
        let look = self.looks.get(attempt, move || seen.has_changed());
        matches!(timeout(SETTLE, look).await, Ok(Ok(true)))
    }
}

/// The task that gets credentials. It ends with the last handle.
struct Renewing {
    stop: CancellationToken,
    _task: AbortOnDropHandle<()>,
}

/// Sends requests with the credentials that there are.
struct Requests {
    current: watch::Receiver<Current>,
    doubts: Arc<Doubts>,
    _renewing: Arc<Renewing>,
}

type BoxError = Box<dyn StdError + Send + Sync>;

impl Service<Request<Body>> for Requests {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Incoming>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let (mut current, doubts) = (self.current.clone(), self.doubts.clone());
        let agent = HeaderValue::from_static(concat!("k8s-relay/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        // Without a word a proxy may choose.
        let plain = HeaderValue::from_static("identity");
        request.headers_mut().insert(ACCEPT_ENCODING, plain);
        Box::pin(async move {
            doubts.settle(&mut current).await;
            let way = way(&mut current).await?;
            let answer = way.send(request).await?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                doubts.refuse(&way);
            }
            Ok(answer)
        })
    }
}

/// The way that there is, or will be, or why there is none.
async fn way(current: &mut watch::Receiver<Current>) -> Result<Arc<Way>, BoxError> {
    let is_known = |current: &Current| current.way.is_some() || current.trouble.is_some();
    let known = current.wait_for(is_known).await;
    let known = known.map_err(|_| "there are no credentials any more")?;
    match (&known.way, &known.trouble) {
        (Some(way), _) => Ok(way.clone()),
        (None, Some(trouble)) => Err((**trouble).into()),
        (None, None) => Err("there are no credentials".into()),
    }
}

/// The address without what may be secret in it.
fn describe(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or_default();
    let host = url.host().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "ended with the server's last handle"
)]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}
