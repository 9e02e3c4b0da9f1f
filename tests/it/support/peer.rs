//! A relay's side of a connection to a mock reducer.

use std::net::SocketAddr;

use k8s_relay::wire::messages::*;
use k8s_relay::wire::{Encode, Writer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::must;

/// Awaits what a mock reducer and its peer must do.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    must("what a mock reducer and its peer do", future).await
}

pub struct Peer {
    pub stream: TcpStream,
    pub writer: Writer,
    pub out: Vec<u8>,
}

impl Peer {
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        Self {
            stream,
            writer: Writer::new(),
            out: Vec::new(),
        }
    }

    pub fn push(&mut self, message: impl Encode) {
        self.writer.push(77, &message, &mut self.out).unwrap();
    }

    pub async fn send(&mut self) {
        self.writer.flush(&mut self.out);
        self.stream.write_all(&self.out).await.unwrap();
        self.out.clear();
    }

    pub async fn send_handshake(&mut self) {
        self.push(VersionInfo {
            major: 0,
            minor: 11,
            patch: 0,
        });
        self.push(Connect {
            collector_type: 3,
            hostname: b"h",
        });
        self.push(MetadataComplete { time: 0 });
        self.send().await;
    }

    pub fn pod(&mut self, uid: &str) {
        self.push(PodNewWithName {
            ip: [10, 0, 0, 1].into(),
            owner_kind: 1,
            is_host_network: 0,
            uid: uid.as_bytes(),
            owner_name: b"web",
            pod_name: b"web-1",
            owner_uid: b"d-1",
            ns: b"shop",
            version: b"1",
        });
    }

    pub fn container(&mut self, uid: &str, id: &str) {
        self.push(PodContainer {
            uid: uid.as_bytes(),
            container_id: id.as_bytes(),
            container_name: b"app",
            container_image: b"shop/app:1.42",
        });
    }
}
