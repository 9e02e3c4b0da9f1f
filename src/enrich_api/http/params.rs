//! The query of a request.

use std::str::FromStr;

use super::Refusal;
use crate::enrich::profile::{Schema, Semconv};

/// The parameters that were not taken yet.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query.
    ///
    /// # Errors
    /// A parameter stands twice.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Refusal> {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let mut params: Vec<(String, String)> = Vec::new();
        for (key, value) in pairs {
            if params.iter().any(|(known, _)| *known == key) {
                return Err(Refusal::bad(format!("`{key}` is given twice")));
            }
            params.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self(params))
    }

    /// The value of a parameter; empty if it is not given.
    pub(super) fn take(&mut self, key: &str) -> String {
        let at = self.0.iter().position(|(known, _)| known == key);
        at.map(|at| self.0.swap_remove(at).1).unwrap_or_default()
    }

    /// A number; 0 if it is not given.
    ///
    /// # Errors
    /// It is not one.
    pub(super) fn take_number<N: FromStr + Default>(&mut self, key: &str) -> Result<N, Refusal> {
        match self.take(key).as_str() {
            "" => Ok(N::default()),
            text => {
                let error = |_| Refusal::bad(format!("`{key}` takes a number, not `{text}`"));
                text.parse().map_err(error)
            }
        }
    }

    /// 0 or 1; 0 if it is not given.
    ///
    /// # Errors
    /// It is neither.
    pub(super) fn take_flag(&mut self, key: &str) -> Result<bool, Refusal> {
        match self.take(key).as_str() {
            "" | "0" | "false" => Ok(false),
            "1" | "true" => Ok(true),
            text => Err(Refusal::bad(format!("`{key}` takes 0 or 1, not `{text}`"))),
        }
    }

    /// All that was given was taken.
    ///
    /// # Errors
    /// A parameter is not known.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => Err(Refusal::bad(format!("`{key}` is not a parameter here"))),
        }
    }
}

/// The schema of this name; `None` for no name.
///
/// # Errors
/// There is none.
pub(super) fn schema(name: &str) -> Result<Option<Schema>, Refusal> {
    let read = Schema::from_name(name);
    match name {
        "" => Ok(None),
        name => read
            .map(Some)
            .ok_or_else(|| Refusal::bad(format!("`schema` takes ecs or otel, not `{name}`"))),
    }
}

/// The conventions of this name; `None` for no name.
///
/// # Errors
/// There are none.
pub(super) fn semconv(name: &str) -> Result<Option<Semconv>, Refusal> {
    let read = Semconv::from_name(name);
    match name {
        "" => Ok(None),
        name => read
            .map(Some)
            .ok_or_else(|| Refusal::bad(format!("`semconv` takes v1, v0 or both, not `{name}`"))),
    }
}
