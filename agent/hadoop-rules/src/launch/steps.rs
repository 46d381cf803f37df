//! The steps of a launch in container-executor's order, because the first refusal counts.

use alloc::vec::Vec;

use super::super::executor_config::{DOCKER, ExecutorConfig, HEAD};
use super::super::image_name;
use super::super::mounts;
use super::super::trust::{self, Container, PrivilegedRefusal, PrivilegedRequest};
use super::arguments::Arguments;
use super::{DockerAccess, Host, LaunchCommand, Refusal};

pub(super) struct Launch<'a> {
    config: &'a ExecutorConfig,
    command: &'a LaunchCommand,
    host: &'a dyn Host,
    arguments: Arguments,
}

/// Requested values that a list in the configuration must allow.
struct Listed {
    /// In the launch command.
    key: &'static str,
    /// In the configuration.
    allowed_key: &'static str,
    option: &'static str,
    /// The refusal if a value is not allowed.
    refusal: Refusal,
}

impl<'a> Launch<'a> {
    pub(super) fn new(config: &'a ExecutorConfig, command: &'a LaunchCommand, host: &'a dyn Host) -> Self {
        Self { config, command, host, arguments: Arguments::default() }
    }

    pub(super) fn run(mut self) -> Result<Vec<Vec<u8>>, Refusal> {
        self.arguments.push(self.docker_binary())?;
        self.add_valued("docker-config", "--config=")?;
        if self.command.get("docker-command") != Some(b"run") {
            return Err(Refusal::NotRun);
        }
        let name = self.container_name()?;
        let user = self.command.get("user").ok_or(Refusal::NoUser)?;
        let image = self.image()?;

        self.arguments.push(b"run")?;
        self.arguments.push_option("--name=", name)?;
        self.add_user(user)?;
        self.add_flag("detach", "-d")?;
        self.add_flag("rm", "--rm")?;
        self.add_valued("workdir", "--workdir=")?;
        self.add_network()?;
        self.add_ports()?;
        self.add_mounts()?;
        self.add_tmpfs_mounts()?;
        self.add_valued("cgroup-parent", "--cgroup-parent=")?;
        self.add_privileged()?;
        self.add_capabilities()?;
        self.add_runtime()?;
        self.add_valued("hostname", "--hostname=")?;
        self.add_groups()?;
        if let Some(file) = self.command.get("environ") {
            self.arguments.push_pair("--env-file", file)?;
        }
        self.arguments.push(image)?;
        for word in self.command.items("launch-command") {
            self.arguments.push(word)?;
        }
        Ok(self.arguments.into_words())
    }

    fn docker_binary(&self) -> &'a [u8] {
        let key = "docker.binary";
        self.config.get(DOCKER, key).or_else(|| self.config.get(HEAD, key)).unwrap_or(b"/usr/bin/docker")
    }

    fn container_name(&self) -> Result<&'a [u8], Refusal> {
        self.command.get("name").filter(|name| is_container_id(name)).ok_or(Refusal::ContainerName)
    }

    fn image(&self) -> Result<&'a [u8], Refusal> {
        self.command.get("image").filter(|image| image_name::is_valid(image)).ok_or(Refusal::ImageName)
    }

    fn is_trusted(&self) -> bool {
        let container =
            if self.command.is_true("privileged") { Container::Privileged } else { Container::Normal };
        self.command.get("image").is_some_and(|image| trust::is_trusted(self.config, container, image))
    }

    fn add_flag(&mut self, key: &str, option: &str) -> Result<(), Refusal> {
        if self.command.get(key) == Some(b"true") {
            self.arguments.push(option.as_bytes())?;
        }
        Ok(())
    }

    fn add_valued(&mut self, key: &str, option: &str) -> Result<(), Refusal> {
        match self.command.get(key) {
            Some(value) => self.arguments.push_option(option, value),
            None => Ok(()),
        }
    }

    /// Here, any value but an exact `false` counts as privileged, though only `true` is.
    fn add_user(&mut self, user: &[u8]) -> Result<(), Refusal> {
        if !matches!(self.command.get("privileged"), None | Some(b"false")) {
            return Ok(());
        }
        self.arguments.push_option("--user=", user)?;
        let no_new_privileges = self
            .config
            .get(DOCKER, "docker.no-new-privileges.enabled")
            .is_some_and(|value| value.eq_ignore_ascii_case(b"true"));
        if no_new_privileges {
            self.arguments.push(b"--security-opt=no-new-privileges")?;
        }
        Ok(())
    }

    fn add_network(&mut self) -> Result<(), Refusal> {
        let listed = Listed {
            key: "net",
            allowed_key: "docker.allowed.networks",
            option: "--net=",
            refusal: Refusal::Network,
        };
        match self.command.get(listed.key) {
            Some(network) => self.add_listed([network], &listed),
            None => Ok(()),
        }
    }

    /// A bridged container publishes the ports that its image exposes.
    fn add_ports(&mut self) -> Result<(), Refusal> {
        let Some(network) = self.command.get("net") else {
            return Ok(());
        };
        let driver = self.host.network_driver(network).ok_or(Refusal::NetworkDriver)?;
        if driver.eq_ignore_ascii_case(b"bridge") {
            self.arguments.push(b"-P")?;
        }
        Ok(())
    }

    /// An untrusted image runs without its mounts.
    fn add_mounts(&mut self) -> Result<(), Refusal> {
        let Some(requests) = self.command.list("mounts") else {
            return Ok(());
        };
        if !self.is_trusted() {
            return Ok(());
        }
        let config_file = self.host.executor_config_path();
        let requests: Vec<_> = requests.iter().collect();
        let volumes =
            mounts::check(self.config, &requests, &config_file, self.host).map_err(Refusal::Mount)?;
        for volume in volumes {
            self.arguments.push_pair("-v", &volume)?;
        }
        Ok(())
    }

    fn add_tmpfs_mounts(&mut self) -> Result<(), Refusal> {
        for mount in self.command.items("tmpfs") {
            let valid = matches!(mount, [b'/', path @ ..] if !path.is_empty() && !path.contains(&b':'));
            if !valid {
                return Err(Refusal::TmpfsMount);
            }
            self.arguments.push_pair("--tmpfs", mount)?;
        }
        Ok(())
    }

    fn add_privileged(&mut self) -> Result<(), Refusal> {
        let user = self.command.get("user").ok_or(Refusal::NoUser)?;
        if !self.command.is_true("privileged") {
            return Ok(());
        }
        let access = self.host.docker_access(user);
        let request = PrivilegedRequest {
            image: self.command.get("image"),
            entry_point: self.command.is_true("use-entry-point"),
            user_may_run_docker: access == DockerAccess::Granted,
        };
        trust::allow_privileged(self.config, request).map_err(|refusal| match (refusal, access) {
            (PrivilegedRefusal::User, DockerAccess::UnknownUser) => Refusal::UnknownUser,
            (refusal, _) => Refusal::Privileged(refusal),
        })?;
        self.arguments.push(b"--privileged")
    }

    /// An untrusted image runs without any capability.
    fn add_capabilities(&mut self) -> Result<(), Refusal> {
        self.arguments.push(b"--cap-drop=ALL")?;
        let Some(capabilities) = self.command.list("cap-add") else {
            return Ok(());
        };
        if !self.is_trusted() {
            return Ok(());
        }
        let listed = Listed {
            key: "cap-add",
            allowed_key: "docker.allowed.capabilities",
            option: "--cap-add=",
            refusal: Refusal::Capability,
        };
        self.add_listed(capabilities.iter(), &listed)
    }

    fn add_runtime(&mut self) -> Result<(), Refusal> {
        let listed = Listed {
            key: "runtime",
            allowed_key: "docker.allowed.runtimes",
            option: "--runtime=",
            refusal: Refusal::Runtime,
        };
        let Some(runtime) = self.command.get(listed.key) else {
            return Ok(());
        };
        if !self.is_trusted() {
            return Err(listed.refusal);
        }
        self.add_listed([runtime], &listed)
    }

    fn add_listed<'v>(
        &mut self,
        values: impl IntoIterator<Item = &'v [u8]>,
        listed: &Listed,
    ) -> Result<(), Refusal> {
        let allowed = self.config.list(DOCKER, listed.allowed_key);
        let allowed = allowed.ok_or_else(|| listed.refusal.clone())?;
        for value in values {
            if !allowed.contains(value) {
                return Err(listed.refusal.clone());
            }
            let pushed = self.arguments.push_option(listed.option, value);
            pushed.map_err(|_| listed.refusal.clone())?;
        }
        Ok(())
    }

    fn add_groups(&mut self) -> Result<(), Refusal> {
        if self.command.is_true("privileged") {
            return Ok(());
        }
        for group in self.command.items("group-add") {
            self.arguments.push_pair("--group-add", group)?;
        }
        Ok(())
    }
}

/// `container_[e17_]1410901177871_0001_01_000005`; runs of `_` count as one.
fn is_container_id(name: &[u8]) -> bool {
    if !name.starts_with(b"container_") {
        return false;
    }
    let is_number = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    let parts: Vec<_> = name.split(|byte| *byte == b'_').filter(|part| !part.is_empty()).collect();
    let [_, epoch_or_cluster, rest @ ..] = parts.as_slice() else {
        return false;
    };
    let after_e = epoch_or_cluster.strip_prefix(b"e").unwrap_or(epoch_or_cluster);
    matches!(parts.len(), 5..=6) && is_number(after_e) && rest.iter().all(|part| is_number(part))
}
