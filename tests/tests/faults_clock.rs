//! The node's clock jumps half a day forward and back while the agent runs. No published token is dropped or expires
//! early, ECR gets no extra calls, and the agent stays ready.

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::clock::{self, WallClock};
use emr_ecr_agent_tests::ecr::Call;
use emr_ecr_agent_tests::node::{REGION, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, passes, shown};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::watch::Watch;
use jiff::{SignedDuration, Timestamp};

/// How many hours the clock runs ahead, in order.
const JUMPS: [i32; 4] = [12, -12, 12, 0];

#[tokio::test]
async fn clock_jump_changes_nothing_and_makes_no_call() -> Outcome {
    let Some(clock) = clock()? else { return Ok(()) };
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    testbed.environment = clock.environment();
    let mut agent = start_ready(&testbed).await?;
    let watch = Watch::over(&testbed, &published)?;
    let before = published.text().await?;
    for hours in JUMPS {
        clock.set_hours(hours)?;
        notices(&agent, hours).await?;
        passes(&agent, 3).await?;
        agent.wait_ready(SOON).await?;
        assert_eq!(published.text().await?, before, "{hours} h");
        assert_eq!(testbed.ecr.calls().len(), 1, "{hours} h");
    }
    watch.end_well();
    Ok(())
}

#[tokio::test]
async fn tokens_are_renewed_in_time_after_a_clock_jump() -> Outcome {
    let Some(clock) = clock()? else { return Ok(()) };
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    testbed.environment = clock.environment();
    testbed.ecr.set_token_life(SignedDuration::from_secs(16));
    let agent = start_ready(&testbed).await?;
    let watch = Watch::over(&testbed, &published)?;
    for hours in JUMPS {
        clock.set_hours(hours)?;
        notices(&agent, hours).await?;
        let before = testbed.ecr.newest(REGION).ok_or("no token issued")?;
        let calls = testbed.ecr.calls().len();
        let next = wait::until("the next token", SOON, async || match testbed.ecr.newest(REGION) {
            Some(next) if next != before => Ok(next),
            _ => Err("none yet"),
        })
        .await?;
        assert!(next.issued_at < before.expires_at, "{hours} h: renewed after its expiry");
        let document = published.wait_for_auth(TRUSTED_REGISTRY, &next.auth()).await?;
        let ends = document["emr-ecr-agent"]["expires_at"][TRUSTED_REGISTRY].as_str().ok_or("no expiry")?;
        let ends: Timestamp = ends.parse()?;
        assert_eq!(ends.as_second(), next.expires_at.as_second(), "{hours} h");
        // ECR may reject a call that is signed with the wrong time.
        let made: Vec<Call> = testbed.ecr.calls().into_iter().skip(calls).collect();
        let until_then = made.iter().filter(|call| call.at <= next.issued_at).count();
        assert!(until_then <= 2, "{hours} h: {made:?}");
    }
    watch.end_well();
    Ok(())
}

/// `None`, with a message, if a part is missing.
async fn start_ready(testbed: &Testbed) -> Outcome<Agent> {
    let agent = testbed.start_ready().await?;
    clock::unlink_shared_memory(agent.process_id().ok_or("the agent has ended")?)?;
    Ok(agent)
}

fn clock() -> Outcome<Option<WallClock>> {
    if !parts::present([Part::hadoop(), Part::kerberos()]) {
        return Ok(None);
    }
    Ok(Some(WallClock::new()?))
}

/// Waits until the status shows that the clock runs this many hours ahead.
async fn notices(agent: &Agent, hours: i32) -> Outcome {
    shown(agent, "the clock's difference", |status| {
        let skew = status["clock_skew_seconds"].as_f64()?;
        ((skew + f64::from(hours) * 3600.0).abs() < 60.0).then_some(())
    })
    .await?;
    Ok(())
}
