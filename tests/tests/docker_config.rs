//! The node's Docker config: what the agent changes and what it leaves alone. Most tests need no HDFS.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::testbed::{
    Outcome, Testbed, docker_config_error, docker_config_fresh, passes, shown,
};
use emr_ecr_agent_tests::tmpfs::Tmpfs;
use serde_json::{Value, json};

#[tokio::test]
async fn foreign_keys_stay() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let others = json!({
        "auths": { "hub.example.com": { "auth": "aHViOmh1Yg==", "email": "a@example.com" } },
        "credHelpers": { "public.ecr.aws": "ecr-login" },
        "proxies": { "default": { "noProxy": "169.254.169.254" } },
        "futureKey": [1, { "deep": 1.50 }],
    });
    testbed.node.write("root/.docker/config.json", &others.to_string())?;
    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;

    let mut expected = others;
    let auth = testbed.ecr.newest("us-east-1").ok_or("no token issued")?.auth();
    expected["auths"][TRUSTED_REGISTRY] = json!({ "auth": auth });
    assert_eq!(testbed.docker_config()?, expected);
    Ok(())
}

#[tokio::test]
async fn file_and_directory_are_created_with_their_modes() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    fs::remove_dir(testbed.node.path("root/.docker"))?;
    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;
    assert_eq!(mode(&testbed.node.docker_config())?, 0o600);
    assert_eq!(mode(&testbed.node.path("root/.docker"))?, 0o700);
    assert_eq!(names(&testbed.node.path("root/.docker"))?, ["config.json"]);
    Ok(())
}

#[tokio::test]
async fn mode_is_restored_in_place() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;
    let path = testbed.node.docker_config();
    let inode = fs::metadata(&path)?.ino();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    shown(&agent, "the configured mode", |_| (mode(&path).ok()? == 0o600).then_some(())).await?;
    assert_eq!(fs::metadata(&path)?.ino(), inode);
    Ok(())
}

#[tokio::test]
async fn unchanged_file_is_not_rewritten() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;
    let stamp = || {
        let metadata = fs::metadata(testbed.node.docker_config())?;
        Ok::<_, std::io::Error>((metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
    };
    let before = stamp()?;
    passes(&agent, 3).await?;
    assert_eq!(stamp()?, before);
    Ok(())
}

#[tokio::test]
async fn symbolic_link_stays_and_its_target_is_replaced() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    testbed.node.write("shared-config.json", r#"{"psFormat":"x"}"#)?;
    let link = testbed.node.docker_config();
    symlink("../../shared-config.json", &link)?;
    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;
    assert!(link.is_symlink());
    let target: Value = serde_json::from_slice(&fs::read(testbed.node.path("shared-config.json"))?)?;
    assert_eq!(target["psFormat"], "x");
    assert!(target["auths"][TRUSTED_REGISTRY]["auth"].is_string());
    Ok(())
}

#[tokio::test]
async fn unmergeable_file_is_left_and_reported() -> Outcome {
    for (content, reported) in [
        ("{\"auths\": hunter2", "not JSON at line 1"),
        ("[]", "its top level is not a JSON object"),
        (r#"{"auths":["hunter2"]}"#, "its \"auths\" is not a JSON object"),
    ] {
        let testbed = Testbed::without_hdfs().await?;
        testbed.node.write("root/.docker/config.json", content)?;
        let agent = testbed.start()?;
        let error = docker_config_error(&agent).await?;
        assert!(error.contains(reported), "{error}");
        assert!(error.contains(&testbed.node.docker_config().display().to_string()), "{error}");
        passes(&agent, 2).await?;
        assert_eq!(fs::read_to_string(testbed.node.docker_config())?, content);
        assert!(!agent.log_text().contains("hunter2"));

        fs::remove_file(testbed.node.docker_config())?;
        docker_config_fresh(&agent).await?;
    }
    Ok(())
}

#[tokio::test]
async fn bad_file_does_not_block_other_sinks() -> Outcome {
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let second = testbed.node.path("second/config.json");
    testbed.settings.docker_config(&second, "0640");
    testbed.node.write("root/.docker/config.json", "not JSON")?;
    let agent = testbed.start()?;
    shown(&agent, "both other sinks", |status| {
        let fresh = |index: usize| status["sinks"][index]["fresh"] == true;
        (fresh(1) && fresh(2)).then_some(())
    })
    .await?;
    let auth = testbed.ecr.newest("us-east-1").ok_or("no token issued")?.auth();
    published.wait_for_auth(TRUSTED_REGISTRY, &auth).await?;
    assert_eq!(mode(&second)?, 0o640);
    assert_eq!(fs::read_to_string(testbed.node.docker_config())?, "not JSON");
    Ok(())
}

#[tokio::test]
async fn directory_in_its_place_is_reported() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let path = testbed.node.docker_config();
    fs::create_dir(&path)?;
    let agent = testbed.start()?;
    let error = docker_config_error(&agent).await?;
    assert!(error.contains(&format!("{} is a directory, not a regular file", path.display())), "{error}");

    fs::remove_dir(&path)?;
    docker_config_fresh(&agent).await?;
    Ok(())
}

#[tokio::test]
async fn read_only_file_system_is_reported_until_writable() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let directory = testbed.node.path("root/.docker");
    let Some(disk) = Tmpfs::mount(&directory)? else { return Ok(()) };
    disk.set_writable(false)?;
    let agent = testbed.start()?;
    let error = docker_config_error(&agent).await?;
    assert!(error.contains(&format!("cannot create a temporary file in {}", directory.display())), "{error}");
    assert!(error.contains("Read-only file system"), "{error}");

    disk.set_writable(true)?;
    docker_config_fresh(&agent).await?;
    Ok(())
}

#[tokio::test]
async fn full_disk_loses_nothing() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let directory = testbed.node.path("root/.docker");
    let Some(disk) = Tmpfs::mount(&directory)? else { return Ok(()) };
    let before = r#"{"auths":{"hub.example.com":{"auth":"aHViOmh1Yg=="}}}"#;
    testbed.node.write("root/.docker/config.json", before)?;
    let ballast = disk.fill()?;
    let agent = testbed.start()?;
    let error = docker_config_error(&agent).await?;
    assert!(error.contains("No space left on device"), "{error}");
    assert_eq!(fs::read_to_string(testbed.node.docker_config())?, before);
    passes(&agent, 2).await?;
    assert_eq!(names(&directory)?, [ballast, "config.json"], "no temporary file is left");

    fs::remove_file(directory.join(ballast))?;
    docker_config_fresh(&agent).await?;
    assert_eq!(testbed.docker_config()?["auths"]["hub.example.com"]["auth"], "aHViOmh1Yg==");
    assert_eq!(names(&directory)?, ["config.json"]);
    Ok(())
}

fn mode(path: &Path) -> std::io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

fn names(directory: &Path) -> std::io::Result<Vec<String>> {
    let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<String> =
        entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
