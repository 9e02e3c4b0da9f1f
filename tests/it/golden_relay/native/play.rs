//! Plays a script with a simulated cluster, a whole relay in this process, and a mock reducer.
//!
//! Each kind has a watch of its own, so what was done is known to have arrived only when
//! something of each kind that was done later has: a fence, out of objects of our own, which
//! stands wherever the recording paused and wherever another kind of object follows.

use std::{io::Write as _, time::Duration};

use k8s_relay::{
    app::{AppError, Relay},
    config::{Config, HostPort, NativeConfig, Source},
    model::{Kind, Uid},
    sim::{
        kube::{self, Meta, Object, Owner, Pod, SimApi, store},
        reducer::{self, MockReducer},
        reducer_state::ReducerState,
    },
    stores::Reader,
};
use tokio::task::yield_now;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    reducer_state::ASIDE,
    script::{Move, Script},
};
use crate::support::must;

/// No pod is announced because it waited too long, and no deleted owner is forgotten.
const LONG: Duration = Duration::from_secs(3600);

/// What the reducer knows at the end.
pub async fn play(case: &str, script: Script) -> ReducerState {
    let mut player = Player::start(script.reducer_listens_at_first).await;
    player.fence(case).await;
    for next in script.moves {
        player.step(case, next).await;
    }
    player.rest(case).await;
    player.finish().await
}

struct Player {
    api: SimApi,
    server_is_away: bool,
    reducer: MockReducer,
    reducer_is_away: bool,
    relay: AbortOnDropHandle<Result<(), AppError>>,
    objects: Reader,
    stop: CancellationToken,
    /// Which kind of object has changed since the last fence.
    changed: Option<Kind>,
    fences: u32,
}

impl Player {
    async fn start(reducer_listens: bool) -> Self {
        let options = reducer::Options {
            keep_everything: false,
            ..reducer::Options::default()
        };
        let any_port = "127.0.0.1:0".parse().unwrap();
        let reducer = MockReducer::bind(any_port, options).await.unwrap();
        if !reducer_listens {
            reducer.stop_listening().await;
        }
        let api = SimApi::start(kube::Options::small()).await.unwrap();
        let mut kubeconfig = tempfile::NamedTempFile::new().unwrap();
        write!(kubeconfig, "{}", api.kubeconfig()).unwrap();
        let here = |port| HostPort {
            host: "127.0.0.1".to_owned(),
            port,
        };
        let config = Config {
            source: Source::Native,
            native: NativeConfig {
                kubeconfig: Some(kubeconfig.path().to_owned()),
                owner_wait: LONG,
                owner_retention: LONG,
                ..NativeConfig::default()
            },
            ..Config::between(here(0), here(reducer.addr().port()))
        };
        let relay = Relay::start(config).await.unwrap();
        let objects = relay.objects();
        let stop = CancellationToken::new();
        let end = stop.clone().cancelled_owned();
        Self {
            api,
            server_is_away: false,
            reducer,
            reducer_is_away: !reducer_listens,
            relay: AbortOnDropHandle::new(tokio::spawn(relay.run_until(end))),
            objects,
            stop,
            changed: None,
            fences: 0,
        }
    }

    async fn step(&mut self, case: &str, next: Move) {
        if let Some(kind) = next.kind() {
            let fence = self.changed.is_some_and(|changed| changed != kind);
            if fence && !self.server_is_away {
                self.fence(case).await;
            }
            self.changed = Some(kind);
        }
        match next {
            Move::Apply(object) => _ = self.api.apply(object),
            Move::Delete { kind, file } => {
                let gone = self.api.delete(kind, &file.namespace, &file.name);
                assert!(gone.is_some(), "{case}: {file:?} is not there");
            }
            Move::Rest => self.rest(case).await,
            Move::Away => self.server_goes(case).await,
            Move::Again => {
                self.server_goes(case).await;
                self.api.change(clear);
                self.changed = Some(Kind::POD);
            }
            Move::Disconnect => {
                self.reducer_is_away = true;
                self.reducer.disconnect().await;
            }
            Move::Reset => {
                self.reducer_is_away = true;
                self.reducer.reset().await;
            }
            Move::StopListening => self.reducer.stop_listening().await,
            Move::StartListening => self.reducer.start_listening().await.unwrap(),
            Move::Connections(n) => {
                let handshake_done = self
                    .reducer
                    .wait_until(|state| state.connection(n).is_some_and(|c| c.handshake_done()));
                must(
                    &format!("{case}: the handshake is complete"),
                    handshake_done,
                )
                .await;
                self.reducer_is_away = false;
            }
        }
    }

    /// All that was done is known; a server without a stream that follows stays away.
    async fn rest(&mut self, case: &str) {
        if self.server_is_away && self.changed.is_some() {
            self.server_returns(case).await;
        }
        if !self.server_is_away {
            self.fence(case).await;
        }
    }

    /// All watches end.
    async fn server_goes(&mut self, case: &str) {
        if self.server_is_away {
            return;
        }
        self.fence(case).await;
        self.api.stop_listening().await;
        self.api.reset_connections();
        let closed = self.api.wait_until(|requests| requests.open_watches == 0);
        must(&format!("{case}: the watches end"), closed).await;
        self.server_is_away = true;
    }

    /// What happened meanwhile can only be seen by listing again.
    async fn server_returns(&mut self, case: &str) {
        self.api.compact();
        self.api.start_listening().await.unwrap();
        self.server_is_away = false;
        // The first may be in the lists, and what these do not have is deleted at their ends;
        // the second comes after them.
        self.fence(case).await;
    }

    /// Waits until all that was done to the cluster has gone the whole way.
    async fn fence(&mut self, case: &str) {
        self.changed = None;
        self.fences += 1;
        let uids = [Kind::REPLICA_SET, Kind::JOB].map(|kind| self.put_fence(kind));
        if self.reducer_is_away {
            let seen = async {
                while !uids
                    .iter()
                    .all(|uid| self.objects.pod(&Uid::new(uid)).is_some())
                {
                    yield_now().await;
                }
            };
            return must(&format!("{case}: all is seen"), seen).await;
        }
        let sent = self.reducer.wait_until(|state| {
            let known = |reducer_state: &ReducerState| {
                uids.iter()
                    .all(|u| reducer_state.pod(u.as_bytes()).is_some())
            };
            state.reducer_state().is_some_and(known)
        });
        must(&format!("{case}: all is sent"), sent).await;
    }

    /// A pod that is announced when its owner and itself have been seen.
    fn put_fence(&self, kind: Kind) -> String {
        let name = format!("fence-{kind:?}-{}", self.fences);
        let owner = Meta::new(ASIDE, &name, &name);
        let uid = format!("{name}-pod");
        let pod = Pod::new(ASIDE, &uid, &uid)
            .address("10.9.9.9")
            .of(Owner::controller(&format!("{kind:?}"), &name, &name));
        self.api.apply(Object::Plain(kind, owner));
        self.api.apply(pod);
        uid
    }

    async fn finish(self) -> ReducerState {
        let reducer_state = self
            .reducer
            .with(|state| state.reducer_state().unwrap().clone());
        self.stop.cancel();
        let ended = must("the relay ends", self.relay).await.unwrap();
        ended.unwrap();
        assert_eq!(self.reducer.shutdown().await.violations().next(), None);
        self.api.shutdown().await;
        reducer_state
    }
}

fn clear(store: &mut store::Store) {
    for kind in Kind::MATCHED {
        let keys: Vec<store::Key> = store.all(kind).map(|(key, _)| key.clone()).collect();
        for key in keys {
            store.delete(kind, &key);
        }
    }
}
