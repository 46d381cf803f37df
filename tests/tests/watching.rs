//! File changes wake the agent. Its timer is set to an hour, so nothing else can.

use std::fs;

use emr_ecr_agent_tests::ecr::Fault;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, docker_config_fresh, shown};
use emr_ecr_agent_tests::wait;
use nix::sys::signal::Signal;
use serde_json::json;

const IRELAND: &str = "123456789123.dkr.ecr.eu-west-1.amazonaws.com";

#[tokio::test]
async fn changed_docker_config_wakes_the_agent() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.no_timer();
    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;

    // By renaming another file, as `docker logout` does.
    testbed.node.write("root/.docker/other", r#"{"auths":{},"detachKeys":"ctrl-e"}"#)?;
    fs::rename(testbed.node.path("root/.docker/other"), testbed.node.docker_config())?;
    testbed.wait_for_docker_config(|config| config["detachKeys"] == "ctrl-e").await?;

    // In place, as some editors do.
    testbed.node.write("root/.docker/config.json", r#"{"detachKeys":"ctrl-f"}"#)?;
    testbed.wait_for_docker_config(|config| config["detachKeys"] == "ctrl-f").await?;

    fs::remove_file(testbed.node.docker_config())?;
    testbed.wait_for_docker_config(|_| true).await?;
    assert_eq!(testbed.ecr.calls().len(), 1);
    Ok(())
}

#[tokio::test]
async fn newly_trusted_registry_gets_a_token() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.no_timer();
    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;

    let path = testbed.node.conf_dir().join("container-executor.cfg");
    let text = fs::read_to_string(&path)?;
    let more = text.replace(TRUSTED_REGISTRY, &format!("{TRUSTED_REGISTRY},{IRELAND}"));
    testbed.node.write("conf/container-executor.cfg", &more)?;
    testbed.wait_for_docker_config(|config| config["auths"][IRELAND]["auth"].is_string()).await?;

    testbed.node.write("conf/container-executor.cfg", "[docker\n")?;
    let why = shown(&agent, "a file that Hadoop rejects", |status| {
        let check =
            status["checks"].as_array()?.iter().find(|check| check["name"] == "container-executor.cfg")?;
        check["why"].as_str().map(str::to_owned)
    })
    .await?;
    assert!(why.contains(&path.display().to_string()), "{why}");
    Ok(())
}

#[tokio::test]
async fn late_conf_directory_is_noticed() -> Outcome {
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    testbed.settings.no_timer();
    fs::rename(testbed.node.conf_dir(), testbed.node.path("not-yet"))?;
    let mut agent = testbed.start()?;
    shown(&agent, "the missing files", |status| {
        let waiting_for = status["waiting_for"].to_string();
        (waiting_for.contains("container-executor.cfg") && waiting_for.contains("core-site.xml"))
            .then_some(())
    })
    .await?;
    assert!(testbed.ecr.calls().is_empty(), "no registry is known yet");

    fs::rename(testbed.node.path("not-yet"), testbed.node.conf_dir())?;
    agent.wait_ready(SOON).await?;
    assert!(published.json().await?["auths"][TRUSTED_REGISTRY]["auth"].is_string());
    Ok(())
}

#[tokio::test]
async fn changed_settings_are_applied() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.no_timer();
    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;

    let second = testbed.node.path("second/config.json");
    testbed.settings.docker_config(&second, "0644").registry(TRUSTED_REGISTRY, &["alias.example.com"]);
    testbed.write_settings()?;
    testbed.wait_for_docker_config(|config| config["auths"]["alias.example.com"]["auth"].is_string()).await?;
    wait::until("the second file", SOON, async || fs::read(&second)).await?;
    assert_eq!(testbed.ecr.calls().len(), 1, "the alias needs no new token");
    Ok(())
}

#[tokio::test]
async fn settings_are_applied_by_a_pass_that_has_another_cause() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.no_timer();
    let plain = testbed.settings.clone();
    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;
    // A new token would change a watched file, whose pass would hide a lost change.
    testbed.ecr.fail_always(Fault::Throttled);

    for alias in ["one.example.com", "two.example.com", "three.example.com"] {
        testbed.settings = plain.clone();
        testbed.settings.registry(TRUSTED_REGISTRY, &[alias]);
        testbed.write_settings()?;
        // Before the change has settled.
        agent.signal(Signal::SIGUSR1)?;
        shown(&agent, "the new alias", |status| {
            status["registries"].as_array()?.iter().find(|registry| registry["aliases"] == json!([alias]))?;
            Some(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn bad_settings_keep_the_previous_ones() -> Outcome {
    let Some((mut testbed, _published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    testbed.settings.no_timer();
    let mut agent = testbed.start_ready().await?;

    testbed.node.write("agent.toml", "discover_registries = 1\nunknown = true\n")?;
    let error =
        shown(&agent, "the settings error", |status| status["settings_error"].as_str().map(str::to_owned))
            .await?;
    let path = testbed.node.agent_toml().display().to_string();
    assert!(error.contains(&format!("{path}:1: discover_registries: must be true or false")), "{error}");
    assert!(error.contains(&format!("{path}:2: unknown: is not a known key")), "{error}");
    assert!(agent.get("/metrics").await?.text().contains("\nemr_ecr_agent_config_valid 0\n"));
    agent.wait_ready(SOON).await?;

    // The previous settings still apply: their sinks are still reconciled.
    testbed.node.write("root/.docker/config.json", "{}")?;
    testbed.wait_for_docker_config(|_| true).await?;

    testbed.write_settings()?;
    shown(&agent, "the fixed settings", |status| status["settings_error"].is_null().then_some(())).await?;
    agent.wait_ready(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn sighup_wakes_the_agent() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.no_timer();
    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;
    agent.signal(Signal::SIGHUP)?;
    wait::until("a pass after the signal", SOON, async || {
        let metrics = agent.get("/metrics").await.map_err(|error| error.to_string())?.text();
        let woken = metrics.contains("emr_ecr_agent_passes_total{wake=\"reload\"} 1\n");
        if woken { Ok(()) } else { Err(metrics) }
    })
    .await?;
    assert_eq!(agent.status().await?["settings_error"], json!(null));
    Ok(())
}
