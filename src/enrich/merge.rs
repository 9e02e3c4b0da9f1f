//! The merge of a document into an event.
//!
//! Invariant: what a document does not say is copied from the event byte for byte, with the
//! blanks between. Objects merge key by key; everything else that a document says takes the
//! place of what the event has.

use smallvec::SmallVec;

use super::{
    document::{Document, Member, range},
    event::{Event, RawObject},
    json::quote,
    resource::{Metricset, Resource, Subject},
};

/// A member to be merged in.
#[derive(Clone, Copy)]
struct Entry<'a> {
    key: &'a str,
    value: Value<'a>,
}

#[derive(Clone, Copy)]
enum Value<'a> {
    /// JSON text.
    Raw(&'a str),
    /// An object of these.
    Object(&'a [Entry<'a>]),
}

impl<'a> Entry<'a> {
    fn of(document: &'a Document, member: &'a Member) -> Self {
        Self {
            key: &member.key,
            value: Value::Raw(document.value(member)),
        }
    }
}

type Entries<'a> = SmallVec<[Entry<'a>; 12]>;

/// The module fields of an event.
const MODULE: &str = "_module";
/// The fields of an event that belong to the root of the final document.
const META: &str = "meta";

/// Writes an event with what a document says of its subject.
pub(super) fn merge(
    event: &Event<'_>,
    metricset: Metricset,
    document: &Document,
    into: &mut String,
) {
    let parts = document.parts();
    let of_pods = metricset.resource() == Resource::Pod && metricset.subject() == Subject::Object;
    let is_module = |member: &&Member| !(of_pods && *member.key == *"pod");
    let module: Entries<'_> = parts
        .kubernetes
        .iter()
        .filter(is_module)
        .map(|member| Entry::of(document, member))
        .collect();
    let meta: Entries<'_> = parts
        .root
        .iter()
        .map(|member| Entry::of(document, member))
        .collect();
    let mut patch = match of_pods {
        true => parts
            .pod
            .iter()
            .map(|member| Entry::of(document, member))
            .collect(),
        false => Entries::new(),
    };
    patch.push(Entry {
        key: MODULE,
        value: Value::Object(&module),
    });
    patch.push(Entry {
        key: META,
        value: Value::Object(&meta),
    });
    into.reserve(event.text().len() + document.json().len() + 64);
    merge_object(&event.object, &patch, into);
}

fn merge_object(object: &RawObject<'_>, patch: &[Entry<'_>], into: &mut String) {
    let text = object.text;
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let mut merged: SmallVec<[bool; 16]> = SmallVec::from_elem(false, patch.len());
    let mut copied = 0;
    // Behind the brace, or behind the last value.
    let mut end_of_members = 1;
    for (key, value) in &object.members {
        let at = range(text, value);
        end_of_members = at.end;
        let said = patch
            .iter()
            .zip(&mut merged)
            .find(|(entry, _)| entry.key == key);
        let Some((entry, is_merged)) = said else {
            continue;
        };
        // A key that stands twice is merged each time: the last one is read.
        *is_merged = true;
        into.push_str(part(copied, at.start));
        merge_value(value, entry.value, into);
        copied = at.end;
    }
    into.push_str(part(copied, end_of_members));
    let mut comma = !object.members.is_empty();
    for (entry, _) in patch
        .iter()
        .zip(&merged)
        .filter(|(_, is_merged)| !**is_merged)
    {
        write_member(entry, &mut comma, into);
    }
    into.push_str(part(end_of_members, text.len()));
}

fn merge_value(event: &str, said: Value<'_>, into: &mut String) {
    let object = match event.starts_with('{') {
        true => RawObject::parse(event).ok(),
        false => None,
    };
    match (object, said) {
        (None, said) => write(said, into),
        (Some(object), Value::Object(entries)) => merge_object(&object, entries, into),
        (Some(object), Value::Raw(raw)) => match RawObject::parse(raw) {
            Ok(said) => {
                let entries = said.members.iter().map(|(key, value)| Entry {
                    key,
                    value: Value::Raw(value),
                });
                let entries: Entries<'_> = entries.collect();
                merge_object(&object, &entries, into);
            }
            // What is said is not an object.
            Err(_) => into.push_str(raw),
        },
    }
}

fn write(said: Value<'_>, into: &mut String) {
    match said {
        Value::Raw(raw) => into.push_str(raw),
        Value::Object(entries) => {
            into.push('{');
            let mut comma = false;
            for entry in entries {
                write_member(entry, &mut comma, into);
            }
            into.push('}');
        }
    }
}

fn write_member(entry: &Entry<'_>, comma: &mut bool, into: &mut String) {
    if std::mem::replace(comma, true) {
        into.push(',');
    }
    quote(entry.key, into);
    into.push(':');
    write(entry.value, into);
}
