//! Compiles `proto/` in pure Rust: no `protoc` on the building machine.

use tonic_build::manual;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["collector.proto", "health.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;

    // The same service once more, as the relay serves it: it reads Infos in place.
    let collect = manual::Method::builder()
        .name("collect")
        .route_name("Collect")
        .input_type("bytes::Bytes")
        .output_type("crate::proto::Response")
        .codec_path("crate::source::legacy::codec::InfoBytes")
        .client_streaming()
        .server_streaming();
    let service = manual::Service::builder()
        .package("collector")
        .name("Collector")
        .method(collect.build());
    manual::Builder::new()
        .build_client(false)
        .compile(&[service.build()]);
    Ok(())
}
