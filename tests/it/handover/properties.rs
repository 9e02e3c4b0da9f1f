//! One honest stream, and any number of others that know less than half of its pods: no honest
//! pod that stays is ever deleted, and all ends as the honest stream has it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use k8s_relay::{
    feeds::{Input, Settings},
    matcher::{Generation, Reannounce},
    model::{HasUid, PodMeta, Uid},
};
use kube::runtime::watcher::Event;
use proptest::{collection::vec, prelude::*};

use crate::support::{
    core::{Core, Recorder, pod, secs},
    history::{any_reannounce, low_marks},
};

/// Names of the honest cluster; of each there is one pod at a time, or none.
const NAMES: u8 = 80;
/// So many may be missing.
const MISSING: usize = 20;
/// Strangers know the first so many of them at most: less than half of what is left.
const SHARED: u8 = 25;
/// How long the honest watcher may be away, or listing: less than what silence makes others
/// believed.
const AWAY: u64 = 250;

#[derive(Clone, Debug)]
enum Op {
    /// In the honest cluster.
    Pod(u8, u8),
    PodGone(u8),
    /// The honest watcher sends so much of what it has to send.
    Sends(u8),
    /// Its stream ends.
    Ends,
    /// It opens another one, alongside the one before if that is open, and lists.
    Opens,
    /// A stranger opens a stream.
    Stranger,
    /// A stranger sends a pod: one of the honest cluster's, or one of its own.
    StrangerPod(u8, u8, bool),
    StrangerGone(u8, u8),
    StrangerSynced(u8),
    StrangerEnds(u8),
    Lose,
    Regain,
    Drain(u8),
    Pass(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let byte = any::<u8>;
    prop_oneof![
        6 => (0..NAMES, 0..4_u8).prop_map(|(name, form)| Op::Pod(name, form)),
        3 => (0..NAMES).prop_map(Op::PodGone),
        8 => byte().prop_map(Op::Sends),
        2 => Just(Op::Ends),
        2 => Just(Op::Opens),
        3 => Just(Op::Stranger),
        8 => (byte(), byte(), any::<bool>()).prop_map(|(at, n, own)| Op::StrangerPod(at, n, own)),
        2 => (byte(), byte()).prop_map(|(at, n)| Op::StrangerGone(at, n)),
        3 => byte().prop_map(Op::StrangerSynced),
        2 => byte().prop_map(Op::StrangerEnds),
        1 => Just(Op::Lose),
        2 => Just(Op::Regain),
        3 => byte().prop_map(Op::Drain),
        5 => (0..60_u8).prop_map(Op::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_honest_pod_that_stays_is_deleted_and_all_ends_as_the_honest_stream_has_it(
        marks in low_marks(),
        reannounce in any_reannounce(),
        ops in vec(op(), 1..160),
    ) {
        let mut world = World::new(Settings { marks, reannounce, ..Settings::default() });
        for op in ops {
            world.does(op);
        }
        world.ends_well();
    }
}

struct World {
    core: Core,
    reannounce: Reannounce,
    /// The honest cluster.
    pods: BTreeMap<u8, PodMeta>,
    made: u32,
    honest: Option<Generation>,
    to_send: VecDeque<Input>,
    /// Until then it must have listed.
    listed_by: std::time::Instant,
    strangers: Vec<Generation>,
    seen: usize,
}

impl World {
    fn new(settings: Settings) -> Self {
        let mut core = Core::with(Recorder::wired(), settings);
        core.connect();
        let mut world = Self {
            listed_by: core.now + secs(AWAY),
            core,
            reannounce: settings.reannounce,
            pods: BTreeMap::new(),
            made: 0,
            honest: None,
            to_send: VecDeque::new(),
            strangers: Vec::new(),
            seen: 0,
        };
        for name in 0..NAMES {
            world.pod(name, 0);
        }
        world.opens();
        world.sends(usize::MAX);
        world
    }

    fn does(&mut self, op: Op) {
        match op {
            Op::Pod(name, form) => self.pod(name, form),
            Op::PodGone(name) => {
                if self.pods.len() > usize::from(NAMES) - MISSING
                    && let Some(pod) = self.pods.remove(&name)
                {
                    self.to_send.push_back(Input::Listed);
                    self.to_send.push_back(Input::Pod(Event::Delete(pod)));
                }
            }
            Op::Sends(n) => self.sends(n.into()),
            Op::Ends => self.ends(),
            Op::Opens => self.opens(),
            Op::Stranger => {
                let stranger = self.core.open();
                self.strangers.push(stranger);
            }
            Op::StrangerPod(at, n, own) => self.stranger_sends(at, n, own, false),
            Op::StrangerGone(at, n) => self.stranger_sends(at, n, true, true),
            Op::StrangerSynced(at) => {
                if let Some(stranger) = self.stranger(at) {
                    self.core.listed(stranger);
                }
            }
            Op::StrangerEnds(at) => {
                if let Some(stranger) = self.stranger(at) {
                    self.core.close(stranger);
                }
            }
            Op::Lose if self.core.reducer.connected => self.core.disconnect(),
            Op::Regain if !self.core.reducer.connected => drop(self.core.connect()),
            Op::Lose | Op::Regain => {}
            Op::Drain(n) => self.core.reducer.drain(usize::from(n) * 100),
            Op::Pass(n) => self.pass(secs(n.into())),
        }
        self.core.resume();
        self.holds();
    }

    fn pass(&mut self, span: Duration) {
        let must_list = self.honest.is_none() || !self.to_send.is_empty();
        if must_list && self.core.now + span >= self.listed_by {
            if self.honest.is_none() {
                self.opens();
            }
            self.sends(usize::MAX);
        }
        if self.honest.is_some() && self.to_send.is_empty() {
            self.listed_by = self.core.now + span + secs(AWAY);
        }
        self.core.pass(span);
    }

    fn ends(&mut self) {
        if let Some(honest) = self.honest.take() {
            self.core.close(honest);
            self.to_send.clear();
        }
    }

    /// A restart lists all there is.
    fn opens(&mut self) {
        let before = self.honest.replace(self.core.open());
        let list = self.pods.values().map(again);
        let list = list.map(|pod| Input::Pod(Event::Apply(pod)));
        // What changes next says that this was all.
        self.to_send = list.chain([Input::Listed]).collect();
        if let Some(before) = before {
            self.core.close(before);
        }
    }

    fn sends(&mut self, n: usize) {
        let Some(honest) = self.honest else {
            return;
        };
        let n = n.min(self.to_send.len());
        for input in self.to_send.drain(..n).collect::<Vec<_>>() {
            self.core.handle(honest, input);
        }
    }

    fn pod(&mut self, name: u8, form: u8) {
        let uid = match self.pods.get(&name) {
            Some(pod) => pod.uid.to_string(),
            None => {
                self.made += 1;
                format!("p{name}-{}", self.made)
            }
        };
        let container = format!("c{form}");
        let pod = pod(&uid)
            .version(&form.to_string())
            .running(&[container.as_str()]);
        let pod = PodMeta::from(pod);
        let is_new = self.pods.insert(name, pod.clone()).is_none();
        if !is_new {
            self.to_send.push_back(Input::Listed);
        }
        self.to_send
            .push_back(Input::Pod(Event::Apply(again(&pod))));
    }

    fn stranger(&self, at: u8) -> Option<Generation> {
        let at = usize::from(at).checked_rem(self.strangers.len())?;
        self.strangers.get(at).copied()
    }

    fn stranger_sends(&mut self, at: u8, n: u8, own: bool, gone: bool) {
        let Some(stranger) = self.stranger(at) else {
            return;
        };
        // Many at once: a stranger may know a lot, of its own.
        for n in (0..12).map(|more| n.wrapping_add(more * 17)) {
            let of_cluster = self.pods.get(&(n % SHARED)).map(again);
            let pod = match own {
                true => PodMeta::from(pod(&format!("s{}-{n}", stranger.0))),
                false => match of_cluster {
                    Some(pod) => pod,
                    None => continue,
                },
            };
            let event = match gone {
                true => Event::Delete(pod),
                false => Event::Apply(pod),
            };
            if gone {
                self.core.listed(stranger);
            }
            self.core.handle(stranger, Input::Pod(event));
        }
    }

    fn holds(&mut self) {
        let feeds = &self.core.feeds;
        assert_eq!(self.core.reducer.complaint(feeds.ledger()), None);
        let lines = &self.core.reducer.lines[self.seen..];
        self.seen = self.core.reducer.lines.len();
        for (at, line) in lines.iter().enumerate() {
            let Some(uid) = line.strip_prefix("pod_delete ") else {
                continue;
            };
            let again = lines
                .get(at + 1)
                .is_some_and(|next| next.starts_with(&format!("pod_new {uid} ")));
            let stays = self.pods.values().any(|pod| pod.uid == Uid::new(uid));
            assert!(!stays || again, "{line}: it stays");
        }
        assert_eq!(feeds.counted_overlap(), feeds.walked_overlap());
    }

    /// Within the silence after the last message, whichever stream is open.
    fn ends_well(&mut self) {
        self.does(Op::Regain);
        if self.honest.is_none() {
            self.opens();
        }
        self.sends(usize::MAX);
        self.core.rest();
        self.holds();
        self.core.pass(secs(300));
        self.core.rest();
        self.holds();
        let known = &self.core.reducer.reducer_state.pods;
        let honest: BTreeMap<_, _> = self
            .pods
            .values()
            .map(|pod| (pod.uid().clone(), pod))
            .collect();
        assert_eq!(
            known.keys().collect::<Vec<_>>(),
            honest.keys().collect::<Vec<_>>()
        );
        if self.reannounce == Reannounce::OnChange {
            for (uid, pod) in honest {
                assert_eq!(known[&uid].pod.version, pod.version);
            }
        }
    }
}

/// The same pod, decoded once more.
fn again(pod: &PodMeta) -> PodMeta {
    PodMeta::new((**pod).clone())
}
