//! What happens to HDFS, and what becomes of the published file: whatever the fault, no reader sees a bad file, the
//! file is healed within two intervals once the cause is gone, and health does not claim otherwise meanwhile.

use emr_ecr_agent_tests::hdfs::HaHdfs;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::readers::{Bad, Readers};
use emr_ecr_agent_tests::scene::{Cured, Outcome, Published, SOON, Scene};
use emr_ecr_agent_tests::wait;
use jiff::SignedDuration;

#[tokio::test]
async fn a_failover_is_survived_while_publishing() -> Outcome {
    if !parts::present([Part::hdfs()]) {
        return Ok(());
    }
    let mut hdfs = HaHdfs::start().await?;
    let published = Published::on(hdfs.client().clone(), "/user/hadoop");
    let mut scene = Scene::publishing(&published).await?;
    // Due at each pass, and alive for longer than the cluster has no active NameNode.
    scene.ecr.set_token_life(SignedDuration::from_secs(60));
    scene.settings.set("refresh.share", 0.1).set("deadlines.hdfs", "5s");
    let mut agent = scene.start_ready().await?;
    let uri = published.client().uri(published.path());
    let mut readers = Readers::start(published.client(), &uri, 1, &[TRUSTED_REGISTRY])?;
    wait::until("a good read", SOON, async || match readers.seen().await {
        Ok(seen) if seen.reads > seen.bad.total() => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await?;

    hdfs.kill_active();
    agent.wait_not_ready(SOON).await?;
    hdfs.activate_standby().await?;
    let cured = Cured::now(&agent).await?;
    let newest = || scene.ecr.newest("us-east-1").map(|token| token.auth()).unwrap_or_default();
    let at_failover = newest();
    cured.heals(&mut agent, async || Ok(())).await?;
    wait::until("a later token in the file", SOON, async || {
        let document = published.json().await.map_err(|error| error.to_string())?;
        let auth = document["auths"][TRUSTED_REGISTRY]["auth"].clone();
        if auth == newest() && auth != at_failover { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await?;
    let seen = readers.seen().await?;
    assert_eq!(seen.bad, Bad::default(), "{:?}", seen.examples);
    Ok(())
}
