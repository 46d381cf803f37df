//! The agent's calls to ECR and how it uses the responses. These tests need no HDFS.

use emr_ecr_agent_tests::ecr::{BadToken, Fault};
use emr_ecr_agent_tests::imds::{ACCESS_KEY, Behavior};
use emr_ecr_agent_tests::node::{REGION, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, passes, shown, wait_for_token};
use emr_ecr_agent_tests::tls::{Route, TlsProxy};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

const IRELAND: &str = "123456789123.dkr.ecr.eu-west-1.amazonaws.com";
/// In the same Region as the trusted registry.
const SECOND_ACCOUNT: &str = "210987654321.dkr.ecr.us-east-1.amazonaws.com";

#[tokio::test]
async fn one_call_serves_all_registries_of_a_region() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.registry(SECOND_ACCOUNT, &["mirror.example.com:5000"]).registry(IRELAND, &[]);
    let agent = testbed.start()?;
    shown(&agent, "three tokens", |status| {
        let registries = status["registries"].as_array()?;
        let have = registries.iter().filter(|registry| registry["expires_at"].is_string());
        (have.count() == 3).then_some(())
    })
    .await?;
    passes(&agent, 2).await?;

    let mut regions: Vec<String> = testbed.ecr.calls().into_iter().map(|call| call.region).collect();
    regions.sort();
    assert_eq!(regions, ["eu-west-1", "us-east-1"]);
    assert!(testbed.ecr.calls().iter().all(|call| call.access_key == ACCESS_KEY && !call.public));

    let auths = testbed.docker_config()?["auths"].clone();
    let east = testbed.ecr.newest("us-east-1").ok_or("no token for us-east-1")?.auth();
    let west = testbed.ecr.newest("eu-west-1").ok_or("no token for eu-west-1")?.auth();
    for (name, auth) in [
        (TRUSTED_REGISTRY, &east),
        (SECOND_ACCOUNT, &east),
        ("mirror.example.com:5000", &east),
        (IRELAND, &west),
    ] {
        assert_eq!(auths[name]["auth"], *auth, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn missing_credentials_are_reported_as_such() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    testbed.imds.set_behavior(Behavior::NoRole);
    let agent = testbed.start()?;
    let (error, waiting_for) = shown(&agent, "an error", |status| {
        let error = status["registries"][0]["last_error"].as_str()?.to_owned();
        Some((error, status["waiting_for"].to_string()))
    })
    .await?;
    for tried in ["environment", "profile", "web identity", "container", "instance metadata"] {
        assert!(error.contains(tried), "{tried}: {error}");
    }
    assert!(waiting_for.contains("AWS credentials"), "{waiting_for}");
    assert!(testbed.ecr.calls().is_empty());

    testbed.imds.set_behavior(Behavior::Normal);
    wait_for_token(&agent).await?;
    Ok(())
}

#[tokio::test]
async fn invalid_response_never_replaces_a_valid_token() -> Outcome {
    for fault in [Fault::Content(BadToken::AlreadyExpired), Fault::Content(BadToken::NotAwsUser)] {
        let testbed = Testbed::without_hdfs().await?;
        testbed.ecr.set_token_life(SignedDuration::from_secs(6));
        let agent = testbed.start()?;
        wait_for_token(&agent).await?;
        let first = testbed.ecr.newest("us-east-1").ok_or("no token issued")?;
        testbed.ecr.fail_always(fault);

        let registry = shown(&agent, "a failure", |status| {
            let registry = &status["registries"][0];
            (registry["consecutive_failures"].as_u64()? >= 1).then(|| registry.clone())
        })
        .await?;
        assert!(registry["last_error"].is_string());
        let expires_at: Timestamp = registry["expires_at"].as_str().ok_or("no expiry")?.parse()?;
        // On the wire the expiry is an inexact floating-point number of seconds.
        let apart = expires_at.duration_since(first.expires_at).abs();
        assert!(apart <= SignedDuration::from_millis(1), "{fault:?}: {apart}");
        let auth = &testbed.docker_config()?["auths"][TRUSTED_REGISTRY]["auth"];
        assert_eq!(*auth, first.auth(), "{fault:?}");
    }
    Ok(())
}

#[tokio::test]
async fn expiry_follows_the_servers_clock() -> Outcome {
    for hours in [-3, 3] {
        let testbed = Testbed::without_hdfs().await?;
        // By the local clock the token would have expired hours ago, or would live for hours longer.
        testbed.ecr.set_clock_offset(SignedDuration::from_hours(hours));
        testbed.ecr.set_token_life(SignedDuration::from_mins(30));
        let agent = testbed.start()?;
        wait_for_token(&agent).await?;
        let status = agent.status().await?;
        let skew = status["clock_skew_seconds"].as_f64().ok_or("no skew")?;
        assert!((skew - hours as f64 * 3600.0).abs() < 60.0, "{hours} h: {skew}");
        let token = check_named(&status, &format!("token:{TRUSTED_REGISTRY}")).ok_or("no such check")?;
        assert_eq!(token["ok"], true, "{hours} h: {token}");

        passes(&agent, 2).await?;
        // ECR rejects the first call, which is signed with the wrong time.
        assert_eq!(testbed.ecr.calls().len(), 2, "{hours} h: nothing is due yet");
        let local =
            check_named(&agent.status().await?, &format!("local:{}", testbed.node.docker_config().display()))
                .ok_or("no such check")?;
        assert_eq!(local["ok"], true, "{hours} h: {local}");
    }
    Ok(())
}

#[tokio::test]
async fn token_is_renewed_at_half_of_its_life() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    testbed.ecr.set_token_life(SignedDuration::from_secs(8));
    let agent = testbed.start()?;
    let calls = testbed.ecr.wait_for_calls(3, SOON).await?;
    for pair in calls.windows(2) {
        let apart = pair[1].at.duration_since(pair[0].at);
        assert!(apart >= SignedDuration::from_secs(3), "renewed too early: {apart}");
        assert!(apart <= SignedDuration::from_secs(8), "renewed after its expiry: {apart}");
    }
    let newest = testbed.ecr.newest("us-east-1").ok_or("no token issued")?.auth();
    shown(&agent, "the third token", |_| {
        (testbed.docker_config().ok()?["auths"][TRUSTED_REGISTRY]["auth"] == newest).then_some(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn ecr_is_called_over_tls_and_https_proxy() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    let api = format!("api.ecr.{REGION}.amazonaws.com");
    let proxy = TlsProxy::start(vec![Route { host: api, server: testbed.ecr.address() }]).await?;
    let config = format!("[default]\nec2_metadata_service_endpoint = http://{}\n", testbed.imds.address());
    testbed.node.write("aws/.aws/config", &config)?;
    testbed.use_proxy(&proxy)?;
    let agent = testbed.start()?;
    wait_for_token(&agent).await?;
    assert_eq!(testbed.ecr.calls().len(), 1);
    Ok(())
}

fn check_named(status: &Value, name: &str) -> Option<Value> {
    status["checks"].as_array()?.iter().find(|check| check["name"] == name).cloned()
}
