//! The way that production goes: outbox, bytes, reader, and the mock reducer's state.

use std::{collections::BTreeSet, time::Duration};

use k8s_relay::{
    announce::Sink as _,
    model::OwnerKind,
    reducer::{Clock, Outbox, Recorder, handshake::Say as _},
    sim::reducer_state::ReducerState,
    wire::Reader,
};

use super::core::{Pictured, origin};

pub struct Wired {
    pub outbox: Outbox,
    reader: Reader,
    reducer_state: ReducerState,
    /// How many bytes of those that wait for the network were read in advance.
    read: usize,
}

impl Wired {
    pub fn new() -> Self {
        let clock = Clock::new(origin(), Duration::from_secs(1));
        Self {
            outbox: Outbox::new(clock, 0, Recorder::off()),
            reader: Reader::new(),
            reducer_state: ReducerState::new(),
            read: 0,
        }
    }

    pub fn link(&mut self, connected: bool) {
        if connected {
            self.outbox.open();
        } else {
            self.outbox.close();
        }
        (self.reader, self.reducer_state, self.read) = (Reader::new(), ReducerState::new(), 0);
    }

    /// The network takes so many bytes.
    pub fn drain(&mut self, bytes: usize) {
        self.read_all();
        let taken = bytes.min(self.outbox.unsent().len());
        self.outbox.advance(taken);
        self.read -= taken;
    }

    pub fn queued(&self) -> usize {
        self.outbox.queued()
    }

    /// What the reducer will know once it has all bytes of a flush.
    pub fn pictured(&mut self) -> Vec<Row> {
        self.read_all();
        let counts = self.reducer_state.counts();
        assert_eq!(
            (counts.containers_without_pod, counts.deletes_unknown),
            (0, 0)
        );
        let pods = self.reducer_state.sorted();
        let row = |(uid, pod): (&[u8], &k8s_relay::sim::reducer_state::Pod)| Row {
            texts: [
                uid,
                pod.pod_name(),
                pod.ns(),
                pod.version(),
                pod.owner_name(),
                pod.owner_uid(),
            ]
            .map(|text| String::from_utf8(text.to_vec()).unwrap()),
            facts: (pod.ip.octets(), pod.owner_kind, pod.is_host_network),
            containers: pod
                .containers()
                .iter()
                .map(|container| {
                    [container.received_id(), container.name(), container.image()]
                        .map(|text| String::from_utf8(text.to_vec()).unwrap())
                })
                .collect(),
        };
        pods.into_iter().map(row).collect()
    }

    /// The same, as the mock reducer keeps it.
    pub fn reducer_state(&mut self) -> &ReducerState {
        self.read_all();
        &self.reducer_state
    }

    fn read_all(&mut self) {
        self.outbox.flush();
        let unsent = self.outbox.unsent();
        self.reader.push(&unsent[self.read..]);
        self.read = unsent.len();
        while let Some((_, message)) = self.reader.next_message().unwrap() {
            self.reducer_state.apply(&message);
        }
        self.reader.finish().unwrap();
    }
}

/// A pod as it looks on the wire.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    texts: [String; 6],
    facts: ([u8; 4], u8, u8),
    containers: BTreeSet<[String; 3]>,
}

impl Row {
    /// What the wire should say of a pod that was announced so (protocol 6.5, 13.4).
    pub fn of(sent: &Pictured) -> Self {
        let (pod, owner) = (&sent.pod, sent.owner.as_ref());
        let kind = match owner.map(|owner| &owner.kind) {
            Some(OwnerKind::ReplicaSet) => 0,
            Some(OwnerKind::Deployment) => 1,
            Some(OwnerKind::Job) => 2,
            Some(OwnerKind::CronJob) => 3,
            Some(OwnerKind::NoOwner) | None => 254,
            Some(OwnerKind::Other(_)) => 255,
        };
        Self {
            texts: [
                pod.uid.to_string(),
                pod.name.to_string(),
                pod.namespace.to_string(),
                pod.version.to_string(),
                owner.map_or(&pod.name, |owner| &owner.name).to_string(),
                owner.map_or(String::new(), |owner| owner.uid.to_string()),
            ],
            facts: (pod.address.unwrap().octets(), kind, pod.host_network.into()),
            containers: sent
                .containers
                .values()
                .map(|one| {
                    [
                        one.id.to_string(),
                        one.name.to_string(),
                        one.image.to_string(),
                    ]
                })
                .collect(),
        }
    }
}
