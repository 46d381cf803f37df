//! The standard `process_*` metrics from /proc. The Prometheus client has them as well, by a library that is
//! larger than all other metrics together.

use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

/// What the kernel tells of this process in one line; times in clock ticks.
struct Stat<'l> {
    fields: Vec<&'l str>,
}

/// Collects them as they are now; what cannot be read is left out.
pub(super) fn families() -> Vec<MetricFamily> {
    let mut families = Vec::new();
    if let Ok(line) = fs::read_to_string("/proc/self/stat") {
        families.extend(of_stat(&Stat::parse(&line)));
    }
    if let Ok(open) = open_files() {
        families.extend(gauge("process_open_fds", "Number of open file descriptors.", open));
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        families.extend(gauge("process_max_fds", "Maximum number of open file descriptors.", soft as f64));
    }
    families
}

fn of_stat(stat: &Stat<'_>) -> Vec<MetricFamily> {
    let ticks = constant(SysconfVar::CLK_TCK).unwrap_or(100.0);
    let page = constant(SysconfVar::PAGE_SIZE).unwrap_or(4096.0);
    let mut families = Vec::new();
    if let (Some(user), Some(system)) = (stat.field(14), stat.field(15)) {
        families.extend(counter(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            (user + system) / ticks,
        ));
    }
    if let (Some(started), Some(booted)) = (stat.field(22), booted_at()) {
        families.extend(gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            booted + started / ticks,
        ));
    }
    let gauges = [
        ("process_threads", "Number of OS threads in the process.", 20, 1.0),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", 23, 1.0),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", 24, page),
    ];
    for (name, help, number, unit) in gauges {
        families.extend(stat.field(number).into_iter().flat_map(|value| gauge(name, help, value * unit)));
    }
    families
}

impl<'l> Stat<'l> {
    /// The second field, the program's name in brackets, may hold blanks and brackets of its own.
    fn parse(line: &'l str) -> Self {
        let after = line.rsplit_once(')').map_or("", |(_, after)| after);
        Self { fields: after.split_whitespace().collect() }
    }

    /// By its number in proc(5), from the third on.
    fn field(&self, number: usize) -> Option<f64> {
        self.fields.get(number - 3)?.parse().ok()
    }
}

fn counter(name: &str, help: &str, value: f64) -> Vec<MetricFamily> {
    let Ok(counter) = Counter::new(name, help) else { return Vec::new() };
    counter.inc_by(value);
    counter.collect()
}

fn gauge(name: &str, help: &str, value: f64) -> Vec<MetricFamily> {
    let Ok(gauge) = Gauge::new(name, help) else { return Vec::new() };
    gauge.set(value);
    gauge.collect()
}

/// The listing itself holds one open.
fn open_files() -> io::Result<f64> {
    Ok(fs::read_dir("/proc/self/fd")?.count().saturating_sub(1) as f64)
}

/// In seconds since the epoch.
fn booted_at() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn constant(name: SysconfVar) -> Option<f64> {
    sysconf(name).ok().flatten().map(|value| value as f64)
}

#[cfg(test)]
mod tests {
    use super::{Stat, families};

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let stat = Stat::parse("7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 31 12");
        assert_eq!((stat.field(4), stat.field(14), stat.field(15)), (Some(1.0), Some(31.0), Some(12.0)));
        assert_eq!(stat.field(16), None);
    }

    #[test]
    fn this_process_is_told_about() {
        let told: Vec<_> = families().iter().map(|family| family.name().to_owned()).collect();
        assert_eq!(
            told,
            [
                "process_cpu_seconds_total",
                "process_start_time_seconds",
                "process_threads",
                "process_virtual_memory_bytes",
                "process_resident_memory_bytes",
                "process_open_fds",
                "process_max_fds",
            ]
        );
    }
}
