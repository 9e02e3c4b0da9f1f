//! How to reach the API server: settings as every Kubernetes tool has them.
//!
//! Laws: whatever is wrong with them is one clear line and ends the start; that the server
//! itself is not there does not. What the client below would do unseen (try again by itself,
//! read a token file late) is switched off or done here.

use std::{
    env,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::{HeaderValue, Uri, header::USER_AGENT};
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{AuthInfo, Context, KubeConfigOptions, Kubeconfig},
};
use tokio_rustls::rustls::crypto::ring;

use super::{
    ending::causes,
    token::{TokenFile, TokenLayer},
};

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
    /// For people: without user names or passwords.
    pub(super) url: Arc<str>,
}

/// Why there is no way to an API server. Each is one line.
///
/// The causes are in the text: those of kube repeat each other, and some have many lines.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The kubeconfig, or a file that it names, cannot be used.
    #[error("cannot use the kubeconfig {path}: {why}")]
    Kubeconfig {
        /// Where it is.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// There is none, and this is no pod either.
    #[error("no API server: there is no kubeconfig (see --kubeconfig), and we are in no pod: {0}")]
    Nowhere(String),
    /// A context was asked for, but there is no kubeconfig.
    #[error("there is no kubeconfig to find the context `{0}` in (see --kubeconfig)")]
    NoKubeconfig(String),
    /// The token cannot be read.
    #[error("cannot read the token file {path}: {why}")]
    Token {
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// It can be neither HTTP nor HTTPS.
    #[error("the API server's address `{0}` must begin with https:// or http://")]
    Address(Uri),
    /// Certificates, keys, a proxy or a plugin for credentials are unusable.
    #[error("cannot set up the way to the API server: {0}")]
    Client(String),
}

/// Prepares the way to the API server. Nothing is sent yet.
///
/// # Errors
/// The settings are unusable.
pub async fn connect(access: &Access, patience: Duration) -> Result<Server, ConnectError> {
    // Fails if there is a provider already: then it is this one, or somebody's choice.
    let _ = ring::default_provider().install_default();
    let mut config = load(access).await?;
    let scheme = config.cluster_url.scheme_str();
    if !matches!(scheme, Some("http" | "https")) || config.cluster_url.host().is_none() {
        return Err(ConnectError::Address(config.cluster_url));
    }
    config.default_retry = false;
    config.connect_timeout = Some(patience);
    let agent = concat!("k8s-relay/", env!("CARGO_PKG_VERSION"));
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(agent)));
    let token = take_token_file(&mut config.auth_info)?;
    let url = describe(&config.cluster_url).into();
    let builder =
        ClientBuilder::try_from(config).map_err(|error| ConnectError::Client(causes(&error)))?;
    let client = match token {
        Some(token) => builder.with_layer(&TokenLayer(Arc::new(token))).build(),
        None => builder.build(),
    };
    Ok(Server { client, url })
}

impl Server {
    /// Where it is, for people.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// For whoever asks it something else than this room does.
    pub fn client(&self) -> Client {
        self.client.clone()
    }
}

async fn load(access: &Access) -> Result<Config, ConnectError> {
    let (path, kubeconfig) = match &access.kubeconfig {
        Some(path) => (path.display().to_string(), Kubeconfig::read_from(path)),
        None => match env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty()) {
            Some(paths) => {
                let read = Kubeconfig::from_env();
                let read = read.map(Option::unwrap_or_default);
                (Path::new(&paths).display().to_string(), read)
            }
            None => match env::home_dir().map(|home| home.join(".kube/config")) {
                Some(path) if path.exists() => {
                    (path.display().to_string(), Kubeconfig::read_from(&path))
                }
                _ => return in_cluster(access),
            },
        },
    };
    let options = KubeConfigOptions {
        context: access.context.clone(),
        ..KubeConfigOptions::default()
    };
    let unusable = |why| ConnectError::Kubeconfig { path, why };
    let kubeconfig = match kubeconfig {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => return Err(unusable(causes(&error))),
    };
    // kube would go there as nobody.
    if let Some(user) = missing_user(&kubeconfig, access) {
        return Err(unusable(format!("it names a user `{user}` that it lacks")));
    }
    let names_a_proxy = names_a_proxy(&kubeconfig, access);
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| unusable(causes(&error)))?;
    let server = config.cluster_url.host().unwrap_or_default();
    let tls = config.cluster_url.scheme_str() == Some("https");
    let exempt = ["NO_PROXY", "no_proxy"]
        .into_iter()
        .find_map(|name| env::var(name).ok());
    if !names_a_proxy && (!tls || is_exempt(server, exempt.as_deref().unwrap_or_default())) {
        config.proxy_url = None;
    }
    Ok(config)
}

/// The context that is wanted, if it is there.
fn context<'a>(kubeconfig: &'a Kubeconfig, access: &'a Access) -> Option<&'a Context> {
    let current = kubeconfig.current_context.as_ref();
    let wanted = access.context.as_ref().or(current);
    let mut contexts = kubeconfig.contexts.iter();
    contexts
        .find(|one| Some(&one.name) == wanted)?
        .context
        .as_ref()
}

fn missing_user<'a>(kubeconfig: &'a Kubeconfig, access: &'a Access) -> Option<&'a str> {
    let user = context(kubeconfig, access)?.user.as_deref()?;
    let mut users = kubeconfig.auth_infos.iter();
    let is_there = user.is_empty() || users.any(|one| one.name == user);
    (!is_there).then_some(user)
}

/// Whether the kubeconfig itself wants a proxy; else one may come from `$HTTPS_PROXY`.
fn names_a_proxy(kubeconfig: &Kubeconfig, access: &Access) -> bool {
    let cluster = context(kubeconfig, access).and_then(|context| {
        let mut clusters = kubeconfig.clusters.iter();
        clusters.find(|one| one.name == context.cluster)
    });
    cluster
        .and_then(|one| one.cluster.as_ref()?.proxy_url.as_ref())
        .is_some_and(|proxy| !proxy.is_empty())
}

/// Whether `$NO_PROXY` exempts a host, by its name or by a domain that it is in. (kube compares
/// it with the name of the proxy.)
fn is_exempt(host: &str, exempt: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_loopback = address.is_ok_and(|address| address.is_loopback());
    is_loopback
        || host == "localhost"
        || exempt.split(',').map(str::trim).any(|one| {
            let domain = one.trim_start_matches("*.").trim_start_matches('.');
            let below = host
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'));
            one == "*" || !domain.is_empty() && (host == domain || below)
        })
}

fn in_cluster(access: &Access) -> Result<Config, ConnectError> {
    match &access.context {
        Some(context) => Err(ConnectError::NoKubeconfig(context.clone())),
        None => Config::incluster().map_err(|error| ConnectError::Nowhere(causes(&error))),
    }
}

/// Takes the token file out of kube's hands. As with other tools, the file counts where a
/// token is given beside it.
fn take_token_file(auth: &mut AuthInfo) -> Result<Option<TokenFile>, ConnectError> {
    let Some(path) = auth.token_file.take().map(PathBuf::from) else {
        return Ok(None);
    };
    auth.token = None;
    match TokenFile::open(path.clone()) {
        Ok(token) => Ok(Some(token)),
        Err(why) => Err(ConnectError::Token { path, why }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_of_the_environment_has_exemptions() {
        for (host, exempt, expected) in [
            ("api.example.org", "", false),
            ("api.example.org", "*", true),
            ("api.example.org", "a, api.example.org", true),
            ("api.example.org", ".example.org", true),
            ("api.example.org", "example.org", true),
            ("api.example.org", "le.org", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("127.0.0.1", "", true),
            ("[::1]", "", true),
        ] {
            assert_eq!(is_exempt(host, exempt), expected, "{host} {exempt:?}");
        }
    }

    #[test]
    fn a_name_or_password_in_the_address_is_not_shown() {
        let url = Uri::from_static("https://me:secret@host:6443/base");
        assert_eq!(describe(&url), "https://host:6443");
    }
}
