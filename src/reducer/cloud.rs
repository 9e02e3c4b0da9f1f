//! Where this machine runs, as its cloud's metadata service says (protocol 5.5 to 5.11, 7).
//!
//! | file | what it is | pure |
//! |---|---|---|
//! | [`aws`] | what an EC2 instance is asked, and what its answers mean | yes |
//! | [`gcp`] | what the answer of a Compute Engine instance means | yes |
//! | [`form`] | which texts can be what they should be | yes |
//! | [`ask`] | one request and its answer | no |
//! | [`mod@collect`] | which services are asked, and for how long | no |
//! | [`news`] | how the reducer's side learns of it | no |
//!
//! Invariants: no answer of a metadata service is taken unless it has the form of what was asked
//! for; a service that is absent, hangs, or answers something else is no failure of the relay.
//! Absent here: the handshake that carries the facts, and when it waits for them.

pub mod ask;
pub mod aws;
pub mod collect;
pub mod form;
pub mod gcp;
pub mod news;

use std::net::{Ipv4Addr, Ipv6Addr};

pub use ask::{Endpoint, EndpointError};
pub use collect::{Cloud, CloudOptions, collect};
pub use news::{CloudNews, Known};

/// What a cloud says of this machine. The default is what is said outside of any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudFacts {
    /// Which cloud it is.
    pub platform: Platform,
    /// The account that the instance belongs to; empty if nobody says.
    pub account_id: String,
    /// The availability zone; empty if nobody says.
    pub zone: String,
    /// What the instance may do: its role or service account; empty if nobody says.
    pub role: String,
    /// How the cloud names the instance; empty if nobody says.
    pub instance_id: String,
    /// The type of machine; empty if nobody says.
    pub instance_type: String,
    /// In the order in which the cloud lists them.
    pub interfaces: Vec<Interface>,
}

/// A network interface of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// The network that it belongs to; empty if nobody says.
    pub network: String,
    /// In the order in which the reducer is sent them.
    pub addresses: Vec<Address>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// A private address without a public one.
    Private(Ipv4Addr),
    /// A public address, and the private one behind it.
    Public {
        /// What others see.
        public: Ipv4Addr,
        /// What the machine sees.
        private: Ipv4Addr,
    },
    /// An IPv6 address.
    V6(Ipv6Addr),
}

/// A cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Platform {
    /// None, or one that is not known here.
    #[default]
    Unknown,
    /// Amazon Web Services.
    Aws,
    /// Google Cloud Platform.
    Gcp,
}

impl Platform {
    /// Its number on the wire (protocol 6.3).
    pub fn code(self) -> u16 {
        match self {
            Self::Unknown => 0,
            Self::Aws => 1,
            Self::Gcp => 2,
        }
    }

    /// Its name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Aws => "aws",
            Self::Gcp => "gcp",
        }
    }
}
