//! The types in which settings leave this module, and their texts.

use std::{fmt, str::FromStr, time::Duration};

use clap::ValueEnum;

use super::hosts;
use crate::migrate::Stage;
pub use crate::{
    feeds::{Handover as StreamHandover, OnReconnect as Reconnect},
    matcher::{Escalate, Reannounce},
    reducer::cloud::{Cloud, Endpoint},
    source::native::{ListMode as Lists, decode::Containers},
};

/// The shortest time between two health reports; less would only be load.
const MIN_HEALTH_INTERVAL: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest duration of any setting, a year: a moment and this add up to a moment.
const LONGEST: Duration = Duration::from_secs(31_557_600);
/// The longest path that a Unix socket can have, in bytes.
pub(super) const LONGEST_SOCKET_PATH: usize = 107;

/// A host, by name or address, and a port. Not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name, an IPv4 address or an IPv6 address without brackets; never empty.
    pub host: String,
    /// In host byte order.
    pub port: u16,
}

/// Which source announces pods when the relay starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// Legacy watchers that stream to --server-address
    #[default]
    Legacy,
    /// Legacy watchers; the native source runs as a shadow and is compared with them
    Shadow,
    /// The native source; legacy watchers are a shadow and compared with it
    ShadowNative,
    /// The native source alone; what legacy watchers still send is counted and dropped
    Native,
    /// No source: nothing is announced, and only questions about metadata are answered
    None,
}

/// When the reducer is sent a heartbeat (protocol 9, 15.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// One right after the handshake and none later: the legacy's interval 0.
    Once,
    /// One each time this much has passed since the handshake; 1 s to 65535 s.
    Every(Duration),
}

impl Default for Heartbeat {
    /// Every 2 s, as the legacy.
    fn default() -> Self {
        Self::Every(Duration::from_secs(2))
    }
}

/// Who takes the steps of a migration that change the active source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Migrate {
    /// An operator, by `k8s-relay migrate`
    Manual,
    /// The relay; `migrate shadow` and `migrate finish` are left to an operator
    Auto,
}

/// Encoding of the messages to the reducer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Encoder {
    /// The only encoder
    Binary,
}

/// Why a text is not a value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Not an address of an admin listener.
    #[error("expected HOST:PORT, unix:PATH or none")]
    AdminAddress,
    /// Not `HOST:PORT`.
    #[error("expected HOST:PORT, with an IPv6 address in brackets")]
    Address,
    /// Not a port number.
    #[error("expected a port number up to 65535, found `{0}`")]
    Port(String),
    /// Not a host.
    #[error("expected a host name or address")]
    Host,
    /// A host with a port where the port has a setting of its own.
    #[error("expected a host name or address alone: the port has a setting of its own")]
    HostWithPort,
    /// The path of a Unix socket is too long for the system, or has a NUL in it.
    #[error("expected a path of at most {LONGEST_SOCKET_PATH} bytes for a Unix socket")]
    SocketPath,
    /// Not a number of seconds that fits 16 bits.
    #[error("expected a decimal number of seconds up to 65535")]
    Seconds,
    /// Not a duration, or one that is too short.
    #[error("{0}")]
    Duration(String),
    /// Not a name that a namespace can have.
    #[error("expected the name of a namespace: lower-case letters, digits and `-`, at most 63")]
    Namespace,
    /// Not a name that a node can have.
    #[error("expected the name of a node: lower-case letters, digits, `-` and `.`, at most 253")]
    NodeName,
    /// Not a label selector.
    #[error(
        "`{0}` is not a requirement on a label, as in `app=web`, `tier!=db` or `env in (a, b)`"
    )]
    Selector(String),
    /// A token that the list does not know.
    #[error("unknown token `{token}`; expected `*` or some of: {known}")]
    Token {
        /// The word.
        token: String,
        /// What would have been understood.
        known: String,
    },
}

impl FromStr for HostPort {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (host, port) = text.rsplit_once(':').ok_or(ValueError::Address)?;
        let host = match host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(inner) if hosts::is_ipv6(inner) => inner,
            None if hosts::is_name(host) => host,
            Some(_) | None => return Err(ValueError::Address),
        };
        Ok(Self {
            host: host.to_owned(),
            port: number(port)?,
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once => f.write_str("once"),
            Self::Every(interval) => write!(f, "every {}s", interval.as_secs()),
        }
    }
}

/// The texts of these settings are those of their flags.
macro_rules! display_as_flag_value {
    ($($type:ty),*) => { $(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let value = self.to_possible_value();
                f.write_str(value.as_ref().map_or("", |value| value.get_name()))
            }
        }
    )* };
}
display_as_flag_value!(
    Cloud,
    Containers,
    Encoder,
    Escalate,
    Lists,
    Migrate,
    Reannounce,
    Reconnect,
    Source,
    StreamHandover
);

impl Source {
    /// Where a migration begins; nowhere without a source.
    pub fn stage(self) -> Option<Stage> {
        match self {
            Self::Legacy => Some(Stage::Legacy),
            Self::Shadow => Some(Stage::Shadow),
            Self::ShadowNative => Some(Stage::ShadowNative),
            Self::Native => Some(Stage::Native),
            Self::None => None,
        }
    }
}

/// The name of a node.
pub(super) fn node_name(text: &str) -> Result<String, ValueError> {
    let is_in_names = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
    };
    let is_name = (1..=253).contains(&text.len()) && text.bytes().all(is_in_names);
    match is_name {
        true => Ok(text.to_owned()),
        false => Err(ValueError::NodeName),
    }
}

/// A port to connect to. Service names, which the legacy took, are refused.
pub(super) fn port(text: &str) -> Result<u16, ValueError> {
    match number(text)? {
        0 => Err(ValueError::Port(text.to_owned())),
        port => Ok(port),
    }
}

fn number(text: &str) -> Result<u16, ValueError> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().map_err(|_| ValueError::Port(text.to_owned())),
        false => Err(ValueError::Port(text.to_owned())),
    }
}

/// Seconds as the legacy reads a 16-bit number: a negative one wraps (protocol 15.1).
pub(super) fn heartbeat(text: &str) -> Result<Heartbeat, ValueError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValueError::Seconds);
    }
    let seconds: u16 = digits.parse().map_err(|_| ValueError::Seconds)?;
    match if negative {
        seconds.wrapping_neg()
    } else {
        seconds
    } {
        0 => Ok(Heartbeat::Once),
        seconds => Ok(Heartbeat::Every(Duration::from_secs(seconds.into()))),
    }
}

/// Milliseconds without a unit, as the legacy takes them.
pub(super) fn milliseconds(text: &str) -> Result<Duration, ValueError> {
    let expected = |_| ValueError::Duration("expected a number of milliseconds".to_owned());
    let time = text.parse().map(Duration::from_millis).map_err(expected)?;
    at_most(time, HOUR)
}

/// A duration with its unit, long enough for a report.
pub(super) fn health_interval(text: &str) -> Result<Duration, ValueError> {
    let interval = humantime::parse_duration(text).map_err(|_| {
        ValueError::Duration("expected a number with a unit, as in `200ms` or `1s`".to_owned())
    })?;
    if interval < MIN_HEALTH_INTERVAL {
        return Err(ValueError::Duration("expected at least 10ms".to_owned()));
    }
    at_most(interval, HOUR)
}

/// A duration with its unit, at most a year; zero is one, too.
///
/// # Errors
///
/// When the text is none, or one that is longer.
pub fn duration(text: &str) -> Result<Duration, ValueError> {
    at_most(time(text)?, LONGEST)
}

/// A duration of any length, for those that have bounds of their own.
pub(super) fn time(text: &str) -> Result<Duration, ValueError> {
    humantime::parse_duration(text).map_err(|_| {
        ValueError::Duration("expected a number with a unit, as in `60s` or `2m`".to_owned())
    })
}

/// A duration within these bounds.
pub(super) fn duration_within(
    text: &str,
    bounds: std::ops::RangeInclusive<Duration>,
) -> Result<Duration, ValueError> {
    let time = time(text)?;
    match bounds.contains(&time) {
        true => Ok(time),
        false => Err(ValueError::Duration(format!(
            "expected {} to {}",
            humantime::format_duration(*bounds.start()),
            humantime::format_duration(*bounds.end())
        ))),
    }
}

/// As long as a program that gets credentials may take.
pub(super) fn credentials_timeout(text: &str) -> Result<Duration, ValueError> {
    let limit = duration(text)?;
    if limit < Duration::from_secs(1) {
        return Err(ValueError::Duration("expected at least 1s".to_owned()));
    }
    at_most(limit, Duration::from_secs(600))
}

/// How long a pod may wait for its owner.
pub(super) fn owner_wait(text: &str) -> Result<Duration, ValueError> {
    at_most(time(text)?, DAY)
}

fn at_most(time: Duration, longest: Duration) -> Result<Duration, ValueError> {
    match time <= longest {
        true => Ok(time),
        false => Err(ValueError::Duration(format!(
            "expected at most {}",
            humantime::format_duration(longest)
        ))),
    }
}

/// How long streams may be silent: 100 ms to a day.
pub(super) fn stream_silence(text: &str) -> Result<Duration, ValueError> {
    let time = time(text)?;
    match (Duration::from_millis(100)..=Duration::from_secs(24 * 60 * 60)).contains(&time) {
        true => Ok(time),
        false => Err(ValueError::Duration("expected 100ms to 1day".to_owned())),
    }
}

/// The name of a namespace: a DNS label.
pub(super) fn namespace(text: &str) -> Result<String, ValueError> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| inner(byte) || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    match is_label {
        true => Ok(text.to_owned()),
        false => Err(ValueError::Namespace),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, host, port, shown) in [
            ("localhost:8712", "localhost", 8712, "localhost:8712"),
            ("0.0.0.0:0", "0.0.0.0", 0, "0.0.0.0:0"),
            ("[::1]:80", "::1", 80, "[::1]:80"),
        ] {
            let parsed: HostPort = text.parse().unwrap();
            assert_eq!(
                parsed,
                HostPort {
                    host: host.to_owned(),
                    port
                }
            );
            assert_eq!(parsed.to_string(), shown);
        }
        for text in [
            "",
            "localhost",
            ":8712",
            "::1:80",
            "[]:80",
            "a b:80",
            "a/:80",
            "[a]:80",
            "http://a:80",
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(ValueError::Address), "{text}");
        }
        for (text, port) in [
            ("a:http", "http"),
            ("a:", ""),
            ("a:65536", "65536"),
            ("a:+1", "+1"),
        ] {
            assert_eq!(
                text.parse::<HostPort>(),
                Err(ValueError::Port(port.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn a_heartbeat_interval_is_read_as_the_legacy_reads_it() {
        let every = |seconds| Ok(Heartbeat::Every(Duration::from_secs(seconds)));
        for (text, expected) in [
            ("2", every(2)),
            ("010", every(10)),
            ("+5", every(5)),
            ("65535", every(65_535)),
            ("-1", every(65_535)),
            ("-65535", every(1)),
            ("0", Ok(Heartbeat::Once)),
            ("-0", Ok(Heartbeat::Once)),
            ("65536", Err(ValueError::Seconds)),
            ("-65536", Err(ValueError::Seconds)),
            ("0x10", Err(ValueError::Seconds)),
            ("2s", Err(ValueError::Seconds)),
            ("--1", Err(ValueError::Seconds)),
            ("+-1", Err(ValueError::Seconds)),
            ("", Err(ValueError::Seconds)),
        ] {
            assert_eq!(heartbeat(text), expected, "{text}");
        }
    }

    #[test]
    fn a_health_interval_has_a_unit_and_a_lower_bound() {
        assert_eq!(health_interval("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(health_interval("10ms"), Ok(Duration::from_millis(10)));
        for text in ["", "0s", "9ms", "1", "-1s"] {
            assert!(
                matches!(health_interval(text), Err(ValueError::Duration(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_namespace_is_a_dns_label() {
        let longest = "n".repeat(63);
        for text in ["a", "kube-system", "7", longest.as_str()] {
            assert_eq!(namespace(text).as_deref(), Ok(text));
        }
        let too_long = "n".repeat(64);
        for text in ["", "-a", "a-", "A", "a.b", "a b", "*", too_long.as_str()] {
            assert_eq!(namespace(text), Err(ValueError::Namespace), "{text}");
        }
    }
}
