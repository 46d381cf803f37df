//! Faults of the agent's own process: killed at any step of a write, stopped, its endpoint flooded.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::mpsc;
use std::time::Duration;

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::ecr::Fault;
use emr_ecr_agent_tests::http;
use emr_ecr_agent_tests::node::{REGION, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, docker_config_fresh, passes, shown, token_error};
use emr_ecr_agent_tests::tracer::{Rights, Step, trace};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::watch::Watch;
use futures_util::future::try_join_all;
use hyper::StatusCode;
use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// All steps of a write.
const STEPS: [Step; 7] =
    [Step::Create, Step::SetOwner, Step::SetMode, Step::Write, Step::Sync, Step::Rename, Step::SyncDirectory];
const BEFORE: &str = r#"{"auths":{"hub.example.com":{"auth":"aHViOmh1Yg=="}}}"#;

#[tokio::test]
async fn agent_killed_at_any_step_leaves_a_complete_local_file() -> Outcome {
    if !may_trace() {
        return Ok(());
    }
    try_join_all((0..STEPS.len()).map(check_kill)).await?;
    Ok(())
}

async fn check_kill(index: usize) -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    let agent = about_to_write(&mut testbed, own_rights()).await?;
    let watch = Watch::over_local(&testbed)?;
    let (directory, process) = (testbed.node.path("root/.docker"), process_id(&agent)?);
    let tracing = spawn_blocking(move || trace(process, &directory, |tracer| tracer.kill_at(index)));
    wait_until_traced(process).await?;
    testbed.ecr.heal();
    tracing.await??;
    drop(agent);

    let step = STEPS[index];
    let left = testbed.docker_config()?;
    assert_eq!(left["auths"]["hub.example.com"]["auth"], "aHViOmh1Yg==", "{step:?}");
    let renamed = step == Step::SyncDirectory;
    assert_eq!(left["auths"][TRUSTED_REGISTRY]["auth"].is_string(), renamed, "{step:?}");
    for entry in fs::read_dir(testbed.node.path("root/.docker"))? {
        let entry = entry?;
        let mode = entry.metadata()?.permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600, "{step:?}: {}", entry.path().display());
    }

    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;
    let healed = testbed.docker_config()?;
    assert_eq!(healed["auths"]["hub.example.com"]["auth"], "aHViOmh1Yg==", "{step:?}");
    assert!(healed["auths"][TRUSTED_REGISTRY]["auth"].is_string(), "{step:?}");
    watch.end_well();
    Ok(())
}

#[tokio::test]
async fn secret_files_have_mode_and_owner_before_content() -> Outcome {
    if !may_trace() {
        return Ok(());
    }
    // Another owner, and group-readable.
    let given = Rights { mode: 0o640, user: 4321, group: 1234 };
    for rights in [own_rights(), given] {
        let mut testbed = Testbed::without_hdfs().await?;
        let agent = about_to_write(&mut testbed, rights).await?;
        let (directory, process) = (testbed.node.path("root/.docker"), process_id(&agent)?);
        let tracing = spawn_blocking(move || trace(process, &directory, |tracer| tracer.record(rights)));
        wait_until_traced(process).await?;
        testbed.ecr.heal();
        assert_eq!(tracing.await??, STEPS);
        docker_config_fresh(&agent).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_disk_that_hangs_silences_nothing() -> Outcome {
    if !may_trace() {
        return Ok(());
    }
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.set("deadlines.files", "2s");
    let mut agent = about_to_write(&mut testbed, own_rights()).await?;
    let (directory, process) = (testbed.node.path("root/.docker"), process_id(&agent)?);
    let (release, released) = mpsc::channel();
    let (held, hangs) = oneshot::channel();
    let tracing = spawn_blocking(move || {
        let held = || {
            let _ = held.send(());
        };
        trace(process, &directory, move |tracer| tracer.hold_at(Step::Sync, held, &released))
    });
    wait_until_traced(process).await?;
    testbed.ecr.heal();
    timeout(SOON, hangs).await??;

    assert_eq!(agent.get("/livez").await?.status, StatusCode::OK);
    shown(&agent, "the call that hangs", |status| {
        let error = status["sinks"][0]["error"].as_str()?;
        error.contains("an earlier file operation or name lookup is still blocked").then_some(())
    })
    .await?;
    assert!(agent.log_text().contains("within 2s"));
    assert_eq!(agent.get("/livez").await?.status, StatusCode::OK);
    let passed = passes(&agent, 2).await;
    drop(release);
    tracing.await??;
    passed?;
    docker_config_fresh(&agent).await?;
    assert_eq!(agent.terminate(SOON).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_thousand_connections_block_nothing() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;
    let silent = try_join_all((0..1_000).map(|_| TcpStream::connect(agent.address()))).await?;
    let auth = |testbed: &Testbed| testbed.docker_config().map(|config| config["auths"].clone());
    let before = auth(&testbed)?;
    testbed.node.write("root/.docker/config.json", "{}")?;
    wait::until("the healed file", SOON, async || match auth(&testbed) {
        Ok(now) if now == before => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    drop(silent);
    wait::until("/livez", SOON, async || http::get(agent.address(), "/livez").await).await?;
    Ok(())
}

#[tokio::test]
async fn process_stopped_past_token_expiry_recovers() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    testbed.ecr.set_token_life(SignedDuration::from_secs(6));
    let mut agent = testbed.start_ready().await?;
    let watch = Watch::over(&testbed, &published)?;
    agent.signal(Signal::SIGSTOP)?;
    let last = testbed.ecr.newest(REGION).ok_or("no token issued")?;
    wait::until("the end of the token", SOON, async || {
        if last.expires_at < Timestamp::now() { Ok(()) } else { Err("it is still valid") }
    })
    .await?;
    let answer = timeout(Duration::from_secs(1), agent.get("/readyz")).await;
    assert!(!answer.is_ok_and(|answer| answer.is_ok()), "a stopped agent must not answer");

    agent.signal(Signal::SIGCONT)?;
    wait::until("a later token", SOON, async || match testbed.ecr.newest(REGION) {
        Some(newest) if newest.issued_at > last.expires_at => Ok(()),
        _ => Err("none yet"),
    })
    .await?;
    agent.wait_ready(SOON).await?;
    let document = published.json().await?;
    assert_ne!(document["auths"][TRUSTED_REGISTRY]["auth"], last.auth());
    watch.end_truthful();
    Ok(())
}

/// A running agent without a token, and a Docker config with these rights, which are also the configured ones.
async fn about_to_write(testbed: &mut Testbed, rights: Rights) -> Outcome<Agent> {
    let Rights { mode, user, group } = rights;
    let path = testbed.node.docker_config();
    testbed.settings.local_rights(&path, &format!("{mode:04o}"), &format!("{user}:{group}"));
    testbed.node.write("root/.docker/config.json", BEFORE)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    chown(&path, Some(user), Some(group))?;
    testbed.ecr.fail_always(Fault::ServerError);
    let agent = testbed.start()?;
    token_error(&agent).await?;
    Ok(agent)
}

/// The token must not arrive before the tracer is attached.
async fn wait_until_traced(process: u32) -> Outcome {
    wait::until("the tracer", SOON, async || {
        let status =
            fs::read_to_string(format!("/proc/{process}/status")).map_err(|error| error.to_string())?;
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map(str::trim);
        if tracer.is_some_and(|tracer| tracer != "0") { Ok(()) } else { Err(format!("{tracer:?}")) }
    })
    .await?;
    Ok(())
}

fn own_rights() -> Rights {
    Rights { mode: 0o600, user: geteuid().as_raw(), group: getegid().as_raw() }
}

fn process_id(agent: &Agent) -> Outcome<u32> {
    Ok(agent.process_id().ok_or("the agent has ended")?)
}

fn may_trace() -> bool {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only root may trace a process that leaves no core files");
    }
    geteuid().is_root()
}
