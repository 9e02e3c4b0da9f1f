//! Plays one case: all peers do the same step, and the next one when each has done it.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    case::{Case, Control, Step},
    exceptions::{self, Exception},
    peers::Peer,
    player::{Act, Played, Player},
};

/// What came of a peer, or why nothing did.
pub type Result = std::result::Result<Played, String>;

/// How cases are played.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// No peer keeps a case waiting for longer.
    pub limit: Duration,
    /// Whether pods' sequences are wanted.
    pub sequences: bool,
}

/// Plays a case to all these live peers at the same pace.
pub async fn play(
    case: &Case,
    peers: &[Peer],
    exceptions: &[Exception],
    pace: Pace,
) -> Vec<Result> {
    let starts = peers.iter().map(async |peer| Side {
        peer,
        player: Player::start(peer, case, pace.sequences).await,
        left: pace.limit,
        pace,
    });
    let mut sides = Sides(join_all(starts).await);
    if case.reducer_listens_at_first() {
        let connected = Step::Control(Control::WaitConnections { n: 1 });
        sides.all("the start", Act::Step(&connected)).await;
    }
    for (at, step) in case.steps.iter().enumerate() {
        let place = format!("step {}", at + 1);
        match step {
            Step::Control(Control::Settle | Control::Wait {}) => sides.settle(&place).await,
            Step::Control(_) | Step::Send { .. } => sides.all(&place, Act::Step(step)).await,
        }
    }
    sides.settle("the end").await;
    let seen: Vec<String> = sides.0.iter().flat_map(Side::ended_by_relay).collect();
    let ends = sides.0.iter_mut().map(async |side| {
        let ends = match &case.recorded {
            Some(recorded) => {
                let ours = exceptions::of_peer(exceptions, &case.name, side.peer);
                let ours = ours.and_then(|exception| exception.outcome(recorded).ok());
                ours.map_or_else(|| recorded.streams.clone(), |ours| ours.streams)
            }
            None => seen.clone(),
        };
        side.act("the end", Act::End(&ends)).await;
    });
    join_all(ends).await;
    join_all(sides.0.into_iter().map(Side::close)).await
}

struct Sides<'a>(Vec<Side<'a>>);

/// A peer in a case.
struct Side<'a> {
    peer: &'a Peer,
    /// Or why the case cannot go on with it.
    player: std::result::Result<Player, String>,
    /// Of the limit.
    left: Duration,
    pace: Pace,
}

impl Sides<'_> {
    async fn all(&mut self, place: &str, act: Act<'_>) {
        join_all(self.0.iter_mut().map(|side| side.act(place, act))).await;
    }

    /// Those that say when they are at rest come first: then it is known how much the others should
    /// send.
    async fn settle(&mut self, place: &str) {
        self.settle_those(place, 0, |player| player.reports_its_progress())
            .await;
        let most = self.most_sent();
        self.settle_those(place, most, |player| !player.reports_its_progress())
            .await;
        let most = self.most_sent();
        let behind = |player: &Player| !player.reports_its_progress() && player.sent() < most;
        self.settle_those(place, most, behind).await;
    }

    async fn settle_those(&mut self, place: &str, others: usize, which: impl Fn(&Player) -> bool) {
        let those = self
            .0
            .iter_mut()
            .filter(|s| s.player.as_ref().is_ok_and(&which));
        join_all(those.map(|side| side.act(place, Act::Settle { others }))).await;
    }

    fn most_sent(&self) -> usize {
        let players = self.0.iter().filter_map(|side| side.player.as_ref().ok());
        players.map(Player::sent).max().unwrap_or_default()
    }
}

impl Side<'_> {
    async fn act(&mut self, place: &str, act: Act<'_>) {
        let Ok(player) = &mut self.player else { return };
        let began = Instant::now();
        let acted = tokio::time::timeout(self.left, player.act(act)).await;
        self.left = self.left.saturating_sub(began.elapsed());
        let failure = match acted {
            Ok(Ok(())) => return,
            Ok(Err(why)) => format!("{place}: {why}"),
            Err(_) => format!(
                "{place}: it hangs, its limit of {} is over; awaited in vain: {}",
                humantime::format_duration(self.pace.limit),
                player.waits_for()
            ),
        };
        self.player = Err(failure);
    }

    fn ended_by_relay(&self) -> Vec<String> {
        let player = self.player.as_ref().ok();
        player.map(Player::ended_by_relay).unwrap_or_default()
    }

    async fn close(self) -> Result {
        self.player?.close().await
    }
}
