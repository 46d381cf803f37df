//! Publishing on an HDFS with Kerberos, privacy on every connection and encrypted data transfer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::canary;
use emr_ecr_agent_tests::hdfs::Hdfs;
use emr_ecr_agent_tests::kerberos::{AGENT, Realm};
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, hdfs_error, recovers, shown};
use jiff::SignedDuration;
use serde_json::Value;

/// Short, so that several tickets expire during the test.
const TICKET_LIFE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn tickets_come_from_the_keytab_and_are_renewed() -> Outcome {
    if !parts::present([Part::hadoop(), Part::kerberos()]) {
        return Ok(());
    }
    let mut realm = Realm::start(TICKET_LIFE).await?;
    let hdfs = Hdfs::start_in(&realm).await?;
    let mut testbed = Testbed::on(hdfs.client().conf_dir(), "/user/hadoop/config.json").await?;
    testbed.environment = vec![("KRB5_CONFIG", realm.krb5_conf()), ("LD_LIBRARY_PATH", realm.libraries())];
    let keytab = testbed.node.path("agent.keytab");
    testbed.settings.set("published.principal", AGENT).set("published.keytab", keytab.display().to_string());
    testbed.settings.set("log.level", "trace").set("log.libraries", "info");
    testbed.ecr.set_token_life(SignedDuration::from_secs(2 * TICKET_LIFE.as_secs() as i64));
    let mut agent = testbed.start()?;

    shown(&agent, "waiting for the keytab", |status| {
        status["waiting_for"].to_string().contains(&format!("the keytab {}", keytab.display())).then_some(())
    })
    .await?;
    fs::copy(realm.agent_keytab(), &keytab)?;
    fs::set_permissions(&keytab, fs::Permissions::from_mode(0o644))?;
    wait_for_error(&agent, "accessible to others (mode 0644)").await?;
    fs::set_permissions(&keytab, fs::Permissions::from_mode(0o400))?;
    recovers(&mut agent).await?;

    // Each publish comes after the previous one's tickets have expired.
    let mut before = published_at(&agent.status().await?);
    for _ in 0..2 {
        before = shown(&agent, "a later publish", |status| {
            let now = published_at(status);
            (now.is_string() && now != before).then_some(now)
        })
        .await?;
        agent.wait_ready(SOON).await?;
    }

    realm.stop_kdc();
    agent.wait_not_ready(SOON).await?;
    let error = hdfs_error(&agent).await?;
    assert!(error.contains("hdfs://"), "{error}");
    realm.start_kdc().await?;
    recovers(&mut agent).await?;

    let keys = canary::keys(&fs::read(realm.agent_keytab())?);
    assert!(!keys.is_empty());
    let output = agent.log_text() + &agent.status().await?.to_string();
    for key in keys {
        canary::check_absent(&key, output.as_bytes());
    }

    let tickets = realm.service_tickets()?;
    let document = hdfs.client().fs_shell_by(&tickets, &["-cat", "/user/hadoop/config.json"]).await?;
    let document: Value = serde_json::from_str(&document)?;
    assert!(document["auths"][TRUSTED_REGISTRY]["auth"].is_string());
    let listing = hdfs.client().fs_shell_by(&tickets, &["-ls", "/user/hadoop"]).await?;
    assert!(listing.contains("-rw-r--r--   1 hadoop "), "{listing}");
    Ok(())
}

async fn wait_for_error(agent: &Agent, text: &str) -> Outcome {
    shown(agent, text, |status| hdfs_sink(status)["error"].as_str()?.contains(text).then_some(())).await?;
    Ok(())
}

fn published_at(status: &Value) -> Value {
    hdfs_sink(status)["published_at"].clone()
}

fn hdfs_sink(status: &Value) -> &Value {
    &status["sinks"][1]
}
