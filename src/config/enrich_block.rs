//! The block `enrichment` of a config file: what is written there, for [`ProfileSet`] to read,
//! with the line of everything that may be wrong in it.

use super::{
    settings::Given,
    yaml::{Entry, Node},
};
use crate::enrich::profile::{ProfileError, ProfileSet, ProfileSetError, Setting};

/// A block without mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    node: Node,
    line: usize,
    setting: Setting,
    /// With what the environment says in it.
    address: Option<String>,
}

impl Block {
    /// Reads it as a start would, but for the name of the node, which is no mistake of the file.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub(super) fn read(line: usize, node: &Node) -> Result<Self, (usize, String)> {
        let setting = setting(node).map_err(|line| (line, "a key has parts".to_owned()))?;
        match ProfileSet::read(&setting, None, &environment) {
            Ok(set) => Ok(Self {
                node: node.clone(),
                line,
                setting,
                address: set.address,
            }),
            Err(error) => {
                let line = place(&error, node).unwrap_or(line);
                Err((line, error.to_string() + &cause(&error)))
            }
        }
    }

    /// As it is written.
    pub(super) fn setting(&self) -> Setting {
        self.setting.clone()
    }

    /// Where it stands.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// `address`, with its line.
    pub(super) fn address(&self) -> Option<(String, usize)> {
        let line = line_of(&self.node, "address").unwrap_or(self.line);
        self.address.clone().map(|address| (address, line))
    }

    /// Each value but `address`, with its path and line.
    pub(super) fn rows(&self) -> Vec<(String, Given, usize)> {
        let mut rows = Vec::new();
        collect(&self.node, "", &mut rows);
        rows.retain(|(name, ..)| name != "address");
        rows
    }
}

/// The variables of this process.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// As enrichment reads settings.
///
/// # Errors
/// The line of a key that has parts.
fn setting(node: &Node) -> Result<Setting, usize> {
    // Not deeper than the reader of YAML lets a file be.
    Ok(match node {
        Node::Null => Setting::Null,
        Node::Text(text) => Setting::Text(text.clone()),
        Node::List(items) => {
            let items = items.iter().map(setting);
            Setting::List(items.collect::<Result<_, _>>()?)
        }
        Node::Map(entries) => {
            let member = |Entry { key, line, value }: &Entry| -> Result<_, usize> {
                let key = key.clone().ok_or(*line)?;
                Ok((key, setting(value)?))
            };
            Setting::Map(entries.iter().map(member).collect::<Result<_, _>>()?)
        }
    })
}

/// What the error says of what it comes from, where its own text does not.
fn cause(error: &ProfileSetError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    let unsaid = source.filter(|source| !error.to_string().contains(source));
    unsaid.map_or(String::new(), |source| format!(": {source}"))
}

/// The line of what an error is about.
fn place(error: &ProfileSetError, node: &Node) -> Option<usize> {
    let path = match error {
        ProfileSetError::UnknownKey(key) | ProfileSetError::Twice(key) => key.clone(),
        ProfileSetError::Value(key, _) => (*key).to_owned(),
        ProfileSetError::NoDefault(_) => "default_profile".to_owned(),
        ProfileSetError::TwoClusters(_, name) => format!("profiles.{name}.kube_config"),
        ProfileSetError::Profile(name, error) => {
            let of_profile = format!("profiles.{name}");
            let key = match error {
                ProfileError::Block => return line_of(node, &of_profile),
                ProfileError::UnknownKey(key)
                | ProfileError::Twice(key)
                | ProfileError::Value { key, .. } => key,
            };
            let line = line_of(node, &format!("{of_profile}.{key}"));
            return line.or_else(|| line_of(node, &of_profile));
        }
    };
    line_of(node, &path)
}

/// The last line at which something of this path stands.
fn line_of(node: &Node, path: &str) -> Option<usize> {
    match node {
        Node::Null | Node::Text(_) => None,
        Node::List(items) => items.iter().rev().find_map(|item| line_of(item, path)),
        Node::Map(entries) => entries.iter().rev().find_map(|entry| {
            let rest = path.strip_prefix(entry.key.as_deref()?)?;
            match rest.strip_prefix('.') {
                Some(below) => line_of(&entry.value, below),
                None => rest.is_empty().then_some(entry.line),
            }
        }),
    }
}

fn collect(node: &Node, prefix: &str, rows: &mut Vec<(String, Given, usize)>) {
    let entries = match node {
        Node::Map(entries) => entries,
        // A block of Metricbeat is a list of one.
        Node::List(items) => return items.iter().for_each(|item| collect(item, prefix, rows)),
        Node::Null | Node::Text(_) => return,
    };
    for Entry { key, line, value } in entries {
        let key = key.as_deref().unwrap_or_default();
        let path = match prefix {
            "" => key.to_owned(),
            prefix => format!("{prefix}.{key}"),
        };
        let given = match value {
            Node::Map(_) => {
                collect(value, &path, rows);
                continue;
            }
            Node::List(items) if items.iter().any(|item| matches!(item, Node::Map(_))) => {
                collect(value, &path, rows);
                continue;
            }
            Node::Null => Given::Nothing,
            Node::Text(text) => Given::One(text.clone()),
            Node::List(items) => {
                let texts = items.iter().filter_map(Node::text);
                Given::Many(texts.map(str::to_owned).collect())
            }
        };
        rows.push((path, given, *line));
    }
}
