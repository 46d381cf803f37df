//! Tests of the harness's servers: the stand-ins respond as AWS does, and the real parts work.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use emr_ecr_agent_tests::ecr::{Ecr, Fault};
use emr_ecr_agent_tests::hdfs::{Hdfs, HdfsClient, SharedHdfs};
use emr_ecr_agent_tests::http::{self, Answer, Call};
use emr_ecr_agent_tests::imds::{Behavior, Imds};
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::registry::{Registry, USER};
use emr_ecr_agent_tests::scratch;
use emr_ecr_agent_tests::skopeo;
use emr_ecr_agent_tests::testbed::Outcome;
use emr_ecr_agent_tests::yarn::{self, HandOver, Launch, YarnReader};
use hyper::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const PRIVATE: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
const PUBLIC: &str = "SpencerFrontendService.GetAuthorizationToken";
const SOON: Duration = Duration::from_secs(10);

async fn ask(ecr: SocketAddr, region: &str, target: &str) -> Result<Answer, http::Error> {
    let scope = format!("AKIDEXAMPLE/20260101/{region}/ecr/aws4_request");
    Call::new(Method::POST, ecr, "/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", target)
        .header(
            "authorization",
            &format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=00"),
        )
        .body("{}")
        .send()
        .await
}

#[tokio::test]
async fn ecr_issues_a_new_token_on_each_call() -> Outcome {
    let life = SignedDuration::from_secs(40);
    let ecr = Ecr::start(life).await?;
    let mut seen = Vec::new();
    for region in ["us-east-1", "us-east-1", "eu-west-1"] {
        let answer = ask(ecr.address(), region, PRIVATE).await?;
        let document: Value = serde_json::from_slice(&answer.body)?;
        let data = &document["authorizationData"][0];
        let newest = ecr.newest(region).ok_or("no token issued")?;

        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(data["authorizationToken"], newest.auth());
        assert_eq!(data["proxyEndpoint"], format!("https://123456789123.dkr.ecr.{region}.amazonaws.com"));
        let expires_at = data["expiresAt"].as_f64().ok_or("expiresAt is not a number")?;
        let expected = newest.expires_at.as_millisecond() as f64 / 1000.0;
        assert!((expires_at - expected).abs() < 0.001);
        assert_eq!(newest.expires_at.duration_since(newest.issued_at), life);
        assert!(!format!("{newest:?}").contains(newest.password()));
        assert!(!seen.contains(&newest.auth()));
        seen.push(newest.auth());
    }
    let calls = ecr.wait_for_calls(3, SOON).await?;
    let regions: Vec<&str> = calls.iter().map(|call| call.region.as_str()).collect();
    assert_eq!(regions, ["us-east-1", "us-east-1", "eu-west-1"]);
    assert!(calls.iter().all(|call| call.access_key == "AKIDEXAMPLE"));
    Ok(())
}

#[tokio::test]
async fn ecr_public_answers_with_a_single_object() -> Outcome {
    let ecr = Ecr::start(SignedDuration::from_hours(12)).await?;
    let answer = ask(ecr.address(), "us-east-1", PUBLIC).await?;
    let document: Value = serde_json::from_slice(&answer.body)?;
    assert!(document["authorizationData"]["authorizationToken"].is_string());
    assert!(document["authorizationData"].get("proxyEndpoint").is_none());
    assert!(ecr.calls()[0].public);
    Ok(())
}

#[tokio::test]
async fn ecr_fails_as_set_until_healed() -> Outcome {
    let ecr = Ecr::start(SignedDuration::from_hours(12)).await?;
    for (fault, status, kind) in [
        (Fault::Throttled, 400, "ThrottlingException"),
        (Fault::AccessDenied, 400, "AccessDeniedException"),
        (Fault::ExpiredCredentials, 400, "ExpiredTokenException"),
        (Fault::ServerError, 500, "ServerException"),
    ] {
        ecr.fail_next([fault]);
        let answer = ask(ecr.address(), "us-east-1", PRIVATE).await?;
        let document: Value = serde_json::from_slice(&answer.body)?;
        assert_eq!(answer.status, status, "{fault:?}");
        assert_eq!(document["__type"], kind, "{fault:?}");
    }
    assert!(ecr.newest("us-east-1").is_none());

    ecr.fail_always(Fault::Torn);
    for _ in 0..2 {
        let torn = ask(ecr.address(), "us-east-1", PRIVATE).await;
        assert!(matches!(torn, Err(http::Error::Exchange { .. })), "{torn:?}");
    }
    ecr.heal();
    let healed = ask(ecr.address(), "us-east-1", PRIVATE).await?;
    assert_eq!(healed.status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn ecr_uses_its_own_clock() -> Outcome {
    let ecr = Ecr::start(SignedDuration::from_hours(12)).await?;
    ecr.set_clock_offset(SignedDuration::from_hours(-3));
    let answer = ask(ecr.address(), "us-east-1", PRIVATE).await?;
    let date = answer.headers["date"].to_str()?;
    let date = jiff::fmt::rfc2822::parse(date)?.timestamp();
    let behind = Timestamp::now().duration_since(date).as_hours();
    assert_eq!(behind, 3);
    let newest = ecr.newest("us-east-1").ok_or("no token issued")?;
    let ahead = newest.expires_at.duration_since(Timestamp::now());
    assert_eq!(ahead.as_hours(), 8);
    Ok(())
}

#[tokio::test]
async fn imds_requires_a_session() -> Outcome {
    const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials/";
    let imds = Imds::start("us-east-1").await?;
    let refused = http::get(imds.address(), CREDENTIALS).await?;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);

    let session = Call::new(Method::PUT, imds.address(), "/latest/api/token")
        .header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
        .send()
        .await?
        .text();
    let get = async |path: &str| {
        Call::new(Method::GET, imds.address(), path).header("x-aws-ec2-metadata-token", &session).send().await
    };
    let role = get(CREDENTIALS).await?.text();
    let document = get(&format!("{CREDENTIALS}{role}")).await?;
    let document: Value = serde_json::from_slice(&document.body)?;
    let expiration: Timestamp = document["Expiration"].as_str().ok_or("no expiration")?.parse()?;
    assert!(expiration > Timestamp::now());

    imds.set_behavior(Behavior::NoRole);
    assert_eq!(get(CREDENTIALS).await?.status, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn registry_accepts_only_the_newest_token() -> Outcome {
    if !parts::present([Part::registry()]) {
        return Ok(());
    }
    let registry = Registry::start().await?;
    let ecr = Ecr::start(SignedDuration::from_hours(12)).await?;
    registry.follow(&ecr);
    let directory = scratch::directory("sandbox-test")?;
    let mut before = None;
    for _ in 0..3 {
        ask(ecr.address(), "us-east-1", PRIVATE).await?;
        let token = ecr.newest("us-east-1").ok_or("no token issued")?;
        let accepted = registry.answer_to(USER, token.password()).await?;
        assert_eq!(accepted, StatusCode::OK);

        let authfile = write_authfile(directory.path(), &registry.host(), &token.auth())?;
        let report = skopeo::inspect(&registry.image(), &authfile).await?;
        assert_eq!(report["Labels"]["sandbox"], "emr-ecr-agent");

        if let Some(auth) = before.replace(token.auth()) {
            let authfile = write_authfile(directory.path(), &registry.host(), &auth)?;
            let refused = skopeo::inspect(&registry.image(), &authfile).await;
            assert!(matches!(refused, Err(skopeo::Error::Refused { .. })));
        }
    }
    Ok(())
}

fn write_authfile(directory: &Path, host: &str, auth: &str) -> std::io::Result<std::path::PathBuf> {
    let path = directory.join("config.json");
    fs::write(&path, json!({ "auths": { host: { "auth": auth } } }).to_string())?;
    Ok(path)
}

#[tokio::test]
async fn yarn_hands_over_what_the_fs_shell_put() -> Outcome {
    let good =
        r#"{"auths":{"b.example":{"auth":"QVdTOnR3bw=="},"a.example":{"auth":"QVdTOm9uZQ=="}},"other":1}"#;
    let Some(launch) = launch_with(good).await? else {
        return Ok(());
    };
    let handed = handed(launch)?;
    assert_eq!(handed.registries().collect::<Vec<_>>(), ["a.example", "b.example"]);
    assert_eq!(handed.auth("a.example"), Some("QVdTOm9uZQ=="));
    assert_eq!(handed.password("b.example").as_deref(), Some("two"));
    Ok(())
}

#[tokio::test]
async fn yarn_fails_on_an_entry_without_auth() -> Outcome {
    let Some(launch) = launch_with(r#"{"auths":{"a":{}}}"#).await? else {
        return Ok(());
    };
    match launch {
        Launch::Failed { class, .. } => assert_eq!(class, "java.lang.NullPointerException"),
        Launch::Handed(handed) => panic!("YARN accepted it: {handed:?}"),
    }
    Ok(())
}

/// Launches with a document published on the shared HDFS. `None` if a part is missing.
async fn launch_with(document: &str) -> Outcome<Option<Launch>> {
    if !parts::present([Part::hadoop()]) {
        return Ok(None);
    }
    let hdfs = SharedHdfs::join("hadoop", "0777").await?;
    let path = hdfs.path("config.json");
    put(hdfs.client(), document, &path).await?;
    let mut yarn = YarnReader::start(hdfs.client())?;
    Ok(Some(yarn.launch(&hdfs.client().uri(&path)).await?))
}

#[tokio::test]
async fn hdfs_enforces_permissions_and_survives_crashes() -> Outcome {
    if !parts::present([Part::hadoop()]) {
        return Ok(());
    }
    let mut hdfs = Hdfs::start().await?.with_shared_shell();
    let client = hdfs.client().clone();
    let listing = client.fs_shell("hadoop", &["-ls", "/user"]).await?;
    assert!(listing.contains("drwxrwxrwx   - hadoop hdfsadmingroup"), "{listing}");
    let refused = client.try_fs_shell("hadoop", &["-mkdir", "/mine"]).await?;
    assert!(refused.err.contains("Permission denied"), "{}", refused.err);

    let published = "/user/hadoop/config.json";
    put(&client, r#"{"auths":{"a":{"auth":"QVdTOng="}}}"#, published).await?;
    let mut yarn = YarnReader::start(&client)?;
    handed(yarn.launch(&client.uri(published)).await?)?;

    client.fs_shell("hadoop", &["-chmod", "600", published]).await?;
    let launch = yarn.launch(&client.uri(published)).await?;
    assert!(is_failure(&launch, "AccessControlException"), "{launch:?}");
    client.fs_shell("hadoop", &["-chmod", "644", published]).await?;

    hdfs.stop_namenode();
    hdfs.start_namenode().await?;
    hdfs.stop_datanode();
    hdfs.start_datanode().await?;
    let mut fresh = YarnReader::start(&client)?;
    handed(fresh.launch(&client.uri(published)).await?)?;

    client.safe_mode(true).await?;
    let refused = client.try_fs_shell("hadoop", &["-rm", published]).await?;
    assert!(refused.err.contains("safe mode"), "{}", refused.err);
    client.safe_mode(false).await?;
    client.fs_shell("hadoop", &["-rm", published]).await?;
    let launch = fresh.launch(&client.uri(published)).await?;
    assert!(is_failure(&launch, "FileNotFoundException"), "{launch:?}");
    Ok(())
}

async fn put(client: &HdfsClient, document: &str, path: &str) -> Outcome {
    let directory = scratch::directory("sandbox-test")?;
    let local = directory.path().join("config.json");
    fs::write(&local, document)?;
    let local = local.display().to_string();
    client.fs_shell("hadoop", &["-put", &local, path]).await?;
    Ok(())
}

fn handed(launch: Launch) -> Result<HandOver, String> {
    match launch {
        Launch::Handed(handed) => Ok(handed),
        Launch::Failed { class, message } => Err(format!("user {}: {class}: {message}", yarn::USER)),
    }
}

fn is_failure(launch: &Launch, exception: &str) -> bool {
    matches!(launch, Launch::Failed { class, .. } if class.ends_with(exception))
}
