//! Properties of thin decoding, over mangled input.

use k8s_relay::{
    model::{Interner, PodMeta, Seed},
    source::native::decode::{
        Decoding, Dropped, Line, MetadataOnly, ObjectSeed, PageEnd, PageError, Pods, Status,
        decode_line, decode_page,
    },
};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde::de::DeserializeSeed;
use serde_json::{Map, Value, json};

use super::whole_pod;

/// One as large as in a cluster, `managedFields` and all.
const REAL_POD: &str = include_str!("../../../benches/support/pod.json");

fn real_pod() -> Value {
    serde_json::from_str(REAL_POD).unwrap()
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(Value::from("x".repeat(2000))),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec(
                ("[a-z]{0,4}|uid|name|ip|image|containerID|controller", inner),
                0..4
            )
            .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Every place in a value, as a JSON pointer, the value itself first.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(value, &format!("{at}/{key}"), out);
            }
        }
        Value::Array(items) => {
            for (n, value) in items.iter().enumerate() {
                places(value, &format!("{at}/{n}"), out);
            }
        }
        _ => {}
    }
}

fn replaced(mut object: Value, place: Index, by: Value) -> Value {
    let mut all = Vec::new();
    places(&object, "", &mut all);
    *object.pointer_mut(&all[place.index(all.len())]).unwrap() = by;
    object
}

/// The same value with every object's entries in another order.
fn shuffled(value: &Value, seed: &mut u64) -> Value {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            for n in (1..entries.len()).rev() {
                *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                entries.swap(n, (*seed >> 33) as usize % (n + 1));
            }
            let entries = entries
                .into_iter()
                .map(|(key, value)| (key.clone(), shuffled(value, seed)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(|item| shuffled(item, seed)).collect(),
        other => other.clone(),
    }
}

fn line(line: &[u8]) -> Line<'_, PodMeta> {
    let (mut texts, mut dropped) = (Interner::new(Seed::FIXED), Dropped::default());
    decode_line::<Pods>(line, &Decoding::default(), &mut texts, &mut dropped)
}

fn page(page: &[u8]) -> (Vec<PodMeta>, Result<PageEnd, PageError>) {
    let (mut pods, mut texts) = (Vec::new(), Interner::new(Seed::FIXED));
    let end = decode_page::<Pods>(page, &Decoding::default(), &mut texts, |pod| pods.push(pod));
    (pods, end)
}

fn added(object: &Value) -> Option<PodMeta> {
    let bytes = json!({"type": "ADDED", "object": object}).to_string();
    match line(bytes.as_bytes()) {
        Line::Added { object, .. } => Some(object),
        Line::Unusable { .. } => None,
        _ => panic!("{bytes}"),
    }
}

/// Reads everything there is to read, for its panics.
fn read_all(bytes: &[u8]) {
    drop(line(bytes));
    drop(page(bytes));
    drop(Status::decode(bytes));
    let (mut texts, mut dropped) = (Interner::new(Seed::FIXED), Dropped::default());
    decode_line::<MetadataOnly>(bytes, &Decoding::default(), &mut texts, &mut dropped);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..64), json_like in "[\\[\\]{}\":,\\\\ua0-9type ]{0,64}") {
        read_all(&bytes);
        read_all(json_like.as_bytes());
    }

    #[test]
    fn no_change_of_a_sound_line_or_page_panics(
        changes in vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        for mut bytes in [
            json!({"type": "MODIFIED", "object": whole_pod()}).to_string().into_bytes(),
            json!({"items": [whole_pod()], "metadata": {"resourceVersion": "1"}}).to_string().into_bytes(),
        ] {
            for (place, byte, how) in &changes {
                let at = place.index(bytes.len());
                match how {
                    0 => bytes[at] = *byte,
                    1 => bytes.insert(at, *byte),
                    _ => drop(bytes.remove(at)),
                }
            }
            read_all(&bytes);
        }
    }

    #[test]
    fn any_value_at_any_place_costs_at_most_its_object(place in any::<Index>(), value in any_json()) {
        let good = whole_pod();
        let kept = added(&good).unwrap();
        let bad = replaced(good.clone(), place, value);
        let bytes = json!({"items": [good, bad, good], "metadata": {"resourceVersion": "1"}}).to_string();
        let (pods, end) = page(bytes.as_bytes());
        let end = end.unwrap();
        prop_assert_eq!((pods.first(), pods.last()), (Some(&kept), Some(&kept)));
        prop_assert!(pods.len() == 3 || pods.len() == 2 && !end.dropped.is_empty());
        added(&bad);
    }

    #[test]
    fn the_order_of_fields_does_not_matter(mut seed in any::<u64>()) {
        for pod in [whole_pod(), real_pod()] {
            prop_assert_eq!(added(&shuffled(&pod, &mut seed)), Some(added(&pod).unwrap()));
        }
    }

    /// Whatever the deserializer, whatever the value.
    #[test]
    fn serde_json_reads_the_same(place in any::<Index>(), value in any_json()) {
        let object = replaced(whole_pod(), place, value);
        let read = |from: &mut dyn FnMut(ObjectSeed<'_, Pods>) -> Option<PodMeta>| {
            let (mut texts, mut dropped) = (Interner::new(Seed::FIXED), Dropped::default());
            let pod = from(ObjectSeed::new(&Decoding::default(), &mut texts, &mut dropped));
            (pod, dropped)
        };
        let text = object.to_string();
        let from_text = read(&mut |seed| {
            seed.deserialize(&mut serde_json::Deserializer::from_str(&text)).unwrap().object.ok()
        });
        let from_value = read(&mut |seed| seed.deserialize(&object).unwrap().object.ok());
        prop_assert_eq!(&from_text, &from_value);
        let page_text = json!({"items": [object], "metadata": {"resourceVersion": "1"}}).to_string();
        let (mut ours, end) = page(page_text.as_bytes());
        let mut dropped = end.unwrap().dropped;
        // The seed leaves it to its caller to count the object itself.
        if let (None, (None, counted)) = (ours.last(), &from_text) {
            let more: u64 = dropped.iter().map(|(_, n)| n).sum::<u64>() - counted.iter().map(|(_, n)| n).sum::<u64>();
            prop_assert_eq!(more, 1);
            dropped = counted.clone();
        }
        prop_assert_eq!((ours.pop(), dropped), from_text);
    }
}
