//! Prepares the output of `make package` as installation sources: as built, as a previous version, and broken.

use std::env::consts::ARCH;
use std::fs;
use std::path::{self, Path, PathBuf};
use std::process::Command;

use emr_ecr_agent_tests::scratch;

use crate::{Outcome, ensure};

/// Directories for /packages on the node: `new`, `previous`, `truncated`, `corrupted` and those of `STAND_INS`, each
/// with install.sh, a package for this architecture and SHA256SUMS; `rpm` with package.rpm; and `real` with the
/// unpacked package.
pub(crate) struct Packages {
    directory: scratch::Directory,
    name: String,
    dist: PathBuf,
}

/// Programs that fail as an upgrade can, each in its own package: the name, and the replaced subcommand. The real
/// program handles everything else.
const STAND_INS: [(&str, &str); 3] = [
    ("crashing", "run) exit 1"),
    ("refusing", "config) echo 'unknown key: listen' >&2; exit 78"),
    ("unready", "run) exec /packages/real/emr-ecr-agent run --config /packages/real/unready.toml"),
];

impl Packages {
    pub(crate) fn of(dist: &Path) -> Outcome<Self> {
        let name = find(dist, &format!("-{ARCH}.tar.gz"))?;
        let packages = Self { directory: scratch::directory("packages")?, name, dist: path::absolute(dist)? };
        for source in ["new", "previous", "truncated", "corrupted"] {
            packages.copy(source)?;
        }
        packages.copy_rpm()?;
        packages.repack("previous", "echo previous >>emr-ecr-agent")?;
        packages.make_stand_ins()?;
        packages.spoil("truncated", |bytes| bytes.truncate(bytes.len() / 2))?;
        packages.spoil("corrupted", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        })?;
        Ok(packages)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The package's file name.
    pub(crate) fn describe(&self) -> &str {
        &self.name
    }

    /// Returns whether there is a tarball for another architecture.
    pub(crate) fn has(&self, architecture: &str) -> bool {
        self.tarball_for(architecture).exists()
    }

    /// Unpacks the tarball for another architecture.
    pub(crate) fn unpacked_for(&self, architecture: &str) -> Outcome<PathBuf> {
        let tarball = self.tarball_for(architecture);
        shell(self.directory(), &format!("tar -xzf {}", tarball.display()))?;
        Ok(self.directory().join(self.name.replace(ARCH, architecture).trim_end_matches(".tar.gz")))
    }

    fn tarball_for(&self, architecture: &str) -> PathBuf {
        self.dist.join(self.name.replace(ARCH, architecture))
    }

    fn copy(&self, source: &str) -> Outcome {
        let directory = self.directory().join(source);
        fs::create_dir(&directory)?;
        for name in [self.name.as_str(), "install.sh", "SHA256SUMS"] {
            fs::copy(self.dist.join(name), directory.join(name))?;
        }
        Ok(())
    }

    fn copy_rpm(&self) -> Outcome {
        let directory = self.directory().join("rpm");
        fs::create_dir(&directory)?;
        fs::copy(self.dist.join(find(&self.dist, &format!(".{ARCH}.rpm"))?), directory.join("package.rpm"))?;
        Ok(())
    }

    fn make_stand_ins(&self) -> Outcome {
        let real = self.directory().join("real");
        fs::create_dir(&real)?;
        shell(&real, &format!("tar -xzf {} --strip-components 1", self.tarball_for(ARCH).display()))?;
        fs::write(real.join("unready.toml"), "[hadoop]\nconf_dir = \"/nowhere\"\n")?;
        for (name, does) in STAND_INS {
            self.copy(name)?;
            let program = format!(
                "#!/bin/sh\ncase $1 in\n{does} ;;\n--version) echo 'emr-ecr-agent {name}' ;;\n\
                 *) exec /packages/real/emr-ecr-agent \"$@\" ;;\nesac\n"
            );
            fs::write(self.directory().join(name).join("program"), program)?;
            self.repack(name, "cat ../program >emr-ecr-agent")?;
        }
        Ok(())
    }

    /// Changes the program in the package. Bytes appended to an ELF file change only its digest.
    fn repack(&self, source: &str, change: &str) -> Outcome {
        let unpacked = self.name.trim_end_matches(".tar.gz");
        shell(
            &self.directory().join(source),
            &format!(
                "tar -xzf {name} && cd {unpacked} && {change} && rm SHA256SUMS &&
                find . -type f | xargs sha256sum >../sums && mv ../sums SHA256SUMS && cd .. && tar -czf {name} {unpacked} && rm -r {unpacked} &&
                sha256sum {name} >SHA256SUMS",
                name = self.name
            ),
        )
    }

    fn spoil(&self, source: &str, spoil: impl FnOnce(&mut Vec<u8>)) -> Outcome {
        let path = self.directory().join(source).join(&self.name);
        let mut bytes = fs::read(&path)?;
        spoil(&mut bytes);
        Ok(fs::write(path, bytes)?)
    }
}

/// The name of the file in `dist` with this suffix.
fn find(dist: &Path, ending: &str) -> Outcome<String> {
    let mut names = fs::read_dir(dist)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let missing = || format!("{} has no file *{ending}", dist.display());
    Ok(names.find(|name| name.ends_with(ending)).ok_or_else(missing)?)
}

fn shell(directory: &Path, script: &str) -> Outcome {
    let output = Command::new("bash").args(["-euc", script]).current_dir(directory).output()?;
    ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())
}
