//! `k8s-relay lookup`: what is known of an object, from a running relay.

use std::{fmt::Write as _, io, time::Duration};

use bytes::Bytes;
use clap::ValueEnum;
use http::Method;
use http_body_util::{BodyExt as _, Empty, Limited};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{MetadataError, ServiceArgs, client, reference::Reference, refused, with_exit_status};
use crate::{
    config::duration,
    tools::{
        ask::{harmless, print, print_styled, span},
        table::{Cell, Table, Tone},
    },
};

/// Show the metadata of a pod, container, node, workload, service or volume
///
/// REF is one of these:
///   NS/NAME               a pod                 shop/web-5d4f8-x2x7p
///   NS/NAME/CONTAINER     a container of it     shop/web-5d4f8-x2x7p/main
///   KIND/NS/NAME          another object        deployment/shop/web
///   KIND/NAME             one without namespace node/worker-1
///   uid:UID               whatever has this uid
///   container:ID          a container, with or without the runtime in front
///   ip:ADDRESS            the pod that has this address
///
/// A relay with --enrich-address answers, from the objects that it watches.
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment, after_help = EXAMPLES)]
pub struct LookupArgs {
    /// What to look up; see above
    #[arg(value_name = "REF")]
    pub reference: Reference,

    /// Which relay, and by which profile.
    #[command(flatten)]
    pub service: ServiceArgs,

    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,

    /// Use these names instead of the profile's
    #[arg(long, value_name = "NAMES")]
    pub schema: Option<Schema>,

    /// Follow these OpenTelemetry conventions instead of the profile's
    #[arg(long, value_name = "VERSION")]
    pub semconv: Option<Semconv>,

    /// With the limits of CPU and memory
    #[arg(long)]
    pub with_limits: bool,

    /// Wait up to this long for an object that is not known yet; up to 5s
    #[arg(long, value_name = "DURATION", value_parser = wait)]
    pub wait: Option<Duration>,

    /// With ip: the pod that had the address at this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
}

/// The names that an answer uses.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Those of Elastic
    Ecs,
    /// Those of OpenTelemetry
    Otel,
}

/// Versions of OpenTelemetry's conventions.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Semconv {
    /// The stable ones
    V1,
    /// Those before them
    V0,
    /// Both
    Both,
}

const EXAMPLES: &str = with_exit_status!(
    "\
Examples:
  k8s-relay lookup shop/web-5d4f8-x2x7p
  k8s-relay lookup deployment/shop/web --json
  k8s-relay lookup container:containerd://3f9a --schema otel
  k8s-relay lookup ip:10.1.2.3 --address unix:/run/k8s-relay/enrich.sock"
);

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// How long an answer may take, in addition to the time that the relay itself may wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is answered, as far as it is shown.
#[derive(Deserialize)]
struct Found {
    state: String,
    reason: Option<String>,
    error: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    deleted_at: Option<String>,
    age_ms: Option<u64>,
    schema_url: Option<String>,
    #[serde(default)]
    metadata: Map<String, Value>,
    #[serde(default)]
    limits: Map<String, Value>,
    #[serde(default)]
    partial: Vec<Partial>,
    #[serde(default)]
    candidates: Vec<Candidate>,
    #[serde(default)]
    truncated: Vec<String>,
}

#[derive(Deserialize)]
struct Partial {
    part: String,
    reason: String,
}

#[derive(Deserialize)]
struct Candidate {
    kind: String,
    #[serde(default)]
    namespace: String,
    name: String,
    #[serde(default)]
    uid: String,
}

/// Asks, and prints what is said.
///
/// # Errors
/// There is not exactly one such object, or no answer.
pub async fn run(args: &LookupArgs) -> Result<(), MetadataError> {
    if args.at.is_some() && !matches!(args.reference, Reference::PodAddress(_)) {
        return Err(MetadataError::Refused("--at goes with ip: only".to_owned()));
    }
    let place = &args.service.address;
    let no_answer = |problem: String| MetadataError::NoAnswer {
        place: place.clone(),
        problem,
    };
    let asked = async {
        let body = Empty::<Bytes>::new();
        let answer = client::ask(&args.service, Method::GET, &path(args), None, body).await?;
        let code = answer.response.status();
        let body = Limited::new(answer.response.into_body(), MAX_ANSWER);
        let body = body
            .collect()
            .await
            .map_err(|error| no_answer(error.to_string()))?;
        Ok((code, body.to_bytes()))
    };
    let limit = PATIENCE + args.wait.unwrap_or_default();
    let late = |_| no_answer(format!("none within {}", humantime::format_duration(limit)));
    let (code, body) = tokio::time::timeout(limit, asked).await.map_err(late)??;
    let Ok(found) = serde_json::from_slice::<Found>(&body) else {
        return Err(refused(code, &body, place));
    };
    let shown = match args.json {
        true => print(&body),
        false => print_styled(&text(&found)),
    };
    shown.map_err(|error| MetadataError::Write(io::Error::other(error)))?;
    ending(&found)
}

/// The exit status of each state.
fn ending(found: &Found) -> Result<(), MetadataError> {
    let because = found.error.as_ref().or(found.reason.as_ref());
    let because = because.map(|why| format!(": {}", harmless(why)));
    let because = because.unwrap_or_default();
    match found.state.as_str() {
        "LIVE" | "DELETED" => Ok(()),
        "SYNCING" => Err(MetadataError::NotYet(format!(
            "the relay has not listed this kind yet{because}"
        ))),
        "INVALID" => Err(MetadataError::Refused(format!(
            "the question is not valid{because}"
        ))),
        "AMBIGUOUS" => Err(MetadataError::NotOne(
            "several objects are meant".to_owned(),
        )),
        "MISSING" => Err(MetadataError::NotOne("there is no such object".to_owned())),
        "DISABLED" => Err(MetadataError::NotOne(
            "the profile does not have this kind".to_owned(),
        )),
        other => Err(MetadataError::NotOne(format!(
            "the state is {}",
            harmless(other)
        ))),
    }
}

fn path(args: &LookupArgs) -> String {
    let (path, mut query) = args.reference.path();
    let mut add = |key, value: Option<String>| query.extend(value.map(|value| (key, value)));
    let name = |name: &str| Some(name.to_owned());
    add("profile", args.service.profile.clone());
    add(
        "schema",
        args.schema.and_then(|schema| match schema {
            Schema::Ecs => name("ecs"),
            Schema::Otel => name("otel"),
        }),
    );
    add(
        "semconv",
        args.semconv.and_then(|semconv| match semconv {
            Semconv::V1 => name("v1"),
            Semconv::V0 => name("v0"),
            Semconv::Both => name("both"),
        }),
    );
    add("with_limits", args.with_limits.then(|| "1".to_owned()));
    add(
        "wait_ms",
        args.wait.map(|wait| wait.as_millis().to_string()),
    );
    add("at", args.at.clone());
    if query.is_empty() {
        return path;
    }
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    encoded.extend_pairs(query);
    format!("{path}?{}", encoded.finish())
}

/// The answer for people.
fn text(found: &Found) -> String {
    let mut page = String::new();
    let mut item = |heading: &str, text: &str| {
        // A `String` takes everything.
        let _ = writeln!(page, "{heading:<9} {text}");
    };
    let tone = match found.state.as_str() {
        "LIVE" => Tone::Good,
        "DELETED" | "AMBIGUOUS" | "SYNCING" => Tone::Odd,
        _ => Tone::Bad,
    };
    let why = found.error.as_ref().or(found.reason.as_ref());
    let why = why.map_or_else(String::new, |why| format!(" ({})", harmless(why)));
    let state = harmless(&found.state);
    item("state", &(tone.paint(&state) + &why));
    if let Some(at) = &found.deleted_at {
        item("deleted", &harmless(at));
    }
    if let Some(uid) = &found.uid {
        item("uid", &harmless(uid));
    }
    if let Some(version) = &found.resource_version {
        item("version", &harmless(version));
    }
    if let Some(age) = found.age_ms {
        let ago = span(age as f64 / 1000.0);
        item(
            "as of",
            &format!("{ago} ago, when the API server was last heard"),
        );
    }
    if let Some(url) = &found.schema_url {
        item("schema", &harmless(url));
    }
    for Partial { part, reason } in &found.partial {
        let text = format!("its {} ({})", harmless(part), harmless(reason));
        item("without", &Tone::Odd.paint(&text));
    }
    for key in &found.truncated {
        item("cut", &harmless(key));
    }
    if !found.candidates.is_empty() {
        let mut table = Table::new(["KIND", "NAMESPACE", "NAME", "UID"]);
        for one in &found.candidates {
            let cells = [&one.kind, &one.namespace, &one.name, &one.uid];
            table.row(cells.map(|text| Cell::from(harmless(text))));
        }
        page.push('\n');
        table.write(&mut page);
    }
    let mut rows = Vec::new();
    flatten("", &found.metadata, &mut rows);
    for (name, value) in &found.limits {
        rows.push((name.clone(), value.to_string()));
    }
    if !rows.is_empty() {
        let mut table = Table::new(["FIELD", "VALUE"]);
        for (name, value) in rows {
            table.row([harmless(&name).into(), harmless(&value).into()]);
        }
        page.push('\n');
        table.write(&mut page);
    }
    page
}

/// Each value with the path to it. Attributes with dots in their names are on one level already.
pub(in crate::tools) fn flatten(
    prefix: &str,
    fields: &Map<String, Value>,
    rows: &mut Vec<(String, String)>,
) {
    for (key, value) in fields {
        let path = match prefix {
            "" => key.clone(),
            prefix => format!("{prefix}.{key}"),
        };
        match value {
            Value::Object(fields) => flatten(&path, fields, rows),
            Value::String(text) => rows.push((path, text.clone())),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                rows.push((path, value.to_string()));
            }
        }
    }
}

fn wait(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(time) if time <= Duration::from_secs(5) => Ok(time),
        Ok(_) => Err("expected up to 5s".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
