//! The program's commands: their output and exit codes.

use std::os::unix::fs::PermissionsExt as _;

use clap_complete::aot::{Bash, generate_to};
use emr_ecr_agent_tests::ecr::Fault;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, wait_for_token};
use emr_ecr_agent_tests::{agent, process, scratch};
use serde_json::json;

#[tokio::test]
async fn help_and_version_need_no_settings() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let help = testbed.run_plainly(&["--help"]).await?;
    assert_eq!(help.code, 0);
    for command in ["run", "once", "status", "check", "Exit codes:"] {
        assert!(help.out.contains(command), "{command}: {}", help.out);
    }
    let version = testbed.run_plainly(&["--version"]).await?;
    assert_eq!(version.code, 0);
    assert!(version.out.starts_with("emr-ecr-agent "), "{}", version.out);
    for command in ["run", "once", "status", "check"] {
        let help = testbed.run_plainly(&[command, "--help"]).await?;
        assert_eq!(help.code, 0, "{command}");
        assert!(help.out.contains("--config <FILE>"), "{command}: {}", help.out);
    }
    Ok(())
}

#[tokio::test]
async fn wrong_usage_exits_2() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    for args in [
        &[] as &[&str],
        &["unknown"],
        &["run", "--unknown"],
        &["once", "--config"],
        &["status", "more"],
        &["check", "--dry-run"],
    ] {
        let finished = testbed.run_plainly(args).await?;
        assert_eq!(finished.code, 2, "{args:?}: {}", finished.err);
        assert!(
            finished.err.contains("--help") || finished.err.contains("Usage:"),
            "{args:?}: {}",
            finished.err
        );
        assert_eq!(finished.out, "", "{args:?}");
    }
    Ok(())
}

#[tokio::test]
async fn wrong_settings_exit_78_and_list_every_mistake() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let text = "\
refresh.renew_at = 2
pass_interval = \"1s\"

[health]
listen = \"localhost\"

[[registries]]
host = \"docker.io\"

[[docker_configs]]
path = \"relative/config.json\"
mode = \"0200\"
";
    testbed.node.write("agent.toml", text)?;
    let path = testbed.node.agent_toml().display().to_string();
    let expected = [
        (1, "refresh.renew_at: must be a number from 0.1 to 0.9"),
        (2, "pass_interval: is not a known key"),
        (5, "health.listen: must be an IP address and a port"),
        (8, "registries.host: must be the host name of an ECR registry"),
        (11, "docker_configs.path: must be an absolute path"),
        (12, "docker_configs.mode: must be octal permission bits"),
    ];
    for command in ["run", "once", "check"] {
        let finished = testbed.run_plainly(&[command, "--config", &path]).await?;
        assert_eq!(finished.code, 78, "{command}: {}", finished.err);
        assert!(finished.err.contains("6 mistakes"), "{command}: {}", finished.err);
        for (line, mistake) in expected {
            let mistake = format!("{path}:{line}: {mistake}");
            assert!(finished.err.contains(&mistake), "{command}: {mistake}: {}", finished.err);
        }
        assert_eq!(finished.err.lines().count(), 7, "{command}: {}", finished.err);
    }
    Ok(())
}

#[tokio::test]
async fn unreadable_settings_exit_78() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    testbed.node.write("not.toml", "[refresh\n")?;
    std::fs::write(testbed.node.path("not.text"), [0xff, 0xfe])?;
    for (name, reported) in [
        ("absent.toml", "does not exist"),
        ("conf", "is a directory, not a regular file"),
        ("not.toml", ":1: is not TOML"),
        ("not.text", "is not UTF-8"),
    ] {
        let path = testbed.node.path(name).display().to_string();
        let finished = testbed.run_plainly(&["run", "--config", &path]).await?;
        assert_eq!(finished.code, 78, "{name}: {}", finished.err);
        assert!(finished.err.contains(reported) && finished.err.contains(&path), "{name}: {}", finished.err);
    }
    Ok(())
}

#[tokio::test]
async fn settings_are_checked_and_shown() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let file = testbed.node.agent_toml().display().to_string();
    testbed.node.write("agent.toml", "[log]\nlevel = \"warn\"\n")?;
    let sound = testbed.run_plainly(&["config", "check", "--config", &file]).await?;
    assert_eq!((sound.code, sound.out), (0, format!("{file}: valid\n")));
    let shown = testbed.run_plainly(&["config", "show", "--config", &file]).await?;
    assert_eq!(shown.code, 0, "{}", shown.err);
    let line =
        |key: &str| shown.out.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    assert!(line("log.level").ends_with(&format!("  # {file}:2")), "{}", shown.out);
    assert!(line("log.level = \"warn\"").starts_with("log.level"), "{}", shown.out);
    assert!(line("log.format = \"text\"").ends_with("  # default"), "{}", shown.out);
    assert!(line("log.file is not set").ends_with("  # default"), "{}", shown.out);
    let json =
        testbed.run_plainly(&["config", "show", "--json", "--config", &file, "--log-level", "debug"]).await?;
    let json = json.json()?;
    let settings = json["settings"].as_array().ok_or("a list")?;
    let level = settings.iter().find(|setting| setting["key"] == "log.level").ok_or("the level")?;
    assert_eq!(
        *level,
        serde_json::json!({"key": "log.level", "value": "debug", "origin": "option", "line": null})
    );
    assert_eq!(json["exists"], true);

    testbed.node.write("agent.toml", "[log]\nlevel = \"loud\"\n")?;
    for command in ["check", "show"] {
        let wrong = testbed.run_plainly(&["config", command, "--config", &file]).await?;
        assert_eq!((wrong.code, wrong.out.as_str()), (78, ""), "{command}");
        assert!(wrong.err.contains(&format!("{file}:2: log.level: ")), "{}", wrong.err);
    }
    Ok(())
}

#[tokio::test]
async fn the_log_level_is_an_option() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.registry(TRUSTED_REGISTRY, &[]);
    let quiet = testbed.run(&["once"]).await?;
    assert!(!quiet.err.contains(" WARN "), "{}", quiet.err);
    let loud = testbed.run(&["once", "--log-level", "warn"]).await?;
    assert!(loud.err.contains(" WARN finding "), "{}", loud.err);
    assert_eq!(testbed.run(&["once", "--log-level", "loud"]).await?.code, 2);
    Ok(())
}

#[tokio::test]
async fn the_program_tells_about_itself() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let run = async |args: &[&str]| testbed.run_plainly(args).await;
    let (help, flag) = (run(&["help"]).await?, run(&["--help"]).await?);
    assert_eq!((help.code, help.out), (0, flag.out));
    let (help, flag) = (run(&["help", "submit"]).await?, run(&["submit", "--help"]).await?);
    assert_eq!((help.code, help.out), (0, flag.out));
    let (version, flag) = (run(&["version"]).await?, run(&["--version"]).await?);
    assert_eq!((version.code, &version.out), (0, &flag.out));
    let json = run(&["version", "--json"]).await?.json()?;
    assert!(version.out.contains(json["build"].as_str().ok_or("a build")?), "{}", version.out);
    Ok(())
}

/// bash itself completes with the script.
#[test]
fn completions_complete() -> Outcome {
    let directory = scratch::directory("completions")?;
    let script = generate_to(Bash, &mut emr_ecr_agent::cli::command(), "emr-ecr-agent", directory.path())?;
    let path = script.display();
    let words =
        "COMP_WORDS=(emr-ecr-agent sub); COMP_CWORD=1; _emr__ecr__agent emr-ecr-agent sub emr-ecr-agent";
    let ask = format!("source {path}; {words}; printf '%s\\n' \"${{COMPREPLY[@]}}\"");
    let output = std::process::Command::new("bash").args(["-c", &ask]).output()?;
    let mut completed: Vec<_> = std::str::from_utf8(&output.stdout)?.lines().collect();
    completed.sort_unstable();
    assert_eq!(completed, ["submit", "submit-args"], "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn once_refreshes_every_sink() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let finished = testbed.run(&["once"]).await?;
    assert_eq!((finished.code, finished.err.as_str()), (0, ""), "{}", finished.out);
    for line in [
        format!("local:{} replaced", testbed.node.docker_config().display()),
        format!("hdfs:{} replaced", published.path()),
        format!("hdfs:{} fresh, earliest expiry ", published.path()),
    ] {
        assert!(finished.out.contains(&line), "{line}: {}", finished.out);
    }
    let auth = testbed.ecr.newest("us-east-1").ok_or("no token issued")?.auth();
    assert_eq!(testbed.docker_config()?["auths"][TRUSTED_REGISTRY]["auth"], auth);
    published.wait_for_auth(TRUSTED_REGISTRY, &auth).await?;

    // No registry can confirm the published token, so this calls ECR again.
    let again = testbed.run(&["once", "--json"]).await?;
    let report = again.json()?;
    assert_eq!((again.code, &report["fresh"], &report["dry_run"]), (0, &true.into(), &false.into()));
    assert_eq!(report["errors"].as_array().map(Vec::len), Some(0));
    assert_eq!(report["status"]["registries"][0]["source"], "ecr");
    assert_eq!(testbed.ecr.calls().len(), 2);
    assert_eq!(report["status"]["ready"], true);
    Ok(())
}

#[tokio::test]
async fn once_exits_1_unless_all_is_fresh() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    testbed.ecr.fail_always(Fault::AccessDenied);
    let finished = testbed.run(&["once"]).await?;
    assert_eq!(finished.code, 1);
    assert!(finished.err.contains("ecr:GetAuthorizationToken"), "{}", finished.err);
    assert!(finished.err.contains("fs.defaultFS is not set"), "{}", finished.err);
    assert!(finished.out.contains("not fresh"), "{}", finished.out);

    let report = testbed.run(&["once", "--json"]).await?;
    assert_eq!((report.code, &report.json()?["fresh"]), (1, &false.into()));
    Ok(())
}

#[tokio::test]
async fn dry_run_reports_changes_and_writes_nothing() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let preview = testbed.run(&["once", "--dry-run"]).await?;
    assert_eq!(preview.code, 1, "nothing is fresh yet: {}", preview.out);
    for line in [
        format!("local:{} would be replaced", testbed.node.docker_config().display()),
        format!("hdfs:{} would be replaced", published.path()),
    ] {
        assert!(preview.out.contains(&line), "{line}: {}", preview.out);
    }
    assert!(!testbed.node.docker_config().exists());
    assert!(published.names().await?.is_empty());

    published.put("broken").await?;
    let preview = testbed.run(&["once", "--dry-run", "--json"]).await?.json()?;
    assert_eq!(preview["dry_run"], true);
    let hdfs = format!("hdfs:{}", published.path());
    let changes =
        preview["changes"].as_array().ok_or("no changes")?.iter().filter(|change| change["sink"] == hdfs);
    let changes: Vec<_> = changes.map(|change| change["change"].clone()).collect();
    assert_eq!(changes, ["set aside", "replaced"]);
    assert_eq!(published.text().await?, "broken");
    assert_eq!(published.names().await?, ["config.json"]);
    Ok(())
}

#[tokio::test]
async fn status_exits_3_1_or_0() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let absent = testbed.run(&["status"]).await?;
    assert_eq!((absent.code, absent.out.as_str()), (3, ""));
    let socket = testbed.node.path("status.sock").display().to_string();
    assert!(absent.err.contains("no agent answers at") && absent.err.contains(&socket), "{}", absent.err);

    testbed.ecr.fail_always(Fault::Throttled);
    let mut agent = testbed.start()?;
    agent.wait_not_ready(SOON).await?;
    let not_ready = testbed.run(&["status"]).await?;
    assert_eq!(not_ready.code, 1, "{}", not_ready.err);
    assert!(not_ready.out.contains(": not ready"), "{}", not_ready.out);
    assert_eq!(testbed.run(&["status", "--wait", "1s"]).await?.code, 1);

    testbed.ecr.heal();
    let waited = testbed.run(&["status", "--wait", "2m"]).await?;
    assert_eq!(waited.code, 0, "{}{}", waited.out, waited.err);
    agent.wait_ready(SOON).await?;
    let ready = testbed.run(&["status"]).await?;
    assert_eq!((ready.code, ready.err.as_str()), (0, ""));
    for part in [": ready", TRUSTED_REGISTRY, published.path(), "expires "] {
        assert!(ready.out.contains(part), "{part}: {}", ready.out);
    }
    let json = testbed.run(&["status", "--json"]).await?;
    assert_eq!((json.code, &json.json()?["ready"]), (0, &true.into()));
    Ok(())
}

#[tokio::test]
async fn status_asks_where_it_is_told_to() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.registry(TRUSTED_REGISTRY, &[]);
    let agent = testbed.start()?;
    wait_for_token(&agent).await?;
    // The agent keeps its current settings.
    testbed.node.write("agent.toml", "pass_interval = \"1s\"\n")?;
    let (socket, address) =
        (testbed.node.path("status.sock").display().to_string(), agent.address().to_string());
    let config = testbed.node.agent_toml().display().to_string();
    for place in [&socket, &address, &format!("http://{address}/")] {
        let asked = testbed.run_plainly(&["status", "--config", &config, "--address", place]).await?;
        assert_eq!((asked.code, asked.err.as_str()), (1, ""), "{place}");
        assert!(asked.out.contains(TRUSTED_REGISTRY), "{place}: {}", asked.out);
        let json = testbed.run_plainly(&["status", "--json", "--address", place]).await?.json()?;
        assert_eq!(json["registries"][0]["host"], TRUSTED_REGISTRY, "{place}");
    }
    let unusable = testbed.run_plainly(&["status", "--config", &config]).await?;
    assert_eq!(unusable.code, 3, "{}", unusable.out);
    for part in [
        "the settings cannot be used",
        "agent.toml:1: pass_interval: is not a known key",
        "no agent answers at",
    ] {
        assert!(unusable.err.contains(part), "{part}: {}", unusable.err);
    }
    for wrong in ["host", "host:0", "https://host:9470"] {
        assert_eq!(testbed.run_plainly(&["status", "--address", wrong]).await?.code, 2, "{wrong}");
    }
    Ok(())
}

#[tokio::test]
async fn an_interrupted_try_leaves_no_credentials() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let docker = testbed.node.path("docker");
    testbed.node.write(
        "docker",
        "#!/bin/sh\ncase $3 in\n    pull) grep -q auth $2/config.json && kill -TERM $PPID; exec sleep 600 ;;\nesac\n",
    )?;
    std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755))?;
    let cfg = "conf/container-executor.cfg";
    let text = std::fs::read_to_string(testbed.node.path(cfg))?;
    testbed.node.write(cfg, &text.replace("/usr/bin/docker", &docker.display().to_string()))?;
    testbed
        .node
        .write("client.json", &format!(r#"{{"auths":{{"{TRUSTED_REGISTRY}":{{"auth":"YTpi"}}}}}}"#))?;
    testbed.write_settings()?;
    let temporary = testbed.node.path("temporary");
    std::fs::create_dir(&temporary)?;

    let mut command = agent::command(&testbed.node)?;
    command.env("TMPDIR", &temporary).args(["try", "--json", "--config"]).arg(testbed.node.agent_toml());
    command.args(["--image", &format!("{TRUSTED_REGISTRY}/app:1"), "--client-config"]);
    command.arg(format!("file:{}", testbed.node.path("client.json").display()));
    let tried = tokio::time::timeout(SOON, process::run(command)).await??;
    assert_eq!((tried.code, &tried.json()?["failures"]), (1, &json!(["interrupted"])), "{}", tried.err);
    assert_eq!(std::fs::read_dir(&temporary)?.count(), 0);
    Ok(())
}

#[tokio::test]
async fn check_exits_1_on_an_error_and_2_without_the_file() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let path = testbed.node.conf_dir().join("container-executor.cfg");
    let text = std::fs::read_to_string(&path)?;
    let without_group = text.replace("yarn.nodemanager.linux-container-executor.group=yarn\n", "");
    for (content, code, finding) in [
        (Some(text.as_str()), 0, None),
        (Some(&without_group), 1, Some("group-missing")),
        (None, 2, Some("config-missing")),
    ] {
        match content {
            Some(content) => testbed.node.write("conf/container-executor.cfg", content)?,
            None => std::fs::remove_file(&path)?,
        }
        let file = path.display().to_string();
        let checked = testbed.run_plainly(&["check", "--executor-cfg", &file, "--offline"]).await?;
        assert_eq!(checked.code, code, "{finding:?}: {}{}", checked.out, checked.err);
        assert!(
            finding.is_none_or(|finding| checked.out.contains(&format!("[{finding}]"))),
            "{}",
            checked.out
        );

        let json = testbed.run_plainly(&["check", "--executor-cfg", &file, "--offline", "--json"]).await?;
        assert_eq!(json.code, code, "{finding:?}: {}", json.err);
        let json = json.json()?;
        let findings = json["findings"].as_array().ok_or("no findings")?;
        let errors: Vec<_> = findings.iter().filter(|finding| finding["severity"] == "error").collect();
        let codes: Vec<_> = errors.iter().filter_map(|error| error["code"].as_str()).collect();
        assert_eq!(codes, Vec::from_iter(finding));
        assert!(errors.iter().all(|error| error["file"] == file), "{errors:?}");
    }
    Ok(())
}
