//! Another writer overwrites the published file in place and stops halfway, running or dead, holding the lease. The
//! agent replaces the file, and the other writer can no longer damage it.

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::hdfs::writer::{HalfWriter, Manner, is_open};
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::testbed::{Outcome, Published, SOON, Testbed, passes, recovers_until, shown};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::watch::Watch;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// More than Hadoop's client buffers, so that readers see the beginning.
const MUCH: usize = 300_000;

#[tokio::test]
async fn partial_file_is_replaced_while_its_writer_runs() -> Outcome {
    for manner in [Manner::Overwrite, Manner::Append] {
        let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
        let mut agent = testbed.start_ready().await?;
        let text = "x".repeat(MUCH);
        let (path, client) = (published.path(), published.client());
        let watch = Watch::over(&testbed, &published)?;
        agent.signal(Signal::SIGSTOP)?;
        let writer = HalfWriter::open(client, "hadoop", path, (manner, &text)).await?;
        agent.signal(Signal::SIGCONT)?;
        let healed = heal(&published, &mut agent).await?;

        let end = writer.finish(&text, SOON).await?;
        assert!(!end.success(), "{manner:?}: the other writer must fail");
        passes(&agent, 2).await?;
        assert_eq!(published.json().await?, healed, "{manner:?}");
        watch.end_truthful();
    }
    Ok(())
}

#[tokio::test]
async fn partial_file_is_replaced_after_its_writer_died() -> Outcome {
    for (manner, length) in [(Manner::Overwrite, MUCH), (Manner::Append, MUCH), (Manner::Append, 1)] {
        let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
        let mut agent = testbed.start_ready().await?;
        let text = "x".repeat(length);
        let (path, client) = (published.path(), published.client());
        let watch = Watch::over(&testbed, &published)?;
        agent.signal(Signal::SIGSTOP)?;
        drop(HalfWriter::open(client, "hadoop", path, (manner, &text)).await?);
        assert!(is_open(client, path).await?, "{manner:?}: no lease was left");
        agent.signal(Signal::SIGCONT)?;
        heal(&published, &mut agent).await?;
        watch.end_truthful();
    }
    Ok(())
}

/// While a file is open for appending, the agent's HDFS library cannot read it completely.
#[tokio::test]
async fn foreign_entries_outlast_an_appending_writer() -> Outcome {
    for restart in [false, true] {
        let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
        let mut agent = testbed.start_ready().await?;
        let mut document = published.json().await?;
        document["auths"]["hub.example.com"] = json!({ "auth": "aHViOmh1Yg==" });
        published.put(&document.to_string()).await?;
        let (path, client) = (published.path(), published.client());
        published.shell(&["-chown", "hadoop", path]).await?;
        shown(&agent, "the other entry", |status| {
            let mut sinks = status["sinks"].as_array()?.iter();
            sinks.any(|sink| sink["other_entries"] == json!(["hub.example.com"])).then_some(())
        })
        .await?;

        agent.signal(if restart { Signal::SIGKILL } else { Signal::SIGSTOP })?;
        let writer = HalfWriter::open(client, "hadoop", path, (Manner::Append, "x")).await?;
        if restart {
            agent = testbed.start()?;
        } else {
            agent.signal(Signal::SIGCONT)?;
        }
        is_closed(&published).await?;
        let healed = heal(&published, &mut agent).await?;
        assert_eq!(healed["auths"], document["auths"], "restart: {restart}");
        drop(writer);
    }
    Ok(())
}

/// Waits until the file has a credential again and is closed; returns its content.
async fn heal(published: &Published, agent: &mut Agent) -> Outcome<Value> {
    recovers_until(agent, async || {
        let document = published.json().await.map_err(|error| error.to_string())?;
        let entry = &document["auths"][TRUSTED_REGISTRY]["auth"];
        if entry.is_string() { Ok(()) } else { Err("no entry".to_owned()) }
    })
    .await?;
    is_closed(published).await?;
    Ok(published.json().await?)
}

/// Waits until the agent has ended the other writer's lease. The agent notices an open file only when it reads the
/// content, on every other pass, and waits another pass in case the writer finishes.
async fn is_closed(published: &Published) -> Outcome {
    let closed = wait::until("the end of the lease", SOON, async || {
        match is_open(published.client(), published.path()).await {
            Ok(false) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    Ok(closed.await?)
}
