//! The base unit must work on systemd 219, which cannot boot here, and which only warns about unknown directives.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use emr_ecr_agent_tests::scratch;

/// Useful directives that systemd 219 knows and no later version deprecates.
const KNOWN_TO_219: [&str; 34] = [
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
    "RuntimeDirectory",
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
            // System call groups came with 231.
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

/// In tenths, as reported by systemd-analyze 252: the base unit alone, and with the sandbox drop-in.
const HIGHEST_EXPOSURES: [(&[&str], u32); 2] = [(&[], 49), (&["sandbox.conf"], 18)];

#[test]
fn exposure_is_low() {
    for (drop_ins, highest) in HIGHEST_EXPOSURES {
        let root = scratch::directory("units").unwrap();
        let units = root.path().join("etc/systemd/system");
        fs::create_dir_all(units.join("emr-ecr-agent.service.d")).unwrap();
        fs::copy(systemd("emr-ecr-agent.service"), units.join("emr-ecr-agent.service")).unwrap();
        for name in drop_ins {
            let to = units.join("emr-ecr-agent.service.d").join(name);
            fs::copy(systemd("emr-ecr-agent.service.d").join(name), to).unwrap();
        }
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--no-pager", "--offline=true", "emr-ecr-agent.service"]);
        analyze.arg(format!("--root={}", root.path().display())).arg(format!("--threshold={highest}"));
        let Ok(output) = analyze.output() else {
            eprintln!("SKIPPED: systemd-analyze is not installed");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("exposure level"), "{drop_ins:?}: {text}");
    }
}

fn systemd(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name)
}

fn settings() -> Vec<(String, String)> {
    let unit = fs::read_to_string(systemd("emr-ecr-agent.service")).unwrap();
    unit.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
