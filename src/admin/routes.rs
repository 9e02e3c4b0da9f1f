//! Paths and answers. Probes and metrics are text, all else is JSON; an error there is
//! `{"error": "a sentence"}`.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension, Json, Router,
    extract::{Path, Query, RawQuery, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{
    HeaderMap, StatusCode,
    header::{
        ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    access::{Refusal, may_change},
    api::{Addition, Certificate, Certificates, Dropped, Enrichment, FeedDigest, Findings, Status},
    find,
    leadership::Leadership,
    metrics,
    page::{self, Page},
    probes::{self, Probe},
    process::Process,
    refusals::Refusals,
    watches,
};
use crate::{
    driver::query::{Done, DriverHandle, DriverQuery, QueryError, Refused, StepAnswer},
    enrich_api, ha,
    migrate::Command,
    model::Uid,
    net::{
        Caller,
        tls::{self, Handshakes, Materials},
    },
    notable,
    reducer::LagSeconds,
    source::{RecentDrops, legacy, native},
};

/// All that the listener serves.
#[derive(Debug)]
pub struct AdminApi {
    /// Asks the loop.
    pub driver: DriverHandle,
    /// What the sources count and know.
    pub sources: Sources,
    /// For how long the loop is waited for.
    pub limits: Limits,
    /// Cancelled when the relay ends: then it is not ready.
    pub stop: CancellationToken,
}

/// What the sources count and know by themselves.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `Collect` streams.
    pub legacy: Arc<legacy::Counters>,
    /// The native watches.
    pub native: Arc<native::Counters>,
    /// What they watch, and what is known of the kinds that the matcher does not use.
    pub unmatched: Arc<native::Unmatched>,
    /// How long events take from their reading to the reducer's network.
    pub lag: LagSeconds,
    /// The metadata service, if there is one.
    pub metadata: Option<Arc<dyn Metadata>>,
    /// What its clients ask and meet.
    pub questions: Arc<enrich_api::Counters>,
    /// Certificates and keys in use.
    pub tls: Materials,
    /// The failed handshakes of each listener.
    pub handshakes: Vec<Arc<Handshakes>>,
    /// How the election stands, if there is one.
    pub standing: Option<watch::Receiver<ha::Standing>>,
}

/// A metadata service, as far as it is shown.
pub trait Metadata: fmt::Debug + Send + Sync {
    /// How it does at this moment. Waits for nobody.
    fn status(&self) -> Enrichment;

    /// What each profile would add to an event about a pod, by `NAMESPACE/NAME` or uid; or only
    /// this profile. `None`: there is no such profile.
    fn explain(&self, pod: &str, profile: Option<&str>) -> Option<Vec<Addition>>;
}

/// For how long the loop is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// By a probe.
    pub probe: Duration,
    /// By all others.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            probe: Duration::from_secs(1),
            answer: Duration::from_secs(5),
        }
    }
}

/// The longest name of a pod with its namespace, or uid, that is looked for, in bytes.
const MAX_ASKED: usize = 4096;

impl AdminApi {
    /// All routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/", get(status_page))
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics_text))
            .route("/statusz", get(statusz))
            .route("/explain", get(explain))
            .route("/digest", get(digest))
            .route("/migrate/{step}", post(migrate))
            .fallback(no_such_path)
            .method_not_allowed_fallback(no_such_method)
            .layer(Extension(Arc::new(Refusals::default())))
            .with_state(Arc::new(self))
    }

    /// What the loop says, and what it knows nothing of.
    async fn whole_status(&self) -> Result<Box<Status>, QueryError> {
        let mut status = self.status(self.limits.answer).await?;
        watches::complete(&mut status, &self.sources.unmatched, now());
        status.certificates = certificates(&self.sources.tls);
        Ok(status)
    }

    async fn status(&self, limit: Duration) -> Result<Box<Status>, QueryError> {
        let mut status = self.driver.ask(limit, DriverQuery::Status).await?;
        let service = self.sources.metadata.as_ref();
        status.enrichment = service.map(|service| service.status());
        status.leadership = self.sources.standing.as_ref().map(|standing| {
            let standing = standing.borrow();
            Leadership::of(&standing, standing.left())
        });
        Ok(status)
    }
}

/// What TLS uses, for people.
fn certificates(tls: &Materials) -> Vec<Certificates> {
    let now = tls::material::now().as_secs_f64();
    let ends_in = |one: &tls::set::Certificate| {
        let validity = one.validity?;
        Some(validity.not_after.as_secs_f64() - now)
    };
    let standings = tls.standing().into_iter();
    standings
        .map(|standing| Certificates {
            r#use: standing.role.label.to_owned(),
            unusable_files: standing.flaw,
            in_use: standing
                .certificates
                .iter()
                .map(|one| Certificate {
                    part: one.part.label().to_owned(),
                    subject: one.subject.clone(),
                    names: one.names.clone(),
                    ends_in_seconds: ends_in(one),
                })
                .collect(),
        })
        .collect()
}

async fn livez(State(api): State<Arc<AdminApi>>, RawQuery(query): RawQuery) -> impl IntoResponse {
    probed(Probe::Live, &api, query).await
}

async fn readyz(State(api): State<Arc<AdminApi>>, RawQuery(query): RawQuery) -> impl IntoResponse {
    probed(Probe::Ready, &api, query).await
}

async fn probed(probe: Probe, api: &AdminApi, query: Option<String>) -> (StatusCode, String) {
    let query = probes::Query::parse(query.as_deref().unwrap_or_default());
    let status = api.status(api.limits.probe).await;
    let said = status.as_deref().map_err(ToString::to_string);
    let checks = probe.checks(said, api.stop.is_cancelled());
    let result = probe.result(&checks, &query);
    let code = match result.passed {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, result.text)
}

async fn metrics_text(State(api): State<Arc<AdminApi>>, headers: HeaderMap) -> Response {
    match api.whole_status().await {
        Ok(status) => {
            // Several lines of a list are one list.
            let accept = headers.get_all(ACCEPT).iter();
            let accept: Vec<_> = accept.filter_map(|line| line.to_str().ok()).collect();
            let format = metrics::Format::of(&accept.join(","));
            let text = metrics::text(format, status, &api.sources, Process::now());
            ([(CONTENT_TYPE, format.content_type())], text).into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn statusz(State(api): State<Arc<AdminApi>>) -> Result<Response, Trouble> {
    let status = api.whole_status().await?;
    if status.alone {
        let Status {
            version,
            up_seconds,
            alone,
            enrichment,
            ..
        } = *status;
        let all = json!({
            "version": version,
            "up_seconds": up_seconds,
            "alone": alone,
            "enrichment": enrichment,
        });
        return Ok(Json(all).into_response());
    }
    Ok(Json(status).into_response())
}

async fn digest(State(api): State<Arc<AdminApi>>) -> Result<Json<Vec<FeedDigest>>, Trouble> {
    let limit = api.limits.answer;
    Ok(Json(api.driver.ask(limit, DriverQuery::Digests).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    pod: String,
    profile: Option<String>,
}

async fn explain(
    State(api): State<Arc<AdminApi>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Findings>, Trouble> {
    let Query(Asked { pod, profile }) = asked.map_err(|error| {
        Trouble::Bad(format!(
            "expected ?pod=NAMESPACE/NAME or ?pod=UID: {}",
            error.body_text()
        ))
    })?;
    Ok(Json(look_up(&api, &pod, profile.as_deref()).await?))
}

/// What is known of this pod, and would be added to its events.
async fn look_up(api: &AdminApi, pod: &str, profile: Option<&str>) -> Result<Findings, Trouble> {
    let named = match pod.split_once('/') {
        Some((namespace, name)) => !namespace.is_empty() && !name.is_empty(),
        None => !pod.is_empty(),
    };
    if !named {
        return Err(Trouble::Bad(
            "no pod is named: give ?pod=NAMESPACE/NAME or ?pod=UID".to_owned(),
        ));
    }
    if pod.len() > MAX_ASKED {
        return Err(Trouble::Bad(
            "no pod has a name or uid this long".to_owned(),
        ));
    }
    let mut findings = findings(api, pod).await?;
    findings.profiles = additions(api, pod, profile)?;
    let is_known = |of: &Addition| of.metadata.is_some();
    if findings.pods.is_empty()
        && findings.dropped.is_empty()
        && !findings.profiles.iter().any(is_known)
    {
        let what = if pod.contains('/') { "name" } else { "uid" };
        return Err(Trouble::Unknown(format!(
            "no source knows a pod of the {what} {pod}, and none was dropped lately"
        )));
    }
    Ok(findings)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    #[serde(default)]
    pod: String,
    #[serde(default)]
    refresh: String,
}

async fn status_page(
    State(api): State<Arc<AdminApi>>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Trouble> {
    let Query(PageQuery { pod, refresh }) =
        query.map_err(|error| Trouble::Bad(format!("expected ?pod=: {}", error.body_text())))?;
    let mut page = Page::new(api.whole_status().await?, notable::recent(), now());
    if refresh == "off" {
        page = page.still();
    }
    if !pod.is_empty() {
        let found = look_up(&api, pod.trim(), None).await;
        page = page.explaining(pod, found.map_err(|trouble| trouble.said().1));
    }
    let html = page
        .html()
        .map_err(|error| Trouble::Page(error.to_string()))?;
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, page::POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, html).into_response())
}

/// What the metadata service would add, if there is one.
fn additions(api: &AdminApi, pod: &str, profile: Option<&str>) -> Result<Vec<Addition>, Trouble> {
    let Some(service) = &api.sources.metadata else {
        return match profile {
            None => Ok(Vec::new()),
            Some(_) => Err(Trouble::Bad(
                "there are no profiles: this relay has no --enrich-address".to_owned(),
            )),
        };
    };
    let unknown = || {
        Trouble::Unknown(format!(
            "there is no profile {}",
            profile.unwrap_or_default()
        ))
    };
    service.explain(pod, profile).ok_or_else(unknown)
}

async fn findings(api: &AdminApi, pod: &str) -> Result<Findings, QueryError> {
    let limit = api.limits.answer;
    let (mut uids, mut more) = (vec![Uid::new(pod)], false);
    if let Some((namespace, name)) = pod.split_once('/') {
        let stores = api.driver.ask(limit, DriverQuery::Stores).await?;
        (uids, more) = find::by_name(&stores, namespace, name).await;
    }
    let mut findings = Findings {
        more,
        ..Findings::default()
    };
    for uid in uids {
        let explained = |answer| DriverQuery::Explain(uid, answer);
        let explained = api.driver.ask(limit, explained).await?;
        findings.pods.extend(explained.map(|explained| *explained));
    }
    let now = now();
    let Sources { legacy, native, .. } = &api.sources;
    findings.dropped = [("legacy", &legacy.lost), ("native", &native.lost)]
        .into_iter()
        .flat_map(|(source, lost)| dropped(source, lost, pod, now))
        .collect();
    findings
        .dropped
        .sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    findings.dropped.truncate(find::MOST);
    Ok(findings)
}

fn dropped(source: &str, lost: &RecentDrops, pod: &str, now: Instant) -> Vec<Dropped> {
    let of = lost.of(pod).into_iter().take(find::MOST);
    of.map(|lost| Dropped {
        source: source.to_owned(),
        uid: lost.name.uid,
        namespace: lost.name.namespace,
        name: lost.name.name,
        reason: lost.reason.to_owned(),
        seconds: now.saturating_duration_since(lost.at).as_secs_f64(),
    })
    .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct How {
    #[serde(default)]
    force: bool,
}

async fn migrate(
    State(api): State<Arc<AdminApi>>,
    Extension(caller): Extension<Caller>,
    Extension(refusals): Extension<Arc<Refusals>>,
    headers: HeaderMap,
    Path(step): Path<String>,
    how: Result<Query<How>, QueryRejection>,
) -> Result<Response, Trouble> {
    let command = Command::ALL.into_iter().find(|one| one.as_str() == step);
    let command = command.ok_or_else(|| {
        let steps = Command::ALL.map(Command::as_str).join(", ");
        Trouble::Unknown(format!("there is no such step; there are {steps}"))
    })?;
    let Query(How { force }) = how.map_err(|error| {
        Trouble::Bad(format!(
            "expected nothing, ?force=true or ?force=false: {}",
            error.body_text()
        ))
    })?;
    if let Err(refusal) = may_change(caller.peer(), &headers) {
        let (by, why) = (caller.peer(), refusal.to_string());
        if let Some(left_out) = refusals.line(now()) {
            let left_out = Some(left_out).filter(|lines| *lines > 0);
            tracing::warn!(
                %command, %by, force, result = "refused", why, left_out, "migration step"
            );
        }
        return Err(Trouble::Forbidden(why));
    }
    if api.sources.standing.is_some() {
        return Err(Trouble::OneStage);
    }
    let answer = api.driver.step(api.limits.answer, command, force, caller);
    match answer.await? {
        StepAnswer::Done(Done {
            text,
            not_kept,
            waits_for: Some(_),
        }) => {
            let body = json!({ "in_progress": text, "not_kept": not_kept, "see": "/statusz" });
            Ok((StatusCode::ACCEPTED, Json(body)).into_response())
        }
        StepAnswer::Done(Done { text, not_kept, .. }) => {
            Ok(Json(json!({ "done": text, "not_kept": not_kept })).into_response())
        }
        StepAnswer::InProgress(number) => {
            let said = format!("`{command}` is in progress: see `k8s-relay status` or /statusz");
            let body = json!({ "in_progress": said, "number": number, "see": "/statusz" });
            Ok((StatusCode::ACCEPTED, Json(body)).into_response())
        }
        StepAnswer::Refused(refused) => Err(Trouble::Refused(refused)),
        StepAnswer::Failed(why) => Err(Trouble::Failed(why)),
    }
}

async fn no_such_path() -> Trouble {
    Trouble::Unknown(
        "there are GET / /livez /readyz /metrics /statusz /explain?pod= /digest and POST /migrate/STEP"
            .to_owned(),
    )
}

async fn no_such_method() -> Trouble {
    Trouble::Method
}

/// What goes wrong, for an answer in JSON.
enum Trouble {
    Bad(String),
    Forbidden(String),
    Unknown(String),
    Method,
    /// The step is not taken.
    Refused(Refused),
    /// The step was begun, and nothing has come of it.
    Failed(String),
    /// Replicas have no stage of their own.
    OneStage,
    NoAnswer(QueryError),
    /// The page could not be written.
    Page(String),
}

/// The answer to whoever may not ask.
pub(super) fn refused(refusal: &Refusal) -> Response {
    Trouble::Forbidden(refusal.to_string()).into_response()
}

impl From<QueryError> for Trouble {
    fn from(error: QueryError) -> Self {
        Self::NoAnswer(error)
    }
}

impl Trouble {
    /// The code, and the sentence.
    fn said(self) -> (StatusCode, String) {
        match self {
            Self::Bad(error) => (StatusCode::BAD_REQUEST, error),
            Self::Forbidden(error) => (StatusCode::FORBIDDEN, error),
            Self::Unknown(error) => (StatusCode::NOT_FOUND, error),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "a step of the migration is asked for by POST, everything else by GET".to_owned(),
            ),
            Self::Refused(Refused { why, .. }) => (StatusCode::CONFLICT, why),
            Self::Failed(error) => (StatusCode::CONFLICT, error),
            Self::OneStage => (
                StatusCode::CONFLICT,
                "with --ha all replicas are in the stage native, and no step changes it: restart \
                 them without --ha and with another --source to migrate"
                    .to_owned(),
            ),
            Self::NoAnswer(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            Self::Page(error) => (StatusCode::INTERNAL_SERVER_ERROR, error),
        }
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let more = match &self {
            Self::Refused(Refused { in_progress, .. }) => Some(("in_progress", *in_progress)),
            Self::Failed(_) => Some(("failed", true)),
            Self::Bad(_)
            | Self::Forbidden(_)
            | Self::Unknown(_)
            | Self::Method
            | Self::OneStage
            | Self::NoAnswer(_)
            | Self::Page(_) => None,
        };
        let (code, error) = self.said();
        let mut body = json!({ "error": error });
        if let (Some((name, is)), Some(body)) = (more, body.as_object_mut()) {
            body.insert(name.to_owned(), is.into());
        }
        (code, Json(body)).into_response()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long ago something was dropped or logged"
)]
fn now() -> Instant {
    Instant::now()
}
