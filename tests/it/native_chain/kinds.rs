//! Kinds that the settings add to the table, from the API server to who reads them.

use std::{collections::BTreeSet, sync::Arc};

use k8s_relay::{
    model::{Kind, KindRow, KindTable, Uid},
    sim::kube::{Meta, Object, Options, Owner, Pod, Raw, SimApi, Sort},
    source::{
        FeedEvent, WatchMessage,
        native::{self, Access, Counters, Limits, Unmatched},
    },
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::world::{World, kubeconfig, reducer};
use crate::support::must;

/// With Rollouts, which are in namespaces, and Zones, which are not.
fn table() -> (KindTable, Kind, Kind) {
    let zones = KindRow {
        namespaced: false,
        ..KindRow::metadata_only("example.com/v1", "Zone", "zones")
    };
    let rollouts = KindRow::metadata_only("argoproj.io/v1alpha1", "Rollout", "rollouts");
    let table = KindTable::with([rollouts, zones]).unwrap();
    let rollout = table.find("argoproj.io", "rollouts").unwrap();
    let zone = table.find("example.com", "zones").unwrap();
    (table, rollout, zone)
}

async fn api(kinds: &KindTable) -> SimApi {
    let options = Options {
        kinds: kinds.clone(),
        ..Options::small()
    };
    SimApi::start(options).await.unwrap()
}

fn rollout(kind: Kind, name: &str) -> Object {
    let above = Owner::custom("example.com/v1", "Application", "shop", "uid-shop");
    Object::Plain(
        kind,
        Meta::new("shop", name, &format!("uid-{name}")).of(above),
    )
}

/// The watches of a table, without a relay: what they see, and what of it the loop would hear.
struct Watches {
    unmatched: Arc<Unmatched>,
    heard: mpsc::Receiver<WatchMessage>,
    stop: CancellationToken,
    task: AbortOnDropHandle<Result<(), native::NativeError>>,
    _dir: tempfile::TempDir,
}

impl Watches {
    async fn start(api: &SimApi, kinds: &KindTable) -> Self {
        let options = Self::options(kinds);
        let unmatched = Arc::new(Unmatched::of(&options));
        Self::again(api, options, unmatched).await
    }

    fn options(kinds: &KindTable) -> native::Options {
        native::Options {
            kinds: kinds.clone(),
            timeouts: native::Timeouts {
                first_retry: std::time::Duration::from_millis(10),
                slowest_retry: std::time::Duration::from_millis(50),
                ..native::Timeouts::default()
            },
            ..native::Options::default()
        }
    }

    /// With what others have left.
    async fn again(api: &SimApi, options: native::Options, unmatched: Arc<Unmatched>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let access = Access {
            kubeconfig: Some(kubeconfig(&dir, &api.kubeconfig())),
            context: None,
        };
        let server = native::connect(&access, Limits::default()).await.unwrap();
        let counters = Arc::new(Counters::new(&options.kinds));
        let (inputs, heard) = mpsc::channel(1024);
        let stop = CancellationToken::new();
        let watch = native::watch(
            server,
            options,
            inputs,
            unmatched.clone(),
            stop.clone(),
            counters,
        );
        Self {
            unmatched,
            heard,
            stop,
            task: AbortOnDropHandle::new(tokio::spawn(watch)),
            _dir: dir,
        }
    }

    /// The uids of the objects in the store of this kind.
    fn uids(&self, kind: Kind) -> BTreeSet<String> {
        let objects = self.unmatched.objects();
        let all = objects[kind].slice(k8s_relay::model::Slot::FIRST).objects;
        all.iter().map(|object| object.uid.to_string()).collect()
    }

    /// Waits until the store of this kind has these objects and no others.
    async fn has(&self, kind: Kind, uids: &[&str]) {
        let wanted: BTreeSet<_> = uids.iter().map(|uid| (*uid).to_owned()).collect();
        let has = async {
            while self.uids(kind) != wanted {
                tokio::task::yield_now().await;
            }
        };
        must(&format!("{kind:?} {wanted:?}"), has).await;
    }

    /// Waits until the watch of this kind stands so.
    async fn stands(&self, kind: Kind, name: &str) {
        let stands = || {
            let states = self.unmatched.states();
            states
                .iter()
                .any(|(of, _, state)| *of == kind && state.name() == name)
        };
        let waits = async {
            while !stands() {
                tokio::task::yield_now().await;
            }
        };
        must(&format!("{kind:?} is {name}"), waits).await;
    }

    /// Ends the watches; the kinds of all that the loop would have heard.
    async fn end(mut self) -> BTreeSet<Kind> {
        self.stop.cancel();
        let mut kinds = BTreeSet::new();
        while let Some(input) = self.heard.recv().await {
            match input {
                WatchMessage::Batch { events, .. } => {
                    kinds.extend(events.iter().map(|event| match event {
                        FeedEvent::Pod(_) => Kind::POD,
                        FeedEvent::ReplicaSet(_) => Kind::REPLICA_SET,
                        FeedEvent::Job(_) => Kind::JOB,
                        FeedEvent::Seen(kind, _) => *kind,
                        FeedEvent::Listed => panic!("the watches do not say so"),
                    }))
                }
                WatchMessage::Health { kind, .. } => kinds.extend([kind]),
            }
        }
        must("the watches end", self.task).await.unwrap().unwrap();
        kinds
    }
}

#[tokio::test]
async fn what_a_further_kind_sees_is_in_its_store_and_never_enters_the_loop() {
    let (kinds, rollouts, zones) = table();
    let api = api(&kinds).await;
    let unusable = |uid: &str| {
        Object::Raw(Raw {
            kind: rollouts,
            namespace: "shop".into(),
            name: "odd".to_owned(),
            json: json!({"metadata": {"name": "odd", "uid": uid, "ownerReferences": 7}}),
        })
    };
    api.apply(rollout(rollouts, "web"));
    api.apply(rollout(rollouts, "odd"));
    api.apply(Object::Plain(zones, Meta::new("", "north", "uid-north")));
    let watches = Watches::start(&api, &kinds).await;
    watches.has(rollouts, &["uid-odd", "uid-web"]).await;
    watches.has(zones, &["uid-north"]).await;
    let shelf = watches.unmatched.objects();
    let web = shelf[rollouts].get(&Uid::new("uid-web")).unwrap();
    assert_eq!(&*web.controller.as_ref().unwrap().name, "shop");
    api.apply(rollout(rollouts, "till"));
    api.delete(rollouts, "shop", "web").unwrap();
    watches.has(rollouts, &["uid-odd", "uid-till"]).await;
    watches.stands(rollouts, "healthy").await;

    // What is refused now stays, and what is missed meanwhile comes with the list. A form that
    // cannot be used does not cost the object.
    api.deny(rollouts);
    api.apply(unusable("uid-odd"));
    api.delete(rollouts, "shop", "till").unwrap();
    api.compact();
    api.reset_connections();
    watches.stands(rollouts, "refused").await;
    watches.stands(zones, "healthy").await;
    api.allow(rollouts);
    api.apply(rollout(rollouts, "new"));
    watches.has(rollouts, &["uid-new", "uid-odd"]).await;
    assert_eq!(watches.end().await, BTreeSet::from(Kind::MATCHED));
}

#[tokio::test]
async fn watches_that_start_again_list_into_what_is_known() {
    let (kinds, rollouts, _) = table();
    let api = api(&kinds).await;
    api.apply(rollout(rollouts, "web"));
    let mut watches = Watches::start(&api, &kinds).await;
    watches.has(rollouts, &["uid-web"]).await;
    watches.stop.cancel();
    let ended = must("the watches end", &mut watches.task).await;
    ended.unwrap().unwrap();
    api.apply(rollout(rollouts, "till"));
    api.delete(rollouts, "shop", "web").unwrap();
    assert_eq!(
        watches.uids(rollouts),
        BTreeSet::from(["uid-web".to_owned()])
    );
    let options = Watches::options(&kinds);
    let again = Watches::again(&api, options, watches.unmatched).await;
    let till = BTreeSet::from(["uid-till".to_owned()]);
    let listed = async {
        while again.uids(rollouts) != till {
            assert_ne!(again.uids(rollouts), BTreeSet::new(), "a gap");
            tokio::task::yield_now().await;
        }
    };
    must("the list takes effect in one step", listed).await;
    again.end().await;
}

#[tokio::test]
async fn a_relay_serves_a_further_kind_alongside_the_three_that_it_matches() {
    let (kinds, rollouts, zones) = table();
    let api = api(&kinds).await;
    api.apply(Pod::new("shop", "web-1", "uid-1").address("10.0.0.1"));
    api.apply(Object::Plain(zones, Meta::new("", "north", "uid-north")));
    api.apply(rollout(rollouts, "web"));
    api.apply(Object::Plain(
        rollouts,
        Meta::new("elsewhere", "other", "uid-other"),
    ));
    let namespaces = vec!["shop".to_owned(), "till".to_owned()];
    let world = World::between(api, reducer().await, |config| {
        config.native.kinds = kinds.clone();
        config.native.namespaces = namespaces;
    })
    .await;
    world.knows(&["uid-1"]).await;
    let known = |kind, uid: &str| world.objects.object(kind, &Uid::new(uid));
    world
        .held(|_| known(rollouts, "uid-web").is_some() && known(zones, "uid-north").is_some())
        .await;
    assert!(known(rollouts, "uid-other").is_none(), "not asked for");
    // Three matched kinds and Rollouts in two namespaces, and Zones everywhere.
    world.watching(9).await;
    let (asked, accepted) = world.api.requests(|book| {
        let of = book.of(zones, Sort::WatchList);
        let asked: Vec<_> = of
            .map(|one| (one.path.clone(), one.accept.clone()))
            .collect();
        asked.into_iter().unzip::<_, _, Vec<_>, Vec<_>>()
    });
    assert_eq!(asked, ["/apis/example.com/v1/zones"]);
    assert!(
        accepted[0].contains("as=PartialObjectMetadata;"),
        "{accepted:?}"
    );
    world.end().await;
}

#[tokio::test]
async fn a_further_kind_that_is_refused_degrades_nothing_but_itself() {
    let (kinds, rollouts, zones) = table();
    let api = api(&kinds).await;
    api.deny(rollouts);
    api.apply(Object::Plain(zones, Meta::new("", "north", "uid-north")));
    let watches = Watches::start(&api, &kinds).await;
    watches.stands(rollouts, "not allowed").await;
    watches.has(zones, &["uid-north"]).await;
    api.allow(rollouts);
    api.apply(rollout(rollouts, "web"));
    watches.has(rollouts, &["uid-web"]).await;
    watches.stands(rollouts, "healthy").await;
    assert_eq!(watches.end().await, BTreeSet::from(Kind::MATCHED));
}

#[tokio::test]
async fn a_pod_is_announced_while_a_further_kind_does_not_answer() {
    let (kinds, rollouts, _) = table();
    let api = api(&kinds).await;
    api.fault(
        k8s_relay::sim::kube::When::watch_list()
            .or(Sort::List)
            .of(rollouts),
        k8s_relay::sim::kube::Fault::Silence,
    );
    api.apply(Pod::new("shop", "web-1", "uid-1").address("10.0.0.1"));
    let world = World::between(api, reducer().await, |config| {
        config.native.kinds = kinds.clone();
    })
    .await;
    world.knows(&["uid-1"]).await;
    world.end().await;
}
