//! Facts of this process and its machine, asked of the operating system.

use std::os::unix::ffi::OsStringExt;

use nix::{
    sys::{
        resource::{Usage, UsageWho, getrusage},
        time::TimeValLike,
    },
    unistd::{SysconfVar, gethostname, sysconf},
};

use crate::wire::messages::AgentResourceUsage;

/// What this process and its ended children have used so far (protocol 5.14). What the system does
/// not report is zero; a count beyond 32 bits stays at their maximum.
pub fn resource_usage() -> AgentResourceUsage {
    let usages = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(|who| getrusage(who).ok());
    let sum = |of: &dyn Fn(&Usage) -> i64| -> u64 {
        let known = usages.iter().flatten();
        known
            .map(|usage| u64::try_from(of(usage)).unwrap_or(0))
            .sum()
    };
    let count = |of: &dyn Fn(&Usage) -> i64| u32::try_from(sum(of)).unwrap_or(u32::MAX);
    AgentResourceUsage {
        cpu_usage_by_agent: 0,
        minor_page_faults: count(&Usage::minor_page_faults),
        user_mode_time_us: sum(&|usage| usage.user_time().num_microseconds()),
        kernel_mode_time_us: sum(&|usage| usage.system_time().num_microseconds()),
        max_resident_set_size: sum(&Usage::max_rss) * 1024,
        major_page_faults: count(&Usage::major_page_faults),
        block_input_count: count(&Usage::block_reads),
        block_output_count: count(&Usage::block_writes),
        voluntary_context_switch_count: count(&Usage::voluntary_context_switches),
        involuntary_context_switch_count: count(&Usage::involuntary_context_switches),
        cpu_idle: 0,
    }
}

/// Hardware threads of this machine that are online, whatever share of them is ours.
pub fn cpu_cores() -> u32 {
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    online.and_then(|n| u32::try_from(n).ok()).unwrap_or(1)
}

/// The host's name, or `(unknown)` (protocol 7).
pub fn hostname() -> Vec<u8> {
    gethostname().map_or_else(|_| b"(unknown)".to_vec(), OsStringExt::into_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_has_used_memory_and_has_a_machine() {
        let usage = resource_usage();
        assert!(usage.max_resident_set_size > 1024 * 1024);
        assert!(usage.minor_page_faults > 0);
        assert_eq!((usage.cpu_usage_by_agent, usage.cpu_idle), (0, 0));
        assert!(cpu_cores() > 0);
        assert!(!hostname().is_empty());
    }
}
