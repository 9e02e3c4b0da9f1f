//! The native watches as tasks: started and ended whenever the driver asks for it (D4).

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::info;

use super::{WAITING_BATCHES, spawn};
use crate::{
    config::NativeConfig,
    driver::{WatchControl, WatchNews, WatchOrder, Watches},
    model::Kind,
    registry::{Lent, Registry},
    seed,
    source::native::{self, NativeError, decode},
};

/// Starts and ends the native watches.
pub(super) struct WatchSupervisor {
    config: NativeConfig,
    counters: Arc<native::Counters>,
    unmatched: Arc<native::Unmatched>,
    stop: CancellationToken,
    orders: mpsc::Receiver<WatchOrder>,
    news: mpsc::Sender<WatchNews>,
    running: Option<Running>,
    /// Whom our watches serve, too.
    registry: Option<Registry>,
}

struct Running {
    stop: CancellationToken,
    watches: AbortOnDropHandle<Result<(), NativeError>>,
    _lent: Option<Lent>,
}

impl WatchSupervisor {
    /// Ends all at `stop`. The watches serve the `registry`, too. The other half is for the driver.
    pub(super) fn new(
        config: NativeConfig,
        counters: Arc<native::Counters>,
        unmatched: Arc<native::Unmatched>,
        registry: Option<Registry>,
        stop: CancellationToken,
    ) -> (Self, WatchControl) {
        let (to_us, orders) = mpsc::channel(2);
        let (news, to_driver) = mpsc::channel(1);
        let supervisor = Self {
            config,
            counters,
            unmatched,
            stop,
            orders,
            news,
            running: None,
            registry,
        };
        let control = WatchControl {
            orders: to_us,
            news: to_driver,
        };
        (supervisor, control)
    }

    /// [`Self::start`], as a task.
    pub(super) async fn started(mut self) -> Result<(Self, Watches), NativeError> {
        let watches = self.start().await?;
        Ok((self, watches))
    }

    /// Starts the watches.
    ///
    /// # Errors
    /// What says how to reach the API server is missing or wrong. That it, a credential plugin
    /// or a disk does not answer is no error: the watches try again. May be dropped.
    async fn start(&mut self) -> Result<Watches, NativeError> {
        let options = options(&self.config);
        let limits = native::Limits {
            connect: options.timeouts.connect,
            plugin: self.config.credentials_timeout,
            ..native::Limits::default()
        };
        let server = native::connect(&access(&self.config), limits)
            .await
            .map_err(NativeError::Connect)?;
        let namespaces = match options.namespaces.as_slice() {
            [] => "all".to_owned(),
            some => some.join(","),
        };
        // Not known while a disk or a plugin is waited for: it is said when it is.
        let url = server.url();
        let server_url = Some(&*url).filter(|url| !url.is_empty());
        info!(server = server_url, namespaces, "native source started");
        let (messages, inputs) = mpsc::channel(WAITING_BATCHES);
        let scopes = u16::try_from(options.scopes().len()).unwrap_or(u16::MAX);
        let (counters, unmatched) = (Arc::clone(&self.counters), Arc::clone(&self.unmatched));
        let stop = self.stop.child_token();
        let (lent, sinks) = match &self.registry {
            Some(registry) => {
                let (lent, sinks) = registry.lend(&shared_kinds(&options));
                (Some(lent), sinks)
            }
            None => (None, native::Sinks::default()),
        };
        let others = (unmatched, sinks);
        let watching =
            native::watch_shared(server, options, messages, others, stop.clone(), counters);
        let watches = spawn(watching);
        self.running = Some(Running {
            stop,
            watches,
            _lent: lent,
        });
        Ok(Watches {
            scopes,
            namespaces: self.config.namespaces.clone(),
            inputs,
        })
    }

    /// Does what the driver asks for, until the end.
    ///
    /// # Errors
    /// The watches have ended by themselves.
    pub(super) async fn run(mut self) -> Result<(), NativeError> {
        loop {
            tokio::select! {
                ended = ended(&mut self.running) => {
                    ended?;
                    if self.stop.is_cancelled() {
                        return Ok(());
                    }
                    return Err(NativeError::WatchEnded);
                }
                () = self.stop.cancelled(), if self.running.is_none() => return Ok(()),
                order = self.orders.recv() => {
                    let news = match order {
                        Some(WatchOrder::Start) => {
                            let stop = self.stop.clone();
                            match stop.run_until_cancelled(self.start()).await {
                                Some(Ok(watches)) => WatchNews::Started(watches),
                                Some(Err(error)) => WatchNews::Failed(error.to_string()),
                                None => return Ok(()),
                            }
                        }
                        Some(WatchOrder::Stop) => {
                            self.end().await?;
                            WatchNews::Stopped
                        }
                        // The driver is gone: a signal to one of them ends both.
                        None => {
                            self.stop.cancelled().await;
                            return self.end().await;
                        }
                    };
                    // The driver may be gone, as above.
                    let _ = self.news.send(news).await;
                }
            }
        }
    }

    async fn end(&mut self) -> Result<(), NativeError> {
        if let Some(running) = &self.running {
            running.stop.cancel();
        } else {
            return Ok(());
        }
        ended(&mut self.running).await
    }
}

/// Ready when the watches that run have ended.
async fn ended(running: &mut Option<Running>) -> Result<(), NativeError> {
    let Some(watches) = running.as_mut().map(|running| &mut running.watches) else {
        return std::future::pending().await;
    };
    let ended = watches.await;
    *running = None;
    ended.map_err(|_| NativeError::WatchEnded)?
}

/// The kinds whose watches see all that enrichment may need: with a selector not all pods.
fn shared_kinds(options: &native::Options) -> Vec<Kind> {
    let is_whole = |kind: &Kind| *kind != Kind::POD || options.selector.is_none();
    Kind::MATCHED.into_iter().filter(is_whole).collect()
}

/// How the API server is reached.
pub(super) fn access(config: &NativeConfig) -> native::Access {
    native::Access {
        kubeconfig: config.kubeconfig.clone(),
        context: config.context.clone(),
    }
}

/// What is watched, and how.
pub(super) fn options(config: &NativeConfig) -> native::Options {
    native::Options {
        kinds: config.kinds.clone(),
        namespaces: config.namespaces.clone(),
        selector: config.selector.clone(),
        list: config.list,
        page_size: config.page_size,
        decoding: decode::Decoding {
            containers: config.containers,
            keep: None,
        },
        timeouts: native::Timeouts {
            first_retry: config.retry.first,
            slowest_retry: config.retry.slowest,
            ..native::Timeouts::default()
        },
        seed: seed::of_process(),
        ..native::Options::default()
    }
}
