//! The page for people: complete, well-formed, and safe to open.

use std::time::{Duration, Instant};

use k8s_relay::{
    admin::{
        api::{
            Announced, DeletesPending, Dropped, Enrichment, Explanation, Feed, Findings, Known,
            LastError, MetadataStore, Offer, Parity, Reducer, Row, Status, Stream, Unfed, Watch,
        },
        page::Page,
    },
    migrate::Stage,
    notable::Notable,
};

use super::{explained::pod, world::World};

/// What nobody shall be able to put into a page.
const SCRIPT: &str = "<script>alert('1')</script>\"'&";

/// Has `text` wherever outside text is shown.
fn status(text: &str) -> Status {
    let text = || text.to_owned();
    let error = || {
        Some(LastError {
            text: text(),
            ..LastError::default()
        })
    };
    Status {
        version: text(),
        stage: Stage::Shadow,
        unfed: Some(Unfed {
            why: text(),
            seconds: 3.0,
        }),
        deletes_pending: Some(DeletesPending {
            why: text(),
            ..DeletesPending::default()
        }),
        reducer: Reducer {
            address: text(),
            last_error: error(),
            next_attempt_seconds: Some(1.0),
            queue_limit_bytes: 4 << 20,
            ..Reducer::default()
        },
        legacy: Some(Feed {
            active: true,
            unhealthy: 1,
            streams: vec![Stream {
                peer: Some(text()),
                role: text(),
                ..Stream::default()
            }],
            ..Feed::default()
        }),
        native: Some(Feed {
            listed: true,
            watches: vec![Watch {
                resource: text(),
                namespace: Some(text()),
                state: text(),
                last_error: error(),
                ..Watch::default()
            }],
            ..Feed::default()
        }),
        parity: Some(Parity {
            paused: Some(text()),
            rows: vec![Row {
                namespace: text(),
                name: text(),
                field: text(),
                legacy: text(),
                native: text(),
                ..Row::default()
            }],
            ..Parity::default()
        }),
        steps: vec![Offer {
            command: text(),
            blocked: Some(text()),
        }],
        enrichment: Some(Enrichment {
            address: text(),
            profiles: vec![text()],
            reload_error: Some(text()),
            stores: vec![MetadataStore {
                kind: text(),
                state: text(),
                reason: Some(text()),
                ..MetadataStore::default()
            }],
            ..Enrichment::default()
        }),
        ..Status::default()
    }
}

fn findings(text: &str) -> Findings {
    let text = || text.to_owned();
    let announced = Announced {
        kept: Some(text()),
        outdated: true,
        ..Announced::default()
    };
    let feed = Known {
        feed: text(),
        namespace: text(),
        name: text(),
        why: Some(text()),
        address: Some(text()),
        direct_owner: Some(text()),
        effective_owner: Some(text()),
        version: text(),
        containers: vec![text()],
        ..Known::default()
    };
    let explanation = |announced: Option<Announced>| Explanation {
        uid: text(),
        not_announced: Some(text()),
        announced,
        feeds: vec![feed.clone()],
    };
    Findings {
        pods: vec![explanation(Some(announced.clone())), explanation(None)],
        more: true,
        dropped: vec![Dropped {
            source: text(),
            uid: text(),
            namespace: text(),
            name: text(),
            reason: text(),
            seconds: 1.0,
        }],
        ..Findings::default()
    }
}

fn page(text: &str) -> Page {
    let now = Instant::now();
    let event = Notable {
        at: now.checked_sub(Duration::from_secs(61)).unwrap_or(now),
        level: tracing::Level::WARN,
        text: text.to_owned(),
    };
    Page::new(Box::new(status(text)), vec![event], now)
}

/// Fails unless every element is closed in its place.
fn check_well_formed(html: &str) {
    let (mut open, mut rest) = (Vec::new(), html.strip_prefix("<!doctype html>").unwrap());
    let mut elements = 0;
    while let Some((_, tag)) = rest.split_once('<') {
        let (tag, after) = tag.split_once('>').expect("a tag ends");
        rest = after;
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "closed in another order"),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split([' ', '\n']).next().unwrap()),
        }
        let quotes = tag.matches('"').count();
        assert_eq!(quotes % 2, 0, "{tag}");
        elements += 1;
    }
    assert!(open.is_empty(), "left open: {open:?}");
    assert!(elements > 50, "{elements}");
}

#[test]
fn whatever_the_world_is_called_it_is_text_on_the_page() {
    for page in [
        page(SCRIPT),
        page(SCRIPT).explaining(SCRIPT.to_owned(), Ok(findings(SCRIPT))),
        page(SCRIPT).explaining(SCRIPT.to_owned(), Err(SCRIPT.to_owned())),
    ] {
        let html = page.html().unwrap();
        assert!(
            !html.contains("<script") && !html.contains(SCRIPT),
            "{html}"
        );
        assert!(html.matches("&#60;script&#62;").count() > 20, "{html}");
        check_well_formed(&html);
    }
}

#[test]
fn the_page_has_no_script_and_no_other_file_and_refreshes_itself_unless_somebody_reads() {
    let html = page("text").html().unwrap();
    for absent in [
        "<script",
        "src=",
        "url(",
        "@import",
        "http://",
        "https://",
        "method=\"post\"",
    ] {
        assert!(!html.contains(absent), "{absent}");
    }
    for present in [
        "http-equiv=\"refresh\"",
        "prefers-color-scheme:dark",
        "width=device-width",
        "lang=\"en\"",
    ] {
        assert!(html.contains(present), "{present}");
    }
    let still = [
        page("text").still(),
        page("text").explaining("a".to_owned(), Ok(Findings::default())),
    ];
    for page in still {
        assert!(!page.html().unwrap().contains("http-equiv=\"refresh\""));
    }
}

#[test]
fn everything_that_stands_in_the_status_is_on_the_page() {
    let html = page("TEXT").html().unwrap();
    for shown in [
        "stage shadow",
        "Nobody has fed the reducer&#39;s state for 3 s: TEXT",
        "Deletes are pending",
        "buffer 0 B of 4.0 MiB",
        "next attempt in 1 s",
        "1 not healthy",
        "legacy source",
        "native source",
        "Not compared now: TEXT",
        "k8s-relay migrate TEXT",
        "blocked: TEXT",
        "Enrichment",
        "1 min 1 s ago",
        "WARN",
    ] {
        let plain = html.replace("reducer's", "reducer&#39;s");
        assert!(plain.contains(shown), "{shown}: {html}");
    }
}

#[tokio::test]
async fn a_running_relay_shows_its_page_and_explains_a_pod_on_it() {
    let world = World::start().await;
    let watcher = world.watcher().await;
    let mut call = watcher.open();
    let named = pod("uid-1", "<b>web</b>", "10.0.0.1", None);
    call.send(named).await.unwrap();
    world.knows("uid-1").await;
    let answer = world.get("/").await;
    assert_eq!(answer.code, 200);
    for header in [
        "content-type: text/html; charset=utf-8\r\n",
        "content-security-policy: default-src 'none'; style-src 'unsafe-inline'; ",
        "x-content-type-options: nosniff\r\n",
        "referrer-policy: no-referrer\r\n",
        "cache-control: no-store\r\n",
    ] {
        assert!(answer.head.contains(header), "{header}{}", answer.head);
    }
    check_well_formed(&answer.body);
    assert!(answer.body.contains("1 live pods"), "{}", answer.body);
    let found = world.get("/?pod=uid-1").await.body;
    check_well_formed(&found);
    assert!(
        found.contains("shop/&#60;b&#62;web&#60;/b&#62; live, address 10.0.0.1"),
        "{found}"
    );
    let unknown = world.get("/?pod=shop%2Fnobody").await;
    assert_eq!(unknown.code, 200);
    assert!(
        unknown
            .body
            .contains("no source knows a pod of the name shop/nobody")
    );
    world.end().await;
}
