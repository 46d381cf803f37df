//! The copy on HDFS: publishing, repair, and errors.

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::ecr::{BadToken, Fault};
use emr_ecr_agent_tests::http;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::testbed::{Outcome, Published, SOON, Testbed, hdfs_error, passes, shown};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::watch::Watch;
use hyper::StatusCode;
use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

#[tokio::test]
async fn document_holds_auths_and_who_published_when() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let agent = testbed.start_ready().await?;
    let newest = testbed.ecr.newest("us-east-1").ok_or("no token issued")?;
    let document = published.json().await?;
    assert_eq!(document["auths"], json!({ TRUSTED_REGISTRY: { "auth": newest.auth() } }));

    let own = &document["emr-ecr-agent"];
    let at = |value: &Value| value.as_str().unwrap_or_default().parse::<Timestamp>();
    assert!(own["publisher"].as_str().is_some_and(|publisher| !publisher.is_empty()));
    assert!(at(&own["published_at"])? >= newest.issued_at);
    // The expiry in the password has whole seconds.
    assert_eq!(at(&own["expires_at"][TRUSTED_REGISTRY])?.as_second(), newest.expires_at.as_second());

    let sink = hdfs_sink(&agent.status().await?).ok_or("no HDFS sink")?;
    assert_eq!(sink["path"], published.path());
    assert_eq!(sink["publisher"], own["publisher"]);
    assert_eq!(sink["published_at"], own["published_at"]);
    assert!(published.attributes().await?.starts_with("rw-r--r-- hadoop "));
    assert_eq!(published.names().await?, ["config.json"], "no temporary file is left");
    Ok(())
}

#[tokio::test]
async fn poisonous_document_is_set_aside_but_valid_entries_stay() -> Outcome {
    for (content, kept) in [
        ("{\"auths\": half of a file", None),
        (
            r#"{"auths":{"hub.example.com":{"auth":"aHViOmh1Yg=="},"no.example.com":{}}}"#,
            Some(json!({ "auth": "aHViOmh1Yg==" })),
        ),
    ] {
        let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
        published.put(content).await?;
        let _agent = testbed.start_ready().await?;

        let document = published.json().await?;
        assert!(document["auths"][TRUSTED_REGISTRY]["auth"].is_string());
        assert_eq!(document["auths"].get("hub.example.com"), kept.as_ref());
        assert_eq!(document["auths"].get("no.example.com"), None);

        let names = published.names().await?;
        let [config, aside] = names.as_slice() else { panic!("two files are expected: {names:?}") };
        assert_eq!(config, "config.json");
        assert!(aside.starts_with("config.json.set-aside-"), "{aside}");
        assert_eq!(published.text_of(&published.beside(aside)).await?, content);
    }
    Ok(())
}

#[tokio::test]
async fn renew_publishes_a_new_token_on_request() -> Outcome {
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    // `renew` calls ECR only after half of the life.
    testbed.ecr.set_token_life(SignedDuration::from_secs(20));
    testbed.settings.set("refresh.renew_at", 0.9);
    let agent = testbed.start_ready().await?;
    let before = testbed.ecr.newest("us-east-1").ok_or("no token issued")?;

    let renewed = testbed.run(&["renew"]).await?;
    assert_eq!((renewed.code, renewed.err.as_str()), (0, ""));
    assert!(
        renewed.out.starts_with(&format!("{TRUSTED_REGISTRY}: new token, valid until ")),
        "{}",
        renewed.out
    );
    let newest = testbed.ecr.newest("us-east-1").ok_or("no token issued")?;
    assert_ne!(newest.auth(), before.auth());
    published.wait_for_auth(TRUSTED_REGISTRY, &newest.auth()).await?;
    let metrics = String::from_utf8(agent.get("/metrics").await?.body.to_vec())?;
    assert!(metrics.contains("emr_ecr_agent_passes_total{wake=\"renew\"} 1"), "{metrics}");

    testbed.ecr.fail_always(Fault::AccessDenied);
    let denied = testbed.run(&["renew", "--wait", "1s"]).await?;
    assert_eq!(denied.code, 1);
    assert!(denied.err.contains(TRUSTED_REGISTRY), "{}", denied.err);
    drop(agent);
    assert_eq!(testbed.run(&["renew"]).await?.code, 3);
    Ok(())
}

#[tokio::test]
async fn fresh_file_of_another_node_is_left_alone() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let mut first = testbed.start_ready().await?;
    first.terminate(SOON).await?;
    let before = (published.text().await?, published.attributes().await?);

    let second = Testbed::publishing(&published).await?;
    let agent = second.start_ready().await?;
    passes(&agent, 2).await?;
    assert_eq!((published.text().await?, published.attributes().await?), before);
    assert_eq!(second.ecr.calls().len(), 1, "no registry can be asked whether what is published is good");
    let own = second.ecr.newest("us-east-1").ok_or("no token issued")?;
    assert_eq!(second.docker_config()?["auths"][TRUSTED_REGISTRY]["auth"], own.auth());
    Ok(())
}

#[tokio::test]
async fn drift_is_repaired_at_the_next_pass() -> Outcome {
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    // Without a timer, no pass can happen between the change and the signal.
    testbed.settings.no_timer();
    let agent = testbed.start_ready().await?;
    let auth = testbed.ecr.newest("us-east-1").ok_or("no token issued")?.auth();
    let path = published.path();

    published.shell(&["-rm", path]).await?;
    heal(&agent, &published, &auth).await?;

    published.shell(&["-chmod", "600", path]).await?;
    heal(&agent, &published, &auth).await?;

    published.put(r#"{"auths":{}}"#).await?;
    heal(&agent, &published, &auth).await?;

    published.put("broken").await?;
    heal(&agent, &published, &auth).await?;
    assert_eq!(testbed.ecr.calls().len(), 1, "no new token was needed");
    Ok(())
}

/// Triggers a pass and waits until the file is repaired.
async fn heal(agent: &Agent, published: &Published, auth: &str) -> Outcome {
    agent.signal(Signal::SIGHUP)?;
    published.wait_for_auth(TRUSTED_REGISTRY, auth).await?;
    wait::until("the mode of the published file", SOON, async || {
        let attributes = published.attributes().await.map_err(|error| error.to_string())?;
        if attributes.starts_with("rw-r--r-- ") { Ok(()) } else { Err(attributes) }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn failed_renewal_keeps_the_valid_token() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    testbed.ecr.set_token_life(SignedDuration::from_secs(12));
    let agent = testbed.start_ready().await?;
    let watch = Watch::over(&testbed, &published)?;
    let before = published.text().await?;
    testbed.ecr.fail_always(Fault::Content(BadToken::AlreadyExpired));
    let registry = shown(&agent, "a failed renewal", |status| {
        let registry = &status["registries"][0];
        (registry["consecutive_failures"].as_u64()? >= 1).then(|| registry.clone())
    })
    .await?;
    assert!(registry["last_error"].as_str().is_some_and(|error| error.contains("the token expired at")));
    passes(&agent, 1).await?;
    assert_eq!(published.text().await?, before);

    testbed.ecr.heal();
    let renewed = wait::until("a new token", SOON, async || {
        let newest = testbed.ecr.newest("us-east-1").map(|token| token.auth()).unwrap_or_default();
        if before.contains(&newest) { Err("none yet") } else { Ok(newest) }
    })
    .await?;
    published.wait_for_auth(TRUSTED_REGISTRY, &renewed).await?;
    watch.end_truthful();
    Ok(())
}

#[tokio::test]
async fn directory_in_its_place_is_reported() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    published.shell(&["-mkdir", published.path()]).await?;
    let mut agent = testbed.start()?;
    let error = hdfs_error(&agent).await?;
    assert!(error.contains(&format!("{} is a directory, not a file", published.path())), "{error}");

    published.shell(&["-rmdir", published.path()]).await?;
    agent.wait_ready(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn missing_directory_is_waited_for() -> Outcome {
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let directory = published.beside("later");
    testbed.settings.set("published.path", format!("{directory}/config.json"));
    let mut agent = testbed.start()?;
    let waiting_for = waiting_for(&agent, "directory").await?;
    assert!(waiting_for.contains(&directory), "{waiting_for}");

    published.client().make_directory(&directory, "hadoop", "0755").await?;
    agent.wait_ready(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn denied_permission_is_reported_with_the_path() -> Outcome {
    if !parts::present([Part::hadoop()]) {
        return Ok(());
    }
    let published = Published::shared("hdfs", "0755").await?;
    let testbed = Testbed::publishing(&published).await?;
    let mut agent = testbed.start()?;
    let error = hdfs_error(&agent).await?;
    for part in ["cannot create", &published.beside(".config.json"), "Permission denied: user=hadoop"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("\tat "), "contains a Java stack trace: {error}");
    let waiting_for = waiting_for(&agent, "permission").await?;
    assert!(waiting_for.contains("permission on HDFS"), "{waiting_for}");

    published.shell(&["-chmod", "0777", published.directory()]).await?;
    agent.wait_ready(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn silent_namenode_blocks_nothing_else() -> Outcome {
    let (mut testbed, _namenode) = Testbed::with_silent_namenode().await?;
    testbed.settings.set("deadlines.hdfs", "2s");
    let agent = testbed.start()?;

    // The endpoint responds during the first HDFS call, and the local file is written before that call ends.
    let live = wait::until("/livez", SOON, async || http::get(agent.address(), "/livez").await).await?;
    assert_eq!(live.status, StatusCode::OK);
    let error = hdfs_error(&agent).await?;
    assert!(error.contains("no answer within 2s"), "{error}");
    let status = shown(&agent, "a fresh local file", |status| {
        (status["sinks"][0]["fresh"] == true).then(|| status.clone())
    })
    .await?;
    assert_eq!((&status["live"], &status["ready"]), (&json!(true), &json!(false)));
    assert!(testbed.docker_config()?["auths"][TRUSTED_REGISTRY]["auth"].is_string());
    assert!(status["waiting_for"].to_string().contains("HDFS to answer"));
    passes(&agent, 2).await?;
    assert_eq!(testbed.ecr.calls().len(), 1);
    Ok(())
}

#[tokio::test]
async fn safe_mode_is_waited_out() -> Outcome {
    let Some((testbed, published, hdfs)) = Testbed::with_own_hdfs().await? else { return Ok(()) };
    hdfs.client().safe_mode(true).await?;
    let mut agent = testbed.start()?;
    let waiting_for = waiting_for(&agent, "safe mode").await?;
    assert!(waiting_for.contains("HDFS to leave safe mode"), "{waiting_for}");

    hdfs.client().safe_mode(false).await?;
    agent.wait_ready(SOON).await?;
    assert_eq!(testbed.ecr.calls().len(), 1);
    assert_eq!(published.names().await?, ["config.json"]);
    Ok(())
}

#[tokio::test]
async fn late_hdfs_gets_the_existing_token() -> Outcome {
    let Some((testbed, published, mut hdfs)) = Testbed::with_own_hdfs().await? else { return Ok(()) };
    hdfs.stop_namenode();
    let mut agent = testbed.start()?;
    waiting_for(&agent, "HDFS").await?;
    shown(&agent, "a token", |status| status["registries"][0]["expires_at"].as_str().map(|_| ())).await?;
    let auth = testbed.ecr.newest("us-east-1").ok_or("no token issued")?.auth();

    hdfs.start_namenode().await?;
    published.wait_for_auth(TRUSTED_REGISTRY, &auth).await?;
    agent.wait_ready(SOON).await?;

    // Without a DataNode, renames work but writes fail.
    hdfs.stop_datanode();
    published.shell(&["-rm", "-skipTrash", published.path()]).await?;
    hdfs_error(&agent).await?;
    agent.wait_not_ready(SOON).await?;
    hdfs.start_datanode().await?;
    published.wait_for_auth(TRUSTED_REGISTRY, &auth).await?;
    agent.wait_ready(SOON).await?;
    assert_eq!(testbed.ecr.calls().len(), 1);
    assert_eq!(published.names().await?, ["config.json"]);
    Ok(())
}

async fn waiting_for(agent: &Agent, what: &str) -> Result<String, wait::TimedOut> {
    shown(agent, &format!("waiting for {what}"), |status| {
        let waiting_for = status["waiting_for"].to_string();
        waiting_for.contains(what).then_some(waiting_for)
    })
    .await
}

fn hdfs_sink(status: &Value) -> Option<Value> {
    status["sinks"].as_array()?.iter().find(|sink| sink["kind"] == "hdfs").cloned()
}
