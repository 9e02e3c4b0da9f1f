//! The tool `demo`, as a newcomer runs it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
};

use crate::support::must;

/// Starts the demo without terminal: nothing then waits for a reader.
fn demo(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
        .arg("demo")
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// How it ended, and what it said on standard error.
async fn ended(mut demo: Child) -> (Option<i32>, String) {
    let waited = tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        let mut stderr = demo.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        (demo.wait().unwrap().code(), said)
    });
    must("the demo ends", waited).await.unwrap()
}

/// The whole story, which has come to a good end.
async fn scenario(args: &[&str]) -> String {
    let mut demo = demo(args);
    let mut stdout = demo.stdout.take().unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let mut scenario = String::new();
        stdout.read_to_string(&mut scenario).unwrap();
        scenario
    });
    let scenario = must("the story ends", reading).await.unwrap();
    assert_eq!(ended(demo).await, (Some(0), String::new()));
    scenario
}

#[tokio::test]
async fn it_shows_how_the_reducer_state_changes_and_ends_with_the_expected_state() {
    let scenario = scenario(&[]).await;
    for change in [
        "   + shop/web-5d4f-a      Deployment web   app=nginx:1.25, mesh=envoy:1.31\n",
        "   - shop/web-5d4f-a      Deployment web   app=nginx:1.25, mesh=envoy:1.31\n",
        "\nThe reducer's state equals the expected state: 4 pods, 6 containers.\n",
    ] {
        assert!(scenario.contains(change), "{scenario}");
    }
}

#[tokio::test]
async fn without_a_watcher_it_shows_the_same_of_a_cluster_that_the_relay_watches_itself() {
    let scenario = scenario(&["--native"]).await;
    for change in [
        "   - shop/web-5d4f-a      Deployment web   app=nginx:1.25, mesh=envoy:1.31\n",
        "   + shop/nightly-2891-x  CronJob nightly  report=report:7\n",
        "   + shop/train-0         Job train        train=pytorch:2.4\n",
        "   cluster: 5 pods, 7 containers; reducer: 5 pods, 7 containers; list requests so far: 2\n",
        "\nThe reducer's state equals the cluster's.\n",
    ] {
        assert!(scenario.contains(change), "{scenario}");
    }
}

#[tokio::test]
async fn a_reader_who_leaves_after_the_first_line_does_not_make_it_fail() {
    let mut demo = demo(&[]);
    let mut first = String::new();
    let mut stdout = BufReader::new(demo.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    assert!(first.starts_with("watcher ──Collect──► relay"), "{first}");
    drop(stdout);
    assert_eq!(ended(demo).await, (Some(0), String::new()));
}
