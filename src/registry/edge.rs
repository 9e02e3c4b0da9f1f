//! Who watches: the API server's watches, or a test.

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
};

use tokio::{sync::OnceCell, time::sleep};

use super::Scope;
use crate::{
    backoff::{Backoff, Jitter},
    enrich::resource::Resource,
    model,
    source::{
        Reason, WatchFailure, WatchHealth,
        native::{
            Access, ConnectError, Counters, Limits, Options, Sink, Station, connect, resource,
        },
    },
};

/// A task of its own.
pub type Task<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Watches objects.
pub trait Edge: Send + Sync + 'static {
    /// The watch of a kind in a scope, which has the number `part` of those that were started
    /// with it. It is dropped to end it, at any time.
    fn watch(
        &self,
        resource: Resource,
        scope: &Scope,
        part: model::Scope,
        sink: Arc<dyn Sink>,
    ) -> Task<'static>;

    /// Ready when nothing is left behind. No watch runs any more.
    fn close(&self) -> Task<'_> {
        Box::pin(ready(()))
    }
}

/// The API server.
pub struct NativeEdge(Arc<Way>);

struct Way {
    access: Access,
    limits: Limits,
    options: Options,
    counters: Arc<Counters>,
    station: OnceCell<Station>,
}

impl NativeEdge {
    /// Reaches it when the first watch begins. The kinds of `options` are replaced by those that
    /// enrichment knows.
    pub fn new(access: Access, limits: Limits, options: Options) -> Self {
        let options = Options {
            kinds: Resource::kinds(),
            ..options
        };
        let counters = Arc::new(Counters::new(&options.kinds));
        Self(Arc::new(Way {
            access,
            limits,
            options,
            counters,
            station: OnceCell::new(),
        }))
    }

    /// What its watches count.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.0.counters)
    }
}

impl Edge for NativeEdge {
    fn watch(
        &self,
        resource: Resource,
        scope: &Scope,
        part: model::Scope,
        sink: Arc<dyn Sink>,
    ) -> Task<'static> {
        let way = Arc::clone(&self.0);
        let scope = scope.clone();
        Box::pin(async move {
            let Some(wanted) = way.wanted(resource, scope) else {
                return;
            };
            let station = way.station(part, &*sink).await;
            station.watch(wanted, part, sink).await;
        })
    }

    fn close(&self) -> Task<'_> {
        Box::pin(async {
            if let Some(station) = self.0.station.get() {
                station.close().await;
            }
        })
    }
}

impl Way {
    /// Tries until there is a way: what says how to reach the server may come late, or be mended.
    async fn station(&self, part: model::Scope, sink: &dyn Sink) -> &Station {
        let timeouts = &self.options.timeouts;
        let mut pauses = Backoff::new(timeouts.first_retry, timeouts.slowest_retry, Jitter::Above);
        loop {
            let made = self.station.get_or_try_init(async || {
                let server = connect(&self.access, self.limits).await?;
                let (options, counters) = (self.options.clone(), Arc::clone(&self.counters));
                Ok::<_, ConnectError>(Station::new(server, options, counters))
            });
            let error = match made.await {
                Ok(station) => return station,
                Err(error) => error,
            };
            let failure = WatchFailure {
                reason: Reason::Unreachable,
                text: error.to_string(),
                at: super::clock::instant().into_std(),
            };
            sink.changed(part, WatchHealth::Failing, Some(&failure));
            sleep(pauses.fail(fastrand::f64())).await;
        }
    }

    fn wanted(&self, resource: Resource, scope: Scope) -> Option<resource::Resource> {
        let kind = resource.find(&self.options.kinds)?;
        let (namespace, fields) = match scope {
            Scope::Cluster => (None, None),
            Scope::Namespace(namespace) if resource.namespaced() => (Some(namespace), None),
            Scope::Namespace(name) => (None, Some(format!("metadata.name={name}"))),
            Scope::Node(node) if resource == Resource::Pod => {
                (None, Some(format!("spec.nodeName={node}")))
            }
            Scope::Node(node) => (None, Some(format!("metadata.name={node}"))),
        };
        Some(resource::Resource {
            kind,
            row: self.options.kinds.row(kind).clone(),
            namespace,
            selector: None,
            fields,
        })
    }
}
