//! `k8smeta.v1.MetadataEnricher`, health and reflection, over a real channel.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use futures_util::StreamExt as _;
use k8s_relay::{
    enrich::{
        cluster::ClusterIdentity,
        event::MAX_EVENT_BYTES,
        resource::Resource,
        view::{Sync, Trouble},
    },
    enrich_api::Limits,
    proto::{
        health::{
            HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
        },
        k8smeta::{EnrichRequest, EnrichResponse, LookupRequest, Ref, State, StatusRequest},
    },
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, codec::CompressionEncoding::Gzip};

use super::world::{Relay, event, plain, pod, profiles};
use crate::support::must;

pub(super) fn batch(seq: u64, events: &[&str]) -> EnrichRequest {
    EnrichRequest {
        seq,
        metricset: "pod".to_owned(),
        events: events
            .iter()
            .map(|event| (*event).to_owned().into())
            .collect(),
        ..EnrichRequest::default()
    }
}

/// A call of `Enrich`.
pub(super) struct Call {
    pub(super) requests: mpsc::Sender<EnrichRequest>,
    pub(super) answers: Streaming<EnrichResponse>,
}

impl Call {
    pub(super) async fn open(relay: &Relay) -> Result<Self, Status> {
        let mut client = relay.grpc().await.send_compressed(Gzip);
        let (requests, sent) = mpsc::channel(64);
        let answers = must("a call", client.enrich(ReceiverStream::new(sent))).await?;
        let answers = answers.into_inner();
        Ok(Self { requests, answers })
    }

    pub(super) async fn next(&mut self) -> Result<Option<EnrichResponse>, Status> {
        must("an answer", self.answers.message()).await
    }
}

fn states(response: &EnrichResponse) -> Vec<&'static str> {
    let state = |number| State::try_from(number).unwrap().as_str_name();
    response
        .items
        .iter()
        .map(|item| state(item.state))
        .collect()
}

#[tokio::test]
async fn batches_are_answered_in_their_order_item_by_item() {
    let relay = Relay::new(plain()).await;
    relay.objects().apply(&pod("web"));
    let mut call = Call::open(&relay).await.unwrap();
    let (web, none) = (event("web"), event("none"));
    let long = "x".repeat(MAX_EVENT_BYTES + 1);
    for seq in 0..100 {
        call.requests
            .send(batch(seq, &[&web, &none, "[1]", &long, ""]))
            .await
            .unwrap();
        let answer = call.next().await.unwrap().unwrap();
        assert_eq!((answer.seq, answer.error.as_str()), (seq, ""));
        assert_eq!(
            states(&answer),
            ["LIVE", "MISSING", "INVALID", "INVALID", "INVALID"]
        );
        let [live, missing, not_json, too_long, _] = answer.items.as_slice() else {
            panic!("{answer:?}")
        };
        let merged: Value = serde_json::from_slice(&live.event).unwrap();
        assert_eq!(merged["uid"], "uid-web");
        assert_eq!(
            (live.uid.as_str(), live.resource_version.as_str()),
            ("uid-web", "7")
        );
        assert!(live.metadata.is_empty() && live.hash.is_empty());
        assert_eq!(missing.event, none);
        assert!(not_json.error.contains("not a JSON object") && not_json.event.is_empty());
        assert!(too_long.error.contains("long"), "{}", too_long.error);
    }
    // Each with 16 behind it: the order holds.
    for seq in 0..64 {
        call.requests.send(batch(seq, &[&web])).await.unwrap();
    }
    drop(call.requests);
    let answered: Vec<_> = (&mut call.answers)
        .map(|answer| answer.unwrap().seq)
        .collect()
        .await;
    assert_eq!(answered, (0..64).collect::<Vec<_>>());
    relay.stop().await;
}

#[tokio::test]
async fn an_unknown_metricset_or_profile_costs_its_batch_and_the_stream_goes_on() {
    let relay = Relay::new(plain()).await;
    relay.objects().apply(&pod("web"));
    let mut call = Call::open(&relay).await.unwrap();
    let web = event("web");
    for (metricset, profile, error) in [
        ("flow", "", "there is no metricset `flow`"),
        ("pod", "none", "there is no profile `none`"),
        ("", "", "there is no metricset ``"),
        ("pod", "default", ""),
    ] {
        let mut batch = batch(1, &[&web, &web]);
        (batch.metricset, batch.profile) = (metricset.to_owned(), profile.to_owned());
        batch.metadata_only = true;
        call.requests.send(batch).await.unwrap();
        let answer = call.next().await.unwrap().unwrap();
        assert_eq!(answer.error, error);
        let state = if error.is_empty() { "LIVE" } else { "INVALID" };
        assert_eq!(states(&answer), [state; 2]);
        for item in &answer.items {
            assert_eq!(item.error, error);
            assert!(item.event.is_empty(), "only metadata was asked for");
            assert_eq!(item.metadata.is_empty(), !error.is_empty());
            assert_eq!(item.hash.len(), if error.is_empty() { 32 } else { 0 });
        }
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_batch_over_a_limit_ends_its_stream_with_resource_exhausted() {
    let relay = Relay::new(plain()).await;
    let many = vec!["{}"; 10_001];
    let long = " ".repeat(200 << 10);
    let large = vec![long.as_str(); 21];
    for (batch, is_over) in [
        (batch(1, &many), true),
        (batch(1, &many[1..]), false),
        (batch(1, &large), true),
        (batch(1, &large[1..]), false),
    ] {
        let mut call = Call::open(&relay).await.unwrap();
        call.requests.send(batch).await.unwrap();
        drop(call.requests);
        let answer = must("an answer", call.answers.message()).await;
        match is_over {
            true => assert_eq!(answer.unwrap_err().code(), Code::ResourceExhausted),
            false => assert!(answer.unwrap().is_some()),
        }
    }
    let mut client = relay.grpc().await;
    let refs = vec![Ref::default(); 10_001];
    let refused = client
        .lookup(LookupRequest {
            refs,
            ..LookupRequest::default()
        })
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    let refs = vec![Ref {
        uid: "x".repeat(5 << 20),
        ..Ref::default()
    }];
    let refused = client
        .lookup(LookupRequest {
            refs,
            ..LookupRequest::default()
        })
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    let limits: Vec<_> = relay
        .counters
        .limits()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(
        limits.first().map(|(name, count)| (*name, *count >= 3)),
        Some(("batch", true))
    );
    relay.stop().await;
}

#[tokio::test]
async fn lookups_answer_each_reference_with_all_that_is_said() {
    let relay = Relay::new(plain()).await;
    let objects = relay.objects();
    for name in ["web", "twin", "gone"] {
        objects.apply(&pod(name));
    }
    objects.delete(&pod("gone"));
    let refused = Sync {
        listed: false,
        trouble: Some(Trouble::Forbidden),
        age_ms: 0,
    };
    objects.set_sync(Resource::Service, refused);
    let of = |kind: &str, name: &str| Ref {
        kind: kind.to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        ..Ref::default()
    };
    let refs = vec![
        of("pod", "web"),
        of("pod", "gone"),
        of("pod", "none"),
        of("service", "web"),
        of("flow", "web"),
        Ref {
            pod_ip: "10.0.0.1".to_owned(),
            ..Ref::default()
        },
        Ref {
            pod_ip: "10.0.0.1".to_owned(),
            at_ms: -1,
            ..Ref::default()
        },
        Ref {
            container_id: "containerd://web-c".to_owned(),
            ..Ref::default()
        },
        Ref::default(),
    ];
    let request = LookupRequest {
        refs,
        schema: "otel".to_owned(),
        semconv: "v0".to_owned(),
        with_limits: true,
        ..LookupRequest::default()
    };
    let mut client = relay.grpc().await;
    let items = client
        .lookup(request.clone())
        .await
        .unwrap()
        .into_inner()
        .items;
    let response = EnrichResponse {
        items: items.clone(),
        ..EnrichResponse::default()
    };
    assert_eq!(
        states(&response),
        [
            "LIVE",
            "DELETED",
            "MISSING",
            "SYNCING",
            "INVALID",
            "AMBIGUOUS",
            "AMBIGUOUS",
            "LIVE",
            "INVALID",
        ]
    );
    let metadata: Value = serde_json::from_slice(&items[0].metadata).unwrap();
    assert_eq!(metadata["k8s.pod.labels.app"], "web");
    assert_eq!(
        items[0].schema_url,
        "https://opentelemetry.io/schemas/1.21.0"
    );
    assert!(items[0].limits.is_some());
    assert_eq!(items[1].deleted_at_ms, 1_800_000_000_000);
    assert_eq!(items[3].reason, "forbidden");
    let names: Vec<_> = items[5]
        .candidates
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["twin", "web"]);
    for (profile, schema, code) in [
        ("none", "", Code::NotFound),
        ("", "xml", Code::InvalidArgument),
    ] {
        let request = LookupRequest {
            profile: profile.to_owned(),
            schema: schema.to_owned(),
            ..request.clone()
        };
        assert_eq!(client.lookup(request).await.unwrap_err().code(), code);
    }
    relay.stop().await;
}

#[tokio::test]
async fn the_status_is_the_same_as_over_http() {
    let relay = Relay::new(json!({ "metricsets": ["pod"] })).await;
    relay.objects().apply(&pod("web"));
    let status = relay
        .grpc()
        .await
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let over_http = relay.get("/v1/status").await.json();
    let rows = over_http["stores"].as_array().unwrap();
    assert_eq!(status.stores.len(), rows.len());
    for (store, row) in status.stores.iter().zip(rows) {
        assert_eq!(
            (&json!(store.kind), &json!(store.state)),
            (&row["kind"], &row["state"])
        );
        assert_eq!(
            (&json!(store.objects), store.last_event_ms),
            (&row["objects"], -1)
        );
    }
    let profile = &status.profiles[0];
    assert_eq!(
        (profile.name.as_str(), profile.schema.as_str()),
        ("default", "ecs")
    );
    assert_eq!(
        (&profile.metricsets, profile.generation),
        (&vec!["pod".to_owned()], 1)
    );
    relay.stop().await;
}

#[tokio::test]
async fn the_health_is_that_of_the_relay() {
    let relay = Relay::new(plain()).await;
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", relay.address));
    let channel = channel.unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    for service in ["k8smeta.v1.MetadataEnricher", ""] {
        let service = service.to_owned();
        let request = || HealthCheckRequest {
            service: service.clone(),
        };
        let said = health.check(request()).await.unwrap().into_inner();
        assert_eq!(said.status(), ServingStatus::Serving);
        let mut watch = health.watch(request()).await.unwrap().into_inner();
        let next = async |watch: &mut Streaming<_>| {
            let answer: Option<k8s_relay::proto::health::HealthCheckResponse> =
                must("a status", watch.message()).await.unwrap();
            answer.map(|answer| answer.status())
        };
        assert_eq!(next(&mut watch).await, Some(ServingStatus::Serving));
        relay.ready.send_replace(false);
        assert_eq!(next(&mut watch).await, Some(ServingStatus::NotServing));
        let said = health.check(request()).await.unwrap().into_inner();
        assert_eq!(said.status(), ServingStatus::NotServing);
        relay.ready.send_replace(true);
        assert_eq!(next(&mut watch).await, Some(ServingStatus::Serving));
    }
    let unknown = HealthCheckRequest {
        service: "collector.Collector".to_owned(),
    };
    assert_eq!(
        health.check(unknown).await.unwrap_err().code(),
        Code::NotFound
    );
    relay.stop().await;
}

/// A call of a service whose messages we do not generate: bytes out, bytes in.
async fn call(relay: &Relay, path: &'static str, message: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    body.extend_from_slice(&(message.len() as u32).to_be_bytes());
    body.extend_from_slice(message);
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let answer = relay
        .send_http2(http::Method::POST, path, &headers, body)
        .await;
    assert_eq!(answer.code, 200);
    answer.body.to_vec()
}

#[tokio::test]
async fn clients_that_ask_for_the_types_are_told() {
    let relay = Relay::new(plain()).await;
    for path in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        // `list_services`, field 7.
        let listed = call(&relay, path, b"\x3a\x01*").await;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        for name in ["k8smeta.v1.MetadataEnricher", "grpc.health.v1.Health"] {
            assert!(listed.contains(name), "{path}: {listed}");
        }
        // `file_containing_symbol`, field 4.
        let symbol = b"k8smeta.v1.MetadataEnricher";
        let mut message = vec![0x22, symbol.len() as u8];
        message.extend_from_slice(symbol);
        let file = call(&relay, path, &message).await;
        let file = String::from_utf8_lossy(&file).into_owned();
        for name in [
            "k8smeta/v1/enrich.proto",
            "EnrichRequest",
            "metadata_only",
            "AMBIGUOUS",
        ] {
            assert!(file.contains(name), "{path}: {name}");
        }
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_stream_goes_on_through_a_reload_and_ends_with_the_relay() {
    let relay = Relay::new(plain()).await;
    relay.objects().apply(&pod("web"));
    let mut call = Call::open(&relay).await.unwrap();
    let web = event("web");
    for name in ["one", "two"] {
        let identity = ClusterIdentity {
            name: name.to_owned(),
            url: String::new(),
        };
        let set = profiles(&json!({ "profiles": { "default": plain() } }));
        relay.service.replace(set, identity);
        call.requests.send(batch(1, &[&web])).await.unwrap();
        let answer = call.next().await.unwrap().unwrap();
        let merged: Value = serde_json::from_slice(&answer.items[0].event).unwrap();
        assert_eq!(merged["meta"]["orchestrator"]["cluster"]["name"], name);
    }
    let (counters, open) = (relay.counters.clone(), call);
    let stopping = tokio::spawn(relay.stop());
    let mut call = open;
    assert_eq!(call.next().await.unwrap_err().code(), Code::Unavailable);
    tokio::time::timeout(Duration::from_secs(5), stopping)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(counters.streams.open.load(Relaxed), 0);
    assert_eq!(counters.connections.open.load(Relaxed), 0);
}

#[tokio::test]
async fn too_many_streams_are_refused_and_others_are_answered() {
    let limits = Limits {
        streams: 2,
        ..Limits::default()
    };
    let relay = Relay::with(json!({}), limits).await;
    let first = Call::open(&relay).await.unwrap();
    let _second = Call::open(&relay).await.unwrap();
    let refused = Call::open(&relay).await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let over_http = relay
        .post("/v1/enrich/pod", "application/x-ndjson", "{}")
        .await;
    assert_eq!(
        (over_http.code.as_u16(), over_http.header("retry-after")),
        (429, Some("1"))
    );
    assert_eq!(
        relay.get("/v1/lookup/pod/shop/web").await.code,
        404,
        "it takes no place"
    );
    assert_eq!(relay.counters.streams.refused.load(Relaxed), 2);
    drop(first);
    super::world::until("a place", || relay.counters.streams.open.load(Relaxed) == 1).await;
    assert!(Call::open(&relay).await.is_ok());
    relay.stop().await;
}
