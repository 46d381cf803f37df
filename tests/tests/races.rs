//! Fifty agents on one real HDFS share the renewals, and never replace a token with one that expires sooner.

use std::process::Stdio;

use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::process;
use emr_ecr_agent_tests::readers::{Bad, Readers};
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed};
use emr_ecr_agent_tests::wait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

const AGENTS: u32 = 50;
const TOKEN_LIFE: SignedDuration = SignedDuration::from_secs(16);
/// How many seconds the agents run, with one pass every two seconds.
const SPAN: u32 = 32;

#[tokio::test]
async fn fifty_agents_write_once_a_period_and_never_go_back() -> Outcome {
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    testbed.ecr.set_token_life(TOKEN_LIFE);
    testbed.settings.set("discover_registries", false).registry(TRUSTED_REGISTRY, &[]);
    testbed.write_settings()?;
    let mut agents = process::bound_to_parent(env!("CARGO_BIN_EXE_bench").as_ref());
    let span = SPAN.to_string();
    agents.arg("clients").arg(testbed.node.agent_toml()).args([&AGENTS.to_string(), "2", &span]);
    agents.env_clear().env("HOME", testbed.node.home_dir()).envs(testbed.environment.iter().cloned());
    agents.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut agents = tokio::process::Command::from(agents).kill_on_drop(true).spawn()?;

    wait::until("a first document", SOON, async || published.json().await.map_err(|e| e.to_string())).await?;
    let uri = published.client().uri(published.path());
    let mut readers = Readers::start(published.client(), &uri, 1, &[TRUSTED_REGISTRY])?;
    let mut last = Timestamp::MIN;
    while agents.try_wait()?.is_none() {
        let expires_at = published.json().await?["emr-ecr-agent"]["expires_at"][TRUSTED_REGISTRY].clone();
        let expires_at: Timestamp = expires_at.as_str().ok_or("no expiry")?.parse()?;
        assert!(expires_at >= last, "{expires_at} after {last}");
        last = expires_at;
    }
    let seen = readers.seen().await?;
    // On an overloaded machine a token of seconds may expire before its successor arrives; the simulation, where
    // time costs nothing, shows that it arrives in time.
    let bad = Bad { expired: 0, ..seen.bad };
    assert_eq!(bad, Bad::default(), "{seen:?}");
    assert!(seen.reads > 10, "{seen:?}");

    let output = agents.wait_with_output().await?;
    let totals: Value = serde_json::from_slice(&output.stdout)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Agents renew tokens at half of their life: four periods, plus the first document.
    let most = 2 * (u64::from(SPAN) / 8 + 1);
    let calls = testbed.ecr.calls().len() as u64;
    assert!((2..=most).contains(&calls), "{calls} calls, {totals}");
    assert!(totals["writes"].as_u64().is_some_and(|writes| (2..=most).contains(&writes)), "{totals}");
    Ok(())
}
