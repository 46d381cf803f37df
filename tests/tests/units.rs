//! The base unit must work on systemd 219, which cannot boot here, and which ignores unknown directives with a warning.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Useful directives that systemd 219 knows and no later version deprecates.
const KNOWN_TO_219: [&str; 33] = [
    "After",
    "CapabilityBoundingSet",
    "Description",
    "Environment",
    "EnvironmentFile",
    "ExecReload",
    "ExecStart",
    "IOSchedulingClass",
    "IOSchedulingPriority",
    "LimitCORE",
    "LimitDATA",
    "Nice",
    "NoNewPrivileges",
    "NotifyAccess",
    "PrivateDevices",
    "PrivateTmp",
    "ProtectHome",
    "ProtectSystem",
    "ReadOnlyDirectories",
    "ReadWriteDirectories",
    "Restart",
    "RestartPreventExitStatus",
    "RestartSec",
    "RestrictAddressFamilies",
    "SystemCallArchitectures",
    "SystemCallErrorNumber",
    "SystemCallFilter",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Type",
    "UMask",
    "WantedBy",
    "WatchdogSec",
];

#[test]
fn base_unit_uses_only_directives_of_systemd_219() {
    let used: BTreeSet<String> = settings().into_iter().map(|(name, _)| name).collect();
    assert!(used.contains("ExecStart"), "found only {used:?}");
    let unknown: Vec<&String> = used.iter().filter(|name| !KNOWN_TO_219.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn base_unit_values_parse_on_systemd_219() {
    for (name, value) in settings() {
        match name.as_str() {
            "ProtectSystem" => assert!(["yes", "full"].contains(&value.as_str()), "{name}={value}"),
            // Groups of calls came with 231.
            "SystemCallFilter" => assert!(!value.contains('@'), "{name}={value}"),
            // Later versions added suffixes and soft limits.
            _ if name.starts_with("Limit") => assert!(value.parse::<u64>().is_ok(), "{name}={value}"),
            // "+" came with 231; without "-" a missing directory would prevent the start.
            "ReadOnlyDirectories" | "ReadWriteDirectories" => {
                assert!(value.split(' ').all(|path| path.starts_with("-/")), "{name}={value}");
            }
            _ => {}
        }
    }
}

fn settings() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/emr-ecr-agent.service");
    let unit = fs::read_to_string(path).unwrap();
    unit.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
