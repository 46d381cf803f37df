//! What happens to the source of the node's identity, besides what `starting_and_stopping.rs` and `ecr.rs` show:
//! whatever it is, tokens that live stay, and the next ones come once the cause is gone.

use emr_ecr_agent_tests::ecr::Fault;
use emr_ecr_agent_tests::imds::Behavior;
use emr_ecr_agent_tests::node::{AwsEndpoints, REGION, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::ports::Port;
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, token_error};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::watch::Watch;
use futures_util::future::try_join_all;
use jiff::SignedDuration;

/// What becomes of the instance metadata service while a token lives.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Absent,
    Slow,
    NoRole,
    /// It hands out credentials that ECR refuses for their age.
    Expired,
}

#[tokio::test]
async fn a_living_token_outlasts_the_trouble_and_the_next_comes_after_it() -> Outcome {
    try_join_all([Trouble::Absent, Trouble::Slow, Trouble::NoRole, Trouble::Expired].map(check)).await?;
    Ok(())
}

async fn check(trouble: Trouble) -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.set("deadlines.ecr", "2s");
    testbed.ecr.set_token_life(SignedDuration::from_secs(20));
    let good = AwsEndpoints { ecr: testbed.ecr.address(), imds: testbed.imds.address() };
    let nobody = Port::reserve()?;
    let agent = testbed.start()?;
    testbed.wait_for_docker_config(|_| true).await?;
    let first = testbed.ecr.newest(REGION).ok_or("no token issued")?;
    let watch = Watch::over_local(&testbed)?;

    match trouble {
        Trouble::Absent => {
            testbed.node.write_aws_config(AwsEndpoints { imds: nobody.address(), ..good })?;
        }
        Trouble::Slow => testbed.imds.set_behavior(Behavior::Slow(SOON * 2)),
        Trouble::NoRole => testbed.imds.set_behavior(Behavior::NoRole),
        Trouble::Expired => {
            testbed.imds.set_behavior(Behavior::ExpiredCredentials);
            testbed.ecr.fail_always(Fault::ExpiredCredentials);
        }
    }
    let error = token_error(&agent).await?;
    assert!(!error.is_empty());
    let kept = &testbed.docker_config()?["auths"][TRUSTED_REGISTRY]["auth"];
    assert_eq!(*kept, first.auth(), "{trouble:?}: what lives stays");

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
