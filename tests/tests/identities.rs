//! Registries with different identities: each call's credentials, and that the failure of one affects no other.
//! These tests need no HDFS.

use emr_ecr_agent_tests::ecr::{Ecr, Fault};
use emr_ecr_agent_tests::imds::{ACCESS_KEY, access_key_of};
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::sts::{self, Role};
use emr_ecr_agent_tests::testbed::identities::{
    Identities, OTHERS, PROFILE, PROFILE_KEY, PUBLIC, READER, THIRD, has_token, registry,
};
use emr_ecr_agent_tests::testbed::{Outcome, SOON, TWELVE_HOURS, passes, shown};
use jiff::SignedDuration;
use nix::sys::signal::Signal;
use serde_json::Value;

#[tokio::test]
async fn role_is_assumed_with_external_id_and_session_name() -> Outcome {
    let mut testbed = Identities::new().await?;
    testbed.sts.allow(READER);
    let keys = [("role_arn", READER.arn), ("external_id", "agreed:42"), ("session_name", "cluster-7")];
    testbed.settings.registry_with(OTHERS, &keys);
    let agent = testbed.start()?;
    shown(&agent, "both tokens", |s| has_token(s, OTHERS).and(has_token(s, TRUSTED_REGISTRY))).await?;
    passes(&agent, 2).await?;

    assert_eq!(testbed.keys(), [ACCESS_KEY, READER.access_key], "one call per identity");
    let [call] = testbed.sts.calls().try_into().map_err(|calls| format!("expected one call: {calls:?}"))?;
    assert_eq!((call.role_arn.as_str(), call.session_name.as_str()), (READER.arn, "cluster-7"));
    assert_eq!((call.external_id.as_deref(), call.access_key.as_str()), (Some("agreed:42"), ACCESS_KEY));
    assert_ne!(testbed.auth(OTHERS), testbed.auth(TRUSTED_REGISTRY));

    let status = agent.status().await?;
    let shown = registry(&status, OTHERS).ok_or("not in the status")?;
    assert_eq!((&shown["role_arn"], &shown["region"]), (&READER.arn.into(), &"us-east-1".into()));
    let log = agent.log_text();
    assert!(!log.contains(sts::SECRET_KEY) && !log.contains(sts::SESSION_TOKEN));
    Ok(())
}

#[tokio::test]
async fn denied_role_affects_no_other_registry() -> Outcome {
    let mut testbed = Identities::new().await?;
    testbed.settings.registry_with(OTHERS, &[("role_arn", READER.arn), ("external_id", "guessed")]);
    let agent = testbed.start()?;
    let error = shown(&agent, "the denial", |status| {
        has_token(status, TRUSTED_REGISTRY)?;
        registry(status, OTHERS)?["last_error"].as_str().map(str::to_owned)
    })
    .await?;
    for words in ["AssumeRole", "trust policy", "AccessDenied", READER.arn] {
        assert!(error.contains(words), "{words}: {error}");
    }
    let status = agent.status().await?;
    let healthy = registry(&status, TRUSTED_REGISTRY).ok_or("not in the status")?;
    assert_eq!((&healthy["consecutive_failures"], &healthy["last_error"]), (&0.into(), &Value::Null));
    assert!(status["waiting_for"].to_string().contains("sts:AssumeRole"), "{}", status["waiting_for"]);
    passes(&agent, 1).await?;
    assert!(testbed.auth(TRUSTED_REGISTRY).is_some() && testbed.auth(OTHERS).is_none());

    testbed.sts.allow(Role { external_id: Some("guessed"), ..READER });
    shown(&agent, "the other token", |status| has_token(status, OTHERS)).await?;
    Ok(())
}

#[tokio::test]
async fn profile_replaces_the_nodes_identity() -> Outcome {
    let mut testbed = Identities::new().await?;
    testbed.sts.allow(Role { external_id: None, ..READER });
    testbed.settings.registry_with(OTHERS, &[("profile", PROFILE)]);
    testbed.settings.registry_with(THIRD, &[("profile", PROFILE), ("role_arn", READER.arn)]);
    let agent = testbed.start()?;
    shown(&agent, "all tokens", |s| has_token(s, OTHERS).and(has_token(s, THIRD))).await?;
    assert_eq!(testbed.keys(), [PROFILE_KEY, ACCESS_KEY, READER.access_key]);
    assert_eq!(testbed.sts.calls()[0].access_key, PROFILE_KEY, "the role is assumed from the profile");
    let status = agent.status().await?;
    assert_eq!(registry(&status, OTHERS).ok_or("not in the status")?["profile"], PROFILE);
    Ok(())
}

#[tokio::test]
async fn custom_endpoint_and_region_are_used() -> Outcome {
    let mut testbed = Identities::new().await?;
    let elsewhere = Ecr::start(TWELVE_HOURS).await?;
    let endpoint = format!("http://{}", elsewhere.address());
    testbed.settings.registry_with(OTHERS, &[("endpoint", &endpoint), ("region", "eu-west-3")]);
    let agent = testbed.start()?;
    shown(&agent, "both tokens", |s| has_token(s, OTHERS).and(has_token(s, TRUSTED_REGISTRY))).await?;
    passes(&agent, 1).await?;
    let regions = |ecr: &Ecr| ecr.calls().into_iter().map(|call| call.region).collect::<Vec<_>>();
    assert_eq!(
        (regions(&elsewhere), regions(&testbed.ecr)),
        (vec!["eu-west-3".into()], vec!["us-east-1".into()])
    );
    assert_eq!(testbed.auth(OTHERS), elsewhere.newest("eu-west-3").map(|token| token.auth()));
    Ok(())
}

#[tokio::test]
async fn ecr_public_is_called_by_its_own_api() -> Outcome {
    let mut testbed = Identities::new().await?;
    testbed.settings.registry(PUBLIC, &["mirror.example.com:5000"]);
    testbed.public.fail_always(Fault::AccessDenied);
    let agent = testbed.start()?;
    let error = shown(&agent, "the denial", |status| {
        registry(status, PUBLIC)?["last_error"].as_str().map(str::to_owned)
    })
    .await?;
    for words in ["ECR Public", "ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    testbed.public.heal();
    shown(&agent, "both tokens", |s| has_token(s, PUBLIC).and(has_token(s, TRUSTED_REGISTRY))).await?;
    passes(&agent, 1).await?;
    assert!(testbed.public.calls().iter().all(|call| call.public && call.region == "us-east-1"));
    let token = testbed.public.newest_public().ok_or("no token of ECR Public")?.auth();
    assert_eq!(testbed.auth(PUBLIC).as_ref(), Some(&token));
    assert_eq!(testbed.auth("mirror.example.com:5000").as_ref(), Some(&token));
    let status = agent.status().await?;
    let shown = registry(&status, PUBLIC).ok_or("not in the status")?;
    assert_eq!((&shown["region"], &shown["account"]), (&"us-east-1".into(), &Value::Null));
    Ok(())
}

#[tokio::test]
async fn reload_after_a_role_change_fetches_a_new_token() -> Outcome {
    let testbed = Identities::new().await?;
    let agent = testbed.start()?;
    shown(&agent, "a token", |status| has_token(status, TRUSTED_REGISTRY)).await?;
    agent.signal(Signal::SIGHUP)?;
    passes(&agent, 2).await?;
    assert_eq!(testbed.keys(), [ACCESS_KEY], "the same role needs no new token");

    testbed.imds.set_role("replaced");
    agent.signal(Signal::SIGHUP)?;
    let calls = testbed.ecr.wait_for_calls(2, SOON).await?;
    assert_eq!(calls[1].access_key, access_key_of("replaced"));
    Ok(())
}

#[tokio::test]
async fn changed_identity_in_settings_fetches_a_new_token() -> Outcome {
    let mut testbed = Identities::new().await?;
    testbed.sts.allow(Role { external_id: None, ..READER });
    let agent = testbed.start()?;
    shown(&agent, "a token", |status| has_token(status, TRUSTED_REGISTRY)).await?;
    let before = testbed.auth(TRUSTED_REGISTRY);
    testbed.settings.registry_with(TRUSTED_REGISTRY, &[("role_arn", READER.arn)]);
    testbed.write_settings()?;
    let calls = testbed.ecr.wait_for_calls(2, SOON).await?;
    assert_eq!(calls[1].access_key, READER.access_key);
    shown(&agent, "the new token in the document", |_| {
        (testbed.auth(TRUSTED_REGISTRY) != before).then_some(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn token_is_renewed_when_its_credentials_expire() -> Outcome {
    let testbed = Identities::new().await?;
    testbed.imds.set_credential_life(SignedDuration::from_secs(30));
    let agent = testbed.start()?;
    let calls = testbed.ecr.wait_for_calls(2, SOON).await?;
    // The service's times are whole seconds.
    let apart = calls[1].at.duration_since(calls[0].at);
    assert!(apart >= SignedDuration::from_secs(2), "renewed too early: {apart}");
    let expires_in = shown(&agent, "a refresh long before the end", |status| {
        let registry = registry(status, TRUSTED_REGISTRY)?;
        let at = |field: &str| registry[field].as_str()?.parse::<jiff::Timestamp>().ok();
        Some(at("expires_at")?.duration_since(at("refresh_at")?))
    })
    .await?;
    assert!(expires_in > SignedDuration::from_hours(11), "the token's expiry must not change: {expires_in}");
    Ok(())
}
