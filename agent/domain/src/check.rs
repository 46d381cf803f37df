//! Checks files by Hadoop's rules: what would be trusted and launched, and findings with their fixes.
//!
//! The caller supplies what was read; nothing is read or changed here.

mod client_config;
mod docker_mounts;
mod docker_name;
mod emr;
mod executor;
mod image;
mod image_context;
mod image_mounts;
mod inputs;
mod job;
mod keys;
mod launch;
mod node;
mod registries;
mod registry_answer;
mod release;
mod report;
mod request;
mod spark;
mod template;
mod values;
mod yarn;
mod yarn_keys;
mod yarn_settings;

use hadoop_rules::executor_config::ExecutorConfig;
use hadoop_rules::trust::{self, Container};

use self::emr::EmrConfig;
use self::registries::trusted_ecr_registries;
use crate::findings::{Effect, Finding, Findings, Fix, Subject, codes, point_at};
use crate::problem::Problem;
use crate::registry::EcrRegistry;
use crate::status::{ExecutorCfg, Trust};
pub use client_config::{NM_USER, closed_to_node_manager, open_directory};
pub use image::entry_host;
pub use inputs::{
    Access, Account, AwsAnswer, AwsOutcome, ClientConfig, Content, DataRoot, DockerEngine, EmrNode, Inputs,
    Machine, NodeDockerConfig, NodeInputs, Permissions, Propagation, Readers, SiteContent, SiteFile,
    TextAlone, TextFile,
};
pub use node::{CONTAINER_EXECUTOR, docker_program};
pub use registry_answer::{
    ImageConfig, ImageDetails, ImageReference, RegistryAnswer, docker_architecture, of_registry,
};
pub use release::{HadoopVersion, is_release};
pub use report::{
    CredentialReport, DockerConfigReport, DockerReport, ExecutorCfgReport, ImageCredential, ImageReport,
    MountReport, ParseErrorReport, Report, RulesName, Unknown,
};
pub use request::Request;
use spark::Kind;
pub use spark::SparkProperties;

/// Checks everything that was read.
pub fn run(inputs: &Inputs<'_>) -> Report {
    let mut found = Findings::default();
    if inputs.hadoop.assumed {
        found.add(rules_assumed());
    }
    if let Some(release) = inputs.release.as_deref().filter(|release| release::lacks_docker(release)) {
        found.add(without_docker(release));
    }
    let emr = inputs.emr_config.as_ref().and_then(|file| emr::read(file, &mut found));
    let of_emr = emr.as_ref().and_then(|emr| emr.files.spark.as_ref());
    let spark = match (&inputs.spark, of_emr) {
        (Some(job), Some(defaults)) if !job.replaces_defaults => Some(job.clone().over(defaults)),
        (job, defaults) => job.as_ref().or(defaults).cloned(),
    };
    let spark = spark.as_ref();
    let mut subjects = Subjects {
        executor_cfg: inputs.executor_cfg.as_ref(),
        yarn_site: inputs.yarn_site.as_ref(),
        client_config: inputs.client_config.as_ref(),
        node: inputs.node.as_ref(),
        spark,
        emr: None,
        requests: requests(inputs, spark),
    };
    let checked = match &emr {
        Some(emr) if subjects.executor_cfg.is_none() => {
            subjects.executor_cfg = Some(&emr.files.executor_cfg);
            subjects.yarn_site = subjects.yarn_site.or(emr.files.yarn_site.as_ref());
            subjects.emr = Some(emr);
            check_subjects(&subjects, inputs, &mut found)
        }
        Some(emr) => {
            // Images are checked against the file that exists.
            let of_emr = Subjects {
                executor_cfg: Some(&emr.files.executor_cfg),
                yarn_site: emr.files.yarn_site.as_ref(),
                client_config: None,
                node: None,
                spark: None,
                emr: Some(emr),
                requests: vec![(Kind::Both, Request::default())],
            };
            check_subjects(&of_emr, inputs, &mut found);
            check_subjects(&subjects, inputs, &mut found)
        }
        None => check_subjects(&subjects, inputs, &mut found),
    };
    let mut findings = found.into_sorted();
    if let Some(emr) = &emr {
        findings.retain(|finding| emr.files.keeps(finding));
        findings.iter_mut().for_each(|finding| emr.files.relocate(finding));
    }
    let texts = [&inputs.executor_cfg, &inputs.emr_config].into_iter().flatten();
    for file in texts {
        if let Some(bytes) = file.bytes() {
            point_at(&mut findings, &file.path, bytes);
        }
    }
    let emr_unread = findings.iter().any(|finding| finding.code == codes::EMR_CONFIG_UNREADABLE);
    let runs_containers = inputs.node.as_ref().is_none_or(|node| node.runs_containers);
    Report {
        rules: RulesName(inputs.hadoop.rules),
        // What EMR would write is not a file yet.
        executor_cfg: inputs.executor_cfg.as_ref().and(checked.executor_cfg),
        docker_config: checked.docker_config,
        docker: inputs.node.as_ref().and_then(|node| node.docker.as_ref()).and_then(DockerReport::of),
        not_checked: not_checked(inputs, emr.as_ref(), !checked.images.is_empty()),
        images: checked.images,
        findings,
        unread: emr_unread || unread(inputs),
        runs_containers,
    }
}

/// What was not checked; `asks` if launches of images are checked.
fn not_checked(inputs: &Inputs<'_>, emr: Option<&EmrConfig>, asks: bool) -> Vec<String> {
    let mut parts: Vec<&str> = Vec::new();
    if inputs.executor_cfg.is_none() && emr.is_none() {
        parts.push("container-executor.cfg");
    }
    if inputs.yarn_site.is_none() && emr.is_none() {
        parts.push("yarn-site.xml, which says what the NodeManager adds and refuses");
    }
    if asks && inputs.client_config.is_none() {
        parts.push("the config.json with the job's credentials");
    }
    if inputs.node.is_none() {
        parts.push("the node itself: owners and modes, users, paths, and Docker with its images");
        parts.push("the registries, which may not have the image");
    }
    let mut parts: Vec<String> = parts.into_iter().map(str::to_owned).collect();
    if let Some(emr) = emr {
        parts.push("EMR's defaults, assumed to be those observed on its clusters".to_owned());
        parts.extend(emr.not_checked.iter().cloned());
    }
    parts
}

/// Whether a file could not be read. On a node, files that are missing, or are directories, are findings instead, and
/// HDFS may be down.
fn unread(inputs: &Inputs<'_>) -> bool {
    let is_node = inputs.node.is_some();
    let site = inputs.yarn_site.as_ref().is_some_and(|site| match site.content {
        SiteContent::Absent => !is_node,
        SiteContent::Unusable { line, .. } => line.is_none(),
        SiteContent::Loaded { .. } => false,
    });
    let executor_cfg = inputs.executor_cfg.as_ref().is_some_and(|file| match file.content {
        Content::Absent | Content::Directory => !is_node,
        Content::Unreadable(_) => true,
        Content::Bytes(_) => false,
    });
    let client_config =
        inputs.client_config.as_ref().filter(|config| !is_node && config.readers == Readers::All);
    site || executor_cfg || client_config.is_some_and(|config| config.file.bytes().is_none())
}

fn rules_assumed() -> Finding {
    let message = "the release of Hadoop is not known: the rules of 3.3 and later were assumed";
    Finding::new(codes::RULES_ASSUMED, message).fix(Fix::manual(
        "name the rules: --rules 3.2, 3.3 or 3.4, or a release that has them: --release emr-7.3.0",
    ))
}

fn without_docker(release: &str) -> Finding {
    let message = format!("{release} cannot run Docker containers: EMR supports them from emr-6.0.0 on");
    Finding::new(codes::RELEASE_WITHOUT_DOCKER, message).fix(Fix::manual("use a later release"))
}

/// What is checked together.
struct Subjects<'s> {
    executor_cfg: Option<&'s TextFile>,
    yarn_site: Option<&'s SiteFile>,
    client_config: Option<&'s ClientConfig>,
    node: Option<&'s NodeInputs>,
    spark: Option<&'s SparkProperties>,
    /// The configuration that the files above come from.
    emr: Option<&'s EmrConfig>,
    /// At least one.
    requests: Vec<(Kind, Request)>,
}

struct Checked {
    executor_cfg: Option<ExecutorCfgReport>,
    docker_config: Option<DockerConfigReport>,
    images: Vec<ImageReport>,
}

fn check_subjects(subjects: &Subjects<'_>, inputs: &Inputs<'_>, found: &mut Findings) -> Checked {
    let requests = &subjects.requests;
    let names_image = requests.iter().any(|(_, request)| !request.images.is_empty());
    let executor_cfg = subjects.executor_cfg.map(|file| executor::check(file, inputs, found));
    let config = executor_cfg.as_ref().and_then(ExecutorCfgReport::examined);
    let kerberos = inputs.kerberos || subjects.emr.is_some_and(|emr| emr.files.kerberos);
    let settings = subjects.yarn_site.and_then(|site| yarn::check(site, inputs, kerberos, config, found));
    if let (Some(file), Some(config)) = (subjects.executor_cfg, config) {
        let defaults = launch::Defaults::of(settings.as_ref());
        let uses_default_network = requests.iter().any(|(_, request)| request.uses_default_network());
        launch::check(&file.path, config, &defaults, inputs, uses_default_network, found);
    }
    let mut of_client_config = Findings::default();
    let docker_config =
        subjects.client_config.map(|file| client_config::check(file, inputs, &mut of_client_config));
    if let Some(node) = subjects.node {
        node::check(node, inputs, config, settings.as_ref(), found);
    }
    let path = subjects.executor_cfg.map(|file| file.path.as_str()).unwrap_or_default();
    // With container-executor.cfg alone, mounts are checked as if the NodeManager passed them unchanged.
    let passes_mounts = settings.is_some() || subjects.spark.is_some();
    let (mut of_job, mut mounts) = (Findings::default(), Vec::new());
    for (kind, request) in requests {
        let mut own = job::check(path, config, settings.as_ref(), inputs, request);
        mounts.push(if passes_mounts { job::mounts(request, &mut own) } else { None });
        if let Some(spark) = subjects.spark {
            own.locate(|finding| spark.location_of(*kind, finding));
        }
        of_job.append_new(own);
    }
    let variables = inputs.request.environment.iter().map(|(name, _)| name);
    for finding in variables.filter_map(|name| request::unknown_variable("", name)) {
        of_job.add(finding);
    }
    if let Some(spark) = subjects.spark {
        spark::check(spark, settings.as_ref(), &inputs.published, &mut of_job);
    }
    let may_resolve = |finding: &Finding| subjects.emr.is_some_and(|emr| emr.may_resolve(finding));
    found.set_aside(may_resolve);
    of_job.set_aside(may_resolve);
    let of_node = found.errors().filter(|finding| ends_all_launches(finding));
    let of_config = of_client_config.errors().filter(|finding| !depends_on_image(finding));
    let reasons: Vec<String> =
        of_node.chain(of_job.errors()).chain(of_config).map(|finding| finding.message.clone()).collect();
    if names_image && executor_cfg.is_some() {
        // Only faults that fail every launch count; faults of an image are found again for that image.
        found.set_aside(|finding| finding.effect == Effect::ImageLaunchesFail && !ends_all_launches(finding));
        of_client_config.set_aside(depends_on_image);
        // These fail later launches, once the published token has expired.
        found.set_aside(|finding| {
            matches!(finding.code, codes::NO_AWS_CREDENTIALS | codes::IAM_ACTION_MISSING)
        });
    }
    let mut unknown = unknown(&of_client_config);
    unknown.extend(subjects.emr.iter().flat_map(|emr| emr.open.iter().cloned()));
    for (_, request) in requests {
        for what in job::unknown(config, settings.as_ref(), inputs, request) {
            if !unknown.contains(&what) {
                unknown.push(what);
            }
        }
    }
    found.append(of_job);
    found.append(of_client_config);
    let mut of_images = Findings::default();
    let default_asked_by = requests.iter().position(|(_, request)| request.images.is_empty());
    let mut images: Vec<ImageReport> = Vec::new();
    for (index, ((kind, request), mounts)) in requests.iter().zip(&mounts).enumerate() {
        let context = image_context::Context {
            inputs,
            request,
            executor_cfg: executor_cfg.as_ref(),
            settings: settings.as_ref(),
            docker_config: docker_config.as_ref(),
            mounts: mounts.as_deref(),
            emr: subjects.emr,
            reasons: &reasons,
            unknown: &unknown,
        };
        let mut own = Findings::default();
        for report in image::check(&context, &mut own) {
            match images.iter_mut().find(|known| known.image == report.image) {
                Some(known) => known.join(report),
                None => images.push(report),
            }
        }
        if let Some(spark) = subjects.spark {
            own.locate(|finding| spark.location_of(*kind, finding));
        }
        of_images.append_new(own);
        // If every request names an image, the default one is only reported on.
        let is_default_asked_for = default_asked_by.is_some();
        let default_image = settings.as_ref().and_then(|settings| settings.default_image.as_deref());
        if let Some(image) = default_image.filter(|_| index == default_asked_by.unwrap_or_default()) {
            // On a node, no request names it, unless another kind of container names one.
            let is_checked_whole = is_default_asked_for && (subjects.node.is_none() || names_image);
            let (report, mut of_default) = image::check_default(&context, image, is_checked_whole);
            of_default.locate(|_| subjects.yarn_site.and_then(yarn::location_of_default_image));
            if !is_default_asked_for {
                of_default.set_aside(|_| true);
            }
            of_images.append(of_default);
            images.extend(report.filter(|_| is_checked_whole));
        }
    }
    found.append(of_images);
    Checked { executor_cfg, docker_config, images }
}

/// Whether it matters only when an image is pulled, and so is found again for each image.
fn depends_on_image(finding: &Finding) -> bool {
    matches!(finding.code, codes::CREDENTIAL_EXPIRED | codes::CREDENTIAL_INVALID)
}

/// Whether the error fails every launch, whatever the image.
fn ends_all_launches(finding: &Finding) -> bool {
    let is_checked = finding.code != codes::EMR_CONFIG_UNREADABLE;
    matches!(finding.effect, Effect::NodeLaunchesFail | Effect::ClusterCreationFails)
        || finding.code.subject == Subject::EmrConfiguration && is_checked
}

/// The release that an EMR configuration names for its cluster, if any.
pub fn release_of(emr_config: &TextFile) -> Option<String> {
    emr::read(emr_config, &mut Findings::default())?.release
}

/// The requests of the job's containers: the options, with gaps filled from the Spark properties.
fn requests(inputs: &Inputs<'_>, spark: Option<&SparkProperties>) -> Vec<(Kind, Request)> {
    let options = || inputs.request.clone();
    let of_spark = spark.map(SparkProperties::requests).unwrap_or_default();
    if of_spark.is_empty() {
        return vec![(Kind::Both, options())];
    }
    of_spark.into_iter().map(|(kind, request)| (kind, options().or(request))).collect()
}

/// The images that launches request.
pub fn images_of_interest(inputs: &Inputs<'_>) -> Vec<Vec<u8>> {
    let requests = requests(inputs, inputs.spark.as_ref());
    let mut images: Vec<_> = requests.into_iter().flat_map(|(_, request)| request.images).collect();
    images.dedup();
    images
}

/// The networks that launches request from Docker.
pub fn networks_of_interest(inputs: &Inputs<'_>) -> Vec<String> {
    let default = inputs.yarn_site.as_ref().map(yarn::default_network);
    let requests = requests(inputs, inputs.spark.as_ref());
    default.into_iter().chain(requests.into_iter().filter_map(|(_, request)| request.network)).collect()
}

/// What the launches depend on and is unknown, by the findings on the client config.
fn unknown(of_client_config: &Findings) -> Vec<String> {
    let unread = of_client_config.iter().filter(|finding| finding.code == codes::CLIENT_CONFIG_UNKNOWN);
    unread.map(|finding| finding.message.clone()).collect()
}

/// Whether images directly in the registry are trusted in such a container.
fn trusts_registry(config: &ExecutorConfig, container: Container, registry: &EcrRegistry) -> bool {
    trust::is_trusted(config, container, format!("{}/image", registry.host()).as_bytes())
}

impl Report {
    /// What container-executor.cfg means for readiness; `chain_counts` if the file's owners and modes are those
    /// that container-executor will see.
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

    /// The findings that fail launches on this node: all launches, or those of a registry that the agent serves.
    /// `machine_counts` is like `chain_counts`, for every fact of the machine.
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
