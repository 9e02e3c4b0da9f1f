//! The first messages of every connection, in the order of protocol 7, outside of any cloud.
//!
//! Law: the same facts give the same greeting on each connection.
//! Absent here: pods, and cloud platforms other than "unknown".

use std::collections::BTreeMap;

use crate::wire::{
    Encode,
    messages::{
        CloudPlatform, Connect, MetadataComplete, ReportCpuCores, SetConfigLabel, SetNodeInfo,
        VersionInfo,
    },
};

/// What a greeting says about us. Sampled once, at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The host's name, `(unknown)` if there is none; any bytes, at most 255.
    pub hostname: Vec<u8>,
    /// Hardware threads of this machine.
    pub cpu_cores: u32,
    /// Keys and values, told in the bytewise order of the keys.
    pub labels: BTreeMap<String, String>,
}

/// Takes messages and frame ends in order.
pub trait Say {
    /// Tells this next.
    fn say<M: Encode>(&mut self, message: M);

    /// Ends the frame; without messages in it there is none.
    fn flush(&mut self);
}

/// The protocol version we speak: a constant, never this crate's own (D5).
pub const PROTOCOL_VERSION: [u32; 3] = [0, 11, 0];

/// Says the whole greeting. Its first message is the one that travels uncompressed.
pub fn send_handshake(identity: &Identity, to: &mut impl Say) {
    let [major, minor, patch] = PROTOCOL_VERSION;
    to.say(VersionInfo {
        major,
        minor,
        patch,
    });
    to.flush();

    to.say(Connect {
        collector_type: K8S,
        hostname: &identity.hostname,
    });
    to.say(ReportCpuCores {
        cpu_core_count: identity.cpu_cores,
    });
    to.flush();

    for (key, value) in &identity.labels {
        to.say(SetConfigLabel {
            key: key.as_bytes(),
            value: value.as_bytes(),
        });
    }
    to.flush();

    to.say(CloudPlatform {
        cloud_platform: UNKNOWN,
    });
    to.say(SetNodeInfo {
        az: b"",
        role: b"",
        instance_id: &identity.hostname,
        instance_type: b"",
    });
    to.say(MetadataComplete { time: 0 });
    to.flush();
}

/// Among the client types (protocol 6.1).
const K8S: u8 = 3;

/// Among the cloud platforms (protocol 6.3).
const UNKNOWN: u16 = 0;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::{Message, decode};

    /// The names of what was said, frame ends as `|`.
    #[derive(Default)]
    struct Heard {
        names: Vec<&'static str>,
        bytes: Vec<u8>,
    }

    impl Say for Heard {
        fn say<M: Encode>(&mut self, message: M) {
            self.names.push(M::NAME);
            message.encode(0, &mut self.bytes).unwrap();
        }

        fn flush(&mut self) {
            self.names.push("|");
        }
    }

    fn identity(labels: &[(&str, &str)]) -> Identity {
        let owned = |(key, value): &(&str, &str)| ((*key).into(), (*value).into());
        Identity {
            hostname: b"relay-host".to_vec(),
            cpu_cores: 2,
            labels: labels.iter().map(owned).collect(),
        }
    }

    fn hear(identity: &Identity) -> Heard {
        let mut heard = Heard::default();
        send_handshake(identity, &mut heard);
        heard
    }

    #[test]
    fn the_greeting_is_three_writes_without_labels_and_four_with() {
        assert_eq!(
            hear(&identity(&[])).names.join(" "),
            "version_info | connect report_cpu_cores | | \
             cloud_platform set_node_info metadata_complete |"
        );
        assert_eq!(
            hear(&identity(&[("a", "1"), ("b", "2")])).names.join(" "),
            "version_info | connect report_cpu_cores | set_config_label set_config_label | \
             cloud_platform set_node_info metadata_complete |"
        );
    }

    #[test]
    fn labels_are_told_in_the_bytewise_order_of_their_keys_and_the_rest_as_recorded() {
        let heard = hear(&identity(&[("zone", "eu-1"), ("env", "prod"), ("Z", "")]));
        let mut rest = &heard.bytes[..];
        let mut messages = Vec::new();
        while let Some((_, message, len)) = decode(rest).unwrap() {
            messages.push(message);
            rest = rest.get(len..).unwrap();
        }
        let label = |key, value| Message::from(SetConfigLabel { key, value });
        assert_eq!(
            messages,
            [
                VersionInfo {
                    major: 0,
                    minor: 11,
                    patch: 0
                }
                .into(),
                Connect {
                    collector_type: 3,
                    hostname: b"relay-host"
                }
                .into(),
                ReportCpuCores { cpu_core_count: 2 }.into(),
                label(b"Z", b""),
                label(b"env", b"prod"),
                label(b"zone", b"eu-1"),
                CloudPlatform { cloud_platform: 0 }.into(),
                SetNodeInfo {
                    az: b"",
                    role: b"",
                    instance_id: b"relay-host",
                    instance_type: b""
                }
                .into(),
                MetadataComplete { time: 0 }.into(),
            ]
        );
    }
}
