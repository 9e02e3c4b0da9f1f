//! The errors of a Kubernetes API server, byte for byte: `Status` objects.
//!
//! Pure. The texts are those of a server of version 1.35.

use serde_json::{Value, json};

use crate::model::KindRow;

/// A refusal: what a server answers instead of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The code of the answer.
    pub code: u16,
    /// In one word; empty for none.
    pub reason: &'static str,
    /// In one sentence.
    pub message: String,
    details: Option<Box<Value>>,
    /// Where an inconsistent list could go on.
    go_on: Option<String>,
}

impl Status {
    /// A status without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            go_on: None,
        }
    }

    /// The usual words for a code.
    pub fn of_code(code: u16) -> Self {
        match code {
            400 => Self::bad_request("the server could not understand the request"),
            401 => Self::unauthorized(),
            404 => Self::no_such_resource(),
            410 => Self::new(410, "Expired", "too old resource version"),
            422 => Self::watch_list_is_off(),
            429 => Self {
                details: Some(Box::new(json!({"retryAfterSeconds": 1}))),
                ..Self::new(
                    429,
                    "TooManyRequests",
                    "Too many requests, please try again later.",
                )
            },
            500 => Self::new(500, "InternalError", "Internal error occurred: simulated"),
            503 => Self::new(
                503,
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => Self::new(504, "Timeout", "Timeout: request did not complete in time"),
            code => Self::new(code, "Unknown", format!("simulated answer {code}")),
        }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 500, without a reason, as real servers say it: a watch from what is no version.
    pub fn watch_from_no_version(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 401: no token, or a wrong one.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403: RBAC does not allow it.
    pub fn forbidden(user: &str, verb: &str, row: &KindRow, namespace: Option<&str>) -> Self {
        let (group, plural) = (&row.group, &row.resource);
        let place = match namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let qualified = qualified(row);
        let message = format!(
            "{qualified} is forbidden: User \"{user}\" cannot {verb} resource \"{plural}\" in API group \"{group}\" {place}"
        );
        Self {
            details: Some(Box::new(resource(row, None))),
            ..Self::new(403, "Forbidden", message)
        }
    }

    /// 404: an API group and version that exist, but have no such resource.
    pub fn no_such_resource() -> Self {
        Self {
            details: Some(Box::new(json!({}))),
            ..Self::new(
                404,
                "NotFound",
                "the server could not find the requested resource",
            )
        }
    }

    /// 404: no object of this name.
    pub fn no_such_object(row: &KindRow, name: &str) -> Self {
        let qualified = qualified(row);
        Self {
            details: Some(Box::new(resource(row, Some(name)))),
            ..Self::new(404, "NotFound", format!("{qualified} \"{name}\" not found"))
        }
    }

    /// 405: nothing can be changed here.
    pub fn read_only() -> Self {
        Self {
            details: Some(Box::new(json!({}))),
            ..Self::new(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            )
        }
    }

    /// 410: a watch from a version that history does not reach.
    pub fn watch_too_old(version: u64, oldest: u64) -> Self {
        let message = format!("too old resource version: {version} ({oldest})");
        Self::new(410, "Expired", message)
    }

    /// 410: a list at a version that history does not reach.
    pub fn list_too_old() -> Self {
        Self::new(
            410,
            "Expired",
            "The resourceVersion for the provided list is too old.",
        )
    }

    /// 410: a continue token of a version that history does not reach.
    pub fn continue_too_old(go_on: String) -> Self {
        Self {
            go_on: Some(go_on),
            ..Self::new(
                410,
                "Expired",
                "The provided continue parameter is too old to display a consistent list result. \
                 You can start a new list without the continue parameter, or use the continue \
                 token in this response to retrieve the remainder of the results. Continuing with \
                 the provided token results in an inconsistent list - objects that were created, \
                 modified, or deleted between the time the first chunk was returned and now may \
                 show up in the list.",
            )
        }
    }

    /// 422: list options that do not go together.
    pub fn invalid_options(field: &str, message: &str) -> Self {
        let cause = format!("Forbidden: {message}");
        let causes = json!([
            {"reason": "FieldValueForbidden", "message": cause, "field": field}
        ]);
        Self {
            details: Some(Box::new(
                json!({"group": "meta.k8s.io", "kind": "ListOptions", "causes": causes}),
            )),
            ..Self::new(
                422,
                "Invalid",
                format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {cause}"),
            )
        }
    }

    /// 422: a `resourceVersionMatch` that is none.
    pub fn unsupported_match(matching: &str) -> Self {
        let field = "resourceVersionMatch";
        let cause = format!(
            "Unsupported value: {matching:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
        );
        let causes = json!([
            {"reason": "FieldValueNotSupported", "message": cause, "field": field}
        ]);
        Self {
            details: Some(Box::new(
                json!({"group": "meta.k8s.io", "kind": "ListOptions", "causes": causes}),
            )),
            ..Self::new(
                422,
                "Invalid",
                format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {cause}"),
            )
        }
    }

    /// 422: a server that knows no streamed lists.
    pub fn watch_list_is_off() -> Self {
        Self::invalid_options(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
        )
    }

    /// 504: a version that the server has not reached.
    pub fn version_too_large(wanted: u64, current: u64) -> Self {
        let causes = json!([
            {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        ]);
        Self {
            details: Some(Box::new(json!({"causes": causes, "retryAfterSeconds": 1}))),
            ..Self::new(
                504,
                "Timeout",
                format!("Timeout: Too large resource version: {wanted}, current: {current}"),
            )
        }
    }

    /// The header that says how long to wait, if it says so.
    pub fn retry_after(&self) -> Option<(String, String)> {
        let seconds = self.details.as_ref()?.get("retryAfterSeconds")?;
        Some(("Retry-After".to_owned(), seconds.to_string()))
    }

    /// The body.
    pub fn to_json(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        });
        if let Some(object) = status.as_object_mut() {
            if self.details.is_none() {
                object.shift_remove("details");
            }
            if self.reason.is_empty() {
                object.shift_remove("reason");
            }
            if let Some(go_on) = &self.go_on {
                object.insert("metadata".to_owned(), json!({"continue": go_on}));
            }
        }
        status
    }
}

/// Such as `jobs.batch`.
fn qualified(row: &KindRow) -> String {
    match &*row.group {
        "" => row.resource.to_string(),
        group => format!("{}.{group}", row.resource),
    }
}

fn resource(row: &KindRow, name: Option<&str>) -> Value {
    let mut details = serde_json::Map::new();
    if let Some(name) = name {
        details.insert("name".to_owned(), name.into());
    }
    if !row.group.is_empty() {
        details.insert("group".to_owned(), row.group.as_ref().into());
    }
    details.insert("kind".to_owned(), row.resource.as_ref().into());
    Value::Object(details)
}
