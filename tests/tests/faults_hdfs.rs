//! Faults of HDFS while a file is published. No reader sees a bad file, the agent repairs the file within two
//! intervals once the fault is gone, and health is truthful meanwhile.

use std::fs;
use std::path::{Path, PathBuf};

use emr_ecr_agent_tests::hdfs::HaHdfs;
use emr_ecr_agent_tests::hdfs::proxy::{Behavior, NameNodeProxy, Side};
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::testbed::{
    Outcome, Published, SOON, Testbed, count_reconciliations, hdfs_error, passes, recovers,
};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::watch::Watch;
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};

#[tokio::test]
async fn failover_while_publishing_is_survived() -> Outcome {
    if !parts::present([Part::hadoop()]) {
        return Ok(());
    }
    let mut hdfs = HaHdfs::start().await?;
    let published = Published::on(hdfs.client().clone(), "/user/hadoop");
    let mut testbed = Testbed::publishing(&published).await?;
    // The token is due at each pass, and outlives the time without an active NameNode.
    testbed.ecr.set_token_life(SignedDuration::from_secs(60));
    // The agent may hold the refresh lock when the NameNode dies; the lock lasts for as long as calls may take.
    testbed.settings.set("refresh.renew_at", 0.1).set("deadlines.ecr", "2s").set("deadlines.hdfs", "5s");
    let mut agent = testbed.start_ready().await?;
    let watch = Watch::over(&testbed, &published)?;

    hdfs.kill_active();
    agent.wait_not_ready(SOON).await?;
    hdfs.activate_standby().await?;
    let newest = || testbed.ecr.newest("us-east-1").map(|token| token.auth()).unwrap_or_default();
    let at_failover = newest();
    recovers(&mut agent).await?;
    wait::until("a later token in the file", SOON, async || {
        let document = published.json().await.map_err(|error| error.to_string())?;
        let auth = document["auths"][TRUSTED_REGISTRY]["auth"].clone();
        if auth == newest() && auth != at_failover { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await?;
    watch.end_well();
    Ok(())
}

/// A complete file without the agent's entry, present before the agent starts.
const FOREIGN: &str = r#"{"auths":{"hub.example.com":{"auth":"aHViOmh1Yg=="}}}"#;

/// Before and after every NameNode call that publishing makes.
const STEPS: [(&str, Side); 8] = [
    ("create", Side::Before),
    ("create", Side::After),
    ("addBlock", Side::Before),
    ("addBlock", Side::After),
    ("complete", Side::Before),
    ("complete", Side::After),
    ("rename2", Side::Before),
    ("rename2", Side::After),
];

#[tokio::test]
async fn agent_killed_at_any_step_leaves_a_complete_file() -> Outcome {
    try_join_all(STEPS.map(check_kill)).await?;
    Ok(())
}

async fn check_kill((call, side): (&'static str, Side)) -> Outcome {
    let Some((mut testbed, published, proxy)) = behind_proxy().await? else { return Ok(()) };
    // The killed agent may hold the refresh lock for as long as calls may take.
    testbed.settings.set("deadlines.ecr", "2s").set("deadlines.hdfs", "4s");
    published.put(FOREIGN).await?;
    let watch = Watch::over(&testbed, &published)?;
    proxy.set_behavior(Behavior::Catch { call, side });
    let agent = testbed.start()?;
    proxy.caught().await;
    // Dropping kills the agent; its call stays caught.
    drop(agent);

    let renamed = (call, side) == ("rename2", Side::After);
    let left = published.json().await?;
    assert_eq!(left["auths"]["hub.example.com"]["auth"], "aHViOmh1Yg==", "{call} {side:?}");
    assert_eq!(left["auths"][TRUSTED_REGISTRY]["auth"].is_string(), renamed, "{call} {side:?}");

    let mut agent = testbed.start()?;
    agent.wait_ready(SOON * 2).await?;
    let healed = published.json().await?;
    assert_eq!(healed["auths"]["hub.example.com"]["auth"], "aHViOmh1Yg==", "{call} {side:?}");
    assert!(healed["auths"][TRUSTED_REGISTRY]["auth"].is_string(), "{call} {side:?}");
    watch.end_well();
    only_hidden_files_next_to(&published).await
}

#[tokio::test]
async fn connection_broken_at_any_step_is_survived() -> Outcome {
    try_join_all(STEPS.map(check_reset)).await?;
    Ok(())
}

async fn check_reset((call, side): (&'static str, Side)) -> Outcome {
    let Some((mut testbed, published, proxy)) = behind_proxy().await? else { return Ok(()) };
    published.put(FOREIGN).await?;
    let watch = Watch::over(&testbed, &published)?;
    proxy.set_behavior(Behavior::Reset { call, side });
    testbed.settings.set("deadlines.hdfs", "5s");
    let mut agent = testbed.start()?;
    let error = hdfs_error(&agent).await?;
    assert!(error.contains("hdfs://"), "{call} {side:?}: {error}");
    let left = published.json().await?;
    assert_eq!(left["auths"]["hub.example.com"]["auth"], "aHViOmh1Yg==", "{call} {side:?}");

    proxy.set_behavior(Behavior::Normal);
    recovers(&mut agent).await?;
    assert!(published.json().await?["auths"][TRUSTED_REGISTRY]["auth"].is_string(), "{call} {side:?}");
    watch.end_well();
    only_hidden_files_next_to(&published).await
}

#[tokio::test]
async fn a_silent_namenode_gives_way_to_the_next() -> Outcome {
    let Some((mut testbed, published, _silent)) = Testbed::with_silent_first_namenode().await? else {
        return Ok(());
    };
    testbed.settings.set("deadlines.hdfs", "2s");
    let agent = testbed.start_ready().await?;
    assert!(published.json().await?["auths"][TRUSTED_REGISTRY]["auth"].is_string());
    // The error itself can be gone between two queries.
    let metrics = agent.get("/metrics").await?.text();
    let failed = r#"emr_ecr_agent_reconcile_total{result="failed",sink="hdfs"} "#;
    assert!(metrics.contains(failed), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn readiness_drops_before_the_published_token_expires() -> Outcome {
    for silent in [false, true] {
        let Some((mut testbed, published, mut proxy)) = behind_proxy().await? else { return Ok(()) };
        testbed.settings.set("refresh.minimum_validity", "8s").set("deadlines.hdfs", "2s");
        testbed.ecr.set_token_life(SignedDuration::from_secs(30));
        let mut agent = testbed.start_ready().await?;
        let watch = Watch::over(&testbed, &published)?;
        if silent {
            proxy.set_behavior(Behavior::Silent);
        } else {
            proxy.refuse().await;
        }
        agent.wait_not_ready(SOON).await?;
        let document = published.json().await?;
        let ends = &document["emr-ecr-agent"]["expires_at"][TRUSTED_REGISTRY];
        let ends: Timestamp = ends.as_str().ok_or("no expiry")?.parse()?;
        assert!(ends > Timestamp::now(), "silent: {silent}: still ready after the expiry");
        let error = hdfs_error(&agent).await?;
        assert!(error.contains("hdfs://"), "silent: {silent}: {error}");

        if silent {
            proxy.set_behavior(Behavior::Normal);
        } else {
            proxy.accept().await?;
        }
        recovers(&mut agent).await?;
        // The token may have expired by now, but not while the node was ready.
        watch.end_truthful();
    }
    Ok(())
}

/// Part of the refresh lock's name; the lock's calls are not part of publishing.
const LOCK: &str = "emr-ecr-agent-lock";

/// A node that reaches the shared HDFS's NameNode through a proxy.
async fn behind_proxy() -> Outcome<Option<(Testbed, Published, NameNodeProxy)>> {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(None) };
    let proxy = NameNodeProxy::start(published.client().authority().parse()?, LOCK).await?;
    let core_site = testbed.node.conf_dir().join("core-site.xml");
    let text = fs::read_to_string(&core_site)?;
    let by_proxy = text.replace(published.client().authority(), &proxy.address().to_string());
    testbed.node.write("conf/core-site.xml", &by_proxy)?;
    Ok(Some((testbed, published, proxy)))
}

/// A killed writer leaves only hidden files behind.
async fn only_hidden_files_next_to(published: &Published) -> Outcome {
    let entries = published.entries().await?;
    let names = entries.iter().map(|entry| entry.name.as_str());
    let others: Vec<&str> = names.filter(|name| !name.starts_with(".config.json.")).collect();
    assert_eq!(others, ["config.json"], "{entries:?}");
    for entry in entries.iter().filter(|entry| !entry.is_lock()) {
        assert_eq!((entry.mode.as_str(), entry.owner.as_str()), ("-rw-r--r--", "hadoop"), "{entry:?}");
    }
    Ok(())
}

#[tokio::test]
async fn lost_path_permission_and_quota_are_reported_and_healed() -> Outcome {
    for taken in [Taken::Path, Taken::Permission, Taken::Quota] {
        let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
        let mut agent = testbed.start_ready().await?;
        let watch = Watch::over(&testbed, &published)?;
        taken.take(&published).await?;
        agent.wait_not_ready(SOON).await?;
        let error = hdfs_error(&agent).await?;
        assert!(error.contains(taken.error()), "{taken:?}: {error}");

        taken.give_back(&published).await?;
        recovers(&mut agent).await?;
        let healed = published.json().await?;
        assert!(healed["auths"][TRUSTED_REGISTRY]["auth"].is_string(), "{taken:?}");
        assert_eq!(testbed.ecr.calls().len(), 1, "{taken:?}: no new token was needed");
        watch.end_truthful();
    }
    Ok(())
}

/// The file itself is unchanged, and modes do not show ACLs.
#[tokio::test]
async fn file_closed_to_the_node_manager_ends_readiness() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let mut agent = testbed.start_ready().await?;
    let directory = published.directory();
    for (close, open, reason) in [
        (&["-chmod", "700"][..], &["-chmod", "755"][..], "the NodeManager's user yarn cannot enter it"),
        (
            &["-setfacl", "-m", "user:yarn:---"],
            &["-setfacl", "-b"],
            "the NameNode denies the NodeManager's user yarn",
        ),
    ] {
        published.shell(&[close, &[directory]].concat()).await?;
        agent.wait_not_ready_with(reason, SOON).await?;
        published.shell(&[open, &[directory]].concat()).await?;
        agent.wait_ready(SOON).await?;
    }
    Ok(())
}

/// What a running agent loses, in addition to the file.
#[derive(Debug, Clone, Copy)]
enum Taken {
    /// A directory occupies the file's path.
    Path,
    /// The directory now belongs to another user.
    Permission,
    /// A quota forbids writing any block.
    Quota,
}

impl Taken {
    async fn take(self, published: &Published) -> Outcome {
        let (path, directory) = (published.path(), published.directory());
        match self {
            Self::Path => {
                // The agent may recreate the file first.
                wait::until("the directory", SOON, async || {
                    published.shell(&["-rm", "-f", "-skipTrash", path]).await.map_err(|e| e.to_string())?;
                    published.shell(&["-mkdir", path]).await.map_err(|e| e.to_string())
                })
                .await?;
            }
            Self::Permission => {
                published.shell(&["-chown", "hdfs", directory]).await?;
                published.shell(&["-rm", "-skipTrash", path]).await?;
            }
            Self::Quota => {
                published.client().dfs_admin(&["-setSpaceQuota", "1", directory]).await?;
                published.shell(&["-rm", "-skipTrash", path]).await?;
            }
        }
        Ok(())
    }

    fn error(self) -> &'static str {
        match self {
            Self::Path => "is a directory",
            Self::Permission => "Permission denied",
            Self::Quota => "quota",
        }
    }

    async fn give_back(self, published: &Published) -> Outcome {
        match self {
            Self::Path => published.shell(&["-rmdir", published.path()]).await?,
            Self::Permission => published.shell(&["-chown", "hadoop", published.directory()]).await?,
            Self::Quota => published.client().dfs_admin(&["-clrSpaceQuota", published.directory()]).await?,
        };
        Ok(())
    }
}

#[tokio::test]
async fn at_rest_an_interval_costs_one_rpc() -> Outcome {
    let Some((mut testbed, _published, proxy)) = behind_proxy().await? else { return Ok(()) };
    testbed.settings.set("log.libraries", "warn");
    let mut agent = testbed.start_ready().await?;
    // The first passes without changes fill the client's caches.
    passes(&agent, 3).await?;
    let reconciliations = |metrics: &str| count_reconciliations(metrics, "hdfs").ok_or("no such metric");
    let metrics = agent.get("/metrics").await?.text();
    let (reads, calls) = (reconciliations(&metrics)?, proxy.calls().values().sum::<u64>());
    passes(&agent, 9).await?;
    let metrics = agent.get("/metrics").await?.text();
    let (reads, calls) = (reconciliations(&metrics)? - reads, proxy.calls().values().sum::<u64>() - calls);
    // A pass or two may have begun between the reads of the two counters.
    assert!(reads >= 4 && calls.abs_diff(reads) <= 2, "{calls} calls in {reads} passes: {:?}", proxy.calls());
    agent.terminate(SOON).await?;
    assert!(!agent.log_text().contains("cached connection"), "{}", agent.log_text());
    Ok(())
}

#[tokio::test]
async fn namenode_restart_causes_no_second_publish() -> Outcome {
    let Some((mut testbed, published, mut hdfs)) = Testbed::with_own_hdfs().await? else { return Ok(()) };
    testbed.settings.set("deadlines.hdfs", "5s");
    let mut agent = testbed.start_ready().await?;
    let watch = Watch::over(&testbed, &published)?;
    let before = published.text().await?;

    hdfs.stop_namenode();
    agent.wait_not_ready(SOON).await?;
    hdfs.start_namenode().await?;
    // The NameNode leaves safe mode before the DataNode has reported its only block.
    wait::until("the block report", SOON, async || {
        published.text().await.map(drop).map_err(|e| e.to_string())
    })
    .await?;
    recovers(&mut agent).await?;
    assert_eq!(published.text().await?, before, "a fresh file must not be published again");
    watch.end_truthful();
    Ok(())
}

#[tokio::test]
async fn lost_block_is_published_again() -> Outcome {
    let Some((mut testbed, published, hdfs)) = Testbed::with_own_hdfs().await? else { return Ok(()) };
    testbed.settings.set("deadlines.hdfs", "5s").set("deadlines.block_report", "2s");
    let mut agent = testbed.start_ready().await?;
    let watch = Watch::over(&testbed, &published)?;

    // Deletes the only replica, as the loss of its DataNode would.
    let blocks = blocks(&hdfs.home().join("data"))?;
    assert!(!blocks.is_empty());
    for block in blocks {
        fs::remove_file(block)?;
    }
    wait::until("a readable file", SOON, async || {
        let document = published.json().await.map_err(|error| error.to_string())?;
        if document["auths"][TRUSTED_REGISTRY]["auth"].is_string() {
            Ok(())
        } else {
            Err("no entry".to_owned())
        }
    })
    .await?;
    agent.wait_ready(SOON).await?;
    watch.end_truthful();
    Ok(())
}

/// A DataNode's block files.
fn blocks(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(blocks(&path)?);
        } else if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("blk_")) {
            found.push(path);
        }
    }
    Ok(found)
}
