//! What `deploy/observability` asks of Prometheus: the relay has it, and each alert is explained.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fs,
    path::Path,
};

use k8s_relay::admin::metrics::catalogue;
use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{self, Expr, VectorSelector},
    util::{ExprVisitor, walk_expr},
};
use serde_json::Value;

/// The labels of a target, and the one of buckets.
const TARGET: [&str; 3] = ["job", "instance", "le"];

/// All expressions, with where each stands.
#[derive(Default)]
struct Asked {
    expressions: Vec<(String, String)>,
    /// What recording rules make.
    recorded: BTreeSet<String>,
    alerts: Vec<Alert>,
}

struct Alert {
    name: String,
    severity: String,
    annotations: BTreeMap<String, String>,
}

#[test]
fn every_expression_is_promql_and_names_metrics_and_labels_that_there_are() {
    let asked = asked();
    assert!(asked.expressions.len() > 60, "{}", asked.expressions.len());
    let mut wrong = Vec::new();
    for (place, text) in &asked.expressions {
        match parser::parse(&text.replace("$__rate_interval", "5m")) {
            Ok(expression) => {
                let mut selectors = Selectors::default();
                let Ok(_) = walk_expr(&mut selectors, &expression);
                let faults = selectors.faults(&asked.recorded);
                wrong.extend(faults.into_iter().map(|fault| format!("{place}: {fault}")));
            }
            Err(error) => wrong.push(format!("{place}: {error}: {text}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_alert_says_how_bad_it_is_and_has_a_paragraph_of_its_own() {
    let operations = read("docs/operations.md");
    let alerts = asked().alerts;
    assert!(alerts.len() > 20);
    for Alert {
        name,
        severity,
        annotations,
    } in &alerts
    {
        assert!(["warning", "critical"].contains(&&**severity), "{name}");
        for annotation in ["summary", "description"] {
            assert!(annotations[annotation].len() > 10, "{name}: {annotation}");
        }
        let anchor = format!("docs/operations.md#{}", name.to_lowercase());
        assert_eq!(annotations["runbook"], anchor);
        assert!(operations.contains(&format!("\n### {name}\n")), "{name}");
    }
    let headings = operations.matches("\n### K8sRelay").count();
    assert_eq!(
        headings,
        alerts.len(),
        "paragraphs of alerts that there are not"
    );
}

#[test]
fn what_there_is_not_is_noticed() {
    for (text, says) in [
        ("k8s_relay_no_such_metric", "no metric"),
        (
            "k8s_relay_reducer_pods{source=\"legacy\"}",
            "no label source",
        ),
        (
            "sum by (resource) (k8s_relay_reducer_pods)",
            "grouped by resource",
        ),
        ("rate(k8s_relay_event_lag_seconds[5m])", "no metric"),
        ("k8s_relay_stage{stage=\"nowhere\"}", "no value"),
        ("k8s_relay_watches{state=~\"failing|gone\"}", "no value"),
    ] {
        let mut selectors = Selectors::default();
        let Ok(_) = walk_expr(&mut selectors, &parser::parse(text).unwrap());
        let faults = selectors.faults(&BTreeSet::new());
        assert!(
            faults.iter().any(|fault| fault.contains(says)),
            "{text}: {faults:?}"
        );
    }
}

/// What an expression selects, and by what it groups or joins.
#[derive(Default)]
struct Selectors {
    vectors: Vec<VectorSelector>,
    groups: BTreeSet<String>,
}

impl ExprVisitor for Selectors {
    type Error = Infallible;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Infallible> {
        match expression {
            Expr::VectorSelector(vector) => self.vectors.push(vector.clone()),
            Expr::MatrixSelector(matrix) => self.vectors.push(matrix.vs.clone()),
            Expr::Aggregate(aggregate) => {
                let labels = aggregate
                    .modifier
                    .iter()
                    .flat_map(|by| by.labels().labels.clone());
                self.groups.extend(labels);
            }
            Expr::Binary(binary) => {
                let matching = binary.modifier.iter().flat_map(|by| by.matching.clone());
                self.groups
                    .extend(matching.flat_map(|on| on.labels().labels.clone()));
            }
            _ => {}
        }
        Ok(true)
    }
}

impl Selectors {
    fn faults(&self, recorded: &BTreeSet<String>) -> Vec<String> {
        let known = known();
        let (mut faults, mut labels) = (Vec::new(), BTreeSet::from(TARGET.map(str::to_owned)));
        for vector in &self.vectors {
            let name = vector.name.clone().unwrap_or_default();
            if recorded.contains(&name) {
                continue;
            }
            let Some(allowed) = known.get(&name) else {
                faults.push(format!("there is no metric {name}"));
                continue;
            };
            labels.extend(allowed.keys().cloned());
            for matcher in &vector.matchers.matchers {
                faults.extend(fault(&name, matcher, allowed));
            }
        }
        let groups = self.groups.iter().filter(|group| !labels.contains(*group));
        faults.extend(groups.map(|group| format!("grouped by {group}, which nothing has")));
        faults
    }
}

fn fault(
    name: &str,
    matcher: &Matcher,
    allowed: &BTreeMap<String, BTreeSet<String>>,
) -> Option<String> {
    if TARGET.contains(&&*matcher.name) {
        return None;
    }
    let Some(values) = allowed.get(&matcher.name) else {
        return Some(format!("{name} has no label {}", matcher.name));
    };
    let wanted: Vec<&str> = match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => vec![&matcher.value],
        MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
    };
    let unknown = wanted.into_iter().find(|value| !values.contains(*value));
    unknown.map(|value| format!("{} of {name} has no value {value}", matcher.name))
}

/// The names that samples have, with their labels and the values that are seen when there is
/// something of everything.
fn known() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let scraped = crate::admin::full_scrape();
    let mut known = BTreeMap::new();
    for row in catalogue() {
        let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for label in row.labels {
            let samples = scraped.get(&row.name).into_iter().flatten();
            let values = samples.filter_map(|sample| sample.get(*label).cloned());
            labels.insert((*label).to_owned(), values.collect());
        }
        let parts: &[&str] = match row.kind {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        for part in parts {
            known.insert(format!("{}{part}", row.name), labels.clone());
        }
    }
    known
}

fn asked() -> Asked {
    let mut asked = Asked::default();
    let rules: Value = serde_saphyr::from_str(&read("deploy/observability/rules.yaml")).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    for rule in groups.flat_map(|group| group["rules"].as_array().unwrap()) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let name = match rule.get("record") {
            Some(name) => {
                asked.recorded.insert(text(name));
                text(name)
            }
            None => text(&rule["alert"]),
        };
        if rule.get("alert").is_some() {
            let annotations = rule["annotations"].as_object().unwrap().iter();
            asked.alerts.push(Alert {
                name: name.clone(),
                severity: text(&rule["labels"]["severity"]),
                annotations: annotations
                    .map(|(key, is)| (key.clone(), text(is)))
                    .collect(),
            });
        }
        asked.expressions.push((name, text(&rule["expr"])));
    }
    let board = read("deploy/observability/dashboard.json");
    let board: Value = serde_json::from_str(&board).unwrap();
    for panel in board["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let expression = target["expr"].as_str().unwrap().to_owned();
            asked
                .expressions
                .push((format!("panel {title}"), expression));
        }
    }
    asked
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}
