//! Answers lookups and enriches events, by profiles.

use std::net::IpAddr;

use super::{
    answer::{Answer, Limits, State},
    cache::{Cache, CacheUsage, Key},
    cluster::ClusterIdentity,
    document::{Document, Form, Style},
    event::{Event, EventId},
    join::Joined,
    merge,
    object::{Amounts, Container, Timestamp},
    profile::{Profile, Schema, Semconv},
    resource::{Metricset, Resource},
    view::{Found, ObjectView},
};
use crate::model::{Seed, Uid};

/// Profiles, with the documents that were written for them. It is asked from any number of
/// tasks. Other profiles, or another identity of the cluster, are another enricher.
#[derive(Debug)]
pub struct Enricher {
    profiles: Box<[(String, Profile)]>,
    cluster: ClusterIdentity,
    cache: Cache,
}

/// A profile of an [`Enricher`]: its place, the first one by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProfileId(u16);

/// Whom a lookup is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// An object by its name.
    Named {
        /// Its kind.
        resource: Resource,
        /// Its namespace; not looked at where the kind has none.
        namespace: &'a str,
        /// Its name.
        name: &'a str,
        /// A container of the pod.
        container: Option<&'a str>,
        /// If it is given and not empty, it decides, and not the name.
        uid: Option<&'a str>,
    },
    /// An object of any kind.
    Uid(&'a str),
    /// A pod.
    PodUid(&'a str),
    /// A container, by its id with or without the runtime in front.
    ContainerId(&'a str),
    /// The pod that has an address, or had it at a time.
    PodAddress {
        /// The address.
        address: IpAddr,
        /// When.
        at: Option<Timestamp>,
    },
}

/// How a lookup wants to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The profile.
    pub profile: ProfileId,
    /// Other names than the profile's.
    pub schema: Option<Schema>,
    /// Other conventions than the profile's.
    pub semconv: Option<Semconv>,
    /// With CPU and memory.
    pub with_limits: bool,
}

/// The conventions whose names are the stable ones.
const SCHEMA_V1: &str = "https://opentelemetry.io/schemas/1.42.0";
/// The last conventions that have `container.image.tag`.
const SCHEMA_V0: &str = "https://opentelemetry.io/schemas/1.21.0";

impl Wish {
    /// As the profile says, without limits.
    pub fn of(profile: ProfileId) -> Self {
        Self {
            profile,
            schema: None,
            semconv: None,
            with_limits: false,
        }
    }
}

impl Enricher {
    /// Makes an enricher of named profiles; at most 65,535 of them count. Its documents take at
    /// most about `cache_bytes` of memory.
    pub fn new(
        profiles: impl IntoIterator<Item = (String, Profile)>,
        cluster: ClusterIdentity,
        seed: Seed,
        cache_bytes: usize,
    ) -> Self {
        let profiles = profiles.into_iter().take(usize::from(u16::MAX));
        Self {
            profiles: profiles.collect(),
            cluster,
            cache: Cache::new(seed, cache_bytes),
        }
    }

    /// The profile of this name.
    pub fn find_profile(&self, name: &str) -> Option<ProfileId> {
        let at = self.profiles.iter().position(|(known, _)| known == name)?;
        u16::try_from(at).ok().map(ProfileId)
    }

    /// All profiles with their names.
    pub fn profiles(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.profiles
            .iter()
            .map(|(name, profile)| (name.as_str(), profile))
    }

    /// How full the cache is.
    pub fn cache_usage(&self) -> CacheUsage {
        self.cache.usage()
    }

    /// What is said of an object.
    pub fn lookup(&self, view: &impl ObjectView, about: Reference<'_>, wish: Wish) -> Answer {
        let Some(asked) = self.asked(wish) else {
            return Answer::invalid("there is no such profile");
        };
        match about {
            Reference::Named {
                resource,
                namespace,
                name,
                container,
                uid,
            } => {
                if !asked.style.profile.holds(resource) {
                    return Answer::of(State::Disabled);
                }
                let namespace = if resource.namespaced() { namespace } else { "" };
                let found = match uid.filter(|uid| !uid.is_empty()) {
                    Some(uid) => view.by_uid(resource, &Uid::new(uid)),
                    None => by_name(view, resource, namespace, name),
                };
                match (found, container) {
                    (None, _) => absent(view, resource),
                    (Some(found), None) => asked.object(view, &found),
                    (Some(_), Some(_)) if resource != Resource::Pod => {
                        Answer::invalid(format!("a {resource} has no containers"))
                    }
                    (Some(found), Some(name)) => asked.container(view, &found, name, true),
                }
            }
            Reference::Uid(uid) => asked.by_uid(view, &Uid::new(uid), &Resource::ALL),
            Reference::PodUid(uid) => asked.by_uid(view, &Uid::new(uid), &[Resource::Pod]),
            Reference::ContainerId(_) | Reference::PodAddress { .. }
                if !asked.style.profile.holds(Resource::Pod) =>
            {
                Answer::of(State::Disabled)
            }
            Reference::ContainerId(id) => match view.by_container(id).as_slice() {
                [] => absent(view, Resource::Pod),
                [only] => asked.container(view, &only.pod, &only.container, true),
                several => ambiguous(view, several.iter().map(|found| &found.pod)),
            },
            Reference::PodAddress { address, at } => {
                match view.by_address(address, at).as_slice() {
                    [] => absent(view, Resource::Pod),
                    [only] => asked.object(view, only),
                    several => ambiguous(view, several.iter()),
                }
            }
        }
    }

    /// Appends an event, with what is said of its subject. An event that stays as it is, is
    /// appended without the blanks around it; nothing is appended for what is not an event.
    pub fn enrich(
        &self,
        view: &impl ObjectView,
        metricset: Metricset,
        event: &[u8],
        profile: ProfileId,
        into: &mut String,
    ) -> Answer {
        let event = match Event::parse(event) {
            Ok(event) => event,
            Err(error) => return Answer::invalid(error),
        };
        let answer = match self.asked(Wish::of(profile)) {
            Some(asked) => asked.subject(view, metricset, &event.id(metricset)),
            None => Answer::invalid("there is no such profile"),
        };
        match &answer.document {
            Some(document) => merge::merge(&event, metricset, document, into),
            None => into.push_str(event.text()),
        }
        answer
    }

    fn asked(&self, wish: Wish) -> Option<Asked<'_>> {
        let (_, profile) = self.profiles.get(usize::from(wish.profile.0))?;
        Some(Asked {
            cache: &self.cache,
            wish,
            style: Style {
                profile,
                cluster: &self.cluster,
                schema: wish.schema.unwrap_or(profile.schema),
                semconv: wish.semconv.unwrap_or(profile.semconv),
            },
        })
    }
}

/// A question that is being answered.
struct Asked<'a> {
    cache: &'a Cache,
    wish: Wish,
    style: Style<'a>,
}

impl Asked<'_> {
    /// Of the subject of an event.
    fn subject(&self, view: &impl ObjectView, metricset: Metricset, id: &EventId<'_>) -> Answer {
        if !self.style.profile.enriches(metricset) {
            return Answer::of(State::Disabled);
        }
        let resource = metricset.resource();
        let Some(found) = by_name(view, resource, &id.namespace, &id.name) else {
            return absent(view, resource);
        };
        match &id.container {
            Some(name) => self.container(view, &found, name, false),
            None if metricset == Metricset::StateNamespace => {
                self.answer(view, &found, Form::StateNamespace)
            }
            None => self.answer(view, &found, Form::Object),
        }
    }

    fn by_uid(&self, view: &impl ObjectView, uid: &Uid, among: &[Resource]) -> Answer {
        let held = among
            .iter()
            .filter(|resource| self.style.profile.holds(**resource));
        let mut absent_of = None;
        for resource in held {
            if let Some(found) = view.by_uid(*resource, uid) {
                return self.object(view, &found);
            }
            // It may be of any kind that is not known yet.
            if absent_of.is_none() || !view.sync(*resource).listed {
                absent_of = Some(*resource);
            }
        }
        absent_of.map_or(Answer::of(State::Disabled), |resource| {
            absent(view, resource)
        })
    }

    fn object(&self, view: &impl ObjectView, found: &Found) -> Answer {
        self.answer(view, found, Form::Object)
    }

    fn container(&self, view: &impl ObjectView, found: &Found, name: &str, named: bool) -> Answer {
        let details = found.object.pod();
        match details.and_then(|details| details.container(name)) {
            Some(container) => self.answer(view, found, Form::Container { container, named }),
            None => absent(view, Resource::Pod),
        }
    }

    fn answer(&self, view: &impl ObjectView, found: &Found, form: Form<'_>) -> Answer {
        let (style, object) = (self.style, &found.object);
        let joined = Joined::gather(view, style.profile, style.schema, found);
        let partial = joined.missing();
        let limits = (self.wish.with_limits && found.deleted_at.is_none())
            .then(|| limits(view, found, form));
        let (form_number, container) = match form {
            Form::Object => (0, None),
            Form::StateNamespace => (1, None),
            Form::Container { container, named } => (2 + u32::from(named), Some(&container.name)),
        };
        let names = match (style.schema, style.semconv) {
            (Schema::Ecs, _) => 0,
            (Schema::Otel, Semconv::V1) => 1,
            (Schema::Otel, Semconv::V0) => 2,
            (Schema::Otel, Semconv::Both) => 3,
        };
        let key = Key {
            variant: u32::from(self.wish.profile.0) << 4 | names << 2 | form_number,
            object,
            container,
        };
        let write = |joined: &Joined| Document::render(style, object, form, joined);
        let document = self.cache.get(key, joined, write);
        Answer {
            state: match found.deleted_at {
                None => State::Live,
                Some(_) => State::Deleted,
            },
            object: Some(object.clone()),
            document: Some(document),
            partial,
            deleted_at: found.deleted_at,
            age_ms: Some(view.sync(object.resource).age_ms),
            schema_url: match names {
                0 => None,
                2 => Some(SCHEMA_V0),
                _ => Some(SCHEMA_V1),
            },
            limits: limits.filter(|_| object.resource.has_limits()),
            ..Answer::of(State::Live)
        }
    }
}

/// The live object of a name, or the one that was deleted last.
fn by_name(
    view: &impl ObjectView,
    resource: Resource,
    namespace: &str,
    name: &str,
) -> Option<Found> {
    let live = view.live(resource, namespace, name).map(Found::live);
    live.or_else(|| view.buried(resource, namespace, name))
}

fn absent(view: &impl ObjectView, resource: Resource) -> Answer {
    let sync = view.sync(resource);
    let state = match sync.listed {
        true => State::Missing,
        false => State::Syncing,
    };
    Answer {
        reason: sync.trouble.filter(|_| !sync.listed),
        age_ms: sync.listed.then_some(sync.age_ms),
        ..Answer::of(state)
    }
}

fn ambiguous<'a>(view: &impl ObjectView, candidates: impl Iterator<Item = &'a Found>) -> Answer {
    Answer {
        candidates: candidates.map(|found| found.object.clone()).collect(),
        age_ms: Some(view.sync(Resource::Pod).age_ms),
        ..Answer::of(State::Ambiguous)
    }
}

fn limits(view: &impl ObjectView, found: &Found, form: Form<'_>) -> Limits {
    if let Some(node) = found.object.node() {
        return Limits {
            allocatable: node.allocatable,
            ..Limits::default()
        };
    }
    let Some(pod) = found.object.pod() else {
        return Limits::default();
    };
    let node = view.live(Resource::Node, "", &pod.node);
    let node = node.as_ref().and_then(|node| node.node());
    Limits {
        limits: match form {
            Form::Container { container, .. } => container.limits,
            Form::Object | Form::StateNamespace => sum(&pod.containers),
        },
        allocatable: node.map(|node| node.allocatable).unwrap_or_default(),
    }
}

/// What the regular containers of a pod may use together; nothing unless each has a limit.
fn sum(containers: &[Container]) -> Amounts {
    let regular = || {
        let is_regular = |container: &&Container| container.role == Default::default();
        containers
            .iter()
            .filter(is_regular)
            .map(|container| container.limits)
    };
    let total = |amounts: Option<f64>| amounts.filter(|_| regular().next().is_some());
    Amounts {
        cores: total(regular().map(|limits| limits.cores).sum()),
        bytes: total(regular().map(|limits| limits.bytes).sum()),
    }
}
