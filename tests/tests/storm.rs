//! A short `make storm`, with only the agents, and tokens that last long enough on a busy machine.

use emr_ecr_agent_tests::storm::{Publisher, Storm};
use emr_ecr_agent_tests::testbed::Outcome;
use emr_ecr_agent_tests::yarn_cluster;
use jiff::SignedDuration;

#[tokio::test]
async fn every_launch_finds_a_token_that_lives() -> Outcome {
    if !yarn_cluster::can_run() {
        return Ok(());
    }
    let storm = Storm::start(SignedDuration::from_secs(30)).await?;
    let report = storm.launch(Publisher::Agents, 16).await?;
    assert!(report.is_calm(), "{report}\n{}", report.failures().collect::<Vec<_>>().join("\n"));
    assert_eq!(report.refused, 0);
    Ok(())
}
