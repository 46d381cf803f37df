//! A Docker registry: whether it accepts a credential, and whether an image can be pulled, with its manifest, its
//! architectures, and whether its configuration mentions Java. Downloads no layers and changes nothing.

mod conversation;

use std::time::Duration;

use domain::check::{ImageConfig, ImageDetails, ImageReference, RegistryAnswer};
use domain::credentials::Secret;
use domain::refresh::{Probe, ProbeResult};
use domain::registry::is_loopback;
use domain::time::skew;
use jiff::Timestamp;
use serde::Deserialize;

use crate::io::chain;
use conversation::{Conversation, ConversationError};

/// Deadline for all requests about one image.
const DEADLINE: Duration = Duration::from_secs(15);
/// Deadline for the probe of one token.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);

/// Looks up the image with the credential of a Docker config, if there is one; `architecture` is this
/// node's, as Docker names it.
pub(crate) async fn find_image(
    image: &ImageReference,
    auth: Option<&Secret>,
    architecture: &str,
) -> RegistryAnswer {
    use ConversationError::{Status, Token};
    let mut repository = Repository::of(image, auth);
    match tokio::time::timeout(DEADLINE, repository.facts(image, architecture)).await {
        Ok(Ok(facts)) => RegistryAnswer::Found(facts),
        Ok(Err(Status { status: 404, .. })) => RegistryAnswer::NotFound,
        Ok(Err(Status { status, .. } | Token { status, .. })) if is_rejection(status) => {
            RegistryAnswer::Refused(status)
        }
        Ok(Err(error)) => RegistryAnswer::Unknown(chain(&error)),
        Err(_) => RegistryAnswer::Unknown(format!("no answer from {} within {DEADLINE:?}", image.registry)),
    }
}

/// Probes a credential at the root of the registry's API.
pub(crate) async fn probe(name: &str, auth: &Secret) -> Probe {
    let url = root_of(name);
    let mut conversation = Conversation::new(name, Some(auth));
    let sent_at = Timestamp::now();
    let answer = tokio::time::timeout(PROBE_DEADLINE, conversation.get(&url)).await;
    let date = match &answer {
        Ok(Ok(answer)) => answer.header("date").map(str::to_owned),
        _ => None,
    };
    let result = match answer.map(|answer| answer.map(|answer| answer.status())) {
        Ok(Ok(200)) => ProbeResult::Accepted,
        Ok(Ok(status) | Err(ConversationError::Token { status, .. })) if is_rejection(status) => {
            ProbeResult::Rejected(status)
        }
        Ok(Ok(status)) => ProbeResult::Unknown(format!("{name} returned HTTP {status}")),
        Ok(Err(error)) => ProbeResult::Unknown(chain(&error)),
        Err(_) => ProbeResult::Unknown(format!("no answer from {name} within {PROBE_DEADLINE:?}")),
    };
    Probe { result, clock_skew: date.and_then(|date| skew(&date, sent_at, Timestamp::now())) }
}

/// One repository of a registry.
struct Repository {
    conversation: Conversation,
    base: String,
}

/// The manifest of one image, or the list of manifests for several architectures.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    manifests: Vec<Listed>,
    config: Option<Blob>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    architecture: String,
}

#[derive(Debug, Deserialize)]
struct Blob {
    digest: String,
}

impl Repository {
    fn of(image: &ImageReference, auth: Option<&Secret>) -> Self {
        let base = format!("{}{}", root_of(&image.registry), image.repository);
        Self { conversation: Conversation::new(&image.registry, auth), base }
    }

    async fn facts(
        &mut self,
        image: &ImageReference,
        architecture: &str,
    ) -> Result<ImageDetails, ConversationError> {
        let manifest = self.manifest(&image.tag).await?;
        let platforms = manifest.manifests.iter().filter_map(|listed| listed.platform.as_ref());
        let mut architectures: Vec<String> =
            platforms.map(|platform| platform.architecture.clone()).collect();
        // Attestations are listed along with the images, with this architecture.
        architectures.retain(|architecture| architecture != "unknown");
        architectures.dedup();
        let own = manifest
            .manifests
            .iter()
            .find(|listed| listed.platform.as_ref().is_some_and(|p| p.architecture == architecture));
        let config = match own {
            Some(listed) => self.manifest(&listed.digest).await?.config,
            None => manifest.config,
        };
        let Some(config) = config else { return Ok(ImageDetails { architectures, java: None }) };
        let config = self.image_config(&config.digest).await?;
        if architectures.is_empty() && !config.architecture.is_empty() {
            architectures.push(config.architecture.clone());
        }
        Ok(ImageDetails { architectures, java: Some(config.mentions_java()) })
    }

    async fn manifest(&mut self, reference: &str) -> Result<Manifest, ConversationError> {
        let url = format!("{}/manifests/{reference}", self.base);
        self.conversation.get(&url).await?.json().await
    }

    async fn image_config(&mut self, digest: &str) -> Result<ImageConfig, ConversationError> {
        let url = format!("{}/blobs/{digest}", self.base);
        let answer = self.conversation.get(&url).await?;
        match answer.header("location").filter(|_| (300..400).contains(&answer.status())) {
            // The storage behind the registry has its own signature in the URL, and must not see the credential.
            Some(storage) => self.conversation.get_from_storage(storage).await?.json().await,
            None => answer.json().await,
        }
    }
}

/// ECR rejects with 401 or 403, ECR Public with 400.
fn is_rejection(status: u16) -> bool {
    matches!(status, 400 | 401 | 403)
}

/// The root of the registry's API.
fn root_of(registry: &str) -> String {
    let scheme = if is_loopback(registry) { "http" } else { "https" };
    format!("{scheme}://{registry}/v2/")
}

#[cfg(test)]
mod tests;
