//! A real docker-registry with a tiny image, which accepts exactly one user and password at a time.

mod gate;
mod htpasswd;
mod image;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::{AUTHORIZATION, InvalidHeaderValue};
use hyper::{Method, StatusCode};

pub use gate::{Fault, Gate};
pub use htpasswd::PasswordFile;

use crate::ecr::Ecr;
use crate::http::{self, Call};
use crate::parts::{Missing, Part};
use crate::ports::{self, Port};
use crate::process::{self, Server};
use crate::scratch;

/// The user name of every ECR token.
pub const USER: &str = "AWS";
/// The repository and tag of its image.
pub const IMAGE: (&str, &str) = ("app", "v1");

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    #[error(transparent)]
    Port(#[from] ports::Error),
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error(transparent)]
    Http(#[from] http::Error),
    #[error(transparent)]
    Password(#[from] htpasswd::Error),
    #[error("cannot write the registry's configuration {}", path.display())]
    Configuration { path: PathBuf, source: io::Error },
    #[error("cannot build the image")]
    Image { source: io::Error },
    #[error("cannot listen before the registry")]
    Gate { source: io::Error },
    #[error("the registry's own credentials make no header")]
    Header { source: InvalidHeaderValue },
    #[error("the registry returned {status} for {what}")]
    Refused { what: String, status: StatusCode },
}

/// The running registry. Dropping it stops it and removes its files.
#[derive(Debug)]
pub struct Registry {
    // Fields drop in this order: the server must end before its files go.
    _server: Server,
    port: Port,
    passwords: PasswordFile,
    _home: scratch::Directory,
}

impl Registry {
    /// Starts the registry with an image of one small file. It accepts no credentials initially.
    pub async fn start() -> Result<Self, Error> {
        let layer = image::readme().map_err(|source| Error::Image { source })?;
        Self::start_with(layer, &[IMAGE.1]).await
    }

    /// Like [`Registry::start`], with an image that can run as a container.
    pub async fn start_with_shell() -> Result<Self, Error> {
        let layer = Part::docker()?.path("image.tar");
        Self::start_with(fs::read(layer).map_err(|source| Error::Image { source })?, &[IMAGE.1]).await
    }

    /// Like [`Registry::start`], with an image of Java and Python, under these tags.
    pub async fn start_with_java(tags: &[&str]) -> Result<Self, Error> {
        let layer = Part::spark()?.path("image.tar");
        Self::start_with(fs::read(layer).map_err(|source| Error::Image { source })?, tags).await
    }

    async fn start_with(layer: Vec<u8>, tags: &[&str]) -> Result<Self, Error> {
        let part = Part::registry()?;
        let home = scratch::directory("registry")?;
        let port = Port::reserve()?;
        let passwords = PasswordFile::new(home.path().join("htpasswd"));
        let builder = base64_noise();
        passwords.accept_only(USER, &builder)?;

        let conf = home.path().join("registry.yml");
        let text = configuration(&home, &port);
        fs::write(&conf, text).map_err(|source| Error::Configuration { path: conf.clone(), source })?;
        let mut command = process::bound_to_parent(&part.path("bin/docker-registry"));
        command.arg("serve").arg(&conf);
        let log = home.path().join("registry.log");
        let mut server = Server::start("docker-registry", command, &log)?;
        let address = port.address();
        server
            .wait_until("the registry's first response", START, async |_| {
                probe(address, USER, "nobody").await.map(drop)
            })
            .await?;

        image::push(address, &authorization(USER, &builder), layer, tags).await?;
        passwords.accept_only(USER, &base64_noise())?;
        Ok(Self { _server: server, port, passwords, _home: home })
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The registry's name in image references and Docker configs.
    pub fn host(&self) -> String {
        self.address().to_string()
    }

    /// The image's reference.
    pub fn image(&self) -> String {
        let (repository, tag) = IMAGE;
        format!("{}/{repository}:{tag}", self.host())
    }

    /// From now on accepts only the newest token of `ecr`, before ECR's client sees it.
    pub fn follow(&self, ecr: &Ecr) {
        let passwords = self.passwords.clone();
        ecr.on_issue(move |token| {
            if let Err(error) = passwords.accept_only(USER, token.password()) {
                // There is no caller to return it to; the test sees the registry reject the token.
                eprintln!("the registry cannot accept the new token: {error}");
            }
        });
    }

    /// The file that determines the accepted credentials.
    pub fn password_file(&self) -> &PasswordFile {
        &self.passwords
    }

    /// The registry's response to these credentials: 200 or 401.
    pub async fn answer_to(&self, user: &str, password: &str) -> Result<StatusCode, Error> {
        Ok(probe(self.address(), user, password).await?)
    }
}

const START: Duration = Duration::from_secs(20);

async fn probe(address: SocketAddr, user: &str, password: &str) -> Result<StatusCode, http::Error> {
    let answer = Call::new(Method::GET, address, "/v2/")
        .header(AUTHORIZATION.as_str(), &authorization(user, password))
        .send()
        .await?;
    Ok(answer.status)
}

fn authorization(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}

fn base64_noise() -> String {
    let bytes: [u8; 24] = std::array::from_fn(|_| fastrand::u8(..));
    BASE64.encode(bytes)
}

fn configuration(home: &scratch::Directory, port: &Port) -> String {
    let home = home.path().display();
    let address = port.address();
    format!(
        "version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {home}/images}}
http: {{addr: '{address}'}}
auth:
  htpasswd: {{realm: sandbox, path: {home}/htpasswd}}
"
    )
}
