//! Starting on a node that is not provisioned yet, and exiting.

use std::fs;

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::imds::Behavior;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, shown, token_error};
use emr_ecr_agent_tests::wait;
use nix::sys::signal::Signal;
use tokio::net::TcpListener;

#[tokio::test]
async fn unprovisioned_node_is_waited_for() -> Outcome {
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    testbed.settings.registry(TRUSTED_REGISTRY, &[]).set("deadlines.ecr", "2s");
    testbed.imds.set_behavior(Behavior::Slow(SOON * 2));
    fs::rename(testbed.node.conf_dir(), testbed.node.path("not-yet"))?;
    fs::remove_dir_all(testbed.node.path("root"))?;
    let mut agent = testbed.start()?;

    let live = wait::until("/livez", SOON, async || agent.get("/livez").await).await?;
    assert_eq!(live.status, 200);
    wait_for(&agent, &["container-executor.cfg", "core-site.xml"]).await?;
    shown(&agent, "a call without credentials", |status| {
        let error = status["registries"][0]["last_error"].as_str()?;
        error.contains("us-east-1").then_some(())
    })
    .await?;
    agent.wait_not_ready(SOON).await?;

    // Files appear one after another, as during bootstrap actions and Hadoop's start.
    testbed.imds.set_behavior(Behavior::Normal);
    wait_for(&agent, &["the directory", "container-executor.cfg"]).await?;
    fs::create_dir(testbed.node.path("root"))?;
    wait::until("the Docker config", SOON, async || testbed.docker_config()).await?;
    fs::rename(testbed.node.path("not-yet"), testbed.node.conf_dir())?;
    agent.wait_ready(SOON).await?;
    assert!(published.json().await?["auths"][TRUSTED_REGISTRY]["auth"].is_string());
    assert_eq!(agent.status().await?["waiting_for"].as_array().map(Vec::len), Some(0));
    Ok(())
}

#[tokio::test]
async fn silent_metadata_is_an_error_within_the_deadline() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.set("deadlines.ecr", "2s");
    testbed.imds.set_behavior(Behavior::Slow(SOON * 2));
    let agent = testbed.start()?;
    let error = token_error(&agent).await?;
    assert!(error.contains("credentials"), "the error must name what it waited for: {error}");
    Ok(())
}

#[tokio::test]
async fn sigterm_and_sigint_exit_0() -> Outcome {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
        let mut agent = testbed.start_ready().await?;
        agent.signal(signal)?;
        assert_eq!(agent.exit_code(SOON).await?, 0, "{signal}");
        assert!(agent.log_text().contains("stopped"), "{signal}");
        let entries = published.entries().await?;
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["config.json"], "{signal}: not even the refresh lock is left");
        let names: Vec<_> = fs::read_dir(testbed.node.path("root/.docker"))?.collect::<Result<_, _>>()?;
        assert_eq!(names.len(), 1, "{signal}: {names:?}");
    }
    Ok(())
}

#[tokio::test]
async fn sigterm_during_startup_exits_0() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    testbed.imds.set_behavior(Behavior::Slow(SOON * 2));
    let mut agent = testbed.start()?;
    wait::until("/livez", SOON, async || agent.get("/livez").await).await?;
    assert_eq!(agent.terminate(SOON).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn hanging_hdfs_call_does_not_delay_the_exit() -> Outcome {
    let (mut testbed, namenode) = Testbed::with_silent_namenode().await?;
    testbed.settings.set("deadlines.hdfs", "10m");
    let mut agent = testbed.start()?;
    let _connection = namenode.accept().await?;
    assert_eq!(agent.terminate(SOON).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn published_file_of_a_killed_agent_is_kept() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let mut agent = testbed.start_ready().await?;
    let before = published.text().await?;
    agent.signal(Signal::SIGKILL)?;
    assert_eq!(agent.exit_code(SOON).await?, -1);
    drop(agent);

    testbed.start_ready().await?;
    assert_eq!(published.text().await?, before, "a fresh file must not be published again");
    Ok(())
}

#[tokio::test]
async fn address_in_use_is_reported_and_waited_for() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.set("log.file", testbed.node.path("own.log").display().to_string());
    let holder = TcpListener::bind(testbed.listen()).await?;
    let mut agent = testbed.start()?;
    wait::until("the address in the log", SOON, async || {
        let text = std::fs::read_dir(testbed.node.path("")).map_err(|error| error.to_string())?.flatten();
        let logs = text.filter(|entry| entry.file_name().to_string_lossy().starts_with("own.log"));
        let text: String = logs.filter_map(|entry| std::fs::read_to_string(entry.path()).ok()).collect();
        let named = text.contains(&format!("cannot listen on {}", testbed.listen()));
        if named && text.contains("Address already in use") { Ok(()) } else { Err(text) }
    })
    .await?;
    wait::until("a token in the local file", SOON, async || {
        testbed.docker_config().map(drop).map_err(|error| error.to_string())
    })
    .await?;
    drop(holder);
    wait::until("an answer", SOON, async || agent.get("/livez").await.map(drop).map_err(|e| e.to_string()))
        .await?;
    agent.terminate(SOON).await?;
    Ok(())
}

async fn wait_for(agent: &Agent, parts: &[&str]) -> Outcome {
    shown(agent, &format!("waiting for {parts:?}"), |status| {
        let waiting_for = status["waiting_for"].to_string();
        parts.iter().all(|part| waiting_for.contains(part)).then_some(())
    })
    .await?;
    Ok(())
}
