//! The stages of a migration and the commands that lead from one to the next.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::feeds::SourceKind;

/// Where a migration stands, and which source is active there (D4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Legacy watchers that stream to --server-address
    #[default]
    Legacy,
    /// Legacy watchers; the native source runs as a shadow and is compared with them
    Shadow,
    /// The native source; legacy watchers are a shadow and compared with it
    ShadowNative,
    /// The native source alone; what legacy watchers still send is counted and dropped
    Native,
}

/// What an operator, or the gate itself, asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Starts the native watches alongside the legacy watchers; or, from `native`, compares again.
    Shadow,
    /// The native watches become the active feed.
    Cutover,
    /// Ends the comparison: the native watches stand alone.
    Finish,
    /// Legacy watchers become the active feed; from `shadow`, the native watches end.
    Rollback,
}

impl Stage {
    /// All of them, in the order of a migration.
    pub const ALL: [Self; 4] = [Self::Legacy, Self::Shadow, Self::ShadowNative, Self::Native];

    /// Which source the active feed comes from.
    pub fn active(self) -> SourceKind {
        match self {
            Self::Legacy | Self::Shadow => SourceKind::Collect,
            Self::ShadowNative | Self::Native => SourceKind::Native,
        }
    }

    /// Whether the native watches run.
    pub fn watches(self) -> bool {
        self != Self::Legacy
    }

    /// Whether the two feeds are compared.
    pub fn compares(self) -> bool {
        matches!(self, Self::Shadow | Self::ShadowNative)
    }

    /// As it is written on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Shadow => "shadow",
            Self::ShadowNative => "shadow-native",
            Self::Native => "native",
        }
    }
}

impl Command {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Shadow, Self::Cutover, Self::Finish, Self::Rollback];

    /// As it is written on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Cutover => "cutover",
            Self::Finish => "finish",
            Self::Rollback => "rollback",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
