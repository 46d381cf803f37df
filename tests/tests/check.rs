//! `check`, `submit-args` and `emr-config` as users run them: the program itself, its output and its exit code.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use emr_ecr_agent_tests::agent;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::registry::{Registry, USER};
use emr_ecr_agent_tests::scratch;
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed};
use emr_ecr_agent_tests::wait;
use serde_json::{Value, json};

const TRUST: &str = include_str!("../../agent/hadoop-rules/testdata/trust.jsonl");
const MOUNTS: &str = include_str!("../../agent/hadoop-rules/testdata/mount.jsonl");
const DOCKER_CONFIGS: &str = include_str!("../../agent/hadoop-rules/testdata/docker_config.jsonl");

/// Valid except for the missing mount lists.
const CFG: &str = "\
yarn.nodemanager.linux-container-executor.group=yarn
[docker]
module.enabled=true
docker.trusted.registries=local,centos,registry.example
docker.allowed.networks=host
docker.allowed.capabilities=CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE
";

/// Runs the program in an empty environment.
fn run(args: &[&str]) -> Outcome<Output> {
    Ok(Command::new(agent::program()?).args(args).env_clear().output()?)
}

/// Returns the output of `check --json` with these arguments; asserts that the exit code matches.
fn check(args: &[&str]) -> Outcome<Value> {
    let output = run(&[&["check", "--json"], args].concat())?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let errors = codes(&report, "error");
    assert_eq!(report["ok"], output.status.success(), "{args:?}");
    assert_eq!(output.status.success(), errors.is_empty(), "{args:?}: {errors:?}");
    Ok(report)
}

fn codes(report: &Value, severity: &str) -> Vec<String> {
    let findings = report["findings"].as_array().into_iter().flatten();
    let of_severity = findings.filter(|finding| finding["severity"] == severity);
    of_severity.map(|finding| finding["code"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn trust_matches_hadoops_recorded_decisions() -> Outcome {
    let directory = scratch::directory("check")?;
    let path = directory.path().join("container-executor.cfg");
    let file = path.display().to_string();
    for line in TRUST.lines() {
        let case: Value = serde_json::from_str(line)?;
        let text = match case["cfg_b64"].as_str() {
            Some(encoded) => BASE64.decode(encoded)?,
            None => case["cfg"].as_str().unwrap_or_default().into(),
        };
        fs::write(&path, text)?;
        let image = case["image"].as_str().unwrap_or_default();
        for rules in ["3.2", "3.3"] {
            let expected = &case[rules];
            let report = check(&["--executor-cfg", &file, "--rules", rules, "--image", image])?;
            let (cfg, checked) = (&report["executor_cfg"], &report["images"][0]);
            assert_eq!(
                cfg["parse_error"].is_null(),
                expected["parse_error"].is_null(),
                "{}: {report:#}",
                case["id"]
            );
            let found = json!({
                "trusted": checked["trusted"],
                "privileged_trust": checked["privileged_trusted"],
                "privileged_ok": checked["privileged_allowed"],
                "image_valid": checked["name_valid"],
                "docker_module_enabled": cfg["docker_enabled"],
                "docker_supported": cfg["docker_supported"],
                "nm_group": cfg["nm_group"],
                "trusted_registries": cfg["trusted_registries"],
                "privileged_registries": cfg["privileged_registries"],
            });
            let fields = expected.as_object().ok_or("an object")?;
            for (field, value) in fields.iter().filter(|(field, _)| *field != "parse_error") {
                assert_eq!(&found[field], value, "{field} of {} by {rules}", case["id"]);
            }
            if !expected["parse_error"].is_null() {
                assert_eq!(
                    (&cfg["docker_supported"], &cfg["trusted_registries"]),
                    (&json!(false), &Value::Null)
                );
            }
        }
    }
    Ok(())
}

#[test]
fn mounts_match_hadoops_recorded_decisions() -> Outcome {
    let directory = scratch::directory("mounts")?;
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("d/sub"))?;
    fs::create_dir(at("dd"))?;
    for file in ["f", "fpart"] {
        fs::write(at(file), "")?;
    }
    symlink(at("f"), at("link"))?;
    symlink(at("d"), at("dlink"))?;
    let root = directory.path().display().to_string();
    let path = at("container-executor.cfg");
    let file = path.display().to_string();
    // One case mounts a directory of the machine where the cases were recorded.
    for line in MOUNTS.lines().filter(|line| !line.contains("ro_parent_of_cfg")) {
        let case: Value = serde_json::from_str(&line.replace("$TMP", &root))?;
        let mut text = CFG.to_owned();
        for (key, list) in [("ro-mounts", &case["ro_mounts"]), ("rw-mounts", &case["rw_mounts"])] {
            if let Some(list) = list.as_str() {
                text.push_str(&format!("docker.allowed.{key}={list}\n"));
            }
        }
        fs::write(&path, text)?;
        for (rules, version) in [("3.2", "3.2.1"), ("3.3", "trunk")] {
            let mounts = case["mounts"].as_str().ok_or("mounts")?;
            let args = [
                "--executor-cfg",
                &file,
                "--rules",
                rules,
                "--image",
                "registry.example/a:b",
                "--mount",
                mounts,
            ];
            let checked = &check(&args)?["images"][0];
            let allowed = checked["mounts"].as_array().ok_or("mounts")?.iter().all(|m| m["allowed"] == true);
            let expected = case[version]["rc"] == 0;
            assert_eq!(
                (allowed, &checked["would_launch"]),
                (expected, &json!(expected)),
                "{} by {rules}",
                case["id"]
            );
        }
    }
    Ok(())
}

#[test]
fn config_json_is_read_as_yarn_reads_it() -> Outcome {
    let directory = scratch::directory("configs")?;
    for line in DOCKER_CONFIGS.lines() {
        let case: Value = serde_json::from_str(line)?;
        let id = case["id"].as_str().ok_or("an id")?;
        let path = directory.path().join(id);
        match (case["content"].as_str(), case["content_b64"].as_str()) {
            (Some(text), _) => fs::write(&path, text)?,
            (None, Some(encoded)) => fs::write(&path, BASE64.decode(encoded)?)?,
            (None, None) => {}
        }
        let checked = &check(&["--docker-config", &path.display().to_string()])?["docker_config"];
        let expected = &case["3.5.0"];
        assert_eq!(checked["error"].is_null(), expected["error"].is_null(), "{id}");
        let credentials = checked["credentials"].as_object().ok_or("credentials")?.len();
        assert_eq!(credentials as u64, expected["tokens"].as_u64().unwrap_or_default(), "{id}");
    }
    Ok(())
}

#[test]
fn only_the_named_files_are_checked() -> Outcome {
    let directory = scratch::directory("named")?;
    let path = directory.path().join("container-executor.cfg");
    fs::write(&path, CFG)?;
    let file = path.display().to_string();
    // Missing settings would fail any other command.
    let report = check(&["--executor-cfg", &file, "--config", "/nonexistent", "--rules", "3.3"])?;
    assert_eq!(report["findings"], json!([]));
    assert_eq!(report["docker_config"], Value::Null);
    assert_eq!(report["images"], json!([]));
    let assumed = check(&["--executor-cfg", &file])?;
    assert_eq!(
        (&assumed["rules"], codes(&assumed, "info")),
        (&json!("3.3"), vec!["rules-assumed".to_owned()])
    );
    Ok(())
}

#[test]
fn unread_files_and_wrong_usage_exit_2() -> Outcome {
    let output = run(&["check", "--json", "--executor-cfg", "/nonexistent/cfg"])?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!((&report["executor_cfg"]["present"], &report["ok"]), (&json!(false), &json!(false)));
    assert_eq!(codes(&report, "error"), ["config-missing"]);
    for args in [
        &["check", "--yarn-site", "/nonexistent/yarn-site.xml"][..],
        &["check", "--docker-config", "/nonexistent/config.json"],
        &["check", "--emr-config", "/nonexistent/emr.json"],
        &["check", "--emr-config", "-", "--executor-cfg", "-"],
    ] {
        assert_eq!(run(args)?.status.code(), Some(2), "{args:?}");
    }
    for args in [
        &["check", "--rules", "4"][..],
        &["check", "--explain", "crlf"],
        &["explain", "nothing"],
        &["submit-args"],
        &["emr-config"],
    ] {
        assert_eq!(run(args)?.status.code(), Some(2), "{args:?}");
    }
    Ok(())
}

#[test]
fn text_marks_the_error_and_has_no_color_in_a_pipe() -> Outcome {
    let directory = scratch::directory("text")?;
    let path = directory.path().join("container-executor.cfg");
    fs::write(&path, CFG.replace("centos,", "centos, "))?;
    let file = path.display().to_string();
    let output = run(&["check", "--executor-cfg", &file])?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(1));
    assert!(!text.contains('\u{1b}'), "{text}");
    let expected = [
        "1 error\n",
        &format!(
            "  {file}:4: the entry ` registry.example` of docker.trusted.registries contains whitespace"
        ),
        "      | docker.trusted.registries=local,centos, registry.example\n",
        "      |                                        ^^^^^^^^^^^^^^^^^\n",
        "      fix:    in [docker]: docker.trusted.registries=local,centos,registry.example\n",
    ];
    let mut rest = text.as_str();
    for part in expected {
        let found = rest.find(part).ok_or_else(|| format!("{part:?} is not in {text}"))?;
        rest = &rest[found..];
    }
    Ok(())
}

#[test]
fn submit_args_survive_the_shell() -> Outcome {
    let program = agent::program()?;
    let shell = |script: &str| Command::new("sh").args(["-c", script, "sh"]).arg(&program).output();
    let words =
        shell(r#"printf '%s\n' $("$1" submit-args --image registry.example/app:v1 --mount /opt:/opt:ro)"#)?;
    let words = String::from_utf8(words.stdout)?;
    let words: Vec<&str> = words.lines().collect();
    assert_eq!(words.len(), 16, "{words:?}");
    for prefix in ["spark.executorEnv", "spark.yarn.appMasterEnv"] {
        let variable = |name: &str, value: &str| format!("{prefix}.YARN_CONTAINER_RUNTIME_{name}={value}");
        for expected in [
            variable("TYPE", "docker"),
            variable("DOCKER_IMAGE", "registry.example/app:v1"),
            variable("DOCKER_CLIENT_CONFIG", "hdfs:///user/hadoop/config.json"),
            variable("DOCKER_MOUNTS", "/etc/passwd:/etc/passwd:ro,/opt:/opt:ro"),
        ] {
            let at = words.iter().position(|word| *word == expected).ok_or(expected)?;
            assert_eq!(words[at - 1], "--conf");
        }
    }
    // Values that need quotes survive the shell.
    let strange = shell(r#"eval "printf '%s\n' $("$1" submit-args --image 'a b$HOME' 2>/dev/null)""#)?;
    let strange = String::from_utf8(strange.stdout)?;
    assert!(strange.contains("DOCKER_IMAGE=a b$HOME\n"), "{strange}");
    Ok(())
}

#[test]
fn strict_submit_args_print_nothing_on_error() -> Outcome {
    let refused = run(&["submit-args", "--image", "Registry/App", "--strict"])?;
    assert_eq!((refused.status.code(), refused.stdout), (Some(1), Vec::new()));
    let warned = run(&["submit-args", "--image", "Registry/App", "--format", "json"])?;
    assert_eq!(warned.status.code(), Some(0));
    assert!(String::from_utf8(warned.stderr)?.contains("[image-invalid]"));
    let properties: Value = serde_json::from_slice(&warned.stdout)?;
    assert_eq!(properties["spark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE"], "Registry/App");
    Ok(())
}

#[test]
fn emr_config_output_passes_check() -> Outcome {
    let directory = scratch::directory("emr")?;
    let path = directory.path().join("configurations.json");
    let file = path.display().to_string();
    let written = run(&["emr-config", "--registry", TRUSTED_REGISTRY])?;
    fs::write(&path, &written.stdout)?;
    let report = check(&["--emr-config", &file])?;
    assert_eq!((codes(&report, "error"), codes(&report, "warning")), (vec![], vec![]));
    fs::write(&path, String::from_utf8(written.stdout)?.replace("centos,", "centos, "))?;
    let report = check(&["--emr-config", &file])?;
    assert_eq!(codes(&report, "error"), ["entry-with-whitespace", "entry-with-whitespace"]);
    let lines: Vec<_> =
        report["findings"].as_array().into_iter().flatten().map(|f| f["line"].as_u64()).collect();
    assert_eq!(lines[..2], [Some(9), Some(10)]);
    Ok(())
}

/// Files of the largest accepted size, with content that is slow for careless parsers.
#[test]
fn large_and_malformed_files_are_checked() -> Outcome {
    const SIZE: usize = 16 << 20;
    let directory = scratch::directory("large")?;
    let path = directory.path().join("file");
    let file = path.display().to_string();
    for option in ["--executor-cfg", "--yarn-site", "--docker-config", "--emr-config"] {
        for unit in [&b"\xff"[..], b"[", b"a=b\n"] {
            fs::write(&path, unit.repeat(SIZE / unit.len()))?;
            let output = run(&["check", option, &file, "--image", "a/b"])?;
            assert!(matches!(output.status.code(), Some(0..=2)), "{option} {unit:?}: {output:?}");
        }
        fs::write(&path, vec![b' '; SIZE + 1])?;
        let output = run(&["check", option, &file])?;
        assert_eq!(output.status.code(), Some(2), "{option}: a file over the limit");
    }
    Ok(())
}

#[tokio::test]
async fn daemon_reports_findings_and_trust() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.registry(TRUSTED_REGISTRY, &[]);
    let agent = testbed.start()?;
    let trusted =
        format!(r#"emr_ecr_agent_trusted_registry_ok{{mode="normal",registry="{TRUSTED_REGISTRY}"}}"#);
    let metric = async |line: String| {
        wait::until(&line, SOON, async || {
            let text = agent.get("/metrics").await.map_err(|error| error.to_string())?.text();
            text.lines().any(|other| other == line).then_some(()).ok_or(text)
        })
        .await
    };
    metric(format!("{trusted} 1")).await?;
    let cfg = testbed.node.conf_dir().join("container-executor.cfg");
    let good = fs::read_to_string(&cfg)?;
    fs::write(&cfg, good.replace("centos,", "centos, "))?;
    metric(format!("{trusted} 0")).await?;
    let status = agent.status().await?;
    let finding =
        status["findings"].as_array().into_iter().flatten().find(|f| f["code"] == "entry-with-whitespace");
    assert_eq!(finding.ok_or("a finding")?["severity"], "error");
    let shown = testbed.run(&["status"]).await?.out;
    assert!(shown.contains(&format!("finding   error entry-with-whitespace: {}:", cfg.display())), "{shown}");
    fs::write(&cfg, format!("{good} \n"))?;
    metric("emr_ecr_agent_executor_config_valid 0".to_owned()).await?;
    fs::write(&cfg, good)?;
    metric(format!("{trusted} 1")).await?;
    Ok(())
}

#[tokio::test]
async fn image_is_looked_up_at_the_registry() -> Outcome {
    if !parts::present([Part::registry(), Part::hadoop()]) {
        return Ok(());
    }
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let registry = Registry::start().await?;
    registry.password_file().accept_only(USER, "secret")?;
    let auth = BASE64.encode(format!("{USER}:secret"));
    let document = json!({ "auths": { registry.host(): { "auth": auth } } });
    published.put(&document.to_string()).await?;
    let ask = async |image: String, more: &'static [&'static str]| {
        let args = [&["check", "--json", "--image", &image][..], more].concat();
        let finished = testbed.run(&args).await?;
        let found = finished.json()?;
        let found = [codes(&found, "error"), codes(&found, "warning")].concat();
        Outcome::Ok(found)
    };
    let here = ask(registry.image(), &[]).await?;
    assert!(here.contains(&"java-not-found".to_owned()), "the image was not found: {here:?}");
    let amd64 = cfg!(target_arch = "x86_64");
    assert_eq!(here.contains(&"architecture-differs".to_owned()), !amd64, "{here:?}");
    let absent = ask(format!("{}/absent:v1", registry.host()), &[]).await?;
    assert!(absent.contains(&"image-not-found".to_owned()), "{absent:?}");
    let offline = ask(format!("{}/absent:v1", registry.host()), &["--offline"]).await?;
    assert!(!offline.contains(&"image-not-found".to_owned()), "{offline:?}");
    registry.password_file().accept_only(USER, "another")?;
    let refused = ask(registry.image(), &[]).await?;
    assert!(refused.contains(&"pull-refused".to_owned()), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn published_file_is_checked_on_hdfs() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let found = async || {
        let report = testbed.run(&["check", "--json", "--offline"]).await?.json()?;
        Outcome::Ok((codes(&report, "error"), report))
    };
    let (errors, report) = found().await?;
    assert!(errors.contains(&"client-config-missing".to_owned()), "{report:#}");
    published.put(r#"{"auths":{"r":{}}}"#).await?;
    let (errors, report) = found().await?;
    assert!(errors.contains(&"client-config-poisonous".to_owned()), "{report:#}");
    assert!(report["docker_config"]["error"].is_string());
    Ok(())
}
