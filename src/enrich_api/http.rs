//! Paths and answers over HTTP. Errors are `{"error": "a sentence"}`.

mod body;
mod enrich;
mod lookup;
mod params;
mod status;

use std::sync::Arc;

use axum::{
    Json, Router,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use serde_json::json;

use super::{Api, ask::TooManyWait};
use crate::enrich::service::Objects;

/// All routes.
pub(super) fn router<O: Objects>(api: Arc<Api<O>>) -> Router {
    Router::new()
        .route("/v1/enrich/{metricset}", post(enrich::enrich::<O>))
        .route(
            "/v1/lookup",
            get(lookup::identified::<O>).post(lookup::several::<O>),
        )
        .route(
            "/v1/lookup/{kind}/{namespace}/{name}",
            get(lookup::named::<O>),
        )
        .route("/v1/status", get(status::status::<O>))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "there is no such path"))
        .method_not_allowed_fallback(async || {
            let error = "the path takes other methods: see the header Allow";
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error)
        })
        .with_state(api)
}

/// A request that is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    code: StatusCode,
    error: String,
}

impl Refusal {
    fn new(code: StatusCode, error: impl ToString) -> Self {
        let error = error.to_string();
        Self { code, error }
    }

    fn bad(error: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    fn no_profile(name: &str) -> Self {
        let error = format!("there is no profile `{name}`");
        Self::new(StatusCode::NOT_FOUND, error)
    }

    fn too_many_streams() -> Self {
        let error = "too many requests are being answered";
        Self::new(StatusCode::TOO_MANY_REQUESTS, error)
    }
}

impl From<TooManyWait> for Refusal {
    fn from(error: TooManyWait) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.code, Json(json!({ "error": self.error }))).into_response();
        if self.code == StatusCode::TOO_MANY_REQUESTS {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
