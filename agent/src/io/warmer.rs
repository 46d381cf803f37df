//! Pulls images in the background before a job needs them, and removes its own once they are no longer wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::credentials::Credentials;
use domain::refresh::schedule::{jitter_fraction, retry_after};
use domain::settings::Settings;
use domain::warming::{MARKS, Next, Warming, mark_of};
use thiserror::Error;
use tokio::sync::watch;

use crate::io::chain;
use crate::io::docker::DockerApi;
use crate::io::docker_cli::{self, DockerCli, DockerCliError};
use crate::io::metrics::Metrics;

/// Enough for a large image over a slow connection.
const PULL_DEADLINE: Duration = Duration::from_secs(60 * 60);
const DEADLINE: Duration = Duration::from_secs(60);
/// How often to check free space during a pull.
const LOOK: Duration = Duration::from_secs(2);
const REST: Duration = Duration::from_secs(10 * 60);
const GIGABYTE: u64 = 1_000_000_000;

/// Finds the docker command, if containers run on this node.
type FindDocker = fn(&Settings) -> Option<PathBuf>;

/// A task that warms images until the runtime ends.
#[derive(Debug)]
pub(crate) struct Warmer {
    orders: watch::Sender<Option<Order>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Order {
    settings: Settings,
    credentials: Credentials,
}

#[derive(Debug, Error)]
enum WarmError {
    #[error("this node runs no containers, or has no docker command")]
    NoDocker,
    #[error(transparent)]
    Cli(#[from] DockerCliError),
    #[error("Docker does not report its data root, so the free space is unknown")]
    Space,
    #[error("a file operation panicked")]
    Panicked,
}

/// How a pull ended.
enum Pulled {
    /// It was already on the node.
    Found,
    After(Duration),
    DiskFloor,
}

impl Warmer {
    pub(crate) fn start(find_docker: FindDocker, node: &str, metrics: Metrics) -> Self {
        let (orders, receiver) = watch::channel(None);
        let work = Work {
            find_docker,
            jitter: jitter_fraction(node),
            metrics,
            warming: Warming::default(),
            reported: BTreeMap::new(),
            api: DockerApi::new(),
            began: Instant::now(),
        };
        tokio::spawn(work.go_on(receiver));
        Self { orders }
    }

    /// Sets what is wanted from now on; the settings may be unchanged.
    pub(crate) fn order(&self, settings: &Settings, credentials: Credentials) {
        self.orders.send_if_modified(|known| {
            let order = Order { settings: settings.clone(), credentials };
            let is_new = known.as_ref() != Some(&order);
            *known = Some(order);
            is_new
        });
    }
}

struct Work {
    find_docker: FindDocker,
    jitter: f64,
    metrics: Metrics,
    warming: Warming,
    /// The last error of each image, which is logged once.
    reported: BTreeMap<String, String>,
    api: DockerApi,
    began: Instant,
}

impl Work {
    async fn go_on(mut self, mut orders: watch::Receiver<Option<Order>>) {
        let mut known: Option<Order> = None;
        let (mut remove_at, mut failures) = (None, 0_u32);
        loop {
            let order = orders.borrow_and_update().clone();
            let now = self.began.elapsed();
            let mut rest = REST;
            if let Some(order) = order {
                let warm = &order.settings.warm;
                let delay = warm.spread.mul_f64(self.jitter);
                if known.as_ref().is_none_or(|known| known.settings.warm != *warm) {
                    self.warming.want(&warm.images, delay, now);
                    self.warming.retry_by(now);
                    self.reported.clear();
                    (remove_at, failures) = (Some(now), 0);
                } else if known.as_ref().is_some_and(|known| known.credentials != order.credentials) {
                    // Every node gets new credentials at about the same time.
                    self.warming.retry_by(now + delay);
                }
                known = Some(order.clone());
                if remove_at.is_some_and(|at| at <= now) {
                    // Removal fails while a container uses an image, so try again later.
                    let removed = self.remove_unwanted(&order).await;
                    failures = failures.saturating_add(1);
                    let is_done = removed.as_ref().is_ok_and(Vec::is_empty);
                    remove_at = (!is_done).then(|| now + retry_after(failures, 1.0));
                    // An engine that does not answer is a finding of its own.
                    for (image, error) in removed.unwrap_or_default() {
                        self.report(&image, error, "image not removed");
                    }
                }
                rest = remove_at.map_or(rest, |at| rest.min(at.saturating_sub(now)));
                match self.warming.next(now) {
                    Next::Pull(image) => {
                        self.warm(&order, &image).await;
                        rest = Duration::ZERO;
                    }
                    Next::Rest(until) => rest = rest.min(until.saturating_sub(now)),
                    Next::Nothing => {}
                }
                let (on_node, missing) = self.warming.count();
                self.metrics.set_warm_images(on_node, missing);
            }
            tokio::select! {
                changed = orders.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    async fn warm(&mut self, order: &Order, image: &str) {
        let pulled = self.pull(order, image).await;
        let now = self.began.elapsed();
        let error = match pulled {
            Ok(Pulled::Found) => return self.warming.is_on_node(image),
            Ok(Pulled::After(took)) => {
                self.metrics.count_warm_pull("ok");
                tracing::info!(image, seconds = took.as_secs_f64(), "image warmed");
                return self.warming.is_on_node(image);
            }
            Ok(Pulled::DiskFloor) => {
                self.metrics.count_warm_pull("disk_floor");
                self.warming.disk_is_full(image, now);
                format!("it would leave less than {} GB free", order.settings.warm.disk_floor_gb)
            }
            Err(error) => {
                self.metrics.count_warm_pull("failed");
                self.warming.failed(image, now, 0.5 + self.jitter / 2.0);
                chain(&error)
            }
        };
        self.report(image, error, "image not warmed");
    }

    fn report(&mut self, image: &str, error: String, what: &'static str) {
        if self.reported.get(image) != Some(&error) {
            tracing::warn!(image, error, "{what}");
            self.reported.insert(image.to_owned(), error);
        }
    }

    async fn pull(&self, order: &Order, image: &str) -> Result<Pulled, WarmError> {
        let docker = self.docker(&order.settings, order.credentials.clone()).await?;
        if docker.image(image, DEADLINE).await?.is_some() {
            return Ok(Pulled::Found);
        }
        let floor = order.settings.warm.disk_floor_gb * GIGABYTE;
        let root = self.api.inspect(&[], &[]).await.data_root.ok_or(WarmError::Space)?;
        if root.free < floor {
            return Ok(Pulled::DiskFloor);
        }
        let took = tokio::select! {
            pulled = docker.pull(image, PULL_DEADLINE) => pulled?,
            // The engine cancels a pull when its client ends.
            () = self.falls_below(floor, root.path) => return Ok(Pulled::DiskFloor),
        };
        docker.tag(image, &format!("{MARKS}:{}", mark_of(image)), DEADLINE).await?;
        Ok(Pulled::After(took))
    }

    /// Removes images that the agent pulled and that are no longer wanted; returns the marks of those that stay, with
    /// the error.
    async fn remove_unwanted(&self, order: &Order) -> Result<Vec<(String, String)>, WarmError> {
        let wanted: BTreeSet<String> =
            order.settings.warm.images.iter().map(|image| mark_of(image)).collect();
        let docker = match self.docker(&order.settings, Credentials::new()).await {
            Err(WarmError::NoDocker) => return Ok(Vec::new()),
            found => found?,
        };
        let marks = docker.tags(MARKS, DEADLINE).await?;
        let mut kept = Vec::new();
        for mark in marks.iter().filter(|mark| !wanted.contains(*mark)) {
            if let Err(error) = remove(&docker, mark).await {
                kept.push((format!("{MARKS}:{mark}"), chain(&error)));
            }
        }
        Ok(kept)
    }

    async fn falls_below(&self, floor: u64, path: String) {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.api.free_space(path.clone()).await.is_some_and(|root| root.free < floor) {
                return;
            }
        }
    }

    /// The docker command with these credentials, next to the agent's socket, where only root can write.
    async fn docker(&self, settings: &Settings, credentials: Credentials) -> Result<DockerCli, WarmError> {
        let (find_docker, settings) = (self.find_docker, settings.clone());
        let made = tokio::task::spawn_blocking(move || {
            let program = find_docker(&settings).ok_or(WarmError::NoDocker)?;
            let directory = settings.health_socket.parent().unwrap_or(Path::new("/"));
            docker_cli::sweep(directory);
            let auths = credentials.iter().map(|(name, known)| (name.as_str(), known.auth().expose()));
            Ok(DockerCli::new(program, directory, auths)?)
        });
        made.await.map_err(|_| WarmError::Panicked)?
    }
}

/// Removes the image with this mark, then the mark.
async fn remove(docker: &DockerCli, mark: &str) -> Result<(), DockerCliError> {
    let marked = format!("{MARKS}:{mark}");
    let Some(known) = docker.image(&marked, DEADLINE).await? else { return Ok(()) };
    let mut names = known.repo_tags.iter().chain(&known.repo_digests);
    let is_it = |name: &str| mark_of(name) == *mark;
    // A name without a tag means the latest.
    if let Some(name) = names.find(|name| is_it(name) || is_it(name.trim_end_matches(":latest"))) {
        docker.remove_image(name, DEADLINE).await?;
        tracing::info!(image = name, "image removed");
    }
    docker.remove_image(&marked, DEADLINE).await
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const APP: &str = "registry.example/app:v1";
    const OTHER: &str = "registry.example/other";
    /// Keeps one file per mark, with the description of its image, and the names of images in use.
    const DOCKER: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
cd "$(dirname "$0")" || exit
shift 2
for last; do :; done
mark=${last#emr-ecr-agent-warm:}
case "$1 $2" in
"images --format={{.Tag}}") ls marks ;;
"images "*) [ ! -e "marks/$mark" ] || echo 0123456789ab ;;
"inspect "*) cat "marks/$mark" ;;
"rmi "*)
    if [ -e in-use ] && [ "$(cat in-use)" = "$last" ]; then
        echo "conflict: unable to remove repository reference" >&2
        exit 1
    fi
    echo "$last" >>removed
    rm -f "marks/$mark"
    ;;
esac
"#;

    fn mark(directory: &Path, image: &str, name: &str) {
        let description = format!(r#"{{"Size":1,"Architecture":"amd64","RepoTags":["{name}"]}}"#);
        fs::write(directory.join("marks").join(mark_of(image)), description).expect("a mark");
    }

    #[tokio::test]
    async fn an_image_in_use_delays_no_other_and_is_removed_later() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        fs::create_dir(path.join("marks")).expect("a directory");
        fs::write(path.join("docker"), DOCKER).expect("a program");
        fs::set_permissions(path.join("docker"), Permissions::from_mode(0o700)).expect("executable");
        let mut settings = Settings { health_socket: path.join("agent.sock"), ..Settings::default() };
        settings.warm.images = vec!["registry.example/wanted:v1".to_owned()];
        for (image, name) in [
            (APP, APP),
            (OTHER, "registry.example/other:latest"),
            ("registry.example/wanted:v1", "registry.example/wanted:v1"),
        ] {
            mark(path, image, name);
        }
        let work = Work {
            find_docker: |settings| Some(settings.health_socket.with_file_name("docker")),
            jitter: 0.0,
            metrics: Metrics::new().expect("metrics"),
            warming: Warming::default(),
            reported: BTreeMap::new(),
            api: DockerApi::new(),
            began: Instant::now(),
        };
        let order = Order { settings, credentials: Credentials::new() };
        let removed = || fs::read_to_string(path.join("removed")).unwrap_or_default();

        fs::write(path.join("in-use"), APP).expect("a name");
        let kept = work.remove_unwanted(&order).await.expect("an answer");
        let marks: Vec<&str> = kept.iter().map(|(mark, _)| mark.as_str()).collect();
        assert_eq!(marks, [format!("{MARKS}:{}", mark_of(APP))]);
        let other = format!("registry.example/other:latest\n{MARKS}:{}\n", mark_of(OTHER));
        assert_eq!(removed(), other);

        fs::remove_file(path.join("in-use")).expect("the name");
        assert_eq!(work.remove_unwanted(&order).await.expect("an answer"), []);
        assert_eq!(removed(), format!("{other}{APP}\n{MARKS}:{}\n", mark_of(APP)));
        assert_eq!(fs::read_dir(path.join("marks")).expect("the directory").count(), 1);
    }
}
