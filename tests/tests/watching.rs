//! Changes of files wake the agent. Its timer is set to an hour, so that nothing else can be the cause.

use std::fs;

use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Scene, docker_config_fresh, shown};
use emr_ecr_agent_tests::wait;
use nix::sys::signal::Signal;
use serde_json::json;

const IRELAND: &str = "123456789123.dkr.ecr.eu-west-1.amazonaws.com";

#[tokio::test]
async fn a_docker_config_that_somebody_changed() -> Outcome {
    let mut scene = Scene::without_hdfs().await?;
    scene.settings.no_timer();
    let agent = scene.start()?;
    docker_config_fresh(&agent).await?;

    // As `docker logout` writes it: whole, by way of another file.
    scene.node.write("root/.docker/other", r#"{"auths":{},"detachKeys":"ctrl-e"}"#)?;
    fs::rename(scene.node.path("root/.docker/other"), scene.node.docker_config())?;
    scene.wait_for_docker_config(|config| config["detachKeys"] == "ctrl-e").await?;

    // And as an editor does that keeps the file.
    scene.node.write("root/.docker/config.json", r#"{"detachKeys":"ctrl-f"}"#)?;
    scene.wait_for_docker_config(|config| config["detachKeys"] == "ctrl-f").await?;

    fs::remove_file(scene.node.docker_config())?;
    scene.wait_for_docker_config(|_| true).await?;
    assert_eq!(scene.ecr.calls().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_registry_that_becomes_trusted() -> Outcome {
    let mut scene = Scene::without_hdfs().await?;
    scene.settings.no_timer();
    let agent = scene.start()?;
    docker_config_fresh(&agent).await?;

    let path = scene.node.conf_dir().join("container-executor.cfg");
    let text = fs::read_to_string(&path)?;
    let more = text.replace(TRUSTED_REGISTRY, &format!("{TRUSTED_REGISTRY},{IRELAND}"));
    scene.node.write("conf/container-executor.cfg", &more)?;
    scene.wait_for_docker_config(|config| config["auths"][IRELAND]["auth"].is_string()).await?;

    scene.node.write("conf/container-executor.cfg", "[docker\n")?;
    let why = shown(&agent, "a file that Hadoop would refuse", |status| {
        let check =
            status["checks"].as_array()?.iter().find(|check| check["name"] == "container-executor.cfg")?;
        check["why"].as_str().map(str::to_owned)
    })
    .await?;
    assert!(why.contains(&path.display().to_string()), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_conf_directory_that_appears_later() -> Outcome {
    let Some((mut scene, published)) = Scene::with_hdfs().await? else { return Ok(()) };
    scene.settings.no_timer();
    fs::rename(scene.node.conf_dir(), scene.node.path("not-yet"))?;
    let mut agent = scene.start()?;
    shown(&agent, "what is waited for", |status| {
        let waiting_for = status["waiting_for"].to_string();
        (waiting_for.contains("container-executor.cfg") && waiting_for.contains("core-site.xml"))
            .then_some(())
    })
    .await?;
    assert!(scene.ecr.calls().is_empty(), "no registry is known yet");

    fs::rename(scene.node.path("not-yet"), scene.node.conf_dir())?;
    agent.wait_ready(SOON).await?;
    assert!(published.json().await?["auths"][TRUSTED_REGISTRY]["auth"].is_string());
    Ok(())
}

#[tokio::test]
async fn settings_that_change() -> Outcome {
    let mut scene = Scene::without_hdfs().await?;
    scene.settings.no_timer();
    let agent = scene.start()?;
    docker_config_fresh(&agent).await?;

    let second = scene.node.path("second/config.json");
    scene.settings.docker_config(&second, "0644").registry(TRUSTED_REGISTRY, &["alias.example.com"]);
    scene.write_settings()?;
    scene.wait_for_docker_config(|config| config["auths"]["alias.example.com"]["auth"].is_string()).await?;
    wait::until("the second file", SOON, async || fs::read(&second)).await?;
    assert_eq!(scene.ecr.calls().len(), 1, "the token at hand serves the alias too");
    Ok(())
}

#[tokio::test]
async fn bad_settings_leave_the_old_in_force_and_say_so() -> Outcome {
    let Some((mut scene, _published)) = Scene::with_hdfs().await? else { return Ok(()) };
    scene.settings.no_timer();
    let mut agent = scene.start_ready().await?;

    scene.node.write("agent.toml", "discover_registries = 1\nunknown = true\n")?;
    let error =
        shown(&agent, "the refusal", |status| status["settings_error"].as_str().map(str::to_owned)).await?;
    let path = scene.node.agent_toml().display().to_string();
    assert!(error.contains(&format!("{path}:1: discover_registries: must be true or false")), "{error}");
    assert!(error.contains(&format!("{path}:2: unknown: is not a known key")), "{error}");
    assert!(agent.get("/metrics").await?.text().contains("\nemr_ecr_agent_config_valid 0\n"));
    agent.wait_ready(SOON).await?;

    // The old ones are in force: what they name is still brought in order.
    scene.node.write("root/.docker/config.json", "{}")?;
    scene.wait_for_docker_config(|_| true).await?;

    scene.write_settings()?;
    shown(&agent, "the mended settings", |status| status["settings_error"].is_null().then_some(())).await?;
    agent.wait_ready(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_hangup_reads_all_anew() -> Outcome {
    let mut scene = Scene::without_hdfs().await?;
    scene.settings.no_timer();
    let agent = scene.start()?;
    docker_config_fresh(&agent).await?;
    agent.signal(Signal::SIGHUP)?;
    wait::until("a pass that the signal woke", SOON, async || {
        let metrics = agent.get("/metrics").await.map_err(|error| error.to_string())?.text();
        let woken = metrics.contains("emr_ecr_agent_passes_total{wake=\"reload\"} 1\n");
        if woken { Ok(()) } else { Err(metrics) }
    })
    .await?;
    assert_eq!(agent.status().await?["settings_error"], json!(null));
    Ok(())
}
