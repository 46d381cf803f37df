use serde_json::{Map, Value};

use super::super::Rules;
use super::super::executor_config::lossy;
use super::super::mounts::fake_paths::FakePaths;
use super::super::trust::PrivilegedRefusal;
use super::*;

const CASES: &str = include_str!("../../testdata/launch.jsonl");

const CAPABILITIES: &str = "CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,\
SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE";

/// The configuration and launch command that the changes apply to.
const CONFIG: [(&str, &str); 6] = [
    ("module.enabled", "true"),
    ("docker.trusted.registries", "local,123456789123.dkr.ecr.us-east-1.amazonaws.com"),
    ("docker.allowed.networks", "host,none,bridge"),
    ("docker.allowed.capabilities", CAPABILITIES),
    ("docker.allowed.ro-mounts", "/etc/passwd"),
    ("docker.allowed.rw-mounts", "/opt"),
];
const COMMAND: [(&str, &str); 11] = [
    ("docker-command", "run"),
    ("docker-config", "/mnt/yarn/nmPrivate/a/c"),
    ("name", "container_1410901177871_0001_01_000005"),
    ("user", "1000:1000"),
    ("detach", "true"),
    ("workdir", "/opt"),
    ("net", "host"),
    ("mounts", "/etc/passwd:/etc/passwd:ro,/opt:/opt:rw"),
    ("cap-add", CAPABILITIES),
    ("image", "123456789123.dkr.ecr.us-east-1.amazonaws.com/a:b"),
    ("launch-command", "bash,/opt/x.sh"),
];

struct FakeHost(FakePaths);

impl FakeHost {
    fn new() -> Self {
        let listing = ["/etc/", "/etc/passwd", "/opt/", "/conf/", "/conf/container-executor.cfg"];
        Self(FakePaths::new(&listing))
    }
}

impl Paths for FakeHost {
    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.0.realpath(path)
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        self.0.is_directory(path)
    }
}

impl Host for FakeHost {
    fn executor_config_path(&self) -> Vec<u8> {
        b"/conf/container-executor.cfg".into()
    }

    /// Names the driver after the network, as Docker does for `bridge` and `host`.
    fn network_driver(&self, network: &[u8]) -> Option<Vec<u8>> {
        (network != b"odd").then(|| network.to_vec())
    }

    fn docker_access(&self, user: &[u8]) -> DockerAccess {
        match user {
            b"root" => DockerAccess::Granted,
            b"hadoop" => DockerAccess::Denied,
            _ => DockerAccess::UnknownUser,
        }
    }
}

#[test]
fn launches_agree_with_hadoop() {
    for line in CASES.lines() {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        let config_changes = case["cfg_change"].as_object().expect("changes");
        let command_changes = case["command_change"].as_object().expect("changes");
        for (version, rules) in [("3.2.1", Rules::V3_2), ("trunk", Rules::V3_3)] {
            let outcome = outcome_of(config_changes, command_changes, rules);
            let (rc, error, args) = match &outcome {
                Ok(words) => (0, None, words.as_str()),
                Err(refusal) => (refusal.native_number(rules), refusal.native_name(rules), ""),
            };
            let (expected, id) = (&case[version], &case["id"]);
            assert_eq!(expected["error"].as_str(), error, "error of {id}, {rules}");
            assert_eq!(expected["rc"], rc, "number of {id}, {rules}");
            assert_eq!(expected["args"], args, "arguments of {id}, {rules}");
        }
    }
}

/// Changes by key; null removes a key.
fn outcome_of(
    config_changes: &Map<String, Value>,
    command_changes: &Map<String, Value>,
    rules: Rules,
) -> Result<String, Refusal> {
    let mut text = "yarn.nodemanager.linux-container-executor.group=hadoop\n[docker]\n".to_owned();
    for (key, value) in changed(&CONFIG, config_changes) {
        text.extend([key, "=", value, "\n"]);
    }
    let config = ExecutorConfig::parse(text, rules).expect("a good configuration");
    let command =
        LaunchCommand::new(changed(&COMMAND, command_changes), rules).expect("a readable launch command");
    let words = decide(&config, &command, &FakeHost::new())?;
    let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
    Ok(words.join(" "))
}

fn changed<'t>(base: &[(&'t str, &'t str)], changes: &'t Map<String, Value>) -> Vec<(&'t str, &'t str)> {
    let kept = base.iter().copied().filter(|(key, _)| !changes.contains_key(*key));
    let new = changes.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
    kept.chain(new).collect()
}

/// One change to the configuration, one to the command, and what the arguments must contain or the native error
/// under each version of the rules.
type Row = (Change, Change, &'static str, &'static str);
type Change = Option<(&'static str, &'static str)>;

#[test]
fn launches_beyond_the_cases() {
    let image_error = "INVALID_DOCKER_IMAGE_NAME";
    let invalid_name = "INVALID_DOCKER_CONTAINER_NAME";
    let table: [Row; 27] = [
        (None, Some(("image", "a/b=c")), "--cap-drop=ALL a/b bash", "--cap-drop=ALL a/b bash"),
        (None, Some(("image", "#")), image_error, image_error),
        (None, Some(("name", "container_e17_1_1_1_1")), "--name=container_e17_1", "--name=container_e17_1"),
        (
            None,
            Some(("name", "container_1_1_1")),
            "INVALID_DOCKER_CONTAINER_NAME",
            "INVALID_DOCKER_CONTAINER_NAME",
        ),
        (None, Some(("name", "x_1_1_1_1")), "INVALID_DOCKER_CONTAINER_NAME", "INVALID_DOCKER_CONTAINER_NAME"),
        (None, Some(("name", "container_1_1_1_1_1_1")), invalid_name, invalid_name),
        (None, Some(("name", "container_x1_1_1_1")), invalid_name, invalid_name),
        (None, Some(("name", "container_1_1_1_x")), invalid_name, invalid_name),
        (
            None,
            Some(("name", "container__1_1__1_1")),
            "--name=container__1_1__1_1",
            "--name=container__1_1__1_1",
        ),
        (None, Some(("net", "odd")), "INVALID_DOCKER_NETWORK", "INVALID_DOCKER_NETWORK"),
        (Some(("docker.allowed.networks", "odd")), Some(("net", "odd")), "unnamed", "unnamed"),
        (None, Some(("mounts", "/no:/no:ro")), "INVALID_DOCKER_MOUNT", "INVALID_MOUNT"),
        (None, Some(("tmpfs", "/")), "INVALID_DOCKER_TMPFS_MOUNT", "INVALID_DOCKER_TMPFS_MOUNT"),
        (None, Some(("tmpfs", "run")), "INVALID_DOCKER_TMPFS_MOUNT", "INVALID_DOCKER_TMPFS_MOUNT"),
        (None, Some(("cap-add", "SYS_ADMIN")), "INVALID_DOCKER_CAPABILITY", "INVALID_DOCKER_CAPABILITY"),
        (
            Some(("docker.allowed.runtimes", "a")),
            Some(("runtime", "b")),
            "INVALID_DOCKER_RUNTIME",
            "INVALID_DOCKER_RUNTIME",
        ),
        (None, Some(("user", "")), "INVALID_DOCKER_USER_NAME", "INVALID_DOCKER_USER_NAME"),
        (None, Some(("docker-command", "pull")), "INCORRECT_COMMAND", "INCORRECT_DOCKER_COMMAND"),
        (None, Some(("net", "bridge")), "--net=bridge -P -v", "--net=bridge -P -v"),
        (None, Some(("net", "")), "--workdir=/opt -v", "--workdir=/opt -v"),
        (Some(("docker.allowed.networks", " ")), Some(("net", " ")), "INVALID_DOCKER_NETWORK", "--net= "),
        (None, Some(("tmpfs", "/run,/x")), "--tmpfs /run --tmpfs /x", "--tmpfs /run --tmpfs /x"),
        (None, Some(("tmpfs", "/run:size=1")), "INVALID_DOCKER_TMPFS_MOUNT", "INVALID_DOCKER_TMPFS_MOUNT"),
        (None, Some(("cap-add", " ")), "--cap-drop=ALL 123456789123", "INVALID_DOCKER_CAPABILITY"),
        (
            Some(("docker.allowed.runtimes", "nvidia")),
            Some(("runtime", "nvidia")),
            "--runtime=nvidia",
            "--runtime=nvidia",
        ),
        (None, Some(("group-add", "1,2")), "--group-add 1 --group-add 2", "--group-add 1 --group-add 2"),
        (
            Some(("docker.binary", "/opt/docker")),
            Some(("rm", "true")),
            "-d --rm --workdir",
            "/opt/docker --config",
        ),
    ];
    for (config_change, command_change, v3_2, v3_3) in table {
        let changes = |change: Change| {
            let pair = |(key, value): (&str, &str)| (key.to_owned(), Value::from(value));
            change.into_iter().map(pair).collect::<Map<_, _>>()
        };
        let (config_changes, command_changes) = (changes(config_change), changes(command_change));
        for (rules, expected) in [(Rules::V3_2, v3_2), (Rules::V3_3, v3_3)] {
            let found = match outcome_of(&config_changes, &command_changes, rules) {
                Ok(words) => words,
                Err(refusal) => refusal.native_name(rules).unwrap_or("unnamed").to_owned(),
            };
            assert!(
                found.contains(expected),
                "{config_change:?} {command_change:?} under {rules}: {found} instead of {expected}"
            );
        }
    }
}

#[test]
fn numbers_and_names_differ_by_generation() {
    let privileged = || Refusal::Privileged(PrivilegedRefusal::NotEnabled);
    let table: [(Refusal, i32, i32, &str, &str); 12] = [
        (Refusal::NotRun, 2, 54, "INCORRECT_COMMAND", "INCORRECT_DOCKER_COMMAND"),
        (Refusal::TooManyArguments, 3, 48, "BUFFER_TOO_SMALL", "BUFFER_TOO_SMALL"),
        (Refusal::ContainerName, 4, 55, "INVALID_DOCKER_CONTAINER_NAME", "INVALID_DOCKER_CONTAINER_NAME"),
        (Refusal::ImageName, 5, 56, "INVALID_DOCKER_IMAGE_NAME", "INVALID_DOCKER_IMAGE_NAME"),
        (Refusal::NoUser, 6, 57, "INVALID_DOCKER_USER_NAME", "INVALID_DOCKER_USER_NAME"),
        (Refusal::Network, 9, 60, "INVALID_DOCKER_NETWORK", "INVALID_DOCKER_NETWORK"),
        (Refusal::Capability, 11, 62, "INVALID_DOCKER_CAPABILITY", "INVALID_DOCKER_CAPABILITY"),
        (privileged(), 12, 63, "PRIVILEGED_CONTAINERS_DISABLED", "PRIVILEGED_DOCKER_CONTAINERS_DISABLED"),
        (Refusal::TmpfsMount, 26, 73, "INVALID_DOCKER_TMPFS_MOUNT", "INVALID_DOCKER_TMPFS_MOUNT"),
        (Refusal::Runtime, 27, 74, "INVALID_DOCKER_RUNTIME", "INVALID_DOCKER_RUNTIME"),
        (Refusal::UnknownUser, 20, 20, "INITIALIZE_USER_FAILED", "INITIALIZE_USER_FAILED"),
        (Refusal::NetworkDriver, -1, -1, "", ""),
    ];
    for (refusal, old, new, old_name, new_name) in table {
        for (rules, number, name) in
            [(Rules::V3_2, old, old_name), (Rules::V3_3, new, new_name), (Rules::V3_4, new, new_name)]
        {
            assert_eq!(refusal.native_number(rules), number, "{refusal} under {rules}");
            assert_eq!(refusal.native_name(rules).unwrap_or_default(), name, "{refusal} under {rules}");
        }
    }
}

#[test]
fn privileged_containers_need_all_four_permissions() {
    let config = |key: &str| {
        let lines = ["privileged-containers.enabled=true", "privileged-containers.registries=local"]
            .map(|line| format!("docker.{line}\n"));
        ExecutorConfig::parse(format!("[docker]\n{}{key}", lines.concat()), Rules::V3_3).expect("a good one")
    };
    let decide_for = |changes: &[(&str, &str)]| {
        let base = [
            ("docker-command", "run"),
            ("name", "container_1_1_1_1"),
            ("user", "root"),
            ("image", "local/a"),
            ("privileged", "true"),
            ("use-entry-point", "true"),
            ("group-add", "1"),
        ];
        let kept = base.into_iter().filter(|(key, _)| changes.iter().all(|(other, _)| other != key));
        let command = LaunchCommand::new(kept.chain(changes.iter().copied()), Rules::V3_3).expect("readable");
        decide(&config(""), &command, &FakeHost::new()).map(|words| lossy(&words.join(&b' ')).into_owned())
    };
    let run = "/usr/bin/docker run --name=container_1_1_1_1 --privileged --cap-drop=ALL local/a";
    assert_eq!(decide_for(&[]), Ok(run.to_owned()));
    let refused = |refusal| Err(Refusal::Privileged(refusal));
    assert_eq!(decide_for(&[("use-entry-point", "false")]), refused(PrivilegedRefusal::NotEntryPoint));
    assert_eq!(decide_for(&[("image", "other/a")]), refused(PrivilegedRefusal::NotTrusted));
    assert_eq!(decide_for(&[("user", "hadoop")]), refused(PrivilegedRefusal::User));
    assert_eq!(decide_for(&[("user", "nobody")]), Err(Refusal::UnknownUser));
    let unprivileged = run.replace("--privileged --cap-drop=ALL", "--user=root --cap-drop=ALL --group-add 1");
    assert_eq!(decide_for(&[("privileged", "false")]), Ok(unprivileged));
}

#[test]
fn a_command_line_has_room_for_1024_words() {
    let words_for = |count: usize| {
        let launch = vec!["x"; count].join(",");
        let changes = Map::from_iter([("launch-command".to_owned(), Value::from(launch))]);
        outcome_of(&Map::new(), &changes, Rules::V3_3).map(|words| words.split(' ').count())
    };
    let others = words_for(1).expect("few words") - 1;
    assert_eq!(words_for(1_024 - others), Ok(1_024));
    assert_eq!(words_for(1_025 - others), Err(Refusal::TooManyArguments));
}
