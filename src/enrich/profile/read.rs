//! Settings of a profile, from what is written to typed values.

use std::{collections::BTreeSet, time::Duration};

use super::{
    ConfigMapKey, OwnerKindSetting, Parity, Profile, Schema, ScopeSetting, Semconv, Setting,
    keys::{NOT_ENRICHED, TAKEN, WITHOUT_EFFECT, known_keys, suggestion},
    setting::{Environment, expand},
};
use crate::enrich::{
    filter::{Filters, InvalidExpression, Selection},
    resource::{Metricset, Resource},
};

/// Why settings are no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// A list of several maps, or something else that is not a map.
    #[error("a profile is one map of settings, or a list of one")]
    Block,
    /// No setting has this name.
    #[error("`{0}` is not a setting of a profile{near}", near = suggestion(.0, known_keys()))]
    UnknownKey(String),
    /// The same setting stands twice.
    #[error("`{0}` is set twice")]
    Twice(String),
    /// Its key does not take this value.
    #[error("`{key}`: {problem}")]
    Value {
        /// The path of the setting.
        key: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

pub(super) fn profile(
    block: &Setting,
    node_name: Option<&str>,
    environment: Environment<'_>,
) -> Result<Profile, ProfileError> {
    let block = match block {
        Setting::List(items) => match items.as_slice() {
            [only @ (Setting::Map(_) | Setting::Null)] => only,
            _ => return Err(ProfileError::Block),
        },
        Setting::Map(_) | Setting::Null => block,
        Setting::Text(_) => return Err(ProfileError::Block),
    };
    let mut reader = Reader::new(environment);
    let mut seen = BTreeSet::new();
    for (path, value) in block.leaves() {
        let without_effect = |key: &&&str| path == **key || path.starts_with(&format!("{key}."));
        if let Some(key) = WITHOUT_EFFECT.iter().find(without_effect) {
            reader.note((*key).to_owned());
            continue;
        }
        if !seen.insert(path.clone()) {
            return Err(ProfileError::Twice(path));
        }
        if *value != Setting::Null {
            reader.leaf(&path, value)?;
        } else if !is_known(&path, environment) {
            return Err(ProfileError::UnknownKey(path));
        }
    }
    reader.finish(node_name)
}

/// Whether a key is one, whatever its value is: a key without a value has its default.
fn is_known(path: &str, environment: Environment<'_>) -> bool {
    let empty = Setting::Text(String::new());
    let maps = [
        "add_resource_metadata",
        "add_resource_metadata.node",
        "add_resource_metadata.namespace",
        "kube_client_options",
        "cluster",
        "labels",
        "annotations",
    ];
    let tried = Reader::new(environment).leaf(path, &empty);
    maps.contains(&path) || !matches!(tried, Err(ProfileError::UnknownKey(_)))
}

struct Reader<'a> {
    environment: Environment<'a>,
    profile: Profile,
    main: FilterSettings,
    node: FilterSettings,
    namespace: FilterSettings,
    /// `node`
    node_option: String,
    scope: Option<bool>,
    deployment: Option<bool>,
    cronjob: Option<bool>,
    container_image: Option<bool>,
}

/// The settings that a [`Filters`] is made of.
#[derive(Default)]
struct FilterSettings {
    disabled: bool,
    include_labels: Vec<String>,
    exclude_labels: Vec<String>,
    include_annotations: Vec<String>,
    regex_include: bool,
    regex_exclude: bool,
    labels_expanded: bool,
    annotations_expanded: bool,
}

/// A value with its key, for errors.
struct Value<'a> {
    key: &'a str,
    setting: &'a Setting,
    environment: Environment<'a>,
}

impl<'a> Reader<'a> {
    fn new(environment: Environment<'a>) -> Self {
        Self {
            environment,
            profile: Profile::default(),
            main: FilterSettings::default(),
            node: FilterSettings::default(),
            namespace: FilterSettings::default(),
            node_option: String::new(),
            scope: None,
            deployment: None,
            cronjob: None,
            container_image: None,
        }
    }

    fn note(&mut self, key: String) {
        if !self.profile.without_effect.contains(&key) {
            self.profile.without_effect.push(key);
        }
    }

    fn leaf(&mut self, path: &str, setting: &Setting) -> Result<(), ProfileError> {
        let value = Value {
            key: path,
            setting,
            environment: self.environment,
        };
        let profile = &mut self.profile;
        match path {
            "module" => match value.text()?.as_str() {
                "kubernetes" | "" => {}
                _ => return value.wrong("expected `kubernetes`"),
            },
            "metricsets" => {
                profile.metricsets.clear();
                for name in value.list()? {
                    match Metricset::from_name(&name) {
                        Some(known) if profile.metricsets.contains(&known) => {}
                        Some(known) => profile.metricsets.push(known),
                        None if NOT_ENRICHED.contains(&name.as_str()) => {
                            profile.without_effect.push(format!("metricsets: {name}"));
                        }
                        None => {
                            let known = Metricset::ALL.map(Metricset::name);
                            let near = suggestion(&name, known);
                            return value.wrong(&format!("`{name}` is not a metricset{near}"));
                        }
                    }
                }
            }
            "lookups" => {
                for key in value.list()? {
                    match Resource::from_key(&key) {
                        Some(resource) if profile.lookups.contains(&resource) => {}
                        Some(resource) => profile.lookups.push(resource),
                        None => {
                            let known = Resource::ALL.map(Resource::key).join(", ");
                            return value.wrong(&format!("`{key}` is not a kind; known: {known}"));
                        }
                    }
                }
            }
            "scope" => self.scope = Some(value.one_of(&[("cluster", false), ("node", true)])?),
            "add_metadata" => profile.add_metadata = value.boolean()?,
            "kube_config" => profile.kube_config = value.text()?,
            // Watches share one client, whose pauses adapt to what the API server can take.
            "kube_client_options.qps" => {
                value.number()?;
                self.note(path.to_owned());
            }
            "kube_client_options.burst" => {
                value.count()?;
                self.note(path.to_owned());
            }
            "node" => self.node_option = value.text()?,
            "namespace" => profile.watched_namespace = value.text()?,
            "use_kubeadm" => profile.use_kubeadm = value.boolean()?,
            "add_resource_metadata.deployment" => self.deployment = Some(value.boolean()?),
            "add_resource_metadata.cronjob" => self.cronjob = Some(value.boolean()?),
            "container_image" => self.container_image = Some(value.boolean()?),
            "pod_ips" => profile.pod_ips = value.boolean()?,
            "deleted_grace_seconds" => profile.deleted_grace = value.seconds()?,
            "deleted_capacity" => profile.deleted_capacity = value.count()? as usize,
            "watch_linger_seconds" => profile.watch_linger = value.seconds()?,
            "warm_cluster_scope" => profile.warm_cluster_scope = value.boolean()?,
            "extra_owner_kinds" => profile.extra_owner_kinds = value.owner_kinds()?,
            "output_schema" => {
                profile.schema = value.one_of(&[("ecs", Schema::Ecs), ("otel", Schema::Otel)])?;
            }
            "semconv" => {
                let known = [
                    ("v1", Semconv::V1),
                    ("v0", Semconv::V0),
                    ("both", Semconv::Both),
                ];
                profile.semconv = value.one_of(&known)?;
            }
            "parity" => {
                let known = [("relay", Parity::Relay), ("beats", Parity::Beats)];
                profile.parity = value.one_of(&known)?;
            }
            "cluster.name" => profile.cluster.name = value.text()?,
            "cluster.url" => profile.cluster.url = value.text()?,
            "cluster.config_map" => profile.cluster.config_map = value.config_map()?,
            _ => return self.filter(path, value),
        }
        Ok(())
    }

    fn filter(&mut self, path: &str, value: Value<'_>) -> Result<(), ProfileError> {
        let unknown = || ProfileError::UnknownKey(path.to_owned());
        let (filters, key) = match path.strip_prefix("add_resource_metadata.") {
            None => (&mut self.main, path),
            Some(joined) => match joined.split_once('.') {
                Some(("node", key)) => (&mut self.node, key),
                Some(("namespace", key)) => (&mut self.namespace, key),
                _ => return Err(unknown()),
            },
        };
        match key {
            // That of the block itself has no effect and does not come here.
            "enabled" => filters.disabled = !value.boolean()?,
            "include_labels" => filters.include_labels = value.list()?,
            "exclude_labels" => filters.exclude_labels = value.list()?,
            "include_annotations" => filters.include_annotations = value.list()?,
            "use_regex_include" => filters.regex_include = value.boolean()?,
            "use_regex_exclude" => filters.regex_exclude = value.boolean()?,
            "labels.dedot" => filters.labels_expanded = !value.boolean()?,
            "annotations.dedot" => filters.annotations_expanded = !value.boolean()?,
            _ => return Err(unknown()),
        }
        Ok(())
    }

    fn finish(self, node_name: Option<&str>) -> Result<Profile, ProfileError> {
        let mut profile = self.profile;
        let mut invalid = Vec::new();
        profile.main = self.main.filters(&mut invalid);
        let mut joined =
            |settings: FilterSettings| (!settings.disabled).then(|| settings.filters(&mut invalid));
        profile.node = joined(self.node);
        profile.namespace = joined(self.namespace);
        for invalid in invalid {
            profile.warnings.push(invalid.to_string());
        }
        let node = match self.node_option.as_str() {
            "" => node_name.unwrap_or_default().to_owned(),
            _ => self.node_option,
        };
        profile.scope = match self.scope.unwrap_or(!node.is_empty()) {
            true => ScopeSetting::Node(node),
            false => ScopeSetting::Cluster,
        };
        let is_otel = profile.schema == Schema::Otel;
        profile.deployment = self.deployment.unwrap_or(is_otel);
        profile.cronjob = self.cronjob.unwrap_or(is_otel);
        let is_ours = profile.parity == Parity::Relay;
        profile.container_image = self.container_image.unwrap_or(is_ours);
        Ok(profile)
    }
}

impl FilterSettings {
    fn filters(self, invalid: &mut Vec<InvalidExpression>) -> Filters {
        let mut selection = |list: &[String], regex| Selection::new(list, regex, invalid);
        Filters {
            include_labels: selection(&self.include_labels, self.regex_include),
            exclude_labels: selection(&self.exclude_labels, self.regex_exclude),
            include_annotations: selection(&self.include_annotations, self.regex_include),
            dedot_labels: !self.labels_expanded,
            dedot_annotations: !self.annotations_expanded,
        }
    }
}

impl Value<'_> {
    fn wrong<T>(&self, problem: &str) -> Result<T, ProfileError> {
        Err(ProfileError::Value {
            key: self.key.to_owned(),
            problem: problem.to_owned(),
        })
    }

    fn scalar(&self, setting: &Setting, expected: &str) -> Result<String, ProfileError> {
        match setting {
            Setting::Text(text) => match expand(text, self.environment) {
                Ok(expanded) => Ok(expanded),
                Err(problem) => self.wrong(&problem),
            },
            Setting::Null | Setting::List(_) | Setting::Map(_) => self.wrong(expected),
        }
    }

    fn text(&self) -> Result<String, ProfileError> {
        self.scalar(self.setting, "expected a text")
    }

    /// A list of texts; one text is a list of it, an empty one of none.
    fn list(&self) -> Result<Vec<String>, ProfileError> {
        let expected = "expected a list of texts";
        match self.setting {
            Setting::List(items) => items
                .iter()
                .map(|item| self.scalar(item, expected))
                .collect(),
            Setting::Text(text) if text.is_empty() => Ok(Vec::new()),
            Setting::Null | Setting::Text(_) | Setting::Map(_) => {
                Ok(vec![self.scalar(self.setting, expected)?])
            }
        }
    }

    fn boolean(&self) -> Result<bool, ProfileError> {
        let text = self.scalar(self.setting, "expected true or false")?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => self.wrong(&format!("expected true or false, not `{text}`")),
        }
    }

    fn one_of<T: Copy>(&self, known: &[(&str, T)]) -> Result<T, ProfileError> {
        let text = self.text()?;
        match known.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Ok(*value),
            None => {
                let names: Vec<_> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
                self.wrong(&format!("expected {}, not `{text}`", names.join(" or ")))
            }
        }
    }

    fn number(&self) -> Result<f64, ProfileError> {
        let text = self.text()?;
        match text.parse::<f64>() {
            Ok(number) if number >= 0.0 && number.is_finite() => Ok(number),
            _ => self.wrong(&format!("expected a number from 0, not `{text}`")),
        }
    }

    fn count(&self) -> Result<u32, ProfileError> {
        let text = self.text()?;
        match text.parse() {
            Ok(count) => Ok(count),
            Err(_) => self.wrong(&format!("expected a whole number from 0, not `{text}`")),
        }
    }

    fn seconds(&self) -> Result<Duration, ProfileError> {
        let seconds = self.number()?;
        match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if seconds <= 1e9 => Ok(duration),
            _ => self.wrong("expected seconds, at most 1000000000"),
        }
    }

    fn owner_kinds(&self) -> Result<Vec<OwnerKindSetting>, ProfileError> {
        let mut kinds = Vec::new();
        for kind in self.list()? {
            let key = kind.to_lowercase();
            if kind.is_empty() || !kind.chars().all(|char| char.is_ascii_alphanumeric()) {
                return self.wrong(&format!("`{kind}` is not a kind, such as `Rollout`"));
            }
            let is_built_in = Resource::from_kind(&kind).is_some_and(Resource::is_owner);
            if TAKEN.contains(&key.as_str()) {
                return self.wrong(&format!("documents say something else under `{key}`"));
            }
            if !is_built_in {
                kinds.push(OwnerKindSetting { kind, key });
            }
        }
        Ok(kinds)
    }

    fn config_map(&self) -> Result<Option<ConfigMapKey>, ProfileError> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [namespace, name, key] if parts.iter().all(|part| is_name(part)) => {
                Ok(Some(ConfigMapKey {
                    namespace: (*namespace).to_owned(),
                    name: (*name).to_owned(),
                    key: (*key).to_owned(),
                }))
            }
            _ => self.wrong("expected `namespace/name/key`"),
        }
    }
}

/// Whether it may be the name of an object, or of a key of a ConfigMap.
fn is_name(text: &str) -> bool {
    let may_be = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    !text.is_empty() && text.chars().all(may_be)
}
