//! The first messages of every connection, in the order of protocol 7.
//!
//! Invariant: the same facts give the same messages on each connection.
//! Absent here: pods, and where the facts come from.

use std::collections::BTreeMap;

use super::cloud::{Address, CloudFacts, Interface, Platform};
use crate::wire::{
    Encode,
    messages::{
        CloudPlatform, CloudPlatformAccountInfo, Connect, Ipv6Addr, MetadataComplete,
        PrivateIpv4Addr, PublicToPrivateIpv4, ReportCpuCores, SetConfigLabel, SetNodeInfo,
        VersionInfo,
    },
};

/// What a handshake says about this relay. Sampled once, at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The host's name, `(unknown)` if there is none; any bytes, at most 255.
    pub hostname: Vec<u8>,
    /// Hardware threads of this machine.
    pub cpu_cores: u32,
    /// Keys and values, sent in the bytewise order of the keys.
    pub labels: BTreeMap<String, String>,
}

/// Takes messages and frame ends in order.
pub trait Say {
    /// Sends this next.
    fn say<M: Encode>(&mut self, message: M);

    /// Ends the frame; without messages in it there is none.
    fn flush(&mut self);
}

/// The protocol version we speak: a constant, never this crate's own (D5).
pub const PROTOCOL_VERSION: [u32; 3] = [0, 11, 0];

/// Says all of it. The first message is the one that travels uncompressed.
pub fn send_handshake(identity: &Identity, cloud: &CloudFacts, to: &mut impl Say) {
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
        cloud_platform: cloud.platform.code(),
    });
    match cloud.platform {
        Platform::Unknown => to.say(SetNodeInfo {
            az: b"",
            role: b"",
            instance_id: &identity.hostname,
            instance_type: b"",
        }),
        Platform::Aws | Platform::Gcp => say_instance(cloud, to),
    }
    to.say(MetadataComplete { time: 0 });
    to.flush();
}

fn say_instance(cloud: &CloudFacts, to: &mut impl Say) {
    if !cloud.account_id.is_empty() {
        to.say(CloudPlatformAccountInfo {
            account_id: cloud.account_id.as_bytes(),
        });
    }
    to.say(SetNodeInfo {
        az: cloud.zone.as_bytes(),
        role: cloud.role.as_bytes(),
        instance_id: cloud.instance_id.as_bytes(),
        instance_type: cloud.instance_type.as_bytes(),
    });
    to.flush();
    let of_interface = |interface: &Interface| {
        let vpc_id = padded(&interface.network);
        let addresses = interface.addresses.clone().into_iter();
        addresses.map(move |address| (vpc_id, address))
    };
    let addresses = cloud.interfaces.iter().flat_map(of_interface);
    for (vpc_id, address) in addresses.take(MAX_ADDRESSES) {
        match address {
            Address::Private(addr) => to.say(PrivateIpv4Addr { vpc_id, addr }),
            Address::V6(addr) => to.say(Ipv6Addr {
                addr: addr.octets(),
                vpc_id,
            }),
            Address::Public { public, private } => to.say(PublicToPrivateIpv4 {
                vpc_id,
                public_addr: public,
                private_addr: private,
            }),
        }
    }
}

/// A network's name in the width that it has on the wire: cut, or filled with zeros.
fn padded(network: &str) -> [u8; 22] {
    let mut padded = [0; 22];
    for (byte, from) in padded.iter_mut().zip(network.bytes()) {
        *byte = from;
    }
    padded
}

/// More addresses than a machine has; a handshake is never longer than a buffer for it.
const MAX_ADDRESSES: usize = 4096;

/// Among the client types (protocol 6.1).
const K8S: u8 = 3;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv4Addr;

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
        hear_in(&CloudFacts::default(), identity)
    }

    fn hear_in(cloud: &CloudFacts, identity: &Identity) -> Heard {
        let mut heard = Heard::default();
        send_handshake(identity, cloud, &mut heard);
        heard
    }

    /// An instance in a cloud, with an address of each kind.
    fn instance(platform: Platform, account_id: &str, network: &str) -> CloudFacts {
        let private = Ipv4Addr::new(10, 0, 0, 1);
        CloudFacts {
            platform,
            account_id: account_id.into(),
            zone: "us-east-1a".into(),
            role: "node".into(),
            instance_id: "0dcf".into(),
            instance_type: "m5.large".into(),
            interfaces: vec![Interface {
                network: network.into(),
                addresses: vec![
                    Address::Private(private),
                    Address::V6("2001:db8::1".parse().unwrap()),
                    Address::Public {
                        public: Ipv4Addr::new(52, 86, 69, 93),
                        private,
                    },
                ],
            }],
        }
    }

    #[test]
    fn in_a_cloud_a_frame_ends_after_the_nodes_facts_and_its_addresses_follow() {
        for (platform, account, said) in [
            (
                Platform::Aws,
                "525339921445",
                "cloud_platform cloud_platform_account_info set_node_info",
            ),
            (Platform::Aws, "", "cloud_platform set_node_info"),
            (Platform::Gcp, "", "cloud_platform set_node_info"),
        ] {
            let cloud = instance(platform, account, "vpc-1");
            assert_eq!(
                hear_in(&cloud, &identity(&[])).names.join(" "),
                format!(
                    "version_info | connect report_cpu_cores | | {said} | private_ipv4_addr \
                     ipv6_addr public_to_private_ipv4 metadata_complete |"
                )
            );
        }
    }

    #[test]
    fn an_instance_is_sent_with_the_clouds_number_and_its_own_names() {
        let cloud = instance(Platform::Gcp, "", "a-network-of-more-than-22-bytes");
        let heard = hear_in(&cloud, &identity(&[]));
        let mut rest = &heard.bytes[..];
        let mut messages = Vec::new();
        while let Some((_, message, len)) = decode(rest).unwrap() {
            messages.push(message);
            rest = rest.get(len..).unwrap();
        }
        let vpc_id = *b"a-network-of-more-than";
        let private = Ipv4Addr::new(10, 0, 0, 1);
        let expected = [
            Message::from(CloudPlatform { cloud_platform: 2 }),
            SetNodeInfo {
                az: b"us-east-1a",
                role: b"node",
                instance_id: b"0dcf",
                instance_type: b"m5.large",
            }
            .into(),
            PrivateIpv4Addr {
                vpc_id,
                addr: private,
            }
            .into(),
            Ipv6Addr {
                addr: [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                vpc_id,
            }
            .into(),
            PublicToPrivateIpv4 {
                vpc_id,
                public_addr: Ipv4Addr::new(52, 86, 69, 93),
                private_addr: private,
            }
            .into(),
            MetadataComplete { time: 0 }.into(),
        ];
        assert_eq!(messages[3..], expected);
        assert_eq!(padded("vpc-1"), *b"vpc-1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn addresses_beyond_a_bound_are_left_out() {
        let mut cloud = instance(Platform::Aws, "", "");
        let many = (0..10_000_u32).map(|n| Address::Private(n.into()));
        cloud.interfaces[0].addresses = many.collect();
        let heard = hear_in(&cloud, &identity(&[]));
        let said = heard
            .names
            .iter()
            .filter(|name| **name == "private_ipv4_addr");
        assert_eq!(said.count(), MAX_ADDRESSES);
    }

    #[test]
    fn the_handshake_is_three_writes_without_labels_and_four_with() {
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
    fn labels_are_sent_in_the_bytewise_order_of_their_keys_and_the_rest_as_recorded() {
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
