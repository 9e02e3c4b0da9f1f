//! What is held, and by which profiles questions are answered.

use std::sync::Arc;

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde_json::{Map, Value, json};

use super::{Refusal, params::Params};
use crate::{
    enrich::{
        profile::Profile,
        service::{InEffect, Objects, StoreStatus},
    },
    enrich_api::Api,
};

/// `GET /v1/status`
pub(super) async fn status<O: Objects>(
    State(api): State<Arc<Api<O>>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Refusal> {
    Params::parse(query.as_deref())?.finish()?;
    let profiles = api.profiles();
    let usage = profiles.cache_usage();
    let of = |(name, one): (&str, &Profile)| profile(name, one, &profiles);
    let stores = api.service.objects().stores();
    Ok(Json(json!({
        "profiles": profiles.profiles().map(of).collect::<Vec<_>>(),
        "stores": stores.iter().map(store).collect::<Vec<_>>(),
        "cache": {
            "entries": usage.entries,
            "bytes": usage.bytes,
            "hits": usage.hits,
            "misses": usage.misses,
        },
    })))
}

fn profile(name: &str, profile: &Profile, of: &InEffect) -> Value {
    let metricsets = profile.metricsets.iter().map(|one| one.name());
    json!({
        "name": name,
        "metricsets": metricsets.collect::<Vec<_>>(),
        "scope": profile.scope.name(),
        "schema": profile.schema.name(),
        "generation": of.generation,
    })
}

fn store(store: &StoreStatus) -> Value {
    let mut row = Map::new();
    let mut set = |key: &str, value: Value| row.insert(key.to_owned(), value);
    set("kind", store.kind.as_str().into());
    set("scope", store.scope.as_str().into());
    set("state", store.state.as_str().into());
    if let Some(reason) = store.state.reason() {
        set("reason", reason.as_str().into());
    }
    set("objects", store.objects.into());
    set("bytes", store.bytes.into());
    set("buried", store.buried.into());
    if let Some(age) = store.last_event_ms {
        set("last_event_ms", age.into());
    }
    if let Some(age) = store.last_contact_ms {
        set("last_contact_ms", age.into());
    }
    set("users", store.users.as_slice().into());
    Value::Object(row)
}
