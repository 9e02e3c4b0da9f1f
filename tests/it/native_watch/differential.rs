//! kube's own watcher is the reference: whatever a server sends that makes no mistake but to
//! forget, both make the same events of it.

use std::pin::pin;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_relay::source::native::{ListMode, Options};
use kube::{
    Client, Config, ResourceExt,
    runtime::watcher::{self, Event, InitialListStrategy},
};
use proptest::{prelude::*, test_runner::TestRunner};

use super::watched::Watched;
use crate::support::api::{
    Api, Call, Stream, added, bookmark, deleted, end_mark, error, modified, object,
};

/// What happens in the cluster, and to the watch.
#[derive(Clone, Debug)]
enum Act {
    /// A pod is changed, or is new.
    Apply(u8),
    /// A pod is deleted, if it is there.
    Delete(u8),
    Bookmark,
    /// The server ends the watch.
    End,
    /// The server has forgotten the past, and says so in the stream.
    Expire,
}

/// A server that forgets on demand.
struct Cluster {
    pods: Vec<(u8, u64)>,
    version: u64,
    acts: std::vec::IntoIter<Act>,
    /// The list's second page expires, once.
    page_expires: bool,
    /// Answers that go on.
    open: Vec<Stream>,
}

impl Cluster {
    fn new(acts: Vec<Act>, page_expires: bool) -> Self {
        Self {
            pods: vec![(0, 1), (1, 2), (2, 3)],
            version: 3,
            acts: acts.into_iter(),
            page_expires,
            open: Vec::new(),
        }
    }

    async fn serve(mut self, mut api: Api) {
        loop {
            let call = api.pods().await;
            self.answer(call).await;
        }
    }

    async fn answer(&mut self, call: Call) {
        let version = self.version.to_string();
        let items: Vec<String> = self
            .pods
            .iter()
            .map(|(pod, version)| object(&pod.to_string(), &version.to_string()))
            .collect();
        match call.query.get("limit").map(String::as_str) {
            Some("1") => call.page(&[], &version, None).await,
            Some(_) if call.query.contains_key("continue") => {
                if std::mem::take(&mut self.page_expires) {
                    call.refuse(410, "the continue token is too old").await;
                } else {
                    call.page(items.get(2..).unwrap_or_default(), &version, None)
                        .await;
                }
            }
            Some(_) => {
                let first = &items[..items.len().min(2)];
                let next = (items.len() > 2).then_some("more");
                call.page(first, &version, next).await;
            }
            None => {
                let lists = call.query.contains_key("sendInitialEvents");
                let mut stream = call.stream().await;
                if lists {
                    for (pod, version) in &self.pods {
                        stream
                            .line(added(&pod.to_string(), &version.to_string()))
                            .await;
                    }
                    stream.line(end_mark(&version)).await;
                }
                self.happen(stream).await;
            }
        }
    }

    /// What happens until the stream ends.
    async fn happen(&mut self, mut stream: Stream) {
        for act in self.acts.by_ref() {
            self.version += 1;
            let version = self.version.to_string();
            match act {
                Act::Apply(pod) => {
                    let line = match self.pods.iter_mut().find(|(name, _)| *name == pod) {
                        Some((_, changed)) => {
                            *changed = self.version;
                            modified(&pod.to_string(), &version)
                        }
                        None => {
                            self.pods.push((pod, self.version));
                            added(&pod.to_string(), &version)
                        }
                    };
                    stream.line(line).await;
                }
                Act::Delete(pod) => {
                    let before = self.pods.len();
                    self.pods.retain(|(name, _)| *name != pod);
                    if self.pods.len() < before {
                        stream.line(deleted(&pod.to_string(), &version)).await;
                    }
                }
                Act::Bookmark => stream.line(bookmark(&version)).await,
                Act::End => {
                    // Not without news: that is a fault, and no watcher's pace is the other's.
                    stream.line(bookmark(&version)).await;
                    return stream.end().await;
                }
                Act::Expire => return stream.line(error(410)).await,
            }
        }
        stream.line(added(LAST, "1000")).await;
        self.open.push(stream);
    }
}

/// The last pod to be announced.
const LAST: &str = "last";

async fn ours(acts: Vec<Act>, page_expires: bool, list: ListMode) -> String {
    let options = Options {
        list,
        page_size: 2,
        ..Options::default()
    };
    let api = Api::start().await;
    let address = api.address;
    let serving = tokio::spawn(Cluster::new(acts, page_expires).serve(api));
    let mut watched = Watched::with(Api::elsewhere(address), options, "").await;
    let sent = watched.until(&format!("apply-{LAST}")).await;
    serving.abort();
    let events = sent
        .split(' ')
        .filter(|one| !["healthy", "failing"].contains(one));
    events.collect::<Vec<_>>().join(" ")
}

async fn reference(acts: Vec<Act>, page_expires: bool, list: ListMode) -> String {
    let api = Api::start().await;
    let url = format!("http://{}", api.address).parse().unwrap();
    let serving = tokio::spawn(Cluster::new(acts, page_expires).serve(api));
    let client = Client::try_from(Config::new(url)).unwrap();
    let config = match list {
        ListMode::Pages => watcher::Config::default().page_size(2),
        _ => watcher::Config::default().streaming_lists(),
    };
    assert_eq!(
        config.initial_list_strategy == InitialListStrategy::ListWatch,
        list == ListMode::Pages
    );
    let mut events = pin!(watcher::watcher(kube::Api::<Pod>::all(client), config));
    let mut sent = Vec::new();
    while sent
        .last()
        .is_none_or(|one| *one != format!("apply-{LAST}"))
    {
        // Its errors are no events.
        if let Ok(event) = events.next().await.unwrap() {
            sent.push(match event {
                Event::Init => "init".to_owned(),
                Event::InitApply(pod) => format!("+{}", pod.name_any()),
                Event::InitDone => "done".to_owned(),
                Event::Apply(pod) => format!("apply-{}", pod.name_any()),
                Event::Delete(pod) => format!("delete-{}", pod.name_any()),
            });
        }
    }
    serving.abort();
    sent.join(" ")
}

#[test]
fn histories_make_the_same_events_as_with_the_reference() {
    let act = prop_oneof![
        4 => (0..6_u8).prop_map(Act::Apply),
        2 => (0..6_u8).prop_map(Act::Delete),
        1 => Just(Act::Bookmark),
        1 => Just(Act::End),
        1 => Just(Act::Expire),
    ];
    let histories = (
        proptest::collection::vec(act, 0..24),
        any::<bool>(),
        any::<bool>(),
    );
    let mut runner = TestRunner::new(ProptestConfig::with_cases(48));
    runner
        .run(&histories, |(acts, page_expires, pages)| {
            let list = if pages {
                ListMode::Pages
            } else {
                ListMode::WatchList
            };
            let page_expires = pages && page_expires;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap();
            let (ours, reference) = runtime.block_on(async {
                (
                    ours(acts.clone(), page_expires, list).await,
                    reference(acts, page_expires, list).await,
                )
            });
            prop_assert_eq!(ours, reference);
            Ok(())
        })
        .unwrap();
}
