//! What the admin listener shows of the metadata service.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    admin::{Metadata, api},
    enrich::{
        Reference, Wish,
        answer::Answer,
        resource::Resource,
        service::{Objects as _, Service, StoreStatus},
    },
    registry::Registry,
};

/// A service, as far as it is shown.
#[derive(Debug)]
pub(super) struct Shown {
    address: String,
    service: Arc<Service<Registry>>,
    reloads: Mutex<Reloads>,
}

/// What came of changes of the settings file.
#[derive(Clone, Debug, Default)]
struct Reloads {
    failures: u64,
    /// Why what the file says is not in effect, if so.
    error: Option<String>,
}

impl Shown {
    pub(super) fn new(address: String, service: Arc<Service<Registry>>) -> Self {
        Self {
            address,
            service,
            reloads: Mutex::default(),
        }
    }

    /// The settings file has a mistake; the profiles before stay.
    pub(super) fn reload_failed(&self, error: String) {
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.failures += 1;
        reloads.error = Some(error);
    }

    /// What the settings file says is in effect.
    pub(super) fn reloaded(&self) {
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.error = None;
    }
}

impl Metadata for Shown {
    fn status(&self) -> api::Enrichment {
        let Reloads { failures, error } = {
            let reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
            reloads.clone()
        };
        let in_effect = self.service.in_effect();
        let cache = in_effect.cache_usage();
        api::Enrichment {
            address: self.address.clone(),
            generation: in_effect.generation,
            reload_failures: failures,
            reload_error: error,
            profiles: in_effect
                .profiles()
                .map(|(name, _)| name.to_owned())
                .collect(),
            stores: self
                .service
                .objects()
                .stores()
                .into_iter()
                .map(row)
                .collect(),
            cache: api::Cache {
                entries: cache.entries as u64,
                bytes: cache.bytes as u64,
                hits: cache.hits,
                misses: cache.misses,
            },
        }
    }

    fn explain(&self, pod: &str, profile: Option<&str>) -> Option<Vec<api::Addition>> {
        let in_effect = self.service.in_effect();
        let about = match pod.split_once('/') {
            Some((namespace, name)) => Reference::Named {
                resource: Resource::Pod,
                namespace,
                name,
                container: None,
                uid: None,
            },
            None => Reference::PodUid(pod),
        };
        let names: Vec<&str> = match profile {
            Some(name) => vec![name],
            None => in_effect.profiles().map(|(name, _)| name).collect(),
        };
        let view = self.service.objects().view();
        let additions = names.into_iter().map(|name| {
            let wish = Wish::of(in_effect.find(name)?);
            let answer = in_effect.enricher.lookup(&view, about, wish);
            Some(addition(name, &answer))
        });
        additions.collect()
    }
}

fn row(store: StoreStatus) -> api::MetadataStore {
    let StoreStatus {
        kind,
        scope,
        state,
        objects,
        bytes,
        buried,
        last_event_ms,
        last_contact_ms,
        users,
    } = store;
    api::MetadataStore {
        kind,
        scope,
        state: state.as_str().to_owned(),
        reason: state.reason().map(|trouble| trouble.as_str().to_owned()),
        objects,
        bytes,
        buried,
        last_event_ms,
        last_contact_ms,
        users,
    }
}

fn addition(profile: &str, answer: &Answer) -> api::Addition {
    let metadata = answer.document.as_ref();
    let missing = answer.partial.iter().map(|(part, why)| api::MissingPart {
        part: part.as_str().to_owned(),
        reason: why.as_str().to_owned(),
    });
    api::Addition {
        profile: profile.to_owned(),
        state: answer.state.as_str().to_owned(),
        reason: answer.reason.map(|trouble| trouble.as_str().to_owned()),
        // A document is JSON.
        metadata: metadata.and_then(|document| serde_json::from_str(document.json()).ok()),
        missing: missing.collect(),
    }
}
