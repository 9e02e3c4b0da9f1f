//! The flags of high availability.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{
    ConfigError,
    values::{Source, ValueError, duration_within},
};
use crate::ha::Settings;

const SHORTEST: Duration = Duration::from_millis(50);
const SHORTEST_LEASE: Duration = Duration::from_secs(2);
const LONGEST_HOLD: Duration = Duration::from_secs(60 * 60);

/// Which replica writes to the reducer.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "High availability")]
pub struct HaArgs {
    /// Run as one of several replicas, of which the holder of a Lease writes to the reducer
    ///
    /// Every replica watches the API server and answers lookups, probes and scrapes; one is
    /// connected to the reducer. Replicas elect it by a Lease of coordination.k8s.io/v1. Needs
    /// --source native. See docs/high-availability.md.
    #[arg(long, value_name = "HOW", default_value = "none")]
    #[arg(env = "K8S_RELAY_HA", hide_env_values = true)]
    ha: HaMode,

    /// Name of the Lease
    #[arg(long, value_name = "NAME", default_value = "k8s-relay")]
    #[arg(env = "K8S_RELAY_HA_NAME", hide_env_values = true)]
    #[arg(value_parser = object_name)]
    ha_name: String,

    /// Namespace of the Lease [default: the pod's own, else `default`]
    #[arg(long, value_name = "NAMESPACE")]
    #[arg(env = "K8S_RELAY_HA_NAMESPACE", hide_env_values = true)]
    #[arg(value_parser = object_name)]
    ha_namespace: Option<String>,

    /// Take the Lease over when it has not changed for this time; whole seconds, 2s to 2m
    ///
    /// The leader falls silent earlier: three quarters of it, less 2 s, after the beginning of its
    /// last renewal. All replicas should have the same value.
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    #[arg(env = "K8S_RELAY_HA_LEASE", hide_env_values = true)]
    #[arg(value_parser = whole_seconds)]
    ha_lease: Duration,

    /// A renewal succeeds within this time, retries included; 50ms to 2m
    ///
    /// One request to the API server may take a third of it. The leader must not fall silent
    /// before: the relay does not start if --ha-lease × 3/4 − 2s is shorter.
    #[arg(
        long = "ha-renew-deadline",
        value_name = "DURATION",
        default_value = "8s"
    )]
    #[arg(env = "K8S_RELAY_HA_RENEW_DEADLINE", hide_env_values = true)]
    #[arg(value_parser = |text: &str| duration_within(text, SHORTEST..=Settings::LONGEST_LEASE))]
    ha_renew_deadline: Duration,

    /// Time between two renewals, and before a failed one is tried again; 50ms to 2m
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    #[arg(env = "K8S_RELAY_HA_RETRY", hide_env_values = true)]
    #[arg(value_parser = |text: &str| duration_within(text, SHORTEST..=Settings::LONGEST_LEASE))]
    ha_retry: Duration,

    /// Keep the connection of a leader that cannot renew for this time; 0s to 1h
    ///
    /// A leader that cannot reach the API server falls silent, but the reducer keeps what it was
    /// sent until the connection ends. The connection ends at once when another replica leads. A
    /// longer time keeps the reducer's state while the API server is away; pods that are deleted
    /// after a takeover that a cut-off leader does not see stay with the reducer for as long.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    #[arg(env = "K8S_RELAY_HA_HOLD", hide_env_values = true)]
    #[arg(value_parser = |text: &str| duration_within(text, Duration::ZERO..=LONGEST_HOLD))]
    ha_hold: Duration,

    /// What the last write of a leader may take, for tests with short leases
    #[arg(
        long = "ha-fin-allowance",
        value_name = "DURATION",
        default_value = "2s",
        hide = true
    )]
    #[arg(env = "K8S_RELAY_HA_FIN_ALLOWANCE", hide_env_values = true)]
    #[arg(value_parser = |text: &str| duration_within(text, SHORTEST..=Duration::from_secs(2)))]
    ha_fin_allowance: Duration,
}

/// How replicas agree on the one that writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum HaMode {
    /// There is one replica, and it writes
    #[default]
    None,
    /// By a Lease
    Lease,
}

/// The settings of high availability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaConfig {
    /// How replicas agree.
    pub mode: HaMode,
    /// The name of the Lease.
    pub name: String,
    /// Its namespace; `None`: the pod's own.
    pub namespace: Option<String>,
    /// The durations, and an identity that is not set yet.
    pub settings: Settings,
}

impl Default for HaConfig {
    fn default() -> Self {
        Self {
            mode: HaMode::None,
            name: "k8s-relay".to_owned(),
            namespace: None,
            settings: Settings::new(""),
        }
    }
}

impl From<HaArgs> for HaConfig {
    fn from(args: HaArgs) -> Self {
        Self {
            mode: args.ha,
            name: args.ha_name,
            namespace: args.ha_namespace,
            settings: Settings {
                lease: args.ha_lease,
                renew_deadline: args.ha_renew_deadline,
                retry: args.ha_retry,
                hold: args.ha_hold,
                fin_allowance: args.ha_fin_allowance,
                ..Settings::new("")
            },
        }
    }
}

impl HaConfig {
    /// Whether there are several replicas.
    pub fn is_on(&self) -> bool {
        self.mode == HaMode::Lease
    }

    /// Checks that the settings fit each other and the source.
    ///
    /// # Errors
    ///
    /// The leader would fall silent although it renews in time, or each replica would have a stage
    /// of its own.
    pub(super) fn check(&self, source: Source) -> Result<(), ConfigError> {
        if !self.is_on() {
            return Ok(());
        }
        let settings = &self.settings;
        if source != Source::Native {
            return Err(ConfigError::Lacks {
                flag: "--ha lease",
                needs: "--source native: in the other stages of a migration each replica would \
                        have a stage of its own",
            });
        }
        if settings.renew_deadline <= settings.retry {
            return Err(ConfigError::RetryTooLong {
                retry: settings.retry,
                renew_deadline: settings.renew_deadline,
            });
        }
        if !settings.fits() {
            return Err(ConfigError::LeaseTooShort {
                lease: settings.lease,
                term: settings.term(),
                renew_deadline: settings.renew_deadline,
            });
        }
        Ok(())
    }
}

fn whole_seconds(text: &str) -> Result<Duration, ValueError> {
    let time = duration_within(text, SHORTEST_LEASE..=Settings::LONGEST_LEASE)?;
    match time.subsec_nanos() {
        0 => Ok(time),
        _ => Err(ValueError::Duration("expected whole seconds".to_owned())),
    }
}

/// A name that an object of the API server can have.
fn object_name(text: &str) -> Result<String, ValueError> {
    super::values::namespace(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::RelayArgs;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        relay: RelayArgs,
    }

    fn config(arguments: &[&str]) -> Result<crate::config::Config, String> {
        let line = ["k8s-relay"].iter().chain(arguments);
        let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        crate::config::Config::new(line.relay).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_one_replica_and_fit_for_several() {
        assert_eq!(config(&[]).unwrap().ha, HaConfig::default());
        let ha = config(&["--ha=lease", "--source=native"]).unwrap().ha;
        assert!(ha.is_on() && ha.settings.fits());
        assert_eq!(ha.settings.hold, Duration::from_secs(300));
    }

    #[test]
    fn durations_that_do_not_fit_stop_the_start_with_the_numbers() {
        let own = ["--ha=lease", "--source=native"];
        for (more, why) in [
            (
                &["--ha-lease=13s"][..],
                "--ha-lease 13s lets the leader write for 7s 750ms (three quarters of it, less 2s), \
                 which is shorter than --ha-renew-deadline 8s",
            ),
            (
                &["--ha-retry=8s"],
                "--ha-retry 8s is not shorter than --ha-renew-deadline 8s: no renewal would come in \
                 time",
            ),
            (&["--ha-lease=15500ms"], "expected whole seconds"),
            (&["--ha-lease=3m"], "expected 2s to 2m"),
            (&["--ha-hold=2h"], "expected 0s to 1h"),
            (&["--ha-name=K8s"], "expected"),
        ] {
            let refused = config(&[&own[..], more].concat()).unwrap_err();
            assert!(refused.contains(why), "{more:?}: {refused}");
        }
        let fits = [
            "--ha-lease=2s",
            "--ha-renew-deadline=300ms",
            "--ha-retry=100ms",
        ];
        let short = [&own[..], &fits, &["--ha-fin-allowance=500ms"]].concat();
        assert_eq!(
            config(&short).unwrap().ha.settings.term(),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn replicas_need_one_stage_for_all_of_them() {
        for source in ["legacy", "shadow", "shadow-native"] {
            let refused = config(&["--ha=lease", "--source", source]).unwrap_err();
            assert!(
                refused.starts_with("--ha lease needs --source native"),
                "{refused}"
            );
        }
        assert!(
            config(&["--ha-lease=3s"]).is_ok(),
            "without --ha nothing is checked"
        );
    }
}
