//! What is said to a credential plugin, and what it answers. Pure.
//!
//! It is asked by a variable, `KUBERNETES_EXEC_INFO`, and answers on its standard output; both is
//! JSON of one version. Absent here: processes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::jiff::{Timestamp, fmt::temporal::Pieces};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::kubeconfig::{self, Cluster, one_line};

/// The versions of the protocol.
pub const VERSIONS: [&str; 2] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];

/// What a plugin has answered: a token, a certificate with its key, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// A bearer token, trimmed.
    pub token: Option<String>,
    /// PEM of a certificate and its key.
    pub identity: Option<(String, String)>,
    /// Until when it counts, in seconds since 1970; `None`: until the server says otherwise.
    pub expires: Option<i64>,
}

/// The text of `KUBERNETES_EXEC_INFO`. `cluster` and the PEM of its authorities are for plugins
/// that ask for them.
pub fn info(version: &str, cluster: Option<(&Cluster, Option<&[u8]>)>) -> String {
    let mut spec = Map::new();
    if let Some((cluster, authority)) = cluster {
        let mut about = Map::new();
        about.insert("server".to_owned(), json!(cluster.server));
        let mut add = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                about.insert(key.to_owned(), value);
            }
        };
        add(
            "tls-server-name",
            cluster.tls_server_name.as_ref().map(|name| json!(name)),
        );
        add(
            "insecure-skip-tls-verify",
            cluster.insecure.then(|| json!(true)),
        );
        add(
            "certificate-authority-data",
            authority.map(|pem| json!(STANDARD.encode(pem))),
        );
        add(
            "proxy-url",
            cluster.proxy_url.as_ref().map(|url| json!(url)),
        );
        add(
            "disable-compression",
            cluster.disable_compression.then(|| json!(true)),
        );
        add("config", cluster.plugin_config.clone());
        spec.insert("cluster".to_owned(), Value::Object(about));
    }
    spec.insert("interactive".to_owned(), json!(false));
    json!({"kind": "ExecCredential", "apiVersion": version, "spec": spec}).to_string()
}

/// Understands an answer to a question in `version`.
///
/// # Errors
/// It is none, or says nothing that lets us in.
pub fn answer(output: &[u8], version: &str) -> Result<Answer, String> {
    if output.trim_ascii().is_empty() {
        return Err("it has printed nothing".to_owned());
    }
    let said = credential(output)?;
    if said.kind != "ExecCredential" {
        let kind = one_line(&said.kind);
        return Err(format!("it prints a `{kind}`, not an ExecCredential"));
    }
    if said.api_version != version {
        let other = one_line(&said.api_version);
        return Err(format!(
            "it answers in version `{other}`, not in `{version}`"
        ));
    }
    let status = said.status.ok_or("its answer has no status")?;
    let text = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let token = text(status.token).map(|token| token.trim().to_owned());
    let pair = (
        text(status.client_certificate_data),
        text(status.client_key_data),
    );
    let identity = match pair {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err("it gives a certificate without its key".to_owned()),
        (None, Some(_)) => return Err("it gives a key without its certificate".to_owned()),
    };
    if token.is_none() && identity.is_none() {
        return Err("it gives neither a token nor a certificate with its key".to_owned());
    }
    let expires = match text(status.expiration_timestamp) {
        None => None,
        Some(date) => Some(seconds(&date)?),
    };
    Ok(Answer {
        token,
        identity,
        expires,
    })
}

/// JSON or, as kubectl takes it, what a kubeconfig may be written in.
fn credential(output: &[u8]) -> Result<Credential, String> {
    let no =
        |error: &dyn std::fmt::Display| format!("what it prints is not an ExecCredential: {error}");
    let error = match serde_json::from_slice(output) {
        Ok(said) => return Ok(said),
        Err(error) => error,
    };
    match kubeconfig::document(output) {
        Ok(Value::Object(said)) => {
            serde_json::from_value(Value::Object(said)).map_err(|error| no(&error))
        }
        Ok(_) | Err(_) => Err(no(&error)),
    }
}

fn seconds(date: &str) -> Result<i64, String> {
    if let Ok(read) = date.trim().parse::<Timestamp>() {
        return Ok(read.as_second());
    }
    // To some "never" is the last second of the year 9999, and that is beyond the calendar.
    let pieces = Pieces::parse(date.trim()).ok();
    let beyond = pieces.is_some_and(|pieces| {
        pieces.date().year() == 9999 && pieces.time().is_some() && pieces.offset().is_some()
    });
    match beyond {
        true => Ok(Timestamp::MAX.as_second()),
        false => {
            let date = one_line(date);
            Err(format!("its expirationTimestamp `{date}` is not a date"))
        }
    }
}

#[derive(Deserialize)]
struct Credential {
    #[serde(default)]
    kind: String,
    #[serde(default, rename = "apiVersion")]
    api_version: String,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "client.authentication.k8s.io/v1";

    fn said(status: &str) -> Result<Answer, String> {
        let text = format!(r#"{{"apiVersion":"{V1}","kind":"ExecCredential","status":{status}}}"#);
        answer(text.as_bytes(), V1)
    }

    #[test]
    fn a_token_a_certificate_or_both_are_an_answer() {
        let token = |token: &str, expires| Answer {
            token: Some(token.to_owned()),
            expires,
            ..Answer::default()
        };
        let pair = Some(("c".to_owned(), "k".to_owned()));
        for (status, expected) in [
            (r#"{"token":"t"}"#, token("t", None)),
            (r#"{"token":" t\n"}"#, token("t", None)),
            (
                r#"{"token":"t","expirationTimestamp":"2001-09-09T01:46:40Z"}"#,
                token("t", Some(1_000_000_000)),
            ),
            (
                r#"{"token":"t","expirationTimestamp":"2001-09-09T03:46:40.5+02:00","new":1}"#,
                token("t", Some(1_000_000_000)),
            ),
            (
                r#"{"token":"t","expirationTimestamp":"9999-12-31T23:59:59Z"}"#,
                token("t", Some(Timestamp::MAX.as_second())),
            ),
            (
                r#"{"clientCertificateData":"c","clientKeyData":"k","token":""}"#,
                Answer {
                    identity: pair.clone(),
                    ..Answer::default()
                },
            ),
            (
                r#"{"clientCertificateData":"c","clientKeyData":"k","token":"t"}"#,
                Answer {
                    identity: pair,
                    ..token("t", None)
                },
            ),
        ] {
            assert_eq!(said(status), Ok(expected), "{status}");
        }
    }

    #[test]
    fn an_answer_may_be_written_as_kubectl_takes_it() {
        let json =
            format!(r#"{{"apiVersion":"{V1}","kind":"ExecCredential","status":{{"token":"t"}}}}"#);
        let yaml = format!("apiVersion: {V1}\nkind: ExecCredential\nstatus: {{token: t}}\n");
        let twice = json.replace(r#""token""#, r#""token":"old","token""#);
        for text in [format!("\u{feff}{json}"), yaml, twice] {
            let token = answer(text.as_bytes(), V1).map(|answer| answer.token);
            assert_eq!(token, Ok(Some("t".to_owned())), "{text}");
        }
    }

    #[test]
    fn whatever_else_it_prints_is_one_line() {
        let whole = |text: &str| answer(text.as_bytes(), V1);
        for (answer, clue) in [
            (whole(""), "nothing"),
            (whole(" \n"), "nothing"),
            (whole("junk"), "not an ExecCredential"),
            (whole("[1]"), "not an ExecCredential"),
            (whole("{}"), "not an ExecCredential"),
            (
                whole(r#"{"kind":"Pod\nX","apiVersion":"v1"}"#),
                "not an ExecCredential",
            ),
            (
                whole(
                    r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1"}"#,
                ),
                "v1beta1",
            ),
            (said("null"), "no status"),
            (said("{}"), "neither"),
            (said(r#"{"token":"\n"}"#), "neither"),
            (said(r#"{"clientKeyData":"k"}"#), "without its certificate"),
            (said(r#"{"clientCertificateData":"c"}"#), "without its key"),
            (
                said(r#"{"token":"t","expirationTimestamp":"soon"}"#),
                "soon",
            ),
            (
                said(r#"{"token":"t","expirationTimestamp":"9999-12-31"}"#),
                "not a date",
            ),
            (said(r#"{"token":5}"#), "not an ExecCredential"),
        ] {
            let why = answer.unwrap_err();
            assert!(why.contains(clue) && !why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn a_plugin_hears_of_the_cluster_only_if_it_asks() {
        assert_eq!(
            info(V1, None),
            r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}"#
        );
        let cluster = Cluster {
            server: "https://a".to_owned(),
            insecure: true,
            tls_server_name: Some("b".to_owned()),
            plugin_config: Some(json!({"audience": "c"})),
            ..Cluster::default()
        };
        assert_eq!(
            info(VERSIONS[1], Some((&cluster, Some(b"pem")))),
            r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"cluster":{"server":"https://a","tls-server-name":"b","insecure-skip-tls-verify":true,"certificate-authority-data":"cGVt","config":{"audience":"c"}},"interactive":false}}"#
        );
    }
}
