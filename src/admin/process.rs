//! What the operating system says of this process. The one part of the metrics that is read from
//! files, all of them in memory.

use std::{fs, sync::OnceLock};

use nix::{
    sys::{
        resource::{Resource, UsageWho, getrlimit, getrusage},
        time::TimeValLike as _,
    },
    unistd::{SysconfVar, sysconf},
};

/// What is known of this process. What the system does not say is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Processor time used so far, in user and kernel mode.
    pub cpu_seconds: Option<f64>,
    /// Resident memory.
    pub resident_bytes: Option<f64>,
    /// Address space.
    pub virtual_bytes: Option<f64>,
    /// Open file descriptors.
    pub open_fds: Option<f64>,
    /// How many of them may be open.
    pub max_fds: Option<f64>,
    /// Threads.
    pub threads: Option<f64>,
    /// When it began, since the UNIX epoch.
    pub start_seconds: Option<f64>,
}

impl Process {
    /// This process, now.
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let numbers = Numbers::of(&stat);
        Self {
            cpu_seconds: cpu_seconds(),
            resident_bytes: numbers.resident_pages.map(|pages| pages * page_size()),
            virtual_bytes: numbers.virtual_bytes,
            open_fds: open_fds(),
            max_fds: max_fds(),
            threads: numbers.threads,
            start_seconds: numbers.start_ticks.and_then(start_seconds),
        }
    }
}

/// Some of the numbers in `/proc/self/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Numbers {
    threads: Option<f64>,
    /// Since the start of the machine.
    start_ticks: Option<f64>,
    virtual_bytes: Option<f64>,
    resident_pages: Option<f64>,
}

impl Numbers {
    fn of(stat: &str) -> Self {
        // The name of the program is in parentheses and may have anything in it.
        let Some((_, rest)) = stat.rsplit_once(')') else {
            return Self::default();
        };
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The first of them is the third of the line.
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Self {
            threads: field(20),
            start_ticks: field(22),
            virtual_bytes: field(23),
            resident_pages: field(24),
        }
    }
}

fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let microseconds =
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Some(number(microseconds) / 1e6)
}

fn open_fds() -> Option<f64> {
    // One of them reads the folder.
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(number(i64::try_from(open).ok()?.saturating_sub(1)))
}

fn max_fds() -> Option<f64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(number(i64::try_from(soft).unwrap_or(i64::MAX)))
}

fn page_size() -> f64 {
    number(asked(SysconfVar::PAGE_SIZE).unwrap_or(4096))
}

/// When something began, so many ticks after the start of the machine.
fn start_seconds(ticks: f64) -> Option<f64> {
    static MACHINE: OnceLock<Option<f64>> = OnceLock::new();
    let machine = MACHINE.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
        line.trim().parse().ok()
    });
    let a_second = number(asked(SysconfVar::CLK_TCK)?);
    Some(machine.as_ref()? + ticks / a_second)
}

fn asked(what: SysconfVar) -> Option<i64> {
    sysconf(what).ok().flatten()
}

/// Exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
fn number(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn this_process_has_threads_memory_descriptors_and_began_a_while_ago() {
        let process = Process::now();
        assert!(process.threads.unwrap() >= 1.0);
        assert!(process.resident_bytes.unwrap() > 1e6);
        assert!(process.virtual_bytes > process.resident_bytes);
        assert!(process.open_fds.unwrap() >= 1.0);
        assert!(process.max_fds > process.open_fds);
        assert!(process.cpu_seconds.unwrap() >= 0.0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let age = now.unwrap().as_secs_f64() - process.start_seconds.unwrap();
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_is_skipped() {
        let line = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 9 0 22 23 24 25\n";
        let numbers = Numbers {
            threads: Some(9.0),
            start_ticks: Some(22.0),
            virtual_bytes: Some(23.0),
            resident_pages: Some(24.0),
        };
        assert_eq!(Numbers::of(line), numbers);
        for cut in ["", "7 (a", "7 (a) S", "7 (a) S x y"] {
            assert_eq!(Numbers::of(cut), Numbers::default(), "{cut}");
        }
    }
}
