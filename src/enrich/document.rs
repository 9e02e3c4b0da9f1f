//! A metadata document: what is said of an object, as JSON text.

mod ecs;
mod image;
mod otel;

use std::{ops::Range, sync::OnceLock};

use twox_hash::XxHash3_128;

use super::{
    cluster::ClusterIdentity,
    event::RawObject,
    filter::Selected,
    join::Joined,
    object::{Container, Object, Pairs},
    profile::{Profile, Schema, Semconv},
};

/// What is said of an object. It depends on nothing but its inputs.
#[derive(Debug)]
pub struct Document {
    json: Box<str>,
    hash: OnceLock<u128>,
    truncated: Box<[Box<str>]>,
    parts: OnceLock<Parts>,
}

/// The members of a document, for the merge into events.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Of `kubernetes`.
    pub(super) kubernetes: Box<[Member]>,
    /// Of `kubernetes.pod`.
    pub(super) pod: Box<[Member]>,
    /// Of the document, without `kubernetes`.
    pub(super) root: Box<[Member]>,
}

/// A member of a document.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: Box<str>,
    /// Where its value stands in the text.
    value: Range<usize>,
}

/// What of an object is said.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form<'a> {
    /// All of it. Of a namespace in the flat form that also stands in other documents.
    Object,
    /// A namespace as events of `state_namespace` have it.
    StateNamespace,
    /// One container of a pod.
    Container {
        /// The container.
        container: &'a Container,
        /// The document names it: events have its name themselves.
        named: bool,
    },
}

/// What all documents of a profile have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style<'a> {
    pub(super) profile: &'a Profile,
    pub(super) cluster: &'a ClusterIdentity,
    pub(super) schema: Schema,
    pub(super) semconv: Semconv,
}

impl Document {
    /// Writes what is said of an object.
    pub(super) fn render(
        style: Style<'_>,
        object: &Object,
        form: Form<'_>,
        joined: &Joined,
    ) -> Self {
        let (json, truncated) = match style.schema {
            Schema::Ecs => ecs::render(style, object, form, joined),
            Schema::Otel => otel::render(style, object, form, joined),
        };
        Self {
            json: json.into(),
            hash: OnceLock::new(),
            truncated: truncated.0.into(),
            parts: OnceLock::new(),
        }
    }

    /// Its text: a JSON object.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// A number for its text, the same in every process.
    pub fn hash(&self) -> u128 {
        let hash = || XxHash3_128::oneshot(self.json.as_bytes());
        *self.hash.get_or_init(hash)
    }

    /// The keys of labels and annotations whose values were cut.
    pub fn truncated(&self) -> impl ExactSizeIterator<Item = &str> {
        self.truncated.iter().map(|key| &**key)
    }

    /// How many bytes of memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        // The members take about as much as the text where they are asked for.
        size_of::<Self>() + 2 * self.json.len()
    }

    pub(super) fn parts(&self) -> &Parts {
        self.parts.get_or_init(|| Parts::of(&self.json))
    }

    /// The text of a member's value.
    pub(super) fn value(&self, member: &Member) -> &str {
        self.json.get(member.value.clone()).unwrap_or_default()
    }
}

impl Parts {
    fn of(json: &str) -> Self {
        let members = |of: Option<&str>| -> Vec<Member> {
            let object = of.and_then(|text| RawObject::parse(text).ok());
            let object = object.unwrap_or_default();
            let members = object.members.iter().map(|(key, value)| Member {
                key: (**key).into(),
                value: range(json, value),
            });
            members.collect()
        };
        let find = |all: &[Member], key: &str| {
            let found = all.iter().find(|member| *member.key == *key)?;
            json.get(found.value.clone())
        };
        let mut root = members(Some(json));
        let kubernetes = members(find(&root, "kubernetes"));
        let pod = members(find(&kubernetes, "pod"));
        root.retain(|member| *member.key != *"kubernetes");
        Self {
            kubernetes: kubernetes.into(),
            pod: pod.into(),
            root: root.into(),
        }
    }
}

/// Where a part of a text stands in it.
pub(super) fn range(text: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    start..start.saturating_add(part.len())
}

/// The keys whose values were cut, of those that are said.
#[derive(Default)]
struct Truncated(Vec<Box<str>>);

impl Truncated {
    fn note(&mut self, said: &Selected<'_>, pairs: &Pairs) {
        let cut = said.iter().filter(|(key, _)| pairs.is_cut(key));
        self.0.extend(cut.map(|(key, _)| Box::from(*key)));
    }
}
