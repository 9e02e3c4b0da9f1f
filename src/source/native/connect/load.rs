//! What the settings of a start lead to: kubeconfig or service account, with all files that they
//! name. Blocks: for threads that may wait.

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header::AUTHORIZATION, uri};

use super::{
    Access, ConnectError, Origin, exec,
    files::Seen,
    kubeconfig::{self, Cluster, Entry, File, Plugin, Source, User},
    plugin::Call,
    proxy::{self, Environment, Proxy},
    tls::Material,
};

/// Where a pod finds its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// All that is known without asking anybody.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    /// The context, if there are some; with it we stay.
    pub(super) context: Option<String>,
    /// The name of the cluster, if it has one here.
    pub(super) cluster: Option<String>,
    /// Without a user's name in it.
    pub(super) server: Uri,
    pub(super) proxy: Option<Proxy>,
    pub(super) material: Material,
    /// Of each request.
    pub(super) headers: HeaderMap,
    /// Who says who we are, if the files do not.
    pub(super) plugin: Option<Call>,
}

/// Reads everything again. What was read is there in any case, so that a repair is noticed.
pub(super) fn load(access: &Access) -> (Seen, Result<Loaded, ConnectError>) {
    let mut seen = Seen::default();
    let loaded = load_into(access, &mut seen);
    (seen, loaded)
}

fn load_into(access: &Access, seen: &mut Seen) -> Result<Loaded, ConnectError> {
    let (paths, is_asked_for) = match &access.kubeconfig {
        Some(path) => (vec![path.clone()], true),
        None => (usual_paths(), false),
    };
    let origin = Origin::Kubeconfig(shown(&paths));
    let unusable = |why| origin.unusable(why);
    let mut files = Vec::new();
    for path in &paths {
        match seen.read(path) {
            Ok(bytes) => files.push(kubeconfig::parse(path, &bytes).map_err(unusable)?),
            // As kubectl: of several, some may not be there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_asked_for => {}
            Err(error) => return Err(unusable(error.to_string())),
        }
    }
    let says_nothing = |file: &File| file.document.is_empty();
    if !is_asked_for && files.iter().all(says_nothing) {
        return match &access.context {
            Some(context) => Err(ConnectError::NoKubeconfig(context.clone())),
            None => in_cluster(seen),
        };
    }
    let entry = kubeconfig::choose(&files, access.context.as_deref()).map_err(unusable)?;
    from_entry(entry, seen, &origin)
}

/// Those of `$KUBECONFIG`, else the one in the home directory.
fn usual_paths() -> Vec<PathBuf> {
    let Some(list) = env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) else {
        let home = env::home_dir().map(|home| home.join(".kube/config"));
        return home.into_iter().collect();
    };
    let mut paths: Vec<PathBuf> = Vec::new();
    for path in env::split_paths(&list) {
        if !path.as_os_str().is_empty() && !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

fn shown(paths: &[PathBuf]) -> String {
    let paths = paths.iter().map(|path| path.display().to_string());
    paths.collect::<Vec<_>>().join(":")
}

fn in_cluster(seen: &mut Seen) -> Result<Loaded, ConnectError> {
    let variable = |name: &str| {
        let value = env::var(name).ok().filter(|value| !value.is_empty());
        value.ok_or_else(|| ConnectError::Nowhere(format!("${name} is not set")))
    };
    let host = variable("KUBERNETES_SERVICE_HOST")?;
    let port = variable("KUBERNETES_SERVICE_PORT")?;
    let host = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host,
    };
    let account = Path::new(ACCOUNT);
    let entry = Entry {
        cluster: Cluster {
            server: format!("https://{host}:{port}"),
            authority: Some(Source::File(account.join("ca.crt"))),
            ..Cluster::default()
        },
        user: User {
            token_file: Some(account.join("token")),
            ..User::default()
        },
        context: String::new(),
        cluster_name: String::new(),
    };
    let loaded = from_entry(entry, seen, &Origin::ServiceAccount)?;
    Ok(Loaded {
        context: None,
        cluster: None,
        ..loaded
    })
}

fn from_entry(entry: Entry, seen: &mut Seen, origin: &Origin) -> Result<Loaded, ConnectError> {
    let unusable = |why| origin.unusable(why);
    let Entry {
        context,
        cluster_name,
        cluster,
        user,
    } = entry;
    let mut pem = |source: &Option<Source>| match source {
        None => Ok(None),
        Some(Source::Inline(bytes)) => Ok(Some(bytes.clone())),
        Some(Source::File(path)) => match seen.read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => Err(unusable(format!("cannot read {}: {error}", path.display()))),
        },
    };
    let authority = pem(&cluster.authority)?;
    let identity = pem(&user.certificate)?.zip(pem(&user.key)?);
    let (server, login) = server(&cluster, identity.is_some())?;
    let proxy = proxy::choose(&server, cluster.proxy_url.as_deref(), &environment());
    let proxy = proxy.map_err(ConnectError::Client)?;
    let mut headers = HeaderMap::new();
    for (name, value) in &user.impersonation {
        let bad = || unusable(format!("its {name} holds what no header can hold"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad())?;
        headers.append(name, value);
    }
    let authorization = authorization(&user, login, seen, origin)?;
    let is_known = authorization.is_some();
    headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
    // As kubectl: a plugin is only for those who have nothing else to show.
    let plugin = match &user.plugin {
        Some(plugin) if !is_known && identity.is_none() => {
            Some(call(plugin, &cluster, authority.as_deref()).map_err(unusable)?)
        }
        Some(_) | None => None,
    };
    let plain = server.scheme() == Some(&uri::Scheme::HTTP);
    Ok(Loaded {
        context: Some(context),
        cluster: Some(cluster_name).filter(|name| !name.is_empty()),
        server,
        proxy,
        material: Material {
            authority,
            insecure: cluster.insecure,
            plain,
            server_name: cluster.tls_server_name,
            identity,
        },
        headers,
        plugin,
    })
}

/// The address, and the name and password in it.
fn server(
    cluster: &Cluster,
    has_identity: bool,
) -> Result<(Uri, Option<(String, String)>), ConnectError> {
    let text = cluster.server.trim();
    let bad = || ConnectError::Address(kubeconfig::one_line(text));
    // As kubectl: what has to do with TLS is reached by it.
    let has_tls = cluster.authority.is_some() || cluster.insecure || has_identity;
    let text = match (text.contains("://"), has_tls) {
        (true, _) => text.to_owned(),
        (false, true) => format!("https://{text}"),
        (false, false) => format!("http://{text}"),
    };
    let server: Uri = text.parse().map_err(|_| bad())?;
    let is_http = matches!(server.scheme_str(), Some("http" | "https"));
    let host = server.host().filter(|host| !host.is_empty() && is_http);
    let host = host.ok_or_else(bad)?;
    let authority = server.authority().map(uri::Authority::as_str);
    let login = authority
        .and_then(|all| all.rsplit_once('@'))
        .map(|(login, _)| {
            let (name, password) = login.split_once(':').unwrap_or((login, ""));
            (proxy::unescaped(name), proxy::unescaped(password))
        });
    let authority = match server.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let mut parts = server.clone().into_parts();
    parts.authority = Some(authority.parse().map_err(|_| bad())?);
    let server = Uri::from_parts(parts).map_err(|_| bad())?;
    Ok((server, login))
}

fn environment() -> Environment {
    let first = |names: [&str; 2]| {
        let values = names.into_iter().filter_map(|name| env::var(name).ok());
        values
            .into_iter()
            .find(|value| !value.is_empty())
            .unwrap_or_default()
    };
    Environment {
        http: first(["HTTP_PROXY", "http_proxy"]),
        https: first(["HTTPS_PROXY", "https_proxy"]),
        exempt: first(["NO_PROXY", "no_proxy"]),
    }
}

/// The header that says who we are. As with other tools, a token file counts where a token is
/// given, too, unless it cannot be read.
fn authorization(
    user: &User,
    login: Option<(String, String)>,
    seen: &mut Seen,
    origin: &Origin,
) -> Result<Option<HeaderValue>, ConnectError> {
    if let Some((name, password)) = user.basic.as_ref().or(login.as_ref()) {
        let basic = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
        return Ok(Some(sensitive(&basic).map_err(ConnectError::Client)?));
    }
    if let Some(path) = &user.token_file {
        let unreadable = |why| ConnectError::Token {
            path: path.clone(),
            why,
        };
        let read = seen.read(path).map_err(|error| error.to_string());
        match read.and_then(|bytes| bearer(&String::from_utf8_lossy(&bytes))) {
            Ok(header) => return Ok(Some(header)),
            Err(why) if user.token.is_none() => return Err(unreadable(why)),
            Err(_) => {}
        }
    }
    let token = user.token.as_deref().map(bearer).transpose();
    token.map_err(|why| origin.unusable(format!("its token: {why}")))
}

/// The header with a token, whatever white space is around it.
///
/// # Errors
/// It is empty, or no header can hold it.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, String> {
    match token.trim() {
        "" => Err("there is none in it".to_owned()),
        token => sensitive(&format!("Bearer {token}")),
    }
}

fn sensitive(text: &str) -> Result<HeaderValue, String> {
    let header = HeaderValue::from_bytes(text.as_bytes());
    let mut header = header.map_err(|_| "it holds what no header can hold".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

/// How a plugin is called. That it is there is looked at now: its absence is a mistake of the
/// settings.
fn call(plugin: &Plugin, cluster: &Cluster, authority: Option<&[u8]>) -> Result<Call, String> {
    let named = &plugin.command;
    if plugin.needs_terminal {
        return Err(format!(
            "its plugin {named} wants a terminal (interactiveMode: Always), and there is none here"
        ));
    }
    let hint = kubeconfig::one_line(&plugin.install_hint);
    let program = find_program(named).ok_or_else(|| match hint.as_str() {
        "" => format!("its plugin {named} is not there, or may not be run"),
        hint => format!("its plugin {named} is not there, or may not be run: {hint}"),
    })?;
    let about = plugin.wants_cluster.then_some((cluster, authority));
    Ok(Call {
        name: named.clone(),
        program,
        args: plugin.args.clone(),
        env: plugin.env.clone(),
        info: exec::info(&plugin.api_version, about),
        version: plugin.api_version.clone(),
    })
}

fn find_program(command: &str) -> Option<PathBuf> {
    let can_run = |path: &PathBuf| {
        fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if command.contains('/') {
        return Some(PathBuf::from(command)).filter(can_run);
    }
    let path: OsString = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path).filter(|folder| folder.is_absolute());
    folders.find_map(|folder| Some(folder.join(command)).filter(can_run))
}
