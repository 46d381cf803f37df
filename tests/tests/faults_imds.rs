//! Faults of the instance metadata service while a token is valid; `starting_and_stopping.rs` and `ecr.rs` have
//! others. Valid tokens stay, and new ones arrive once the fault is gone.

use emr_ecr_agent_tests::ecr::Fault;
use emr_ecr_agent_tests::imds::Behavior;
use emr_ecr_agent_tests::node::{AwsEndpoints, REGION, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::ports::Port;
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, token_error};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::watch::Watch;
use futures_util::future::try_join_all;
use jiff::SignedDuration;

/// The fault of the instance metadata service.
#[derive(Debug, Clone, Copy)]
enum ImdsFault {
    Absent,
    Slow,
    NoRole,
    /// The credentials in the metadata have expired.
    Expired,
}

#[tokio::test]
async fn valid_token_outlasts_an_imds_fault() -> Outcome {
    try_join_all([ImdsFault::Absent, ImdsFault::Slow, ImdsFault::NoRole, ImdsFault::Expired].map(check))
        .await?;
    Ok(())
}

async fn check(fault: ImdsFault) -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.set("deadlines.ecr", "2s");
    testbed.ecr.set_token_life(SignedDuration::from_secs(20));
    let good = AwsEndpoints { ecr: testbed.ecr.address(), imds: testbed.imds.address() };
    let nobody = Port::reserve()?;
    let agent = testbed.start()?;
    testbed.wait_for_docker_config(|_| true).await?;
    let first = testbed.ecr.newest(REGION).ok_or("no token issued")?;
    let watch = Watch::over_local(&testbed)?;

    match fault {
        ImdsFault::Absent => {
            testbed.node.write_aws_config(AwsEndpoints { imds: nobody.address(), ..good })?;
        }
        ImdsFault::Slow => testbed.imds.set_behavior(Behavior::Slow(SOON * 2)),
        ImdsFault::NoRole => testbed.imds.set_behavior(Behavior::NoRole),
        ImdsFault::Expired => {
            testbed.imds.set_behavior(Behavior::ExpiredCredentials);
            testbed.ecr.fail_always(Fault::ExpiredCredentials);
        }
    }
    let error = token_error(&agent).await?;
    assert!(!error.is_empty());
    let kept = &testbed.docker_config()?["auths"][TRUSTED_REGISTRY]["auth"];
    assert_eq!(*kept, first.auth(), "{fault:?}: the valid token must stay");

    testbed.imds.set_behavior(Behavior::Normal);
    testbed.ecr.heal();
    testbed.node.write_aws_config(good)?;
    wait::until("the next token", SOON, async || {
        let newest = testbed.ecr.newest(REGION).map(|token| token.auth());
        if newest.is_some_and(|newest| newest != first.auth()) { Ok(()) } else { Err("none yet") }
    })
    .await?;
    testbed.wait_for_docker_config(|_| true).await?;
    watch.end_truthful();
    Ok(())
}
