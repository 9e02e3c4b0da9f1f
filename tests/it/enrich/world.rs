//! A profile with the objects that it is asked about.

use std::time::Duration;

use k8s_relay::{
    enrich::{
        Enricher, Reference, Wish,
        answer::{Answer, Content},
        cluster::ClusterIdentity,
        index::{Index, Retention},
        object::Timestamp,
        profile::{Profile, Setting},
        resource::{Metricset, Resource},
        view::Sync,
    },
    model::Seed,
};
use serde_json::{Map, Value, json};

use super::manifest;

/// The moment at which a world begins.
const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(super) struct World {
    pub(super) enricher: Enricher,
    pub(super) index: Index,
    pub(super) now: Timestamp,
}

impl World {
    /// With a profile of these settings.
    pub(super) fn new(settings: &Value, cluster: ClusterIdentity) -> Self {
        Self::with_cache(settings, cluster, 64 << 20)
    }

    /// With a profile of these settings, and room for this many bytes of documents.
    pub(super) fn with_cache(
        settings: &Value,
        cluster: ClusterIdentity,
        cache_bytes: usize,
    ) -> Self {
        let profile = Profile::read(&setting(settings), None, &|_| None).unwrap();
        let retention = Retention {
            grace: profile.deleted_grace,
            capacity: profile.deleted_capacity,
        };
        let mut index = Index::new(Seed::FIXED, retention);
        for resource in Resource::ALL {
            index.set_sync(resource, Sync::LISTED);
        }
        let profiles = [("default".to_owned(), profile)];
        Self {
            enricher: Enricher::new(profiles, cluster, Seed::FIXED, cache_bytes),
            index,
            now: START,
        }
    }

    /// Of the `config` of a recorded case.
    pub(super) fn of_case(config: &Value) -> Self {
        let cluster = |key: &str| {
            config["cluster"][key]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let identity = ClusterIdentity {
            name: cluster("name"),
            url: cluster("url"),
        };
        Self::new(&settings(config), identity)
    }

    pub(super) fn apply(&mut self, manifest: &Value) {
        self.index.apply(manifest::object(manifest), self.now);
    }

    pub(super) fn delete(&mut self, manifest: &Value) {
        let object = manifest::object(manifest);
        self.index.delete(object.resource, &object.uid, self.now);
    }

    pub(super) fn advance(&mut self, seconds: f64) {
        self.now = self.now.after(Duration::from_secs_f64(seconds));
        self.index.expire(self.now);
    }

    pub(super) fn wish(&self) -> Wish {
        Wish::of(self.enricher.find_profile("default").unwrap())
    }

    pub(super) fn ask(&self, about: Reference<'_>) -> Answer {
        self.enricher
            .lookup(&self.index.at(self.now), about, self.wish())
    }

    /// The answer to a case's `resource`.
    pub(super) fn ask_for(&self, resource: &Value, wish: Wish) -> Answer {
        let text = |key: &str| resource[key].as_str();
        let kind = text("kind").unwrap();
        let (resource, name, container) = match kind {
            "Container" => (Resource::Pod, text("pod"), text("name")),
            kind => (Resource::from_kind(kind).unwrap(), text("name"), None),
        };
        let about = Reference::Named {
            resource,
            namespace: text("namespace").unwrap_or_default(),
            name: name.unwrap(),
            container,
            uid: text("uid"),
        };
        self.enricher.lookup(&self.index.at(self.now), about, wish)
    }

    /// An event with what is added to it.
    pub(super) fn enrich(&self, metricset: &str, event: &str) -> (Answer, String) {
        let metricset = Metricset::from_name(metricset).unwrap();
        let mut text = String::new();
        let view = self.index.at(self.now);
        let profile = self.wish().profile;
        let answer = self
            .enricher
            .enrich(&view, metricset, event.as_bytes(), profile, &mut text);
        (answer, text)
    }
}

/// An answer as clients see it.
pub(super) fn shown(answer: &Answer) -> Value {
    let mut text = String::new();
    answer.write_json(Content::Metadata, &mut text);
    serde_json::from_str(&text).unwrap()
}

/// What an answer says of the object.
pub(super) fn document(answer: &Answer) -> Value {
    let document = answer.document.as_ref().expect("a document");
    serde_json::from_str(document.json()).unwrap()
}

/// The settings of a profile, from the `config` of a recorded case.
pub(super) fn settings(config: &Value) -> Value {
    let mut settings = config["metadata"].as_object().cloned().unwrap_or_default();
    let joined = |key: &str| match &config[key] {
        Value::Null => json!({ "enabled": false }),
        filters => filters.clone(),
    };
    settings.insert(
        "add_resource_metadata".to_owned(),
        json!({
            "node": joined("node"),
            "namespace": joined("namespace"),
            "deployment": config["deployment"] == true,
            "cronjob": config["cronjob"] == true,
        }),
    );
    let image = config["container_image"] == true;
    settings.insert("container_image".to_owned(), image.into());
    if let Some(grace) = config.get("deleted_grace_seconds") {
        settings.insert("deleted_grace_seconds".to_owned(), grace.clone());
    }
    Value::Object(settings)
}

/// Settings as a file would have them.
pub(super) fn setting(value: &Value) -> Setting {
    match value {
        Value::Null => Setting::Null,
        Value::String(text) => Setting::Text(text.clone()),
        Value::Bool(_) | Value::Number(_) => Setting::Text(value.to_string()),
        Value::Array(items) => Setting::List(items.iter().map(setting).collect()),
        Value::Object(members) => Setting::Map(map(members)),
    }
}

fn map(members: &Map<String, Value>) -> Vec<(String, Setting)> {
    let member = |(key, value): (&String, &Value)| (key.clone(), setting(value));
    members.iter().map(member).collect()
}
