//! Faults of ECR, ECR Public and STS, one at a time, mostly while a token is valid. Each is reported, valid tokens
//! stay, other registries are unaffected, and the next token arrives once the fault is gone.

use std::time::Duration;

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::ecr::{BadToken, Fault};
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::sts;
use emr_ecr_agent_tests::testbed::identities::{Identities, OTHERS, PUBLIC, has_token, registry};
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, passes, shown, wait_for_token};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::watch::Watch;
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// The faulty service and its fault.
#[derive(Debug, Clone, Copy)]
enum ServiceFault {
    Private(Fault),
    Public(Fault),
    Sts(sts::Fault),
}

/// Longer than the deadline of a call.
const LATE: Duration = Duration::from_secs(60);

/// ECR's faults, each with the counter's `result` (alternatives separated by `|`) and a substring of the error.
const ECR_FAULTS: [(Fault, &str, &str); 12] = [
    (Fault::Throttled, "throttled", "ThrottlingException: Rate exceeded"),
    (Fault::AccessDenied, "denied", "ecr:GetAuthorizationToken"),
    (Fault::ExpiredCredentials, "service", "ExpiredTokenException"),
    (Fault::ServerError, "service", "ServerException"),
    (Fault::Torn, "network|service", "GetAuthorizationToken"),
    (Fault::Garbage, "service", "GetAuthorizationToken"),
    (Fault::Slow(LATE), "timeout", "within 3s"),
    (Fault::Silent, "timeout", "within 3s"),
    (Fault::Content(BadToken::AlreadyExpired), "invalid", "the token expired at"),
    (Fault::Content(BadToken::NotAwsUser), "invalid", "not base64 of AWS:password"),
    (Fault::Content(BadToken::NotBase64), "invalid", "not base64 of AWS:password"),
    (Fault::Content(BadToken::Missing), "invalid", "contains no authorization token"),
];

#[tokio::test]
async fn failed_first_call_is_reported_and_retried() -> Outcome {
    try_join_all(ECR_FAULTS.map(|(fault, kind, words)| check_first_call(fault, kind, words))).await?;
    Ok(())
}

async fn check_first_call(fault: Fault, kind: &str, words: &str) -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.set("deadlines.ecr", deadline(kind));
    testbed.ecr.fail_always(fault);
    let agent = testbed.start()?;
    // On a busy machine the metadata service may miss the SDK's one-second deadline before the agent calls ECR.
    let error = shown(&agent, words, |status| {
        let error = status["registries"][0]["last_error"].as_str()?;
        error.contains(words).then(|| error.to_owned())
    })
    .await?;
    assert!(error.contains("us-east-1") && !error.contains('\n'), "{fault:?}: {error}");
    assert_counted(&agent, TRUSTED_REGISTRY, kind).await?;
    assert!(!testbed.node.docker_config().exists(), "{fault:?}: it wrote a file without a token");

    testbed.ecr.heal();
    Ok(wait_for_token(&agent).await?)
}

/// On a busy machine the SDK's second attempt may be late; it may count as a timeout only if that is the fault.
fn deadline(kind: &str) -> &'static str {
    if kind == "timeout" { "3s" } else { "15s" }
}

/// `kind` may contain alternatives separated by `|`.
async fn assert_counted(agent: &Agent, host: &str, kind: &str) -> Outcome {
    let metrics = agent.get("/metrics").await?.text();
    let counted = kind.split('|').any(|kind| {
        let labels = format!("registry=\"{host}\",result=\"{kind}\"");
        metrics.contains(&format!("\nemr_ecr_agent_token_refresh_total{{{labels}}}"))
    });
    assert!(counted, "{host} {kind}: {metrics}");
    Ok(())
}

#[tokio::test]
async fn ecr_faults_during_renewal_are_survived() -> Outcome {
    check_all(ECR_FAULTS.map(|(fault, kind, words)| (ServiceFault::Private(fault), kind, words))).await
}

#[tokio::test]
async fn ecr_public_faults_during_renewal_are_survived() -> Outcome {
    // One of each kind: calls fail the same way as ECR's.
    let table = [
        (Fault::Throttled, "throttled", "ThrottlingException: Rate exceeded"),
        (Fault::AccessDenied, "denied", "ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken"),
        (Fault::ServerError, "service", "ServerException"),
        (Fault::Torn, "network|service", "ECR Public"),
        (Fault::Silent, "timeout", "ECR Public"),
        (Fault::Content(BadToken::NotAwsUser), "invalid", "not base64 of AWS:password"),
    ];
    check_all(table.map(|(fault, kind, words)| (ServiceFault::Public(fault), kind, words))).await
}

#[tokio::test]
async fn sts_faults_during_renewal_are_survived() -> Outcome {
    use sts::Fault;
    let table = [
        (Fault::Throttled, "throttled", "throttled AssumeRole: Throttling: Rate exceeded"),
        (Fault::AccessDenied, "role_denied", "sts:AssumeRole"),
        (Fault::ExpiredCredentials, "service", "ExpiredToken"),
        (Fault::ServerError, "service", "InternalFailure"),
        (Fault::Torn, "network|service", "AssumeRole"),
        (Fault::Garbage, "service", "AssumeRole"),
        (Fault::Slow(LATE), "timeout", "within 3s"),
        (Fault::Silent, "timeout", "within 3s"),
        (Fault::Content(sts::NoCredentials), "service", "failed AssumeRole: the response has no credentials"),
    ];
    check_all(table.map(|(fault, kind, words)| (ServiceFault::Sts(fault), kind, words))).await
}

/// Checks a few rows at a time: a metadata response that takes a second fails, and one thread responds for all rows.
async fn check_all<const N: usize>(table: [(ServiceFault, &str, &str); N]) -> Outcome {
    for rows in table.chunks(4) {
        try_join_all(rows.iter().map(|(fault, kind, words)| check(*fault, kind, words))).await?;
    }
    Ok(())
}

/// `kind` is the counter's `result`, `words` a substring of the error.
async fn check(fault: ServiceFault, kind: &str, words: &str) -> Outcome {
    let mut testbed = Identities::new().await?;
    testbed.settings.set("deadlines.ecr", deadline(kind));
    testbed.settings.registry(PUBLIC, &[]);
    testbed.add_others_by_role();
    // Renewal at half of the token's life leaves time to check that the valid token stays.
    for ecr in [&testbed.ecr, &testbed.public] {
        ecr.set_token_life(SignedDuration::from_secs(20));
    }
    let agent = testbed.start()?;
    wait_for_tokens(&agent, &[TRUSTED_REGISTRY, OTHERS, PUBLIC]).await?;
    let host = fault.host();
    let first = testbed.auth(host).ok_or("no token in the Docker config")?;
    let watch = Watch::over_local(&testbed)?;
    fault.begin(&testbed);

    let failing = shown(&agent, "a failure", |status| {
        let registry = registry(status, host)?;
        (registry["consecutive_failures"].as_u64()? >= 1).then(|| registry.clone())
    })
    .await?;
    let error = failing["last_error"].as_str().unwrap_or_default();
    assert!(error.contains(words) && !error.contains('\n'), "{fault:?}: {error}");
    assert_counted(&agent, host, kind).await?;
    let ends: Timestamp = failing["expires_at"].as_str().ok_or("the valid token was dropped")?.parse()?;
    assert!(ends > Timestamp::now(), "{fault:?}: checked too late");
    assert_eq!(testbed.auth(host), Some(first.clone()), "{fault:?}: the valid token must stay");
    let status = agent.status().await?;
    for bystander in fault.bystanders() {
        let shown = registry(&status, bystander).ok_or("not in the status")?;
        assert_eq!(shown["consecutive_failures"], 0, "{fault:?}: {shown}");
    }

    fault.end(&testbed);
    wait::until("the next token", SOON, async || match testbed.auth(host) {
        Some(next) if next != first => Ok(()),
        _ => Err("none yet"),
    })
    .await?;
    wait_for_tokens(&agent, &[host]).await?;
    watch.end_truthful();
    Ok(())
}

impl ServiceFault {
    /// The registry that gets no more tokens.
    fn host(self) -> &'static str {
        match self {
            Self::Private(_) => TRUSTED_REGISTRY,
            Self::Public(_) => PUBLIC,
            Self::Sts(_) => OTHERS,
        }
    }

    /// Registries that the fault does not affect.
    fn bystanders(self) -> &'static [&'static str] {
        match self {
            Self::Private(_) => &[PUBLIC],
            Self::Public(_) => &[TRUSTED_REGISTRY, OTHERS],
            Self::Sts(_) => &[TRUSTED_REGISTRY, PUBLIC],
        }
    }

    fn begin(self, testbed: &Identities) {
        match self {
            Self::Private(fault) => testbed.ecr.fail_always(fault),
            Self::Public(fault) => testbed.public.fail_always(fault),
            Self::Sts(fault) => testbed.sts.fail_always(fault),
        }
    }

    fn end(self, testbed: &Identities) {
        match self {
            Self::Private(_) => testbed.ecr.heal(),
            Self::Public(_) => testbed.public.heal(),
            Self::Sts(_) => testbed.sts.heal(),
        }
    }
}

/// All services reject signatures with a wrong time, here the node's.
#[tokio::test]
async fn clock_wrong_by_hours_prevents_no_call() -> Outcome {
    for hours in [-3, 3] {
        let mut testbed = Identities::new().await?;
        testbed.settings.registry(PUBLIC, &[]);
        testbed.add_others_by_role();
        let offset = SignedDuration::from_hours(hours);
        testbed.ecr.set_clock_offset(offset);
        testbed.public.set_clock_offset(offset);
        testbed.sts.set_clock_offset(offset);
        let agent = testbed.start()?;
        let hosts = [TRUSTED_REGISTRY, OTHERS, PUBLIC];
        wait_for_tokens(&agent, &hosts).await?;
        let calls = || [testbed.ecr.calls().len(), testbed.public.calls().len(), testbed.sts.calls().len()];
        let before = calls();
        passes(&agent, 2).await?;
        let status = agent.status().await?;
        let skew = status["clock_skew_seconds"].as_f64().ok_or("no skew")?;
        assert!((skew - hours as f64 * 3600.0).abs() < 60.0, "{hours} h: {skew}");
        for check in status["checks"].as_array().into_iter().flatten() {
            let of_token = check["name"].as_str().is_some_and(|name| name.starts_with("token:"));
            assert!(!of_token || check["ok"] == true, "{hours} h: {check}");
        }
        assert_eq!(calls(), before, "{hours} h: nothing is due yet");
    }
    Ok(())
}

/// Waits until these registries and the sinks have tokens.
async fn wait_for_tokens(agent: &Agent, hosts: &[&str]) -> Outcome {
    let well = |status: &Value, host: &str| registry(status, host).is_some_and(|r| r["last_error"].is_null());
    shown(agent, "tokens", |status| {
        let have = hosts.iter().all(|host| has_token(status, host).is_some() && well(status, host));
        have.then_some(())
    })
    .await?;
    Ok(passes(agent, 1).await?)
}
