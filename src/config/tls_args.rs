//! TLS to the reducer and on our listeners: which files.
//!
//! Invariants: a key goes with its certificate, and nothing that belongs to TLS is given where TLS
//! is not used. Absent here: what the files hold.

use std::path::PathBuf;

use clap::Args;

use super::{ConfigError, hosts};

/// TLS to the reducer.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Reducer")]
pub struct ReducerTlsArgs {
    /// Connect to the reducer over TLS, version 1.2 or 1.3
    ///
    /// Its certificate is always verified, and there is no fall-back to plain text. All files of
    /// certificates and keys are read again every 15s and on SIGHUP; new contents are used by the
    /// next connection if they can be used.
    #[arg(long, env = "K8S_RELAY_TLS", hide_env_values = true)]
    pub tls: bool,

    /// Trust the authorities in this PEM file [default: the system's]
    ///
    /// The system's are found in the usual places, or by SSL_CERT_FILE and SSL_CERT_DIR.
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_TLS_CA", hide_env_values = true)]
    pub tls_ca: Option<PathBuf>,

    /// Show the reducer the certificate chain in this PEM file
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_TLS_CERT", hide_env_values = true)]
    pub tls_cert: Option<PathBuf>,

    /// Use the private key in this PEM file for --tls-cert
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_TLS_KEY", hide_env_values = true)]
    pub tls_key: Option<PathBuf>,

    /// Expect this name in the reducer's certificate [default: --intake-host]
    #[arg(long, value_name = "NAME")]
    #[arg(env = "K8S_RELAY_TLS_SERVER_NAME", hide_env_values = true)]
    #[arg(value_parser = hosts::host)]
    pub tls_server_name: Option<String>,
}

/// TLS for legacy watchers.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Source")]
pub struct ServerTlsArgs {
    /// Serve legacy watchers over TLS, with the certificate chain in this PEM file
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_SERVER_TLS_CERT", hide_env_values = true)]
    pub server_tls_cert: Option<PathBuf>,

    /// Use the private key in this PEM file for --server-tls-cert
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_SERVER_TLS_KEY", hide_env_values = true)]
    pub server_tls_key: Option<PathBuf>,

    /// Serve only watchers with a certificate by an authority in this PEM file
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_SERVER_TLS_CLIENT_CA", hide_env_values = true)]
    pub server_tls_client_ca: Option<PathBuf>,
}

/// TLS on the ports of the admin listener.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Admin")]
pub struct AdminTlsArgs {
    /// Serve the ports of --admin-address over TLS, with the certificate chain in this PEM file
    ///
    /// A Unix socket among the addresses has no TLS.
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_ADMIN_TLS_CERT", hide_env_values = true)]
    pub admin_tls_cert: Option<PathBuf>,

    /// Use the private key in this PEM file for --admin-tls-cert
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_ADMIN_TLS_KEY", hide_env_values = true)]
    pub admin_tls_key: Option<PathBuf>,

    /// Ask for a certificate by an authority in this PEM file, for all but /livez and /readyz
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_ADMIN_TLS_CLIENT_CA", hide_env_values = true)]
    pub admin_tls_client_ca: Option<PathBuf>,
}

/// TLS on the port of the metadata service.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Enrichment")]
pub struct EnrichTlsArgs {
    /// Serve the port of --enrich-address over TLS, with the certificate chain in this PEM file
    ///
    /// A Unix socket has no TLS.
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_ENRICH_TLS_CERT", hide_env_values = true)]
    pub enrich_tls_cert: Option<PathBuf>,

    /// Use the private key in this PEM file for --enrich-tls-cert
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_ENRICH_TLS_KEY", hide_env_values = true)]
    pub enrich_tls_key: Option<PathBuf>,

    /// Answer only clients with a certificate by an authority in this PEM file
    ///
    /// With it --enrich-address may be one that other machines reach.
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_ENRICH_TLS_CLIENT_CA", hide_env_values = true)]
    pub enrich_tls_client_ca: Option<PathBuf>,
}

/// TLS to the reducer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReducerTls {
    /// The authorities' file; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Our certificate chain and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in the reducer's certificate, if that is not the host's.
    pub server_name: Option<String>,
}

/// TLS on a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// Our certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who vouches for clients; `None`: they show no certificate.
    pub client_ca: Option<PathBuf>,
}

impl ReducerTlsArgs {
    /// TLS, if it is used.
    ///
    /// # Errors
    /// A flag lacks another one.
    pub(super) fn into_config(self) -> Result<Option<ReducerTls>, ConfigError> {
        let Self {
            tls,
            tls_ca: ca,
            tls_cert,
            tls_key,
            tls_server_name: server_name,
        } = self;
        let given = [
            ("--tls-ca", ca.is_some()),
            ("--tls-cert", tls_cert.is_some()),
            ("--tls-key", tls_key.is_some()),
            ("--tls-server-name", server_name.is_some()),
        ];
        if let Some((flag, _)) = given.into_iter().find(|(_, given)| *given && !tls) {
            return Err(ConfigError::Lacks {
                flag,
                needs: "--tls",
            });
        }
        let identity = pair(tls_cert, tls_key, ["--tls-cert", "--tls-key"])?;
        Ok(tls.then_some(ReducerTls {
            ca,
            identity,
            server_name,
        }))
    }
}

impl ServerTlsArgs {
    /// TLS, if it is used.
    ///
    /// # Errors
    /// A flag lacks another one.
    pub(super) fn into_config(self) -> Result<Option<ListenerTls>, ConfigError> {
        let flags = ["--server-tls-cert", "--server-tls-key"];
        let identity = pair(self.server_tls_cert, self.server_tls_key, flags)?;
        listener(
            identity,
            self.server_tls_client_ca,
            "--server-tls-client-ca",
            flags,
        )
    }
}

impl AdminTlsArgs {
    /// TLS, if it is used.
    ///
    /// # Errors
    /// A flag lacks another one.
    pub(super) fn into_config(self) -> Result<Option<ListenerTls>, ConfigError> {
        let flags = ["--admin-tls-cert", "--admin-tls-key"];
        let identity = pair(self.admin_tls_cert, self.admin_tls_key, flags)?;
        listener(
            identity,
            self.admin_tls_client_ca,
            "--admin-tls-client-ca",
            flags,
        )
    }
}

impl EnrichTlsArgs {
    /// TLS, if it is used.
    ///
    /// # Errors
    /// A flag lacks another one.
    pub(super) fn into_config(self) -> Result<Option<ListenerTls>, ConfigError> {
        let flags = ["--enrich-tls-cert", "--enrich-tls-key"];
        let identity = pair(self.enrich_tls_cert, self.enrich_tls_key, flags)?;
        listener(
            identity,
            self.enrich_tls_client_ca,
            "--enrich-tls-client-ca",
            flags,
        )
    }
}

/// A certificate with its key, or neither.
///
/// # Errors
/// One is given without the other.
pub(super) fn pair(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    [certificate_flag, key_flag]: [&'static str; 2],
) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    let lacks = |flag, needs| Err(ConfigError::Lacks { flag, needs });
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (Some(_), None) => lacks(certificate_flag, key_flag),
        (None, Some(_)) => lacks(key_flag, certificate_flag),
        (None, None) => Ok(None),
    }
}

/// TLS of a listener, if there is a certificate.
///
/// # Errors
/// Clients shall be known, but there is no certificate to speak TLS with.
pub(super) fn listener(
    identity: Option<(PathBuf, PathBuf)>,
    client_ca: Option<PathBuf>,
    client_ca_flag: &'static str,
    [certificate_flag, _]: [&'static str; 2],
) -> Result<Option<ListenerTls>, ConfigError> {
    match (identity, client_ca) {
        (Some((certificate, key)), client_ca) => Ok(Some(ListenerTls {
            certificate,
            key,
            client_ca,
        })),
        (None, Some(_)) => Err(ConfigError::Lacks {
            flag: client_ca_flag,
            needs: certificate_flag,
        }),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(given: bool) -> Option<PathBuf> {
        given.then(|| PathBuf::from("/file"))
    }

    #[test]
    fn nothing_of_tls_to_the_reducer_is_given_without_tls_and_no_key_without_its_certificate() {
        for (tls, [ca, cert, key, name], lacks) in [
            (false, [false; 4], None),
            (true, [false; 4], None),
            (true, [true; 4], None),
            (true, [false, true, true, false], None),
            (
                false,
                [true, false, false, false],
                Some(("--tls-ca", "--tls")),
            ),
            (
                false,
                [false, true, true, false],
                Some(("--tls-cert", "--tls")),
            ),
            (
                false,
                [false, false, true, false],
                Some(("--tls-key", "--tls")),
            ),
            (
                false,
                [false, false, false, true],
                Some(("--tls-server-name", "--tls")),
            ),
            (
                true,
                [false, true, false, false],
                Some(("--tls-cert", "--tls-key")),
            ),
            (
                true,
                [false, false, true, false],
                Some(("--tls-key", "--tls-cert")),
            ),
        ] {
            let args = ReducerTlsArgs {
                tls,
                tls_ca: path(ca),
                tls_cert: path(cert),
                tls_key: path(key),
                tls_server_name: name.then(|| "a".to_owned()),
            };
            match (args.into_config(), lacks) {
                (Ok(config), None) => assert_eq!(config.is_some(), tls),
                (Err(ConfigError::Lacks { flag, needs }), Some(lacks)) => {
                    assert_eq!((flag, needs), lacks);
                }
                (other, lacks) => panic!("{other:?} instead of {lacks:?}"),
            }
        }
    }

    #[test]
    fn a_listener_has_tls_with_a_certificate_and_its_key() {
        for ([cert, key, ca], lacks) in [
            ([false, false, false], None),
            ([true, true, false], None),
            ([true, true, true], None),
            (
                [true, false, false],
                Some(("--server-tls-cert", "--server-tls-key")),
            ),
            (
                [false, true, true],
                Some(("--server-tls-key", "--server-tls-cert")),
            ),
            (
                [false, false, true],
                Some(("--server-tls-client-ca", "--server-tls-cert")),
            ),
        ] {
            let args = ServerTlsArgs {
                server_tls_cert: path(cert),
                server_tls_key: path(key),
                server_tls_client_ca: path(ca),
            };
            match (args.into_config(), lacks) {
                (Ok(config), None) => assert_eq!(config.is_some(), cert),
                (Err(ConfigError::Lacks { flag, needs }), Some(lacks)) => {
                    assert_eq!((flag, needs), lacks);
                }
                (other, lacks) => panic!("{other:?} instead of {lacks:?}"),
            }
        }
    }
}
