//! THE table. One row is one message: its number on the wire, its name, the size of its fixed part,
//! and each field at its literal offset from the number's first byte (protocol 5), so that a
//! reviewer can compare a row with the legacy layout.
//!
//! `tail 8 => a, b, c` means: the `u16` lengths of `a` and `b` stand at 8 and 10, `c` takes what
//! remains, and the texts follow the fixed part in this order. A row without a tail has a fixed
//! size. Bytes no row mentions are padding: written as zero, ignored when read.

use std::net::Ipv4Addr;

use super::codec::messages;

messages! { Message<'a>:
    /// The sender's version; must be at least 0.9.0. The first message, the only one that
    /// travels uncompressed.
    310 VersionInfo = "version_info" (16) before_connect {
        @4 major: u32, @8 minor: u32, @12 patch: u32
    }
    /// Opens the session. `collector_type` is 3 for a Kubernetes relay (protocol 6.1).
    548 Connect<'a> = "connect" (5) before_connect {
        @4 collector_type: u8;
        tail 5 => hostname
    }
    /// Hardware threads of the sender's machine.
    536 ReportCpuCores = "report_cpu_cores" (8) {
        @4 cpu_core_count: u32
    }
    /// One label of the configuration.
    416 SetConfigLabel<'a> = "set_config_label" (6) { ; tail 4 => key, value }
    /// Where the sender runs (protocol 6.3); 0 is unknown.
    413 CloudPlatform = "cloud_platform" (4) {
        @2 cloud_platform: u16
    }
    /// The cloud account.
    495 CloudPlatformAccountInfo<'a> = "cloud_platform_account_info" (4) { ; tail 4 => account_id }
    /// Facts of the sender's node; empty texts are unknown.
    415 SetNodeInfo<'a> = "set_node_info" (10) { ; tail 4 => az, role, instance_id, instance_type }
    /// A private address without a public one. `vpc_id` is padded with zeros.
    353 PrivateIpv4Addr = "private_ipv4_addr" (28) {
        @2 vpc_id: [u8; 22], @24 addr: Ipv4Addr
    }
    /// An IPv6 address of the sender's node.
    354 Ipv6Addr = "ipv6_addr" (40) {
        @2 addr: [u8; 16], @18 vpc_id: [u8; 22]
    }
    /// A public address and the private one behind it.
    355 PublicToPrivateIpv4 = "public_to_private_ipv4" (32) {
        @2 vpc_id: [u8; 22], @24 public_addr: Ipv4Addr, @28 private_addr: Ipv4Addr
    }
    /// The handshake is complete. `time` is 0 from a relay.
    356 MetadataComplete = "metadata_complete" (16) {
        @8 time: u64
    }
    /// Nothing to send, but alive.
    392 Heartbeat = "heartbeat" (2) {}
    /// The sender's health (protocol 6.2); 0 is healthy.
    496 CollectorHealth = "collector_health" (6) {
        @2 status: u16, @4 detail: u16
    }
    /// What the sender's process has used so far. Times in microseconds, sizes in bytes.
    412 AgentResourceUsage = "agent_resource_usage" (54) {
        @2 cpu_usage_by_agent: u16, @4 minor_page_faults: u32,
        @8 user_mode_time_us: u64, @16 kernel_mode_time_us: u64,
        @24 max_resident_set_size: u64,
        @32 major_page_faults: u32, @36 block_input_count: u32, @40 block_output_count: u32,
        @44 voluntary_context_switch_count: u32, @48 involuntary_context_switch_count: u32,
        @52 cpu_idle: u16
    }
    /// A pod, before its containers. `owner_kind` is a code of protocol 6.5, `is_host_network` 0 or 1.
    515 PodNewWithName<'a> = "pod_new_with_name" (20) {
        @4 ip: Ipv4Addr, @18 owner_kind: u8, @19 is_host_network: u8;
        tail 8 => uid, owner_name, pod_name, owner_uid, ns, version
    }
    /// A container of the pod `uid`. `container_id` has its runtime's prefix.
    494 PodContainer<'a> = "pod_container" (10) { ; tail 4 => uid, container_id, container_name, container_image }
    /// A pod is gone.
    359 PodDelete<'a> = "pod_delete" (4) { ; tail 4 => uid }
    /// All pods announced on this connection are void.
    390 PodResync = "pod_resync" (16) {
        @8 resync_count: u64
    }
    /// A line of a sender's log. Levels: protocol 5.19.
    411 LogMessage<'a> = "log_message" (5) {
        @4 log_level: u8;
        tail 5 => message
    }
    /// A probe, instead of a session. `client_type` is a code of protocol 6.1.
    409 HealthCheck<'a> = "health_check" (5) before_connect {
        @4 client_type: u8;
        tail 5 => origin
    }
    /// A pod as the oldest relays sent it.
    358 PodNewLegacy<'a> = "pod_new_legacy" (16) {
        @4 ip: Ipv4Addr, @14 owner_kind: u8, @15 is_host_network: u8;
        tail 8 => uid, owner_name, owner_uid, ns
    }
    /// A pod as older relays sent it.
    414 PodNewLegacy2<'a> = "pod_new_legacy2" (18) {
        @4 ip: Ipv4Addr, @16 owner_kind: u8, @17 is_host_network: u8;
        tail 8 => uid, owner_name, owner_uid, ns, version
    }
    /// A container as older relays sent it; a reducer ignores it.
    400 PodContainerLegacy<'a> = "pod_container_legacy" (6) { ; tail 4 => uid, container_id }
}
