//! All profiles of a process: the `enrichment` block of a settings file.

use std::time::Duration;

use super::{
    Environment, Profile, ProfileError, Setting, Watch, keys::suggestion, setting::expand,
};
use crate::enrich::{index::Retention, plan::Needs, resource::Resource};

/// The profiles that are held, each under its name.
#[derive(Clone, Debug)]
pub struct ProfileSet {
    /// `address`: where questions are taken, as it was written.
    pub address: Option<String>,
    /// `default_profile`: the profile of questions that name none. It is one of `profiles`.
    pub default_profile: String,
    /// `profiles`, in the order of the file.
    pub profiles: Vec<(String, Profile)>,
}

/// Why settings are no profiles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileSetError {
    /// No setting has this name.
    #[error("`enrichment.{0}` is not a setting{near}", near = suggestion(.0, KEYS))]
    UnknownKey(String),
    /// The same key stands twice.
    #[error("`enrichment.{0}` is set twice")]
    Twice(String),
    /// Its key does not take this value.
    #[error("`enrichment.{0}`: {1}")]
    Value(&'static str, String),
    /// The settings of a profile are not valid.
    #[error("the profile `{0}`: {1}")]
    Profile(String, #[source] ProfileError),
    /// Two profiles are of two clusters.
    #[error(
        "the profiles `{0}` and `{1}` name two kubeconfigs: a relay watches one cluster, so \
         `kube_config` must be the same wherever it is set"
    )]
    TwoClusters(String, String),
    /// There is no profile with the name of the default one.
    #[error("`enrichment.default_profile`: there is no profile `{0}`")]
    NoDefault(String),
}

/// What the block may say.
const KEYS: [&str; 3] = ["address", "default_profile", "profiles"];

/// The name of the default profile, unless the settings say another.
const DEFAULT: &str = "default";

impl ProfileSet {
    /// Reads the block. Without profiles there is one of the name `default`, as an empty block
    /// of settings has it. `node_name` and `environment`: see [`Profile::read`].
    ///
    /// # Errors
    /// A key is not known or stands twice, a profile is not valid, or the default one is missing.
    pub fn read(
        block: &Setting,
        node_name: Option<&str>,
        environment: Environment<'_>,
    ) -> Result<Self, ProfileSetError> {
        let members = match block {
            Setting::Map(members) => members.as_slice(),
            Setting::Null => &[],
            Setting::Text(_) | Setting::List(_) => {
                let problem = "expected a map of profiles".to_owned();
                return Err(ProfileSetError::Value("profiles", problem));
            }
        };
        let mut set = Self {
            address: None,
            default_profile: DEFAULT.to_owned(),
            profiles: Vec::new(),
        };
        for (at, (key, value)) in members.iter().enumerate() {
            if members.iter().take(at).any(|(before, _)| before == key) {
                return Err(ProfileSetError::Twice(key.clone()));
            }
            match (key.as_str(), value) {
                ("address" | "default_profile" | "profiles", Setting::Null) => {}
                ("address", value) => set.address = Some(text("address", value, environment)?),
                ("default_profile", value) => {
                    set.default_profile = text("default_profile", value, environment)?;
                }
                ("profiles", Setting::Map(profiles)) => {
                    for (name, block) in profiles {
                        set.add(name, block, node_name, environment)?;
                    }
                }
                ("profiles", _) => {
                    let problem = "expected a map of profiles".to_owned();
                    return Err(ProfileSetError::Value("profiles", problem));
                }
                _ => return Err(ProfileSetError::UnknownKey(key.clone())),
            }
        }
        if set.profiles.is_empty() {
            set.add(DEFAULT, &Setting::Null, node_name, environment)?;
        }
        set.one_cluster()?;
        match set
            .profiles
            .iter()
            .any(|(name, _)| *name == set.default_profile)
        {
            true => Ok(set),
            false => Err(ProfileSetError::NoDefault(set.default_profile)),
        }
    }

    fn add(
        &mut self,
        name: &str,
        block: &Setting,
        node_name: Option<&str>,
        environment: Environment<'_>,
    ) -> Result<(), ProfileSetError> {
        if self.profiles.iter().any(|(known, _)| known == name) {
            return Err(ProfileSetError::Twice(format!("profiles.{name}")));
        }
        let profile = Profile::read(block, node_name, environment)
            .map_err(|error| ProfileSetError::Profile(name.to_owned(), error))?;
        self.profiles.push((name.to_owned(), profile));
        Ok(())
    }

    /// # Errors
    /// Profiles name different kubeconfigs.
    fn one_cluster(&self) -> Result<(), ProfileSetError> {
        let mut named = self
            .profiles
            .iter()
            .filter(|(_, it)| !it.kube_config.is_empty());
        let Some((first, profile)) = named.next() else {
            return Ok(());
        };
        match named.find(|(_, other)| other.kube_config != profile.kube_config) {
            Some((other, _)) => Err(ProfileSetError::TwoClusters(first.clone(), other.clone())),
            None => Ok(()),
        }
    }

    /// `kube_config` of the profiles; `None` is the usual search.
    pub fn kube_config(&self) -> Option<&str> {
        let mut all = self
            .profiles
            .iter()
            .map(|(_, profile)| profile.kube_config.as_str());
        all.find(|path| !path.is_empty())
    }

    /// The watches of all profiles, each kind once; of a node only if it is for all of them.
    pub fn watches(&self) -> Vec<Watch> {
        let mut watches: Vec<Watch> = Vec::new();
        for watch in self
            .profiles
            .iter()
            .flat_map(|(_, profile)| profile.watches())
        {
            match watches
                .iter_mut()
                .find(|known| known.resource == watch.resource)
            {
                Some(known) => known.node_scope &= watch.node_scope,
                None => watches.push(watch),
            }
        }
        watches
    }

    /// What must be kept of the objects of a kind for all profiles.
    pub fn needs(&self, resource: Resource) -> Needs {
        let mut needs = Needs::default();
        for (_, profile) in &self.profiles {
            needs.unite(&profile.needs(resource));
        }
        needs
    }

    /// How long, and how many, deleted objects must be kept for all profiles.
    pub fn retention(&self) -> Retention {
        let all = || self.profiles.iter().map(|(_, profile)| profile);
        let graces = all().map(|profile| profile.deleted_grace);
        let capacities = all().map(|profile| profile.deleted_capacity);
        Retention {
            grace: graces.max().unwrap_or(Duration::ZERO),
            capacity: capacities.max().unwrap_or(0),
        }
    }
}

fn text(
    key: &'static str,
    value: &Setting,
    environment: Environment<'_>,
) -> Result<String, ProfileSetError> {
    let read = match value {
        Setting::Text(text) => expand(text, environment),
        Setting::Null | Setting::List(_) | Setting::Map(_) => Err("expected a text".to_owned()),
    };
    read.map_err(|problem| ProfileSetError::Value(key, problem))
}
