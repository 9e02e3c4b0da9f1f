//! `k8s-relay lookup` and `k8s-relay enrich`: the command line's way to a metadata service.

pub mod client;
pub mod enrich;
pub mod lookup;
mod reference;

use std::{io, path::PathBuf};

use http::StatusCode;
use serde::Deserialize;

use super::ask::harmless;
use crate::{
    config::{AdminAddress, DEFAULT_ENRICH},
    net::tls::{Failure, TlsError},
};

/// Which metadata service is asked, and by which profile.
#[derive(clap::Args, Clone, Debug)]
pub struct ServiceArgs {
    /// The relay's --enrich-address
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_ENRICH)]
    #[arg(env = "K8S_RELAY_ENRICH_ADDRESS", hide_env_values = true)]
    pub address: AdminAddress,

    /// Ask over TLS, and trust the authorities in this PEM file
    ///
    /// For a relay with --enrich-tls-cert. A Unix socket has no TLS.
    #[arg(long, value_name = "PATH")]
    pub tls_ca: Option<PathBuf>,

    /// Show the relay the certificate chain in this PEM file
    #[arg(long, value_name = "PATH", requires = "tls_ca", requires = "key")]
    pub cert: Option<PathBuf>,

    /// Use the private key in this PEM file for --cert
    #[arg(long, value_name = "PATH", requires = "cert")]
    pub key: Option<PathBuf>,

    /// Answer by this profile of the relay [default: its default profile]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
}

impl ServiceArgs {
    /// Asks there in plain text, by the default profile.
    pub fn at(address: AdminAddress) -> Self {
        Self {
            address,
            tls_ca: None,
            cert: None,
            key: None,
            profile: None,
        }
    }
}

/// Why there is no answer, or none that is wanted. [`MetadataError::status`] is for each.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The address is `none`.
    #[error("--address is none (a relay without --enrich-address cannot be asked)")]
    Nowhere,
    /// Nobody is there.
    #[error(
        "cannot reach a relay at {place} ({source}). Is it running with this --enrich-address?"
    )]
    Unreachable {
        /// Where.
        place: AdminAddress,
        /// What the system says.
        source: io::Error,
    },
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Files(TlsError),
    /// Somebody is there, with whom there is no TLS.
    #[error("no TLS with what is at {place}: {source}")]
    NoTls {
        /// Where.
        place: AdminAddress,
        /// Why.
        source: Failure,
    },
    /// There is no answer, or it is none of a metadata service.
    #[error("no answer from {place} ({problem}). Is this the relay's --enrich-address?")]
    NoAnswer {
        /// Where.
        place: AdminAddress,
        /// What is there instead.
        problem: String,
    },
    /// The service has no time for this.
    #[error("the relay at {place} has not answered ({problem}). Try again.")]
    Busy {
        /// Where.
        place: AdminAddress,
        /// In its own words.
        problem: String,
    },
    /// The question is not valid, in the service's own words.
    #[error("{0}")]
    Refused(String),
    /// There is no such object, or several.
    #[error("{0}")]
    NotOne(String),
    /// The kind is not known yet.
    #[error("{0}")]
    NotYet(String),
    /// Some lines are not events.
    #[error("{invalid} of {lines} lines are not events{first}")]
    Invalid {
        /// How many.
        invalid: u64,
        /// Of how many.
        lines: u64,
        /// What is wrong with the first of them.
        first: String,
    },
    /// The input cannot be read.
    #[error("cannot read the events ({0})")]
    Read(#[source] io::Error),
    /// The output cannot be written.
    #[error("cannot write ({0})")]
    Write(#[source] io::Error),
}

/// The exit status of each ending, as the help describes it.
macro_rules! with_exit_status {
    ($examples:literal) => {
        concat!(
            $examples,
            "\n\n\
Exit status: 0 found (also if it was deleted a moment ago); 1 not found, or several are meant;
2 for a wrong command line; 3 when no relay answers, or it has not listed that kind yet."
        )
    };
}
use with_exit_status;

impl MetadataError {
    /// The exit status of the command.
    pub fn status(&self) -> u8 {
        match self {
            Self::NotOne(_) | Self::Invalid { .. } | Self::Read(_) | Self::Write(_) => 1,
            Self::Nowhere | Self::Refused(_) | Self::Files(_) => 2,
            Self::Unreachable { .. }
            | Self::NoTls { .. }
            | Self::NoAnswer { .. }
            | Self::Busy { .. }
            | Self::NotYet(_) => 3,
        }
    }
}

/// What an answer says that is not one.
fn refused(code: StatusCode, body: &[u8], place: &AdminAddress) -> MetadataError {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let place = place.clone();
    match serde_json::from_slice(body) {
        Ok(Refusal { error }) => {
            let problem = harmless(&error);
            let is_busy =
                code == StatusCode::TOO_MANY_REQUESTS || code == StatusCode::SERVICE_UNAVAILABLE;
            match is_busy {
                true => MetadataError::Busy { place, problem },
                false => MetadataError::Refused(problem),
            }
        }
        Err(_) => MetadataError::NoAnswer {
            place,
            problem: format!("it says {code}"),
        },
    }
}
