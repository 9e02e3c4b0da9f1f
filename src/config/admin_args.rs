//! Where the admin listener is (D15).

use std::{fmt, path::PathBuf, str::FromStr};

use clap::Args;

use super::{
    HostPort, hosts,
    values::{LONGEST_SOCKET_PATH, ValueError},
};

/// The default address: reachable from this machine only.
pub const DEFAULT_ADMIN: &str = "127.0.0.1:8713";

/// Where the admin listener is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Admin")]
pub struct AdminArgs {
    /// Serve probes, metrics and status at HOST:PORT, unix:PATH or none [default: 127.0.0.1:8713]
    ///
    /// Paths: /livez, /readyz, /metrics, /statusz, /explain and /digest, for every client that
    /// reaches the address. Steps of a migration are accepted over a Unix socket and over a port on
    /// loopback, never over a port that other machines reach, and never from web pages. The flag
    /// may be repeated; in a pod give both kinds, separated by a comma:
    /// unix:/run/k8s-relay/admin.sock,0.0.0.0:8713. `none` discards the addresses before it.
    ///
    /// If an address that you give cannot be bound, the relay does not start. If the default is
    /// taken, by another relay in the same pod, this one runs without it and logs a warning.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    #[arg(env = "K8S_RELAY_ADMIN_ADDRESS", hide_env_values = true)]
    pub admin_address: Vec<AdminAddress>,
}

/// Where the admin listeners are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminAddresses {
    /// Each of these; none means no listener.
    pub at: Vec<AdminAddress>,
    /// The user gave them; the default may be unavailable.
    pub asked_for: bool,
}

impl From<AdminArgs> for AdminAddresses {
    fn from(AdminArgs { admin_address }: AdminArgs) -> Self {
        if admin_address.is_empty() {
            return Self {
                at: DEFAULT_ADMIN.parse().into_iter().collect(),
                asked_for: false,
            };
        }
        let mut at = Vec::new();
        for address in admin_address {
            match address {
                AdminAddress::None => at.clear(),
                AdminAddress::Tcp(_) | AdminAddress::Unix(_) => at.push(address),
            }
        }
        Self {
            at,
            asked_for: true,
        }
    }
}

impl From<AdminAddress> for AdminAddresses {
    fn from(address: AdminAddress) -> Self {
        Self::from(AdminArgs {
            admin_address: vec![address],
        })
    }
}

impl fmt::Display for AdminAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            return f.write_str("none");
        }
        for (place, address) in self.at.iter().enumerate() {
            let between = if place == 0 { "" } else { "," };
            write!(f, "{between}{address}")?;
        }
        Ok(())
    }
}

/// The address of an admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// No listener.
    None,
    /// At this port; names are not resolved yet, port 0 is any free one.
    Tcp(HostPort),
    /// At this Unix socket; never empty.
    Unix(PathBuf),
}

impl AdminAddress {
    /// Whether nobody can listen at both at once, as far as that can be said without a look-up.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => hosts::overlap(one, other),
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (_, _) => false,
        }
    }
}

impl FromStr for AdminAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.strip_prefix("unix:") {
            Some("") => Err(ValueError::AdminAddress),
            Some(path) if path.len() > LONGEST_SOCKET_PATH || path.contains('\0') => {
                Err(ValueError::SocketPath)
            }
            Some(path) => Ok(Self::Unix(path.into())),
            None if text == "none" => Ok(Self::None),
            None => match text.parse() {
                Ok(address) => Ok(Self::Tcp(address)),
                Err(ValueError::Port(port)) => Err(ValueError::Port(port)),
                Err(_) => Err(ValueError::AdminAddress),
            },
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_add_up_and_none_discards_those_before_it() {
        for (given, at, asked_for) in [
            (&[][..], DEFAULT_ADMIN, false),
            (&["none"], "none", true),
            (&["none", "unix:/a", "[::1]:1"], "unix:/a,[::1]:1", true),
            (&["[::1]:1", "none"], "none", true),
        ] {
            let admin_address = given.iter().map(|one| one.parse().unwrap()).collect();
            let addresses = AdminAddresses::from(AdminArgs { admin_address });
            assert_eq!(
                (&*addresses.to_string(), addresses.asked_for),
                (at, asked_for)
            );
        }
    }

    #[test]
    fn an_address_is_a_port_a_socket_or_none() {
        for text in [
            "none",
            "127.0.0.1:8713",
            "[::]:0",
            "localhost:1",
            "unix:/run/a b",
        ] {
            let address: AdminAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        for text in ["", "unix:", "/run/relay", "8713", "None", "::1:8713"] {
            assert_eq!(
                text.parse::<AdminAddress>(),
                Err(ValueError::AdminAddress),
                "{text}"
            );
        }
        let longest = format!("unix:/{}", "p".repeat(LONGEST_SOCKET_PATH - 1));
        assert!(longest.parse::<AdminAddress>().is_ok());
        for text in [longest + "p", "unix:/a\0b".to_owned()] {
            let refused = text.parse::<AdminAddress>();
            assert_eq!(refused, Err(ValueError::SocketPath), "{text:?}");
        }
        let port = ValueError::Port("http".to_owned());
        assert_eq!("a:http".parse::<AdminAddress>(), Err(port));
    }
}
