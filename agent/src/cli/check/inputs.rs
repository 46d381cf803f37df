//! What to check: only the named files, or this node and its cluster.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use domain::check::{
    self, ClientConfig, EmrNode, HadoopVersion, Inputs, Machine, Readers, Report, Request, TextAlone,
};
use domain::documents::PublishedPath;
use jiff::Timestamp;

use super::super::{Exit, job};
use super::{Options, online};
use crate::io::node::{self, ThisMachine, named_file};
use crate::io::{hadoop_conf, log};
use crate::wiring::node_inputs;

pub(super) fn check(options: &Options) -> Result<Report, Exit> {
    let named = [&options.executor_cfg, &options.yarn_site, &options.docker_config, &options.emr_config];
    if named.iter().any(|file| file.is_some()) {
        let mut inputs = named_files(options);
        if let Some(job) = options.spark.read(false)? {
            job.join(&mut inputs);
        }
        return Ok(check::run(&inputs));
    }
    check_node(options)
}

fn check_node(options: &Options) -> Result<Report, Exit> {
    let settings = options.config.read()?;
    let _log = log::start(&options.config.log(&log::ERRORS_ALONE))?;
    let mut inputs = node_inputs(&settings, Timestamp::now());
    inputs.request = request(options);
    if let Some(release) = &options.release {
        inputs.hadoop = node::hadoop(Some(release));
        inputs.release = Some(release.clone());
    }
    if let Some(hadoop) = named_rules(options) {
        inputs.hadoop = hadoop;
    }
    let job = options.spark.read(true)?;
    if let Some(job) = job {
        job.join(&mut inputs);
        if !job::is_node(&inputs) {
            job::leave_node_out(&mut inputs);
        }
    }
    online::check(&settings, inputs, client_config(options), options.offline)
}

fn named_files(options: &Options) -> Inputs<'static> {
    let file = |path: &Option<_>| path.as_deref().map(|path: &Path| named_file(path));
    let emr_config = file(&options.emr_config);
    let release = options.release.clone().or_else(|| emr_config.as_ref().and_then(check::release_of));
    let by_release = || HadoopVersion::find(release.as_deref(), std::iter::empty());
    let request = request(options);
    // Mounts are checked against the file system, everything else by the text alone.
    let machine: &dyn Machine = match (&emr_config, request.mounts.is_empty()) {
        (Some(_), _) => &EmrNode,
        (None, true) => &TextAlone,
        (None, false) => &ThisMachine,
    };
    Inputs {
        hadoop: named_rules(options).unwrap_or_else(by_release),
        release,
        executor_cfg: file(&options.executor_cfg),
        yarn_site: options.yarn_site.as_deref().map(|path| hadoop_conf::yarn_site(path, false)),
        client_config: file(&options.docker_config)
            .map(|file| ClientConfig { file, access: None, readers: Readers::All })
            .or_else(|| online::misplaced(client_config(options)?)),
        emr_config,
        spark: None,
        node: None,
        kerberos: false,
        published: PublishedPath::default(),
        registries: Vec::new(),
        request,
        machine,
        now: Timestamp::now(),
    }
}

fn named_rules(options: &Options) -> Option<HadoopVersion> {
    options.rules.parse().ok().map(HadoopVersion::named)
}

/// Variables of `--env` count like the other options, which take precedence.
fn request(options: &Options) -> Request {
    let mounts = options.mount.iter().flat_map(|mount| mount.as_bytes().split(|byte| *byte == b','));
    let named = Request {
        images: options.image.iter().map(|image| image.as_bytes().to_vec()).collect(),
        privileged: options.privileged,
        // Several mounts in one text are several mounts, as in the environment of a job.
        mounts: mounts.map(<[u8]>::to_vec).collect(),
        network: options.network.clone().filter(|network| !network.is_empty()),
        user: options.user.clone(),
        ..Request::default()
    };
    named.or(Request::of_environment(options.env.clone()))
}

/// The client config that the job names, if any.
fn client_config(options: &Options) -> Option<&str> {
    let variable = "YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG";
    let set = options.env.iter().find(|(name, _)| name == variable).map(|(_, value)| value.as_str());
    options.client_config.as_deref().or(set)
}
