//! Watches for enrichment alone, started one by one.

use std::{future::Future, sync::Arc};

use kube::runtime::watcher::Event;
use tokio::sync::{Semaphore, mpsc};

use super::{
    Counters, Options, Server, Sink,
    decode::Snapshots,
    outlet::{Both, Outlet, To},
    resource::Resource,
    watch::{Shared, Texts, Watch},
};
use crate::{
    enrich::object::Object,
    model::{PerKind, Scope},
};

/// What watches share that are started one by one, each with a [`Sink`] of its own: the way to
/// the server, the turns of first lists, and the texts of each kind.
pub struct Station {
    shared: Shared,
    texts: PerKind<Texts>,
}

impl Station {
    /// For watches of the kinds of these options.
    pub fn new(server: Server, options: Options, counters: Arc<Counters>) -> Self {
        let first_lists = options.first_lists.clamp(1, Semaphore::MAX_PERMITS);
        // Nothing of these watches enters the loop.
        let (inputs, _) = mpsc::channel(1);
        Self {
            texts: PerKind::all(&options.kinds, |_, _| Texts::new(options.seed)),
            shared: Shared {
                server,
                inputs,
                unmatched: Arc::default(),
                turns: Arc::new(Semaphore::new(first_lists)),
                counters,
                streams: Arc::default(),
                options: Arc::new(options),
            },
        }
    }

    /// Ready when nothing is left that gets credentials. No watch runs any more.
    pub async fn close(&self) {
        self.shared.server.clone().close().await;
    }

    /// Watches until it is dropped, which it may be at any time.
    pub fn watch(
        &self,
        resource: Resource,
        scope: Scope,
        sink: Arc<dyn Sink>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let options = &self.shared.options;
        let texts = self.texts.get(resource.kind).cloned();
        let texts = texts.unwrap_or_else(|| Texts::new(options.seed));
        let outlet = Outlet::new(resource.kind, scope, To::Sink(to_sink, sink));
        let watch = Watch::<Snapshots>::new(resource, outlet, self.shared.clone(), texts);
        async move {
            // It sends nothing, so it never finds out that nobody listens.
            let _ = watch.run().await;
        }
    }
}

fn to_sink(event: Event<Object>) -> Both {
    Both {
        fact: None,
        object: Some(event),
    }
}
