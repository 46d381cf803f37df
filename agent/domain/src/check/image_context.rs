//! What images are checked against, and what they share.

use hadoop_rules::executor_config::lossy;
use hadoop_rules::mounts::{self, RequestedMount};

use super::emr::EmrConfig;
use super::inputs::Inputs;
use super::report::{DockerConfigReport, ExecutorCfgReport};
use super::request::Request;
use super::yarn_settings::YarnSettings;

/// What the images are checked against.
pub(super) struct Context<'c> {
    pub inputs: &'c Inputs<'c>,
    pub request: &'c Request,
    pub executor_cfg: Option<&'c ExecutorCfgReport>,
    pub settings: Option<&'c YarnSettings>,
    pub docker_config: Option<&'c DockerConfigReport>,
    /// The job's mounts as the NodeManager passes them on; `None` if unchecked or rejected.
    pub mounts: Option<&'c [RequestedMount]>,
    /// The configuration of a cluster that is yet to be created.
    pub emr: Option<&'c EmrConfig>,
    /// Why no image launches with the job's request.
    pub reasons: &'c [String],
    /// What else the launches depend on.
    pub unknown: &'c [String],
}

impl Context<'_> {
    /// The mounts as the NodeManager passes them to container-executor.
    pub(super) fn mount_commands(&self) -> Vec<Vec<u8>> {
        match self.mounts {
            Some(mounts) => mounts.iter().map(|mount| mount.command().into_bytes()).collect(),
            // The NodeManager adds the mode to a mount without one.
            None => self.request.mounts.iter().map(|mount| with_mode(mount)).collect(),
        }
    }

    /// The resolved path of container-executor.cfg.
    pub(super) fn config_path(&self, path: &str) -> Vec<u8> {
        self.inputs.machine.realpath(path.as_bytes()).unwrap_or_else(|| path.into())
    }
}

fn with_mode(mount: &[u8]) -> Vec<u8> {
    match mounts::parse_list(&lossy(mount)).as_deref() {
        Ok([requested]) => requested.command().into_bytes(),
        _ => mount.to_vec(),
    }
}
