//! Enrichment over HTTP and gRPC: real listeners, sockets and clients, over a real index.

mod bounds;
mod golden;
mod grpc;
mod http;
mod lines;
mod waiting;
mod world;
