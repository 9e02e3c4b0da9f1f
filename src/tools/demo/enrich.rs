//! `demo --enrich`: a simulated cluster and a metadata service in one process. An event of each
//! metricset goes in as a kubelet or kube-state-metrics would cause it, and what was added to it is
//! shown.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use tokio::{sync::oneshot, time::timeout};

use super::{DemoArgs, DemoError, PATIENCE, native::Kubeconfig, say};
use crate::{
    app::MetadataService,
    config::{AdminAddress, Config, Source},
    enrich::{
        profile::Setting,
        resource::{Metricset, Resource},
    },
    net::BoundAddr,
    sim::kube::{Object, Options, Raw, SimApi},
    tools::{
        metadata::{ServiceArgs, client, lookup::flatten},
        table::Tone,
    },
};

/// What the simulated cluster holds.
const OBJECTS: &str = include_str!("enrich/objects.json");

/// An event of each metricset, with what must be added to it.
const EVENTS: &str = include_str!("enrich/events.ndjson");

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;

#[derive(Deserialize)]
struct Step {
    metricset: String,
    event: Box<RawValue>,
    adds: Vec<String>,
}

#[derive(Deserialize)]
struct Answer {
    state: String,
    event: Option<Map<String, Value>>,
    #[serde(default)]
    partial: Vec<Value>,
}

/// Plays it.
///
/// # Errors
/// Something could not be started, or an event was not enriched completely.
pub(super) async fn run(args: &DemoArgs) -> Result<(), DemoError> {
    let kinds = Resource::kinds();
    let api = SimApi::start(Options {
        kinds: kinds.clone(),
        tls: true,
        token: Some("demo".to_owned()),
        ..Options::default()
    })
    .await?;
    let objects: Vec<Value> = serde_json::from_str(OBJECTS).map_err(DemoError::Script)?;
    for json in objects {
        let text = |pointer: &str| {
            let value = json.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let kind = Resource::from_kind(&text("/kind"));
        let Some(kind) = kind.and_then(|resource| resource.find(&kinds)) else {
            continue;
        };
        api.apply(Object::Manifest(Raw {
            kind,
            namespace: text("/metadata/namespace").into(),
            name: text("/metadata/name"),
            json,
        }));
    }
    let kubeconfig = Kubeconfig::write(&api)?;
    let mut config = Config::between(super::anywhere(), super::anywhere());
    config.source = Source::None;
    config.native.kubeconfig = Some(kubeconfig.0.clone());
    config.enrich.address = AdminAddress::Tcp(super::anywhere());
    config.enrich.block = settings();
    let service = MetadataService::start(config).await?;
    let (end, ended) = oneshot::channel::<()>();
    let address = service.enrichment().clone();
    let play = async {
        let played = timeout(super::ENRICH_AT_MOST, play(args, &address)).await;
        // It fails if the service has ended already.
        let _ = end.send(());
        played.unwrap_or(Err(DemoError::TooSlow(super::ENRICH_AT_MOST)))
    };
    let serve = service.run_until(async {
        // Also ready when the play fails early and drops its end.
        let _ = ended.await;
    });
    let (played, served) = tokio::join!(play, serve);
    api.shutdown().await;
    played?;
    Ok(served?)
}

/// Owners of owners are named, which Beats leaves out unless that is set.
fn settings() -> Setting {
    let map = |members: Vec<(&str, Setting)>| {
        let members = members.into_iter();
        Setting::Map(
            members
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    };
    let yes = || Setting::Text("true".to_owned());
    let owners = map(vec![("deployment", yes()), ("cronjob", yes())]);
    let profile = map(vec![("add_resource_metadata", owners)]);
    map(vec![("profiles", map(vec![("default", profile)]))])
}

async fn play(args: &DemoArgs, address: &BoundAddr) -> Result<(), DemoError> {
    say("API server ──watches──► metadata service ◄──events── metrics    (all in this process)\n")?;
    say("After each event: what the service has added to it\n")?;
    let (mut number, mut added) = (0, 0);
    for line in EVENTS.lines() {
        let step: Step = serde_json::from_str(line).map_err(DemoError::Script)?;
        number += 1;
        let (sender, subject) = match Metricset::from_name(&step.metricset) {
            Some(metricset) if metricset.name().starts_with("state_") => {
                ("kube-state-metrics", metricset)
            }
            Some(metricset) => ("kubelet", metricset),
            None => continue,
        };
        say(&format!(
            "\n{number}. {subject}, from a {sender}\n   {}\n",
            step.event.get()
        ))?;
        let answer = ask(address, &step).await?;
        let before: Map<String, Value> =
            serde_json::from_str(step.event.get()).map_err(DemoError::Script)?;
        added += show(&step, &before, &answer)?;
        if args.pauses() {
            tokio::time::sleep(super::READING / 4).await;
        }
    }
    say(&format!(
        "\nEach of the {number} events was enriched completely: {added} fields were added.\n"
    ))
}

/// Has the service enrich one event.
async fn ask(address: &BoundAddr, step: &Step) -> Result<Answer, DemoError> {
    let failed = |why: String| DemoError::NotEnriched {
        metricset: step.metricset.clone(),
        why,
    };
    let service = ServiceArgs::at(match address {
        BoundAddr::Tcp(address) => AdminAddress::Tcp(super::host_port(*address)),
        BoundAddr::Unix(path) => AdminAddress::Unix(path.clone()),
    });
    // The first one may come before the lists have ended.
    let path = format!("/v1/enrich/{}?wait_ms=5000", step.metricset);
    let body = Full::new(Bytes::from(step.event.get().to_owned()));
    let asked = async {
        let content_type = Some("application/x-ndjson");
        let answer = client::ask(&service, Method::POST, &path, content_type, body).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let code = answer.response.status();
        if code != StatusCode::OK {
            return Err(failed(format!("the service answers {code}")));
        }
        let body = Limited::new(answer.response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        body.map_err(|error| failed(error.to_string()))
    };
    let body = timeout(PATIENCE * 2, asked).await;
    let body = body.map_err(|_| failed("there is no answer".to_owned()))??;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| failed(error.to_string()))
}

/// Shows what was added; gives how many fields.
fn show(step: &Step, before: &Map<String, Value>, answer: &Answer) -> Result<usize, DemoError> {
    let failed = |why: String| DemoError::NotEnriched {
        metricset: step.metricset.clone(),
        why,
    };
    let (mut old, mut new) = (Vec::new(), Vec::new());
    flatten("", before, &mut old);
    let event = answer.event.as_ref();
    event.iter().for_each(|event| flatten("", event, &mut new));
    let mut missing: BTreeSet<&str> = step.adds.iter().map(String::as_str).collect();
    let mut added = 0;
    for (path, value) in new.iter().filter(|row| !old.contains(row)) {
        missing.remove(path.as_str());
        added += 1;
        let row = Tone::Good.paint(&format!("+ {path}: {value}"));
        say_styled(&format!("     {row}\n"))?;
    }
    let lost = old.iter().find(|row| !new.contains(row));
    match (answer.state.as_str(), lost, missing.first()) {
        ("LIVE", None, None) if answer.partial.is_empty() => Ok(added),
        ("LIVE", None, None) => Err(failed(format!("it is in parts: {:?}", answer.partial))),
        ("LIVE", None, Some(path)) => Err(failed(format!("`{path}` was not added"))),
        ("LIVE", Some((path, _)), _) => Err(failed(format!("`{path}` is not what it was"))),
        (state, _, _) => Err(failed(format!("its state is {state}"))),
    }
}

/// With colours, if they would be seen.
fn say_styled(text: &str) -> Result<(), DemoError> {
    match crate::logging::is_coloured(&std::io::stdout()) {
        true => say(text),
        false => say(&anstream::adapter::strip_str(text).to_string()),
    }
}
