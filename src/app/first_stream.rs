//! Says that no legacy watcher has come, while legacy watchers are the active source.
//!
//! A relay without one looks healthy and announces nothing. In a pod of the chart that is what
//! happens when this image is in both containers and nobody has asked for the native source.

use std::{future::Future, pin::pin, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{sync::watch, time::sleep};
use tracing::warn;

use crate::{feeds::SourceKind, migrate::Numbered, source::legacy::Counters};

/// How long a first stream may take before somebody should look.
pub(super) const USUAL_WAIT: Duration = Duration::from_secs(60);

/// Serves legacy watchers to the end, and warns once if the first stream is `overdue`.
pub(super) async fn expected<T>(
    serving: impl Future<Output = T>,
    overdue: impl Future<Output = bool>,
) -> T {
    let mut serving = pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        overdue = overdue => if overdue {
            warn!(
                waited = ?USUAL_WAIT,
                "no legacy watcher has opened a stream yet, so nothing is announced. Run a \
                 k8s-watcher that streams to --server-address (in the chart's pod: the image of \
                 the legacy k8s-watcher); or let the relay watch the API server itself, with \
                 --source=native (in the chart: k8sCollector.relay.additionalArgs) or \
                 K8S_RELAY_SOURCE=native (k8sCollector.relay.env)"
            );
        },
    }
    serving.await
}

/// Ready after this time: whether the legacy source is active and no stream was ever opened.
pub(super) async fn overdue(
    after: Duration,
    counters: &Counters,
    states: watch::Receiver<Numbered>,
) -> bool {
    sleep(after).await;
    let waits = states.borrow().state.stage.active() == SourceKind::Collect;
    waits && counters.opened.load(Relaxed) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::{Stage, State};

    async fn is_overdue(stage: Stage, opened: u64) -> bool {
        let counters = Counters::default();
        let (states, changes) = watch::channel(Numbered {
            number: 0,
            state: State::begin(Stage::Legacy),
        });
        counters.opened.store(opened, Relaxed);
        states.send_modify(|now| now.state = State::begin(stage));
        overdue(USUAL_WAIT, &counters, changes).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_stream_is_overdue_where_the_legacy_source_is_active() {
        for (stage, opened, expected) in [
            (Stage::Legacy, 0, true),
            (Stage::Shadow, 0, true),
            // One that has ended again has come.
            (Stage::Legacy, 1, false),
            (Stage::ShadowNative, 0, false),
            (Stage::Native, 0, false),
        ] {
            let began = tokio::time::Instant::now();
            assert_eq!(is_overdue(stage, opened).await, expected, "{stage}");
            assert_eq!(began.elapsed(), USUAL_WAIT);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_server_waits_for_no_stream() {
        let began = tokio::time::Instant::now();
        let serving = sleep(Duration::from_secs(1));
        expected(serving, std::future::pending()).await;
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        // And after the warning it is served on.
        let serving = sleep(Duration::from_secs(100));
        expected(serving, async {
            sleep(USUAL_WAIT).await;
            true
        })
        .await;
        assert_eq!(began.elapsed(), Duration::from_secs(101));
    }
}
