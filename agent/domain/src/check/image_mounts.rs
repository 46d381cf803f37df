//! Checks a launch's mounts against the allowed lists and against each other.

use hadoop_rules::executor_config::{DOCKER, ExecutorConfig, lossy};
use hadoop_rules::mounts::{self, MountRefusal, RO_MOUNTS_KEY, RW_MOUNTS_KEY, RequestedMount};

use super::docker_mounts;
use super::image_context::Context;
use super::launch::with_item;
use super::report::MountReport;
use crate::findings::{Finding, Findings, Fix, codes};

/// Checks each mount by itself and, if all are allowed, whether Docker can create them.
pub(super) fn check_mounts(
    context: &Context<'_>,
    path: &str,
    config: &ExecutorConfig,
    found: &mut Findings,
) -> Vec<MountReport> {
    let (request, machine) = (context.request, &context.inputs.machine);
    let file = context.config_path(path);
    let mut reports = Vec::new();
    let mut all_allowed = true;
    let refusals: Vec<_> = context
        .mount_commands()
        .into_iter()
        .map(|mount| (mounts::check(config, &[&mount], &file, *machine).err(), mount))
        .collect();
    let lacking = Lacking::of(&refusals);
    for (written, (refusal, mount)) in request.mounts.iter().zip(refusals) {
        if let Some(refusal) = &refusal {
            all_allowed = false;
            let number = refusal.native_number(config.rules());
            let message =
                format!("{refusal} (docker error code={number}, {})", refusal.native_name(config.rules()));
            let fix = match refusal {
                MountRefusal::ReadOnly { .. } => allowed_mounts(config, RO_MOUNTS_KEY, &lacking),
                // What may only be read should not become writable for every job.
                MountRefusal::ReadWrite { .. }
                    if mounts::check(config, &[&read_only(&mount)], &file, *machine).is_ok() =>
                {
                    Fix::manual(format!("mount it read-only: {}", lossy(&read_only(&mount))))
                }
                MountRefusal::ReadWrite { .. } => allowed_mounts(config, RW_MOUNTS_KEY, &lacking),
                MountRefusal::AllowedMountMissing { .. } => {
                    Fix::manual("correct the list first, and then check the mount again")
                }
                _ => Fix::manual("write SRC:DST:ro or SRC:DST:rw, with a source that exists on the node"),
            };
            let line = fix.key.as_ref().and_then(|key| config.entry(DOCKER, key)).map(|entry| entry.line);
            found.add(Finding::new(codes::MOUNT_REFUSED, message).fix(fix).in_file(path).at(line));
        }
        reports.push(MountReport {
            mount: lossy(written).into_owned(),
            allowed: refusal.is_none(),
            reason: refusal.map(|refusal| refusal.to_string()),
        });
    }
    if let (true, Some(settings), Some(requested)) = (all_allowed, context.settings, context.mounts) {
        let defaults = &settings.default_mounts;
        let all: Vec<RequestedMount> = defaults.iter().chain(requested).cloned().collect();
        if let Some((index, why)) = docker_mounts::fault(&all, *machine)
            && let Some(report) = index.checked_sub(defaults.len()).and_then(|index| reports.get_mut(index))
        {
            report.allowed = false;
            report.reason = Some(why.clone());
            let message = format!("the mount `{}`: {why}", report.mount);
            let fix = Fix::manual("choose another destination or mode, or leave the mount out");
            found.add(Finding::new(codes::MOUNT_IMPOSSIBLE, message).fix(fix));
        }
    }
    reports
}

/// The same mount with the mode `ro`.
fn read_only(mount: &[u8]) -> Vec<u8> {
    let place = mount.strip_suffix(b":rw").unwrap_or(mount);
    [place, b":ro"].concat()
}

/// The sources that each list lacks.
struct Lacking {
    read_only: Vec<String>,
    read_write: Vec<String>,
}

impl Lacking {
    fn of(refusals: &[(Option<MountRefusal>, Vec<u8>)]) -> Self {
        let mut lacking = Self { read_only: Vec::new(), read_write: Vec::new() };
        for (refusal, mount) in refusals {
            let list = match refusal {
                Some(MountRefusal::ReadOnly { .. }) => &mut lacking.read_only,
                Some(MountRefusal::ReadWrite { .. }) => &mut lacking.read_write,
                _ => continue,
            };
            let source = lossy(mount.split(|byte| *byte == b':').next().unwrap_or_default()).into_owned();
            if !list.contains(&source) {
                list.push(source);
            }
        }
        lacking
    }
}

/// The list with every source that the job's mounts need.
fn allowed_mounts(config: &ExecutorConfig, key: &'static str, lacking: &Lacking) -> Fix {
    let value = config.get(DOCKER, key).unwrap_or_default();
    let sources = if key == RO_MOUNTS_KEY { &lacking.read_only } else { &lacking.read_write };
    let list =
        sources.iter().fold(lossy(value).into_owned(), |list, source| with_item(list.as_bytes(), source));
    Fix::set(DOCKER, key, list)
}
