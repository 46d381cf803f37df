use serde_json::{Value, json};

use super::super::executor_config::lossy;
use super::fake_paths::FakePaths;
use super::*;

const CASES: &str = include_str!("../../testdata/mount.jsonl");

/// Stands for `$TMP` in the cases.
const TMP: &str = "/var/cases";

const CONFIG_FILE: &[u8] = b"/tmp/conf/container-executor.cfg";

fn node_paths() -> FakePaths {
    FakePaths::new(&[
        "/etc/",
        "/etc/passwd",
        "/usr/",
        "/usr/lib/",
        "/tmp/",
        "/tmp/conf/",
        "/tmp/conf/container-executor.cfg",
        "/var/",
        "/var/cases/",
        "/var/cases/d/",
        "/var/cases/d/sub/",
        "/var/cases/dd/",
        "/var/cases/f",
        "/var/cases/fpart",
        "/var/cases/link -> /var/cases/f",
        "/var/cases/dlink -> /var/cases/d",
    ])
}

#[test]
fn mounts_agree_with_hadoop() {
    for line in CASES.lines() {
        let case: Value = serde_json::from_str(&line.replace("$TMP", TMP)).expect("a case is JSON");
        // All cases have trusted images; the launch decides about others.
        assert_eq!(case["image_trusted"], true);
        let mounts = case["mounts"].as_str().expect("mounts");
        let lists = [&case["ro_mounts"], &case["rw_mounts"]].map(Value::as_str);
        for (version, rules) in [("3.2.1", Rules::V3_2), ("trunk", Rules::V3_3)] {
            let found = match decide(mounts, lists, rules) {
                Ok(volumes) => json!({ "rc": 0, "error": null, "mounted": volumes }),
                Err(refusal) => json!({
                    "rc": refusal.native_number(rules),
                    "error": refusal.native_name(rules),
                    "mounted": [],
                }),
            };
            assert_eq!(found, case[version], "{} under {rules}", case["id"]);
        }
    }
}

fn decide(
    mounts: &str,
    [read_only, read_write]: [Option<&str>; 2],
    rules: Rules,
) -> Result<Vec<String>, MountRefusal> {
    let mut text = "[docker]\n".to_owned();
    for (key, value) in [(RO_MOUNTS_KEY, read_only), (RW_MOUNTS_KEY, read_write)] {
        if let Some(value) = value {
            text.extend([key, "=", value, "\n"]);
        }
    }
    let config = ExecutorConfig::parse(text, rules).expect("a good configuration");
    let requests: Vec<_> = mounts.split(',').map(str::as_bytes).collect();
    let volumes = check(&config, &requests, CONFIG_FILE, &node_paths())?;
    Ok(volumes.iter().map(|volume| lossy(volume).into_owned()).collect())
}

/// A mount, the two lists, and the volume or native error under each version of the rules.
type Row = (&'static str, [Option<&'static str>; 2], &'static str, &'static str);

#[test]
fn mounts_beyond_the_cases() {
    let ro = |list| [Some(list), None];
    let rw = |list| [None, Some(list)];
    let none = [None, None];
    let table: [Row; 50] = [
        ("/etc/passwd:/x:ro", ro("/"), "/etc/passwd:/x:ro", "/etc/passwd:/x:ro"),
        ("/etc/passwd:/x:rw", ro("/etc"), "INVALID_DOCKER_RW_MOUNT", "INVALID_RW_MOUNT"),
        ("/etc/passwd:/x:rw", rw("/etc"), "/etc/passwd:/x:rw", "/etc/passwd:/x:rw"),
        ("/tmp/conf:/x:rw", rw("/tmp"), "INVALID_DOCKER_RW_MOUNT", "INVALID_RW_MOUNT"),
        ("/:/x:rw", rw("/"), "INVALID_DOCKER_RW_MOUNT", "INVALID_RW_MOUNT"),
        ("/tmp/conf/container-executor.cfg:/x:rw", rw("/tmp"), "INVALID_DOCKER_RW_MOUNT", "INVALID_RW_MOUNT"),
        ("/usr/lib:/x:rw", rw("/usr"), "/usr/lib:/x:rw", "/usr/lib:/x:rw"),
        ("/no:/x:ro", ro("/etc"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("/no:/x:ro", none, "INVALID_DOCKER_RO_MOUNT", "INVALID_RO_MOUNT"),
        ("/no:/x:rw", none, "INVALID_DOCKER_RW_MOUNT", "INVALID_RW_MOUNT"),
        (":/x:ro", ro("/etc"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("/etc/passwd:/x", ro("/etc"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("/etc/passwd", ro("/etc"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("/etc/passwd:/x:", ro("/etc"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("/etc/passwd:/x:r", ro("/etc"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("/etc/passwd:/x:RO", ro("/etc"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("/etc/passwd:ro", ro("/etc"), "/etc/passwd:ro", "/etc/passwd:ro:ro"),
        ("/etc/passwd:/a:/b:ro", ro("/etc"), "/etc/passwd:/a:/b:ro", "/etc/passwd:/a:ro"),
        ("/usr/lib:/x:ro+rslave", ro("/usr"), "/usr/lib:/x:ro,rslave", "/usr/lib:/x:ro,rslave"),
        ("/usr/lib:/x:ro-rslave", ro("/usr"), "/usr/lib:/x:ro,rslave", "INVALID_MOUNT"),
        ("/usr/lib:/x:ro+sshared", ro("/usr"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("/usr/lib:/x:rshared+ro", ro("/usr"), "INVALID_DOCKER_MOUNT", "/usr/lib:/x:rshared,ro"),
        ("/usr/lib:/x:ro+shared+odd", ro("/usr"), "INVALID_DOCKER_MOUNT", "/usr/lib:/x:ro,shared"),
        ("/usr/lib:/x:rw+slave", ro("/usr"), "INVALID_DOCKER_RW_MOUNT", "INVALID_RW_MOUNT"),
        ("/usr/lib:/x:rprivate", ro("/usr"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("/no:/x:odd", ro("/no"), "MOUNT_ACCESS_ERROR", "INVALID_MOUNT"),
        ("/etc/passwd:/x:ro", ro("/etc, /usr"), "MOUNT_ACCESS_ERROR", "MOUNT_ACCESS_ERROR"),
        ("/etc/passwd:/x:ro", ro("/etc:ro"), "MOUNT_ACCESS_ERROR", "MOUNT_ACCESS_ERROR"),
        ("/etc/passwd:/x:ro", ro(" "), "INVALID_DOCKER_RO_MOUNT", "MOUNT_ACCESS_ERROR"),
        ("volume:/x:ro", ro("vol,/etc"), "INVALID_DOCKER_RO_MOUNT", "INVALID_RO_MOUNT"),
        ("volume:/x:ro", ro("/etc,vol"), "volume:/x:ro", "volume:/x:ro"),
        ("vol_1:/x:ro", ro("regex:^vol_[0-9]$"), "vol_1:/x:ro", "vol_1:/x:ro"),
        ("zvol:/x:ro", ro("regex:^v"), "zvol:/x:ro", "zvol:/x:ro"),
        ("/etc/passwd:/x:ro", ro("regex:^/"), "INVALID_DOCKER_RO_MOUNT", "INVALID_RO_MOUNT"),
        ("vol:/x:ro", rw("regex:^v"), "vol:/x:ro", "vol:/x:ro"),
        ("vol:/x:rw", rw("vol"), "vol:/x:rw", "vol:/x:rw"),
        ("vol:/x:ro", ro("/etc,/etc/passwd,vo"), "INVALID_DOCKER_RO_MOUNT", "INVALID_RO_MOUNT"),
        ("vol:/x:ro", ro("/etc,vo"), "vol:/x:ro", "vol:/x:ro"),
        ("/etc/passwd:/x:ro", ro("/etc/pass"), "MOUNT_ACCESS_ERROR", "MOUNT_ACCESS_ERROR"),
        ("/var/cases/fpart:/x:ro", ro("/var/cases/f"), "INVALID_DOCKER_RO_MOUNT", "INVALID_RO_MOUNT"),
        ("-v:/x:ro", ro("/etc"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("v v:/x:ro", ro("/etc"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("v:/x:ro", ro("v"), "v:/x:ro", "v:/x:ro"),
        ("a:/etc:b:/x:ro", ro("a"), "a:/etc:b:/x:ro", "a:/etc:ro"),
        ("/usr/lib:/x:rox", ro("/usr"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("/usr/lib:/x:ro+slave", ro("/usr"), "/usr/lib:/x:ro,slave", "/usr/lib:/x:ro,slave"),
        ("/usr/lib:/x:ro+abcde", ro("/usr"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("/usr/lib:/x:ro++++++", ro("/usr"), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        ("/usr/lib:/x:rw+++ro+", rw("/usr"), "INVALID_DOCKER_MOUNT", "/usr/lib:/x:rw,ro"),
        ("vol:/x:ro", ro("regex:^("), "ERROR_COMPILING_REGEX", "ERROR_COMPILING_REGEX"),
    ];
    for (mount, lists, v3_2, v3_3) in table {
        for (rules, expected) in [(Rules::V3_2, v3_2), (Rules::V3_3, v3_3)] {
            let found = match decide(mount, lists, rules) {
                Ok(volumes) => volumes.join(","),
                Err(refusal) => refusal.native_name(rules).to_owned(),
            };
            assert_eq!(found, expected, "{mount} with {lists:?} under {rules}");
        }
    }
}
