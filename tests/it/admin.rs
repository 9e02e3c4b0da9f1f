//! The admin listener of a relay, over real sockets.

mod audit;
mod commands;
mod connections;
mod explained;
mod loop_busy;
mod metrics;
mod native;
mod page;
mod places;
mod routes;
mod scrapes;
mod sources;
mod world;

/// The samples of a scrape when there is something of everything, by metric: their labels.
pub(crate) fn full_scrape()
-> std::collections::BTreeMap<String, Vec<std::collections::BTreeMap<String, String>>> {
    metrics::samples(&metrics::full_text())
}
