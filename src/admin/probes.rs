//! What a probe is answered, from the status: never set by hand. In the form of the API server's
//! own `/livez` and `/readyz`.
//!
//! | check | of | fails when |
//! |---|---|---|
//! | `loop` | both | the loop does not answer in time |
//! | `shutdown` | `/readyz` | the relay is ending |
//! | `collect-served` | `/readyz`, legacy stages | never: it is served before anybody can ask |
//! | `native-synced` | `/readyz`, native stages | the native source has not read its first lists |
//! | `reducer-reached` | `/readyz`, but of followers | no connection to the reducer has stood since the start |
//! | `lease-seen` | `/readyz`, followers | the Lease was not seen yet |
//! | `stores` | `/readyz`, `--source none` | a kind is neither ready nor forbidden |
//! | `source-synced` | `?strict` | the active source is not synced, has ended or is failing, or there is none |
//! | `reducer-connected` | `?strict` | the reducer is not connected now |
//! | `deletes-pending` | `?strict` | deletes wait until the active source is trusted |
//! | `source-age` | `?strict` | nobody has fed the reducer's state for [`TOO_OLD`] |
//!
//! `?verbose` shows all of them; `?exclude=NAME` leaves one out.

use std::{fmt::Write as _, time::Duration};

use super::api::{Enrichment, Feed, Status};
use crate::migrate::Stage;

/// For how long nobody may feed the reducer's state. A watcher that restarts takes seconds.
pub const TOO_OLD: Duration = Duration::from_secs(60);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `/livez`
    Live,
    /// `/readyz`
    Ready,
}

/// How it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Each check is shown, also if all is well.
    pub verbose: bool,
    /// The checks that are only shown otherwise count, too.
    pub strict: bool,
    /// Checks that do not count.
    pub exclude: Vec<String>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// By which it is excluded.
    pub name: &'static str,
    /// Why it fails, if it does.
    pub result: Result<(), String>,
    /// Whether it counts without `?strict`.
    pub counts: bool,
}

/// The answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    /// No check that counts fails.
    pub passed: bool,
    /// For people.
    pub text: String,
}

impl Query {
    /// Of a URL's query, as `verbose&exclude=reducer-connected`, percent-encoded or not. What else
    /// it has is ignored, as the API server does.
    pub fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "verbose" => parsed.verbose = value != "false",
                "strict" => parsed.strict = value != "false",
                "exclude" => parsed.exclude.push(value.into_owned()),
                _ => {}
            }
        }
        parsed
    }
}

impl Probe {
    fn name(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Ready => "readyz",
        }
    }

    /// Its checks. `status`: what the loop says, or why it says nothing; `ending`: the relay is.
    pub fn checks(self, status: Result<&Status, String>, ending: bool) -> Vec<Check> {
        let looped = status.as_ref().map(|_| ()).map_err(Clone::clone);
        let mut checks = vec![counts("loop", looped)];
        if self == Self::Live {
            return checks;
        }
        let going_on = match ending {
            false => Ok(()),
            true => Err("the relay is ending".to_owned()),
        };
        checks.push(counts("shutdown", going_on));
        if let Ok(status) = status {
            ready(status, &mut checks);
        }
        checks
    }

    /// What comes of the checks.
    pub fn result(self, checks: &[Check], query: &Query) -> ProbeResult {
        let (mut passed, mut text) = (true, String::new());
        for check in checks {
            let name = check.name;
            let excluded = query.exclude.iter().any(|excluded| excluded == name);
            let counts = check.counts || query.strict;
            // A `String` takes everything.
            let _ = match &check.result {
                _ if excluded => writeln!(text, "[+]{name} excluded: ok"),
                Ok(()) => writeln!(text, "[+]{name} ok"),
                Err(why) if counts => {
                    passed = false;
                    writeln!(text, "[-]{name} failed: {why}")
                }
                Err(why) => writeln!(text, "[-]{name} failed: {why} (counts with ?strict)"),
            };
        }
        let known = |name: &&String| checks.iter().any(|check| check.name == **name);
        for unknown in query.exclude.iter().filter(|name| !known(name)) {
            let unknown = unknown.escape_debug();
            let _ = writeln!(text, "warning: there is no check \"{unknown}\" to exclude");
        }
        let _ = match passed {
            true => writeln!(text, "{} check passed", self.name()),
            false => writeln!(text, "{} check failed", self.name()),
        };
        if passed && !query.verbose {
            "ok".clone_into(&mut text);
        }
        ProbeResult { passed, text }
    }
}

/// With `--source none`: every kind is known, or will not be.
fn alone(service: Option<&Enrichment>, checks: &mut Vec<Check>) {
    let Some(service) = service else {
        let why = Err("the metadata service does not run yet".to_owned());
        return checks.push(counts("stores", why));
    };
    let unready = service.stores.iter().filter(|store| {
        let refused = store.reason.as_deref() == Some("forbidden");
        !(store.state == "READY" || store.state == "STOPPED" || refused)
    });
    let unready: Vec<String> = unready
        .map(|store| match &store.reason {
            Some(reason) => format!("{} is {} ({reason})", store.kind, store.state),
            None => format!("{} is {}", store.kind, store.state),
        })
        .collect();
    checks.push(counts(
        "stores",
        match unready.is_empty() {
            true => Ok(()),
            false => Err(unready.join(", ")),
        },
    ));
}

fn ready(status: &Status, checks: &mut Vec<Check>) {
    if status.alone {
        return alone(status.enrichment.as_ref(), checks);
    }
    let stage = status.stage;
    checks.push(match stage {
        Stage::Legacy | Stage::Shadow => counts("collect-served", Ok(())),
        Stage::ShadowNative | Stage::Native => {
            counts("native-synced", synced(status.native.as_ref(), "native"))
        }
    });
    let reducer = &status.reducer;
    let failed = reducer.last_error.as_ref().map(|error| &error.text);
    let away = |what: &str| match failed {
        Some(error) => format!("{what}: {error}"),
        None => what.to_owned(),
    };
    // A follower is warm, and has nothing to say to the reducer.
    let follower = status.leadership.as_ref().filter(|one| one.follows());
    checks.push(match follower {
        Some(follower) => counts(
            "lease-seen",
            match &follower.last_error {
                Some(why) if follower.role == "starting" => {
                    Err(format!("{}: {why}", follower.said()))
                }
                None if follower.role == "starting" => Err(follower.said()),
                Some(_) | None => Ok(()),
            },
        ),
        None => counts(
            "reducer-reached",
            match reducer.totals.link.connections {
                0 => Err(away("the reducer was never connected")),
                _ => Ok(()),
            },
        ),
    });
    let (source, name) = match (&status.legacy, &status.native) {
        (_, Some(native)) if native.active => (Some(native), "native"),
        (legacy, _) => (legacy.as_ref().filter(|feed| feed.active), "legacy"),
    };
    let healthy = synced(source, name).and_then(|()| healthy(source, status));
    checks.push(shown("source-synced", healthy));
    checks.push(shown(
        "reducer-connected",
        match reducer.connected || follower.is_some() {
            true => Ok(()),
            false => Err(away("the reducer is not connected")),
        },
    ));
    checks.push(shown(
        "deletes-pending",
        match &status.deletes_pending {
            None => Ok(()),
            Some(pending) => Err(format!(
                "for {:.0}s: {}",
                pending.since_seconds, pending.why
            )),
        },
    ));
    let old = status.unfed.as_ref();
    let old = old.filter(|unfed| unfed.seconds >= TOO_OLD.as_secs_f64());
    checks.push(shown(
        "source-age",
        match old {
            None => Ok(()),
            Some(unfed) => Err(format!("nobody for {:.0}s: {}", unfed.seconds, unfed.why)),
        },
    ));
}

fn synced(source: Option<&Feed>, name: &str) -> Result<(), String> {
    match source {
        None => Err(format!("there is no {name} source yet")),
        Some(feed) if feed.listed => Ok(()),
        Some(feed) if name == "native" => Err(format!(
            "the native source is not synced: {} of {} watches are not healthy, {} pods so far",
            feed.unhealthy, feed.sources, feed.pods
        )),
        Some(feed) => Err(format!(
            "the {name} source is not synced: {} pods so far",
            feed.pods
        )),
    }
}

/// Whether a source that is synced still hears of everything.
fn healthy(source: Option<&Feed>, status: &Status) -> Result<(), String> {
    let watches = source.map_or(&[][..], |feed| &feed.watches);
    let mut failing = watches
        .iter()
        .filter(|watch| matches!(&*watch.state, "failing" | "refused"));
    if let Some(watch) = failing.next() {
        let seconds = watch.since_seconds.unwrap_or_default();
        let namespace = watch.namespace.as_deref();
        let namespace = namespace.map_or_else(String::new, |name| format!(" in {name}"));
        let why = watch.last_error.as_ref();
        let why = why.map_or_else(String::new, |error| format!(": {}", error.text));
        let others = match failing.count() {
            0 => String::new(),
            others => format!(", and {others} more"),
        };
        let (resource, state) = (&watch.resource, &watch.state);
        return Err(format!(
            "the watch of {resource}{namespace} is {state} for {seconds:.0}s{others}{why}"
        ));
    }
    match (&status.unfed, source) {
        (Some(unfed), Some(feed)) if !feed.open => {
            Err(format!("{}, for {:.0}s", unfed.why, unfed.seconds))
        }
        (_, _) => Ok(()),
    }
}

fn counts(name: &'static str, result: Result<(), String>) -> Check {
    Check {
        name,
        result,
        counts: true,
    }
}

fn shown(name: &'static str, result: Result<(), String>) -> Check {
    Check {
        name,
        result,
        counts: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::{
        DeletesPending, LastError, Leadership, MetadataStore, Reducer, Totals, Unfed, Watch,
    };
    use crate::reducer::Counters;

    fn feed(active: bool, listed: bool) -> Option<Feed> {
        Some(Feed {
            active,
            open: true,
            listed,
            sources: 3,
            unhealthy: 1,
            ..Feed::default()
        })
    }

    fn reached(connected: bool) -> Reducer {
        Reducer {
            connected,
            totals: Totals {
                link: Counters {
                    connections: 1,
                    ..Counters::default()
                },
                ..Totals::default()
            },
            ..Reducer::default()
        }
    }

    fn answer(status: &Status, query: &str) -> ProbeResult {
        let checks = Probe::Ready.checks(Ok(status), false);
        Probe::Ready.result(&checks, &Query::parse(query))
    }

    #[test]
    fn a_relay_is_ready_when_its_source_can_be_and_the_reducer_was_reached_once() {
        for (stage, native, reducer, ready) in [
            (Stage::Legacy, None, reached(true), true),
            (Stage::Legacy, None, reached(false), true),
            (Stage::Legacy, None, Reducer::default(), false),
            (Stage::Shadow, feed(false, false), reached(true), true),
            (Stage::ShadowNative, feed(true, false), reached(true), false),
            (Stage::ShadowNative, feed(true, true), reached(true), true),
            (Stage::Native, feed(true, false), reached(true), false),
            (Stage::Native, feed(true, true), reached(false), true),
            (Stage::Native, feed(true, true), Reducer::default(), false),
            (Stage::Native, None, reached(true), false),
        ] {
            let status = Status {
                stage,
                native,
                reducer,
                ..Status::default()
            };
            let answer = answer(&status, "");
            assert_eq!(answer.passed, ready, "{stage}: {answer:?}");
        }
    }

    #[test]
    fn a_metadata_service_is_ready_when_each_store_is_or_is_forbidden() {
        let store = |kind: &str, state: &str, reason: Option<&str>| MetadataStore {
            kind: kind.to_owned(),
            state: state.to_owned(),
            reason: reason.map(str::to_owned),
            ..MetadataStore::default()
        };
        let ready = store("pod", "READY", None);
        let forbidden = store("node", "DEGRADED", Some("forbidden"));
        for (stores, why) in [
            (vec![], None),
            (vec![ready.clone(), forbidden.clone()], None),
            (
                vec![
                    ready.clone(),
                    store("job", "LISTING", None),
                    store("node", "DEGRADED", Some("unreachable")),
                ],
                Some("job is LISTING, node is DEGRADED (unreachable)"),
            ),
        ] {
            let status = Status {
                alone: true,
                enrichment: Some(Enrichment {
                    stores,
                    ..Enrichment::default()
                }),
                ..Status::default()
            };
            let answer = answer(&status, "verbose");
            assert_eq!(answer.passed, why.is_none(), "{answer:?}");
            let said = match why {
                None => "[+]stores ok\n".to_owned(),
                Some(why) => format!("[-]stores failed: {why}\n"),
            };
            assert!(answer.text.contains(&said), "{answer:?}");
        }
    }

    #[test]
    fn each_check_is_shown_and_what_only_strict_asks_for_is_marked() {
        let status = Status {
            reducer: Reducer {
                last_error: Some(LastError {
                    text: "cannot connect to 10.0.0.1:7000: refused".to_owned(),
                    ..LastError::default()
                }),
                ..reached(false)
            },
            legacy: feed(true, false),
            deletes_pending: Some(DeletesPending {
                since_seconds: 62.0,
                why: "the source is not synced".to_owned(),
                ..DeletesPending::default()
            }),
            unfed: Some(Unfed {
                seconds: 61.2,
                why: "the watcher's stream has ended".to_owned(),
            }),
            ..Status::default()
        };
        insta::assert_snapshot!(answer(&status, "verbose").text, @r"
        [+]loop ok
        [+]shutdown ok
        [+]collect-served ok
        [+]reducer-reached ok
        [-]source-synced failed: the legacy source is not synced: 0 pods so far (counts with ?strict)
        [-]reducer-connected failed: the reducer is not connected: cannot connect to 10.0.0.1:7000: refused (counts with ?strict)
        [-]deletes-pending failed: for 62s: the source is not synced (counts with ?strict)
        [-]source-age failed: nobody for 61s: the watcher's stream has ended (counts with ?strict)
        readyz check passed
        ");
        assert_eq!(answer(&status, "").text, "ok");
        let all = "exclude=source-synced&exclude=reducer-connected&exclude=deletes-pending";
        let strict = answer(&status, &format!("strict&{all}&exclude=nonsense"));
        assert!(!strict.passed, "the age is left");
        insta::assert_snapshot!(strict.text, @r#"
        [+]loop ok
        [+]shutdown ok
        [+]collect-served ok
        [+]reducer-reached ok
        [+]source-synced excluded: ok
        [+]reducer-connected excluded: ok
        [+]deletes-pending excluded: ok
        [-]source-age failed: nobody for 61s: the watcher's stream has ended
        warning: there is no check "nonsense" to exclude
        readyz check failed
        "#);
        assert!(answer(&status, &format!("strict&{all}&exclude=source-age")).passed);
    }

    /// What `source-synced` says of it under `?strict`.
    fn strict(status: &Status) -> String {
        let checks = Probe::Ready.checks(Ok(status), false);
        let all = Probe::Ready.result(&checks, &Query::parse("strict&verbose"));
        let without = Probe::Ready.result(&checks, &Query::parse("strict&exclude=source-synced"));
        let plain = Probe::Ready.result(&checks, &Query::default());
        assert!(without.passed && plain.passed, "{all:?}");
        let line = all.text.lines().find(|line| line.contains("source-synced"));
        assert_eq!(all.passed, line.unwrap().starts_with("[+]"));
        line.unwrap().to_owned()
    }

    #[test]
    fn a_source_that_fails_or_has_ended_is_noticed_at_once_under_strict() {
        let watch = |resource: &str, state: &str, text: &str| Watch {
            resource: resource.to_owned(),
            state: state.to_owned(),
            since_seconds: Some(3.2),
            last_error: Some(LastError {
                text: text.to_owned(),
                ..LastError::default()
            }),
            ..Watch::default()
        };
        let native = |watches: Vec<Watch>| Status {
            stage: Stage::Native,
            reducer: reached(true),
            native: feed(true, true).map(|feed| Feed { watches, ..feed }),
            ..Status::default()
        };
        let in_shop = Watch {
            namespace: Some("shop".to_owned()),
            ..watch("jobs", "refused", "403 Forbidden")
        };
        let ended = Status {
            reducer: reached(true),
            legacy: feed(true, true).map(|feed| Feed {
                open: false,
                ..feed
            }),
            unfed: Some(Unfed {
                seconds: 0.4,
                why: "the legacy watcher's stream has ended".to_owned(),
            }),
            ..Status::default()
        };
        let lines = [
            native(vec![
                watch("pods", "healthy", "over"),
                watch("jobs", "not allowed", "403"),
            ]),
            native(vec![watch("pods", "failing", "cannot connect: refused")]),
            native(vec![
                in_shop,
                watch("pods", "failing", "cannot connect: refused"),
            ]),
            ended,
        ];
        insta::assert_snapshot!(lines.each_ref().map(strict).join("\n"), @r"
        [+]source-synced ok
        [-]source-synced failed: the watch of pods is failing for 3s: cannot connect: refused
        [-]source-synced failed: the watch of jobs in shop is refused for 3s, and 1 more: 403 Forbidden
        [-]source-synced failed: the legacy watcher's stream has ended, for 0s
        ");
    }

    #[test]
    fn a_loop_that_does_not_answer_fails_both_and_the_end_only_readiness() {
        let busy = || Err("the loop is busy".to_owned());
        for (probe, passed) in [(Probe::Live, false), (Probe::Ready, false)] {
            let answer = probe.result(&probe.checks(busy(), false), &Query::default());
            assert_eq!(answer.passed, passed);
            assert!(
                answer
                    .text
                    .starts_with("[-]loop failed: the loop is busy\n")
            );
        }
        let status = Status {
            reducer: reached(true),
            ..Status::default()
        };
        for (probe, passed) in [(Probe::Live, true), (Probe::Ready, false)] {
            let checks = probe.checks(Ok(&status), true);
            let answer = probe.result(&checks, &Query::default());
            assert_eq!(answer.passed, passed, "{answer:?}");
        }
    }

    #[test]
    fn a_query_is_read_as_the_api_server_reads_it() {
        for (query, verbose, strict, exclude) in [
            ("", false, false, &[][..]),
            ("verbose", true, false, &[]),
            ("verbose=", true, false, &[]),
            ("verbose=true&strict", true, true, &[]),
            ("verbose=false", false, false, &[]),
            ("exclude=a&exclude=b&timeout=5s", false, false, &["a", "b"]),
            ("exclude=source%2Dage", false, false, &["source-age"]),
            ("%65xclude=a%26b+c&verb%6fse", true, false, &["a&b c"]),
            (
                "exclude=100%&exclude=%ff",
                false,
                false,
                &["100%", "\u{fffd}"],
            ),
        ] {
            let query = Query::parse(query);
            assert_eq!((query.verbose, query.strict), (verbose, strict));
            assert_eq!(query.exclude, exclude);
        }
    }

    #[test]
    fn a_follower_is_ready_when_it_is_synced_and_has_seen_the_lease() {
        for (role, listed, ready) in [
            ("follower", true, true),
            ("follower", false, false),
            ("starting", true, false),
            ("leader", true, false), // it has to reach the reducer
        ] {
            let status = Status {
                stage: Stage::Native,
                native: feed(true, listed),
                leadership: Some(Leadership {
                    role: role.to_owned(),
                    ..Leadership::default()
                }),
                ..Status::default()
            };
            assert_eq!(answer(&status, "").passed, ready, "{role} {listed}");
            let strict = answer(&status, "verbose&strict").text;
            let connected = strict.contains("[+]reducer-connected ok");
            assert_eq!(connected, role != "leader", "{strict}");
        }
    }
}
