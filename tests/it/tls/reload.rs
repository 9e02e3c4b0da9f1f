//! Certificates that are renewed while the relay runs.

use std::{fs, sync::Arc, time::Duration};

use k8s_relay::net::{
    Listener,
    tls::{Authorities, ClientCerts, Handshakes, Materials, Paths, Role, ServerTls},
};
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::support::{
    certs::{Authority, Secret},
    must,
    relay::Relay,
};

const ROLE: Role = Role {
    label: "test",
    words: "of a test",
};

async fn server(secret: &Secret) -> (ServerTls, Materials) {
    let paths = Paths {
        identity: Some((secret.certificate(), secret.key())),
        authorities: Authorities::None,
    };
    let tls = ServerTls::load(ROLE, paths, ClientCerts::Required, &[]).await;
    let tls = tls.unwrap();
    let mut materials = Materials::default();
    tls.kept_by(&mut materials);
    (tls, materials)
}

#[tokio::test]
async fn a_set_that_cannot_be_used_leaves_the_one_in_use_and_is_said_until_it_is_over() {
    let authority = Authority::new();
    let (first, second) = (authority.pair("first"), authority.pair("second"));
    let expired = authority.pair_of("expired", 2020, 2021);
    let mut secret = Secret::new(&authority, &first);
    let (tls, materials) = server(&secret).await;
    let ca = authority.pem();
    let half = &second.certificate[..second.certificate.len() / 2];
    for (certificate, key, clue) in [
        (half, second.key.as_str(), "not PEM"),
        (&second.certificate, &first.key, "do not belong together"),
        (&second.certificate, "", "no private key"),
        (&expired.certificate, &expired.key, "has expired"),
    ] {
        secret.switch(&ca, certificate, key);
        for _ in 0..2 {
            materials.look_again().await;
            let flaw = materials.standing()[0].flaw.clone().unwrap();
            assert!(flaw.contains(clue), "{clue}: {flaw}");
            assert_eq!(tls.names(), ["first"]);
        }
    }
    fs::remove_file(secret.at("..data")).unwrap();
    materials.look_again().await;
    let flaw = materials.standing()[0].flaw.clone().unwrap();
    assert!(flaw.contains("No such file"), "{flaw}");

    secret.switch(&ca, &first.certificate, &first.key);
    materials.look_again().await;
    assert_eq!(
        (materials.standing()[0].flaw.clone(), tls.names()),
        (None, vec!["first".to_owned()])
    );
    secret.switch(&ca, &second.certificate, &second.key);
    materials.look_again().await;
    assert_eq!(
        (materials.standing()[0].flaw.clone(), tls.names()),
        (None, vec!["second".to_owned()])
    );
}

#[tokio::test]
async fn files_are_read_again_at_times_and_when_somebody_asks() {
    let authority = Authority::new();
    let mut secret = Secret::new(&authority, &authority.pair("first"));
    let (tls, materials) = server(&secret).await;
    let (ask, asked) = tokio::sync::watch::channel(0);
    for (name, interval) in [
        ("asked", Duration::from_secs(3600)),
        ("timed", Duration::from_millis(1)),
    ] {
        let keeping = materials.clone().keep(interval, asked.clone());
        let keeping = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(keeping));
        let pair = authority.pair(name);
        secret.switch(&authority.pem(), &pair.certificate, &pair.key);
        let seen = async {
            while tls.names() != [name] {
                if name == "asked" {
                    ask.send_modify(|count| *count += 1);
                }
                tokio::task::yield_now().await;
            }
        };
        must(name, seen).await;
        drop(keeping);
    }
}

#[tokio::test]
async fn no_client_is_turned_away_while_certificates_are_switched() {
    let authority = Authority::new();
    let mut secret = Secret::new(&authority, &authority.pair("relay"));
    let (tls, materials) = server(&secret).await;
    let listener = Listener::tcp("127.0.0.1", 0).await.unwrap();
    let handshakes = Handshakes::new("test");
    let listener = listener.secured(Some(tls), handshakes.clone());
    let k8s_relay::net::BoundAddr::Tcp(address) = listener.address().unwrap() else {
        panic!("no port");
    };
    let serving = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tasks.spawn(async move {
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                stream.write_all(&byte).await.unwrap();
                stream.shutdown().await.unwrap();
            });
        }
    }));
    let config = authority.client(None, "h2");
    let mut shown = std::collections::BTreeSet::new();
    for round in 0..40_u8 {
        if round % 4 == 1 {
            let pair = authority.pair("relay");
            secret.switch(&authority.pem(), &pair.certificate, &pair.key);
        }
        let call = async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("relay").unwrap();
            let connector = TlsConnector::from(Arc::clone(&config));
            let mut stream = connector.connect(name, tcp).await.unwrap();
            let chain = stream.get_ref().1.peer_certificates().unwrap();
            let leaf = chain[0].to_vec();
            stream.write_all(&[round]).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, [round]);
            leaf
        };
        let (leaf, ()) = must("a call", async {
            tokio::join!(call, materials.look_again())
        })
        .await;
        shown.insert(leaf);
    }
    assert!(shown.len() >= 10, "{}", shown.len());
    assert_eq!(handshakes.failed().map(|(_, count)| count).sum::<u64>(), 0);
    drop(serving);
}

#[tokio::test]
async fn sighup_has_certificates_read_again_and_ends_a_relay_that_has_none() {
    let authority = Authority::new();
    let mut secret = Secret::new(&authority, &authority.pair("first"));
    let (certificate, key) = (secret.path("tls.crt"), secret.path("tls.key"));
    let arguments = [
        "--intake-port",
        "1",
        "--server-tls-cert",
        &certificate,
        "--server-tls-key",
        &key,
    ];
    let mut relay = Relay::start_at("--info", &arguments).await;
    let second = authority.pair("second");
    secret.switch(&authority.pem(), &second.certificate, &second.key);
    relay.signal(Signal::SIGHUP);
    let read = relay
        .logged("the new certificate is read", |line| {
            line["message"] == "the relay has read a new certificate"
        })
        .await;
    assert_eq!(read["subject"], "CN=second");
    secret.switch(&authority.pem(), "", &second.key);
    relay.signal(Signal::SIGHUP);
    let kept = relay
        .logged("the old certificate is kept", |line| {
            let message = line["message"].as_str().unwrap_or_default();
            message.contains("keeps the certificates that it has")
        })
        .await;
    assert!(
        kept["why"].as_str().unwrap().contains(&certificate),
        "{kept}"
    );
    relay.signal(Signal::SIGTERM);
    assert_eq!(relay.ended().await.code(), Some(0));
    let log = relay.log();
    assert!(log.iter().all(|line| {
        !line
            .to_string()
            .contains(second.key.lines().nth(1).unwrap())
    }));
}
