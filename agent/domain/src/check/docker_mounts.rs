//! Whether Docker can create a launch's mounts: their destinations, and how they nest.

use std::collections::BTreeMap;

use hadoop_rules::mounts::RequestedMount;

use super::inputs::{Machine, Propagation};

/// Files that Docker itself creates in every container.
const FILES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
/// Directories of every image that YARN can use.
const DIRECTORIES: [&str; 14] = [
    "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/opt", "/proc", "/root", "/run", "/sys", "/tmp",
    "/usr", "/var",
];

/// The index in `mounts` of the first mount that fails the launch, and why. container-executor has already checked
/// that sources exist.
pub(super) fn fault(mounts: &[RequestedMount], machine: &dyn Machine) -> Option<(usize, String)> {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for (index, mount) in mounts.iter().enumerate() {
        if mounts[..index].contains(mount) {
            // The NodeManager passes duplicates once.
            continue;
        }
        let own = own_fault(mount, machine);
        let destination = cleaned(&mount.destination);
        let twice = taken
            .contains_key(&destination)
            .then(|| format!("docker says `Duplicate mount point: {destination}`"));
        if let Some(why) = own.or(twice) {
            return Some((index, why));
        }
        let nested = taken.iter().find_map(|(other, place)| {
            let other = (other.as_str(), &mounts[*place]);
            let this = (destination.as_str(), mount);
            nesting_fault(other, this, machine).or_else(|| nesting_fault(this, other, machine))
        });
        if let Some(why) = nested {
            return Some((index, why));
        }
        taken.insert(destination, index);
    }
    None
}

fn own_fault(mount: &RequestedMount, machine: &dyn Machine) -> Option<String> {
    let destination = cleaned(&mount.destination);
    if !mount.destination.starts_with('/') {
        return Some(format!(
            "docker accepts only absolute destinations, but `{}` is relative",
            mount.destination
        ));
    }
    if destination == "/" {
        return Some("docker does not mount over `/`".to_owned());
    }
    if destination == "/proc" || destination.starts_with("/proc/") {
        return Some("the container runtime does not allow mounts over /proc".to_owned());
    }
    match is_directory(machine, &mount.source) {
        Some(true) if FILES.contains(&destination.as_str()) => {
            return Some(format!(
                "`{destination}` is a file in every container, but the source is a directory"
            ));
        }
        Some(false) if DIRECTORIES.contains(&destination.as_str()) => {
            return Some(format!("`{destination}` is a directory in every image, but the source is not"));
        }
        _ => {}
    }
    let propagation = mount.propagation()?;
    let found = machine.propagation(mount.source.as_bytes())?;
    let suffices = match propagation {
        "shared" | "rshared" => found == Propagation::Shared,
        "slave" | "rslave" => found != Propagation::Private,
        _ => true,
    };
    (!suffices).then(|| {
        let wanted = propagation.trim_start_matches('r');
        format!("docker requires a {wanted} mount, but the source is on a private mount of the node")
    })
}

/// Why `inner` cannot be mounted inside `outer`.
fn nesting_fault(
    (outer_destination, outer): (&str, &RequestedMount),
    (inner_destination, inner): (&str, &RequestedMount),
    machine: &dyn Machine,
) -> Option<String> {
    let rest = inner_destination.strip_prefix(outer_destination)?.strip_prefix('/')?;
    let place = format!("{}/{rest}", outer.source.trim_end_matches('/'));
    match (is_directory(machine, &place), is_directory(machine, &inner.source)) {
        (None, _) if machine.knows_files() && outer.is_read_only() => Some(format!(
            "`{inner_destination}` would be below `{outer_destination}`, which is mounted read-only and lacks it"
        )),
        (Some(there), Some(inner)) if there != inner => Some(format!(
            "`{inner_destination}` would cover a path of another type below `{outer_destination}`"
        )),
        _ => None,
    }
}

/// `None` if the path does not exist, or that is unknown.
fn is_directory(machine: &dyn Machine, path: &str) -> Option<bool> {
    let real = machine.realpath(path.as_bytes()).filter(|_| machine.knows_files())?;
    Some(machine.is_directory(&real))
}

/// Without repeated and trailing slashes, and with `.` and `..` resolved.
fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
