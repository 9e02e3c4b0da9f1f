//! `k8smeta.v1.MetadataEnricher` over gRPC, with reflection and health.

mod convert;
mod stream;

use std::sync::Arc;

use http::{HeaderValue, Response};
use tokio::sync::watch;
use tonic::{
    Code, Request, Status, Streaming, body::Body, codec::CompressionEncoding::Gzip, service::Routes,
};

use self::stream::BatchStream;
use super::{
    Api,
    ask::{Questions, TooManyWait},
    counters::LimitHit,
    outbox::{Outbox, Pieces},
};
use crate::{
    enrich::{
        Wish,
        profile::{Schema, Semconv},
        service::Objects,
    },
    net::grpc::health,
    proto::k8smeta::{
        EnrichRequest, EnrichResponse, FILE_DESCRIPTOR_SET, LookupRequest, LookupResponse,
        StatusRequest, StatusResponse,
        metadata_enricher_server::{MetadataEnricher, MetadataEnricherServer, SERVICE_NAME},
    },
};

/// The longest question about the services, in bytes. It names a service or a type.
const MAX_REFLECTION_REQUEST: usize = 4 << 10;

/// All services.
pub(super) fn routes<O: Objects>(api: Arc<Api<O>>, ready: watch::Receiver<bool>) -> Routes {
    let most = api.limits.batch_bytes;
    let health = health(vec![SERVICE_NAME], api.shutdown.clone(), ready);
    let enricher = MetadataEnricherServer::new(Surface(api))
        .accept_compressed(Gzip)
        .max_decoding_message_size(most)
        .max_encoding_message_size(usize::MAX);
    let mut routes = Routes::new(enricher).add_service(health);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
    };
    // Ours are valid: a test asks for them.
    if let Ok(service) = reflection().build_v1() {
        let service = service.max_decoding_message_size(MAX_REFLECTION_REQUEST);
        routes = routes.add_service(service);
    }
    if let Ok(service) = reflection().build_v1alpha() {
        let service = service.max_decoding_message_size(MAX_REFLECTION_REQUEST);
        routes = routes.add_service(service);
    }
    routes.prepare()
}

/// The service.
struct Surface<O>(Arc<Api<O>>);

#[tonic::async_trait]
impl<O: Objects> MetadataEnricher for Surface<O> {
    type EnrichStream = Pieces<EnrichResponse>;

    async fn enrich(
        &self,
        request: Request<Streaming<EnrichRequest>>,
    ) -> Result<tonic::Response<Self::EnrichStream>, Status> {
        let api = &self.0;
        let place = api.streams.take().ok_or_else(too_many_streams)?;
        let (outbox, pieces) = Outbox::new(api.limits.stall);
        let stream = BatchStream::new(api.clone(), outbox, place);
        let kill = api.tasks.kill.clone();
        api.tasks.tracker.spawn(async move {
            kill.run_until_cancelled_owned(stream.run(request.into_inner()))
                .await;
        });
        Ok(tonic::Response::new(pieces))
    }

    async fn lookup(
        &self,
        request: Request<LookupRequest>,
    ) -> Result<tonic::Response<LookupResponse>, Status> {
        let api = &self.0;
        let _place = api.streams.take().ok_or_else(too_many_streams)?;
        let asked = request.into_inner();
        let most = api.limits.batch_items;
        if asked.refs.len() > most {
            api.counters.hit(LimitHit::Batch);
            let error = format!("there are more than {most} refs");
            return Err(Status::resource_exhausted(error));
        }
        let profiles = api.profiles();
        let unknown = || Status::not_found(format!("there is no profile `{}`", asked.profile));
        let wish = Wish {
            profile: profiles.find(&asked.profile).ok_or_else(unknown)?,
            schema: named("schema", &asked.schema, Schema::from_name)?,
            semconv: named("semconv", &asked.semconv, Semconv::from_name)?,
            with_limits: asked.with_limits,
        };
        let refs = asked.refs.into_iter().map(convert::reference).collect();
        let questions = Questions::Lookups { wish, refs };
        let wait = api.wait_of(asked.wait_ms.into());
        api.wait(&profiles, &questions, wait)
            .await
            .map_err(|error: TooManyWait| Status::resource_exhausted(error.to_string()))?;
        let mut batch = convert::Batch::new(questions.len());
        let mut left = 0..questions.len();
        while !left.is_empty() {
            left = api.answer_slice(&profiles, &questions, left, |_, answer, merged| {
                batch.push(answer, convert::Said::Metadata, merged);
            });
            batch.check(&api.limits, &api.counters)?;
            tokio::task::yield_now().await;
        }
        let items = batch.finish();
        Ok(tonic::Response::new(LookupResponse { items }))
    }

    async fn status(
        &self,
        _: Request<StatusRequest>,
    ) -> Result<tonic::Response<StatusResponse>, Status> {
        let profiles = self.0.profiles();
        let stores = self.0.service.objects().stores();
        Ok(tonic::Response::new(StatusResponse {
            stores: stores.into_iter().map(convert::store).collect(),
            profiles: convert::profiles(&profiles),
        }))
    }
}

fn too_many_streams() -> Status {
    Status::resource_exhausted("too many requests are being answered")
}

fn named<T>(what: &str, name: &str, find: fn(&str) -> Option<T>) -> Result<Option<T>, Status> {
    let unknown = || Status::invalid_argument(format!("`{name}` is not a {what} that is known"));
    match name {
        "" => Ok(None),
        name => find(name).map(Some).ok_or_else(unknown),
    }
}

/// A message over the limit ends its call with RESOURCE_EXHAUSTED, where the library says
/// OUT_OF_RANGE.
pub(super) fn sized(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    let out_of_range = HeaderValue::from(Code::OutOfRange as i32);
    if headers.get(Status::GRPC_STATUS) == Some(&out_of_range) {
        let exhausted = HeaderValue::from(Code::ResourceExhausted as i32);
        headers.insert(Status::GRPC_STATUS, exhausted);
    }
    response
}
