//! Where the admin listener is (D15).

use std::{fmt, path::PathBuf, str::FromStr};

use clap::Args;

use super::{HostPort, values::ValueError};

/// Where it is if nobody says otherwise: on this machine only.
pub const DEFAULT_ADMIN: &str = "127.0.0.1:8713";

/// Who may look into the running relay, and steer it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Admin")]
pub struct AdminArgs {
    /// Where probes, metrics and `k8s-relay migrate` find it: HOST:PORT, unix:PATH or none
    ///
    /// It serves /livez, /readyz, /metrics, /statusz, /explain and /digest to all who reach it.
    /// What changes the relay's state is taken over loopback and the Unix socket only, and not
    /// from web pages.
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_ADMIN)]
    #[arg(env = "K8S_RELAY_ADMIN_ADDRESS", hide_env_values = true)]
    pub admin_address: AdminAddress,
}

/// Where an admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// Nowhere.
    None,
    /// At this port; names are not resolved yet, port 0 is any free one.
    Tcp(HostPort),
    /// At this Unix socket; never empty.
    Unix(PathBuf),
}

impl FromStr for AdminAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.strip_prefix("unix:") {
            Some("") => Err(ValueError::AdminAddress),
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
        let port = ValueError::Port("http".to_owned());
        assert_eq!("a:http".parse::<AdminAddress>(), Err(port));
    }
}
