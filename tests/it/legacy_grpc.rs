//! What gRPC offers in addition to the plain call: compressed messages and the health service.

use std::{io::Write as _, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use k8s_relay::{
    net::grpc,
    proto::health::{
        HealthCheckRequest, HealthListRequest, health_check_response::ServingStatus,
        health_client::HealthClient,
    },
    source::{FeedEvent, legacy::Options},
};
use kube::runtime::watcher::Event;
use prost::Message as _;
use tonic::{
    Code,
    codec::CompressionEncoding::{Deflate, Gzip},
};

use crate::support::collect::*;

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// A message of gRPC whose flag says that it is compressed.
fn flagged(payload: &[u8]) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(1);
    message.put_u32(payload.len() as u32);
    message.put_slice(payload);
    message.freeze()
}

fn names(events: &[FeedEvent]) -> Vec<String> {
    let name = |event: &FeedEvent| match event {
        FeedEvent::Pod(Event::Apply(pod)) => pod.name.to_string(),
        other => panic!("not an added pod: {other:?}"),
    };
    events.iter().map(name).collect()
}

#[tokio::test]
async fn compressed_infos_are_read_as_plain_ones_are() {
    let mut served = Served::start(8).await;
    for encoding in [Gzip, Deflate] {
        let mut client = client(served.address).await.send_compressed(encoding);
        let mut call = call(&mut client).await.unwrap();
        let opened = served.opened().await;
        let named = |length| {
            let mut info = pod("p");
            info.pod_info.as_mut().unwrap().name = "n".repeat(length);
            info
        };
        for length in [1, 70_000, 4_000_000, 3] {
            call.send(named(length));
        }
        call.half_close();
        let (events, infos) = served.until_closed(opened.stream).await;
        let lengths: Vec<_> = names(&events).iter().map(String::len).collect();
        assert_eq!((lengths, infos), (vec![1, 70_000, 4_000_000, 3], 4));
        assert_eq!(call.end().await, seen(0, Code::Cancelled, ""));
    }
    served.stop().await;
}

#[tokio::test]
async fn a_stream_may_mix_plain_and_compressed_infos() {
    let mut served = Served::start(8).await;
    let mut raw = Raw::connect(served.address).await;
    for (encoding, compress) in [("gzip", gzip as fn(&[u8]) -> _), ("deflate", deflate)] {
        let mut call = raw.encoded_call(encoding).await.unwrap();
        let opened = served.opened().await;
        let bytes = pod("a").encode_to_vec();
        call.send(grpc(&bytes)).await.unwrap();
        call.send(flagged(&compress(&bytes))).await.unwrap();
        call.send(grpc(&bytes)).await.unwrap();
        call.frames.send_data(Bytes::new(), true).unwrap();
        assert_eq!(served.until_closed(opened.stream).await.1, 3);
        assert_eq!(call.end().await, seen(0, Code::Cancelled, ""));
    }
    served.stop().await;
}

#[tokio::test]
async fn what_inflates_beyond_four_mebibytes_ends_as_what_is_too_large_and_is_not_inflated_on() {
    let mut served = Served::start(8).await;
    let mut raw = Raw::connect(served.address).await;
    for (encoding, compress) in [("gzip", gzip as fn(&[u8]) -> _), ("deflate", deflate)] {
        // Its second half is missing, so a reader that inflates it all finds that it is broken.
        let whole = compress(&vec![0; 16 << 20]);
        let half = &whole[..whole.len() / 2];
        let mut call = raw.encoded_call(encoding).await.unwrap();
        let opened = served.opened().await;
        call.send(flagged(half)).await.unwrap();
        let text = "Received message larger than max (4194305 vs. 4194304)";
        assert_eq!(call.end().await, seen(0, Code::ResourceExhausted, text));
        served.until_closed(opened.stream).await;
    }
    let counts: Vec<_> = served.counters.dropped.snapshot().collect();
    assert_eq!(counts, [("too_large", 2)]);
    served.stop().await;
}

#[tokio::test]
async fn what_cannot_be_inflated_ends_its_call_only() {
    let mut served = Served::start(8).await;
    let mut raw = Raw::connect(served.address).await;
    let bytes = pod("a").encode_to_vec();
    let cut = gzip(&bytes);
    for (what, encoding, payload) in [
        ("garbage", "gzip", &[0xff; 40][..]),
        ("another encoding", "deflate", &gzip(&bytes)),
        ("an end too early", "gzip", &cut[..cut.len() / 2]),
        ("nothing", "deflate", &[]),
        (
            "compressed, though the head says it is not",
            "identity",
            &cut,
        ),
    ] {
        let mut call = raw.encoded_call(encoding).await.unwrap();
        let opened = served.opened().await;
        call.send(grpc(&bytes)).await.unwrap();
        call.send(flagged(payload)).await.unwrap();
        assert_eq!(call.end().await, seen(0, Code::Cancelled, ""), "{what}");
        assert_eq!(served.until_closed(opened.stream).await.1, 1, "{what}");
    }
    let counts: Vec<_> = served.counters.dropped.snapshot().collect();
    assert_eq!(counts, [("undecodable", 5)]);
    served.stop().await;
}

#[tokio::test]
async fn the_head_says_which_encodings_are_read_and_another_one_is_unimplemented() {
    let mut served = Served::start(8).await;
    let mut raw = Raw::connect(served.address).await;
    for encoding in ["snappy", "zstd", "x-gzip", "GZIP"] {
        let call = raw.encoded_call(encoding).await.unwrap();
        let head = soon(call.response).await.unwrap();
        let status = head.headers().get("grpc-status").unwrap();
        assert_eq!(status, &(Code::Unimplemented as i32).to_string());
        let accepted = head.headers().get("grpc-accept-encoding").unwrap();
        assert_eq!(accepted, "gzip,deflate,identity", "{encoding}");
    }
    let call = raw.call().await.unwrap();
    let _opened = served.opened().await;
    let head = soon(call.response).await.unwrap();
    let accepted = head.headers().get("grpc-accept-encoding").unwrap();
    assert_eq!(accepted, "gzip,deflate,identity");
    served.stop().await;
}

async fn health(served: &Served) -> HealthClient<tonic::transport::Channel> {
    let url = format!("http://{}", served.address);
    soon(HealthClient::connect(url)).await.expect("it listens")
}

fn service(name: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: name.to_owned(),
    }
}

#[tokio::test]
async fn the_health_of_the_server_and_of_collect_is_serving() {
    let served = Served::start(8).await;
    let mut health = health(&served).await;
    for name in ["", "collector.Collector"] {
        let answer = soon(health.check(service(name))).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let unknown = soon(health.check(service("collector.Other"))).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    let list = soon(health.list(HealthListRequest {})).await.unwrap();
    let list = list.into_inner().statuses;
    let mut list: Vec<_> = list.iter().map(|(n, s)| (n.as_str(), s.status())).collect();
    list.sort_unstable();
    let serving = ServingStatus::Serving;
    assert_eq!(list, [("", serving), ("collector.Collector", serving)]);
    // A whole page of names is no name of a service.
    let long = soon(health.check(service(&"n".repeat(10_000)))).await;
    assert_eq!(long.unwrap_err().code(), Code::OutOfRange);
    served.stop().await;
}

#[tokio::test]
async fn who_watches_the_health_is_informed_of_the_end_before_the_server_goes() {
    let options = Options {
        connections: grpc::Options {
            // A connection that had to be cut would make the test too late.
            grace: Duration::from_secs(3600),
            ..grpc::Options::default()
        },
        ..Options::default()
    };
    let served = Served::with(8, options).await;
    let mut health = health(&served).await;
    let mut watched = Vec::new();
    for (name, first) in [
        ("", ServingStatus::Serving),
        ("collector.Collector", ServingStatus::Serving),
        ("collector.Other", ServingStatus::ServiceUnknown),
    ] {
        let mut watch = soon(health.watch(service(name)))
            .await
            .unwrap()
            .into_inner();
        let status = soon(watch.message()).await.unwrap().unwrap();
        assert_eq!(status.status(), first);
        watched.push((watch, first == ServingStatus::Serving));
    }
    let stopping = tokio::spawn(served.stop());
    for (mut watch, known) in watched {
        if known {
            let status = soon(watch.message()).await.unwrap().unwrap();
            assert_eq!(status.status(), ServingStatus::NotServing);
        }
        assert_eq!(soon(watch.message()).await.unwrap(), None);
    }
    drop(health);
    soon(stopping).await.unwrap();
}

#[tokio::test]
async fn watches_of_the_health_are_bounded_and_take_no_place_of_a_watcher() {
    let options = Options {
        streams: 1,
        ..Options::default()
    };
    let mut served = Served::with(8, options).await;
    let mut health = health(&served).await;
    let mut watches = Vec::new();
    for _ in 0..64 {
        watches.push(soon(health.watch(service(""))).await.unwrap());
    }
    let refused = soon(health.watch(service(""))).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let call = call(&mut client(served.address).await).await.unwrap();
    let _opened = served.opened().await;
    call.send(pod("a"));
    served.batch().await;
    soon(health.check(service(""))).await.unwrap();
    drop((watches, health));
    served.stop().await;
}
