//! Launches on a cluster with Kerberos, privacy on every connection and encrypted data transfer: the agent publishes
//! with its keytab, and the NodeManager reads the file as its own principal.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use emr_ecr_agent_tests::hdfs::Hdfs;
use emr_ecr_agent_tests::kerberos::{AGENT, Realm};
use emr_ecr_agent_tests::node::{AwsEndpoints, REGION, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::registry::Registry;
use emr_ecr_agent_tests::testbed::{Outcome, SOON, TWELVE_HOURS, provoke_pass};
use emr_ecr_agent_tests::yarn_cluster::{self, Launch, YarnCluster};
use emr_ecr_agent_tests::{ecr::Ecr, imds::Imds};

/// Proves that the container itself has run.
const RAN: &str = "exit 77";
const DIRECTORY: &str = "/user/hadoop";
const FILE: &str = "/user/hadoop/config.json";
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn private_images_launch_with_kerberos() -> Outcome {
    if !yarn_cluster::can_run() || !parts::present([Part::kerberos()]) {
        return Ok(());
    }
    let realm = Realm::start(A_DAY).await?;
    let hdfs = Hdfs::start_in(&realm).await?;
    let registry = Registry::start_with_shell().await?;
    let cluster = YarnCluster::start_in(&realm, hdfs.client(), &[&registry.host()]).await?;
    let node = &cluster.nodes()[0];
    let (ecr, imds) = (Ecr::start(TWELVE_HOURS).await?, Imds::start(REGION).await?);
    registry.follow(&ecr);
    node.files().write_aws_config(AwsEndpoints { ecr: ecr.address(), imds: imds.address() })?;
    let keytab = node.files().path("agent.keytab");
    fs::copy(realm.agent_keytab(), &keytab)?;
    fs::set_permissions(&keytab, fs::Permissions::from_mode(0o400))?;
    let mut settings = node.settings(FILE);
    settings.registry(TRUSTED_REGISTRY, &[&registry.host()]);
    settings.set("published.principal", AGENT).set("published.keytab", keytab.display().to_string());
    // The NodeManager's user is in the group, alice is not.
    settings.set("published.mode", "0640").set("published.group", "hadoop");
    let mut agent = node.start_agent(&settings)?;
    agent.wait_ready(SOON).await?;

    let launch = || Launch::docker(&registry.image(), RAN).client_config(&hdfs.client().uri(FILE));
    let launched = cluster.launch(&launch()).await?;
    assert_eq!(launched.exit_code, Some(77), "{}", launched.diagnostics);

    let tickets = realm.alices_tickets()?;
    let read = hdfs.client().try_fs_shell_by(&tickets, &["-cat", FILE]).await?;
    assert!(read.code != 0 && read.out.is_empty(), "{read:?}");
    assert!(read.err.contains("Permission denied: user=alice, access=READ"), "{}", read.err);
    let nobodys = node.files().path("no.tickets");
    let read = hdfs.client().try_fs_shell_by(&nobodys, &["-cat", FILE]).await?;
    assert!(read.code != 0 && read.out.is_empty(), "{read:?}");
    assert!(read.err.contains("Client cannot authenticate via:[TOKEN, KERBEROS]"), "{}", read.err);
    // A launch requires read permission for the NodeManager, not for the job's user.
    node.remove_image(&registry.image()).await?;
    let launched = cluster.launch(&launch().by("alice")).await?;
    assert_eq!(launched.exit_code, Some(77), "{}", launched.diagnostics);

    let superusers = realm.service_tickets()?;
    hdfs.client().fs_shell_by(&superusers, &["-chmod", "700", DIRECTORY]).await?;
    provoke_pass(&agent).await?;
    agent.wait_not_ready_with("the NodeManager's user yarn cannot enter it", SOON).await?;
    let failed = cluster.launch(&launch()).await?;
    assert_eq!(failed.exit_code, Some(-1), "{}", failed.diagnostics);
    let said = "Fail to read additional docker client config file from hdfs://localhost:";
    assert!(failed.diagnostics.contains(said), "{}", failed.diagnostics);
    let log = fs::read_to_string(hdfs.home().join("namenode.log"))?;
    assert!(log.contains("Permission denied: user=yarn, access=EXECUTE"), "{log}");
    hdfs.client().fs_shell_by(&superusers, &["-chmod", "755", DIRECTORY]).await?;
    provoke_pass(&agent).await?;
    agent.wait_ready(SOON).await?;
    let launched = cluster.launch(&launch()).await?;
    assert_eq!(launched.exit_code, Some(77), "{}", launched.diagnostics);
    Ok(())
}
