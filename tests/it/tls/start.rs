//! What the start, and a check of the settings, make of certificates and keys.

use std::{path::PathBuf, process::Output};

use k8s_relay::{
    app,
    config::{Config, HostPort, ListenerTls, ReducerTls},
};
use tokio::process::Command;

use crate::support::{
    certs::{Authority, Secret},
    must,
};

fn config() -> Config {
    let at = |port| HostPort {
        host: "127.0.0.1".to_owned(),
        port,
    };
    Config::between(at(0), at(1))
}

async fn refused(config: Config) -> String {
    let checked = app::check(&config).await.unwrap_err().to_string();
    let started = app::Relay::start(config).await.map(drop).unwrap_err();
    assert_eq!(started.to_string(), checked);
    assert!(!checked.contains('\n'), "{checked}");
    checked
}

#[tokio::test]
async fn files_that_cannot_be_used_stop_the_start_with_one_line() {
    let authority = Authority::new();
    let good = authority.pair("relay");
    let other = authority.pair("other");
    let expired = authority.pair_of("relay", 2020, 2021);
    let early = authority.pair_of("relay", 2038, 2039);
    let ca = authority.pem();
    let half = &good.certificate[..good.certificate.len() / 2];
    for (ca, certificate, key, clue) in [
        (
            ca.as_str(),
            "",
            good.key.as_str(),
            "tls.crt holds no certificate",
        ),
        (&ca, half, &good.key, "tls.crt is not PEM"),
        (&ca, &good.certificate, &other.key, "do not belong together"),
        (&ca, &good.certificate, "", "tls.key holds no private key"),
        (
            &ca,
            &expired.certificate,
            &expired.key,
            "has expired, on 2021-01-01",
        ),
        (
            &ca,
            &early.certificate,
            &early.key,
            "is not valid before 2038-01-01",
        ),
        (
            "",
            &good.certificate,
            &good.key,
            "ca.crt holds no certificate",
        ),
        (&ca[..100], &good.certificate, &good.key, "half-written"),
    ] {
        let mut secret = Secret::new(&authority, &good);
        secret.switch(ca, certificate, key);
        let identity = (secret.certificate(), secret.key());
        let listener = ListenerTls {
            certificate: secret.certificate(),
            key: secret.key(),
            client_ca: Some(secret.authority()),
        };
        let to_reducer = ReducerTls {
            ca: Some(secret.authority()),
            identity: Some(identity),
            server_name: Some("reducer.example".to_owned()),
        };
        for (config, user) in [
            (
                Config {
                    reducer_tls: Some(to_reducer),
                    ..config()
                },
                "TLS to the reducer: ",
            ),
            (
                Config {
                    server_tls: Some(listener.clone()),
                    ..config()
                },
                "TLS for legacy watchers: ",
            ),
            (
                Config {
                    admin_tls: Some(listener),
                    ..config()
                },
                "TLS of the admin listener: ",
            ),
        ] {
            let said = refused(config).await;
            assert!(
                said.starts_with(user) && said.contains(clue),
                "{clue}: {said}"
            );
        }
    }
    let missing = ReducerTls {
        ca: Some(PathBuf::from("/no/such/ca.pem")),
        ..ReducerTls::default()
    };
    let said = refused(Config {
        reducer_tls: Some(missing),
        ..config()
    })
    .await;
    assert!(said.contains("/no/such/ca.pem: No such file"), "{said}");
}

async fn check(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
        .arg("--check-config")
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output();
    must("a check", output).await.unwrap()
}

#[tokio::test]
async fn the_systems_authorities_are_those_of_the_variables_and_their_lack_is_said() {
    let authority = Authority::new();
    let secret = Secret::new(&authority, &authority.pair("a"));
    let folder = tempfile::tempdir().unwrap();
    let ca = secret.path("ca.crt");
    let none = folder.path().to_str().unwrap();
    let found = check(&[("SSL_CERT_FILE", &ca)], &["--tls"]).await;
    assert!(found.status.success(), "{found:?}");
    let lacking = check(&[("SSL_CERT_DIR", none)], &["--tls"]).await;
    let said = String::from_utf8_lossy(&lacking.stderr).into_owned();
    assert_eq!(lacking.status.code(), Some(2), "{said}");
    assert!(said.contains("authorities"), "{said}");
    let missing = check(&[("SSL_CERT_FILE", "/no/such/file")], &["--tls"]).await;
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.contains("/no/such/file"), "{said}");
}

#[tokio::test]
async fn a_check_says_which_certificates_would_be_used_and_nothing_of_keys() {
    let authority = Authority::new();
    let pair = authority.pair("relay.example");
    let secret = Secret::new(&authority, &pair);
    let (certificate, key) = (secret.path("tls.crt"), secret.path("tls.key"));
    let arguments = ["--server-tls-cert", &certificate, "--server-tls-key", &key];
    let checked = check(&[], &arguments).await;
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    let shown = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{said}");
    assert!(
        said.contains("CN=relay.example") && said.contains("2040-01-01"),
        "{said}"
    );
    assert!(
        shown.contains(&format!("server-tls-key = {key}")),
        "{shown}"
    );
    for line in pair.key.lines().skip(1) {
        assert!(!said.contains(line) && !shown.contains(line), "{line}");
    }
}

#[tokio::test]
async fn settings_of_tls_without_tls_stop_the_start() {
    for (environment, arguments, clue) in [
        (&[][..], &["--tls-ca", "/ca"][..], "--tls-ca needs --tls"),
        (
            &[("K8S_RELAY_TLS_SERVER_NAME", "a")],
            &[],
            "--tls-server-name needs --tls",
        ),
        (
            &[],
            &["--tls", "--tls-cert", "/c"],
            "--tls-cert needs --tls-key",
        ),
        (
            &[],
            &["--server-tls-key", "/k"],
            "--server-tls-key needs --server-tls-cert",
        ),
        (
            &[],
            &["--admin-tls-client-ca", "/k"],
            "--admin-tls-client-ca needs --admin-tls-cert",
        ),
    ] {
        let checked = check(environment, arguments).await;
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(2), "{said}");
        assert!(said.contains(clue), "{clue}: {said}");
    }
}
