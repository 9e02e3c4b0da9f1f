//! What is true of every event and of every order of things.

use k8s_relay::{
    enrich::{
        Enricher, Reference, Wish,
        answer::Answer,
        cluster::ClusterIdentity,
        object::Timestamp,
        profile::{Profile, Setting},
        resource::{Metricset, Resource},
    },
    model::Seed,
};
use proptest::{prelude::*, sample::Index as Choice};
use serde_json::{Value, json, value::RawValue};

use super::world::{World, document, setting, shown};

fn everything() -> Value {
    json!({
        "include_annotations": ["."], "use_regex_include": true,
        "add_resource_metadata": { "deployment": true, "cronjob": true },
    })
}

fn pod(uid: u8, version: u8) -> Value {
    let version = u64::from(version);
    json!({
        "kind": "Pod",
        "metadata": {
            "name": format!("p{}", uid % 2), "namespace": "shop", "uid": format!("pod-{uid}"),
            "creationTimestamp": format!("2027-01-01T00:00:{:02}Z", uid % 3),
            "labels": { "version": version.to_string() },
            "ownerReferences": [{
                "kind": "ReplicaSet", "name": "rs", "uid": format!("rs-{}", version % 2),
                "controller": true,
            }],
        },
        "spec": {
            "nodeName": format!("n{}", version % 2),
            "containers": [{ "name": "app", "image": "web" }],
        },
        "status": {
            "podIP": format!("10.0.0.{}", version % 3),
            "phase": if version == 3 { "Failed" } else { "Running" },
            "startTime": format!("2027-01-01T00:01:{:02}Z", uid % 3),
            "containerStatuses": [{
                "name": "app", "containerID": format!("x://{uid}-{}", version % 2),
            }],
        },
    })
}

fn other(kind: &str, name: &str, uid: u8, version: u8) -> Value {
    json!({
        "kind": kind,
        "metadata": {
            "name": name, "uid": format!("{}-{uid}", name.trim_end_matches(char::is_numeric)),
            "namespace": if kind == "ReplicaSet" { "shop" } else { "" },
            "labels": { "version": version.to_string() },
            "ownerReferences": [{
                "kind": "Deployment", "name": format!("web{version}"), "controller": true,
            }],
        },
    })
}

/// The versions of one object in their order, and whether it is deleted in the end.
#[derive(Clone, Debug)]
struct History {
    versions: Vec<Value>,
    deleted: bool,
}

fn history() -> impl Strategy<Value = Vec<History>> {
    let of = |(uid, make): (usize, fn(u8, u8) -> Value)| {
        let versions = prop::collection::vec(0u8..4, 1..4);
        (versions, any::<bool>()).prop_map(move |(versions, deleted)| {
            let uid = uid as u8;
            let first = make(uid, versions[0]);
            let versions = versions.into_iter().map(|version| {
                let mut manifest = make(uid, version);
                // All versions of an object have its uid.
                manifest["metadata"]["uid"] = first["metadata"]["uid"].clone();
                manifest
            });
            History {
                versions: versions.collect(),
                deleted,
            }
        })
    };
    let kinds: [fn(u8, u8) -> Value; 6] = [
        pod,
        pod,
        pod,
        |_, version| other("ReplicaSet", "rs", version % 2, version),
        |uid, version| other("Node", &format!("n{}", uid % 2), uid, version),
        |uid, version| other("Namespace", "shop", uid, version),
    ];
    kinds.into_iter().enumerate().map(of).collect::<Vec<_>>()
}

/// Every question that can be asked of such a world.
fn answers(world: &World, enricher: &Enricher, wish: Wish) -> Vec<Value> {
    let view = world.index.at(world.now);
    let ask = |about: Reference<'_>| shown(&enricher.lookup(&view, about, wish));
    let mut answers = Vec::new();
    for uid in 0..6 {
        answers.push(ask(Reference::Uid(&format!("pod-{uid}"))));
        answers.push(ask(Reference::ContainerId(&format!("{uid}-{}", 1))));
    }
    for number in 0..3 {
        for at in [None, Timestamp::parse("2027-01-01T00:01:01Z")] {
            let address = format!("10.0.0.{number}").parse().unwrap();
            answers.push(ask(Reference::PodAddress { address, at }));
        }
        for (resource, name) in [
            (Resource::Pod, format!("p{number}")),
            (Resource::Node, format!("n{number}")),
            (Resource::Namespace, "shop".to_owned()),
        ] {
            answers.push(ask(Reference::Named {
                resource,
                namespace: "shop",
                name: &name,
                container: None,
                uid: None,
            }));
        }
    }
    answers
}

/// The steps of all histories in one order: those of each object in theirs. A step applies a
/// version, or deletes the object.
fn steps<'a>(histories: &'a [History], order: &[Choice]) -> Vec<(bool, &'a Value)> {
    let of_history = |history: &'a History| {
        let mut steps: Vec<_> = history.versions.iter().map(|of| (true, of)).collect();
        steps.extend(
            history
                .deleted
                .then(|| (false, history.versions.last().unwrap())),
        );
        steps.reverse();
        steps
    };
    let mut left: Vec<Vec<_>> = histories.iter().map(of_history).collect();
    let mut order = order.iter().cycle();
    let mut steps = Vec::new();
    while !left.is_empty() {
        let at = order.next().unwrap().index(left.len());
        match left[at].pop() {
            Some(step) => steps.push(step),
            None => drop(left.remove(at)),
        }
    }
    steps
}

fn take(world: &mut World, (apply, manifest): (bool, &Value)) {
    match apply {
        true => world.apply(manifest),
        false => world.delete(manifest),
    }
}

fn shared(answer: &Answer) -> bool {
    answer.document.is_some()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_order_of_events_the_answers_after_quiet_are_the_same(
        histories in history(),
        one in prop::collection::vec(any::<Choice>(), 64),
        other in prop::collection::vec(any::<Choice>(), 64),
    ) {
        let answers_of = |order: &[Choice]| {
            let mut world = World::new(&everything(), ClusterIdentity::default());
            for step in steps(&histories, order) {
                take(&mut world, step);
            }
            answers(&world, &world.enricher, world.wish())
        };
        prop_assert_eq!(answers_of(&one), answers_of(&other));
    }

    #[test]
    fn a_cached_document_says_what_a_fresh_one_would(
        histories in history(),
        order in prop::collection::vec(any::<Choice>(), 16),
        otel in any::<bool>(),
    ) {
        let mut settings = everything();
        settings["output_schema"] = json!(if otel { "otel" } else { "ecs" });
        let mut world = World::new(&settings, ClusterIdentity::default());
        for step in steps(&histories, &order) {
            take(&mut world, step);
            // What was written for a world before must not be said of the one after.
            let cached = answers(&world, &world.enricher, world.wish());
            let again = answers(&world, &world.enricher, world.wish());
            let profile = Profile::read(&setting(&settings), None, &|_| None).unwrap();
            let fresh = Enricher::new(
                [("default".to_owned(), profile)],
                ClusterIdentity::default(),
                Seed::FIXED,
                0,
            );
            let fresh = answers(&world, &fresh, world.wish());
            prop_assert_eq!(&cached, &fresh);
            prop_assert_eq!(again, fresh);
        }
    }

    #[test]
    fn fields_that_no_document_says_are_never_touched(
        members in prop::collection::vec((key(), raw(3)), 0..8),
        module in prop::collection::vec((key(), raw(2)), 0..4),
        known in any::<bool>(),
        metricset in prop::sample::select(Metricset::ALL.to_vec()),
    ) {
        let mut world = World::new(&everything(), ClusterIdentity::default());
        world.apply(&pod(0, 0));
        let name = if known { "p0" } else { "unknown" };
        let mut module = module;
        module.push(("namespace".to_owned(), "\"shop\"".to_owned()));
        module.push(("pod".to_owned(), format!("{{\"name\" :\"{name}\", \"x\":1.0}}")));
        let mut members = members;
        members.push(("_module".to_owned(), object(&module)));
        let subject = match metricset {
            Metricset::Container | Metricset::StateContainer => "app",
            _ => name,
        };
        members.push(("name".to_owned(), format!("\"{subject}\"")));
        let event = object(&members);
        let (answer, text) = world.enrich(metricset.name(), &event);
        if !shared(&answer) {
            prop_assert_eq!(text, event);
            return Ok(());
        }
        let (before, after) = (parts(&event), parts(&text));
        prop_assert!(after.len() >= before.len());
        for (at, (key, value)) in before.iter().enumerate() {
            prop_assert_eq!(&after[at].0, key);
            if !["name", "uid", "ip", "_module", "meta"].contains(&key.as_str()) {
                prop_assert_eq!(&after[at].1, value);
            }
        }
        // Within the module fields, too.
        let module = |parts: &[(String, String)]| {
            let all = parts.iter().rfind(|(key, _)| key == "_module").unwrap();
            self::parts(&all.1)
        };
        let said = ["pod", "namespace", "node", "labels", "annotations", "replicaset", "deployment"];
        for ((key, value), (key_after, value_after)) in module(&before).iter().zip(module(&after)) {
            prop_assert_eq!(key, &key_after);
            if !said.contains(&key.as_str()) {
                prop_assert_eq!(value, &value_after);
            }
        }
    }

    #[test]
    fn a_merge_by_text_is_the_merge_of_trees(
        members in prop::collection::vec((key(), raw(3)), 0..6),
        module in prop::collection::vec((key(), raw(3)), 0..4),
        meta in raw(4),
        metricset in prop::sample::select(vec!["pod", "state_pod", "container"]),
    ) {
        let mut world = World::new(&everything(), ClusterIdentity::default());
        world.apply(&pod(0, 0));
        let is_container = metricset == "container";
        let mut module = module;
        module.push(("namespace".to_owned(), "\"shop\"".to_owned()));
        module.push(("pod".to_owned(), "{\"name\":\"p0\",\"x\":1}".to_owned()));
        let mut members = members;
        members.push(("name".to_owned(), json!(if is_container { "app" } else { "p0" }).to_string()));
        members.push(("_module".to_owned(), object(&module)));
        members.insert(0, ("meta".to_owned(), meta));
        // A tree has no room for the largest numbers.
        let event = object(&members).replace("1e400", "1e300");
        let (answer, text) = world.enrich(metricset, &event);
        let mut expected: Value = serde_json::from_str(&event).unwrap();
        let said = document(&answer);
        let mut root = said.as_object().unwrap().clone();
        let mut kubernetes = root.remove("kubernetes").unwrap();
        if !is_container {
            let pod = kubernetes.as_object_mut().unwrap().remove("pod").unwrap();
            merge_trees(&mut expected, pod);
        }
        merge_trees(&mut expected, json!({ "_module": kubernetes, "meta": root }));
        let merged: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(merged, expected);
    }

    #[test]
    fn nothing_that_comes_as_an_event_panics(event in prop::collection::vec(any::<u8>(), 0..64)) {
        let world = World::new(&Value::Object(Default::default()), ClusterIdentity::default());
        let (view, profile) = (world.index.at(world.now), world.wish().profile);
        let mut text = String::new();
        world.enricher.enrich(&view, Metricset::Pod, &event, profile, &mut text);
        prop_assert!(text.len() <= event.len());
    }

    #[test]
    fn no_settings_panic(keys in prop::collection::vec((key(), key()), 0..4)) {
        let map = keys.into_iter().map(|(key, value)| (key, Setting::Text(value)));
        let _ = Profile::read(&Setting::Map(map.collect()), None, &|_| None);
    }
}

/// The merge as it is described: key by key where both are objects, else what is said.
fn merge_trees(into: &mut Value, said: Value) {
    match (into, said) {
        (Value::Object(into), Value::Object(said)) => {
            for (key, value) in said {
                match into.get_mut(&key) {
                    Some(known) => merge_trees(known, value),
                    None => drop(into.insert(key, value)),
                }
            }
        }
        (into, said) => *into = said,
    }
}

/// Keys as events have them, and some that documents say.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z.\"\\\\é]{0,6}",
        prop::sample::select(vec![
            "uid",
            "meta",
            "labels",
            "node",
            "ip",
            "x",
            "kubernetes",
            "container",
            "image",
            "id",
        ])
        .prop_map(str::to_owned),
    ]
}

/// JSON text with blanks and numbers that a tree would not keep.
fn raw(depth: u32) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "1.10",
            "1e400",
            "-0",
            "123456789012345678901234567890",
            "null",
            "true",
            "\"\\u0061\\/\"",
            "{ }",
            "[\t]",
            "\" \"",
        ])
        .prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
    ];
    leaf.prop_recursive(depth, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec((key(), inner), 0..3).prop_map(|members| object(&members)),
        ]
    })
}

fn object(members: &[(String, String)]) -> String {
    let member = |(key, value): &(String, String)| format!("{} :\t{value}", json!(key));
    let members: Vec<_> = members.iter().map(member).collect();
    format!("{{ {} }}", members.join(", "))
}

/// The members of an object, as their texts.
fn parts(text: &str) -> Vec<(String, String)> {
    struct Members(Vec<(String, String)>);
    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct All;
            impl<'de> serde::de::Visitor<'de> for All {
                type Value = Members;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<Members, A::Error> {
                    let mut members = Vec::new();
                    while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                        members.push((key, value.get().to_owned()));
                    }
                    Ok(Members(members))
                }
            }
            deserializer.deserialize_map(All)
        }
    }
    let Members(members) = serde_json::from_str(text).unwrap();
    members
}
