//! Compiles `proto/` in pure Rust: no `protoc` on the building machine. Notes the commit that is
//! built.

use std::{path::Path, process::Command};

use protox::prost::Message as _;
use tonic_build::manual;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    note_commit();
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

/// The commit for `build_info`, as `K8S_RELAY_COMMIT`: what a builder without a repository says in
/// that variable, else what git says, else `unknown`. Only the variable is heeded by debug builds,
/// which would otherwise be made again after each commit.
fn note_commit() {
    const VARIABLE: &str = "K8S_RELAY_COMMIT";
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    let is_debug = std::env::var("PROFILE").is_ok_and(|profile| profile == "debug");
    let said = std::env::var(VARIABLE).ok();
    let commit = said.filter(|commit| !commit.is_empty()).or_else(|| {
        if is_debug {
            return None;
        }
        // Where the head is noted each time that it moves, also in a work tree of its own. A path
        // that does not exist would have everything built again each time.
        let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
        if Path::new(&log).exists() {
            println!("cargo:rerun-if-changed={log}");
        }
        git(&["rev-parse", "--short=12", "HEAD"])
    });
    let commit = commit.unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env={VARIABLE}={commit}");
}

/// What git says; `None` without git, or outside of a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
