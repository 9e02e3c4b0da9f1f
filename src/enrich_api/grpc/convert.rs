//! Between the messages of `k8smeta.v1` and what they stand for.

use std::ops::Range;

use bytes::Bytes;
use tonic::Status;

use crate::{
    enrich::{
        answer::{Answer, State},
        object::{Object, Timestamp},
        service::{InEffect, StoreStatus},
    },
    enrich_api::{
        Limits,
        counters::{Counters, LimitHit},
        reference::{RawRef, Ref},
    },
    model::IdBuf,
    proto::k8smeta as wire,
};

/// What an item carries of what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The event, with what was added to it.
    Event,
    /// The document, with its hash.
    Metadata,
}

/// The results of a batch. Their texts stand in one buffer until all are there.
pub(super) struct Batch {
    items: Vec<wire::Result>,
    texts: String,
    /// For each item: what it carries, and where that stands.
    parts: Vec<(Said, Range<usize>)>,
}

impl Batch {
    /// Of so many items.
    pub(super) fn new(items: usize) -> Self {
        Self {
            items: Vec::with_capacity(items),
            texts: String::new(),
            parts: Vec::with_capacity(items),
        }
    }

    /// Appends an answer; `merged` is the event with what was added to it.
    pub(super) fn push(&mut self, answer: &Answer, said: Said, merged: &str) {
        let mut item = result(answer);
        let begin = self.texts.len();
        match (said, &answer.document) {
            (Said::Event, _) => self.texts.push_str(merged),
            (Said::Metadata, Some(document)) => {
                self.texts.push_str(document.json());
                item.hash = format!("{:032x}", document.hash());
            }
            (Said::Metadata, None) => {}
        }
        self.parts.push((said, begin..self.texts.len()));
        self.items.push(item);
    }

    /// The answer is not too long so far.
    ///
    /// # Errors
    /// It is.
    pub(super) fn check(&self, limits: &Limits, counters: &Counters) -> Result<(), Status> {
        if self.texts.len() <= limits.answer_bytes {
            return Ok(());
        }
        counters.hit(LimitHit::Batch);
        let most = limits.answer_bytes;
        let error = format!("the answer is longer than {most} bytes: send smaller batches");
        Err(Status::resource_exhausted(error))
    }

    /// The items.
    pub(super) fn finish(self) -> Vec<wire::Result> {
        let texts = Bytes::from(self.texts);
        let mut items = self.items;
        for (item, (said, range)) in items.iter_mut().zip(self.parts) {
            match said {
                Said::Event => item.event = texts.slice(range),
                Said::Metadata => item.metadata = texts.slice(range),
            }
        }
        items
    }
}

/// The result for what is not a valid question.
pub(super) fn invalid(error: &str) -> wire::Result {
    wire::Result {
        state: wire::State::Invalid.into(),
        error: error.to_owned(),
        ..wire::Result::default()
    }
}

fn result(answer: &Answer) -> wire::Result {
    let partial = answer.partial.iter().map(|(part, why)| wire::Partial {
        part: part.as_str().to_owned(),
        reason: why.as_str().to_owned(),
    });
    let object = answer.object.as_ref();
    let truncated = answer
        .document
        .iter()
        .flat_map(|document| document.truncated());
    let age = answer.age_ms.unwrap_or_default();
    wire::Result {
        state: state(answer.state).into(),
        event: Bytes::new(),
        metadata: Bytes::new(),
        hash: String::new(),
        partial: partial.collect(),
        resource_version: object.map_or_else(String::new, |of| of.resource_version.to_string()),
        uid: object.map_or_else(String::new, uid),
        deleted_at_ms: answer.deleted_at.map_or(0, Timestamp::millis),
        age_ms: i64::try_from(age).unwrap_or(i64::MAX),
        schema_url: answer.schema_url.unwrap_or_default().to_owned(),
        reason: answer
            .reason
            .map_or("", |reason| reason.as_str())
            .to_owned(),
        error: answer.error.clone().unwrap_or_default(),
        candidates: answer.candidates.iter().map(candidate).collect(),
        limits: answer.limits.map(|limits| wire::Limits {
            values: limits
                .values()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }),
        truncated: truncated.map(str::to_owned).collect(),
    }
}

fn state(state: State) -> wire::State {
    match state {
        State::Live => wire::State::Live,
        State::Deleted => wire::State::Deleted,
        State::Missing => wire::State::Missing,
        State::Syncing => wire::State::Syncing,
        State::Disabled => wire::State::Disabled,
        State::Invalid => wire::State::Invalid,
        State::Ambiguous => wire::State::Ambiguous,
    }
}

fn uid(object: &Object) -> String {
    object.uid.text(&mut IdBuf::new()).to_owned()
}

fn candidate(object: &Object) -> wire::Ref {
    wire::Ref {
        kind: object.resource.key().to_owned(),
        namespace: object.namespace.to_string(),
        name: object.name.to_string(),
        uid: uid(object),
        ..wire::Ref::default()
    }
}

/// What a client looks up.
///
/// # Errors
/// It is not a reference.
pub(super) fn reference(raw: wire::Ref) -> Result<Ref, String> {
    let wire::Ref {
        kind,
        namespace,
        name,
        container,
        uid,
        container_id,
        pod_uid,
        pod_ip,
        at_ms,
    } = raw;
    let raw = RawRef {
        kind,
        namespace,
        name,
        container,
        uid,
        container_id,
        pod_uid,
        pod_ip,
        at: String::new(),
    };
    let at = (at_ms != 0).then(|| Timestamp::from_millis(at_ms));
    raw.read_at(at).map_err(|error| error.to_string())
}

/// A row of the status.
pub(super) fn store(store: StoreStatus) -> wire::Store {
    let age = |age: Option<u64>| age.map_or(-1, |age| i64::try_from(age).unwrap_or(i64::MAX));
    let reason = store.state.reason();
    wire::Store {
        kind: store.kind,
        scope: store.scope,
        state: store.state.as_str().to_owned(),
        reason: reason.map_or("", |reason| reason.as_str()).to_owned(),
        objects: store.objects,
        bytes: store.bytes,
        buried: store.buried,
        last_event_ms: age(store.last_event_ms),
        last_contact_ms: age(store.last_contact_ms),
        users: store.users,
    }
}

/// The profiles of the status.
pub(super) fn profiles(profiles: &InEffect) -> Vec<wire::Profile> {
    let all = profiles.profiles().map(|(name, profile)| {
        let metricsets = profile.metricsets.iter().map(|one| one.name().to_owned());
        wire::Profile {
            name: name.to_owned(),
            metricsets: metricsets.collect(),
            scope: profile.scope.name().to_owned(),
            schema: profile.schema.name().to_owned(),
            generation: profiles.generation,
        }
    });
    all.collect()
}
