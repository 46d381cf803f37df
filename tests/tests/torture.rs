//! A short `make torture`, with fewer agents and readers.

use std::time::Duration;

use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::testbed::Outcome;
use emr_ecr_agent_tests::torture::{self, Bar, Plan};
use jiff::SignedDuration;

#[tokio::test]
async fn no_reader_sees_a_bad_file() -> Outcome {
    if !parts::present([Part::hadoop()]) {
        return Ok(());
    }
    let (length, comparison) = (Duration::from_secs(15), Duration::from_secs(1));
    // Low, since other tests run in parallel.
    let bar = Bar { reads: 1_000, publishes: 5 };
    let token_life = SignedDuration::from_secs(60);
    let plan = Plan { length, bar, token_life, comparison, agents: 3, readers: 2 };
    let report = torture::run(plan).await?;
    let faults = report.faults(bar);
    assert!(faults.is_empty(), "{faults:?}\n{report}");
    Ok(())
}

#[tokio::test]
async fn what_mallory_plants_is_gone_in_the_end() -> Outcome {
    if !parts::present([Part::hadoop()]) {
        return Ok(());
    }
    // How long each plant lives depends mostly on this machine; `make torture` checks it.
    let attack = torture::attack(Duration::from_secs(15), 2).await?;
    assert!(!attack.planted.is_empty(), "{attack}");
    assert!(attack.most_calls_a_minute <= 2, "{attack}");
    Ok(())
}
