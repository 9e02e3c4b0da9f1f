//! Where questions about metadata are taken, and for which node.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Args;

use super::{
    AdminAddress, ConfigError, ListenerTls, enrich_block, file,
    from_file::FromFile,
    relay_command,
    values::{self, Source},
};
use crate::{
    enrich::profile::{ProfileSet, ProfileSetError, Setting},
    net::BoundAddr,
};

/// The address with `--source none`: reachable from this machine only.
pub const DEFAULT_ENRICH: &str = "127.0.0.1:8714";

/// Metadata for events and lookups.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Enrichment")]
pub struct EnrichArgs {
    /// Answer questions about metadata at HOST:PORT, unix:PATH or none [default: none]
    ///
    /// HTTP/1.1, HTTP/2 and gRPC are served at the same address. Labels and annotations are data of
    /// the whole cluster, so an address that other machines reach needs --enrich-tls-client-ca.
    /// With --source none the default is 127.0.0.1:8714. The key `enrichment.address` of the config file is the same
    /// setting; `enrichment.profiles` says what is watched and what is answered.
    #[arg(long, value_name = "ADDRESS")]
    #[arg(env = "K8S_RELAY_ENRICH_ADDRESS", hide_env_values = true)]
    pub enrich_address: Option<AdminAddress>,

    /// Watch the pods of this node only, where a profile says nothing else of its scope
    ///
    /// Profiles with `scope: node` that name no node mean this one. Without it, such a profile
    /// means the node that the relay's own pod runs on, else the variable NODE_NAME, else the
    /// node with this machine's id.
    #[arg(long, value_name = "NAME")]
    #[arg(env = "K8S_RELAY_NODE_NAME", hide_env_values = true)]
    #[arg(value_parser = values::node_name)]
    pub node_name: Option<String>,
}

/// How questions about metadata are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrichConfig {
    /// Where they are taken.
    pub address: AdminAddress,
    /// TLS on its port; `None`: plain text.
    pub tls: Option<ListenerTls>,
    /// `--node-name`
    pub node_name: Option<String>,
    /// The block `enrichment` of the config file, as it is written.
    pub block: Setting,
    /// The config file, which may change while the relay runs.
    pub file: Option<PathBuf>,
    /// Between two looks at that file. There is no flag for it: tests are impatient.
    pub look_every: Duration,
}

const LOOK_EVERY: Duration = Duration::from_secs(2);

impl EnrichConfig {
    /// Nothing is answered.
    pub fn off() -> Self {
        Self {
            address: AdminAddress::None,
            tls: None,
            node_name: None,
            block: Setting::Null,
            file: None,
            look_every: LOOK_EVERY,
        }
    }

    pub(super) fn new(
        args: EnrichArgs,
        source: Source,
        block: Option<Setting>,
        file: Option<PathBuf>,
    ) -> Self {
        let address = args.enrich_address.or_else(|| match source {
            Source::None => DEFAULT_ENRICH.parse().ok(),
            Source::Legacy | Source::Shadow | Source::ShadowNative | Source::Native => None,
        });
        Self {
            address: address.unwrap_or(AdminAddress::None),
            tls: None,
            node_name: args.node_name,
            block: block.unwrap_or(Setting::Null),
            file,
            look_every: LOOK_EVERY,
        }
    }

    /// Whether anything is answered.
    pub fn is_on(&self) -> bool {
        self.address != AdminAddress::None
    }

    /// The profiles that the block comes to.
    ///
    /// # Errors
    /// It has a mistake.
    pub fn profiles(&self) -> Result<ProfileSet, ProfileSetError> {
        self.read(&self.block)
    }

    /// What the config file holds now; nothing, if there is none. Blocks on the disk.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_file(&self) -> io::Result<Vec<u8>> {
        self.file.as_deref().map_or(Ok(Vec::new()), file::read)
    }

    /// Whether the block is that of a config file that holds this.
    pub fn is_of(&self, content: &[u8]) -> bool {
        let path = self.file.clone().unwrap_or_default();
        let read = FromFile::parse(&path, content, &relay_command());
        read.is_ok_and(|file| file.enrichment().unwrap_or(Setting::Null) == self.block)
    }

    /// The profiles of a config file that holds this. Other settings of it count at the next start
    /// only, but must be valid, too.
    ///
    /// # Errors
    /// It has a mistake.
    pub fn parse(&self, content: &[u8]) -> Result<ProfileSet, ConfigError> {
        let path = self.file.clone().unwrap_or_default();
        let read = FromFile::parse(&path, content, &relay_command());
        let file = read.map_err(|mistakes| ConfigError::File {
            path,
            mistakes: mistakes.join("; "),
        })?;
        let block = file.enrichment().unwrap_or(Setting::Null);
        self.read(&block).map_err(ConfigError::Profiles)
    }

    fn read(&self, block: &Setting) -> Result<ProfileSet, ProfileSetError> {
        let node_name = self.node_name.as_deref();
        ProfileSet::read(block, node_name, &enrich_block::environment)
    }

    /// Checks what can be known of [`Self::may_listen`] without a look-up: what a name stands for
    /// is seen when it is bound.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let AdminAddress::Tcp(place) = &self.address else {
            return Ok(());
        };
        match place.host.parse::<IpAddr>() {
            Ok(ip) => self.may_listen(&BoundAddr::Tcp(SocketAddr::new(ip, place.port))),
            Err(_) => Ok(()),
        }
    }

    /// Whether questions may be taken at this address. The one place that says so.
    ///
    /// # Errors
    /// Other machines reach it: whoever asks learns of the whole cluster, and nothing says who
    /// asks.
    pub fn may_listen(&self, address: &BoundAddr) -> Result<(), ConfigError> {
        let knows_clients = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        match address.is_open() && !knows_clients {
            false => Ok(()),
            true => Err(ConfigError::OpenEnrichment(self.address.to_string())),
        }
    }
}
