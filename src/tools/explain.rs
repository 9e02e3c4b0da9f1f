//! `k8s-relay explain`: why a pod is announced, or is not.

use std::fmt::Write as _;

use http::Method;

use serde_json::Value;

use super::{
    ask::{self, AskArgs, AskError, counted, harmless, span},
    metadata::lookup::flatten,
};
use crate::admin::api::{Addition, Dropped, Explanation, Findings, Known};

/// Explain why a running relay announces a pod or does not
///
/// It shows what each source knows of the pod. Several pods of one name (the old and the new one of
/// a StatefulSet) are all shown. Pods that cannot be decoded are dropped; the last 256 of each
/// source are remembered. If the relay answers questions about metadata, it also shows what each
/// profile would add to an event about the pod, and what is missing.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// NAMESPACE/NAME or UID
    #[arg(value_parser = pod)]
    pub pod: String,

    /// Show what this profile of the metadata service would add [default: each]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,

    /// Whom, and how it is shown.
    #[command(flatten)]
    pub ask: AskArgs,
}

const EXAMPLES: &str = ask::with_exit_status!(
    "\
Examples:
  k8s-relay explain shop/web-5d4f8-x2x7p
  k8s-relay explain shop/web-5d4f8-x2x7p --profile otel
  k8s-relay explain 6f1c8a5e-0a4b-4f7e-9d52-0c1b7a3d9e10 --json"
);

/// Asks the relay, and prints what it says.
///
/// # Errors
/// It knows no such pod, or does not answer.
pub async fn run(args: &ExplainArgs) -> Result<(), AskError> {
    let mut path = format!("/explain?pod={}", encoded(&args.pod));
    if let Some(profile) = &args.profile {
        path += &format!("&profile={}", encoded(profile));
    }
    let (json, findings) = args.ask.ask::<Findings>(Method::GET, &path).await?;
    if args.ask.json {
        return ask::print(&json);
    }
    ask::print(text(&findings).as_bytes())
}

fn pod(text: &str) -> Result<String, &'static str> {
    let named = match text.split_once('/') {
        Some((namespace, name)) => !namespace.is_empty() && !name.is_empty(),
        None => !text.is_empty(),
    };
    match named {
        true => Ok(text.to_owned()),
        false => Err("expected NAMESPACE/NAME or UID"),
    }
}

/// For a query: everything but letters, digits and a few signs as `%` and two digits.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' => {
                encoded.push(char::from(byte));
            }
            other => {
                // A `String` takes everything.
                let _ = write!(encoded, "%{other:02X}");
            }
        }
    }
    encoded
}

/// The findings for people.
fn text(findings: &Findings) -> String {
    let mut text = ExplainText::default();
    for pod in &findings.pods {
        text.pod(pod);
    }
    if findings.more {
        text.line("", "more pods have this name");
    }
    for dropped in &findings.dropped {
        text.dropped(dropped);
    }
    for addition in &findings.profiles {
        text.addition(addition);
    }
    text.0
}

#[derive(Default)]
struct ExplainText(String);

impl ExplainText {
    fn line(&mut self, heading: &str, text: &str) {
        let _ = writeln!(self.0, "{heading:<9} {}", harmless(text));
    }

    fn pod(&mut self, pod: &Explanation) {
        self.line("pod", &pod.uid);
        if let Some(announced) = &pod.announced {
            let containers = counted(announced.containers, "container");
            let epoch = announced.epoch;
            self.line(
                "announced",
                &format!("yes, in epoch {epoch}, with {containers}"),
            );
            if let Some(why) = &announced.kept {
                self.line("", why);
            }
            if announced.outdated {
                self.line(
                    "",
                    "it has changed since, which --reannounce never does not send",
                );
            }
        }
        if let Some(why) = &pod.not_announced {
            self.line("announced", &format!("no: {why}"));
        }
        for known in &pod.feeds {
            self.known(known);
        }
    }

    fn known(&mut self, known: &Known) {
        let active = if known.active { ", active" } else { "" };
        let feed = format!("feed {}{active}", known.generation);
        let Known {
            namespace,
            name,
            why,
            ..
        } = known;
        if known.name.is_empty() && known.namespace.is_empty() && !known.live {
            let why = why.as_deref().unwrap_or_default();
            return self.line(&known.feed, &format!("{feed}: {why}"));
        }
        let why = match why {
            Some(why) => format!("not live: {why}"),
            None => "live".to_owned(),
        };
        self.line(&known.feed, &format!("{feed}: {namespace}/{name}, {why}"));
        if let (true, Some(seconds)) = (known.live, known.missing_seconds) {
            let missed = span(seconds);
            self.line(
                "",
                &format!("announced under its direct owner, which has been missed for {missed}"),
            );
        }
        let host = if known.host_network {
            ", host network"
        } else {
            ""
        };
        let address = known.address.as_deref().unwrap_or("none");
        self.line("", &format!("address {address}{host}"));
        match (&known.direct_owner, &known.effective_owner) {
            (None, _) => self.line("", "owner none"),
            (Some(direct), None) => self.line("", &format!("owner {direct}")),
            (Some(direct), Some(effective)) if direct == effective => {
                self.line("", &format!("owner {direct}"));
            }
            (Some(direct), Some(effective)) => {
                self.line("", &format!("owner {direct}, announced as {effective}"));
            }
        }
        if !known.version.is_empty() {
            self.line("", &format!("version {}", known.version));
        }
        for container in &known.containers {
            self.line("", &format!("container {container}"));
        }
        let shown = known.containers.len() as u64;
        if shown < known.container_count {
            let more = counted(known.container_count - shown, "container");
            self.line("", &format!("and {more} more"));
        }
    }

    fn addition(&mut self, addition: &Addition) {
        let Addition {
            profile,
            state,
            reason,
            metadata,
            missing,
        } = addition;
        let why = reason
            .as_ref()
            .map_or_else(String::new, |why| format!(": {why}"));
        let what = match metadata {
            Some(_) => "would add to an event about the pod",
            None => "would add nothing",
        };
        self.line("profile", &format!("{profile} {what} ({state}{why})"));
        for part in missing {
            self.line("missing", &format!("its {} ({})", part.part, part.reason));
        }
        let mut rows = Vec::new();
        if let Some(Value::Object(fields)) = metadata {
            flatten("", fields, &mut rows);
        }
        for (field, value) in rows {
            self.line("", &format!("{field} = {value}"));
        }
    }

    fn dropped(&mut self, dropped: &Dropped) {
        let Dropped {
            source,
            uid,
            namespace,
            name,
            reason,
            seconds,
        } = dropped;
        let ago = span(*seconds);
        self.line(
            "dropped",
            &format!("{namespace}/{name} ({uid}), {ago} ago, by the {source} source: {reason}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::{Announced, MissingPart};

    #[test]
    fn a_query_says_the_very_text() {
        for (text, expected) in [
            ("shop/web-1", "shop/web-1"),
            ("a b&c=d?e#f%", "a%20b%26c%3Dd%3Fe%23f%25"),
            ("ü\n", "%C3%BC%0A"),
        ] {
            assert_eq!(encoded(text), expected);
        }
    }

    #[test]
    fn every_pod_of_the_name_is_shown_with_what_each_feed_knows() {
        let owner = "ReplicaSet/web-5d4f (uid-2)".to_owned();
        let live = Known {
            feed: "legacy".to_owned(),
            generation: 3,
            active: true,
            live: true,
            namespace: "shop".to_owned(),
            name: "web-1".to_owned(),
            address: Some("10.0.0.1".to_owned()),
            direct_owner: Some(owner.clone()),
            effective_owner: Some("Deployment/web (uid-3)".to_owned()),
            version: "nginx:1".to_owned(),
            host_network: true,
            containers: vec!["main nginx:1 containerd://ab".to_owned()],
            container_count: 21,
            ..Known::default()
        };
        let findings = Findings {
            pods: vec![
                Explanation {
                    uid: "uid-1".to_owned(),
                    announced: Some(Announced {
                        epoch: 2,
                        containers: 1,
                        outdated: true,
                        ..Announced::default()
                    }),
                    not_announced: None,
                    feeds: vec![
                        live.clone(),
                        Known {
                            feed: "native".to_owned(),
                            generation: 1,
                            why: Some("not known".to_owned()),
                            ..Known::default()
                        },
                    ],
                },
                Explanation {
                    uid: "uid-1-old".to_owned(),
                    announced: None,
                    not_announced: Some("in the active feed: it has no address yet".to_owned()),
                    feeds: vec![
                        Known {
                            live: false,
                            why: Some("it has no address yet".to_owned()),
                            address: None,
                            direct_owner: None,
                            effective_owner: None,
                            version: String::new(),
                            containers: Vec::new(),
                            container_count: 0,
                            host_network: false,
                            ..live.clone()
                        },
                        Known {
                            feed: "native".to_owned(),
                            active: false,
                            effective_owner: Some(owner),
                            missing_seconds: Some(61.0),
                            name: "web\u{7}".to_owned(),
                            ..live
                        },
                    ],
                },
            ],
            more: true,
            dropped: vec![Dropped {
                source: "native".to_owned(),
                uid: "uid-9".to_owned(),
                namespace: "shop".to_owned(),
                name: "web-1".to_owned(),
                reason: "wrong_type".to_owned(),
                seconds: 5.0,
            }],
            profiles: vec![
                Addition {
                    profile: "default".to_owned(),
                    state: "LIVE".to_owned(),
                    metadata: Some(serde_json::json!({
                        "kubernetes": { "pod": { "name": "web-1" }, "labels": { "a": "b" } },
                    })),
                    missing: vec![MissingPart {
                        part: "node".to_owned(),
                        reason: "forbidden".to_owned(),
                    }],
                    ..Addition::default()
                },
                Addition {
                    profile: "nodes".to_owned(),
                    state: "DISABLED".to_owned(),
                    ..Addition::default()
                },
            ],
        };
        insta::assert_snapshot!(text(&findings), @r"
        pod       uid-1
        announced yes, in epoch 2, with 1 container
                  it has changed since, which --reannounce never does not send
        legacy    feed 3, active: shop/web-1, live
                  address 10.0.0.1, host network
                  owner ReplicaSet/web-5d4f (uid-2), announced as Deployment/web (uid-3)
                  version nginx:1
                  container main nginx:1 containerd://ab
                  and 20 containers more
        native    feed 1: not known
        pod       uid-1-old
        announced no: in the active feed: it has no address yet
        legacy    feed 3, active: shop/web-1, not live: it has no address yet
                  address none
                  owner none
        native    feed 3: shop/web\u{7}, live
                  announced under its direct owner, which has been missed for 1m 1s
                  address 10.0.0.1, host network
                  owner ReplicaSet/web-5d4f (uid-2)
                  version nginx:1
                  container main nginx:1 containerd://ab
                  and 20 containers more
                  more pods have this name
        dropped   shop/web-1 (uid-9), 5.0s ago, by the native source: wrong_type
        profile   default would add to an event about the pod (LIVE)
        missing   its node (forbidden)
                  kubernetes.pod.name = web-1
                  kubernetes.labels.a = b
        profile   nodes would add nothing (DISABLED)
        ");
    }
}
