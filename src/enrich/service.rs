//! What the surfaces ask: the objects of this moment, and the profiles that are in effect.
//!
//! Invariants: a question is answered by the profiles that were in effect when it began, however
//! often they are replaced meanwhile; and there is no moment without profiles. Nobody waits here
//! for longer than it takes to exchange a pointer.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::watch;

use super::{
    CacheUsage, Enricher, ProfileId,
    cluster::ClusterIdentity,
    profile::{Profile, ProfileSet},
    view::{ObjectView, Trouble},
};
use crate::model::Seed;

/// Where objects come from: the stores that watches fill.
///
/// It is asked from any number of tasks. None of its functions waits for a list, a network or
/// the relay's loop.
pub trait Objects: Send + Sync + 'static {
    /// The objects as they are at a moment.
    type View<'a>: ObjectView
    where
        Self: 'a;

    /// A view of this moment; it takes the time by itself. It may hold back whoever changes
    /// objects, so it is kept for a few answers, and never while something is awaited.
    fn view(&self) -> Self::View<'_>;

    /// The stores, one row for each.
    fn stores(&self) -> Vec<StoreStatus>;

    /// A number that moves after each batch of changes, of objects or of a store's state. For
    /// those who wait for an object.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// A store, as `/v1/status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// The key of its kind, such as `replicaset`.
    pub kind: String,
    /// What it covers: `cluster`, `node/NAME` or `namespace/NAME`.
    pub scope: String,
    /// How its watch is doing.
    pub state: StoreState,
    /// Objects that live.
    pub objects: u64,
    /// What they take of memory, in bytes, about.
    pub bytes: u64,
    /// Objects that were deleted within the grace time.
    pub buried: u64,
    /// How long ago the last event came, in milliseconds; `None` before the first.
    pub last_event_ms: Option<u64>,
    /// How long ago the API server was last heard of this kind, in milliseconds; `None` if never.
    pub last_contact_ms: Option<u64>,
    /// Who uses it: profiles, the matcher.
    pub users: Vec<String>,
}

/// How a watch is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It has not begun.
    Pending,
    /// Its first list is under way.
    Listing,
    /// Its objects are known.
    Ready,
    /// It fails; what it knew is kept.
    Degraded(Trouble),
    /// Nobody uses it any more.
    Stopped,
}

impl StoreState {
    /// The word for it in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Listing => "LISTING",
            Self::Ready => "READY",
            Self::Degraded(_) => "DEGRADED",
            Self::Stopped => "STOPPED",
        }
    }

    /// Why it fails.
    pub fn reason(self) -> Option<Trouble> {
        match self {
            Self::Degraded(trouble) => Some(trouble),
            Self::Pending | Self::Listing | Self::Ready | Self::Stopped => None,
        }
    }
}

/// Objects, with the profiles by which questions about them are answered.
pub struct Service<O> {
    objects: O,
    seed: Seed,
    cache_bytes: usize,
    current: RwLock<Arc<InEffect>>,
}

/// The profiles that are in effect.
#[derive(Debug)]
pub struct InEffect {
    /// Answers by them.
    pub enricher: Enricher,
    /// For questions that name none.
    pub default_profile: ProfileId,
    /// How often profiles have been loaded: 1 for the first ones.
    pub generation: u64,
    /// What the caches of the profiles before did.
    before: CacheUsage,
}

impl<O: Objects> Service<O> {
    /// Answers about `objects` by these profiles. Documents take at most about `cache_bytes` of
    /// memory.
    pub fn new(
        objects: O,
        profiles: ProfileSet,
        cluster: ClusterIdentity,
        seed: Seed,
        cache_bytes: usize,
    ) -> Self {
        let first = InEffect::new(profiles, cluster, seed, cache_bytes);
        Self {
            objects,
            seed,
            cache_bytes,
            current: RwLock::new(Arc::new(first)),
        }
    }

    /// The objects.
    pub fn objects(&self) -> &O {
        &self.objects
    }

    /// The profiles that are in effect now. Whoever holds them goes on with them.
    pub fn in_effect(&self) -> Arc<InEffect> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// From now on questions are answered by these profiles.
    pub fn replace(&self, profiles: ProfileSet, cluster: ClusterIdentity) {
        let mut next = InEffect::new(profiles, cluster, self.seed, self.cache_bytes);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let before = current.cache_usage();
        next.generation = current.generation + 1;
        next.before = CacheUsage {
            entries: 0,
            bytes: 0,
            ..before
        };
        let former = std::mem::replace(&mut *current, Arc::new(next));
        drop(current);
        // Outside of the lock: its cache may be large.
        drop(former);
    }
}

impl InEffect {
    fn new(profiles: ProfileSet, cluster: ClusterIdentity, seed: Seed, cache_bytes: usize) -> Self {
        let ProfileSet {
            address: _,
            default_profile,
            profiles,
        } = profiles;
        let enricher = Enricher::new(profiles, cluster, seed, cache_bytes);
        let default_profile = enricher.find_profile(&default_profile);
        Self {
            default_profile: default_profile.unwrap_or_default(),
            enricher,
            generation: 1,
            before: CacheUsage::default(),
        }
    }

    /// The profile of this name; the default one for no name.
    pub fn find(&self, name: &str) -> Option<ProfileId> {
        match name {
            "" => Some(self.default_profile),
            name => self.enricher.find_profile(name),
        }
    }

    /// All profiles with their names.
    pub fn profiles(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.enricher.profiles()
    }

    /// How full the cache is, and how well it has done since the process began.
    pub fn cache_usage(&self) -> CacheUsage {
        let usage = self.enricher.cache_usage();
        CacheUsage {
            hits: self.before.hits + usage.hits,
            misses: self.before.misses + usage.misses,
            ..usage
        }
    }
}

impl<O> fmt::Debug for Service<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::enrich::{
        Reference, Wish,
        answer::State,
        index::{Index, IndexView, Retention},
        object::{Details, Object, Pairs, Snapshot, Timestamp},
        profile::Setting,
        resource::Resource,
        view::Sync,
    };
    use crate::model::Uid;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    /// One node that never changes.
    struct OneNode(Index, watch::Sender<u64>);

    impl Objects for OneNode {
        type View<'a> = IndexView<'a>;

        fn view(&self) -> IndexView<'_> {
            self.0.at(NOW)
        }

        fn stores(&self) -> Vec<StoreStatus> {
            Vec::new()
        }

        fn changes(&self) -> watch::Receiver<u64> {
            self.1.subscribe()
        }
    }

    fn one_node() -> OneNode {
        let retention = Retention {
            grace: std::time::Duration::ZERO,
            capacity: 0,
        };
        let mut index = Index::new(Seed::FIXED, retention);
        index.set_sync(Resource::Node, Sync::LISTED);
        let node = Snapshot {
            resource: Resource::Node,
            uid: Uid::new("u"),
            name: "n".into(),
            namespace: "".into(),
            resource_version: "1".into(),
            created: None,
            labels: Pairs::default(),
            annotations: Pairs::default(),
            controllers: Default::default(),
            details: Details::None,
        };
        index.apply(Object::new(node), NOW);
        OneNode(index, watch::channel(0).0)
    }

    fn set(default: &str) -> ProfileSet {
        let profiles = Setting::Map(vec![(default.to_owned(), Setting::Null)]);
        let block = Setting::Map(vec![
            (
                "default_profile".to_owned(),
                Setting::Text(default.to_owned()),
            ),
            ("profiles".to_owned(), profiles),
        ]);
        ProfileSet::read(&block, None, &|_| None).unwrap()
    }

    fn name_of(profiles: &InEffect, objects: &OneNode) -> String {
        let wish = Wish::of(profiles.find("").unwrap());
        let answer = profiles
            .enricher
            .lookup(&objects.view(), Reference::Uid("u"), wish);
        assert_eq!(answer.state, State::Live);
        answer.document.unwrap().json().to_owned()
    }

    #[test]
    fn a_question_keeps_the_profiles_that_it_began_with_and_the_next_one_has_the_new_ones() {
        let identity = |name: &str| ClusterIdentity {
            name: name.to_owned(),
            url: String::new(),
        };
        let service = Service::new(one_node(), set("a"), identity("old"), Seed::FIXED, 1 << 20);
        let before = service.in_effect();
        let old = name_of(&before, service.objects());
        service.replace(set("b"), identity("new"));
        let after = service.in_effect();
        let new = name_of(&after, service.objects());
        assert_eq!(name_of(&before, service.objects()), old);
        assert!(
            old.contains("\"old\"") && new.contains("\"new\""),
            "{old} {new}"
        );
        assert_eq!((before.find("b"), after.find("a")), (None, None));
        assert_eq!((before.generation, after.generation), (1, 2));
        let usage = after.cache_usage();
        assert_eq!((usage.hits, usage.misses), (0, 2), "counters only grow");
    }

    #[test]
    fn there_is_no_moment_without_profiles_while_they_are_replaced() {
        let service = Service::new(
            one_node(),
            set("a"),
            ClusterIdentity::default(),
            Seed::FIXED,
            1 << 20,
        );
        let seen = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let profiles = service.in_effect();
                        name_of(&profiles, service.objects());
                        seen.lock().unwrap().push(profiles.generation);
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..50 {
                    service.replace(set("a"), ClusterIdentity::default());
                }
            });
        });
        assert_eq!(seen.lock().unwrap().len(), 600);
        assert_eq!(service.in_effect().generation, 51);
    }
}
