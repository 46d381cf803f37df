//! Whether an image that a job asks for would launch.

use hadoop_rules::executor_config::{
    DOCKER, ExecutorConfig, PRIVILEGED_ENABLED_KEY, PRIVILEGED_REGISTRIES_KEY, TRUSTED_REGISTRIES_KEY, lossy,
};
use hadoop_rules::image_name;
use hadoop_rules::launch::{self, DockerAccess, Host, LaunchCommand};
use hadoop_rules::mounts::{self, Paths};
use hadoop_rules::trust::{self, Container, PrivilegedRefusal, PrivilegedRequest};

use super::executor::is_fatal;
use super::inputs::{Inputs, Machine};
use super::launch::{Defaults, check_network, overlong_mount_list};
use super::registries::with_entry;
use super::report::{DockerConfigReport, ExecutorCfgReport, ImageCredential, ImageReport, MountReport};
use super::yarn::YarnSettings;
use crate::findings::{Effect, Finding, Findings, Fix, codes};

pub(super) const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_KEY: &str = "index.docker.io";

/// What the images are checked against.
pub(super) struct Context<'c> {
    pub inputs: &'c Inputs<'c>,
    pub executor_cfg: Option<&'c ExecutorCfgReport>,
    pub settings: Option<&'c YarnSettings>,
    pub docker_config: Option<&'c DockerConfigReport>,
}

pub(super) fn check(context: &Context<'_>, found: &mut Findings) -> Vec<ImageReport> {
    if let (Some(report), Some(network)) = (context.executor_cfg, &context.inputs.request.network)
        && let Some(config) = &report.config
    {
        check_network(&report.path, config, network, Effect::ImageLaunchesFail, found);
    }
    context.inputs.request.images.iter().map(|image| check_image(context, image, found)).collect()
}

fn check_image(context: &Context<'_>, image: &[u8], found: &mut Findings) -> ImageReport {
    let mut report = ImageReport {
        image: lossy(image).into_owned(),
        name_valid: image_name::is_valid(image),
        trusted: None,
        privileged_trusted: None,
        privileged_allowed: None,
        mounts: None,
        credential: context.docker_config.and_then(|config| credential(config, image)),
        would_launch: None,
        reasons: Vec::new(),
    };
    check_name(&mut report, image, found);
    if let Some(executor_cfg) = context.executor_cfg {
        check_by_executor_cfg(context, executor_cfg, image, &mut report, found);
        report.would_launch = Some(report.reasons.is_empty());
    }
    if context.docker_config.is_some_and(|config| config.error.is_none()) && report.credential.is_none() {
        let message = format!("the config.json holds no credential for the registry of `{}`", report.image);
        let fix = Fix::manual(
            "let the agent serve the registry: trust it in container-executor.cfg, or name it in [[registries]]",
        );
        let finding = Finding::new(codes::IMAGE_WITHOUT_CREDENTIAL, message).fix(fix);
        let path = context.docker_config.map(|config| config.path.as_str()).unwrap_or_default();
        found.add(finding.in_file(path));
    }
    report
}

fn check_name(report: &mut ImageReport, image: &[u8], found: &mut Findings) {
    if report.name_valid {
        return;
    }
    let name = &report.image;
    let (finding, reason) = match name.split_once('@') {
        Some((before, _)) if image_name::is_valid(before.as_bytes()) => (
            Finding::new(
                codes::IMAGE_BY_DIGEST,
                format!("`{name}` names a digest, which container-executor refuses in every version"),
            )
            .fix(Fix::manual(format!("name a tag: {}:<tag>", without_tag(before)))),
            "the image is given by digest, which container-executor refuses",
        ),
        _ => (
            Finding::new(
                codes::IMAGE_INVALID,
                format!("container-executor does not accept the image name `{name}`"),
            )
            .fix(Fix::manual(format!(
                "write [host[:port]/]repository[:tag], the repository in lower case: {}",
                lossy(image.trim_ascii()).to_lowercase()
            ))),
            "container-executor does not accept the image's name",
        ),
    };
    report.reasons.push(reason.to_owned());
    found.add(finding);
}

fn without_tag(image: &str) -> &str {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

fn check_by_executor_cfg(
    context: &Context<'_>,
    executor_cfg: &ExecutorCfgReport,
    image: &[u8],
    report: &mut ImageReport,
    found: &mut Findings,
) {
    let request = &context.inputs.request;
    let refused = |reason: &str| {
        let mount = |mount: &Vec<u8>| MountReport {
            mount: lossy(mount).into_owned(),
            allowed: false,
            reason: Some(reason.to_owned()),
        };
        request.mounts.iter().map(mount).collect::<Vec<_>>()
    };
    let Some(config) = &executor_cfg.config else {
        let reason = match &executor_cfg.parse_error {
            Some(error) => format!("Hadoop does not accept container-executor.cfg: {}", error.message),
            None => "container-executor.cfg cannot be read".to_owned(),
        };
        report.trusted = Some(false);
        report.privileged_trusted = Some(false);
        report.privileged_allowed = Some(false);
        report.mounts = Some(refused(&reason));
        report.reasons.push(reason);
        return;
    };
    let read = image_name::in_command_file(image);
    let trusted = |container| read.is_some_and(|name| trust::is_trusted(config, container, name));
    let as_root = PrivilegedRequest { image: read, entry_point: true, user_may_run_docker: true };
    let privileged = trust::allow_privileged(config, as_root);
    report.trusted = Some(trusted(Container::Normal));
    report.privileged_trusted = Some(trusted(Container::Privileged));
    report.privileged_allowed = Some(privileged.is_ok());

    if is_fatal(config) {
        let reason = match config.nm_group() {
            None => "container-executor.cfg does not name the NodeManager's group",
            Some(_) => "Docker is off in container-executor.cfg",
        };
        report.reasons.push(reason.to_owned());
    }
    let counts = if request.privileged { trusted(Container::Privileged) } else { trusted(Container::Normal) };
    if !counts {
        report.reasons.push("the image is not trusted".to_owned());
        found.add(not_trusted(executor_cfg, config, &report.image));
    }
    if let (true, Err(refusal)) = (request.privileged, privileged) {
        if counts {
            report.reasons.push(refusal.to_string());
        }
        let fix = match refusal {
            PrivilegedRefusal::NotEnabled => Fix::set(DOCKER, PRIVILEGED_ENABLED_KEY, "true"),
            _ => Fix::manual(format!("add the registry to {PRIVILEGED_REGISTRIES_KEY}")),
        };
        let message = format!("`{}` may not run privileged: {refusal}", report.image);
        found.add(Finding::new(codes::PRIVILEGED_REFUSED, message).fix(fix).in_file(&executor_cfg.path));
    }
    report.mounts = Some(match (counts, overlong_mount_list(config)) {
        (false, _) => refused("the image is not trusted: its mounts are dropped without an error"),
        (true, None) => check_mounts(context, &executor_cfg.path, config, report, found),
        (true, Some(key)) => {
            let reason = format!("{key} has too many entries to check");
            report.reasons.push(reason.clone());
            refused(&reason)
        }
    });
    if report.reasons.is_empty() {
        report.reasons.extend(launch_refusal(context, &executor_cfg.path, config, image));
    }
}

fn not_trusted(file: &ExecutorCfgReport, config: &ExecutorConfig, image: &str) -> Finding {
    let entry = config.entry(DOCKER, TRUSTED_REGISTRIES_KEY);
    let wanted = match registry_of(image) {
        DOCKER_HUB => image.split_once('/').map_or("library", |(namespace, _)| namespace),
        host => host,
    };
    let message = format!("`{image}` is not trusted: no entry of the list is a prefix of it up to a `/`");
    let fix = with_entry(entry.map(|entry| entry.value).unwrap_or_default(), wanted);
    let finding = Finding::new(codes::IMAGE_NOT_TRUSTED, message).fix(fix).in_file(&file.path);
    finding.at(entry.map(|entry| entry.line)).about(entry.map(|entry| entry.value).unwrap_or_default())
}

fn check_mounts(
    context: &Context<'_>,
    path: &str,
    config: &ExecutorConfig,
    report: &mut ImageReport,
    found: &mut Findings,
) -> Vec<MountReport> {
    let Inputs { request, machine, .. } = context.inputs;
    let file = config_path(path, *machine);
    let mut reports = Vec::new();
    for mount in &request.mounts {
        let refusal = mounts::check(config, &[mount], &file, *machine).err();
        if let Some(refusal) = &refusal {
            let number = refusal.native_number(config.rules());
            let message =
                format!("{refusal} (docker error code={number}, {})", refusal.native_name(config.rules()));
            let fix = Fix::manual(
                "name the source, or a directory above it, in docker.allowed.ro-mounts or docker.allowed.rw-mounts, and give the mode :ro or :rw",
            );
            found.add(Finding::new(codes::MOUNT_REFUSED, message).fix(fix).in_file(path));
            report.reasons.push(refusal.to_string());
        }
        reports.push(MountReport {
            mount: lossy(mount).into_owned(),
            allowed: refusal.is_none(),
            reason: refusal.map(|refusal| refusal.to_string()),
        });
    }
    reports
}

/// Why container-executor would refuse the whole launch, as the NodeManager would ask for it.
fn launch_refusal(
    context: &Context<'_>,
    path: &str,
    config: &ExecutorConfig,
    image: &[u8],
) -> Option<String> {
    let request = &context.inputs.request;
    let defaults = Defaults::of(context.settings);
    let network = request.network.clone().unwrap_or(defaults.network);
    let image = lossy(image);
    let mounts = request.mounts.iter().map(|mount| lossy(mount).into_owned()).collect::<Vec<_>>().join(",");
    let capabilities = defaults.capabilities.join(",");
    let mut entries = vec![
        ("docker-command", "run"),
        ("name", "container_1410901177871_0001_01_000001"),
        ("user", "root"),
        ("image", &image),
        ("net", &network),
    ];
    entries.extend((!capabilities.is_empty()).then_some(("cap-add", capabilities.as_str())));
    entries.extend((!mounts.is_empty()).then_some(("mounts", mounts.as_str())));
    entries.extend(request.privileged.then_some(("privileged", "true")));
    entries.extend(request.privileged.then_some(("use-entry-point", "true")));
    let host = AsRoot { file: config_path(path, context.inputs.machine), machine: context.inputs.machine };
    let command = match LaunchCommand::new(entries, config.rules()) {
        Ok(command) => command,
        Err(error) => return Some(format!("container-executor cannot read the launch command: {error}")),
    };
    let refusal = launch::decide(config, &command, &host).err()?;
    let cause = std::error::Error::source(&refusal).map(|cause| format!(": {cause}")).unwrap_or_default();
    Some(format!("{refusal}{cause}"))
}

fn config_path(path: &str, machine: &dyn Machine) -> Vec<u8> {
    machine.realpath(path.as_bytes()).unwrap_or_else(|| path.into())
}

/// The machine, with a user who may run docker on it.
struct AsRoot<'m> {
    file: Vec<u8>,
    machine: &'m dyn Machine,
}

impl Paths for AsRoot<'_> {
    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.machine.realpath(path)
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        self.machine.is_directory(path)
    }
}

impl Host for AsRoot<'_> {
    fn executor_config_path(&self) -> Vec<u8> {
        self.file.clone()
    }

    /// Docker creates its own networks with drivers of the same name.
    fn network_driver(&self, network: &[u8]) -> Option<Vec<u8>> {
        Some(network.to_vec())
    }

    fn docker_access(&self, _user: &[u8]) -> DockerAccess {
        DockerAccess::Granted
    }
}

/// The registry that Docker would take the image from.
pub(super) fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => DOCKER_HUB,
    }
}

/// The entry that Docker uses for the registry, whatever scheme and path its key has.
fn credential(config: &DockerConfigReport, image: &[u8]) -> Option<ImageCredential> {
    let image = lossy(image);
    let registry = registry_of(image.trim());
    let wanted = if registry == DOCKER_HUB { DOCKER_HUB_KEY } else { registry };
    let host = |key: &str| -> String {
        let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default().to_owned()
    };
    let exact = config.credentials.get_key_value(wanted);
    let (key, credential) =
        exact.or_else(|| config.credentials.iter().find(|(key, _)| host(key) == wanted))?;
    Some(ImageCredential { registry: key.clone(), expires_at: credential.expires_at })
}
