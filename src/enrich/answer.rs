//! What is answered to a question.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    document::Document,
    join::{Missing, Part},
    json::{JsonWriter, quote},
    object::{Amounts, Object, Timestamp},
    resource::Resource,
    view::Trouble,
};
use crate::model::IdBuf;

/// What is known of the object that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It lives.
    Live,
    /// It was deleted a moment ago.
    Deleted,
    /// There is none.
    Missing,
    /// Its kind has never been listed whole.
    Syncing,
    /// Several could be meant.
    Ambiguous,
    /// The profile does not have its kind.
    Disabled,
    /// The question is not valid.
    Invalid,
}

impl State {
    /// The word for it in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Deleted => "DELETED",
            Self::Missing => "MISSING",
            Self::Syncing => "SYNCING",
            Self::Ambiguous => "AMBIGUOUS",
            Self::Disabled => "DISABLED",
            Self::Invalid => "INVALID",
        }
    }
}

/// The answer to a lookup, or for an event.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What is known of the object.
    pub state: State,
    /// Why its kind is not known.
    pub reason: Option<Trouble>,
    /// What is wrong with the question.
    pub error: Option<String>,
    /// The object, if one was found.
    pub object: Option<Object>,
    /// What is said of it.
    pub document: Option<Arc<Document>>,
    /// The parts that the document lacks.
    pub partial: SmallVec<[(Part, Missing); 2]>,
    /// When its deletion was seen.
    pub deleted_at: Option<Timestamp>,
    /// How long ago the API server was last heard of its kind, in milliseconds.
    pub age_ms: Option<u64>,
    /// Which conventions the document follows.
    pub schema_url: Option<&'static str>,
    /// CPU and memory, where they were asked for.
    pub limits: Option<Limits>,
    /// The objects that could be meant.
    pub candidates: Vec<Object>,
}

/// CPU and memory that an object may use, or has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Of a container; of a pod if each of its containers has one.
    pub limits: Amounts,
    /// Of a node; of the node of a pod.
    pub allocatable: Amounts,
}

impl Limits {
    /// The amounts that are known, by their names in answers.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [
            ("limits.cpu.cores", self.limits.cores),
            ("limits.memory.bytes", self.limits.bytes),
            ("node.allocatable.cpu.cores", self.allocatable.cores),
            ("node.allocatable.memory.bytes", self.allocatable.bytes),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// What an answer carries of what was found.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// The document, with its hash.
    Metadata,
    /// This event, merged or not.
    Event(&'a str),
    /// Nothing was to be found: the number of the line that is not valid, if it is one.
    Line(Option<u64>),
}

impl Answer {
    /// An answer that says no more than a state.
    pub fn of(state: State) -> Self {
        Self {
            state,
            reason: None,
            error: None,
            object: None,
            document: None,
            partial: SmallVec::new(),
            deleted_at: None,
            age_ms: None,
            schema_url: None,
            limits: None,
            candidates: Vec::new(),
        }
    }

    /// The answer to what is not a valid question.
    pub fn invalid(error: impl ToString) -> Self {
        Self {
            error: Some(error.to_string()),
            ..Self::of(State::Invalid)
        }
    }

    /// Appends it as a JSON object.
    pub fn write_json(&self, content: Content<'_>, into: &mut String) {
        let mut json = JsonWriter::new(256);
        json.field("state", self.state.as_str());
        if let Some(reason) = self.reason {
            json.field("reason", reason.as_str());
        }
        if let Some(error) = &self.error {
            json.field("error", error);
        }
        match (content, &self.document) {
            (Content::Event(event), _) => json.raw("event", event),
            (Content::Metadata, Some(document)) => {
                json.raw("metadata", document.json());
                json.field("hash", &format!("{:032x}", document.hash()));
            }
            (Content::Line(Some(line)), _) => json.raw("line", &line.to_string()),
            (Content::Line(None), _) | (Content::Metadata, None) => {}
        }
        if !self.partial.is_empty() {
            let parts = self.partial.iter().map(|(part, why)| {
                format!(
                    r#"{{"part":"{}","reason":"{}"}}"#,
                    part.as_str(),
                    why.as_str()
                )
            });
            json.raw(
                "partial",
                &format!("[{}]", parts.collect::<Vec<_>>().join(",")),
            );
        }
        if let Some(object) = &self.object {
            if !object.resource_version.is_empty() {
                json.field("resource_version", &object.resource_version);
            }
            if !object.uid.is_empty() {
                json.field("uid", object.uid.text(&mut IdBuf::new()));
            }
        }
        if let Some(deleted_at) = self.deleted_at {
            json.field("deleted_at", &deleted_at.to_string());
        }
        if let Some(age_ms) = self.age_ms {
            json.raw("age_ms", &age_ms.to_string());
        }
        if let Some(url) = self.schema_url {
            json.field("schema_url", url);
        }
        if let Some(limits) = &self.limits {
            json.open("limits");
            for (name, value) in limits.values() {
                json.raw(name, &serde_json::Value::from(value).to_string());
            }
            json.close();
        }
        if !self.candidates.is_empty() {
            let all: Vec<_> = self.candidates.iter().map(candidate).collect();
            json.raw("candidates", &format!("[{}]", all.join(",")));
        }
        if let Some(document) = self.document.as_ref().filter(|of| of.truncated().len() > 0) {
            json.list("truncated", document.truncated());
        }
        into.push_str(&json.finish());
    }
}

fn candidate(object: &Object) -> String {
    let mut uid = IdBuf::new();
    let fields = [
        ("kind", object.resource.key()),
        ("namespace", &*object.namespace),
        ("name", &*object.name),
        ("uid", object.uid.text(&mut uid)),
    ];
    let mut text = String::from("{");
    for (at, (key, value)) in fields.into_iter().enumerate() {
        text.push_str(if at == 0 { "\"" } else { ",\"" });
        text.push_str(key);
        text.push_str("\":");
        quote(value, &mut text);
    }
    text.push('}');
    text
}

impl Resource {
    /// Whether its objects have limits or what is there of CPU and memory.
    pub(super) fn has_limits(self) -> bool {
        matches!(self, Self::Pod | Self::Node)
    }
}
