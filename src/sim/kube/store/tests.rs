use super::*;
use crate::sim::kube::objects::Pod;

fn pod(name: &str) -> Pod {
    Pod::new("shop", name, &format!("uid of {name}"))
}

fn names(store: &Store, version: u64) -> Result<Vec<String>, Gone> {
    let page = store.list(Kind::POD, version, None, None, None, |_| true)?;
    let names = page
        .items
        .iter()
        .map(|stored| stored.object.name().to_owned());
    Ok(names.collect())
}

#[test]
fn a_list_shows_what_was_there_at_its_version() {
    let mut store = Store::new(100);
    store.apply(pod("a"));
    let two = store.apply(pod("c"));
    let added = store.apply(pod("b"));
    let deleted = store.delete(Kind::POD, "shop/a").unwrap();
    store.touch(Kind::POD, &key("shop", "c")).unwrap();
    assert_eq!(names(&store, two).unwrap(), ["a", "c"]);
    assert_eq!(names(&store, added).unwrap(), ["a", "b", "c"]);
    assert_eq!(names(&store, deleted).unwrap(), ["b", "c"]);
    assert_eq!(names(&store, store.version()).unwrap(), ["b", "c"]);
    let then = store.list(Kind::POD, two, None, Some("shop/a"), None, |_| true);
    assert_eq!(then.unwrap().items[0].version, two);
}

#[test]
fn pages_of_one_version_add_up_to_its_list_while_objects_come_and_go() {
    let mut store = Store::new(100);
    for number in 0..20 {
        store.apply(pod(&format!("{number:02}")));
    }
    let version = store.version();
    let whole = names(&store, version).unwrap();
    let (mut pages, mut after) = (Vec::new(), None::<Key>);
    loop {
        let page = store.list(
            Kind::POD,
            version,
            Some("shop"),
            after.as_deref(),
            Some(3),
            |_| true,
        );
        let page = page.unwrap();
        pages.extend(page.items.iter().map(|s| s.object.name().to_owned()));
        assert_eq!(page.last.is_some(), pages.len() < 20);
        after = page.last;
        if after.is_none() {
            break;
        }
        let gone = format!("shop/{:02}", pages.len());
        store.delete(Kind::POD, &gone);
        store.apply(pod(&format!("{:02}b", pages.len() + 3)));
    }
    assert_eq!(pages, whole);
}

#[test]
fn a_namespace_holds_only_its_own_objects() {
    let mut store = Store::new(100);
    for namespace in ["shop", "shop-2", "sho"] {
        store.apply(Pod::new(namespace, "web", "u"));
    }
    let page = store.list(Kind::POD, store.version(), Some("shop"), None, None, |_| {
        true
    });
    let page = page.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].object.namespace(), "shop");
}

#[test]
fn history_is_bounded_and_what_it_lost_is_gone() {
    let mut store = Store::new(3);
    for name in ["a", "b", "c", "d", "e"] {
        store.apply(pod(name));
    }
    let newest = store.version();
    assert_eq!(
        names(&store, newest - 4).unwrap_err(),
        Gone { oldest: newest - 3 }
    );
    assert_eq!(names(&store, newest - 3).unwrap(), ["a", "b"]);
    assert_eq!(store.changes(Kind::POD, newest - 3).unwrap().len(), 3);
    assert_eq!(store.changes(Kind::JOB, 1).unwrap().len(), 0);
    store.compact();
    assert!(store.changes(Kind::POD, newest - 1).is_err());
    assert_eq!(store.changes(Kind::POD, newest).unwrap().len(), 0);
}

#[test]
fn a_restored_store_counts_on_from_a_lower_version() {
    let mut store = Store::new(100);
    for name in ["a", "b", "c"] {
        store.apply(pod(name));
    }
    store.reset_to_version(2);
    assert_eq!(store.version(), 2);
    assert!(store.all(Kind::POD).all(|(_, stored)| stored.version <= 2));
    assert_eq!(store.apply(pod("d")), 3);
    assert_eq!(store.changes(Kind::POD, 2).unwrap().len(), 1);
}
