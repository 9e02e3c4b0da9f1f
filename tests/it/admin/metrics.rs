//! The names, units and meanings of all metrics, and the rules for them.

use std::collections::BTreeMap;

use k8s_relay::{
    admin::{
        Sources,
        api::{Auto, Feed, Parity, Status},
        metrics,
    },
    migrate::Stage,
};

/// With a value for everything there is.
fn full() -> Status {
    Status {
        stage: Stage::Shadow,
        auto: Some(Auto::default()),
        legacy: Some(Feed {
            last_event_seconds: Some(1.0),
            ..Feed::default()
        }),
        native: Some(Feed::default()),
        parity: Some(Parity {
            by_field: BTreeMap::from([("owner".to_owned(), 2), ("x\"\n".to_owned(), 1)]),
            ..Parity::default()
        }),
        ..Status::default()
    }
}

/// The text between `# KIND ` and the end of each such line.
fn told<'a>(text: &'a str, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix("# ")?.strip_prefix(kind)?;
        rest.trim_start().split_once(' ')
    })
}

#[test]
fn the_metrics_are_these() {
    let text = metrics::text(&full(), &Sources::default());
    let help: Vec<_> = told(&text, "HELP").collect();
    let kinds: BTreeMap<_, _> = told(&text, "TYPE").collect();
    let rows: Vec<_> = help
        .iter()
        .map(|(name, help)| format!("{name} {}: {help}", kinds[name]))
        .collect();
    insta::assert_snapshot!("metric_names", rows.join("\n"));
}

#[test]
fn names_units_and_samples_are_as_prometheus_wants_them() {
    let text = metrics::text(&full(), &Sources::default());
    let kinds: BTreeMap<_, _> = told(&text, "TYPE").collect();
    let units: BTreeMap<_, _> = told(&text, "UNIT").collect();
    for (name, help) in told(&text, "HELP") {
        assert!(name.starts_with("k8s_relay_"), "{name}");
        let plain = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
        assert!(name.chars().all(plain), "{name}");
        assert!(
            !name.ends_with("_total") && !name.ends_with("_info"),
            "{name}"
        );
        assert!(help.len() > 10, "{name}: {help}");
        for unit in ["seconds", "bytes"] {
            let has = name.ends_with(&format!("_{unit}"));
            assert_eq!(units.get(name) == Some(&unit), has, "{name}");
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
        assert!(seen.insert(series), "twice: {series}");
        let name = series.split('{').next().unwrap();
        let (family, kind) = match name.strip_suffix("_total") {
            Some(family) => (family, "counter"),
            None => match name.strip_suffix("_info") {
                Some(family) => (family, "info"),
                None => (name, "gauge"),
            },
        };
        assert_eq!(kinds.get(family), Some(&kind), "{line}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_field_that_is_not_known_counts_as_other_and_makes_no_series() {
    let text = metrics::text(&full(), &Sources::default());
    let of = |field: &str| format!("k8s_relay_parity_diverging_fields{{field=\"{field}\"}} ");
    assert!(text.contains(&(of("owner") + "2.0\n")), "{text}");
    assert!(text.contains(&(of("other") + "1.0\n")));
    assert!(!text.contains("x\\\""));
}

#[test]
fn what_is_not_there_has_no_sample() {
    let text = metrics::text(&Status::default(), &Sources::default());
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    for line in samples {
        let absent = ["k8s_relay_source_", "k8s_relay_parity_", "k8s_relay_auto_"];
        assert!(absent.iter().all(|name| !line.starts_with(name)), "{line}");
    }
}
