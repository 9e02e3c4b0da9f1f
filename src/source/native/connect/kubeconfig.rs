//! What kubeconfigs say, as kubectl understands them. Pure: texts in, one context's entry out.
//!
//! Invariants: of several files the first that names something wins; a relative path counts from
//! the folder of the file that names it; what no entry of the wanted context says is not looked
//! at, so that a broken neighbour hurts nobody. An error is one line.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

/// One file, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// The folder that it is in.
    pub folder: PathBuf,
    /// What it holds.
    pub document: Map<String, Value>,
}

/// What a context leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// The context's name.
    pub context: String,
    /// The name of its cluster.
    pub cluster_name: String,
    /// Where the API server is, and how it is known.
    pub cluster: Cluster,
    /// Who we are to it.
    pub user: User,
}

/// Where an API server is, and how it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Its address, maybe without a scheme.
    pub server: String,
    /// PEM of the authorities that vouch for it; `None`: those of the system.
    pub authority: Option<Source>,
    /// Nobody needs to vouch for it.
    pub insecure: bool,
    /// The name in its certificate, if that is not the host's.
    pub tls_server_name: Option<String>,
    /// The way to it; `None`: as the environment says.
    pub proxy_url: Option<String>,
    /// For a credential plugin.
    pub plugin_config: Option<Value>,
    /// For a credential plugin.
    pub disable_compression: bool,
}

/// Who we are to an API server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct User {
    /// PEM of our certificate and its chain.
    pub certificate: Option<Source>,
    /// PEM of its key.
    pub key: Option<Source>,
    /// A bearer token.
    pub token: Option<String>,
    /// A file with one, which counts if there are both.
    pub token_file: Option<PathBuf>,
    /// Name and password.
    pub basic: Option<(String, String)>,
    /// A program that says who we are.
    pub plugin: Option<Plugin>,
    /// Headers by which we act as somebody else.
    pub impersonation: Vec<(String, String)>,
}

/// A credential plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugin {
    /// The version of the protocol that it speaks.
    pub api_version: String,
    /// A path, or a name to search for in `$PATH`.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables in addition to ours.
    pub env: Vec<(String, String)>,
    /// For people, if it is not there.
    pub install_hint: String,
    /// It wants to know where the API server is.
    pub wants_cluster: bool,
    /// It cannot do without a terminal.
    pub needs_terminal: bool,
}

/// Something that stands in the kubeconfig, or in a file that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Itself.
    Inline(Vec<u8>),
    /// Where it is.
    File(PathBuf),
}

/// Understands the bytes of one file. An empty one says nothing.
///
/// # Errors
/// It is no kubeconfig.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<File, String> {
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let document = match document(bytes)? {
        Value::Null => Map::new(),
        Value::Object(document) => document,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err("it is not a kubeconfig: not a mapping".to_owned());
        }
    };
    for (key, wanted) in [("kind", "Config"), ("apiVersion", "v1")] {
        match text_at(&document, key) {
            Some(found) if found != wanted => {
                return Err(format!("its {key} is {found}, not {wanted}"));
            }
            Some(_) | None => {}
        }
    }
    Ok(File { folder, document })
}

/// Finds the entry of a context, by default of the current one.
///
/// # Errors
/// There is no such context, or it leads to what is not there or makes no sense.
pub fn choose(files: &[File], context: Option<&str>) -> Result<Entry, String> {
    let current = || {
        let mut named = files.iter().filter_map(current_of);
        named.next().ok_or("it names no current context")
    };
    let name = match context {
        Some(name) => name.to_owned(),
        None => current()?,
    };
    let (_, found) = find(files, "contexts", &name)
        .ok_or_else(|| format!("there is no context `{name}` in it"))?;
    let context = object_at(found, "context").unwrap_or(&NOTHING);
    let cluster_name = text_at(context, "cluster").unwrap_or_default();
    let (file, found) = find(files, "clusters", &cluster_name)
        .ok_or_else(|| format!("its context `{name}` names a cluster `{cluster_name}` it lacks"))?;
    let cluster = cluster(file, object_at(found, "cluster").unwrap_or(&NOTHING))
        .map_err(|why| format!("its cluster `{cluster_name}`: {why}"))?;
    let user_name = text_at(context, "user").unwrap_or_default();
    let user = match find(files, "users", &user_name) {
        Some((file, found)) => user(file, object_at(found, "user").unwrap_or(&NOTHING))
            .map_err(|why| format!("its user `{user_name}`: {why}"))?,
        None if user_name.is_empty() => User::default(),
        None => return Err(format!("it names a user `{user_name}` that it lacks")),
    };
    Ok(Entry {
        context: name,
        cluster_name,
        cluster,
        user,
    })
}

fn current_of(file: &File) -> Option<String> {
    text_at(&file.document, "current-context")
}

fn find<'a>(
    files: &'a [File],
    list: &str,
    name: &str,
) -> Option<(&'a File, &'a Map<String, Value>)> {
    files.iter().find_map(|file| {
        let mut entries = items_at(&file.document, list).filter_map(Value::as_object);
        let entry = entries.find(|entry| text_at(entry, "name").unwrap_or_default() == name)?;
        Some((file, entry))
    })
}

fn cluster(file: &File, said: &Map<String, Value>) -> Result<Cluster, String> {
    let authority = source(file, said, "certificate-authority")?;
    let insecure = flag_at(said, "insecure-skip-tls-verify")?;
    if insecure && authority.is_some() {
        let both = "certificate-authority and insecure-skip-tls-verify exclude each other";
        return Err(both.to_owned());
    }
    let extensions = items_at(said, "extensions").filter_map(Value::as_object);
    let plugin_config = extensions
        .filter(|one| text_at(one, "name").as_deref() == Some("client.authentication.k8s.io/exec"))
        .find_map(|one| one.get("extension").cloned());
    Ok(Cluster {
        server: text_at(said, "server").ok_or("it has no server")?,
        authority,
        insecure,
        tls_server_name: text_at(said, "tls-server-name"),
        proxy_url: text_at(said, "proxy-url"),
        plugin_config,
        disable_compression: flag_at(said, "disable-compression")?,
    })
}

fn user(file: &File, said: &Map<String, Value>) -> Result<User, String> {
    let (certificate, key) = (
        source(file, said, "client-certificate")?,
        source(file, said, "client-key")?,
    );
    match (&certificate, &key) {
        (Some(_), None) => return Err("client-certificate needs a client-key".to_owned()),
        (None, Some(_)) => return Err("client-key needs a client-certificate".to_owned()),
        (Some(_), Some(_)) | (None, None) => {}
    }
    let mut user = User {
        certificate,
        key,
        token: text_at(said, "token"),
        token_file: text_at(said, "tokenFile").map(|path| file.folder.join(path)),
        basic: text_at(said, "username")
            .map(|name| (name, text_at(said, "password").unwrap_or_default())),
        plugin: object_at(said, "exec")
            .map(|said| plugin(file, said))
            .transpose()?,
        impersonation: impersonation(said)?,
    };
    if let Some(provider) = object_at(said, "auth-provider") {
        user.token = Some(token_of_provider(provider)?);
    }
    Ok(user)
}

/// The providers that were built into kubectl: one of them is left there.
fn token_of_provider(said: &Map<String, Value>) -> Result<String, String> {
    let name = text_at(said, "name").unwrap_or_default();
    if name != "oidc" {
        let instead = match name.as_str() {
            "gcp" => "gke-gcloud-auth-plugin",
            "azure" => "kubelogin",
            _ => "a credential plugin",
        };
        return Err(format!(
            "its auth-provider `{name}` is no longer supported, here as in kubectl: use {instead} (exec)"
        ));
    }
    let config = object_at(said, "config").unwrap_or(&NOTHING);
    text_at(config, "id-token").ok_or_else(|| {
        "its auth-provider `oidc` has no id-token: log in with kubectl, or use a credential plugin \
         (exec)"
            .to_owned()
    })
}

fn plugin(file: &File, said: &Map<String, Value>) -> Result<Plugin, String> {
    let mut command = text_at(said, "command").ok_or("its exec has no command")?;
    if command.contains('/') {
        let path = file.folder.join(&command);
        command = path.to_str().map_or(command, str::to_owned);
    }
    let api_version = text_at(said, "apiVersion").ok_or("its exec has no apiVersion")?;
    if !super::exec::VERSIONS.contains(&api_version.as_str()) {
        return Err(format!(
            "its exec has an apiVersion `{api_version}`, not one of {}",
            super::exec::VERSIONS.join(", ")
        ));
    }
    let env = items_at(said, "env").filter_map(Value::as_object);
    let env = env.filter_map(|one| {
        let name = text_at(one, "name")?;
        Some((name, text_at(one, "value").unwrap_or_default()))
    });
    let needs_terminal = match text_at(said, "interactiveMode").as_deref() {
        None | Some("Never" | "IfAvailable") => false,
        Some("Always") => true,
        Some(other) => return Err(format!("its exec has an interactiveMode `{other}`")),
    };
    let plugin = Plugin {
        api_version,
        command,
        args: items_at(said, "args").filter_map(text_of_value).collect(),
        env: env.collect(),
        install_hint: text_at(said, "installHint").unwrap_or_default(),
        wants_cluster: flag_at(said, "provideClusterInfo")?,
        needs_terminal,
    };
    match is_callable(&plugin) {
        true => Ok(plugin),
        false => Err("its exec has what no command line can hold".to_owned()),
    }
}

/// Whether the system can be handed all of it.
fn is_callable(plugin: &Plugin) -> bool {
    let mut words = plugin.args.iter().chain([&plugin.command]);
    let mut variables = plugin.env.iter();
    words.all(|word| !word.contains('\0'))
        && variables.all(|(name, value)| {
            !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
        })
}

fn impersonation(said: &Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let mut headers = Vec::new();
    for (key, header) in [("as", "impersonate-user"), ("as-uid", "impersonate-uid")] {
        headers.extend(text_at(said, key).map(|text| (header.to_owned(), text)));
    }
    let groups = items_at(said, "as-groups").filter_map(text_of_value);
    headers.extend(groups.map(|group| ("impersonate-group".to_owned(), group)));
    let extra = object_at(said, "as-user-extra").unwrap_or(&NOTHING);
    for key in extra.keys() {
        let header = format!("impersonate-extra-{}", escaped(key));
        let values = items_at(extra, key).filter_map(text_of_value);
        headers.extend(values.map(|value| (header.clone(), value)));
    }
    let is_acting = headers
        .iter()
        .any(|(header, _)| header == "impersonate-user");
    if !headers.is_empty() && !is_acting {
        return Err("it acts for groups, a uid or extras, but as nobody (`as`)".to_owned());
    }
    Ok(headers)
}

/// A key as a part of a header's name: what may not stand there, and `%`, is escaped.
fn escaped(key: &str) -> String {
    let mut escaped = String::with_capacity(key.len());
    for byte in key.bytes() {
        let is_token = byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
        if is_token {
            escaped.push(char::from(byte.to_ascii_lowercase()));
        } else {
            escaped.push_str(&format!("%{byte:02x}"));
        }
    }
    escaped
}

/// What `key-data` holds, else where `key` says it is.
fn source(file: &File, said: &Map<String, Value>, key: &str) -> Result<Option<Source>, String> {
    if let Some(mut data) = text_at(said, &format!("{key}-data")) {
        data.retain(|one| !one.is_ascii_whitespace());
        let data = STANDARD
            .decode(data)
            .map_err(|error| format!("{key}-data is not base64: {error}"))?;
        return Ok(Some(Source::Inline(data)));
    }
    let path = text_at(said, key);
    Ok(path.map(|path| Source::File(file.folder.join(path))))
}

// === values ===

static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// What a text of JSON or YAML says, in any of the encodings that editors write.
///
/// # Errors
/// It is none. One line.
pub(super) fn document(bytes: &[u8]) -> Result<Value, String> {
    value_of(&text_of(bytes).ok_or("it is not text")?)
}

fn value_of(text: &str) -> Result<Value, String> {
    // JSON may be indented by tabs, which YAML does not like.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let options = serde_saphyr::options! {
        // As the parser of kubectl: the last of two equal keys.
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        // What `y` and `on` mean depends on where they stand.
        strict_booleans: true,
        with_snippet: false,
    };
    let documents = serde_saphyr::from_multiple_with_options::<Value>(text, options);
    let documents = documents.map_err(|error| one_line(&format!("it does not parse: {error}")))?;
    // kubectl reads the first one.
    Ok(documents.into_iter().next().unwrap_or(Value::Null))
}

/// UTF-8 or, as some editors write it, UTF-16, with or without a mark.
fn text_of(bytes: &[u8]) -> Option<String> {
    let wide = |rest: &[u8], read: fn([u8; 2]) -> u16| {
        let pairs = rest.chunks_exact(2).filter_map(|pair| pair.try_into().ok());
        String::from_utf16(&pairs.map(read).collect::<Vec<_>>()).ok()
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

/// A text that is there and not empty.
fn text_at(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.get(key)
        .and_then(text_of_value)
        .filter(|text| !text.is_empty())
}

/// A number or boolean that somebody has not quoted means its text.
fn text_of_value(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn object_at<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Map<String, Value>> {
    map.get(key)?.as_object()
}

fn items_at<'a>(
    map: &'a Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a Value> + use<'a> {
    let items = map.get(key).and_then(Value::as_array);
    items.into_iter().flatten()
}

fn flag_at(map: &Map<String, Value>, key: &str) -> Result<bool, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        // Booleans of old YAML, which the parser leaves as texts where no boolean is asked for.
        Some(Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "yes" | "y" | "on" | "true" => Ok(true),
            "no" | "n" | "off" | "false" | "" => Ok(false),
            _ => Err(format!("{key} is `{text}`, not true or false")),
        },
        Some(Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(format!("{key} is neither true nor false"))
        }
    }
}

/// The first of several lines, without what a terminal would take for more than text.
pub(super) fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line: Vec<_> = lines.take(3).collect();
    let line = line.join(", ");
    line.chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests;
