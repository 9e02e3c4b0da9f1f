//! The names, units, labels and meanings of all metrics, and the rules for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use k8s_relay::{
    admin::{
        Sources,
        api::{
            Auto, DeletesPending, Enrichment, Feed, Kept, LastError, Leadership, MetadataStore,
            Parity, Status, Watch,
        },
        metrics::{self, Format, Row},
        process::Process,
    },
    enrich::{
        Missing, Part,
        answer::{Answer, State},
    },
    enrich_api,
    migrate::Stage,
    net::tls::{Authorities, ClientCerts, Handshakes, Materials, Paths, Role, ServerTls},
};
use tokio::runtime::Builder;

use crate::support::certs::{Authority, Secret};

/// With a value for everything there is.
pub(super) fn full() -> Status {
    Status {
        stage: Stage::Shadow,
        auto: Some(Auto::default()),
        kept: Some(Kept::default()),
        leadership: Some(Leadership::default()),
        legacy: Some(Feed {
            last_event_seconds: Some(1.0),
            stored: BTreeMap::from([("pods".to_owned(), 3)]),
            ..Feed::default()
        }),
        native: Some(Feed {
            watches: vec![Watch {
                resource: "pods".to_owned(),
                state: "failing".to_owned(),
                last_event_seconds: Some(1.0),
                last_error: Some(LastError {
                    reason: "timeout".to_owned(),
                    ..LastError::default()
                }),
                ..Watch::default()
            }],
            ..Feed::default()
        }),
        parity: Some(Parity {
            comparing: true,
            auto_hold_seconds: Some(1.0),
            by_field: BTreeMap::from([("owner".to_owned(), 2), ("x\"\n".to_owned(), 1)]),
            ..Parity::default()
        }),
        deletes_pending: Some(DeletesPending::default()),
        enrichment: Some(Enrichment {
            stores: vec![MetadataStore {
                kind: "pod".to_owned(),
                last_contact_ms: Some(1),
                ..MetadataStore::default()
            }],
            ..Enrichment::default()
        }),
        ..Status::default()
    }
}

/// One certificate in use.
fn materials() -> Materials {
    let authority = Authority::new();
    let secret = Secret::new(&authority, &authority.pair("relay"));
    let paths = Paths {
        identity: Some((secret.certificate(), secret.key())),
        authorities: Authorities::None,
    };
    let role = Role {
        label: "admin",
        words: "of the admin listener",
    };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let load = ServerTls::load(role, paths, ClientCerts::Required, &[]);
    let mut materials = Materials::default();
    runtime.block_on(load).unwrap().kept_by(&mut materials);
    materials
}

fn scrape(format: Format, status: Status) -> String {
    let mut partial = Answer::of(State::Live);
    partial.partial.push((Part::Node, Missing::NotFound));
    let questions = enrich_api::Counters::default();
    questions.answered(None, &partial);
    let sources = Sources {
        questions: std::sync::Arc::new(questions),
        native: std::sync::Arc::new(k8s_relay::source::native::Counters::new(
            &k8s_relay::model::KindTable::default(),
        )),
        tls: materials(),
        handshakes: vec![Handshakes::new("admin")],
        ..Sources::default()
    };
    metrics::text(format, Box::new(status), &sources, Process::now())
}

/// A scrape in the old format when there is something of everything.
pub(super) fn full_text() -> String {
    scrape(Format::Text, full())
}

/// The text between `# KIND ` and the end of each such line.
pub(super) fn described<'a>(
    text: &'a str,
    kind: &'a str,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix("# ")?.strip_prefix(kind)?;
        rest.trim_start().split_once(' ')
    })
}

/// The samples of a text of the old format, by the metric that each is of: their labels.
pub(super) fn samples(text: &str) -> BTreeMap<String, Vec<BTreeMap<String, String>>> {
    let kinds: BTreeMap<_, _> = described(text, "TYPE").collect();
    let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
        assert!(seen.insert(series), "twice: {series}");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            None => (series, ""),
        };
        let mut labels: BTreeMap<_, _> = labels
            .split_terminator(',')
            .map(|label| label.split_once('=').unwrap())
            .map(|(label, is)| (label.to_owned(), is.trim_matches('"').to_owned()))
            .collect();
        let part = ["_bucket", "_sum", "_count"]
            .into_iter()
            .find_map(|part| name.strip_suffix(part))
            .filter(|family| kinds.get(family) == Some(&"histogram"));
        if part.is_some() {
            assert_eq!(labels.remove("le").is_some(), name.ends_with("_bucket"));
        }
        let family = part.unwrap_or(name);
        assert!(kinds.contains_key(family), "of no type: {line}");
        all.entry(family.to_owned()).or_default().push(labels);
    }
    all
}

/// That a scrape in the old format is what the table says, and nothing else.
pub(super) fn check(text: &str) {
    let rows = metrics::catalogue();
    let names: Vec<_> = rows.iter().map(|row| &*row.name).collect();
    let help: Vec<_> = described(text, "HELP").collect();
    assert_eq!(
        help.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        names
    );
    let kinds: BTreeMap<_, _> = described(text, "TYPE").collect();
    let samples = samples(text);
    for (row, (_, help)) in rows.iter().zip(help) {
        assert_eq!(help, row.help);
        assert_eq!(kinds[&*row.name], row.kind, "{}", row.name);
        let expected: BTreeSet<_> = row.labels.iter().copied().collect();
        for labels in samples.get(&row.name).into_iter().flatten() {
            let labels: BTreeSet<_> = labels.keys().map(String::as_str).collect();
            assert_eq!(labels, expected, "{}", row.name);
        }
    }
    assert!(samples.keys().all(|name| names.contains(&&**name)));
}

#[test]
fn the_table_in_the_documents_is_the_one_in_the_code() {
    let shown = |row: &Row| {
        let labels: Vec<_> = row
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let unit = if row.unit.is_empty() { "" } else { row.unit };
        format!(
            "| `{}` | {} | {unit} | {} | {} |",
            row.name,
            row.kind,
            labels.join(", "),
            row.help.replace('|', "\\|"),
        )
    };
    let rows: Vec<_> = metrics::catalogue().iter().map(shown).collect();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let documented: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let missing: Vec<_> = rows
        .iter()
        .filter(|row| !documented.contains(&&***row))
        .collect();
    assert!(
        documented == rows,
        "docs/metrics.md shall have these rows in this order; it lacks {missing:#?}:\n{}",
        rows.join("\n")
    );
}

#[test]
fn names_units_and_samples_are_as_prometheus_wants_them() {
    for row in metrics::catalogue() {
        let Row {
            name,
            kind,
            unit,
            help,
            ..
        } = &row;
        assert!(
            name.starts_with("k8s_relay_") || name.starts_with("process_"),
            "{name}"
        );
        let plain = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
        assert!(name.chars().all(plain), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
        let base = name.strip_suffix("_total").unwrap_or(name);
        for base_unit in ["seconds", "bytes"] {
            let has = base.ends_with(&format!("_{base_unit}"));
            assert_eq!(*unit == base_unit, has, "{name}");
        }
        assert!(help.len() > 10 && !help.ends_with('.'), "{name}: {help}");
        for label in row.labels {
            assert!(
                label.chars().all(plain) && *label != "le",
                "{name}: {label}"
            );
        }
    }
    check(&scrape(Format::Text, full()));
    let text = scrape(Format::OpenMetrics, full());
    let units: BTreeMap<_, _> = described(&text, "UNIT").collect();
    for row in metrics::catalogue()
        .iter()
        .filter(|row| !row.unit.is_empty())
    {
        let family = row.name.strip_suffix("_total").unwrap_or(&row.name);
        assert_eq!(units.get(family), Some(&row.unit), "{family}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn every_metric_has_a_sample_when_there_is_something_to_show() {
    let samples = samples(&scrape(Format::Text, full()));
    for row in metrics::catalogue() {
        assert!(samples.contains_key(&row.name), "{}", row.name);
    }
}

#[test]
fn both_formats_have_the_same_samples() {
    let moves = ["process_", "k8s_relay_tls_certificate_ends_in_seconds"];
    let lines = |text: &str| -> BTreeSet<String> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        // Each format writes the bounds of buckets in its own way. Of what changes from one scrape
        // to the next only the name counts.
        let samples = samples.filter(|line| !line.contains("_bucket{"));
        let series = samples.map(|line| match line.rsplit_once(' ').unwrap() {
            (series, _) if moves.iter().any(|one| series.starts_with(one)) => series.to_owned(),
            _ => line.to_owned(),
        });
        series.collect()
    };
    let text = lines(&scrape(Format::Text, full()));
    assert_eq!(text, lines(&scrape(Format::OpenMetrics, full())));
    assert!(text.len() > 200);
}

#[test]
fn a_field_that_is_not_known_counts_as_other_and_makes_no_series() {
    let text = scrape(Format::Text, full());
    let of = |field: &str| format!("k8s_relay_parity_diverging_fields{{field=\"{field}\"}} ");
    assert!(text.contains(&(of("owner") + "2.0\n")), "{text}");
    assert!(text.contains(&(of("other") + "1.0\n")));
    assert!(!text.contains("x\\\""));
}

#[test]
fn what_is_not_there_has_no_sample() {
    let text = scrape(Format::Text, Status::default());
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    for line in samples {
        let absent = ["k8s_relay_source_", "k8s_relay_parity_", "k8s_relay_auto_"];
        assert!(absent.iter().all(|name| !line.starts_with(name)), "{line}");
    }
}
