//! `/v1/lookup`: what is said of objects.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Refusal,
    body::{self, Content},
    enrich::ArrayAnswer,
    params::{self, Params},
};
use crate::{
    enrich::{
        Wish,
        answer::{Answer, Content as Said, State as Known},
        service::{InEffect, Objects},
    },
    enrich_api::{
        Api,
        ask::Questions,
        counters::LimitHit,
        reference::{RawRef, Ref, RefError},
    },
};

/// How a lookup wants to be answered, as clients write it.
#[derive(Debug)]
struct Options {
    profile: String,
    schema: String,
    semconv: String,
    with_limits: bool,
    wait_ms: u64,
}

/// The body of `POST /v1/lookup`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Several<'a> {
    #[serde(default)]
    profile: String,
    #[serde(default)]
    schema: String,
    #[serde(default)]
    semconv: String,
    #[serde(default)]
    with_limits: Flag,
    #[serde(default)]
    wait_ms: u64,
    #[serde(borrow)]
    refs: Vec<&'a RawValue>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Number(u8),
}

impl Default for Flag {
    fn default() -> Self {
        Self::Bool(false)
    }
}

/// `GET /v1/lookup/{kind}/{namespace or -}/{name}`
pub(super) async fn named<O: Objects>(
    State(api): State<Arc<Api<O>>>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let Path((kind, namespace, name)) = path.map_err(Refusal::bad)?;
    let mut params = Params::parse(query.as_deref())?;
    let about = RawRef {
        kind,
        namespace,
        name,
        container: params.take("container"),
        uid: params.take("uid"),
        ..RawRef::default()
    };
    one(&api, about, params).await
}

/// `GET /v1/lookup?uid=`, `?container_id=` or `?pod_ip=`
pub(super) async fn identified<O: Objects>(
    State(api): State<Arc<Api<O>>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let mut params = Params::parse(query.as_deref())?;
    let about = RawRef {
        uid: params.take("uid"),
        container_id: params.take("container_id"),
        pod_ip: params.take("pod_ip"),
        at: params.take("at"),
        ..RawRef::default()
    };
    let given = [&about.uid, &about.container_id, &about.pod_ip];
    if given.iter().filter(|text| !text.is_empty()).count() != 1 {
        let error = "give exactly one of `uid`, `container_id` and `pod_ip`";
        return Err(Refusal::bad(error));
    }
    one(&api, about, params).await
}

/// `POST /v1/lookup`
pub(super) async fn several<O: Objects>(
    State(api): State<Arc<Api<O>>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    Params::parse(query.as_deref())?.finish()?;
    if body::content(&headers)? != Content::Json {
        let error = "the body must be application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    let inflater = body::inflater(&headers)?;
    let place = api.streams.take().ok_or_else(Refusal::too_many_streams)?;
    let text = body::whole(body, inflater, &api.limits, &api.counters).await?;
    let asked: Several<'_> = serde_json::from_slice(&text)
        .map_err(|error| Refusal::bad(format!("the body is not a set of lookups: {error}")))?;
    let most = api.limits.batch_items;
    if asked.refs.len() > most {
        api.counters.hit(LimitHit::Batch);
        let error = format!("there are more than {most} refs");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error));
    }
    let refs = asked.refs.iter().map(|raw| reference(raw)).collect();
    let options = Options {
        profile: asked.profile,
        schema: asked.schema,
        semconv: asked.semconv,
        with_limits: match asked.with_limits {
            Flag::Bool(is) => is,
            Flag::Number(number) => number != 0,
        },
        wait_ms: asked.wait_ms,
    };
    drop(text);
    let profiles = api.profiles();
    let questions = Questions::Lookups {
        wish: options.wish(&profiles)?,
        refs,
    };
    let wait = api.wait_of(options.wait_ms);
    api.wait(&profiles, &questions, wait).await?;
    let answer = ArrayAnswer {
        api: api.clone(),
        profiles,
        questions,
        around: ["{\"items\":[", "]}"],
        write: |_: Option<&Bytes>, answer: &Answer, _: &str, into: &mut Vec<u8>| {
            let mut text = String::new();
            answer.write_json(Said::Metadata, &mut text);
            into.extend_from_slice(text.as_bytes());
            true
        },
        place,
    };
    Ok(answer.stream())
}

fn reference(raw: &RawValue) -> Result<Ref, String> {
    let read: RawRef = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
    read.read().map_err(|error| error.to_string())
}

/// Answers one lookup.
async fn one<O: Objects>(
    api: &Api<O>,
    about: RawRef,
    mut params: Params,
) -> Result<Response, Refusal> {
    let options = Options {
        profile: params.take("profile"),
        schema: params.take("schema"),
        semconv: params.take("semconv"),
        with_limits: params.take_flag("with_limits")?,
        wait_ms: params.take_number("wait_ms")?,
    };
    params.finish()?;
    let about = match about.read() {
        Ok(about) => Ok(about),
        Err(RefError::Kind(kind)) => {
            let error = RefError::Kind(kind);
            return Err(Refusal::new(StatusCode::NOT_FOUND, error));
        }
        Err(error) => Err(error.to_string()),
    };
    let profiles = api.profiles();
    let questions = Questions::Lookups {
        wish: options.wish(&profiles)?,
        refs: vec![about],
    };
    let wait = api.wait_of(options.wait_ms);
    api.wait(&profiles, &questions, wait).await?;
    let (mut state, mut text) = (Known::Invalid, String::new());
    api.answer_slice(&profiles, &questions, 0..1, |_, answer, _| {
        state = answer.state;
        answer.write_json(Said::Metadata, &mut text);
    });
    let content_type = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut response = (code(state), [content_type], text).into_response();
    if state == Known::Syncing {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

impl Options {
    fn wish(&self, profiles: &InEffect) -> Result<Wish, Refusal> {
        let profile = profiles.find(&self.profile);
        Ok(Wish {
            profile: profile.ok_or_else(|| Refusal::no_profile(&self.profile))?,
            schema: params::schema(&self.schema)?,
            semconv: params::semconv(&self.semconv)?,
            with_limits: self.with_limits,
        })
    }
}

fn code(state: Known) -> StatusCode {
    match state {
        Known::Live | Known::Deleted | Known::Ambiguous => StatusCode::OK,
        Known::Missing | Known::Disabled => StatusCode::NOT_FOUND,
        Known::Syncing => StatusCode::SERVICE_UNAVAILABLE,
        Known::Invalid => StatusCode::BAD_REQUEST,
    }
}
