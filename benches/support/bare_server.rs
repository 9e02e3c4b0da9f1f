//! The bare server: a bare tonic server with the relay's generated service and windows, that reads
//! the stream and drops it. When the watcher half-closes, the call ends.

use std::{env, pin::Pin};

use futures_util::Stream;
use k8s_relay::{
    net::grpc,
    proto::{
        Info, Response,
        collector_server::{Collector, CollectorServer},
    },
};
use tokio::{net::TcpListener, runtime};
use tonic::{
    Request, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

/// The argument that makes a bench the bare server.
pub const MODE: &str = "bare-server";

/// Serves indefinitely, if this process was started as the bare server; otherwise does nothing.
pub fn serve_if_asked() {
    if env::args().nth(1).as_deref() == Some(MODE) {
        let runtime = runtime::Builder::new_multi_thread().enable_all().build();
        runtime.unwrap().block_on(serve());
    }
}

async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    eprintln!(r#"{{"message":"listening","address":"{address}"}}"#);
    Server::builder()
        .initial_stream_window_size(grpc::STREAM_WINDOW)
        .initial_connection_window_size(grpc::CONNECTION_WINDOW)
        .add_service(CollectorServer::new(Drain))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .unwrap();
}

struct Drain;

#[tonic::async_trait]
impl Collector for Drain {
    type CollectStream = Pin<Box<dyn Stream<Item = Result<Response, Status>> + Send>>;

    async fn collect(
        &self,
        request: Request<Streaming<Info>>,
    ) -> Result<tonic::Response<Self::CollectStream>, Status> {
        let mut infos = request.into_inner();
        while infos.message().await?.is_some() {}
        Ok(tonic::Response::new(
            Box::pin(futures_util::stream::empty()),
        ))
    }
}
