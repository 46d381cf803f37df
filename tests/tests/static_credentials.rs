//! Static credentials for other registries from the operator's file: in both documents, but never in any output.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};

use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, passes, shown};
use emr_ecr_agent_tests::wait;

const DOCKER_HUB: &str = "https://index.docker.io/v1/";
const HARBOR: &str = "harbor.example.com:8443";
/// `me:first-password`.
const FIRST: &str = "bWU6Zmlyc3QtcGFzc3dvcmQ=";
/// `me:second-password`.
const SECOND: &str = "bWU6c2Vjb25kLXBhc3N3b3Jk";

fn write(testbed: &mut Testbed, text: &str, mode: u32) -> Outcome {
    let path = testbed.node.path("credentials.json");
    testbed.settings.set("static_credentials", path.display().to_string());
    // Written under another name first, so that the agent never reads it with the wrong mode.
    testbed.node.write("credentials.new", text)?;
    let new = testbed.node.path("credentials.new");
    std::fs::set_permissions(&new, Permissions::from_mode(mode))?;
    std::fs::rename(new, path)?;
    Ok(())
}

fn entries(auth: &str) -> String {
    format!(r#"{{"auths":{{"{DOCKER_HUB}":{{"auth":"{auth}"}},"{HARBOR}":{{"auth":"{auth}"}}}}}}"#)
}

#[tokio::test]
async fn both_documents_follow_the_file() -> Outcome {
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    write(&mut testbed, &entries(FIRST), 0o600)?;
    testbed.settings.no_timer();
    let agent = testbed.start_ready().await?;
    for document in [testbed.docker_config()?, published.json().await?] {
        assert_eq!(document["auths"][DOCKER_HUB]["auth"], FIRST);
        assert_eq!(document["auths"][HARBOR]["auth"], FIRST);
        assert!(document["auths"][TRUSTED_REGISTRY]["auth"].is_string());
    }
    let status = agent.status().await?;
    assert_eq!(status["static_credentials"]["names"], serde_json::json!([HARBOR, DOCKER_HUB]));

    write(&mut testbed, &entries(SECOND), 0o400)?;
    published.wait_for_auth(DOCKER_HUB, SECOND).await?;
    wait::until("the new entry in the Docker config", SOON, async || {
        let auth =
            testbed.docker_config().map_err(|error| error.to_string())?["auths"][HARBOR]["auth"].clone();
        if auth == SECOND { Ok(()) } else { Err(auth.to_string()) }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn file_open_to_others_is_rejected_until_fixed() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    write(&mut testbed, &entries(FIRST), 0o640)?;
    let agent = testbed.start()?;
    let error = shown(&agent, "the error", |status| {
        status["static_credentials"]["error"].as_str().map(str::to_owned)
    })
    .await?;
    assert!(error.contains("mode 0640") && error.contains("chmod 0600"), "{error}");
    passes(&agent, 1).await?;
    assert!(testbed.docker_config()?["auths"][DOCKER_HUB].is_null(), "an entry was used");
    let readiness = agent.get("/readyz?verbose").await?.text();
    assert!(readiness.contains("static_credentials:"), "{readiness}");

    write(&mut testbed, &entries(FIRST), 0o600)?;
    shown(&agent, "its entries", |status| {
        let known = &status["static_credentials"];
        (known["names"].as_array()?.len() == 2 && known["error"].is_null()).then_some(())
    })
    .await?;
    passes(&agent, 1).await?;
    assert_eq!(testbed.docker_config()?["auths"][DOCKER_HUB]["auth"], FIRST);
    Ok(())
}

#[tokio::test]
async fn file_of_another_user_is_rejected() -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can change a file's owner");
        return Ok(());
    }
    let mut testbed = Testbed::without_hdfs().await?;
    write(&mut testbed, &entries(FIRST), 0o600)?;
    chown(testbed.node.path("credentials.json"), Some(12345), None)?;
    let agent = testbed.start()?;
    let error = shown(&agent, "the error", |status| {
        status["static_credentials"]["error"].as_str().map(str::to_owned)
    })
    .await?;
    assert!(error.contains("uid 12345") && error.contains("chown root"), "{error}");
    Ok(())
}

#[tokio::test]
async fn broken_file_keeps_entries_and_leaks_no_secret() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    write(&mut testbed, &entries(FIRST), 0o600)?;
    let agent = testbed.start()?;
    shown(&agent, "the entries", |status| {
        (status["static_credentials"]["names"].as_array()?.len() == 2).then_some(())
    })
    .await?;
    let broken = [
        (format!("{{ {SECOND}"), "not JSON"),
        (format!(r#"{{"auths":{{"{HARBOR}":{{"identitytoken":"{SECOND}"}}}}}}"#), HARBOR),
        (format!(r#"{{"auths":"{SECOND}"}}"#), "\"auths\""),
    ];
    for (text, words) in broken {
        write(&mut testbed, &text, 0o600)?;
        let known = shown(&agent, "the error", |status| {
            let known = &status["static_credentials"];
            known["error"].as_str()?.contains(words).then(|| known.clone())
        })
        .await?;
        assert_eq!(known["names"].as_array().map(Vec::len), Some(2), "{known}");
        passes(&agent, 1).await?;
        assert_eq!(testbed.docker_config()?["auths"][HARBOR]["auth"], FIRST, "{words}");
    }
    let metrics = agent.get("/metrics").await?.text();
    let status = agent.status().await?.to_string();
    for output in [agent.log_text(), metrics, status] {
        for secret in [FIRST, SECOND, "first-password", "second-password"] {
            assert!(!output.contains(secret), "{output}");
        }
    }
    Ok(())
}
