//! `demo --native`: a simulated cluster, the relay and a reducer in one process.

use std::path::PathBuf;

use tokio::time::{sleep, timeout};

use super::{AT_MOST, DemoArgs, DemoError, PATIENCE, READING, say, show};
use crate::{
    app::Relay,
    config::{Config, Reannounce, Source},
    model::Kind,
    sim::{
        kube::{
            Options, SimApi, Sort, Strictness, View,
            scenario::{Chapter, Scene, scenario},
        },
        reducer::{MockReducer, State},
        scenario::{ExpectedState, known},
    },
};

/// Plays the story.
///
/// # Errors
/// Something could not be started, or the reducer did not reach the expected state.
pub(super) async fn run(args: &DemoArgs) -> Result<(), DemoError> {
    let reducer = super::reducer().await?;
    let api = SimApi::start(Options {
        tls: true,
        token: Some("demo".to_owned()),
        ..Options::default()
    })
    .await?;
    let kubeconfig = Kubeconfig::write(&api)?;
    let mut chapters = scenario().into_iter();
    // What the first list will find.
    let first = chapters.next();
    first.iter().for_each(|first| api.change(first.change));
    let mut config = Config::between(super::anywhere(), super::host_port(reducer.addr()));
    config.source = Source::Native;
    config.reannounce = Reannounce::OnChange;
    config.native.kubeconfig = Some(kubeconfig.0.clone());
    let relay = Relay::start(config).await?;
    let stage = Stage {
        api: &api,
        reducer: &reducer,
        pause: args.pauses(),
    };
    let played = super::alongside(relay, async {
        let outcome = timeout(AT_MOST, stage.play(first.into_iter().chain(chapters))).await;
        outcome.unwrap_or(Err(DemoError::TooSlow(AT_MOST)))
    });
    let played = played.await;
    api.shutdown().await;
    reducer.shutdown().await;
    played
}

struct Stage<'a> {
    api: &'a SimApi,
    reducer: &'a MockReducer,
    pause: bool,
}

impl Stage<'_> {
    async fn play(&self, chapters: impl Iterator<Item = Chapter>) -> Result<(), DemoError> {
        say("API server ──watches──► relay ──ingest──► reducer    (all in this process)\n")?;
        say(super::SIGNS)?;
        let mut before = ExpectedState::new();
        for (number, chapter) in (1..).zip(chapters) {
            let Chapter { title, remark, .. } = chapter;
            say(&format!("\n{number}. {title}\n   {remark}\n"))?;
            if number > 1 {
                self.happen(&chapter).await?;
            }
            if chapter.scene == Scene::ReducerRestarts {
                before.clear();
            }
            let after = self.comes_to_know(number).await?;
            show(&before, &after)?;
            self.sum_up(&after)?;
            before = after;
            if self.pause {
                sleep(READING).await;
            }
        }
        say("\nThe reducer's state equals the cluster's.\n")
    }

    async fn happen(&self, chapter: &Chapter) -> Result<(), DemoError> {
        match chapter.scene {
            Scene::Plain => self.api.change(chapter.change),
            Scene::ServerRestarts => {
                self.api.stop_listening().await;
                self.api.reset_connections();
                self.api.change(chapter.change);
                self.api.compact();
                self.api.start_listening().await?;
            }
            Scene::ReducerRestarts => {
                let connections = self.reducer.connections();
                self.reducer.disconnect().await;
                let again = |state: &State| state.connections.len() > connections;
                // Else the comparison will show it.
                let _ = timeout(PATIENCE, self.reducer.wait_until(again)).await;
            }
        }
        Ok(())
    }

    /// Waits until the reducer knows what the cluster says of itself.
    async fn comes_to_know(&self, chapter: usize) -> Result<ExpectedState, DemoError> {
        let expected_state = self.api.expected_state(View::default());
        let difference = |state: &State| match state.reducer_state() {
            Some(reducer_state) => expected_state.difference(reducer_state, Strictness::Everything),
            None => Some("the reducer knows nothing".to_owned()),
        };
        let knows = |state: &State| difference(state).is_none();
        // Else the comparison says what is missing.
        let _ = timeout(PATIENCE, self.reducer.wait_until(knows)).await;
        self.reducer.with(|state| match difference(state) {
            None => Ok(state.reducer_state().map(known).unwrap_or_default()),
            Some(difference) => Err(DemoError::NotTheTruth {
                chapter,
                difference,
            }),
        })
    }

    /// Says what both sides know, and what it took.
    fn sum_up(&self, known: &ExpectedState) -> Result<(), DemoError> {
        let expected_state = self.api.expected_state(View::default());
        let said: usize = expected_state
            .pods
            .values()
            .map(|pod| pod.containers.len())
            .sum();
        let sent: usize = known.values().map(|pod| pod.containers.len()).sum();
        let lists = self
            .api
            .requests(|book| book.count(Kind::POD, Sort::WatchList));
        say(&format!(
            "   cluster: {} pods, {said} containers; reducer: {} pods, {sent} containers; list requests so far: {lists}\n",
            expected_state.pods.len(),
            known.len(),
        ))
    }
}

/// The kubeconfig in a file, for as long as the demo takes.
pub(super) struct Kubeconfig(pub(super) PathBuf);

impl Kubeconfig {
    pub(super) fn write(api: &SimApi) -> Result<Self, DemoError> {
        let name = format!("k8s-relay-demo-{}.yaml", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        let text = format!("{:#}\n", api.kubeconfig());
        crate::tools::cluster::write_private(&file.0, &text)
            .map_err(|source| DemoError::Kubeconfig(file.0.display().to_string(), source))?;
        Ok(file)
    }
}

impl Drop for Kubeconfig {
    fn drop(&mut self) {
        // It has done its duty; what cannot be removed is harmless.
        let _ = std::fs::remove_file(&self.0);
    }
}
