//! What holds of a store after every run of events, and what its readers see.

use std::collections::{BTreeMap, BTreeSet};

use k8s_relay::{
    announce::Watermarks,
    feeds::{Input, Settings},
    matcher::OwnerSort,
    model::{Kind, PodExtra, PodMeta, Scope, Seed, Slot, Stored as _, Uid},
    stores::{Applied, SLICE, Store, StoreWriter},
};
use kube::runtime::watcher::Event;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::support::{
    core::{Core, legacy, object, pod},
    lists::{Fact, Lists},
    native::{Native, list_of},
};
proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_store_knows_what_the_events_say_and_says_what_they_change(
        scopes in 1..4_u16,
        words in vec((0..3_u16, any_word()), 0..60),
    ) {
        let mut writer = StoreWriter::<PodMeta>::new(scopes, Seed::FIXED);
        let mut model = Lists::new();
        let mut listed = BTreeSet::new();
        for (scope, word) in words {
            let scope = Scope(scope % scopes);
            let event = match word {
                Word::Event(event) => event,
                Word::Denied => {
                    writer.denied(scope);
                    listed.insert(scope);
                    prop_assert_eq!(writer.is_listed(), listed.len() == usize::from(scopes));
                    continue;
                }
                Word::Seen(uid) => {
                    writer.seen(scope, &Uid::new(uid));
                    model.see(scope, &Uid::new(uid));
                    prop_assert_eq!(held(writer.store()), model.known.clone());
                    continue;
                }
            };
            if matches!(event, Event::InitDone) {
                listed.insert(scope);
            }
            let before = held(writer.store());
            let applied = match &event {
                Event::Apply(pod) => Some(pod.clone()),
                _ => None,
            };
            let wanted = model.take(scope, event.clone());
            let facts = facts(writer.take(scope, event));
            prop_assert_eq!(in_order(facts), in_order(wanted));
            let after = held(writer.store());
            prop_assert_eq!(&after, &model.known);
            for (uid, pod) in &before {
                let kept = after.get(uid).filter(|now| now.is_interchangeable(pod));
                prop_assert!(kept.is_none_or(|now| now.ptr_eq(pod)), "equal, so the handle stays");
            }
            if let Some(pod) = applied {
                prop_assert!(after[&pod.uid].is_interchangeable(&pod), "with its extra");
            }
            prop_assert_eq!(writer.is_listed(), listed.len() == usize::from(scopes));
        }
        for uid in model.known.into_values() {
            writer.take(Scope(0), Event::Delete(uid));
        }
        prop_assert_eq!(writer.store().capacity(), 0);
    }
}

#[test]
fn a_list_of_nothing_empties_the_store_and_gives_its_room_back() {
    let mut writer = StoreWriter::new(1, Seed::FIXED);
    for event in list_of((0..10_000).map(numbered)) {
        writer.take(Scope(0), event);
    }
    assert_eq!(writer.store().len(), 10_000);
    for event in list_of([]) {
        writer.take(Scope(0), event);
    }
    assert_eq!((writer.store().len(), writer.store().capacity()), (0, 0));
}

#[test]
fn an_object_that_a_list_names_but_in_no_usable_form_stays_as_it_was() {
    let mut writer = StoreWriter::new(1, Seed::FIXED);
    for event in list_of([PodMeta::from(pod("a")), pod("b").into()]) {
        writer.take(Scope(0), event);
    }
    let list = |writer: &mut StoreWriter<PodMeta>, seen: &[&str]| {
        writer.take(Scope(0), Event::Init);
        for uid in seen {
            writer.seen(Scope(0), &Uid::new(uid));
        }
        writer.take(Scope(0), Event::InitDone)
    };
    let Applied::Listed(difference) = list(&mut writer, &["a", "stranger"]) else {
        panic!("a list has ended");
    };
    assert!(difference.changed.is_empty());
    assert_eq!(difference.gone, [PodMeta::from(pod("b"))]);
    writer.seen(Scope(0), &Uid::new("a"));
    list(&mut writer, &[]);
    assert!(
        writer.store().is_empty(),
        "before the list is not within it"
    );
}

#[test]
fn an_object_that_another_scope_reports_outlives_the_list_that_lacks_it() {
    let (old, new) = (Scope(0), Scope(1));
    let mut writer = StoreWriter::new(2, Seed::FIXED);
    for event in list_of([PodMeta::from(pod("moved")), pod("stays").into()]) {
        writer.take(old, event);
    }
    for event in list_of([]) {
        writer.take(new, event);
    }
    for event in list_of([PodMeta::from(pod("moved").version("2"))]).take(2) {
        writer.take(new, event);
    }
    for event in list_of([PodMeta::from(pod("stays"))]) {
        writer.take(old, event);
    }
    assert_eq!(writer.store().len(), 2);
    writer.take(new, Event::InitDone);
    let moved = writer.store().get(&Uid::new("moved")).unwrap();
    assert_eq!(&*moved.version, "2");
}

// --- readers ---

#[test]
fn readers_see_each_event_at_once_and_a_re_list_at_its_end() {
    let mut native = Native::new(Watermarks::default());
    let reader = native.feeds.reader();
    let seen = |uid: &str| {
        reader
            .pod(&Uid::new(uid))
            .map(|pod| pod.version.to_string())
    };
    native.pod_event(Event::Init);
    native.pod_event(Event::InitApply(pod("a").into()));
    assert_eq!(seen("a").as_deref(), Some("1"));
    native.pod_event(Event::InitDone);
    native.pod_event(Event::Init);
    native.pod_event(Event::InitApply(pod("b").into()));
    assert_eq!((seen("a").is_some(), seen("b").is_some()), (true, false));
    native.pod_event(Event::InitDone);
    assert_eq!((seen("a").is_some(), seen("b").is_some()), (false, true));
    native.pod(pod("b").version("2"));
    assert_eq!(seen("b").as_deref(), Some("2"));
    for sort in [OwnerSort::ReplicaSet, OwnerSort::Job] {
        native.owner_event(sort, Event::Apply(object(&format!("{sort:?}"), None)));
    }
    assert!(
        reader
            .object(Kind::REPLICA_SET, &Uid::new("ReplicaSet"))
            .is_some()
    );
    assert!(reader.object(Kind::JOB, &Uid::new("Job")).is_some());
    assert!(reader.object(Kind::JOB, &Uid::new("ReplicaSet")).is_none());
}

#[test]
fn readers_always_look_at_the_active_feed() {
    let mut core = Core::new(legacy());
    let reader = core.feeds.reader();
    let pods = || reader.objects().pods.len();
    assert_eq!(pods(), 0);
    let older = core.open();
    core.listed(older);
    core.pod(older, pod("a"));
    assert_eq!(pods(), 1);
    let newer = core.open();
    assert_eq!(pods(), 0, "as empty as it is");
    core.pod(newer, pod("b"));
    core.pod(older, pod("c"));
    core.close(newer);
    assert!(
        reader.pod(&Uid::new("b")).is_some(),
        "ended, and active still"
    );
    core.pass(std::time::Duration::from_secs(5));
    assert_eq!(pods(), 2, "the older one has taken over");
    core.pod_gone(older, "a");
    assert_eq!(pods(), 1);
}

#[test]
fn a_shadow_is_not_read_until_it_is_active() {
    let mut core = Core::new(Settings::default());
    let reader = core.feeds.reader();
    let native = core.feeds.open_native(1, core.now);
    core.handle(native, Input::Pod(Event::Apply(pod("shadow").into())));
    core.feeds.denied(Kind::JOB, Scope(0), core.now);
    assert!(reader.objects().pods.is_empty());
}

#[test]
fn a_walk_meets_each_object_that_stays_once_whatever_comes_and_goes() {
    let mut writer = StoreWriter::new(1, Seed::FIXED);
    for pod in (0..4 * SLICE as u32).map(numbered) {
        writer.take(Scope(0), Event::Apply(pod));
    }
    let mut seen = BTreeMap::<Uid, usize>::new();
    let mut next = Some(Slot::FIRST);
    let mut round = 0;
    while let Some(from) = next {
        let slice = writer.store().slice(from);
        assert!(slice.objects.len() <= SLICE);
        for pod in slice.objects {
            *seen.entry(pod.uid.clone()).or_default() += 1;
        }
        next = slice.next;
        // Every second one goes, some come.
        for n in (0..4 * SLICE as u32).filter(|n| n % 8 == 2 * round) {
            writer.take(Scope(0), Event::Delete(numbered(n)));
        }
        writer.take(Scope(0), Event::Apply(numbered(100_000 + round)));
        round += 1;
    }
    for n in (0..4 * SLICE as u32).filter(|n| n % 2 == 1) {
        assert_eq!(seen[&numbered(n).uid], 1, "{n}");
    }
}

#[test]
fn readers_in_other_threads_see_either_side_of_a_list_and_hold_nothing_up() {
    let version = |version: &str| {
        let pods = (0..SLICE).map(|n| pod(&format!("p{n}")).version(version).into());
        pods.collect::<Vec<PodMeta>>()
    };
    let mut writer = StoreWriter::new(1, Seed::FIXED);
    for event in list_of(version("0")) {
        writer.take(Scope(0), event);
    }
    let store = writer.store().clone();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let slice = store.slice(Slot::FIRST);
                    assert_eq!(slice.objects.len(), SLICE);
                    let versions: BTreeSet<_> =
                        slice.objects.iter().map(|pod| &*pod.version).collect();
                    assert_eq!(versions.len(), 1, "{versions:?}");
                }
            });
        }
        for round in 0..200 {
            for event in list_of(version(&round.to_string())) {
                writer.take(Scope(0), event);
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

// --- helpers ---

#[derive(Clone, Debug)]
enum Word {
    Event(Event<PodMeta>),
    Denied,
    Seen(&'static str),
}

fn any_word() -> impl Strategy<Value = Word> {
    let uid = || select(&["a", "b", "c", "d", "e"][..]);
    let object = move || {
        (uid(), 0..3_u8, 0..3_u8).prop_map(|(uid, version, node)| {
            let extra = (node > 0).then(|| PodExtra {
                node: node.to_string().as_str().into(),
                ..PodExtra::default()
            });
            PodMeta::with_extra(pod(uid).version(&version.to_string()).0, extra)
        })
    };
    prop_oneof![
        4 => Just(Word::Event(Event::Init)),
        16 => object().prop_map(|pod| Word::Event(Event::InitApply(pod))),
        4 => Just(Word::Event(Event::InitDone)),
        4 => object().prop_map(|pod| Word::Event(Event::Apply(pod))),
        3 => object().prop_map(|pod| Word::Event(Event::Delete(pod))),
        3 => uid().prop_map(Word::Seen),
        1 => Just(Word::Denied),
    ]
}

fn facts(taken: Applied<PodMeta>) -> Vec<Fact<PodMeta>> {
    match taken {
        Applied::Nothing | Applied::Same(_) | Applied::Refreshed(_) => Vec::new(),
        Applied::Changed(pod) => vec![Fact::Apply(pod)],
        Applied::Gone(pod) => vec![Fact::Delete(pod.uid.clone())],
        Applied::Listed(difference) => {
            let gone = difference.gone.into_iter();
            let gone = gone.map(|pod| Fact::Delete(pod.uid.clone()));
            gone.chain(difference.changed.into_iter().map(Fact::Apply))
                .collect()
        }
    }
}

fn in_order(mut facts: Vec<Fact<PodMeta>>) -> Vec<Fact<PodMeta>> {
    facts.sort_by_key(|fact| match fact {
        Fact::Apply(pod) => pod.uid.clone(),
        Fact::Delete(uid) => uid.clone(),
    });
    facts
}

fn held(store: &Store<PodMeta>) -> BTreeMap<Uid, PodMeta> {
    let slice = store.slice(Slot::FIRST);
    assert!(slice.next.is_none());
    assert_eq!(slice.objects.len(), store.len());
    let held = slice.objects.into_iter();
    held.map(|pod| (pod.uid.clone(), pod)).collect()
}

/// A pod with a uid of the usual form.
fn numbered(n: u32) -> PodMeta {
    pod(&format!("{n:08x}-0000-4000-8000-000000000000")).into()
}
