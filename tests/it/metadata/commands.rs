//! `k8s-relay lookup` and `k8s-relay enrich`, as spawned programs.

use std::process::{Output, Stdio};

use tokio::{io::AsyncWriteExt as _, process::Command};

use super::world::{POD, World, profiles};
use crate::support::must;

/// Runs the binary against this service with this input.
async fn run(world: &World, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
        .env_clear()
        .env("K8S_RELAY_ENRICH_ADDRESS", world.address.to_string())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writes = tokio::spawn(async move {
        // It may have ended.
        let _ = stdin.write_all(input.as_bytes()).await;
    });
    let output = must("the command ends", child.wait_with_output())
        .await
        .unwrap();
    writes.await.unwrap();
    output
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

async fn ready() -> World {
    let world = World::start(|config| {
        config.enrich.block =
            profiles(&[("default", &[("add_resource_metadata.deployment", "true")])]);
    })
    .await;
    world.until("/readyz", |answer| answer.code == 200).await;
    world
}

#[tokio::test]
async fn each_form_of_a_lookup_finds_the_object_and_has_its_exit_status() {
    let world = ready().await;
    let container = "container:3f9a7c0e5b1d4826a9f0c3e8d7b6a5f41e2d3c4b5a69788796a5b4c3d2e1f001";
    for (args, status, says) in [
        (&[POD][..], 0, "kubernetes.deployment.name"),
        (&["shop/web-5d4f8-x2x7p/main"], 0, "container.image.name"),
        (&["deployment/shop/web"], 0, "kubernetes.deployment.uid"),
        (&["node/node-1"], 0, "kubernetes.node.hostname"),
        (&["storageclass/fast"], 0, "kubernetes.storageclass.uid"),
        (
            &["uid:11111111-0000-4000-8000-000000000005"],
            0,
            "kubernetes.pod.name",
        ),
        (&[container], 0, "kubernetes.container.name"),
        (&["ip:10.1.2.3", "--with-limits"], 0, "limits.memory.bytes"),
        (&[POD, "--schema=otel"], 0, "k8s.pod.label.tier"),
        (&["shop/web-0"], 1, "state     MISSING"),
        (&["ip:10.1.2.4"], 1, "state     MISSING"),
    ] {
        let ended = run(&world, &[&["lookup"], args].concat(), "").await;
        let (out, err) = (text(&ended.stdout), text(&ended.stderr));
        assert_eq!(ended.status.code(), Some(status), "{args:?}: {out}{err}");
        assert!(out.contains(says), "{args:?}: {out}");
        assert_eq!(err.is_empty(), status == 0, "{args:?}: {err}");
    }
    let json = run(&world, &["lookup", POD, "--json"], "").await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["state"], "LIVE");
    for (args, status, says) in [
        (&["web-1"][..], 2, "expected NS/NAME, KIND/NS/NAME"),
        (&[POD, "--profile=none"], 2, "error: "),
        (
            &[POD, "--at=2026-01-01T00:00:00Z"],
            2,
            "--at goes with ip: only",
        ),
        (&[POD, "--address=none"], 2, "error: --address is none"),
        (
            &[POD, "--address=127.0.0.1:1"],
            3,
            "error: cannot reach a relay at 127.0.0.1:1",
        ),
    ] {
        let ended = run(&world, &[&["lookup"], args].concat(), "").await;
        let err = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(status), "{args:?}: {err}");
        assert!(err.contains(says), "{args:?}: {err}");
        assert_eq!(text(&ended.stdout), "", "{args:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn events_come_out_in_their_order_with_metadata_and_bad_lines_are_counted() {
    let world = ready().await;
    let input = "\u{feff}{\"name\":\"web-5d4f8-x2x7p\",\"cpu\":1.10,\"_module\":{\"namespace\":\"shop\"}}\r\n\
                 \n\
                 {\"name\":\"web-0\",\"cpu\":1e400,\"_module\":{\"namespace\":\"shop\"}}\n\
                 [1]\n\
                 {\"name\":\"web-5d4f8-x2x7p\",\"_module\":{\"namespace\":\"shop\"}}";
    let ended = run(&world, &["enrich", "pod"], input).await;
    let lines: Vec<&str> = text(&ended.stdout).lines().collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].contains("\"cpu\":1.10") && lines[0].contains("\"tier\":\"front\""));
    assert_eq!(
        lines[1],
        r#"{"name":"web-0","cpu":1e400,"_module":{"namespace":"shop"}}"#
    );
    assert!(
        lines[2].contains("\"deployment\":{\"name\":\"web\"}"),
        "{}",
        lines[2]
    );
    assert_eq!(ended.status.code(), Some(1));
    let err = text(&ended.stderr);
    assert!(
        err.starts_with("error: 1 of 4 lines are not events; line "),
        "{err}"
    );

    let results = run(&world, &["enrich", "pod", "--results"], input).await;
    // Numbers that no program can hold are in them, too.
    let state = |line: &str| line.split('"').nth(3).unwrap().to_owned();
    let states: Vec<String> = text(&results.stdout).lines().map(state).collect();
    assert_eq!(states, ["LIVE", "MISSING", "INVALID", "LIVE"]);

    let unknown = run(&world, &["enrich", "pods"], "").await;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        text(&unknown.stderr).contains("tip: "),
        "{}",
        text(&unknown.stderr)
    );
    let empty = run(&world, &["enrich", "pod"], "").await;
    assert_eq!((empty.status.code(), text(&empty.stdout)), (Some(0), ""));
    world.end().await;
}

#[tokio::test]
async fn a_reader_that_has_enough_is_no_error_however_long_the_input_is() {
    let world = ready().await;
    let line = "{\"name\":\"web-5d4f8-x2x7p\",\"_module\":{\"namespace\":\"shop\"}}\n";
    let mut child = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
        .env_clear()
        .env("K8S_RELAY_ENRICH_ADDRESS", world.address.to_string())
        .args(["enrich", "pod"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let endless =
        tokio::spawn(async move { while stdin.write_all(line.as_bytes()).await.is_ok() {} });
    // The first answers come while the input goes on.
    let mut some = [0; 100];
    let read = tokio::io::AsyncReadExt::read_exact(&mut stdout, &mut some);
    must("the first answers", read).await.unwrap();
    drop(stdout);
    let ended = must("the command ends", child.wait_with_output())
        .await
        .unwrap();
    assert_eq!((ended.status.code(), text(&ended.stderr)), (Some(0), ""));
    endless.await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn the_pipelines_of_the_documents_run() {
    let world = ready().await;
    let document = include_str!("../../../docs/enrichment.md");
    let pipelines = document.split("## Pipelines\n").nth(1).unwrap();
    let pipelines = pipelines.split("\n## ").next().unwrap();
    let events = world.shop.file("metrics.ndjson");
    let pod = r#"{"name":"web-5d4f8-x2x7p","_module":{"namespace":"shop"}}"#;
    let container =
        r#"{"name":"main","_module":{"namespace":"shop","pod":{"name":"web-5d4f8-x2x7p"}}}"#;
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_k8s-relay"))
        .parent()
        .unwrap();
    let mut ran = 0;
    for block in pipelines.split("```").skip(1).step_by(2) {
        let (language, body) = block.split_once('\n').unwrap();
        assert!(body.lines().count() <= 12, "{body}");
        // What the program would start.
        let (script, input, expected) = match language {
            "ruby" => {
                let command = body.split("command => \"").nth(1).unwrap();
                (
                    command.split("\"\n").next().unwrap(),
                    pod,
                    "\"tier\":\"front\"",
                )
            }
            "yaml" => {
                let command = body.split("[sh, -c, \"").nth(1).unwrap();
                (
                    command.split("\"]").next().unwrap(),
                    container,
                    "\"runtime\":\"containerd\"",
                )
            }
            "sh" => (
                body,
                "{\"name\":\"web-0\",\"_module\":{\"namespace\":\"shop\"}}",
                "web-0",
            ),
            other => panic!("who reads {other}?"),
        };
        std::fs::write(&events, format!("{input}\n")).unwrap();
        // A file that is followed has no end.
        let script = script.replace("tail -n +1 -F", "cat");
        let script = script.replace("/var/log/metrics.ndjson", events.to_str().unwrap());
        let output = Command::new("sh")
            .args(["-c", &script])
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("K8S_RELAY_ENRICH_ADDRESS", world.address.to_string())
            .output();
        let output = must(language, output).await.unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success() && out.contains(expected),
            "{script}: {out}{err}"
        );
        ran += 1;
    }
    assert_eq!(ran, 3);
    world.end().await;
}
