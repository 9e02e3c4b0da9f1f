//! The metadata service: its stores, profiles and cache.

use super::{
    Scrape,
    table::{Metric, Samples, by, counter, flag, gauge, maybe, number},
};
use crate::admin::api::{Cache, Enrichment, MetadataStore};

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "enrichment_store_objects",
        "Objects that the metadata service knows, by kind",
        |scrape| stores(scrape, |store| Some(number(store.objects))),
    )
    .by(&["kind"]),
    gauge(
        "enrichment_store_memory",
        "Memory that the objects of a kind take",
        |scrape| stores(scrape, |store| Some(number(store.bytes))),
    )
    .by(&["kind"])
    .bytes(),
    gauge(
        "enrichment_store_deleted",
        "Deleted objects that still answer, by kind",
        |scrape| stores(scrape, |store| Some(number(store.buried))),
    )
    .by(&["kind"]),
    gauge(
        "enrichment_store_ready",
        "1 if the objects of the kind are known and its watch is healthy",
        |scrape| stores(scrape, |store| Some(flag(store.state == "READY"))),
    )
    .by(&["kind"]),
    gauge(
        "enrichment_store_contact_age",
        "How long ago the API server was last heard of the kind",
        |scrape| {
            let seconds = |ms: u64| number(ms) / 1000.0;
            stores(scrape, |store| store.last_contact_ms.map(seconds))
        },
    )
    .by(&["kind"])
    .seconds(),
    gauge(
        "enrichment_generation",
        "How often the profiles were loaded since the process began",
        |scrape| {
            let service = scrape.status.enrichment.as_ref();
            maybe(service.map(|service| number(service.generation)))
        },
    ),
    counter(
        "enrichment_reload_failures",
        "Changes of the settings file that had a mistake; the profiles before stayed",
        |scrape| {
            let service = scrape.status.enrichment.as_ref();
            maybe(service.map(|service| number(service.reload_failures)))
        },
    ),
    gauge(
        "enrichment_cache_documents",
        "Documents in the cache",
        |scrape| cache(scrape, |cache| cache.entries),
    ),
    gauge(
        "enrichment_cache_memory",
        "Memory that the cache takes",
        |scrape| cache(scrape, |cache| cache.bytes),
    )
    .bytes(),
    counter(
        "enrichment_cache_hits",
        "Documents that were given out again",
        |scrape| cache(scrape, |cache| cache.hits),
    ),
    counter(
        "enrichment_cache_misses",
        "Documents that had to be written",
        |scrape| cache(scrape, |cache| cache.misses),
    ),
];

fn stores(scrape: &Scrape, value: impl Fn(&MetadataStore) -> Option<f64>) -> Samples {
    let service = scrape.status.enrichment.iter();
    let stores = service.flat_map(|service: &Enrichment| &service.stores);
    stores
        .filter_map(|store| Some(by("kind", store.kind.clone(), value(store)?)))
        .collect()
}

fn cache(scrape: &Scrape, value: impl Fn(&Cache) -> u64) -> Samples {
    let service = scrape.status.enrichment.as_ref();
    maybe(service.map(|service| number(value(&service.cache))))
}
