//! The state of a running process, from /proc.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

/// A process at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// Bytes.
    pub resident: f64,
    /// Bytes, with shared pages counted proportionally; `None` if the kernel does not report it.
    pub proportional: Option<f64>,
    /// User and system time since the start, in seconds.
    pub cpu: f64,
    /// Only of running threads; /proc drops the counts of ended threads.
    pub context_switches: f64,
    pub minor_faults: f64,
    pub major_faults: f64,
    pub open_files: f64,
    /// The number of threads by name.
    pub threads: BTreeMap<String, usize>,
}

impl Snapshot {
    pub(crate) fn at(process: u32) -> io::Result<Self> {
        let directory = PathBuf::from(format!("/proc/{process}"));
        let stat = fs::read_to_string(directory.join("stat"))?;
        // The name, in parentheses, may contain spaces.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let field = |number: usize| -> f64 {
            // Numbered as in proc(5), where process id and name are 1 and 2.
            fields.get(number - 3).and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        let status = fs::read_to_string(directory.join("status"))?;
        let rollup = fs::read_to_string(directory.join("smaps_rollup")).unwrap_or_default();
        let mut threads = BTreeMap::new();
        let mut context_switches = 0.0;
        for thread in fs::read_dir(directory.join("task"))? {
            let thread = thread?.path();
            // The thread may have ended meanwhile.
            let Ok(status) = fs::read_to_string(thread.join("status")) else { continue };
            *threads.entry(text_of(&status, "Name").to_owned()).or_default() += 1;
            context_switches += value_of(&status, "voluntary_ctxt_switches").unwrap_or_default();
            context_switches += value_of(&status, "nonvoluntary_ctxt_switches").unwrap_or_default();
        }
        Ok(Self {
            resident: value_of(&status, "VmRSS").unwrap_or_default() * 1024.0,
            proportional: value_of(&rollup, "Pss").map(|kib| kib * 1024.0),
            cpu: (field(14) + field(15)) / TICKS,
            context_switches,
            minor_faults: field(10),
            major_faults: field(12),
            open_files: fs::read_dir(directory.join("fd"))?.count() as f64,
            threads,
        })
    }
}

/// The kernel reports times in hundredths of a second, whatever its tick rate.
const TICKS: f64 = 100.0;

fn text_of<'a>(lines: &'a str, key: &str) -> &'a str {
    let find = |line: &'a str| line.strip_prefix(key)?.strip_prefix(':');
    lines.lines().find_map(find).unwrap_or_default().trim()
}

fn value_of(lines: &str, key: &str) -> Option<f64> {
    text_of(lines, key).split_whitespace().next()?.parse().ok()
}
