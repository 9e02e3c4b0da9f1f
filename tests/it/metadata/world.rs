//! A metadata service in this process, and a client that asks as curl would.

use k8s_relay::{
    app::{AppError, MetadataService},
    config::{AdminAddress, Config, HostPort, Source},
    net::BoundAddr,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::support::must;

/// A service that runs.
pub(super) struct World {
    pub(super) admin: BoundAddr,
    end: CancellationToken,
    service: AbortOnDropHandle<Result<(), AppError>>,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) body: String,
}

/// Any free port of this machine.
fn anywhere() -> AdminAddress {
    AdminAddress::Tcp(HostPort {
        host: "127.0.0.1".to_owned(),
        port: 0,
    })
}

impl World {
    pub(super) async fn start(set: impl FnOnce(&mut Config)) -> Self {
        let nowhere = HostPort {
            host: "127.0.0.1".to_owned(),
            port: 0,
        };
        let mut config = Config {
            source: Source::None,
            admin_address: anywhere().into(),
            ..Config::between(nowhere.clone(), nowhere)
        };
        config.enrich.address = anywhere();
        set(&mut config);
        let service = MetadataService::start(config).await.unwrap();
        let end = CancellationToken::new();
        Self {
            admin: service.admin().unwrap().clone(),
            service: AbortOnDropHandle::new(tokio::spawn(
                service.run_until(end.clone().cancelled_owned()),
            )),
            end,
        }
    }

    /// Asks the admin listener.
    pub(super) async fn admin(&self, method: &str, path: &str) -> Answer {
        ask(&self.admin, method, path).await
    }

    pub(super) async fn end(self) {
        self.end.cancel();
        must("the service ends", self.service)
            .await
            .unwrap()
            .unwrap();
    }
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn ask(place: &BoundAddr, method: &str, path: &str) -> Answer {
    let BoundAddr::Tcp(address) = place else {
        panic!("a port was asked for, not {place}");
    };
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    must(path, stream.read_to_string(&mut answer))
        .await
        .unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        code: head.split(' ').nth(1).unwrap().parse().unwrap(),
        body: body.to_owned(),
    }
}
