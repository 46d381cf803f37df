//! Connects the main loop to its real environment.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use domain::check::{self, DockerEngine, Inputs, Machine, Request, docker_program};
use domain::credentials::{Credentials, Principal, StaticCredentials, Token, TokenScope};
use domain::problem::Problem;
use domain::refresh::Probe;
use domain::registry::HostName;
use domain::settings::{DockerConfigSettings, Settings};
use domain::time::Moment;
use jiff::Timestamp;

use crate::agent::{Call, Fetched, Parts, RegistryProbe, TokenSource, World};
use crate::io::blocking::BlockingCalls;
use crate::io::clock::Clock;
use crate::io::disk::LocalSink;
use crate::io::docker::DockerApi;
use crate::io::ecr::Ecr;
use crate::io::hdfs::{AbandonedThreads, PublishedSink};
use crate::io::metrics::Metrics;
use crate::io::node::{self, ForNodeManager, ThisMachine};
use crate::io::settings_file::SettingsFile;
use crate::io::warmer::Warmer;
use crate::io::watcher::{WatchError, Watcher};
use crate::io::{chain, credentials_file, hadoop_conf, registry};
use crate::sink::Sink;

/// This node, its cluster and AWS.
pub(crate) struct Node {
    clock: Clock,
    watcher: Option<Watcher>,
    settings_file: SettingsFile,
    /// Keyed by path, so that a hanging call blocks no other path. Kept across reloads, since a call that hung before
    /// still does.
    calls: RefCell<BTreeMap<PathBuf, BlockingCalls>>,
    docker: DockerApi,
    /// The HDFS client's threads that hang, kept across reloads like `calls`.
    abandoned: AbandonedThreads,
    /// `None` if no images are warmed, as in `once`.
    warmer: Option<Warmer>,
}

/// Deadline for reading the settings, whose own deadline is not known yet.
const SETTINGS_DEADLINE: Duration = Duration::from_secs(20);

impl Node {
    /// A world without a watcher, for one pass.
    pub(crate) fn unwatched(clock: Clock, settings_file: SettingsFile) -> Self {
        Self {
            clock,
            watcher: None,
            settings_file,
            calls: RefCell::default(),
            docker: DockerApi::new(),
            abandoned: AbandonedThreads::default(),
            warmer: None,
        }
    }

    /// A world with a watcher on its files, including `settings_file`.
    pub(crate) fn watched(
        clock: Clock,
        settings_file: SettingsFile,
        metrics: Metrics,
    ) -> Result<Self, WatchError> {
        let warmer = Some(Warmer::start(docker_command, &node::name(), metrics));
        Ok(Self { watcher: Some(Watcher::start()?), warmer, ..Self::unwatched(clock, settings_file) })
    }

    /// Runs calls to `path` and files read along with it.
    fn calls(&self, path: &Path, deadline: Duration) -> BlockingCalls {
        let mut calls = self.calls.borrow_mut();
        let calls = calls.entry(path.to_owned()).or_insert_with(|| BlockingCalls::new(deadline));
        calls.set_deadline(deadline);
        calls.clone()
    }

    /// Runs a call that reads the node's files or resolves paths on it.
    fn read_node<T: Send + 'static>(
        &self,
        settings: &Settings,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Call<'_, Result<T, Problem>> {
        let path = settings.executor_cfg();
        let calls = self.calls(&path, settings.deadlines.files);
        Box::pin(async move {
            let done = calls.run(read).await;
            done.map_err(|error| error.problem(&format!("{} and related files", path.display())))
        })
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

    fn since_boot(&self) -> Duration {
        Clock::since_boot()
    }

    fn random(&self) -> f64 {
        // The standard library's hash keys are random, which saves a dependency on a random number generator.
        (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn node_name(&self) -> String {
        node::name()
    }

    fn read_settings(&self) -> Call<'_, Result<Settings, String>> {
        let file = self.settings_file.clone();
        let calls = self.calls(file.path(), SETTINGS_DEADLINE);
        Box::pin(async move {
            let read = calls.run(move || file.read()).await.map_err(|error| chain(&error))?;
            read.map_err(|error| error.to_string().replace('\n', "; "))
        })
    }

    fn static_credentials(
        &self,
        path: &Path,
        deadline: Duration,
    ) -> Call<'_, Result<StaticCredentials, Problem>> {
        let (calls, path) = (self.calls(path, deadline), path.to_owned());
        Box::pin(async move {
            let file = path.clone();
            let read = calls.run(move || credentials_file::read(&file)).await;
            read.map_err(|error| error.problem(&path.display().to_string()))?.map_err(|error| {
                let waits_for = format!("usable static credentials in {}", path.display());
                Problem::waiting(waits_for, chain(&error))
            })
        })
    }

    fn parts(&self, settings: &Settings) -> Parts {
        let local_sink = |config: &DockerConfigSettings| {
            let calls = self.calls(&config.path, settings.deadlines.files);
            Box::new(LocalSink::new(config.clone(), calls)) as Box<dyn Sink>
        };
        Parts {
            tokens: Box::new(Ecr::new(settings.deadlines.ecr)),
            registries: Box::new(Registries),
            local: settings.docker_configs.iter().map(local_sink).collect(),
            published: Box::new(published_with(settings, self.abandoned.clone())),
        }
    }

    fn inputs(&self, settings: &Settings) -> Call<'_, Result<Inputs<'static>, Problem>> {
        let (settings, now) = (settings.clone(), self.clock.now().wall);
        self.read_node(&settings.clone(), move || node_inputs(&settings, now))
    }

    fn docker(&self, settings: &Settings, networks: Vec<String>) -> Call<'_, Option<DockerEngine>> {
        let is_asked = settings.names_hadoops_own_conf_dir();
        Box::pin(async move { if is_asked { Some(self.docker.inspect(&[], &networks).await) } else { None } })
    }

    fn check(
        &self,
        settings: &Settings,
        inputs: Inputs<'static>,
    ) -> Call<'_, Result<check::Report, Problem>> {
        self.read_node(settings, move || check::run(&inputs))
    }

    fn warm(&self, settings: &Settings, credentials: Credentials) {
        if let Some(warmer) = &self.warmer {
            warmer.order(settings, credentials);
        }
    }

    fn settle(&self, settings: &Settings) -> Call<'_, ()> {
        let files = self.watched_files(settings);
        Box::pin(async move {
            if let Some(watcher) = &self.watcher {
                watcher.settle(files).await;
            }
        })
    }

    fn changed(&self) -> Call<'_, ()> {
        match &self.watcher {
            Some(watcher) => Box::pin(watcher.changed()),
            None => Box::pin(std::future::pending()),
        }
    }
}

/// The docker command, if this node runs containers and has one.
fn docker_command(settings: &Settings) -> Option<PathBuf> {
    let inputs = node_inputs(settings, Timestamp::now());
    let program = PathBuf::from(OsString::from_vec(docker_program(&inputs)));
    (inputs.node.is_some_and(|node| node.runs_containers) && program.exists()).then_some(program)
}

/// The published copy on HDFS.
pub(crate) fn published(settings: &Settings) -> PublishedSink {
    published_with(settings, AbandonedThreads::default())
}

fn published_with(settings: &Settings, abandoned: AbandonedThreads) -> PublishedSink {
    let conf_dir = settings.hadoop_conf_dir.clone();
    PublishedSink::new(settings.published.clone(), conf_dir, node::name(), &settings.deadlines, abandoned)
}

/// Reads this node's own files for a check; queries nothing outside the node.
pub(crate) fn node_inputs(settings: &Settings, now: Timestamp) -> Inputs<'static> {
    let executor_cfg = settings.executor_cfg();
    let yarn_site = hadoop_conf::yarn_site(&settings.hadoop_conf_dir.join("yarn-site.xml"), true);
    let mut node = node::inputs(&executor_cfg, &settings.emr_info_dir, &yarn_site);
    node.docker_configs =
        settings.docker_configs.iter().map(|config| node::docker_config(&config.path)).collect();
    let release = node::release(&settings.emr_info_dir);
    // Only with Hadoop's own directory do paths mean the same here and to the NodeManager.
    let machine: &dyn Machine =
        if settings.names_hadoops_own_conf_dir() { &ForNodeManager } else { &ThisMachine };
    Inputs {
        hadoop: node::hadoop(release.as_deref()),
        release,
        executor_cfg: Some(node::text_file(&executor_cfg)),
        yarn_site: Some(yarn_site),
        client_config: None,
        emr_config: None,
        spark: None,
        node: Some(node),
        kerberos: hadoop_conf::uses_kerberos(&settings.hadoop_conf_dir),
        published: settings.published.path.clone(),
        registries: settings.registries.iter().map(|settings| settings.registry.clone()).collect(),
        request: Request::default(),
        machine,
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
