//! Joins the real parts to the main loop.

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::pin::Pin;

use domain::check::{Inputs, Request};
use domain::credentials::{Principal, StaticCredentials, Token, TokenScope};
use domain::problem::Problem;
use domain::refresh::Probe;
use domain::registry::HostName;
use domain::settings::Settings;
use domain::time::Moment;
use jiff::Timestamp;

use crate::agent::{Fetched, Parts, RegistryProbe, TokenSource, World};
use crate::io::clock::Clock;
use crate::io::disk::LocalSink;
use crate::io::ecr::Ecr;
use crate::io::hdfs::PublishedSink;
use crate::io::node::{self, ThisMachine};
use crate::io::settings_file::SettingsFile;
use crate::io::watcher::{WatchError, Watcher};
use crate::io::{chain, credentials_file, hadoop_conf, registry};
use crate::sink::Sink;

/// This node, its cluster and AWS.
pub(crate) struct Node {
    clock: Clock,
    watcher: Option<Watcher>,
    settings_file: SettingsFile,
}

impl Node {
    /// A world without a watcher, for one pass.
    pub(crate) fn unwatched(clock: Clock, settings_file: SettingsFile) -> Self {
        Self { clock, watcher: None, settings_file }
    }

    /// A world whose files are watched, `settings_file` among them.
    pub(crate) fn watched(clock: Clock, settings_file: SettingsFile) -> Result<Self, WatchError> {
        Ok(Self { clock, watcher: Some(Watcher::start()?), settings_file })
    }

    fn watched_files(&self, settings: &Settings) -> Vec<PathBuf> {
        let hadoop = ["container-executor.cfg", "core-site.xml", "hdfs-site.xml", "yarn-site.xml"];
        let docker_configs = settings.docker_configs.iter().map(|config| config.path.clone());
        let hadoop = hadoop.map(|name| settings.hadoop_conf_dir.join(name));
        let others = settings.static_credentials.clone();
        hadoop
            .into_iter()
            .chain(docker_configs)
            .chain(others)
            .chain([self.settings_file.path().to_owned()])
            .collect()
    }
}

impl World for Node {
    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn random(&self) -> f64 {
        // The standard library's hash keys are random, which saves a random number generator.
        (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn node_name(&self) -> String {
        node::name()
    }

    fn read_settings(&self) -> Result<Settings, String> {
        self.settings_file.read().map_err(|error| error.to_string().replace('\n', "; "))
    }

    fn static_credentials(&self, path: &Path) -> Result<StaticCredentials, Problem> {
        credentials_file::read(path).map_err(|error| {
            let waits_for = format!("usable static credentials in {}", path.display());
            Problem::waiting(waits_for, chain(&error))
        })
    }

    fn parts(&self, settings: &Settings) -> Parts {
        let local = settings.docker_configs.iter().cloned();
        Parts {
            tokens: Box::new(Ecr::new(settings.deadlines.ecr)),
            registries: Box::new(Registries),
            local: local.map(|config| Box::new(LocalSink::new(config)) as Box<dyn Sink>).collect(),
            published: Box::new(published(settings)),
        }
    }

    fn inputs(&self, settings: &Settings) -> Inputs<'_> {
        node_inputs(settings, self.clock.now().wall)
    }

    fn settle(&mut self, settings: &Settings) {
        let files = self.watched_files(settings);
        if let Some(watcher) = &mut self.watcher {
            watcher.settle(&files);
        }
    }

    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        match &mut self.watcher {
            Some(watcher) => Box::pin(watcher.changed()),
            None => Box::pin(std::future::pending()),
        }
    }
}

/// The published copy on HDFS.
pub(crate) fn published(settings: &Settings) -> PublishedSink {
    let conf_dir = settings.hadoop_conf_dir.clone();
    PublishedSink::new(settings.published.clone(), conf_dir, node::name(), &settings.deadlines)
}

/// This node's own files, to be checked; nothing outside the node is asked.
pub(crate) fn node_inputs(settings: &Settings, now: Timestamp) -> Inputs<'static> {
    let executor_cfg = settings.executor_cfg();
    let node = node::inputs(&executor_cfg, &settings.emr_info_dir);
    Inputs {
        hadoop: node::hadoop(node.release.as_deref()),
        executor_cfg: Some(node::text_file(&executor_cfg)),
        yarn_site: Some(hadoop_conf::yarn_site(&settings.hadoop_conf_dir.join("yarn-site.xml"), true)),
        client_config: None,
        emr_config: None,
        node: Some(node),
        registries: settings.registries.iter().map(|settings| settings.registry.clone()).collect(),
        request: Request::default(),
        machine: &ThisMachine,
        now,
    }
}

/// All registries, as this node reaches them.
struct Registries;

impl RegistryProbe for Registries {
    fn probe(&self, name: HostName, token: Token) -> Pin<Box<dyn Future<Output = Probe> + Send>> {
        Box::pin(async move { registry::probe(name.as_str(), &token.auth).await })
    }
}

impl TokenSource for Ecr {
    fn fetch(&self, scope: TokenScope) -> Pin<Box<dyn Future<Output = Fetched> + Send>> {
        let ecr = self.clone();
        Box::pin(async move {
            let fetched = Ecr::fetch(&ecr, &scope).await;
            let outcome = fetched.outcome();
            let token = fetched
                .token
                .map_err(|error| Problem { waits_for: error.waits_for(), ..Problem::new(chain(&error)) });
            Fetched { token, outcome, clock_skew: fetched.clock_skew }
        })
    }

    fn principal(&self, scope: TokenScope) -> Pin<Box<dyn Future<Output = Option<Principal>> + Send>> {
        let ecr = self.clone();
        Box::pin(async move { Ecr::principal(&ecr, &scope).await })
    }
}
