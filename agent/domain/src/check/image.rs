//! Whether an image that a job requests would launch.

use hadoop_rules::executor_config::{
    DOCKER, ExecutorConfig, PRIVILEGED_ENABLED_KEY, PRIVILEGED_REGISTRIES_KEY, TRUSTED_REGISTRIES_KEY, lossy,
};
use hadoop_rules::image_name;
use hadoop_rules::launch::{self, DockerAccess, Host, LaunchCommand};
use hadoop_rules::mounts::Paths;
use hadoop_rules::trust::{self, Container, PrivilegedRefusal, PrivilegedRequest};

use super::docker_name;
use super::emr::Unresolved;
use super::image_context::Context;
use super::image_mounts::check_mounts;
use super::inputs::Machine;
use super::launch::{Defaults, has_docker_section, overlong_mount_list};
use super::registries::with_entry;
use super::report::{
    DockerConfigReport, ExecutorCfgReport, ImageCredential, ImageReport, MountReport, Unknown,
};
use super::request::{RUNTIME, Request, TMPFS};
use super::template::is_unresolved;
use crate::findings::{Finding, Findings, Fix, codes};
use crate::registry::{EcrRegistry, Service};

pub(super) const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_KEY: &str = "index.docker.io";

pub(super) fn check(context: &Context<'_>, found: &mut Findings) -> Vec<ImageReport> {
    check_all(context, &context.request.images, found)
}

/// Checks the default image: its name and trust and, if it `is_asked_for`, everything else.
pub(super) fn check_default(
    context: &Context<'_>,
    image: &str,
    is_asked_for: bool,
) -> (Option<ImageReport>, Findings) {
    let (mut own, mut found) = (Findings::default(), Findings::default());
    let report = check_all(context, &[image.as_bytes().to_vec()], &mut own).pop();
    for finding in own.into_sorted() {
        let is_of_image =
            matches!(finding.code, codes::IMAGE_INVALID | codes::IMAGE_BY_DIGEST | codes::IMAGE_NOT_TRUSTED);
        if is_of_image {
            let message = format!("the default image: {}", finding.message);
            let code = codes::DEFAULT_IMAGE_REFUSED;
            found.add(Finding { code, message, effect: code.effect, registries: Vec::new(), ..finding });
        } else if is_asked_for {
            found.add(finding);
        }
    }
    (report, found)
}

fn check_all(context: &Context<'_>, images: &[Vec<u8>], found: &mut Findings) -> Vec<ImageReport> {
    let check = |image: &Vec<u8>| {
        let mut own = Findings::default();
        let mut report = check_image(context, image, &mut own);
        own.set_aside(|finding| context.emr.is_some_and(|emr| emr.may_resolve(finding)));
        report.reasons.extend(own.errors().map(|finding| finding.message.clone()));
        report.conclude();
        found.append(own);
        report
    };
    images.iter().map(check).collect()
}

fn check_image(context: &Context<'_>, image: &[u8], found: &mut Findings) -> ImageReport {
    let docker = context.inputs.node.as_ref().and_then(|node| node.docker.as_ref());
    let mut report = ImageReport {
        image: lossy(image).into_owned(),
        name_valid: image_name::is_valid(image),
        trusted: None,
        privileged_trusted: None,
        privileged_allowed: None,
        mounts: None,
        on_node: docker.and_then(|docker| docker.images.get(image).copied()),
        is_updated: context.settings.is_some_and(|settings| settings.image_update),
        credential: context.docker_config.and_then(|config| credential(config, image)),
        would_launch: None,
        reasons: context.reasons.to_vec(),
        unknown: context.unknown.iter().cloned().map(Unknown::from).collect(),
    };
    if is_unresolved(image) {
        report.unknown.push(format!("the value of `{}`", report.image).into());
        return report;
    }
    check_name(&report, image, found);
    match context.executor_cfg {
        Some(executor_cfg) => check_by_executor_cfg(context, executor_cfg, image, &mut report, found),
        None => report.unknown.push(Unknown::Other("the content of container-executor.cfg".to_owned())),
    }
    if report.is_updated {
        check_update(context, &report.image, found);
    } else if report.on_node != Some(true) {
        check_credential(context, &report, found);
    }
    if report.on_node.is_some() && (report.is_updated || report.on_node == Some(false)) {
        report.unknown.push(Unknown::Pull { registry: registry_of(&report.image).to_owned() });
    }
    report
}

/// With image-update, the NodeManager pulls with the credentials of root's own Docker config.
fn check_update(context: &Context<'_>, image: &str, found: &mut Findings) {
    let Ok(registry) = EcrRegistry::parse(registry_of(image)) else { return };
    let node = context.inputs.node.as_ref();
    let may_pull = node.map_or(context.emr.is_none(), |node| node.root_pulls_from(&registry));
    if registry.service() == Service::Private && !may_pull {
        let finding = update_without_credential(&registry, context.emr.is_some());
        found.add(match context.settings {
            Some(settings) => finding.in_file(&settings.file),
            None => finding,
        });
    }
}

/// For a cluster that `is_future`, nothing in the inputs provides a credential.
pub(super) fn update_without_credential(registry: &EcrRegistry, is_future: bool) -> Finding {
    let host = registry.host();
    let message = if is_future {
        format!(
            "image-update is on, so the NodeManager pulls with root's Docker config, but nothing here provides a credential for {host} there"
        )
    } else {
        format!(
            "image-update is on, so the NodeManager pulls with root's Docker config, which has no credential for {host}"
        )
    };
    let finding =
        Finding::new(codes::IMAGE_UPDATE_WITHOUT_CREDENTIAL, message).of_registries(vec![registry.clone()]);
    finding.fix(Fix::manual(
        "turn image-update off, or let the agent keep /root/.docker/config.json: [[docker_configs]] in agent.toml",
    ))
}

/// Checks the credential for a pull, if the image is not known to be on the node.
fn check_credential(context: &Context<'_>, report: &ImageReport, found: &mut Findings) {
    let Some(config) = context.docker_config.filter(|config| config.error.is_none()) else { return };
    if let Some((registry, _)) = config.credentials.iter().find(|(_, credential)| !credential.usable) {
        let message = format!(
            "the `auth` of {registry} is not base64 of user:password, so docker may lose the credential for `{}`",
            report.image
        );
        let fix = Fix::manual("write the base64 of user:password, with its padding");
        found.add(Finding::new(codes::CREDENTIAL_INVALID, message).fix(fix).in_file(&config.path));
        return;
    }
    match &report.credential {
        None => {
            let message =
                format!("the config.json holds no credential for the registry of `{}`", report.image);
            let fix = Fix::manual(
                "let the agent serve the registry: trust it in container-executor.cfg, or name it in [[registries]]",
            );
            let is_ecr = EcrRegistry::parse(registry_of(&report.image))
                .is_ok_and(|registry| registry.service() == Service::Private);
            let code = if is_ecr { codes::ECR_CREDENTIAL_MISSING } else { codes::IMAGE_WITHOUT_CREDENTIAL };
            found.add(Finding::new(code, message).fix(fix).in_file(&config.path));
        }
        Some(credential) => {
            let expired = credential.expires_at.is_some_and(|at| at <= context.inputs.now);
            if expired {
                let message = format!(
                    "the credential for {} has expired, and `{}` may have to be pulled",
                    credential.registry, report.image
                );
                let fix = Fix::run("emr-ecr-agent once");
                found.add(Finding::new(codes::CREDENTIAL_EXPIRED, message).fix(fix).in_file(&config.path));
            }
        }
    }
}

fn check_name(report: &ImageReport, image: &[u8], found: &mut Findings) {
    let name = &report.image;
    let invalid = |message: String| {
        let form = "write [host[:port]/]repository[:tag], the repository in lower case";
        let fix = match probable_name(&lossy(image)) {
            Some(meant) => Fix::manual(format!("{form}: {meant}")),
            None => Fix::manual(form),
        };
        Finding::new(codes::IMAGE_INVALID, message).fix(fix)
    };
    if report.name_valid {
        if let Err(fault) = docker_name::check(name) {
            found.add(invalid(format!("docker does not accept the image name `{name}`: {fault}")));
        }
        return;
    }
    found.add(match name.split_once('@') {
        Some((before, _)) if image_name::is_valid(before.as_bytes()) => Finding::new(
            codes::IMAGE_BY_DIGEST,
            format!("`{name}` names a digest, which container-executor refuses in every version"),
        )
        .fix(Fix::manual(format!("use a tag: {}:<tag>", without_tag(before)))),
        _ => invalid(format!("container-executor does not accept the image name `{name}`")),
    });
}

/// What was probably meant, if YARN and Docker accept that name.
fn probable_name(image: &str) -> Option<String> {
    let bare = image.trim_matches(|c: char| c.is_whitespace() || "\"'`".contains(c));
    let bare = bare.split_once("://").map_or(bare, |(_, rest)| rest).trim_end_matches(':');
    let lower = match bare.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => format!("{}:{tag}", name.to_lowercase()),
        _ => bare.to_lowercase(),
    };
    let is_sound = image_name::is_valid(lower.as_bytes()) && docker_name::check(&lower).is_ok();
    (is_sound && lower != image).then_some(lower)
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
    let Some(config) = &executor_cfg.config else {
        let reason = match &executor_cfg.parse_error {
            Some(error) => format!("Hadoop does not accept container-executor.cfg: {}", error.message),
            None => "container-executor.cfg cannot be read".to_owned(),
        };
        if let Some(repaired) = &executor_cfg.repaired {
            check_by_config(context, executor_cfg, repaired, image, &mut report.clone(), found);
        }
        report.trusted = Some(false);
        report.privileged_trusted = Some(false);
        report.privileged_allowed = Some(false);
        report.mounts = Some(refused(context.request, &reason));
        if executor_cfg.parse_error.is_none() {
            report.unknown.push(reason.into());
        }
        return;
    };
    match &executor_cfg.repaired {
        None => check_by_config(context, executor_cfg, config, image, report, found),
        Some(repaired) => {
            check_by_config(context, executor_cfg, config, image, report, &mut Findings::default());
            check_by_config(context, executor_cfg, repaired, image, &mut report.clone(), found);
        }
    }
}

/// Reports every mount of the request as refused.
fn refused(request: &Request, reason: &str) -> Vec<MountReport> {
    let mount = |mount: &Vec<u8>| MountReport {
        mount: lossy(mount).into_owned(),
        allowed: false,
        reason: Some(reason.to_owned()),
    };
    request.mounts.iter().map(mount).collect()
}

fn check_by_config(
    context: &Context<'_>,
    executor_cfg: &ExecutorCfgReport,
    config: &ExecutorConfig,
    image: &[u8],
    report: &mut ImageReport,
    found: &mut Findings,
) {
    let request = context.request;
    let read = image_name::in_command_file(image);
    let trusted = |container| read.is_some_and(|name| trust::is_trusted(config, container, name));
    let as_root = PrivilegedRequest { image: read, entry_point: true, user_may_run_docker: true };
    let privileged = trust::allow_privileged(config, as_root);
    report.trusted = Some(trusted(Container::Normal));
    report.privileged_trusted = Some(trusted(Container::Privileged));
    report.privileged_allowed = Some(privileged.is_ok());

    if !config.docker_supported() && !has_docker_section(config) {
        // The missing section alone explains every refusal.
        report.mounts = Some(refused(request, "there is no section [docker]"));
        return;
    }
    let counts = if request.privileged { trusted(Container::Privileged) } else { trusted(Container::Normal) };
    let unresolved = context.emr.map(|emr| emr.unresolved.as_slice()).unwrap_or_default();
    let open: Vec<&Unresolved> =
        unresolved.iter().filter(|open| request.privileged || open.list == TRUSTED_REGISTRIES_KEY).collect();
    if !counts && !open.is_empty() {
        for what in open.iter().map(|open| Unknown::from(open.what.clone())) {
            if !report.unknown.contains(&what) {
                report.unknown.push(what);
            }
        }
        (report.trusted, report.privileged_trusted) = (None, None);
    } else if !counts && report.name_valid {
        found.add(not_trusted(context, executor_cfg, config, &report.image));
    }
    if let (true, Err(refusal)) = (request.privileged, privileged) {
        let fix = match refusal {
            PrivilegedRefusal::NotEnabled => Fix::set(DOCKER, PRIVILEGED_ENABLED_KEY, "true"),
            _ => Fix::manual(format!("add the registry to {PRIVILEGED_REGISTRIES_KEY}")),
        };
        let message = format!("`{}` may not run privileged: {refusal}", report.image);
        found.add(Finding::new(codes::PRIVILEGED_REFUSED, message).fix(fix).in_file(&executor_cfg.path));
    }
    report.mounts = Some(match (counts, overlong_mount_list(config)) {
        (false, too_long) => {
            if too_long.is_none() && report.name_valid {
                // They count once the image is trusted.
                check_mounts(context, &executor_cfg.path, config, found);
            }
            refused(request, "the image is not trusted: its mounts are dropped without an error")
        }
        (true, None) => check_mounts(context, &executor_cfg.path, config, found),
        (true, Some(key)) => {
            report.unknown.push(format!("the mounts: {key} has too many entries to check").into());
            refused(request, &format!("{key} has too many entries to check"))
        }
    });
    if report.reasons.is_empty()
        && found.errors().next().is_none()
        && let Some(refusal) = launch_refusal(context, &executor_cfg.path, config, image)
    {
        let fix = Fix::manual("change the job, or what container-executor.cfg allows");
        let message = format!("container-executor refuses the launch of `{}`: {refusal}", report.image);
        found.add(Finding::new(codes::LAUNCH_REFUSED, message).fix(fix).in_file(&executor_cfg.path));
    }
}

fn not_trusted(
    context: &Context<'_>,
    file: &ExecutorCfgReport,
    config: &ExecutorConfig,
    image: &str,
) -> Finding {
    let entry = config.entry(DOCKER, TRUSTED_REGISTRIES_KEY);
    let value = entry.map(|entry| entry.value).unwrap_or_default();
    let wanted = match registry_of(image) {
        DOCKER_HUB => image.split_once('/').map(|(namespace, _)| namespace),
        host => Some(host),
    };
    let message = format!("`{image}` is not trusted: no entry of the list is a prefix of it up to a `/`");
    let fix = match wanted {
        Some(wanted) => with_entry(config, wanted, context.inputs),
        None => Fix::manual(
            "push the image to your own registry and include the registry's host in its name: the only entry that trusts an image without a `/` is `library`, which trusts all such images",
        ),
    };
    let finding = Finding::new(codes::IMAGE_NOT_TRUSTED, message).fix(fix).in_file(&file.path);
    finding.at(entry.map(|entry| entry.line)).about(value)
}

/// Why container-executor would refuse the launch that the NodeManager would request.
fn launch_refusal(
    context: &Context<'_>,
    path: &str,
    config: &ExecutorConfig,
    image: &[u8],
) -> Option<String> {
    let request = context.request;
    let defaults = Defaults::of(context.settings);
    let network = request.network.clone().unwrap_or(defaults.network);
    let image = lossy(image);
    let mounts =
        context.mount_commands().iter().map(|mount| lossy(mount).into_owned()).collect::<Vec<_>>().join(",");
    let capabilities = defaults.capabilities.join(",");
    let mut entries = vec![
        ("docker-command", "run"),
        ("name", "container_1410901177871_0001_01_000001"),
        ("user", request.user.as_deref().unwrap_or("root")),
        ("image", &image),
        ("net", &network),
    ];
    entries.extend((!capabilities.is_empty()).then_some(("cap-add", capabilities.as_str())));
    entries.extend((!mounts.is_empty()).then_some(("mounts", mounts.as_str())));
    entries.extend(request.privileged.then_some(("privileged", "true")));
    entries.extend(request.privileged.then_some(("use-entry-point", "true")));
    let variable = |name: &str| {
        let mut set = request.environment.iter();
        set.find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    };
    entries.extend(variable(RUNTIME).map(|runtime| ("runtime", runtime)));
    entries.extend(variable(TMPFS).map(|mounts| ("tmpfs", mounts)));
    let host = Node {
        file: context.config_path(path),
        machine: context.inputs.machine,
        knows_users: context.inputs.node.is_some() && request.user.is_some(),
    };
    let command = match LaunchCommand::new(entries, config.rules()) {
        Ok(command) => command,
        Err(error) => return Some(format!("container-executor cannot read the launch command: {error}")),
    };
    let refusal = launch::decide(config, &command, &host).err()?;
    let cause = std::error::Error::source(&refusal).map(|cause| format!(": {cause}")).unwrap_or_default();
    Some(format!("{refusal}{cause}"))
}

/// The machine; an unknown user counts as one who may run docker.
struct Node<'m> {
    file: Vec<u8>,
    machine: &'m dyn Machine,
    knows_users: bool,
}

impl Paths for Node<'_> {
    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.machine.realpath(path)
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        self.machine.is_directory(path)
    }
}

impl Host for Node<'_> {
    fn executor_config_path(&self) -> Vec<u8> {
        self.file.clone()
    }

    /// Docker's predefined networks have drivers of the same name; others are checked separately.
    fn network_driver(&self, network: &[u8]) -> Option<Vec<u8>> {
        Some(network.to_vec())
    }

    fn docker_access(&self, user: &[u8]) -> DockerAccess {
        if self.knows_users { self.machine.docker_access(user) } else { DockerAccess::Granted }
    }
}

/// The registry that Docker would pull the image from.
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
    let exact = config.credentials.get_key_value(wanted);
    let (key, credential) =
        exact.or_else(|| config.credentials.iter().find(|(key, _)| entry_host(key) == wanted))?;
    (!credential.empty).then(|| ImageCredential { registry: key.clone(), expires_at: credential.expires_at })
}

/// The registry that Docker uses an entry for.
pub fn entry_host(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}
