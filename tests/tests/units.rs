//! The base unit must do on systemd 219, which cannot be booted here: it ignores with a warning what it does not know.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Of what 219 knows, and no later version calls deprecated, the directives that the unit has a use for.
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
fn every_directive_of_the_base_unit_is_known_to_systemd_219() {
    let used: BTreeSet<String> = settings().into_iter().map(|(name, _)| name).collect();
    assert!(used.contains("ExecStart"), "found only {used:?}");
    let unknown: Vec<&String> = used.iter().filter(|name| !KNOWN_TO_219.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn values_keep_to_forms_that_systemd_219_parses() {
    for (name, value) in settings() {
        match name.as_str() {
            "ProtectSystem" => assert!(["yes", "full"].contains(&value.as_str()), "{name}={value}"),
            // Groups of calls came with 231.
            "SystemCallFilter" => assert!(!value.contains('@'), "{name}={value}"),
            // Suffixes came later, and so did soft limits.
            _ if name.starts_with("Limit") => assert!(value.parse::<u64>().is_ok(), "{name}={value}"),
            // "+" came with 231; a directory that lacks would keep the unit from starting.
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
