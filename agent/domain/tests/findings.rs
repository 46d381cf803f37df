//! Every finding: its entry on the page, a fixture that provokes it, and a similar one that must not.

#![expect(clippy::disallowed_methods, reason = "the fixtures and the page are files")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use domain::check::{
    self, Access, Account, AwsAnswer, AwsOutcome, ClientConfig, Content, DataRoot, DockerEngine,
    HadoopVersion, ImageDetails, Inputs, Machine, NodeDockerConfig, NodeInputs, Permissions, Propagation,
    Readers, RegistryAnswer, Report, Request, SiteContent, SiteFile, SparkProperties, TextAlone, TextFile,
};
use domain::credentials::TokenScope;
use domain::documents::PublishedPath;
use domain::emr::properties::SparkProperty;
use domain::findings::{self, Action, Effect, Finding, Fix, Severity, Subject, codes};
use domain::registry::EcrRegistry;
use domain::status::ExecutorCfg;
use hadoop_rules::Rules;
use hadoop_rules::launch::DockerAccess;
use hadoop_rules::mounts::Paths;
use hadoop_rules::setup::{Binary, Owned};
use hadoop_rules::site::{NoIncludes, NoVariables, Site};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// A container-executor.cfg without a fault, which fixtures change.
const GOOD_CFG: &str = "\
yarn.nodemanager.linux-container-executor.group=yarn
[docker]
module.enabled=true
docker.trusted.registries=local,centos,123456789123.dkr.ecr.us-east-1.amazonaws.com
docker.allowed.networks=host,none,bridge
docker.allowed.capabilities=CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE
docker.allowed.ro-mounts=/etc/passwd,/usr/lib
docker.allowed.rw-mounts=/mnt/yarn
";
const GOOD_YARN: [(&str, &str); 2] = [
    (
        "yarn.nodemanager.container-executor.class",
        "org.apache.hadoop.yarn.server.nodemanager.LinuxContainerExecutor",
    ),
    ("yarn.nodemanager.runtime.linux.allowed-runtimes", "default,docker"),
];
/// Codes that report a state, not a fault.
const NOTHING_TO_FIX: [&str; 2] = ["ecr-auto-auth-on", "ecr-auto-auth-off"];
/// 2026-01-01.
const NOW: Timestamp = Timestamp::constant(1_767_225_600, 0);

#[test]
fn page_and_table_are_equal() {
    let page = fs::read_to_string(root().join("../../docs/findings.md")).expect("the page");
    let headings: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let names: Vec<&str> = codes::ALL.iter().map(|code| code.name).collect();
    assert_eq!(headings, names, "one entry for each code, in the table's order");
    for code in codes::ALL {
        let start = page.find(&format!("\n### {}\n", code.name)).expect("an entry");
        let text = page[start..].split("\n#").nth(1).expect("the entry's text");
        let lines: Vec<&str> = text.trim_end().lines().collect();
        assert_eq!(lines[2], format!("*{}*", code.severity.as_str()), "{}", code.name);
        let effect = format!("Effect: `{}`: {}.", code.effect.as_str(), code.effect_text);
        assert_eq!(lines.last(), Some(&effect.as_str()), "{}", code.name);
        let entry = findings::explain(code.name).expect("an entry");
        assert!(!entry.description.is_empty(), "{} has no description", code.name);
        assert_eq!(entry.fix.is_none(), NOTHING_TO_FIX.contains(&code.name), "{} lacks its fix", code.name);
    }
    assert_eq!(findings::explain("no-such-code"), None);
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<&str> = codes::ALL.iter().map(|code| code.name).collect();
    assert_eq!(names.len(), codes::ALL.len());
}

#[test]
fn each_code_has_a_fixture_and_a_near_miss() {
    for code in codes::ALL {
        let path = root().join("testdata/check").join(format!("{}.json", code.name));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let fixture: Value = serde_json::from_str(&text).expect("a fixture is JSON");
        let provoked = check(&fixture["provokes"]);
        let finding = provoked.iter().find(|finding| finding.code == *code);
        let finding = finding.unwrap_or_else(|| panic!("{} is not among {provoked:#?}", code.name));
        assert!(!finding.message.is_empty(), "{finding:?}");
        assert_eq!(finding.fix.is_none(), NOTHING_TO_FIX.contains(&code.name), "{finding:?}");
        let near = check(&fixture["near"]);
        assert!(near.iter().all(|finding| finding.code != *code), "{}: {near:#?}", code.name);
    }
}

#[test]
fn every_fixture_belongs_to_a_code() {
    let fixtures = fs::read_dir(root().join("testdata/check")).expect("the directory");
    for entry in fixtures {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let code = name.trim_end_matches(".json");
        assert!(codes::Code::named(code).is_some(), "{name} belongs to no code");
    }
}

#[test]
fn what_is_good_has_no_finding() {
    assert_eq!(check(&Value::Object(Map::new())), []);
}

#[test]
fn findings_name_the_line_and_the_part_at_fault() {
    let check = |code: &str, line: u32, words: &str| {
        let text = fs::read_to_string(root().join(format!("testdata/check/{code}.json"))).expect("a fixture");
        let fixture: Value = serde_json::from_str(&text).expect("JSON");
        let found = check(&fixture["provokes"]);
        let finding = found.iter().find(|finding| finding.code.name == code).expect("provoked");
        let excerpt = finding.excerpt.as_ref().expect("an excerpt");
        let pointed: String = excerpt.line.chars().skip(excerpt.start).take(excerpt.length).collect();
        assert_eq!((finding.line, pointed.as_str()), (Some(line), words), "{code}");
    };
    check("entry-with-whitespace", 4, " 123456789123.dkr.ecr.us-east-1.amazonaws.com");
    check("entry-with-scheme", 4, "https://123456789123.dkr.ecr.us-east-1.amazonaws.com");
    check("docker-not-exactly-true", 3, "True");
    check("unknown-key", 9, "docker.inspect.max.retry");
    check("broken-section-header", 2, "[docker] ");
    check("indented-comment", 9, "  # a comment");
    check("mount-list-breaks-launches", 7, " /usr/lib");
}

#[test]
fn fixes_are_data() {
    let check = |code: &str, action: Action, section: Option<&str>, key: Option<&str>, value: &str| {
        let text = fs::read_to_string(root().join(format!("testdata/check/{code}.json"))).expect("a fixture");
        let fixture: Value = serde_json::from_str(&text).expect("JSON");
        let found = check(&fixture["provokes"]);
        let finding = found.iter().find(|finding| finding.code.name == code).expect("provoked");
        let fix = finding.fix.as_ref().expect("a fix");
        assert_eq!(fix.file, finding.file, "{code}");
        let found = (fix.action, fix.section.as_deref(), fix.key.as_deref(), fix.value.as_deref());
        assert_eq!(found, (action, section, key, Some(value)), "{code}");
    };
    let set = |code: &str, key: &str, value: &str| check(code, Action::Set, Some("docker"), Some(key), value);
    let list = "local,centos,123456789123.dkr.ecr.us-east-1.amazonaws.com";
    for code in ["entry-with-whitespace", "entry-with-scheme", "entry-with-quote", "entry-with-tag"] {
        set(code, "docker.trusted.registries", list);
    }
    set("emr-defaults-lost", "docker.trusted.registries", list);
    check("unknown-key", Action::ReplaceLine, None, Some("docker.inspect.max.retries"), "5");
    set("docker-not-exactly-true", "module.enabled", "true");
    check("broken-section-header", Action::ReplaceLine, None, None, "[docker]");
    let group = "yarn.nodemanager.linux-container-executor.group";
    check("group-missing", Action::Set, Some(""), Some(group), "yarn");
    check(
        "image-update-on",
        Action::Set,
        None,
        Some("yarn.nodemanager.runtime.linux.docker.image-update"),
        "false",
    );
}

#[test]
fn commands_name_the_binary_that_yarn_site_names() {
    let mut node = serde_json::json!({
        "chain": [["/etc/hadoop/conf/container-executor.cfg", 0, "0644"]],
        "binary": [1000, 7, "6050"],
    });
    let command = |node: &Value| {
        let found = check(&serde_json::json!({ "node": node }));
        let finding = found.into_iter().find(|finding| finding.code == codes::BINARY_OWNER);
        finding.and_then(|finding| finding.fix?.value).expect("a command")
    };
    let at = |path: &str| format!("chown root {path} && chmod 6050 {path}");
    assert_eq!(command(&node), at("/usr/lib/hadoop-yarn/bin/container-executor"));
    node["binary_path"] = "/opt/container-executor".into();
    assert_eq!(command(&node), at("/opt/container-executor"));
}

#[test]
fn a_file_that_cannot_be_read_counts_as_unread_on_a_node_too() {
    let node = serde_json::json!({
        "chain": [["/etc/hadoop/conf/container-executor.cfg", 0, "0400"]], "binary": [0, 7, "6050"],
    });
    for (state, expected) in [("unreadable", true), ("directory", false), ("absent", false)] {
        let fixture = serde_json::json!({ "cfg_state": state, "node": node });
        assert_eq!(report(&fixture).unread, expected, "{state}");
    }
}

#[test]
fn what_may_be_read_is_not_made_writable() {
    let fix = |mount: &str| {
        let found = check(&serde_json::json!({
            "images": ["123456789123.dkr.ecr.us-east-1.amazonaws.com/app:1"], "mounts": [mount],
        }));
        let finding = found.into_iter().find(|finding| finding.code == codes::MOUNT_REFUSED);
        finding.and_then(|finding| finding.fix).expect("a fix")
    };
    let read = fix("/etc/passwd:/etc/passwd:rw");
    assert_eq!(
        (read.action, read.text.as_str()),
        (Action::Manual, "mount it read-only: /etc/passwd:/etc/passwd:ro")
    );
    assert_eq!(fix("/data:/data:rw").action, Action::Set);
}

#[test]
fn a_key_that_is_set_twice_is_removed_twice() {
    let line = "docker.allowed.rw-mounts=/gone\n";
    let fix = |lines: usize| {
        let cfg = format!("[docker]\n{}", line.repeat(lines));
        let found = check(&serde_json::json!({ "cfg": cfg, "missing_paths": ["/gone"] }));
        let finding = found.iter().find(|finding| finding.code == codes::MOUNT_LIST_BREAKS_LAUNCHES);
        finding.and_then(|finding| finding.fix.clone()).expect("a fix")
    };
    assert_eq!(fix(1).action, Action::RemoveLine);
    let twice = fix(2);
    let all = "remove every line of docker.allowed.rw-mounts";
    assert_eq!((twice.action, twice.text.as_str()), (Action::Manual, all));
}

#[test]
fn keys_belong_to_the_section_of_their_module() {
    let check = |appended: &str, expected: &[(&str, u32, &str)]| {
        let found = check(&serde_json::json!({ "cfg_append": appended }));
        let found: Vec<_> = found
            .iter()
            .map(|finding| {
                let fix = finding.fix.as_ref().expect("a fix");
                (finding.code.name, finding.line.expect("a line"), fix.text.as_str())
            })
            .collect();
        assert_eq!(found, expected, "{appended}");
    };
    let moved = "key-in-wrong-section";
    let to = |section: &str| format!("move the line into the section [{section}]");
    let cgroups = "[cgroups]\nroot=/sys/fs/cgroup\nyarn-hierarchy=yarn\n";
    check(&format!("{cgroups}[gpu]\nmodule.enabled=true\ngpu.major-device-number=195\n"), &[]);
    check(&format!("{cgroups}[devices]\nmodule.enabled=true\ndevices.denied-numbers=8:16\n"), &[]);
    check("[pci]\nmodule.enabled=true\nany=1\n", &[]);
    check("[gpu]\ndocker.trusted.registries=a\n", &[(moved, 10, &to("docker"))]);
    check("[cgroups]\nmodule.enabled=true\n", &[(moved, 10, &to("docker"))]);
    check("yarn-hierarchy=yarn\n", &[(moved, 9, &to("cgroups"))]);
    check("root=/sys/fs/cgroup\n", &[(moved, 9, &to("cgroups"))]);
    check("gpu.allowed-device-minor-numbers=0\n", &[(moved, 9, &to("gpu"))]);
    check("[fpga]\ngpu.major-device-number=195\n", &[(moved, 10, &to("gpu"))]);
    check(
        "[gpu]\nallowed-device-minor-number=0\n",
        &[("unknown-key", 10, "write gpu.allowed-device-minor-numbers")],
    );
    check(
        "[cgroups]\nhierarchies=yarn\n",
        &[("unknown-key", 10, "remove the line, or move it to the section it belongs to")],
    );
}

#[test]
fn properties_of_docker_in_other_classifications_are_lost() {
    let check = |nested: &Value, expected: &[&str]| {
        let docker = serde_json::json!({
            "Classification": "docker",
            "Properties": { "docker.trusted.registries": "local,centos,hub.example/team" },
        });
        let executor =
            serde_json::json!({ "Classification": "container-executor", "Configurations": [docker, nested] });
        let found = check(&serde_json::json!({ "cfg": null, "emr_config": [executor] }));
        let weighty = found.iter().filter(|finding| finding.severity() > Severity::Info);
        assert_eq!(weighty.map(|finding| finding.code.name).collect::<Vec<_>>(), expected, "{nested}");
    };
    let nested = |name: &str, properties: Value| serde_json::json!({ "Classification": name, "Properties": properties });
    let networks = || serde_json::json!({ "docker.allowed.networks": "host" });
    for name in ["gpu", "cgroups"] {
        check(&nested(name, networks()), &["key-in-wrong-section"]);
    }
    for name in ["Docker", "DOCKER"] {
        check(&nested(name, networks()), &["emr-classification-misplaced"]);
    }
    check(&nested("cgroups", serde_json::json!({ "module.enabled": "true" })), &["key-in-wrong-section"]);
    check(&nested("gpu", serde_json::json!({ "module.enabled": "true" })), &["module-without-cgroups"]);
}

#[test]
fn the_default_image_counts_for_jobs_that_name_none() {
    const KEY: &str = "yarn.nodemanager.runtime.linux.docker.image-name";
    let good = "123456789123.dkr.ecr.us-east-1.amazonaws.com/app:v1";
    let foreign = "123456789123.dkr.ecr.eu-west-1.amazonaws.com/app:v1";
    // `would_launch` of each image, and the severity if the default image is refused.
    let check = |mut fixture: Value, image: &str, verdicts: &[Option<bool>], severity: Option<Severity>| {
        if fixture["emr_config"].is_null() {
            fixture["yarn"] = serde_json::json!({ KEY: image });
        } else {
            let yarn = serde_json::json!({ "Classification": "yarn-site", "Properties": { KEY: image } });
            fixture["emr_config"].as_array_mut().expect("a list").push(yarn);
        }
        let report = report(&fixture);
        let found: Vec<_> = report.images.iter().map(|image| image.would_launch).collect();
        assert_eq!(found, verdicts, "{fixture}");
        let refused = report.findings.iter().find(|finding| finding.code == codes::DEFAULT_IMAGE_REFUSED);
        assert_eq!(refused.map(Finding::severity), severity, "{fixture}: {:#?}", report.findings);
        // Other jobs are not affected.
        assert_eq!(report.launch_faults(true, &[]), [], "{fixture}");
    };
    let error = Some(Severity::Error);
    let alone = || serde_json::json!({});
    check(alone(), good, &[Some(true)], None);
    let node = serde_json::json!({
        "chain": [["/etc/hadoop/conf/container-executor.cfg", 0, "644"]], "binary": [0, 7, "6050"],
    });
    for image in [foreign, "App", "app@sha256:0", "a..b"] {
        check(alone(), image, &[Some(false)], error);
        check(serde_json::json!({ "node": node }), image, &[], error);
        check(serde_json::json!({ "images": [good] }), image, &[Some(true)], Some(Severity::Warning));
    }
    let emr = || {
        serde_json::json!({ "cfg": null, "emr_config": [{
            "Classification": "container-executor",
            "Configurations": [{
                "Classification": "docker",
                "Properties": { "docker.trusted.registries": "local,123456789123.dkr.ecr.us-east-1.amazonaws.com" },
            }],
        }] })
    };
    check(emr(), good, &[Some(true)], None);
    check(emr(), foreign, &[Some(false)], error);
    check(emr(), "${IMAGE}", &[None], None);
}

/// Applies every fix that writes a line to its fixture: the finding is gone, and no error or warning is new.
#[test]
fn a_fix_that_is_applied_removes_its_finding_and_adds_none() {
    let (mut applied, mut broken) = (BTreeSet::new(), Vec::new());
    for entry in fs::read_dir(root().join("testdata/check")).expect("the directory") {
        let path = entry.expect("an entry").path();
        let fixture: Value = serde_json::from_str(&fs::read_to_string(&path).expect("text")).expect("JSON");
        for rules in ["3.2", "3.3", "3.4"] {
            for part in ["provokes", "near"] {
                let mut fixture = fixture[part].clone();
                fixture.as_object_mut().expect("an object").entry("rules").or_insert_with(|| rules.into());
                for finding in check(&fixture) {
                    if let Some(fixed) = with_fix(&fixture, &finding) {
                        broken.extend(breaches(&fixture, &finding, &fixed));
                        applied.insert(finding.code.name);
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(applied.len() > 20, "{applied:?}");
}

/// The same for generated files.
mod generated {
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;

    const HOST: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com";

    fn lists(items: &'static [&'static str]) -> impl Strategy<Value = String> {
        let separator = select(&[",", ",", ",", ", ", " "][..]);
        (subsequence(items, 0..=items.len().min(5)), separator)
            .prop_map(|(items, separator)| items.join(separator))
    }

    fn lines(
        keys: &'static [&'static str],
        values: impl Strategy<Value = String>,
    ) -> impl Strategy<Value = String> {
        (select(keys), values).prop_map(|(key, value)| format!("{key}={value}\n"))
    }

    fn heads() -> impl Strategy<Value = String> {
        let line = select(
            &[
                "yarn.nodemanager.linux-container-executor.group=yarn\n",
                "banned.users=hdfs, bin\n",
                "min.user.id=abc\n",
                "feature.docker.enabled=yes\n",
                "banned.user=x\n",
                "docker.trusted.registries=a\n",
                "\n",
                " \n",
                "  # a comment\n",
                "# a comment\n",
                "nonsense\n",
                "===\n",
            ][..],
        );
        proptest::collection::vec(line, 0..4).prop_map(|lines| lines.concat())
    }

    const ENTRIES: &[&str] = &[
        "local",
        "centos",
        "library",
        HOST,
        "https://123456789123.dkr.ecr.us-east-1.amazonaws.com",
        "\"123456789123.dkr.ecr.us-east-1.amazonaws.com\"",
        "123456789123.dkr.ecr.us-east-1.amazonaws.com/app",
        "123456789123.dkr.ecr.us-east-1.amazonaws.com/app:v1",
        "123456789123.dkr.ecr.us-east-1.amazonaws.com/",
        "12345678912.dkr.ecr.us-east-1.amazonaws.com",
        "${ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com",
        "*.amazonaws.com",
        "hub.example/Team",
    ];
    const MOUNTS: &[&str] = &[
        "/etc/passwd",
        "/usr/lib",
        "/gone",
        " /etc/krb5.conf",
        "/etc/group:/etc/group:ro",
        "/mnt/yarn",
        "volume",
    ];
    const CAPABILITIES: &[&str] = &["CHOWN", "KILL", "SETUID", "NET_RAW"];

    fn files() -> impl Strategy<Value = String> {
        let docker = prop_oneof![
            lines(&["module.enabled"], select(&["true", "True", "yes", "false"][..]).prop_map(str::to_owned)),
            lines(
                &[
                    "docker.trusted.registries",
                    "docker.trusted.registry",
                    "docker.privileged-containers.registries"
                ],
                lists(ENTRIES)
            ),
            lines(&["docker.allowed.networks", "docker.allowed.network"], lists(&["host", "none", "bridge"])),
            lines(&["docker.allowed.ro-mounts", "docker.allowed.rw-mounts"], lists(MOUNTS)),
            lines(&["docker.allowed.capabilities"], lists(CAPABILITIES)),
            lines(
                &["docker.allowed.devices", "min.user.id", "docker.privileged-containers.enabled"],
                lists(&["all", "on", "1"])
            ),
            lines(
                &[
                    "module.enabled",
                    "module.enable",
                    "root",
                    "yarn-hierarchy",
                    "gpu.allowed-device-minor-number"
                ],
                select(&["true", "yarn"][..]).prop_map(str::to_owned)
            ),
            lines(&["docker.allowed.runtimes"], lists(&["runc", "nvidia"])),
            select(&["\n", " \n", "[gpu]\n", "[cgroups]\n", "[docker]\n", "# c\n", " # c\n", "x\n"][..])
                .prop_map(str::to_owned),
        ];
        let header = select(&["[docker]\n", "[docker]\n", "[docker]\n", "[Docker]\n", "[docker] \n", ""][..]);
        (heads(), header, proptest::collection::vec(docker, 0..9))
            .prop_map(|(head, header, lines)| format!("{head}{header}{}", lines.concat()))
    }

    /// A classification's properties: each of these keys with a value, or without.
    fn properties(keys: &[(&'static str, BoxedStrategy<String>)]) -> impl Strategy<Value = Value> + use<> {
        let optional = |(key, value): &(&'static str, BoxedStrategy<String>)| {
            proptest::option::of((Just(*key), value.clone()))
        };
        keys.iter().map(optional).collect::<Vec<_>>().prop_map(|pairs| {
            pairs.into_iter().flatten().map(|(key, value)| (key.to_owned(), Value::from(value))).collect()
        })
    }

    fn emr_configs() -> impl Strategy<Value = Value> {
        let one = |values: &'static [&'static str]| select(values).prop_map(str::to_owned).boxed();
        let docker = properties(&[
            ("module.enabled", one(&["true", "True", "yes", "false"])),
            ("docker.trusted.registries", lists(ENTRIES).boxed()),
            ("docker.privileged-containers.registries", lists(ENTRIES).boxed()),
            ("docker.allowed.networks", lists(&["host", "none", "bridge"]).boxed()),
            ("docker.allowed.ro-mounts", lists(MOUNTS).boxed()),
            ("docker.allowed.rw-mounts", lists(MOUNTS).boxed()),
            ("docker.allowed.capabilities", lists(CAPABILITIES).boxed()),
        ]);
        let module = properties(&[
            ("module.enabled", one(&["true", "True"])),
            ("docker.trusted.registries", lists(ENTRIES).boxed()),
            ("gpu.major-device-numbers", one(&["195"])),
            ("root", one(&["/sys/fs/cgroup"])),
            ("yarn-hierarchy", one(&["yarn"])),
        ]);
        let modules = (select(&["gpu", "cgroups", "Docker"][..]), module);
        let head = properties(&[
            ("banned.users", one(&["hdfs, bin", "nobody"])),
            ("min.user.id", one(&["abc", "1"])),
            ("feature.docker.enabled", one(&["yes", "1"])),
        ]);
        let yarn = properties(&[
            (
                "yarn.nodemanager.runtime.linux.allowed-runtimes",
                one(&["default", "docker", "default,docker", "default, podman"]),
            ),
            ("yarn.nodemanager.runtime.linux.docker.default-container-network", one(&["host", "nat"])),
            (
                "yarn.nodemanager.runtime.linux.docker.default-ro-mounts",
                one(&["/etc/passwd:/etc/passwd", "/etc/group:/etc/group:ro", "/data"]),
            ),
            ("yarn.nodemanager.runtime.linux.docker.image-update", one(&["true", "false"])),
            (
                "yarn.nodemanager.runtime.linux.docker.image-name",
                one(&["python:3.11", "${IMAGE}", "123456789123.dkr.ecr.us-east-1.amazonaws.com/app:1"]),
            ),
            ("yarn.nodemanager.resource-plugins", one(&["yarn.io/gpu"])),
            ("yarn.nodemanager.resource-plugins.gpu.docker-plugin", one(&["nvidia-docker-v2"])),
            ("yarn.nodemanager.linux-container-executor.nonsecure-mode.limit-users", one(&["true", "false"])),
        ]);
        let hadoop = properties(&[
            ("fs.defaultFS", one(&["s3://bucket", "hdfs://namenode"])),
            ("hadoop.security.authentication", one(&["kerberos", "simple"])),
        ]);
        let spark = properties(&[
            ("spark.executorEnv.YARN_CONTAINER_RUNTIME_TYPE", one(&["docker", "Docker", "default"])),
            (
                "spark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE",
                one(&["123456789123.dkr.ecr.us-east-1.amazonaws.com/app:1", "python:3.11"]),
            ),
            (
                "spark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS",
                one(&["/etc/passwd:/etc/passwd:ro", "/etc/group:/etc/group", "/data"]),
            ),
        ]);
        (docker, modules, head, yarn, hadoop, spark).prop_map(
            |(docker, (name, module), head, yarn, hadoop, spark)| {
                serde_json::json!([
                    {
                        "Classification": "container-executor",
                        "Properties": head,
                        "Configurations": [
                            { "Classification": "docker", "Properties": docker },
                            { "Classification": name, "Properties": module },
                        ],
                    },
                    { "Classification": "yarn-site", "Properties": yarn },
                    { "Classification": "core-site", "Properties": hadoop },
                    { "Classification": "spark-defaults", "Properties": spark },
                ])
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

        #[test]
        fn fixes_of_generated_files_cause_no_new_finding(
            cfg in files(),
            rules in select(&["3.2", "3.3", "3.4"][..]),
            image in select(&["", "python:3.11", "hub.example/team/app:1", "123456789123.dkr.ecr.us-east-1.amazonaws.com/app:1"][..]),
            mount in select(&["", "/etc/group:/etc/group:ro", "/data:/data:rw"][..]),
            yarn in any::<bool>(),
            default_image in select(&["", "app", "App", "hub.example/team/app:1"][..]),
        ) {
            let mut fixture = serde_json::json!({
                "cfg": cfg, "rules": rules, "missing_paths": ["/gone"],
                "registries": [HOST],
            });
            if !image.is_empty() {
                fixture["images"] = serde_json::json!([image]);
            }
            if !mount.is_empty() {
                fixture["mounts"] = serde_json::json!([mount]);
            }
            if yarn {
                fixture["yarn"] = serde_json::json!({
                    "yarn.nodemanager.runtime.linux.docker.default-ro-mounts": "/etc/passwd:/etc/passwd",
                    "yarn.nodemanager.local-dirs": "/mnt/yarn",
                    "yarn.nodemanager.runtime.linux.docker.image-name": default_image,
                    "yarn.nodemanager.resource-plugins": "yarn.io/gpu",
                    "yarn.nodemanager.resource-plugins.gpu.docker-plugin": "nvidia-docker-v2",
                });
            }
            let broken = all_breaches(&fixture);
            prop_assert!(broken.is_empty(), "{}", broken.join("\n"));
        }

        #[test]
        fn fixes_of_generated_emr_configurations_cause_no_new_finding(
            emr_config in emr_configs(),
            rules in select(&["3.2", "3.3", "3.4"][..]),
            image in select(&["", "python:3.11", "123456789123.dkr.ecr.us-east-1.amazonaws.com/app:1"][..]),
            mount in select(&["", "/etc/group:/etc/group:ro", "/data:/data:rw"][..]),
        ) {
            let texts = |text: &str| Vec::from_iter((!text.is_empty()).then(|| text.to_owned()));
            let fixture = serde_json::json!({
                "cfg": null, "emr_config": emr_config, "rules": rules,
                "images": texts(image), "mounts": texts(mount),
            });
            let broken = all_breaches(&fixture);
            prop_assert!(broken.is_empty(), "{}", broken.join("\n"));
        }
    }
}

/// What is wrong with the fixes of all findings.
fn all_breaches(fixture: &Value) -> Vec<String> {
    let fixed = |finding: Finding| Some((with_fix(fixture, &finding)?, finding));
    let fixed = check(fixture).into_iter().filter_map(fixed);
    fixed.flat_map(|(fixed, finding)| breaches(fixture, &finding, &fixed)).collect()
}

/// What is wrong with a fix: its finding is still there, or it causes a new error or warning.
fn breaches(before: &Value, finding: &Finding, after: &Value) -> Vec<String> {
    let weighty = |found: &[Finding]| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for finding in found.iter().filter(|finding| finding.severity() > Severity::Info) {
            *counts.entry(finding.code.name).or_default() += 1;
        }
        counts
    };
    let left = check(after);
    let (old, new) = (weighty(&check(before)), weighty(&left));
    let fix = finding.fix.as_ref().map(|fix| fix.text.as_str()).unwrap_or_default();
    let context = format!("[{}] {} / {fix} / {before}", finding.code.name, finding.message);
    // Lines move, so another finding may now look like this one, but there is one fewer.
    let of_code = |found: &[Finding]| found.iter().filter(|other| other.code == finding.code).count();
    let alike = left.iter().any(|other| (other.code, &other.message) == (finding.code, &finding.message));
    let remains = alike && of_code(&left) >= of_code(&check(before));
    let mut broken: Vec<String> = remains.then(|| format!("still there: {context}")).into_iter().collect();
    for (code, count) in new {
        if count > old.get(code).copied().unwrap_or_default() {
            broken.push(format!("{code} is new: {context}"));
        }
    }
    broken
}

/// The fixture after a program has applied the fix; `None` if it writes no line.
fn with_fix(fixture: &Value, finding: &Finding) -> Option<Value> {
    let fix = finding.fix.as_ref().filter(|fix| !matches!(fix.action, Action::Run | Action::Manual))?;
    let mut fixed = fixture.clone();
    let file = fix.file.as_deref().expect("a fix that writes a line names its file");
    match file {
        "emr.json" => {
            let (section, key) = (fix.section.as_deref()?, fix.key.as_deref()?);
            *emr_property(&mut fixed["emr_config"], section, key) = fix.value.clone()?.into();
        }
        "/etc/hadoop/conf/yarn-site.xml" => {
            let properties = fixed["yarn"].as_object_mut()?;
            properties.insert(fix.key.clone()?, fix.value.clone()?.into());
        }
        "/etc/hadoop/conf/container-executor.cfg" => {
            let content = executor_cfg(fixture)?.content;
            let Content::Bytes(bytes) = content else { panic!("{fix:?} for a file that is not there") };
            let text = apply(fix, finding.line, &String::from_utf8_lossy(&bytes));
            for change in ["cfg_replace", "cfg_append", "cfg_prepend", "cfg_crlf"] {
                fixed.as_object_mut().expect("an object").remove(change);
            }
            fixed["cfg"] = text.into();
        }
        other => panic!("{fix:?} is for {other}"),
    }
    Some(fixed)
}

/// The property in a list of configurations, created if missing.
fn emr_property<'v>(list: &'v mut Value, place: &str, key: &str) -> &'v mut Value {
    let (name, rest) = place.split_once('/').map_or((place, None), |(name, rest)| (name, Some(rest)));
    let items = list.as_array_mut().expect("a list");
    let at = items.iter().position(|item| item["Classification"] == name).unwrap_or_else(|| {
        items.push(serde_json::json!({ "Classification": name }));
        items.len() - 1
    });
    match rest {
        Some(rest) => {
            let nested = items[at].as_object_mut().expect("an object").entry("Configurations");
            emr_property(nested.or_insert_with(|| Value::Array(Vec::new())), rest, key)
        }
        None => &mut items[at]["Properties"][key],
    }
}

/// Whether the line sets the key.
fn starts(line: &str, fix: &Fix) -> bool {
    line.trim_start().starts_with(&format!("{}=", fix.key.as_deref().expect("a key")))
}

/// The text of a container-executor.cfg, changed as by a program that knows only the fix.
fn apply(fix: &Fix, line: Option<u32>, text: &str) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let at = line.map(|line| line as usize - 1);
    let value = fix.value.clone().unwrap_or_default();
    let entry = fix.key.as_ref().map_or_else(|| value.clone(), |key| format!("{key}={value}"));
    match (fix.action, at) {
        (Action::RemoveLine, Some(at)) => drop(lines.remove(at)),
        (Action::ReplaceLine, Some(at)) => lines[at] = entry,
        (Action::Set, Some(at)) if fix.section.as_deref() != Some("") && starts(&lines[at], fix) => {
            lines[at] = entry;
        }
        (Action::Set, _) => {
            let section = fix.section.as_deref().expect("a section");
            let header = format!("[{section}]");
            let is_header = |line: &String| line.trim().to_lowercase().starts_with(&header);
            let exact = lines.iter().position(|line| *line == header);
            let begin = match (section, exact.or_else(|| lines.iter().position(is_header))) {
                ("", _) => 0,
                (_, Some(at)) => at + 1,
                (_, None) => {
                    lines.extend([header, String::new()]);
                    lines.len() - 1
                }
            };
            let key = format!("{}=", fix.key.as_deref().expect("a key"));
            let end = lines[begin..].iter().position(|line| line.starts_with('['));
            let end = end.map_or(lines.len(), |end| begin + end);
            // Of several lines with the key, the one that counts: the first that has a value.
            let is_entry = |line: &&String| line.trim_start().starts_with(&key);
            let has_value = |line: &String| line.split_once('=').is_some_and(|(_, value)| !value.is_empty());
            let counts = |line: &String| is_entry(&line) && has_value(line);
            let found = lines[begin..end].iter().position(counts);
            match found.or_else(|| lines[begin..end].iter().position(|line| is_entry(&line))) {
                Some(old) => lines[begin + old] = entry,
                None => lines.insert(begin, entry),
            }
        }
        other => panic!("{other:?} changes no file"),
    }
    lines.join("\n")
}

#[test]
fn readiness_follows_the_effect() {
    let of_the_file = |subject| {
        matches!(subject, Subject::Syntax | Subject::ConfigFile | Subject::Contents | Subject::Installation)
    };
    for code in codes::ALL.iter().filter(|code| of_the_file(code.subject)) {
        let text = fs::read_to_string(root().join(format!("testdata/check/{}.json", code.name)));
        let fixture: Value = serde_json::from_str(&text.expect("a fixture")).expect("JSON");
        let state = report(&fixture["provokes"]).executor_state(true);
        let expected = code.effect != Effect::NodeLaunchesFail && *code != codes::CONFIG_UNREADABLE;
        assert_eq!(state == ExecutorCfg::Sound, expected, "{}: {state:?}", code.name);
    }
    for code in codes::ALL {
        let text = fs::read_to_string(root().join(format!("testdata/check/{}.json", code.name)));
        let fixture: Value = serde_json::from_str(&text.expect("a fixture")).expect("JSON");
        let report = report(&fixture["provokes"]);
        let finding = report.findings.iter().find(|finding| finding.code == *code);
        let ends = finding.is_some_and(|finding| {
            finding.severity() == Severity::Error
                && (finding.effect == Effect::NodeLaunchesFail || !finding.registries.is_empty())
        });
        let faults = report.launch_faults(true, &[]);
        assert_eq!(faults.iter().any(|finding| finding.code == *code), ends, "{}", code.name);
    }
}

#[test]
fn verdict_and_errors_never_contradict_each_other() {
    let image = "123456789123.dkr.ecr.us-east-1.amazonaws.com/app:v1";
    for code in codes::ALL {
        let text = fs::read_to_string(root().join(format!("testdata/check/{}.json", code.name)));
        let mut fixture: Value = serde_json::from_str(&text.expect("a fixture")).expect("JSON");
        for part in ["provokes", "near"] {
            let fixture = fixture[part].as_object_mut().expect("an object");
            // The registry's answer only comes after `would_launch` is set.
            if fixture.contains_key("registry") {
                continue;
            }
            fixture.entry("images").or_insert_with(|| serde_json::json!([image]));
            let report = report(&Value::Object(fixture.clone()));
            let ends = |finding: &Finding| {
                finding.severity() == Severity::Error
                    && !matches!(finding.effect, Effect::Degraded | Effect::None)
            };
            let refused = report.images.iter().any(|image| image.would_launch == Some(false));
            assert_eq!(refused, report.findings.iter().any(ends), "{} {part}: {report:#?}", code.name);
            for image in &report.images {
                let open = image.reasons.is_empty() && !image.unknown.is_empty();
                assert_eq!(image.would_launch.is_none(), open, "{} {part}", code.name);
            }
        }
    }
}

#[test]
fn json_is_read_back() {
    let found = check(&serde_json::json!({ "cfg_replace": [["=local,centos,", "=local, centos,"]] }));
    let json = serde_json::to_value(&found).expect("JSON");
    let first = &json[0];
    assert_eq!(
        (&first["code"], &first["effect"]),
        (&"entry-with-whitespace".into(), &"image_launches_fail".into())
    );
    assert_eq!((&first["fix"]["action"], &first["fix"]["section"]), (&"set".into(), &"docker".into()));
    let back: Vec<Finding> = serde_json::from_value(json).expect("the same findings");
    let shown = found.into_iter().map(|finding| Finding { excerpt: None, ..finding });
    assert_eq!(back, shown.collect::<Vec<_>>());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// [`TextAlone`] without some paths, and with one group.
struct FixtureMachine {
    missing: Vec<String>,
}

impl Paths for FixtureMachine {
    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>> {
        let real = TextAlone.realpath(path)?;
        (!self.missing.iter().any(|missing| missing.as_bytes() == real)).then_some(real)
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        TextAlone.is_directory(path)
    }
}

impl Machine for FixtureMachine {
    fn group_id(&self, name: &[u8]) -> Option<u32> {
        (name == b"yarn").then_some(7)
    }

    fn account(&self, user: &[u8]) -> Option<Account> {
        match user {
            b"hadoop" => Some(Account { uid: 1001, gid: 1001 }),
            b"nobody" => Some(Account { uid: 65_534, gid: 65_534 }),
            _ => None,
        }
    }

    fn docker_access(&self, _user: &[u8]) -> DockerAccess {
        DockerAccess::Granted
    }

    fn is_executable(&self, _path: &[u8]) -> bool {
        true
    }

    fn propagation(&self, _path: &[u8]) -> Option<Propagation> {
        None
    }
}

fn check(fixture: &Value) -> Vec<Finding> {
    report(fixture).findings
}

fn report(fixture: &Value) -> Report {
    let machine = FixtureMachine { missing: strings(&fixture["missing_paths"]) };
    let hadoop = match fixture["rules"].as_str() {
        Some("auto") => HadoopVersion::find(None, std::iter::empty()),
        Some(rules) => HadoopVersion::named(rules.parse().expect("rules")),
        None => HadoopVersion::named(Rules::V3_3),
    };
    let inputs = Inputs {
        hadoop,
        release: fixture["node"]["release"].as_str().map(str::to_owned),
        executor_cfg: executor_cfg(fixture),
        yarn_site: yarn_site(fixture),
        client_config: client_config(fixture),
        emr_config: emr_config(fixture),
        spark: fixture["spark"].as_object().map(|_| SparkProperties {
            properties: spark(&fixture["spark"]),
            behind_application: spark(&fixture["spark_behind_application"]),
            replaces_defaults: false,
        }),
        kerberos: fixture["kerberos"] == true,
        published: PublishedPath::default(),
        node: fixture["node"].as_object().map(node),
        registries: strings(&fixture["registries"])
            .iter()
            .map(|host| EcrRegistry::parse(host).expect("a registry"))
            .collect(),
        request: Request {
            images: strings(&fixture["images"]).into_iter().map(String::into_bytes).collect(),
            privileged: fixture["privileged"] == true,
            mounts: strings(&fixture["mounts"]).into_iter().map(String::into_bytes).collect(),
            network: fixture["network"].as_str().map(str::to_owned),
            user: fixture["user"].as_str().map(str::to_owned),
            environment: texts(&fixture["environment"]),
            open: Vec::new(),
        },
        machine: &machine,
        now: NOW,
    };
    let mut report = check::run(&inputs);
    if let Some(answer) = registry_answer(&fixture["registry"]) {
        report.findings.extend(check::of_registry("image", &answer, "amd64"));
    }
    report
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.map(|item| item.as_str().expect("a text").to_owned()).collect()
}

fn texts(value: &Value) -> Vec<(String, String)> {
    let items = value.as_object().into_iter().flatten();
    items.map(|(key, value)| (key.clone(), value.as_str().expect("a text").to_owned())).collect()
}

fn state(name: &str) -> Content {
    match name {
        "absent" => Content::Absent,
        "directory" => Content::Directory,
        "unreadable" => Content::Unreadable("permission denied".to_owned()),
        other => panic!("no state is called {other}"),
    }
}

/// The good file, changed; `"cfg": null` means that none is checked.
fn executor_cfg(fixture: &Value) -> Option<TextFile> {
    let path = "/etc/hadoop/conf/container-executor.cfg".to_owned();
    if let Some(name) = fixture["cfg_state"].as_str() {
        return Some(TextFile { path, content: state(name) });
    }
    let mut text = match fixture.get("cfg") {
        Some(Value::String(text)) => text.clone(),
        Some(_) => return None,
        None => GOOD_CFG.to_owned(),
    };
    for change in fixture["cfg_replace"].as_array().into_iter().flatten() {
        let (from, to) = (change[0].as_str().expect("from"), change[1].as_str().expect("to"));
        assert!(text.contains(from), "{from} is not in the good file");
        text = text.replace(from, to);
    }
    text.insert_str(0, fixture["cfg_prepend"].as_str().unwrap_or_default());
    text.push_str(fixture["cfg_append"].as_str().unwrap_or_default());
    if fixture["cfg_crlf"] == true {
        text = text.replace('\n', "\r\n");
    }
    Some(TextFile { path, content: Content::Bytes(text.into_bytes()) })
}

fn yarn_site(fixture: &Value) -> Option<SiteFile> {
    let path = "/etc/hadoop/conf/yarn-site.xml";
    let text = match (&fixture["yarn_text"], &fixture["yarn"]) {
        (Value::String(text), _) => text.clone(),
        (_, Value::Object(changes)) => {
            let mut properties: Map<String, Value> =
                GOOD_YARN.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
            properties.extend(changes.clone());
            let property = |(key, value): (&String, &Value)| {
                let value = value.as_str().expect("a text");
                format!("<property><name>{key}</name><value>{value}</value></property>\n")
            };
            format!(
                "<configuration>\n{}</configuration>",
                properties.iter().map(property).collect::<String>()
            )
        }
        _ => return None,
    };
    let mut site = Site::new();
    let content = match site.load(path, text.as_bytes(), &NoIncludes) {
        Ok(()) => SiteContent::Loaded { resolved: site.resolve(&NoVariables), site },
        Err(error) => SiteContent::Unusable { line: Some(error.line()), why: error.to_string() },
    };
    Some(SiteFile { path: path.to_owned(), content })
}

fn client_config(fixture: &Value) -> Option<ClientConfig> {
    let readers = fixture["client_misplaced"].as_str();
    let readers = readers.map_or(Readers::All, |why| Readers::Nobody(why.to_owned()));
    let content = match (&fixture["client_state"], &fixture["client_config"]) {
        _ if readers != Readers::All => Content::Absent,
        (Value::String(name), _) => state(name),
        (_, Value::String(text)) => Content::Bytes(text.clone().into_bytes()),
        _ => return None,
    };
    let file = TextFile { path: "/user/hadoop/config.json".to_owned(), content };
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let access = fixture["access"].as_object().map(|access| {
        let permissions = |path: &str, mode: &str| Permissions {
            path: path.to_owned(),
            owner: text(&access["owner"]),
            group: text(&access["group"]),
            mode: octal(&access[mode]),
        };
        let directory = text(&access["directory"]);
        Access {
            directories: vec![permissions(&directory, "directory_mode")],
            file: permissions("/user/hadoop/config.json", "mode"),
            is_directory: false,
        }
    });
    Some(ClientConfig { file, access, readers })
}

fn spark(properties: &Value) -> Vec<SparkProperty> {
    let file = "spark-defaults.conf";
    let property =
        |(line, (key, value))| SparkProperty { key, value, file: file.to_owned(), line: Some(line) };
    (1..).zip(texts(properties)).map(property).collect()
}

fn emr_config(fixture: &Value) -> Option<TextFile> {
    let text = match (fixture["emr_text"].as_str(), fixture.get("emr_config")) {
        (Some(text), _) => text.to_owned(),
        (None, json) => serde_json::to_string_pretty(json?).expect("JSON"),
    };
    Some(TextFile { path: "emr.json".to_owned(), content: Content::Bytes(text.into_bytes()) })
}

fn scope(region: &str) -> TokenScope {
    let host = format!("123456789123.dkr.ecr.{region}.amazonaws.com");
    TokenScope::of(&EcrRegistry::parse(&host).expect("a registry"))
}

fn node(node: &Map<String, Value>) -> NodeInputs {
    let number = |value: &Value| u32::try_from(value.as_u64().expect("a number")).expect("small");
    let chain = node["chain"].as_array().into_iter().flatten().map(|owned| Owned {
        path: owned[0].as_str().expect("a path").into(),
        uid: number(&owned[1]),
        mode: octal(&owned[2]),
    });
    let binary = &node["binary"];
    let aws = node.get("aws").and_then(Value::as_array).into_iter().flatten().map(|answer| AwsAnswer {
        scope: scope(answer[0].as_str().expect("a Region")),
        outcome: match answer[1].as_str().expect("an outcome") {
            "token" => AwsOutcome::Token,
            "no_credentials" => AwsOutcome::NoCredentials,
            "denied" => AwsOutcome::Denied,
            _ => AwsOutcome::Network,
        },
    });
    let text = |key: &str| node.get(key).and_then(Value::as_str).map(str::to_owned);
    NodeInputs {
        chain: chain.collect(),
        binary_path: text("binary_path").or_else(|| text("missing_binary")),
        binary_is_missing: node.contains_key("missing_binary"),
        docker: ["networks", "docker_failure", "docker_info"].iter().any(|key| node.contains_key(*key)).then(
            || {
                let info = node.get("docker_info").cloned().unwrap_or_default();
                DockerEngine {
                    cgroup_driver: info["cgroup_driver"].as_str().map(str::to_owned),
                    data_root: info["free"]
                        .as_u64()
                        .map(|free| DataRoot { path: "/var/lib/docker".to_owned(), free }),
                    version: None,
                    live_restore: None,
                    failure: text("docker_failure"),
                    images: Default::default(),
                    networks: flags(&node.get("networks").cloned().unwrap_or_default()),
                }
            },
        ),
        root_registries: node.get("root_registries").map(|list| strings(list).into_iter().collect()),
        binary: Some(Binary { uid: number(&binary[0]), gid: number(&binary[1]), mode: octal(&binary[2]) }),
        docker_configs: node
            .get("docker_configs")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|config| NodeDockerConfig {
                path: "/root/.docker/config.json".to_owned(),
                store: config["credsStore"].as_str().map(str::to_owned),
                helpers: texts(&config["credHelpers"]).into_iter().collect(),
            })
            .collect(),
        region: text("region"),
        runs_containers: true,
        aws: aws.collect(),
        clock_skew: node.get("clock_skew").and_then(Value::as_i64).unwrap_or_default(),
    }
}

fn flags(value: &Value) -> BTreeMap<String, bool> {
    let items = value.as_object().into_iter().flatten();
    items.map(|(key, value)| (key.clone(), value == true)).collect()
}

fn octal(value: &Value) -> u32 {
    u32::from_str_radix(value.as_str().expect("an octal mode"), 8).expect("an octal mode")
}

fn registry_answer(value: &Value) -> Option<RegistryAnswer> {
    if value == "not_found" {
        return Some(RegistryAnswer::NotFound);
    }
    if let Some(found) = value["found"].as_object() {
        let inputs =
            ImageDetails { architectures: strings(&found["architectures"]), java: found["java"].as_bool() };
        return Some(RegistryAnswer::Found(inputs));
    }
    if let Some(status) = value["refused"].as_u64() {
        return Some(RegistryAnswer::Refused(u16::try_from(status).expect("a status")));
    }
    Some(RegistryAnswer::Unknown(value["unknown"].as_str()?.to_owned()))
}
