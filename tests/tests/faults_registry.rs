//! Probes of a registry, over TLS under its real name. The agent withholds a rejected token, publishes one that is
//! accepted later, and an unreachable registry delays nothing.

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::node::{REGION, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::registry::{Registry, USER};
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, passes, recovers, shown};
use emr_ecr_agent_tests::tls::{Route, TlsProxy};
use emr_ecr_agent_tests::watch::Watch;
use jiff::SignedDuration;
use nix::sys::signal::Signal;

#[tokio::test]
async fn only_a_rejected_token_is_withheld() -> Outcome {
    if !parts::present([Part::hadoop(), Part::registry()]) {
        return Ok(());
    }
    let registry = Registry::start().await?;
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let route = Route { host: TRUSTED_REGISTRY.to_owned(), server: registry.address() };
    let proxy = TlsProxy::start(vec![route]).await?;
    testbed.use_proxy(&proxy)?;
    testbed.ecr.set_token_life(SignedDuration::from_secs(24));
    let newest = || testbed.ecr.newest(REGION).ok_or("no token issued");

    let watch = Watch::over(&testbed, &published)?;

    // The registry does not know the first token yet.
    let mut agent = testbed.start()?;
    probed(&agent, "rejected").await?;
    agent.wait_not_ready(SOON).await?;
    passes(&agent, 2).await?;
    let names = published.names().await?;
    assert!(!names.contains(&"config.json".to_owned()), "{names:?}");
    assert!(!testbed.node.docker_config().exists());
    let first = newest()?;
    accepts(&registry, &mut agent, first.password()).await?;
    published.wait_for_auth(TRUSTED_REGISTRY, &first.auth()).await?;

    // Nor does it know the second, while the first is still valid.
    probed(&agent, "rejected").await?;
    agent.wait_not_ready(SOON).await?;
    let second = newest()?;
    assert_ne!(second.auth(), first.auth());
    for document in [published.json().await?, testbed.docker_config()?] {
        assert_eq!(document["auths"][TRUSTED_REGISTRY]["auth"], first.auth(), "the valid token must stay");
    }
    accepts(&registry, &mut agent, second.password()).await?;
    published.wait_for_auth(TRUSTED_REGISTRY, &second.auth()).await?;

    drop(registry);
    probed(&agent, "unknown").await?;
    let third = newest()?;
    assert_ne!(third.auth(), second.auth());
    published.wait_for_auth(TRUSTED_REGISTRY, &third.auth()).await?;
    agent.wait_ready(SOON).await?;
    watch.end_well();
    Ok(())
}

/// Makes the registry accept this password and waits until the agent notices.
async fn accepts(registry: &Registry, agent: &mut Agent, password: &str) -> Outcome {
    registry.password_file().accept_only(USER, password)?;
    // The agent repeats the probe of a rejected token with increasing delays, which may outlast the token.
    agent.signal(Signal::SIGHUP)?;
    probed(agent, "accepted").await?;
    Ok(recovers(agent).await?)
}

/// Waits until the last probe has this outcome, and checks that the counter includes it.
async fn probed(agent: &Agent, outcome: &str) -> Outcome {
    shown(agent, outcome, |status| (status["registries"][0]["probe"] == outcome).then_some(())).await?;
    let counter =
        format!("\nemr_ecr_agent_token_probe_total{{registry=\"{TRUSTED_REGISTRY}\",result=\"{outcome}\"}} ");
    let metrics = agent.get("/metrics").await?.text();
    assert!(metrics.contains(&counter), "{outcome}: {metrics}");
    Ok(())
}
