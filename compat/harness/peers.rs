//! Who can take part in a comparison: `compat/peers.toml`, and a file of the user's.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::CommandFactory as _;
use nix::sys::signal::Signal;
use serde::{Deserialize, Deserializer};

use super::{case::Compared, fault::Fault};

/// A relay, or the recordings of one.
#[derive(Clone, Debug)]
pub struct Peer {
    pub name: String,
    pub kind: Kind,
    /// Whether it does what `exceptions.toml` has exceptions from.
    pub legacy: bool,
    /// Whether the exceptions are for it; they are for none that is `legacy`.
    pub exceptions: bool,
    /// It takes part in cases alone whose name begins so.
    pub cases: String,
    pub compared: Compared,
    /// How long its port may take to open.
    pub ready: Duration,
    /// It is at rest when it has sent nothing for so long. Unused with [`Kind::This`], which says
    /// it.
    pub quiet: Duration,
    /// How long it is waited for if it has sent less than the other peer.
    pub behind: Duration,
    /// What goes wrong between it and its reducer; in the harness's self-test only.
    pub fault: Option<Fault>,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// What a recording holds.
    Recorded,
    /// The program just built, with these arguments in addition to those that every case needs.
    This { args: Vec<String> },
    /// Any other relay.
    Command(Command),
    /// One that listens already.
    Running {
        address: String,
        /// Where it believes its reducer to be.
        reducer: SocketAddr,
    },
}

/// How `Collect` streams are handed over: the value of `--stream-handover`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Handover {
    #[default]
    Seamless,
    Legacy,
}

/// The flag that says it.
const HANDOVER: &str = "--stream-handover";

/// How to start a relay. In `args` and the values of `env` these are replaced: `{listen}`,
/// `{listen_host}`, `{listen_port}`, `{reducer_host}`, `{reducer_port}` and `{config}`, a YAML
/// file with the case's labels.
#[derive(Clone, Debug)]
pub struct Command {
    pub program: String,
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    pub stop: Signal,
}

/// What the legacy relay's polls need, with some air.
const QUIET: Duration = Duration::from_millis(500);
const BEHIND: Duration = Duration::from_secs(5);
const READY: Duration = Duration::from_secs(20);

/// The peers that the harness knows by itself.
const KNOWN: &str = include_str!("../peers.toml");

/// All known peers, by name.
#[derive(Clone, Debug)]
pub struct Peers(BTreeMap<String, Peer>);

impl Peers {
    /// Those that the harness knows, and those of a file.
    ///
    /// # Errors
    /// The file cannot be read, has an unknown key, or one that its kind of peer does not have.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let mut peers = Self::parse(KNOWN).context("compat/peers.toml")?;
        if let Some(file) = file {
            let read = || Self::parse(&fs::read_to_string(file)?);
            let more = read().with_context(|| file.display().to_string())?;
            peers.0.extend(more.0);
        }
        Ok(peers)
    }

    /// Reads the text of such a file.
    pub fn parse(text: &str) -> Result<Self> {
        let entries: BTreeMap<String, Entry> = toml::from_str(text)?;
        let peer = |(name, entry): (String, Entry)| {
            let peer = entry.peer(&name);
            Ok((name.clone(), peer.with_context(|| format!("peer {name}"))?))
        };
        Ok(Self(entries.into_iter().map(peer).collect::<Result<_>>()?))
    }

    /// The peer of this name.
    pub fn get(&self, name: &str) -> Result<Peer> {
        let known = || self.0.keys().cloned().collect::<Vec<_>>().join(", ");
        let peer = self.0.get(name).cloned();
        peer.with_context(|| format!("no peer {name:?}; there are {}", known()))
    }
}

/// A peer as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "snake_case")]
enum Entry {
    Recorded {
        #[serde(default)]
        legacy: bool,
    },
    This {
        #[serde(default)]
        args: Vec<String>,
        #[serde(default = "yes")]
        exceptions: bool,
        #[serde(default)]
        cases: String,
        #[serde(default)]
        compared: Compared,
    },
    Command {
        program: String,
        #[serde(default)]
        args: Vec<String>,
        #[serde(default)]
        env: BTreeMap<String, String>,
        #[serde(default = "sigterm", deserialize_with = "signal")]
        stop: Signal,
        #[serde(default)]
        legacy: bool,
        #[serde(default = "yes")]
        exceptions: bool,
        #[serde(default)]
        cases: String,
        #[serde(default)]
        compared: Compared,
        #[serde(default, deserialize_with = "duration")]
        ready: Option<Duration>,
        #[serde(default, deserialize_with = "duration")]
        quiet: Option<Duration>,
        #[serde(default, deserialize_with = "duration")]
        behind: Option<Duration>,
    },
    Running {
        address: String,
        reducer: SocketAddr,
        #[serde(default)]
        legacy: bool,
        #[serde(default = "yes")]
        exceptions: bool,
        #[serde(default)]
        cases: String,
        /// Of what it has in store from before, nothing is known.
        #[serde(default = "reducer_states")]
        compared: Compared,
        #[serde(default, deserialize_with = "duration")]
        ready: Option<Duration>,
        #[serde(default, deserialize_with = "duration")]
        quiet: Option<Duration>,
        #[serde(default, deserialize_with = "duration")]
        behind: Option<Duration>,
    },
}

impl Entry {
    fn peer(self, name: &str) -> Result<Peer> {
        Ok(match self {
            Self::Recorded { legacy } => Peer {
                legacy,
                ..Peer::new(name, Kind::Recorded)
            },
            Self::This {
                args,
                exceptions,
                cases,
                compared,
            } => Peer {
                exceptions,
                cases,
                compared,
                ..Peer::new(name, Kind::This { args })
            },
            Self::Command {
                program,
                args,
                env,
                stop,
                legacy,
                exceptions,
                cases,
                compared,
                ready,
                quiet,
                behind,
            } => {
                ensure!(!program.is_empty(), "program is empty");
                let command = Command {
                    program,
                    args,
                    env,
                    stop,
                };
                Peer {
                    legacy,
                    exceptions,
                    cases,
                    compared,
                    ..Peer::new(name, Kind::Command(command)).times(ready, quiet, behind)
                }
            }
            Self::Running {
                address,
                reducer,
                legacy,
                exceptions,
                cases,
                compared,
                ready,
                quiet,
                behind,
            } => Peer {
                legacy,
                exceptions,
                cases,
                compared,
                ..Peer::new(name, Kind::Running { address, reducer }).times(ready, quiet, behind)
            },
        })
    }
}

impl Peer {
    /// A peer with the values that a file need not give.
    pub fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            legacy: false,
            exceptions: true,
            cases: String::new(),
            compared: Compared::default(),
            ready: READY,
            quiet: QUIET,
            behind: BEHIND,
            fault: None,
        }
    }

    /// The same with other times.
    pub fn times(
        self,
        ready: Option<Duration>,
        quiet: Option<Duration>,
        behind: Option<Duration>,
    ) -> Self {
        Self {
            ready: ready.unwrap_or(self.ready),
            quiet: quiet.unwrap_or(self.quiet),
            behind: behind.unwrap_or(self.behind),
            ..self
        }
    }

    /// Whether it is played, not read.
    pub fn is_live(&self) -> bool {
        !matches!(self.kind, Kind::Recorded)
    }

    /// Whether exceptions are for it.
    pub fn has_exceptions(&self) -> bool {
        self.exceptions && !self.legacy
    }

    /// How it was configured to hand streams over.
    pub fn handover(&self) -> Handover {
        let args = match &self.kind {
            Kind::This { args } => args.as_slice(),
            Kind::Command(command) => command.args.as_slice(),
            Kind::Recorded | Kind::Running { .. } => &[],
        };
        let mut handover = Handover::default();
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            let value = match arg.strip_prefix(HANDOVER) {
                Some("") => args.next(),
                Some(rest) => rest.strip_prefix('='),
                None => continue,
            };
            handover = match value {
                Some("legacy") => Handover::Legacy,
                Some(_) | None => Handover::Seamless,
            };
        }
        handover
    }

    /// Next to a live legacy relay ours hands streams over as that does, unless a flag says how.
    pub fn hand_over_as_legacy(&mut self) {
        let flag = HANDOVER.trim_start_matches('-');
        let command = k8s_relay::cli::Cli::command();
        let is_known = command
            .get_arguments()
            .any(|arg| arg.get_long() == Some(flag));
        if let Kind::This { args } = &mut self.kind
            && !args.iter().any(|arg| arg.starts_with(HANDOVER))
            && is_known
        {
            args.push(format!("{HANDOVER}=legacy"));
        }
    }

    /// Whether its own counters say when it is at rest. Behind a fault they say too little.
    pub fn reports_its_progress(&self) -> bool {
        matches!(self.kind, Kind::This { .. }) && self.fault.is_none()
    }
}

fn yes() -> bool {
    true
}

fn sigterm() -> Signal {
    Signal::SIGTERM
}

fn reducer_states() -> Compared {
    Compared::ReducerStates
}

fn signal<'de, D: Deserializer<'de>>(from: D) -> Result<Signal, D::Error> {
    String::deserialize(from)?
        .parse()
        .map_err(|_| serde::de::Error::custom("no signal, such as SIGTERM"))
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    let duration = humantime::parse_duration(&text);
    duration.map(Some).map_err(serde::de::Error::custom)
}
