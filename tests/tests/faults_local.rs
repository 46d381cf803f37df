//! Faults of the node's Docker config and its directory; `docker_config.rs` has others.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use emr_ecr_agent_tests::testbed::{
    Outcome, SOON, Testbed, docker_config_error, docker_config_fresh, passes,
};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::watch::Watch;
use jiff::SignedDuration;

#[tokio::test]
async fn immutable_file_is_reported_until_writable() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let path = testbed.node.docker_config();
    let before = r#"{"auths":{"hub.example.com":{"auth":"aHViOmh1Yg=="}}}"#;
    testbed.node.write("root/.docker/config.json", before)?;
    let Some(immutable) = Immutable::make(&path) else { return Ok(()) };
    let agent = testbed.start()?;
    let error = docker_config_error(&agent).await?;
    assert!(error.contains(&path.display().to_string()), "{error}");
    assert!(error.contains("Operation not permitted"), "{error}");
    passes(&agent, 2).await?;
    assert_eq!(fs::read_to_string(&path)?, before);
    // Each attempt creates one briefly.
    wait::until("no temporary file", SOON, async || {
        match fs::read_dir(testbed.node.path("root/.docker"))?.count() {
            1 => Ok(()),
            count => Err(std::io::Error::other(format!("{count} files"))),
        }
    })
    .await?;

    drop(immutable);
    docker_config_fresh(&agent).await?;
    assert_eq!(testbed.docker_config()?["auths"]["hub.example.com"]["auth"], "aHViOmh1Yg==");
    Ok(())
}

#[tokio::test]
async fn removed_directory_is_created_again() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;
    // In one step: the agent may write into a directory that is being emptied.
    let removed = testbed.node.path("root/removed");
    fs::rename(testbed.node.path("root/.docker"), &removed)?;
    fs::remove_dir_all(removed)?;
    Ok(testbed.wait_for_docker_config(|_| true).await?)
}

#[tokio::test]
async fn symlink_loop_is_reported_until_removed() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let (path, other) = (testbed.node.docker_config(), testbed.node.path("root/.docker/other"));
    symlink(&other, &path)?;
    symlink(&path, &other)?;
    let agent = testbed.start()?;
    let error = docker_config_error(&agent).await?;
    assert!(error.contains("symbolic links"), "{error}");

    fs::remove_file(&path)?;
    docker_config_fresh(&agent).await?;
    Ok(testbed.wait_for_docker_config(|_| true).await?)
}

/// Another program keeps replacing the file, as `docker login` does, while a reader never stops.
#[tokio::test]
async fn readers_see_complete_files_despite_two_writers() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    testbed.ecr.set_token_life(SignedDuration::from_secs(10));
    let agent = testbed.start()?;
    docker_config_fresh(&agent).await?;
    let watch = Watch::over_local(&testbed)?;

    for round in 0..10 {
        let mut config = testbed.docker_config()?;
        config["round"] = round.into();
        testbed.node.write("root/.docker/other", &config.to_string())?;
        fs::rename(testbed.node.path("root/.docker/other"), testbed.node.docker_config())?;
        let calls = testbed.ecr.calls().len();
        if round % 5 == 0 {
            testbed.ecr.wait_for_calls(calls + 1, SOON).await?;
        }
        testbed.wait_for_docker_config(|_| true).await?;
    }
    watch.end_well();
    Ok(())
}

/// A file that cannot be changed, renamed or replaced. Requires root and a file system that supports it.
struct Immutable<'a>(&'a Path);

impl<'a> Immutable<'a> {
    fn make(path: &'a Path) -> Option<Self> {
        if set_immutable("+i", path) {
            return Some(Self(path));
        }
        eprintln!("SKIPPED: this file system, or user, cannot make a file immutable");
        None
    }
}

impl Drop for Immutable<'_> {
    fn drop(&mut self) {
        set_immutable("-i", self.0);
    }
}

fn set_immutable(change: &str, path: &Path) -> bool {
    Command::new("chattr").arg(change).arg(path).output().is_ok_and(|output| output.status.success())
}
