//! skopeo, an independent registry client: Docker can pull with a Docker config if skopeo can fetch with it.

use std::io;
use std::path::Path;

use serde_json::Value;

use crate::parts::{Missing, Part};
use crate::process;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error("cannot run skopeo")]
    Run { source: io::Error },
    #[error("skopeo cannot inspect {image}: {message}")]
    Refused { image: String, message: String },
    #[error("skopeo's report on {image} is not JSON")]
    Report { image: String, source: serde_json::Error },
}

/// Fetches the manifest and the configuration of `image` with the credentials in `config_json`.
pub async fn inspect(image: &str, config_json: &Path) -> Result<Value, Error> {
    let program = Part::registry()?.path("bin/skopeo");
    let mut command = process::bound_to_parent(&program);
    command
        .args(["--insecure-policy", "inspect", "--tls-verify=false"])
        .arg("--authfile")
        .arg(config_json)
        .arg(format!("docker://{image}"));
    let finished = process::run(command).await.map_err(|source| Error::Run { source })?;
    if finished.code != 0 {
        return Err(Error::Refused { image: image.to_owned(), message: finished.err.trim().to_owned() });
    }
    serde_json::from_str(&finished.out).map_err(|source| Error::Report { image: image.to_owned(), source })
}
