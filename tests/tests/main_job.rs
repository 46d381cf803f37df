//! The main job end to end, on real parts: ECR's tokens reach docker through HDFS and YARN's own class, and pull an
//! image until the next token replaces them.

use emr_ecr_agent_tests::ecr::Issued;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::registry::Registry;
use emr_ecr_agent_tests::skopeo;
use emr_ecr_agent_tests::testbed::{Outcome, Published, SOON, Testbed};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::yarn::{HandOver, Launch, YarnReader};
use jiff::SignedDuration;

#[tokio::test]
async fn each_token_reaches_docker_and_pulls_until_replaced() -> Outcome {
    if !parts::present([Part::hadoop(), Part::registry()]) {
        return Ok(());
    }
    let registry = Registry::start().await?;
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    registry.follow(&testbed.ecr);
    testbed.ecr.set_token_life(SignedDuration::from_secs(30));
    testbed.settings.registry(TRUSTED_REGISTRY, &[&registry.host()]);
    let mut yarn = YarnReader::start(published.client())?;
    // The JVM starts before the first token, of which it must see the file.
    let uri = published.client().uri(published.path());
    assert!(matches!(yarn.launch(&uri).await?, Launch::Failed { .. }), "there is no file yet");
    let mut agent = testbed.start()?;

    let mut issued = testbed.ecr.issued();
    let mut before: Option<HandOver> = None;
    for _ in 0..2 {
        let token = wait::until("the next token", SOON, async || match issued.has_changed() {
            Ok(true) => issued.borrow_and_update().clone().ok_or("none yet"),
            _ => Err("no new one yet"),
        })
        .await?;
        let handed = handed_over(&mut yarn, &published, &registry.host(), &token).await?;
        assert_eq!(handed.registries().collect::<Vec<_>>(), names_in_order(&registry.host()));
        assert_eq!(handed.auth(TRUSTED_REGISTRY), Some(token.auth().as_str()));
        let report = skopeo::inspect(&registry.image(), &handed.config_json).await?;
        assert_eq!(report["Labels"]["sandbox"], "emr-ecr-agent");
        agent.wait_ready(SOON).await?;
        let pulled = skopeo::inspect(&registry.image(), &testbed.node.docker_config()).await?;
        assert_eq!(pulled["Digest"], report["Digest"]);

        if let Some(before) = before.replace(handed) {
            let refused = skopeo::inspect(&registry.image(), &before.config_json).await;
            assert!(matches!(refused, Err(skopeo::Error::Refused { .. })), "{refused:?}");
        }
    }
    Ok(())
}

/// A NodeManager keeps launching while the agent renews: no launch may fail or lack a credential.
#[tokio::test]
async fn no_launch_fails_during_renewal() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    testbed.ecr.set_token_life(SignedDuration::from_secs(4));
    let mut yarn = YarnReader::start(published.client())?;
    let _agent = testbed.start_ready().await?;
    let uri = published.client().uri(published.path());
    let mut seen = Vec::new();
    wait::until("four tokens handed over", SOON, async || {
        let launch = yarn.launch(&uri).await;
        let handed = match launch {
            Ok(Launch::Handed(handed)) => handed,
            // HDFS deletes a replaced file's blocks, even before a stalled reader has read them.
            Ok(Launch::Failed { class, .. }) if class.ends_with("BlockMissingException") => {
                return Err(class);
            }
            failed => return Ok(Err(format!("a launch failed: {failed:?}"))),
        };
        let Some(auth) = handed.auth(TRUSTED_REGISTRY).map(str::to_owned) else {
            return Ok(Err("a launch got no credential".to_owned()));
        };
        if seen.last() != Some(&auth) {
            seen.push(auth);
        }
        if seen.len() >= 4 { Ok(Ok(())) } else { Err(format!("{} so far", seen.len())) }
    })
    .await??;
    let mut distinct = seen.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), seen.len(), "a token came back after its successor");
    Ok(())
}

/// Repeats a launch until YARN passes `token` to docker for both names of the registry.
async fn handed_over(
    yarn: &mut YarnReader,
    published: &Published,
    alias: &str,
    token: &Issued,
) -> Result<HandOver, wait::TimedOut> {
    let uri = published.client().uri(published.path());
    wait::until("the token at a launch", SOON, async || match yarn.launch(&uri).await {
        Ok(Launch::Handed(handed)) => {
            let has = |name| handed.password(name).as_deref() == Some(token.password());
            if has(TRUSTED_REGISTRY) && has(alias) { Ok(handed) } else { Err("another or none".to_owned()) }
        }
        Ok(Launch::Failed { class, message }) => Err(format!("{class}: {message}")),
        Err(error) => Err(error.to_string()),
    })
    .await
}

fn names_in_order(alias: &str) -> [&str; 2] {
    let mut names = [TRUSTED_REGISTRY, alias];
    names.sort();
    names
}
