//! `report`: everything that support needs, and no secret.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use emr_ecr_agent_tests::canary;
use emr_ecr_agent_tests::node::{REGION, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::process::{self, Finished};
use emr_ecr_agent_tests::scratch;
use emr_ecr_agent_tests::testbed::{Outcome, Testbed, docker_config_fresh, wait_for_token};
use serde_json::Value;

const PASSWORD: &str = "hunter2-of-the-operator";
/// `operator:` followed by the password.
const STATIC_AUTH: &str = "b3BlcmF0b3I6aHVudGVyMi1vZi10aGUtb3BlcmF0b3I=";

/// Runs the command; returns its output and the unpacked directory.
async fn report(testbed: &Testbed, into: &Path) -> Outcome<(Finished, PathBuf)> {
    let output = into.join("report.tar.gz");
    let path = output.display().to_string();
    let config = testbed.node.agent_toml().display().to_string();
    let finished = testbed.run_plainly(&["report", "--output", &path, "--config", &config]).await?;
    assert_eq!((finished.code, finished.out.trim()), (0, path.as_str()), "{}", finished.err);
    assert_eq!(fs::metadata(&output)?.permissions().mode() & 0o7777, 0o600);
    let mut tar = process::bound_to_parent(Path::new("/usr/bin/tar"));
    tar.arg("-xzf").arg(&output).arg("-C").arg(into);
    let unpacked = process::run(tar).await?;
    assert_eq!(unpacked.code, 0, "{}", unpacked.err);
    fs::remove_file(output)?;
    let mut names = fs::read_dir(into)?.map(|entry| entry.map(|entry| entry.path()));
    let directory = names.next().ok_or("an empty archive")??;
    assert!(names.next().is_none(), "all is in one directory");
    Ok((finished, directory))
}

fn json(directory: &Path, name: &str) -> Outcome<Value> {
    Ok(serde_json::from_slice(&fs::read(directory.join(name))?)?)
}

#[tokio::test]
async fn it_has_everything_but_secrets() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    let (log, credentials) = (testbed.node.path("own.log"), testbed.node.path("static.json"));
    testbed.settings.set("log.file", log.display().to_string());
    testbed.settings.set("static_credentials", credentials.display().to_string());
    let auths = format!(r#"{{"auths":{{"hub.example.com":{{"auth":"{STATIC_AUTH}"}}}}}}"#);
    testbed.node.write("static.json", &auths)?;
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600))?;
    let agent = testbed.start()?;
    wait_for_token(&agent).await?;
    docker_config_fresh(&agent).await?;
    let token = testbed.ecr.newest(REGION).ok_or("no token")?;

    // Simulates a bug: by itself the log contains no secret.
    let mut file = OpenOptions::new().append(true).open(&log)?;
    let session = "FwoGZXIvYXdzE".repeat(12);
    writeln!(file, "auth {} and {STATIC_AUTH}, password {PASSWORD}", token.auth())?;
    writeln!(file, "Bearer {} {session} AKIAIOSFODNN7EXAMPLE", token.password())?;
    writeln!(file, "http://user:pw-of-a-proxy@proxy:3128 aws_secret_access_key=wJalrXUtnFEMIbPxRfiCYKEY")?;

    let unpacked = scratch::directory("report")?;
    let (_, directory) = report(&testbed, unpacked.path()).await?;
    let contents = json(&directory, "contents.json")?;
    assert_eq!(contents["missing"], Value::Array(Vec::new()), "{contents:#}");
    assert_eq!(json(&directory, "status.json")?["registries"][0]["host"], TRUSTED_REGISTRY);
    let settings = json(&directory, "settings.json")?;
    let own = settings["settings"].as_array().into_iter().flatten().find(|s| s["key"] == "log.file");
    assert_eq!(own.ok_or("no such setting")?["origin"], "file");
    assert!(json(&directory, "findings.json")?["findings"].is_array());
    assert_eq!(json(&directory, "versions.json")?["emr"], "emr-6.15.0");
    assert!(fs::read_to_string(directory.join("metrics.txt"))?.contains("emr_ecr_agent_ready"));
    let logged = fs::read_to_string(directory.join("agent.log"))?;
    assert!(logged.contains("started") && logged.contains("auth [redacted] and [redacted]"), "{logged}");

    let bytes = canary::contents(&directory, &[])?;
    let auth = token.auth();
    for secret in [
        auth.as_str(),
        token.password(),
        STATIC_AUTH,
        PASSWORD,
        &session,
        "AKIAIOSFODNN7EXAMPLE",
        "pw-of-a-proxy",
        "wJalrXUtnFEMIbPxRfiCYKEY",
    ] {
        canary::check_absent(secret.as_bytes(), &bytes);
    }
    Ok(())
}

#[tokio::test]
async fn it_names_what_is_missing() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    testbed.node.write("agent.toml", "[log]\nlevel = \"loud\"\n")?;
    let unpacked = scratch::directory("report")?;
    let (finished, directory) = report(&testbed, unpacked.path()).await?;
    let missing = json(&directory, "contents.json")?["missing"].clone();
    let missing: Vec<_> = missing.as_array().into_iter().flatten().collect();
    let why = |file: &str| {
        let found = missing.iter().find(|missing| missing["file"] == file);
        found.and_then(|missing| missing["why"].as_str()).unwrap_or_default()
    };
    assert!(why("settings.json").contains("log.level"), "{missing:?}");
    assert!(why("status.json").contains("no agent answers"), "{missing:?}");
    for file in ["settings.json", "status.json", "metrics.txt"] {
        assert!(finished.err.contains(&format!("not included: {file}: ")), "{}", finished.err);
        assert!(!directory.join(file).exists());
    }
    assert!(directory.join("versions.json").exists());
    Ok(())
}
