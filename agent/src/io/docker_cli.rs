//! The docker command, as container-executor runs it: with its own config directory and no environment.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use thiserror::Error;
use tokio::process::Command;
use zeroize::Zeroizing;

/// Limit on the output kept, in bytes per stream.
const MOST_OUTPUT: usize = 64 << 10;

#[derive(Debug, Error)]
pub(crate) enum DockerCliError {
    #[error("cannot run {}", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("docker {operation} did not end within {deadline:?}")]
    Timeout { operation: &'static str, deadline: Duration },
    /// With docker's own message.
    #[error("docker {operation} failed: {text}")]
    Failed { operation: &'static str, text: String },
    #[error("cannot write a Docker config for one command in {}", directory.display())]
    Config { directory: PathBuf, source: io::Error },
    #[error("docker inspect printed no description of {image}")]
    Inspect { image: String, source: serde_json::Error },
}

/// Labels alone can exceed [`MOST_OUTPUT`].
const INSPECT: &str = r#"--format={"Size":{{json .Size}},"Architecture":{{json .Architecture}},"RepoTags":{{json .RepoTags}},"RepoDigests":{{json .RepoDigests}}}"#;

/// Prefix of the config directories.
const PREFIX: &str = "emr-ecr-agent-docker-";

/// The docker command with its own config directory, which only its owner can read and which is removed on drop.
#[derive(Debug)]
pub(crate) struct DockerCli {
    program: PathBuf,
    config: TempDir,
}

/// What docker printed.
struct Printed {
    out: String,
    err: String,
}

/// Docker's description of an image.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Image {
    /// In bytes, unpacked.
    pub size: u64,
    pub architecture: String,
    /// All its names with a tag.
    #[serde(default)]
    pub repo_tags: Vec<String>,
    /// All its names with a digest.
    #[serde(default)]
    pub repo_digests: Vec<String>,
}

/// The image's name with the tag that docker adds, without which `docker images` lists every tag.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// Removes config directories that a killed process left in `directory`.
pub(crate) fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl DockerCli {
    /// Writes these values of `auth` by name, as YARN does, to a file below `directory`.
    pub(crate) fn new<'a>(
        program: PathBuf,
        directory: &Path,
        auths: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, DockerCliError> {
        let failed = |source| DockerCliError::Config { directory: directory.to_owned(), source };
        let config = tempfile::Builder::new().prefix(PREFIX).tempdir_in(directory).map_err(failed)?;
        let auths: Map<String, Value> =
            auths.map(|(name, auth)| (name.to_owned(), json!({ "auth": auth }))).collect();
        let text = Zeroizing::new(json!({ "auths": auths }).to_string());
        let path = config.path().join("config.json");
        let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
        Ok(Self { program, config })
    }

    /// Pulls the image; returns how long it took.
    pub(crate) async fn pull(&self, image: &str, deadline: Duration) -> Result<Duration, DockerCliError> {
        let began = Instant::now();
        self.run("pull", ["--quiet", "--", image], deadline).await?;
        Ok(began.elapsed())
    }

    /// `None` if the image is not on this node.
    pub(crate) async fn image(
        &self,
        image: &str,
        deadline: Duration,
    ) -> Result<Option<Image>, DockerCliError> {
        let image = &with_tag(image);
        let listed = self.run("images", ["--quiet", "--no-trunc", "--", image], deadline).await?;
        if listed.out.trim().is_empty() {
            return Ok(None);
        }
        let inspected = self.run("inspect", ["--type=image", INSPECT, "--", image], deadline).await?;
        let read = serde_json::from_str(&inspected.out);
        read.map(Some).map_err(|source| DockerCliError::Inspect { image: image.to_owned(), source })
    }

    /// Runs a command in a temporary container without a network; returns its output.
    pub(crate) async fn run_in(
        &self,
        image: &str,
        container: &str,
        command: &[&str],
        deadline: Duration,
    ) -> Result<String, DockerCliError> {
        let (program, arguments) = command.split_first().expect("a command");
        let name = format!("--name={container}");
        let entry_point = format!("--entrypoint={program}");
        let options = ["--rm", "--network=none", &name, &entry_point, "--", image];
        let ran = self.run("run", options.iter().chain(arguments), deadline).await;
        if matches!(ran, Err(DockerCliError::Timeout { .. })) {
            // The container outlives its client.
            let _ = self.remove_container(container, deadline).await;
        }
        // Java prints its version to standard error.
        ran.map(|Printed { out, err }| out + &err)
    }

    /// Stops and removes the container.
    pub(crate) async fn remove_container(
        &self,
        container: &str,
        deadline: Duration,
    ) -> Result<(), DockerCliError> {
        self.run("rm", ["--force", "--", container], deadline).await.map(drop)
    }

    /// Adds a name to the image.
    pub(crate) async fn tag(
        &self,
        image: &str,
        name: &str,
        deadline: Duration,
    ) -> Result<(), DockerCliError> {
        self.run("tag", ["--", image, name], deadline).await.map(drop)
    }

    /// The tags of a repository on this node.
    pub(crate) async fn tags(
        &self,
        repository: &str,
        deadline: Duration,
    ) -> Result<Vec<String>, DockerCliError> {
        let listed = self.run("images", ["--format={{.Tag}}", "--", repository], deadline).await?;
        Ok(listed.out.split_whitespace().map(str::to_owned).collect())
    }

    pub(crate) async fn remove_image(&self, image: &str, deadline: Duration) -> Result<(), DockerCliError> {
        self.run("rmi", ["--", image], deadline).await.map(drop)
    }

    async fn run(
        &self,
        operation: &'static str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        deadline: Duration,
    ) -> Result<Printed, DockerCliError> {
        let mut command = Command::new(&self.program);
        command.env_clear().arg("--config").arg(self.config.path()).arg(operation).args(arguments);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(deadline, command.output()).await;
        let ended = ended.map_err(|_| DockerCliError::Timeout { operation, deadline })?;
        let output =
            ended.map_err(|source| DockerCliError::Start { program: self.program.clone(), source })?;
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_OUTPUT)]).into_owned();
        if output.status.success() {
            return Ok(Printed { out: text(&output.stdout), err: text(&output.stderr) });
        }
        let words = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        Err(DockerCliError::Failed { operation, text: words })
    }
}

#[cfg(test)]
mod tests {
    use super::with_tag;

    #[test]
    fn docker_takes_a_name_without_a_tag_for_the_latest() {
        for (image, expected) in [
            ("host:5000/team/app", "host:5000/team/app:latest"),
            ("host:5000/team/app:v1", "host:5000/team/app:v1"),
            ("host/app@sha256:00", "host/app@sha256:00"),
        ] {
            assert_eq!(with_tag(image), expected);
        }
    }
}
