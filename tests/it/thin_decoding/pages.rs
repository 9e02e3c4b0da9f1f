//! Pages of a list.

use k8s_relay::{
    model::{Interner, Seed, Uid},
    source::native::decode::{
        Decoding, MAX_OBJECT_LEN, MetadataOnly, ObjectError, PageEnd, PageError, Pods, SharedTexts,
        Status, decode_page,
    },
};
use serde_json::{Value, json};

use super::{UID, counts};

fn read(page: &[u8]) -> (Vec<String>, Result<PageEnd, PageError>) {
    let mut names = Vec::new();
    let mut texts = Interner::new(Seed::FIXED);
    let end = decode_page::<Pods>(page, &Decoding::default(), &mut texts, |pod| {
        names.push(pod.name.to_string());
    });
    (names, end)
}

fn item(name: &str) -> Value {
    json!({"metadata": {"name": name, "uid": UID}})
}

#[test]
fn a_page_gives_its_items_its_version_and_the_way_on() {
    let page = json!({
        "kind": "PodList", "apiVersion": "v1",
        "metadata": {"resourceVersion": "12", "continue": "next", "remainingItemCount": 3},
        "items": [item("a"), item("b")],
    })
    .to_string();
    let (names, end) = read(page.as_bytes());
    let end = end.unwrap();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(
        (&*end.version, end.continue_token.as_deref()),
        ("12", Some("next"))
    );
    assert!(end.dropped.is_empty());
}

#[test]
fn the_last_page_has_no_way_on_and_may_be_empty() {
    for page in [
        json!({"metadata": {"resourceVersion": "1"}, "items": []}),
        json!({"items": null, "metadata": {"continue": "", "resourceVersion": "1"}}),
        json!({"items": [], "metadata": {"continue": null, "resourceVersion": "1"}}),
    ] {
        let page = page.to_string();
        let (names, end) = read(page.as_bytes());
        assert!(names.is_empty());
        assert_eq!(end.unwrap().continue_token, None);
    }
}

#[test]
fn a_bad_item_costs_itself_alone() {
    let large = json!({"metadata": {"uid": UID, "name": "large", "annotations": {"a": "x".repeat(MAX_OBJECT_LEN)}}});
    let page = json!({
        "items": [item("a"), 7, null, {"metadata": {"name": "b"}}, item("c"), large,
            {"metadata": {"uid": 1}}, {"metadata": []}, [item("d")], {"metadata": {"uid": UID}, "status": "x"}, item("e")],
        "metadata": {"resourceVersion": "1"},
    })
    .to_string();
    let (names, end) = read(page.as_bytes());
    let end = end.unwrap();
    assert_eq!(names, ["a", "c", "e"]);
    assert_eq!(
        end.unusable,
        [UID, UID].map(Uid::new),
        "as far as they are known"
    );
    assert_eq!(
        counts(&end.dropped),
        [
            (ObjectError::NotAnObject, 3),
            (ObjectError::NoUid, 2),
            (ObjectError::WrongType, 2),
            (ObjectError::TooLarge, 1),
        ]
    );
}

#[test]
fn a_status_in_place_of_a_list_is_the_servers_no() {
    let page = json!({"kind": "Status", "metadata": {}, "message": "gone", "reason": "Expired", "code": 410}).to_string();
    let refused = PageError::Refused(Status {
        code: 410,
        reason: "Expired".into(),
        message: "gone".into(),
        retry_after_seconds: None,
    });
    assert_eq!(read(page.as_bytes()).1, Err(refused));
}

/// A page that were taken for a complete and empty list would delete every pod.
#[test]
fn what_lacks_a_part_of_a_list_is_none() {
    for page in [
        json!({}),
        json!([]),
        json!(null),
        json!("text"),
        json!({"metadata": {"resourceVersion": "1"}}),
        json!({"metadata": {"resourceVersion": "1"}, "items": {}}),
        json!({"metadata": {"resourceVersion": "1"}, "items": "x"}),
        json!({"items": []}),
        json!({"metadata": 7, "items": []}),
        json!({"metadata": {"resourceVersion": 1}, "items": []}),
        json!({"metadata": {"resourceVersion": ""}, "items": []}),
        json!({"metadata": {"resourceVersion": "1", "continue": 7}, "items": []}),
    ] {
        assert_eq!(
            read(page.to_string().as_bytes()).1,
            Err(PageError::NotAList),
            "{page}"
        );
    }
}

#[test]
fn a_page_that_was_cut_says_where() {
    let page =
        json!({"items": [item("a"), item("b")], "metadata": {"resourceVersion": "1"}}).to_string();
    for end in 0..page.len() {
        let cut = &page.as_bytes()[..end];
        match read(cut).1 {
            Err(PageError::InvalidJson { at }) => assert!(at <= end, "{at} of {end}"),
            other => panic!("{end}: {other:?}"),
        }
    }
    let (names, end) = read(b"{\"items\":[{\"metadata\":{\"uid\":\"u\",\"name\":\"a\"}} oops");
    assert_eq!(
        (names, end),
        (vec!["a".to_owned()], Err(PageError::InvalidJson { at: 46 }))
    );
    assert_eq!(read(b"<html>").1, Err(PageError::InvalidJson { at: 0 }));
}

/// Texts behind something like a lock, whose uses are counted.
struct Lock {
    texts: Interner,
    taken: usize,
}

impl Lock {
    fn new() -> Self {
        Self {
            texts: Interner::new(Seed::FIXED),
            taken: 0,
        }
    }
}

impl SharedTexts for Lock {
    type Guard<'a> = &'a mut Interner;

    fn texts(&mut self) -> &mut Interner {
        self.taken += 1;
        &mut self.texts
    }
}

#[test]
fn shared_texts_are_taken_for_one_object_and_given_back() {
    let page = json!({"metadata": {"resourceVersion": "1"}, "items": vec![item("a"); 700]});
    let page = page.to_string();
    let mut lock = Lock::new();
    let end = decode_page::<Pods>(page.as_bytes(), &Decoding::default(), &mut lock, |_| ());
    assert!(end.is_ok());
    assert_eq!(lock.taken, 700);
    // JSON is read without them: what is no object needs none.
    let garbled = format!("{}{}", &page[..page.len() / 2], "}}}}");
    let mut lock = Lock::new();
    let end = decode_page::<Pods>(garbled.as_bytes(), &Decoding::default(), &mut lock, |_| ());
    assert!(matches!(end, Err(PageError::InvalidJson { .. })), "{end:?}");
    assert!((300..400).contains(&lock.taken), "{}", lock.taken);
}

#[test]
fn what_repeats_in_the_pages_of_two_namespaces_exists_once() {
    let page = |namespace: &str| {
        let set = |n: usize| {
            json!({"metadata": {
                "name": format!("web-{n}"), "namespace": namespace, "uid": format!("{namespace}-{n}"),
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d",
                    "controller": true,
                }],
            }})
        };
        let items: Vec<Value> = (0..200).map(set).collect();
        json!({"metadata": {"resourceVersion": "1"}, "items": items}).to_string()
    };
    let mut texts = Interner::new(Seed::FIXED);
    let mut held = Vec::new();
    let mut lens = Vec::new();
    for namespace in ["a", "b"] {
        let page = page(namespace);
        let end =
            decode_page::<MetadataOnly>(page.as_bytes(), &Decoding::default(), &mut texts, |set| {
                held.push(set)
            });
        assert!(end.is_ok());
        lens.push(texts.len());
    }
    assert_eq!(held.len(), 400);
    assert_eq!(lens[0], lens[1], "nothing new in the second one");
}

#[test]
fn a_full_object_has_all_that_is_read_of_metadata_alone() {
    let metadata = json!({
        "name": "web-1", "uid": UID, "resourceVersion": "3", "namespace": "shop",
        "managedFields": [{"manager": "x"}],
        "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d",
            "controller": true,
        }],
    });
    let partial = json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "9"},
        "items": [{
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        }],
    });
    let full = json!({
        "kind": "ReplicaSetList", "apiVersion": "apps/v1", "metadata": {"resourceVersion": "9"},
        "items": [{
            "metadata": metadata,
            "spec": {"replicas": 3, "template": {"metadata": {"uid": "other"}}},
            "status": {"replicas": 3},
        }],
    });
    let read = |list: &Value| {
        let page = list.to_string();
        let mut sets = Vec::new();
        let mut texts = Interner::new(Seed::FIXED);
        let end =
            decode_page::<MetadataOnly>(page.as_bytes(), &Decoding::default(), &mut texts, |set| {
                sets.push(set)
            });
        (sets, end.unwrap().version)
    };
    assert_eq!(read(&full), read(&partial));
    assert_eq!(read(&full).0.len(), 1);
}
