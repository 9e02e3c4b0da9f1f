//! What clients of enrichment ask, and the limits that they meet.

use super::table::{Metric, Sample, Samples, counter, each, gauge, load, number, one};

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "enrichment_connections",
        "Connections that are open at the port of enrichment",
        |scrape| one(load(&scrape.sources.questions.connections.open)),
    ),
    counter(
        "enrichment_connections_refused",
        "Connections that the relay closed at once because too many were open",
        |scrape| one(load(&scrape.sources.questions.connections.refused)),
    ),
    gauge(
        "enrichment_streams",
        "Requests with events or many lookups that are being answered",
        |scrape| one(load(&scrape.sources.questions.streams.open)),
    ),
    counter(
        "enrichment_streams_refused",
        "Requests that the relay refused because too many were being answered",
        |scrape| one(load(&scrape.sources.questions.streams.refused)),
    ),
    counter(
        "enrichment_limit_hits",
        "How often clients of enrichment met a limit",
        |scrape| {
            let limits = scrape.sources.questions.limits();
            each("limit", limits.map(|(limit, count)| (limit, number(count))))
        },
    )
    .by(&["limit"]),
    counter(
        "enrichment_answers",
        "Answers to events, by metricset, and to lookups",
        |scrape| rows(ANSWERS, scrape.sources.questions.answers()),
    )
    .by(&ANSWERS),
    counter(
        "enrichment_partial",
        "Parts that answers lacked",
        |scrape| rows(PARTIAL, scrape.sources.questions.partial()),
    )
    .by(&PARTIAL),
];

const ANSWERS: [&str; 3] = ["question", "state", "reason"];
const PARTIAL: [&str; 3] = ["question", "part", "reason"];

fn rows(labels: [&'static str; 3], rows: Vec<([&'static str; 3], u64)>) -> Samples {
    let sample = |(values, count): ([&'static str; 3], u64)| Sample {
        labels: labels.into_iter().zip(values.map(Into::into)).collect(),
        value: number(count),
    };
    rows.into_iter().map(sample).collect()
}
