//! How the election stands, as it is shown (D19). Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ha::{Role, Standing};

/// What this replica is among others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Leadership {
    /// `starting`, `follower`, `leader`, `silent` or `handing-over`.
    pub role: String,
    /// The name of this replica in the Lease.
    pub identity: String,
    /// The Lease, as NAMESPACE/NAME.
    pub lease: String,
    /// Who holds the Lease, as far as this replica has seen.
    pub leader: Option<String>,
    /// How often the Lease has gone to another holder.
    pub transitions: i32,
    /// How often this process has begun to lead.
    pub terms: u64,
    /// How long this replica may write without another renewal; 0: it may not.
    pub deadline_seconds: f64,
    /// Why the API server could not be asked about the Lease last, if so.
    pub last_error: Option<String>,
}

impl Leadership {
    /// As it stands now. `left`: for how long it may write.
    pub fn of(standing: &Standing, left: Duration) -> Self {
        let role = match standing.role {
            Role::Starting => "starting",
            Role::Follower => "follower",
            Role::Leader => "leader",
            Role::Silent => "silent",
            Role::HandingOver => "handing-over",
        };
        Self {
            role: role.to_owned(),
            identity: standing.identity.clone(),
            lease: standing.lease.clone(),
            leader: standing.holder.clone(),
            transitions: standing.transitions,
            terms: standing.terms,
            deadline_seconds: left.as_secs_f64(),
            last_error: standing.trouble.clone(),
        }
    }

    /// Whether it writes to the reducer.
    pub fn leads(&self) -> bool {
        self.role == "leader"
    }

    /// Whether it has no connection to the reducer and needs none.
    pub fn follows(&self) -> bool {
        matches!(&*self.role, "starting" | "follower")
    }

    /// In one line, for people.
    pub fn said(&self) -> String {
        let leader = self.leader.as_deref().unwrap_or("nobody");
        match &*self.role {
            "leader" => format!(
                "leader of {}, may write for {:.0} s without a renewal",
                self.lease, self.deadline_seconds
            ),
            "silent" => format!(
                "silent: cannot renew {}, writes nothing and keeps its connection",
                self.lease
            ),
            "handing-over" => format!("handing {} over, writes nothing", self.lease),
            "starting" => format!("starting: {} was not seen yet", self.lease),
            _ => format!("follower: {} is held by {leader}", self.lease),
        }
    }
}
