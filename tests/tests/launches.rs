//! What users do, on a real YARN cluster with Docker: containers of private images, launched by a NodeManager with the
//! published file. Its answer is the last word on what the agent does.

use emr_ecr_agent_tests::node::{AwsEndpoints, REGION, Settings, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::ports::Port;
use emr_ecr_agent_tests::registry::Registry;
use emr_ecr_agent_tests::scene::{Outcome, Published, SOON, TWELVE_HOURS};
use emr_ecr_agent_tests::yarn_cluster::{self, Launch, YarnCluster};
use emr_ecr_agent_tests::{ecr::Ecr, imds::Imds};
use nix::sys::signal::Signal;

/// Tells that the container itself has run.
const RAN: &str = "exit 77";

#[tokio::test]
async fn private_images_launch_with_every_token_and_a_copy_made_once_fails() -> Outcome {
    if !yarn_cluster::can_run() {
        return Ok(());
    }
    let published = Published::shared("hadoop", "0755").await?;
    let registry = Registry::start_with_shell().await?;
    let cluster = YarnCluster::start(published.client(), 1, &[&registry.host()]).await?;
    let node = &cluster.nodes()[0];
    assert_eq!(cluster.launch(&Launch::plain(RAN)).await?.exit_code, Some(77));

    let (ecr, imds) = (Ecr::start(TWELVE_HOURS).await?, Imds::start(REGION).await?);
    registry.follow(&ecr);
    node.files().write_aws_config(AwsEndpoints { ecr: ecr.address(), imds: imds.address() })?;
    let port = Port::reserve()?;
    let mut settings = Settings::of(node.files(), published.path(), port.address());
    settings.set("hadoop.conf_dir", "/etc/hadoop/conf").registry(TRUSTED_REGISTRY, &[&registry.host()]);
    node.files().write_settings(&settings)?;
    let mut agent = node.start_agent(port.address())?;
    agent.wait_ready(SOON).await?;

    let launch = |uri: &str| Launch::docker(&registry.image(), RAN).client_config(uri);
    let uri = published.client().uri(published.path());
    let launched = cluster.launch(&launch(&uri)).await?;
    assert_eq!(launched.exit_code, Some(77), "{}", launched.diagnostics);
    let copy = published.beside("copy.json");
    published.shell(&["-cp", published.path(), &copy]).await?;

    let first = ecr.newest(REGION).ok_or("no token was issued")?;
    imds.set_role("replaced");
    agent.signal(Signal::SIGHUP)?;
    ecr.wait_for_calls(2, SOON).await?;
    let second = ecr.newest(REGION).ok_or("no token was issued")?;
    assert_ne!(first.password(), second.password());
    published.wait_for_auth(&registry.host(), &second.auth()).await?;

    node.remove_image(&registry.image()).await?;
    let failed = cluster.launch(&launch(&published.client().uri(&copy))).await?;
    assert_eq!(failed.exit_code, Some(7), "{}", failed.diagnostics);
    let dockers_words = "docker: Error response from daemon: unauthorized: authentication required";
    assert!(failed.diagnostics.contains(dockers_words), "{}", failed.diagnostics);
    let launched = cluster.launch(&launch(&uri)).await?;
    assert_eq!(launched.exit_code, Some(77), "{}", launched.diagnostics);
    assert!(!node.node_manager_log().contains(second.password()));
    Ok(())
}
