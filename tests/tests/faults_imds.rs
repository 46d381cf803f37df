//! What happens to the source of the node's identity, besides what `starting_and_stopping.rs` and `ecr.rs` show:
//! whatever it is, tokens that live stay, and the next ones come once the cause is gone.

use emr_ecr_agent_tests::ecr::Fault;
use emr_ecr_agent_tests::imds::Mood;
use emr_ecr_agent_tests::node::{AwsEndpoints, REGION, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::ports::Port;
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Scene, token_error};
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
    let mut scene = Scene::without_hdfs().await?;
    scene.settings.set("deadlines.ecr", "2s");
    scene.ecr.set_token_life(SignedDuration::from_secs(20));
    let good = AwsEndpoints { ecr: scene.ecr.address(), imds: scene.imds.address() };
    let nobody = Port::reserve()?;
    let agent = scene.start()?;
    scene.wait_for_docker_config(|_| true).await?;
    let first = scene.ecr.newest(REGION).ok_or("no token issued")?;
    let watch = Watch::over_local(&scene)?;

    match trouble {
        Trouble::Absent => {
            scene.node.write_aws_config(AwsEndpoints { imds: nobody.address(), ..good })?;
        }
        Trouble::Slow => scene.imds.set_mood(Mood::Slow(SOON * 2)),
        Trouble::NoRole => scene.imds.set_mood(Mood::NoRole),
        Trouble::Expired => {
            scene.imds.set_mood(Mood::ExpiredCredentials);
            scene.ecr.fail_always(Fault::ExpiredCredentials);
        }
    }
    let error = token_error(&agent).await?;
    assert!(!error.is_empty());
    let kept = &scene.docker_config()?["auths"][TRUSTED_REGISTRY]["auth"];
    assert_eq!(*kept, first.auth(), "{trouble:?}: what lives stays");

    scene.imds.set_mood(Mood::Good);
    scene.ecr.heal();
    scene.node.write_aws_config(good)?;
    wait::until("the next token", SOON, async || {
        let newest = scene.ecr.newest(REGION).map(|token| token.auth());
        if newest.is_some_and(|newest| newest != first.auth()) { Ok(()) } else { Err("none yet") }
    })
    .await?;
    scene.wait_for_docker_config(|_| true).await?;
    watch.end_truthful();
    Ok(())
}
