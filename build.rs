//! Compiles `proto/` in pure Rust: no `protoc` on the building machine.

use protox::prost::Message as _;
use tonic_build::manual;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let enrich = "k8smeta/v1/enrich.proto";
    let files = protox::compile(["collector.proto", "health.proto", enrich], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".k8smeta.v1")
        .compile_fds(files)?;

    // What clients that ask for the types are told.
    let public = protox::compile(["health.proto", enrich], ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("k8smeta.bin"), public.encode_to_vec())?;

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
