//! Checks files by Hadoop's rules: what would be trusted and launched, and findings with their fixes.
//!
//! The caller supplies what was read; nothing is read or changed here.

mod client_config;
mod docker_mounts;
mod docker_name;
mod emr;
mod executor;
mod image;
mod inputs;
mod job;
mod keys;
mod launch;
mod node;
mod registries;
mod registry_answer;
mod report;
mod spark;
mod yarn;

use hadoop_rules::executor_config::ExecutorConfig;
use hadoop_rules::trust::{self, Container};

use self::registries::trusted_ecr_registries;
use crate::findings::{Effect, Finding, Findings, Fix, Subject, codes, point_at};
use crate::problem::Problem;
use crate::registry::EcrRegistry;
use crate::status::{ExecutorCfg, Trust};
pub use client_config::{closed_to_node_manager, open_directory};
pub use image::entry_host;
pub use inputs::is_release;
pub use inputs::{
    Access, Account, AwsAnswer, AwsOutcome, ClientConfig, Content, DockerEngine, HadoopVersion, Inputs,
    Machine, NodeInputs, Permissions, Propagation, Request, SiteContent, SiteFile, TextAlone, TextFile,
};
pub use registry_answer::{
    ImageConfig, ImageDetails, ImageReference, RegistryAnswer, docker_architecture, of_registry,
};
pub use report::{
    CredentialReport, DockerConfigReport, ExecutorCfgReport, ImageCredential, ImageReport, MountReport,
    ParseErrorReport, Report, RulesName,
};
pub use spark::{SparkProperties, SparkProperty};

/// Checks everything that was read.
pub fn run(inputs: &Inputs<'_>) -> Report {
    let mut found = Findings::default();
    let request = &request(inputs);
    if inputs.hadoop.assumed {
        found.add(
            Finding::new(
                codes::RULES_ASSUMED,
                "the release of Hadoop is not known: the rules of 3.3 and later were assumed",
            )
            .fix(Fix::manual(
                "name EMR's release, as in --release emr-7.3.0, or the rules: --rules 3.2, 3.3 or 3.4",
            )),
        );
    }
    let executor_cfg = inputs.executor_cfg.as_ref().map(|file| executor::check(file, inputs, &mut found));
    let config = executor_cfg.as_ref().and_then(|report| report.config.as_ref());
    let settings = inputs.yarn_site.as_ref().and_then(|site| yarn::check(site, inputs, config, &mut found));
    if let (Some(file), Some(config)) = (&inputs.executor_cfg, config) {
        let defaults = launch::Defaults::of(settings.as_ref());
        launch::check(&file.path, config, &defaults, inputs, request, &mut found);
    }
    let mut of_client_config = Findings::default();
    let docker_config =
        inputs.client_config.as_ref().map(|file| client_config::check(file, inputs, &mut of_client_config));
    if let Some(file) = &inputs.emr_config {
        emr::check(file, inputs, &mut found);
    }
    if let Some(node) = &inputs.node {
        node::check(node, inputs, config, settings.as_ref(), &mut found);
    }
    let path = inputs.executor_cfg.as_ref().map(|file| file.path.as_str()).unwrap_or_default();
    let mut of_job = job::check(path, config, settings.as_ref(), inputs, request);
    // container-executor.cfg alone says nothing of the NodeManager's half.
    let mounts = settings.as_ref().and_then(|_| job::mounts(request, &mut of_job));
    if let Some(spark) = &inputs.spark {
        spark::check(spark, settings.as_ref(), &inputs.published, &mut of_job);
        of_job.locate(|finding| spark.place_of(finding));
    }
    let of_node = found.errors().filter(|finding| finding.effect == Effect::NodeLaunchesFail);
    // Whether an expired credential matters depends on the image.
    let of_config = of_client_config.errors().filter(|finding| finding.code != codes::CREDENTIAL_EXPIRED);
    let reasons: Vec<String> =
        of_node.chain(of_job.errors()).chain(of_config).map(|finding| finding.message.clone()).collect();
    if !request.images.is_empty() && executor_cfg.is_some() {
        // Of the files' faults those count that end every launch; what concerns an image is found for it again.
        let of_emr = |finding: &Finding| finding.code.subject == Subject::EmrConfiguration;
        found.set_aside(|finding| finding.effect == Effect::ImageLaunchesFail && !of_emr(finding));
        of_client_config.set_aside(|finding| finding.code == codes::CREDENTIAL_EXPIRED);
    }
    let mut unknown = unknown(&of_client_config);
    unknown.extend(job::unknown(settings.as_ref(), request));
    found.append(of_job);
    found.append(of_client_config);
    let mut of_images = Findings::default();
    let images = image::check(
        &image::Context {
            inputs,
            request,
            executor_cfg: executor_cfg.as_ref(),
            settings: settings.as_ref(),
            docker_config: docker_config.as_ref(),
            mounts: mounts.as_deref(),
            reasons: &reasons,
            unknown: &unknown,
        },
        &mut of_images,
    );
    if let Some(spark) = &inputs.spark {
        of_images.locate(|finding| spark.place_of(finding));
    }
    found.append(of_images);
    let mut findings = found.into_sorted();
    let texts = [&inputs.executor_cfg, &inputs.emr_config].into_iter().flatten();
    for file in texts {
        if let Some(bytes) = file.bytes() {
            point_at(&mut findings, &file.path, bytes);
        }
    }
    let runs_containers = inputs.node.as_ref().is_none_or(|node| node.runs_containers);
    Report {
        rules: RulesName(inputs.hadoop.rules),
        executor_cfg,
        docker_config,
        images,
        findings,
        runs_containers,
    }
}

/// What launches are asked for: by the options, and where these are silent by the Spark properties.
fn request(inputs: &Inputs<'_>) -> Request {
    let options = inputs.request.clone();
    inputs.spark.as_ref().map_or_else(|| options.clone(), |spark| options.clone().or(spark.request()))
}

/// The images that launches ask for.
pub fn images_of_interest(inputs: &Inputs<'_>) -> Vec<Vec<u8>> {
    request(inputs).images
}

/// The networks that launches ask Docker for.
pub fn networks_of_interest(inputs: &Inputs<'_>) -> Vec<String> {
    let default = inputs.yarn_site.as_ref().map(yarn::default_network);
    default.into_iter().chain(request(inputs).network).collect()
}

/// What the launches depend on, by the findings on the client config.
fn unknown(of_client_config: &Findings) -> Vec<String> {
    let unread = of_client_config.iter().filter(|finding| finding.code == codes::CLIENT_CONFIG_UNKNOWN);
    unread.map(|finding| finding.message.clone()).collect()
}

/// Whether images directly in the registry are trusted in such a container.
fn trusts_registry(config: &ExecutorConfig, container: Container, registry: &EcrRegistry) -> bool {
    trust::is_trusted(config, container, format!("{}/image", registry.host()).as_bytes())
}

impl Report {
    /// What container-executor.cfg means for readiness; `chain_counts` if the file's owners and modes
    /// are those that container-executor will find.
    pub fn executor_state(&self, chain_counts: bool) -> ExecutorCfg {
        let Some(file) = self.executor_cfg.as_ref().filter(|file| file.present) else {
            let path = self.executor_cfg.as_ref().map_or("container-executor.cfg", |file| &file.path);
            return ExecutorCfg::Absent(Problem::waiting(path, format!("{path} does not exist")));
        };
        let unread = self.findings.iter().find(|finding| finding.code == codes::CONFIG_UNREADABLE);
        if let Some(finding) = unread {
            return ExecutorCfg::Absent(Problem::new(finding.message.clone()));
        }
        let counts = |subject| match subject {
            Subject::Syntax | Subject::ConfigFile | Subject::Contents => true,
            Subject::Installation => chain_counts,
            _ => false,
        };
        let fatal = self
            .findings
            .iter()
            .find(|finding| finding.effect == Effect::NodeLaunchesFail && counts(finding.code.subject));
        fatal.map_or(ExecutorCfg::Sound, |finding| {
            let line = finding.line.map_or_else(String::new, |line| format!(":{line}"));
            ExecutorCfg::Fatal(format!("{}{line}: {}", file.path, finding.message))
        })
    }

    /// The findings because of which launches fail on this node: all, or those of a registry that the agent
    /// serves. `machine_counts` as above, for all that is a fact of the machine.
    pub fn launch_faults(&self, machine_counts: bool, served: &[EcrRegistry]) -> Vec<Finding> {
        if !self.runs_containers {
            return Vec::new();
        }
        let counts = |finding: &Finding| match finding.code.subject {
            Subject::Installation | Subject::Node => machine_counts,
            _ => true,
        };
        let faults = self.findings.iter().filter(|finding| counts(finding) && finding.ends_launches(served));
        faults.cloned().collect()
    }

    /// The private ECR registries that the file trusts.
    pub fn trusted_registries(&self) -> Vec<EcrRegistry> {
        let config = self.executor_cfg.as_ref().and_then(|file| file.config.as_ref());
        config.map(trusted_ecr_registries).unwrap_or_default()
    }

    /// Whether images in the registry are trusted; `None` without a file.
    pub fn trust(&self, registry: &EcrRegistry) -> Option<Trust> {
        let file = self.executor_cfg.as_ref().filter(|file| file.present)?;
        let trusts = |container| {
            file.config.as_ref().is_some_and(|config| trusts_registry(config, container, registry))
        };
        Some(Trust { normal: trusts(Container::Normal), privileged: trusts(Container::Privileged) })
    }
}
