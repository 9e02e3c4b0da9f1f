//! Divergences for people.

use std::{fmt::Write, time::Duration};

use hashbrown::HashSet;

use super::{Announced, Entry, Field, normalize};
use crate::{matcher::PodStatus, migrate::Row, model::Seed};

/// A divergence of the pod of `entry`.
pub(super) fn row(entry: &Entry, field: Field, stood: Duration, counts: bool, seed: Seed) -> Row {
    let native = &entry.announced;
    let (legacy, native) = match (field, entry.legacy()) {
        (Field::Presence, _) | (_, None) => (
            standing(entry.state.legacy).to_owned(),
            standing(entry.state.native).to_owned(),
        ),
        (_, Some(legacy)) => (
            value(field, legacy, native, seed),
            value(field, native, legacy, seed),
        ),
    };
    Row {
        uid: entry.announced.pod.uid.to_string(),
        namespace: cut(entry.announced.pod.namespace.to_string()),
        name: cut(entry.announced.pod.name.to_string()),
        field: field.to_string(),
        legacy: cut(legacy),
        native: cut(native),
        seconds: stood.as_secs_f64(),
        counts,
    }
}

fn standing(standing: PodStatus) -> &'static str {
    match standing {
        PodStatus::Unknown => "not known",
        PodStatus::NoAddress => "no address",
        PodStatus::Waiting => "waits for its owner",
        PodStatus::Live => "live",
    }
}

/// The value of one side, next to the other side's.
fn value(field: Field, this: &Announced, other: &Announced, seed: Seed) -> String {
    let Announced { pod, owner, .. } = this;
    match (field, owner) {
        (Field::Presence, _) => String::new(),
        (Field::Owner, Some(owner)) => format!("{} ({})", owner.name, owner.uid),
        (Field::Kind, Some(owner)) => owner.kind.as_str().to_owned(),
        (Field::Owner | Field::Kind, None) => "none".to_owned(),
        (Field::Address, _) => pod.address.map_or_else(String::new, |ip| ip.to_string()),
        (Field::Name, _) => pod.name.to_string(),
        (Field::Namespace, _) => pod.namespace.to_string(),
        (Field::HostNetwork, _) => pod.host_network.to_string(),
        (Field::Version, _) => pod.version.to_string(),
        (Field::Containers, _) => containers(this, other, seed),
    }
}

/// The containers that the other side does not have.
fn containers(this: &Announced, other: &Announced, seed: Seed) -> String {
    let mut others = HashSet::with_hasher(seed.state());
    others.extend(
        normalize::announced(&other.pod, seed)
            .map(|container| (&container.id, &container.name, &container.image)),
    );
    let mut text = String::new();
    let mut common = 0;
    for container in normalize::announced(&this.pod, seed) {
        if others.contains(&(&container.id, &container.name, &container.image)) {
            common += 1;
        } else if text.len() <= LONGEST {
            let separator = if text.is_empty() { "" } else { ", " };
            // Writing to a text does not fail.
            let _ = write!(
                text,
                "{separator}{} {} {}",
                container.name, container.image, container.id
            );
        }
    }
    if text.is_empty() {
        text = format!("no more than the {common} of both");
    }
    text
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

/// Bytes of a value that are shown.
const LONGEST: usize = 200;
