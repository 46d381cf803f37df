//! How the agent starts on a node that is not ready for it, and how it ends.

use std::fs;

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::imds::Behavior;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, shown, token_error};
use emr_ecr_agent_tests::wait;
use nix::sys::signal::Signal;
use tokio::net::TcpListener;

#[tokio::test]
async fn an_unprovisioned_node_is_waited_for() -> Outcome {
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

    // Things appear one after another, as bootstrap actions and Hadoop's own start have it.
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
async fn metadata_that_never_answers_is_an_error_within_the_deadline() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.set("deadlines.ecr", "2s");
    testbed.imds.set_behavior(Behavior::Slow(SOON * 2));
    let agent = testbed.start()?;
    let error = token_error(&agent).await?;
    assert!(error.contains("credentials"), "what was waited for is to be named: {error}");
    Ok(())
}

#[tokio::test]
async fn both_signals_end_it_well() -> Outcome {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
        let mut agent = testbed.start_ready().await?;
        agent.signal(signal)?;
        assert_eq!(agent.exit_code(SOON).await?, 0, "{signal}");
        assert!(agent.log_text().contains("stopped"), "{signal}");
        assert_eq!(published.names().await?, ["config.json"], "{signal}");
        let names: Vec<_> = fs::read_dir(testbed.node.path("root/.docker"))?.collect::<Result<_, _>>()?;
        assert_eq!(names.len(), 1, "{signal}: {names:?}");
    }
    Ok(())
}

#[tokio::test]
async fn it_ends_well_before_all_is_in_place() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    testbed.imds.set_behavior(Behavior::Slow(SOON * 2));
    let mut agent = testbed.start()?;
    wait::until("/livez", SOON, async || agent.get("/livez").await).await?;
    assert_eq!(agent.terminate(SOON).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_visit_that_hangs_does_not_hold_up_the_end() -> Outcome {
    let (mut testbed, namenode) = Testbed::with_silent_namenode().await?;
    testbed.settings.set("deadlines.hdfs", "10m");
    let mut agent = testbed.start()?;
    let _connection = namenode.accept().await?;
    assert_eq!(agent.terminate(SOON).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn what_a_killed_agent_left_is_taken_over() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let mut agent = testbed.start_ready().await?;
    let before = published.text().await?;
    agent.signal(Signal::SIGKILL)?;
    assert_eq!(agent.exit_code(SOON).await?, -1);
    drop(agent);

    testbed.start_ready().await?;
    assert_eq!(published.text().await?, before, "what is fresh needs no second publishing");
    Ok(())
}

#[tokio::test]
async fn an_address_in_use_is_named() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    let holder = TcpListener::bind("127.0.0.1:0").await?;
    let taken = holder.local_addr()?;
    testbed.settings.set("health.listen", taken.to_string());
    let finished = testbed.run(&["run"]).await?;
    assert_eq!(finished.code, 1, "{}", finished.err);
    assert!(finished.err.contains(&format!("cannot listen on {taken}")), "{}", finished.err);
    assert!(finished.err.contains("Address already in use"), "{}", finished.err);
    assert!(testbed.ecr.calls().is_empty());
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
