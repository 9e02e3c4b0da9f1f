//! A simulated cluster, a metadata service in this process, and a client that asks as curl would.

use std::{path::PathBuf, time::Duration};

use k8s_relay::{
    app::{AppError, MetadataService},
    config::{AdminAddress, Config, HostPort, Source},
    enrich::{profile::Setting, resource::Resource},
    net::BoundAddr,
    sim::kube::{Object, Options, Raw, SimApi},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::support::must;

/// A small shop: an object of each kind, all in the namespace `shop`.
const OBJECTS: &str = include_str!("../../../src/tools/demo/enrich/objects.json");

/// A pod of that shop.
pub(super) const POD: &str = "shop/web-5d4f8-x2x7p";

/// A cluster that holds the shop, and how it is reached.
pub(super) struct Shop {
    pub(super) api: SimApi,
    pub(super) dir: TempDir,
}

/// A service that runs.
pub(super) struct World {
    pub(super) shop: Shop,
    pub(super) admin: BoundAddr,
    pub(super) address: BoundAddr,
    end: CancellationToken,
    service: AbortOnDropHandle<Result<(), AppError>>,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) body: String,
}

impl Shop {
    pub(super) async fn open() -> Self {
        let kinds = Resource::kinds();
        let options = Options {
            kinds: kinds.clone(),
            ..Options::default()
        };
        let api = SimApi::start(options).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let shop = Self { api, dir };
        let objects: Vec<Value> = serde_json::from_str(OBJECTS).unwrap();
        objects.into_iter().for_each(|object| shop.put(object));
        std::fs::write(shop.kubeconfig(), shop.api.kubeconfig().to_string()).unwrap();
        shop
    }

    /// Puts an object there, or in the place of the one of its name.
    pub(super) fn put(&self, json: Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = Resource::from_kind(&text(&json["kind"])).unwrap();
        self.api.apply(Object::Manifest(Raw {
            kind: kind.find(&Resource::kinds()).unwrap(),
            namespace: text(&json["metadata"]["namespace"]).into(),
            name: text(&json["metadata"]["name"]),
            json,
        }));
    }

    /// A file by which the cluster is reached.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// A file next to it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Any free port of this machine.
pub(super) fn anywhere() -> HostPort {
    HostPort {
        host: "127.0.0.1".to_owned(),
        port: 0,
    }
}

/// A service on free ports for this shop.
pub(super) fn config(shop: &Shop) -> Config {
    let mut config = Config {
        source: Source::None,
        admin_address: AdminAddress::Tcp(anywhere()).into(),
        ..Config::between(anywhere(), anywhere())
    };
    config.native.kubeconfig = Some(shop.kubeconfig());
    config.native.retry.first = Duration::from_millis(10);
    config.native.retry.slowest = Duration::from_millis(100);
    config.enrich.address = AdminAddress::Tcp(anywhere());
    config
}

/// A block of settings with these profiles.
pub(super) fn profiles(profiles: &[(&str, &[(&str, &str)])]) -> Setting {
    let text =
        |(key, value): &(&str, &str)| ((*key).to_owned(), Setting::Text((*value).to_owned()));
    let profiles = profiles.iter().map(|(name, settings)| {
        let settings = settings.iter().map(text).collect();
        ((*name).to_owned(), Setting::Map(settings))
    });
    Setting::Map(vec![(
        "profiles".to_owned(),
        Setting::Map(profiles.collect()),
    )])
}

impl World {
    pub(super) async fn start(set: impl FnOnce(&mut Config)) -> Self {
        let shop = Shop::open().await;
        let mut config = config(&shop);
        set(&mut config);
        Self::of(shop, config).await
    }

    pub(super) async fn of(shop: Shop, config: Config) -> Self {
        let service = MetadataService::start(config).await.unwrap();
        let end = CancellationToken::new();
        Self {
            shop,
            admin: service.admin().unwrap().clone(),
            address: service.enrichment().clone(),
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

    /// Looks something up.
    pub(super) async fn get(&self, path: &str) -> Answer {
        ask(&self.address, "GET", path).await
    }

    /// Waits until the admin listener answers so.
    pub(super) async fn until(&self, path: &str, is: impl Fn(&Answer) -> bool) -> Answer {
        until(&self.admin, path, is).await
    }

    pub(super) async fn end(self) {
        self.end.cancel();
        must("the service ends", self.service)
            .await
            .unwrap()
            .unwrap();
        self.shop.api.shutdown().await;
    }
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

/// Asks until the answer is so.
pub(super) async fn until(place: &BoundAddr, path: &str, is: impl Fn(&Answer) -> bool) -> Answer {
    must(path, async {
        loop {
            let answer = ask(place, "GET", path).await;
            if is(&answer) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

pub(super) async fn ask(place: &BoundAddr, method: &str, path: &str) -> Answer {
    let BoundAddr::Tcp(address) = place else {
        panic!("a port was asked for, not {place}");
    };
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    let request = head + "content-length: 0\r\n\r\n";
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
