//! What a recording did, as changes of a cluster; or why no cluster can do that.

use std::collections::HashMap;

use k8s_relay::{
    model::Kind,
    proto::{Info, OwnerInfo, info::Event, info::Type},
    sim::{cluster::Cluster, kube::Object, watcher::Message},
};

use crate::harness::case::{Case, Control, FastClient, Step, generate};

/// What is to be done, in order.
pub struct Script {
    pub moves: Vec<Move>,
    /// Whether the reducer listens before the relay starts.
    pub reducer_listens_at_first: bool,
}

pub enum Move {
    Apply(Object),
    Delete {
        kind: Kind,
        file: File,
    },
    /// Everything so far is to be known before anything else happens.
    Rest,
    /// The stream ends: the API server cannot be reached from now on.
    Away,
    /// A new stream begins: the server is back, with nothing but what follows.
    Again,
    Disconnect,
    Reset,
    StopListening,
    StartListening,
    Connections(usize),
}

/// Where an object is filed.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    pub namespace: String,
    pub name: String,
}

/// Why something cannot be played through the native source.
#[derive(Debug, thiserror::Error)]
pub enum Inexpressible {
    #[error("bytes that are no Info")]
    Bytes,
    #[error("no object of a known kind and event")]
    NoObject,
    #[error("several objects in one")]
    SeveralObjects,
    #[error("an object or owner without uid")]
    NoUid,
    #[error("a field that objects do not have")]
    DeprecatedField,
    #[error("an object that gets another name or namespace")]
    Renamed,
    #[error("the delete of what is not there")]
    NotThere,
    #[error("two streams at once")]
    TwoStreams,
    #[error("nothing is sent")]
    Nothing,
}

/// What the big lists of the recordings about a full queue are divided by: their states have
/// nothing of them.
const LESS: u32 = 100;

impl Script {
    pub fn of(recording: &Case) -> Result<Self, Inexpressible> {
        let mut writer = Writer::default();
        for step in &recording.steps {
            match step {
                Step::Send { stream, message } => match &**message {
                    Message::Info(info) => writer.info(stream.as_deref(), info)?,
                    Message::Raw(_) => return Err(Inexpressible::Bytes),
                },
                Step::Control(control) => writer.control(control)?,
            }
        }
        let sends = |a_move: &Move| matches!(a_move, Move::Apply(_));
        if !writer.moves.iter().any(sends) {
            return Err(Inexpressible::Nothing);
        }
        Ok(Self {
            moves: writer.moves,
            reducer_listens_at_first: recording.reducer_listens_at_first(),
        })
    }
}

#[derive(Default)]
struct Writer {
    moves: Vec<Move>,
    /// Which objects are there, by uid.
    there: HashMap<(Kind, String), File>,
    /// The streams so far; only the last one may speak.
    streams: Vec<String>,
    last_has_ended: bool,
}

impl Writer {
    fn control(&mut self, control: &Control) -> Result<(), Inexpressible> {
        let next = match control {
            Control::Settle | Control::Wait {} => Move::Rest,
            Control::OpenStream { stream } | Control::NewStream { stream } => {
                return self.stream(Some(stream));
            }
            Control::HalfClose { stream } | Control::CancelStream { stream } => {
                self.stream(Some(stream))?;
                self.last_has_ended = true;
                Move::Away
            }
            Control::ReducerDisconnect => Move::Disconnect,
            Control::ReducerReset => Move::Reset,
            Control::ReducerStopReading | Control::ReducerStartReading => return Ok(()),
            Control::ReducerStopListening => Move::StopListening,
            Control::ReducerStartListening => Move::StartListening,
            Control::WaitConnections { n } => Move::Connections(*n),
            Control::Generate {
                stream,
                generator,
                count,
                same_owner,
            } => {
                for info in generate(*generator, *count, *same_owner) {
                    self.info(stream.as_deref(), &info)?;
                }
                return Ok(());
            }
            Control::FastClient(client) | Control::List(client) => return self.fast_client(client),
        };
        self.moves.push(next);
        Ok(())
    }

    /// Its stream is left open: nothing is recorded between its end and the next one.
    fn fast_client(&mut self, client: &FastClient) -> Result<(), Inexpressible> {
        let less = if client.pods == 16_000 { 1 } else { LESS };
        let cluster = Cluster {
            containers: client.containers,
            ..Cluster::new(client.replica_sets / less, client.pods / less)
        };
        let infos: Box<dyn Iterator<Item = Info>> = match client.pods_first {
            true => Box::new(cluster.list_pods_first()),
            false => Box::new(cluster.list()),
        };
        for info in infos {
            self.info(Some(&client.stream), &info)?;
        }
        Ok(())
    }

    /// This stream speaks; the current one if none is named.
    fn stream(&mut self, name: Option<&str>) -> Result<(), Inexpressible> {
        let current = self.streams.last().map(String::as_str);
        let name = name.or(current).unwrap_or("A").to_owned();
        if current == Some(&name) {
            return match self.last_has_ended {
                true => Err(Inexpressible::TwoStreams),
                false => Ok(()),
            };
        }
        if self.streams.contains(&name) {
            return Err(Inexpressible::TwoStreams);
        }
        if current.is_some() {
            self.moves.push(Move::Again);
            self.there.clear();
        }
        self.last_has_ended = false;
        self.streams.push(name);
        Ok(())
    }

    fn info(&mut self, stream: Option<&str>, info: &Info) -> Result<(), Inexpressible> {
        self.stream(stream)?;
        let (kind, uid, owner) = the_object(info)?;
        if uid.is_empty() || owner.is_some_and(|owner| owner.uid.is_empty()) {
            return Err(Inexpressible::NoUid);
        }
        let place = (kind, uid.to_owned());
        if Event::try_from(info.event) == Ok(Event::Deleted) {
            let file = self.there.remove(&place).ok_or(Inexpressible::NotThere)?;
            self.moves.push(Move::Delete { kind, file });
            return Ok(());
        }
        // A recording does not hold the names of ReplicaSets and Jobs, nor do we send them.
        let object = Object::from_info(info, "default", uid).ok_or(Inexpressible::NoObject)?;
        let file = File {
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
        };
        let before = self.there.insert(place, file.clone());
        if before.is_some_and(|before| before != file) {
            return Err(Inexpressible::Renamed);
        }
        self.moves.push(Move::Apply(object));
        Ok(())
    }
}

/// The one object that an Info reports: kind, uid and owner.
fn the_object(info: &Info) -> Result<(Kind, &str, Option<&OwnerInfo>), Inexpressible> {
    let event = Event::try_from(info.event);
    if !matches!(event, Ok(Event::Added | Event::Modified | Event::Deleted)) {
        return Err(Inexpressible::NoObject);
    }
    let kind = Type::try_from(info.r#type).map_err(|_| Inexpressible::NoObject)?;
    match (kind, &info.pod_info, &info.rs_info, &info.job_info) {
        (Type::K8sPod, Some(pod), None, None) if pod.containers_ids.is_empty() => {
            Ok((Kind::POD, &pod.uid, pod.owner.as_ref()))
        }
        (Type::K8sPod, Some(_), None, None) => Err(Inexpressible::DeprecatedField),
        (Type::K8sReplicaset, None, Some(set), None) => {
            Ok((Kind::REPLICA_SET, &set.uid, set.owner.as_ref()))
        }
        (Type::K8sJob, None, None, Some(job)) => Ok((Kind::JOB, &job.uid, job.owner.as_ref())),
        (_, None, None, None) => Err(Inexpressible::NoObject),
        (_, _, _, _) => Err(Inexpressible::SeveralObjects),
    }
}

impl Move {
    /// The kind of object that this changes.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Apply(object) => Some(object.kind()),
            Self::Delete { kind, .. } => Some(*kind),
            _ => None,
        }
    }
}
