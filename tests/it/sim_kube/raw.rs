//! HTTP/1.1 by hand, to see how an answer ends.

use std::io;

use k8s_relay::sim::kube::SimApi;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::must;

/// The head and body of an answer that is complete.
pub async fn get(api: &SimApi, path: &str, metadata: bool) -> (String, Vec<u8>) {
    let accept = match metadata {
        true => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        false => "application/json",
    };
    let (bytes, end) = exchange(api, path, accept).await;
    let (head, body) = split(&bytes);
    let (body, complete) = unchunked(body);
    assert!(complete && end.is_ok(), "{head}");
    (head, body)
}

/// The body of an answer, and how it ended.
pub async fn body_and_end(api: &SimApi, path: &str) -> (Vec<u8>, &'static str) {
    let (bytes, end) = exchange(api, path, "application/json").await;
    let (_, body) = split(&bytes);
    let (body, complete) = unchunked(body);
    let end = match (end, complete) {
        (Ok(()), true) => "complete",
        (Ok(()), false) => "cut short",
        (Err(error), _) if error.kind() == io::ErrorKind::ConnectionReset => "reset",
        (Err(error), _) => panic!("{error}"),
    };
    (body, end)
}

async fn exchange(api: &SimApi, path: &str, accept: &str) -> (Vec<u8>, io::Result<()>) {
    let mut stream = TcpStream::connect(api.addr()).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: sim\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end = must("the answer ends", stream.read_to_end(&mut bytes)).await;
    (bytes, end.map(drop))
}

fn split(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    (
        String::from_utf8(bytes[..end].to_vec()).unwrap(),
        &bytes[end..],
    )
}

/// What was in the chunks, and whether the last one came.
fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let digits = std::str::from_utf8(&bytes[..end]).unwrap();
        let len = usize::from_str_radix(digits, 16).unwrap();
        if len == 0 {
            return (body, true);
        }
        let chunk = &bytes[end + 2..];
        let there = len.min(chunk.len());
        body.extend_from_slice(&chunk[..there]);
        bytes = chunk.get(there + 2..).unwrap_or_default();
    }
    (body, false)
}
