//! `emr-config`: the configuration JSON for a new cluster.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use domain::check::{self, Content, EmrNode, HadoopVersion, Inputs, Report, TextFile};
use domain::emr::emr_config::{ClusterWishes, NotAnEntry, Spelling, TrustedEntry, render};
use domain::emr::submission::Submission;
use jiff::Timestamp;
use serde_json::Value;
use thiserror::Error;

use super::{Exit, FAILURE, job, output};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Registry to trust: HOST, or HOST/PATH for the repositories below it
    #[arg(long, value_name = "HOST", required_unless_present = "image", num_args = 1..)]
    registry: Vec<TrustedEntry>,
    /// An image that jobs use: its registry is trusted
    #[arg(long, value_name = "IMAGE", num_args = 1..)]
    image: Vec<String>,
    /// Allow this path as the source of read-only mounts, on top of EMR's defaults; may be given several times
    #[arg(long, value_name = "PATH")]
    ro_mount: Vec<String>,
    /// Format of the configuration
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Cli)]
    format: Format,
    /// Make Spark run in Docker containers of the image unless a job overrides it
    #[arg(long, requires = "image")]
    spark_defaults: bool,
    /// The published config.json that spark-defaults names
    #[arg(long, value_name = "URI", default_value = "hdfs:///user/hadoop/config.json")]
    client_config: String,
    /// Leave EMR's own ECR authentication on, alongside the agent
    #[arg(long)]
    keep_emr_authentication: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For aws emr create-cluster --configurations
    Cli,
    /// For AWS::EMR::Cluster
    #[value(name = "cloudformation")]
    CloudFormation,
}

#[derive(Debug, Error)]
enum WishError {
    #[error("--image names no registry: name it with --registry")]
    Image(#[from] NotAnEntry),
    #[error("--ro-mount {0:?} is not an absolute path without commas, colons and spaces")]
    Mount(String),
    #[error("--spark-defaults takes one --image, not {0}")]
    Images(usize),
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let wishes = wishes(options).map_err(|error| Exit::Usage(error.into()))?;
    let configurations = render(&wishes, options.format.into());
    let report = check(&configurations);
    job::warn(&report);
    if report.failed() {
        output::message("emr-ecr-agent: nothing printed because the check found an error");
        return Ok(ExitCode::from(FAILURE));
    }
    output::print_json(&configurations)?;
    Ok(ExitCode::SUCCESS)
}

/// Checks the configurations like `check --emr-config` will.
fn check(configurations: &Value) -> Report {
    let content = Content::Bytes(configurations.to_string().into_bytes());
    let hadoop = HadoopVersion::find(None, std::iter::empty());
    check::run(&Inputs {
        emr_config: Some(TextFile { path: "emr-config".to_owned(), content }),
        machine: &EmrNode,
        ..Inputs::nothing(hadoop, Timestamp::now())
    })
}

fn wishes(options: &Options) -> Result<ClusterWishes, WishError> {
    let is_path = |path: &str| path.starts_with('/') && !path.contains([',', ':', ' ', '=', '#', '\n', '\t']);
    if let Some(mount) = options.ro_mount.iter().find(|path| !is_path(path)) {
        return Err(WishError::Mount(mount.clone()));
    }
    let spark_defaults = match (options.spark_defaults, options.image.as_slice()) {
        (false, _) => None,
        (true, [image]) => Some(Submission {
            image: image.clone(),
            mounts: Vec::new(),
            client_config: options.client_config.clone(),
            kerberos: false,
        }),
        (true, images) => return Err(WishError::Images(images.len())),
    };
    let of_images = options.image.iter().map(|image| TrustedEntry::of_image(image));
    let mut registries = options.registry.clone();
    registries.extend(of_images.collect::<Result<Vec<_>, _>>()?);
    Ok(ClusterWishes {
        registries,
        ro_mounts: options.ro_mount.clone(),
        keeps_emr_authentication: options.keep_emr_authentication,
        spark_defaults,
    })
}

impl From<Format> for Spelling {
    fn from(format: Format) -> Self {
        match format {
            Format::Cli => Self::Cli,
            Format::CloudFormation => Self::CloudFormation,
        }
    }
}
