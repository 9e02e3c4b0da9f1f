//! What the loop says when it is asked. Everything here is O(1), or of at most 20 rows.

use std::time::{Duration, Instant};

use super::{Driver, now, query::DriverQuery, watches::Watched};
use crate::{
    admin::api::{Announced, Explanation, Feed, Known, LastError, Reducer, Status, Totals},
    announce::{ResendReason, fields_hash},
    feeds::View,
    matcher::{PodStatus, PodView as Pod},
    migrate::Report,
    model::{Kind, KindTable, OwnerRef, Uid},
};

/// Containers in an explanation, at most.
const CONTAINERS_SHOWN: usize = 20;

impl Driver {
    /// Answers. The asker may be gone: then nobody hears it.
    pub(super) fn answer(&mut self, query: DriverQuery) {
        match query {
            DriverQuery::Status(answer) => drop(answer.send(Box::new(self.status(now())))),
            DriverQuery::Explain(uid, answer) => {
                let explanation = self.explain(&uid, now()).map(Box::new);
                drop(answer.send(explanation));
            }
            DriverQuery::Stores(answer) => {
                let stores = self.feeds.views().map(|view| view.objects()).collect();
                drop(answer.send(stores));
            }
            DriverQuery::Digests(answer) => self.digests.ask(answer, &self.feeds),
            DriverQuery::Migrate(request) => self.migrate(request),
        }
    }

    fn status(&mut self, now: Instant) -> Status {
        let legacy = self.feeds.collect_view().map(|view| {
            let open = self.streams.values().filter(|stream| stream.open);
            Feed {
                sources: open.count() as u64,
                streams: self.stream_rows(now),
                ..feed(&view, now)
            }
        });
        let native = self.feeds.native_view().map(|view| {
            let tally = self.watched.as_ref().map(Watched::tally);
            let tally = tally.unwrap_or_default();
            Feed {
                sources: tally.watches as u64,
                unhealthy: tally.unhealthy as u64,
                revoked: tally.revoked as u64,
                watches: self
                    .watched
                    .as_ref()
                    .map(|watched| watched.rows(now))
                    .unwrap_or_default(),
                ..feed(&view, now)
            }
        });
        let Report {
            stage,
            stage_seconds,
            forced,
            waiting_for_watcher,
            waits_for,
            auto,
            parity,
        } = self.steps.migration.report(&mut self.feeds, now);
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            up_seconds: seconds(now, self.started),
            reducer: self.reducer_status(now),
            unfed: self.unfed(now),
            deletes_pending: self.deletes_pending(now),
            legacy,
            native,
            stage,
            stage_seconds,
            forced,
            waiting_for_watcher,
            auto,
            parity,
            waits_for,
            ignored_streams: match self.feeds.hears_streams() {
                true => Vec::new(),
                false => self.stream_rows(now),
            },
            streams_disagreeing: self.feeds.streams_disagreeing() as u64,
            ..Status::default()
        };
        self.steps.describe(&mut status, now);
        let facts = self.facts(now);
        status.steps = self.steps.offers(&facts);
        status
    }

    fn reducer_status(&mut self, now: Instant) -> Reducer {
        let progress = self.reducer.progress();
        let ledger = self.feeds.ledger();
        let connection = self.reducer.connection();
        let failure = connection.last_failure;
        let retry_at = connection.retry_at;
        Reducer {
            connected: progress.connected,
            address: connection.address,
            since_seconds: seconds(now, connection.since),
            last_error: failure
                .map(|failure| LastError::of(failure.reason, &failure.text, failure.at, now)),
            failures: connection.failures,
            next_attempt_seconds: retry_at
                .map(|at| at.saturating_duration_since(now).as_secs_f64()),
            epoch: self.feeds.epoch().0,
            pods: ledger.len() as u64,
            containers: ledger.containers() as u64,
            settled: self.feeds.is_settled(),
            queued_bytes: progress.queued as u64,
            queue_limit_bytes: self.feeds.queue_limit() as u64,
            full_resends: ResendReason::ALL
                .map(|reason| (reason.name().to_owned(), self.feeds.resends().of(reason)))
                .into(),
            totals: Totals {
                link: self.reducer.counters(),
                sent: self.reducer.outbox().sent(),
            },
        }
    }

    fn explain(&self, uid: &Uid, now: Instant) -> Option<Explanation> {
        let entry = self.feeds.ledger().get(uid);
        let is_known = self
            .feeds
            .views()
            .any(|view| view.matcher().known(uid).is_some());
        if entry.is_none() && !is_known {
            return None;
        }
        let active = self.feeds.active().and_then(|matcher| matcher.known(uid));
        let is_live = active.is_some_and(|pod| pod.standing == PodStatus::Live);
        Some(Explanation {
            uid: uid.to_string(),
            announced: entry.map(|entry| Announced {
                epoch: entry.epoch.0,
                containers: entry.containers() as u64,
                kept: (!is_live).then(|| self.why_kept(uid, active, now)),
                outdated: self
                    .feeds
                    .active()
                    .and_then(|matcher| matcher.live(uid))
                    .is_some_and(|live| {
                        fields_hash(&live, self.feeds.ledger().seed()) != entry.fields
                    }),
            }),
            not_announced: entry
                .is_none()
                .then(|| self.why_not_announced(uid, active, now)),
            feeds: self
                .feeds
                .views()
                .map(|view| known(&view, uid, now))
                .collect(),
        })
    }

    /// Why a pod stays announced that is not live in the active feed.
    fn why_kept(&self, uid: &Uid, active: Option<Pod<'_>>, now: Instant) -> String {
        let why = active.and_then(|pod| why_not(&pod, now));
        let why = why.unwrap_or_else(|| NOT_KNOWN.to_owned());
        match self.feeds.settles_at(uid) {
            Some(until) => format!(
                "another feed took over; the pod is kept for {} more. In the active feed: {why}",
                shown(until.saturating_duration_since(now))
            ),
            None if self.feeds.is_held(uid) => {
                format!(
                    "it stays announced until the active feed is synced and knows enough of the announced pods. In the active feed: {why}"
                )
            }
            None => format!(
                "its delete is queued, unless another feed has just taken over. In the active feed: {why}"
            ),
        }
    }

    /// Why a known pod is not announced.
    fn why_not_announced(&self, uid: &Uid, active: Option<Pod<'_>>, now: Instant) -> String {
        let Some(pod) = active else {
            return match self.feeds.active() {
                Some(_) => "the active feed does not know it".to_owned(),
                None => "no feed is active: no watcher has connected".to_owned(),
            };
        };
        if let Some(why) = why_not(&pod, now) {
            return format!("in the active feed: {why}");
        }
        if !self.reducer.is_connected() {
            return "the reducer is not connected; the relay announces the pod when it is back"
                .to_owned();
        }
        match self.feeds.settles_at(uid) {
            Some(until) => format!(
                "the former feed deleted it just before another feed took over; the relay announces it in {}, if it is still live then",
                shown(until.saturating_duration_since(now))
            ),
            None => "it is queued: the reducer is catching up, or slow".to_owned(),
        }
    }
}

const NOT_KNOWN: &str = "not known";

fn feed(view: &View<'_>, now: Instant) -> Feed {
    let counts = view.matcher().counts();
    let objects = view.objects();
    Feed {
        generation: view.generation.0,
        active: view.active,
        open: view.is_open(),
        listed: view.is_listed(),
        since_seconds: seconds(now, view.opened()),
        last_event_seconds: view.last_event().map(|at| seconds(now, at)),
        pods: counts.pods as u64,
        live: counts.live as u64,
        waiting: counts.waiting as u64,
        owners: counts.owners as u64,
        sources: 0,
        unhealthy: 0,
        revoked: 0,
        given_up: counts.given_up,
        streams: Vec::new(),
        watches: Vec::new(),
        stored: KindTable::FIXED
            .iter()
            .zip(Kind::MATCHED)
            .map(|(row, kind)| (row.key(), objects.count(kind) as u64))
            .collect(),
    }
}

fn known(view: &View<'_>, uid: &Uid, now: Instant) -> Known {
    let known = Known {
        feed: view.source.feed_name().to_owned(),
        generation: view.generation.0,
        active: view.active,
        ..Known::default()
    };
    let Some(found) = view.matcher().known(uid) else {
        return Known {
            why: Some(NOT_KNOWN.to_owned()),
            ..known
        };
    };
    let pod = found.pod;
    let containers = pod.containers.iter().take(CONTAINERS_SHOWN);
    Known {
        live: found.standing == PodStatus::Live,
        why: why_not(&found, now),
        missing_seconds: found.missing_since.map(|since| seconds(now, since)),
        namespace: pod.namespace.to_string(),
        name: pod.name.to_string(),
        address: pod.address.map(|address| address.to_string()),
        direct_owner: pod.owner.as_ref().map(owner),
        effective_owner: found.owner.map(owner),
        version: pod.version.to_string(),
        host_network: pod.host_network,
        containers: containers
            .map(|one| format!("{} {} {}", &*one.name, &*one.image, one.id))
            .collect(),
        container_count: pod.containers.len() as u64,
        ..known
    }
}

/// Why the feed has this pod not live; `None` if it has.
fn why_not(pod: &Pod<'_>, now: Instant) -> Option<String> {
    match pod.standing {
        PodStatus::Live => None,
        PodStatus::Unknown => Some(NOT_KNOWN.to_owned()),
        PodStatus::NoAddress => Some("it has no address yet".to_owned()),
        PodStatus::Waiting => {
            let missed = pod.pod.owner.as_ref().map(owner).unwrap_or_default();
            let since = pod.missing_since.unwrap_or(now);
            let since = shown(now.saturating_duration_since(since));
            Some(format!(
                "it has waited {since} for {missed}, which is not known"
            ))
        }
    }
}

/// As `ReplicaSet/web-5d4f (uid)`.
fn owner(owner: &OwnerRef) -> String {
    format!("{}/{} ({})", owner.kind.as_str(), &*owner.name, owner.uid)
}

fn seconds(now: Instant, then: Instant) -> f64 {
    now.saturating_duration_since(then).as_secs_f64()
}

/// To a tenth of a second.
fn shown(span: Duration) -> String {
    format!("{:.1}s", span.as_secs_f64())
}
