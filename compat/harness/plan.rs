//! Which peers play which cases, and all of that at once.

use std::{any::Any, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use futures_util::future::BoxFuture;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    case::Case,
    case_result::{CaseResult, Side, Word},
    exceptions::Exceptions,
    peers::{Kind, Peer, Peers},
    report::Row,
    run::{self, Pace},
};

/// One case and the peers that play it. Each is compared with the one before it.
pub struct Job {
    pub case: Arc<Case>,
    pub peers: Vec<Peer>,
    /// Peers that it would have with `--long`.
    pub left_out: Vec<Peer>,
    /// What must come out; else nothing may differ.
    pub must: Option<Must>,
    /// Instead of the limit of all.
    pub limit: Option<Duration>,
    /// A last peer that needs something around it.
    pub last: Option<Last>,
}

/// Makes a peer, and what has to live as long as it.
pub type Last = BoxFuture<'static, Result<(Peer, Box<dyn Any + Send>)>>;

/// A result that tests the harness itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Must {
    pub word: Word,
    /// Its report has this in it.
    pub says: &'static str,
}

/// How a plan is carried out.
pub struct Options {
    pub exceptions: Exceptions,
    /// So many cases at once.
    pub at_once: usize,
    pub limit: Duration,
}

/// The peers of the default run: the recordings against ours, and two of ours against each
/// other; the recordings against ours as it hands streams over by default; and apart from them,
/// ours with the one option that makes an exception superfluous.
pub const DEFAULT: [&[&str]; 3] = [
    &["recorded", "this", "this"],
    &["recorded", "this-seamless"],
    &["recorded", "this-reset-watcher"],
];

/// The jobs of these peers with all these cases. Of a heavy case, unless `all`, as many
/// peers as are needed for one comparison with a recording.
pub fn jobs(peers: &Peers, names: &[&str], cases: &[Arc<Case>], all: bool) -> Result<Vec<Job>> {
    ensure!(names.len() > 1, "at least two peers can be compared");
    let mut chosen: Vec<Peer> = Vec::new();
    for name in names {
        let mut peer = peers.get(name)?;
        let before = chosen
            .iter()
            .filter(|other| same(&other.name, name))
            .count();
        if before > 0 {
            ensure!(
                !matches!(peer.kind, Kind::Recorded | Kind::Running { .. }),
                "there is one peer {name} only"
            );
            peer.name = format!("{name}#{}", before + 1);
        }
        chosen.push(peer);
    }
    if chosen.iter().any(|peer| peer.legacy && peer.is_live()) {
        chosen.iter_mut().for_each(Peer::hand_over_as_legacy);
    }
    Ok(cases
        .iter()
        .filter_map(|case| job(&chosen, case, all))
        .collect())
}

fn same(name: &str, wanted: &str) -> bool {
    name.split('#').next() == Some(wanted)
}

fn job(chosen: &[Peer], case: &Arc<Case>, all: bool) -> Option<Job> {
    let takes_part = |peer: &&Peer| {
        case.name.starts_with(&peer.cases) && (peer.is_live() || case.recorded.is_some())
    };
    let mut peers: Vec<Peer> = chosen.iter().filter(takes_part).cloned().collect();
    if peers.len() < 2 {
        return None;
    }
    let recorded = peers.iter().any(|peer| !peer.is_live());
    let enough = match case.is_heavy() && recorded && !all {
        true => 2,
        false => peers.len(),
    };
    let left_out = peers.split_off(enough);
    Some(Job {
        case: Arc::clone(case),
        peers,
        left_out,
        must: None,
        limit: None,
        last: None,
    })
}

/// Does all jobs, the heavy ones first, and shows each row as it comes.
pub async fn run(mut jobs: Vec<Job>, options: Options, show: impl Fn(&Row)) -> Vec<Row> {
    let runs_already = |peer: &Peer| matches!(peer.kind, Kind::Running { .. });
    let alone = jobs
        .iter()
        .any(|job| job.must.is_none() && job.peers.iter().any(runs_already));
    // A relay that runs already has one reducer only.
    let places = Arc::new(Semaphore::new(if alone { 1 } else { options.at_once }));
    jobs.sort_by_key(|job| !job.case.is_heavy());
    let (exceptions, limit) = (Arc::new(options.exceptions), options.limit);
    let mut running = JoinSet::new();
    for job in jobs {
        let (places, exceptions) = (Arc::clone(&places), Arc::clone(&exceptions));
        running.spawn(async move {
            let _place = places.acquire_owned().await;
            job.run(&exceptions, limit).await
        });
    }
    let mut rows = Vec::new();
    while let Some(done) = running.join_next().await {
        let done = match done {
            Ok(done) => done,
            Err(panic) => vec![Row::of_the_harness(&panic.to_string())],
        };
        done.iter().for_each(&show);
        rows.extend(done);
    }
    rows
}

impl Job {
    async fn run(mut self, exceptions: &Exceptions, limit: Duration) -> Vec<Row> {
        let _world = match self.last.take() {
            None => None,
            Some(last) => match last.await {
                Ok((peer, world)) => {
                    self.peers.push(peer);
                    Some(world)
                }
                Err(error) => return vec![Row::of_the_harness(&format!("{error:#}"))],
            },
        };
        let live: Vec<Peer> = self.peers.iter().filter(|p| p.is_live()).cloned().collect();
        let pace = Pace {
            limit: self.limit.unwrap_or(limit),
            sequences: live.len() > 1,
        };
        let results = run::play(&self.case, &live, &exceptions.recorded, pace).await;
        let mut results = results.iter();
        let sides: Vec<Side> = self
            .peers
            .iter()
            .map(|peer| Side {
                peer,
                result: if peer.is_live() { results.next() } else { None },
            })
            .collect();
        let mut rows = Vec::new();
        for pair in sides.windows(2) {
            let [left, right] = pair else { continue };
            rows.push(Row {
                case: self.case.name.clone(),
                description: self.case.description.clone(),
                peers: [left.peer.name.clone(), right.peer.name.clone()],
                took: [left, right].map(|side| {
                    let played = side.result.and_then(|result| result.as_ref().ok());
                    played.map(|played| played.took)
                }),
                result: CaseResult::of(&self.case, exceptions, *left, *right),
                must: self.must,
            });
        }
        let last = self.peers.last().into_iter().chain(&self.left_out);
        let names: Vec<String> = last.map(|peer| peer.name.clone()).collect();
        for pair in names.windows(2) {
            let [left, right] = pair else { continue };
            rows.push(Row {
                case: self.case.name.clone(),
                description: self.case.description.clone(),
                peers: [left.clone(), right.clone()],
                took: [None; 2],
                result: CaseResult::NotRun {
                    why: "it is heavy: --long".to_owned(),
                },
                must: None,
            });
        }
        rows
    }
}
