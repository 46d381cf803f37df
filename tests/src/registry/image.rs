//! Builds an image of one layer, and pushes it through the registry's HTTP API.

use std::fmt::Write;
use std::net::SocketAddr;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Error, IMAGE};
use crate::http::Call;

/// Pushes an image with this layer, a tar archive, to the repository of [`IMAGE`] under these tags, with this
/// `Authorization` header.
pub(super) async fn push(
    address: SocketAddr,
    authorization: &str,
    layer: Vec<u8>,
    tags: &[&str],
) -> Result<(), Error> {
    let layer = Blob::new(layer);
    let config = Blob::new(config(&layer).to_string());
    let upload = Upload { address, authorization };
    upload.blob(&layer).await?;
    upload.blob(&config).await?;
    let manifest = manifest(&config, &layer);
    for tag in tags {
        upload.manifest(&manifest, tag).await?;
    }
    Ok(())
}

struct Blob {
    bytes: Bytes,
    digest: String,
}

impl Blob {
    fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let mut digest = "sha256:".to_owned();
        for byte in Sha256::digest(&bytes) {
            // Writing to a String cannot fail.
            let _ = write!(digest, "{byte:02x}");
        }
        Self { bytes, digest }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "size": self.bytes.len(), "digest": self.digest })
    }
}

/// A layer with one small file.
pub(super) fn readme() -> std::io::Result<Vec<u8>> {
    let content = b"This image exists to be pulled.\n";
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "README", content.as_slice())?;
    archive.into_inner()
}

fn config(layer: &Blob) -> Value {
    json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": { "Labels": { "sandbox": "emr-ecr-agent" } },
        "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
    })
}

fn manifest(config: &Blob, layer: &Blob) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar")],
    })
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

struct Upload<'a> {
    address: SocketAddr,
    authorization: &'a str,
}

impl Upload<'_> {
    async fn blob(&self, blob: &Blob) -> Result<(), Error> {
        let (repository, _tag) = IMAGE;
        let begin = format!("/v2/{repository}/blobs/uploads/");
        let answer = self.call(Method::POST, &begin).send().await?;
        expect("the start of an upload", answer.status, StatusCode::ACCEPTED)?;
        let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let host = format!("http://{}", self.address);
        let path = location.strip_prefix(&host).unwrap_or(location);
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}digest={}", blob.digest);
        let answer = self
            .call(Method::PUT, &path)
            .header(CONTENT_TYPE.as_str(), "application/octet-stream")
            .body(blob.bytes.clone())
            .send()
            .await?;
        expect("an upload", answer.status, StatusCode::CREATED)
    }

    async fn manifest(&self, manifest: &Value, tag: &str) -> Result<(), Error> {
        let (repository, _tag) = IMAGE;
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = self
            .call(Method::PUT, &path)
            .header(CONTENT_TYPE.as_str(), MANIFEST)
            .body(manifest.to_string())
            .send()
            .await?;
        expect("the image's manifest", answer.status, StatusCode::CREATED)
    }

    fn call(&self, method: Method, path: &str) -> Call {
        Call::new(method, self.address, path).header(AUTHORIZATION.as_str(), self.authorization)
    }
}

fn expect(what: &str, status: StatusCode, wanted: StatusCode) -> Result<(), Error> {
    if status == wanted {
        return Ok(());
    }
    Err(Error::Refused { what: what.to_owned(), status })
}
