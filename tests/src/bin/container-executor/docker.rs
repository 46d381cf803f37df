//! Docker's command lines, run as root with an empty environment.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use hadoop_rules::Rules;
use hadoop_rules::executor_config::{DOCKER, ExecutorConfig, HEAD};
use hadoop_rules::image_name;
use hadoop_rules::launch::{self, DockerAccess, Host, LaunchCommand};
use hadoop_rules::mounts::Paths;
use nix::unistd::{Group, User, getgrouplist};

use crate::Node;
use crate::accounts::act_as_root;
use crate::exit::{self, Failure};
use crate::messages;

/// A command line, starting with the program.
pub(crate) type Words = Vec<Vec<u8>>;

const DEFAULT_BINARY: &str = "/usr/bin/docker";
const SECTION: &str = "docker-command-execution";
const TEMPLATES: [&[u8]; 4] = [
    b"{{.State.Status}}",
    b"{{range(.NetworkSettings.Networks)}}{{.IPAddress}},{{end}}{{.Config.Hostname}}",
    b"{{json .NetworkSettings.Ports}}",
    b"{{.State.Status}},{{.Config.StopSignal}}",
];

impl Node {
    pub(crate) fn require_docker(&self) -> Result<(), Failure> {
        if self.installation.config.docker_supported() {
            Ok(())
        } else {
            if self.installation.config.sections().any(|section| section == DOCKER.as_bytes()) {
                say!("Module docker is disabled");
            }
            Err(Failure::new(exit::FEATURE_DISABLED, "Feature disabled: docker"))
        }
    }

    pub(crate) fn docker_binary(&self) -> PathBuf {
        let config = &self.installation.config;
        let configured = config.get(DOCKER, "docker.binary").or_else(|| config.get(HEAD, "docker.binary"));
        configured.map_or_else(|| DEFAULT_BINARY.into(), |path| OsStr::from_bytes(path).into())
    }

    /// Runs the command in a command file and returns docker's exit code.
    pub(crate) fn run_docker(&self, file: &Path) -> Result<u8, Failure> {
        self.require_docker()?;
        let text = self.manager.read(file)?;
        let command = ExecutorConfig::parse(text, Rules::V3_3)
            .map_err(|_| refused(53, "Invalid command file passed"))?;
        let words = match command.get(SECTION, "docker-command") {
            Some(b"run") => self.launch_words(file)?,
            _ => self.other_words(&command)?,
        };
        run(&words)
    }

    /// Runs a docker command with these arguments.
    pub(crate) fn docker_with(&self, command: &str, arguments: &[&str]) -> Result<u8, Failure> {
        self.require_docker()?;
        let mut words = vec![self.docker_binary().into_os_string().into_vec(), command.into()];
        words.extend(arguments.iter().map(|argument| argument.as_bytes().to_vec()));
        run(&words)
    }

    /// Builds the command line of a launch, with the NodeManager's rights.
    pub(crate) fn launch_words(&self, file: &Path) -> Result<Words, Failure> {
        let text = self.manager.read(file)?;
        let invalid = |_| refused(53, "Invalid command file passed");
        let command = LaunchCommand::parse(text.clone(), Rules::V3_3).map_err(invalid)?;
        let request = ExecutorConfig::parse(text, Rules::V3_3).map_err(invalid)?;
        let config = &self.installation.config;
        let decided = self.manager.act(|| launch::decide(config, &command, self))?;
        messages::tell_about_trust(config, &request);
        decided.map_err(|refusal| {
            messages::explain(config, &request, &refusal);
            refused(refusal.native_number(config.rules()), messages::error_message(&refusal))
        })
    }

    /// The command lines other than launches, as far as a NodeManager uses them.
    fn other_words(&self, command: &ExecutorConfig) -> Result<Words, Failure> {
        let get = |key| command.get(SECTION, key);
        let name = || get("name").ok_or_else(|| refused(55, "Invalid docker container name"));
        let image = || {
            get("image")
                .filter(|image| image_name::is_valid(image))
                .ok_or_else(|| refused(56, "Invalid docker image name"))
        };
        let option = |option: &str, value: &[u8]| [option.as_bytes(), value].concat();

        let mut words = vec![self.docker_binary().into_os_string().into_vec()];
        words.extend(get("docker-config").map(|directory| option("--config=", directory)));
        let verb = get("docker-command").ok_or_else(|| refused(54, "Incorrect command"))?;
        words.push(verb.to_vec());
        match verb {
            b"inspect" => {
                let format = get("format").filter(|format| TEMPLATES.contains(format));
                let format = format.ok_or_else(|| refused(58, "Invalid docker inspect format"))?;
                words.extend([option("--format=", format), name()?.to_vec()]);
            }
            b"kill" => {
                words.extend(get("signal").map(|signal| option("--signal=", signal)));
                words.push(name()?.to_vec());
            }
            b"stop" => {
                words.extend(get("time").map(|time| option("--time=", time)));
                words.push(name()?.to_vec());
            }
            b"rm" | b"start" => words.push(name()?.to_vec()),
            b"pull" => words.push(image()?.to_vec()),
            b"images" => {
                words.extend([b"--format={{json .}}".to_vec(), b"--filter=dangling=false".to_vec()]);
                words.extend(get("image").map(<[u8]>::to_vec));
            }
            b"load" => words.push(option("--i=", image()?)),
            _ => return Err(refused(59, "Unknown docker command")),
        }
        Ok(words)
    }
}

/// Runs a command line to completion, sharing this program's output.
fn run(words: &Words) -> Result<u8, Failure> {
    let status = command(words).status().map_err(|error| {
        let message = format!("Couldn't execute the container launch with docker - {}", reason(&error));
        Failure::new(exit::DOCKER_RUN_FAILED, message)
    })?;
    Ok(exit_code(status))
}

pub(crate) fn command(words: &Words) -> Command {
    let mut words = words.iter().map(|word| OsString::from_vec(word.clone()));
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).env_clear();
    command
}

/// The exit code as a shell reports it: a signal's number plus 128.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    code.to_le_bytes()[0]
}

/// The text of C's `strerror`.
pub(crate) fn reason(error: &io::Error) -> &'static str {
    error.raw_os_error().map_or("Unknown error", |number| nix::Error::from_raw(number).desc())
}

fn refused(number: i32, message: &str) -> Failure {
    let message =
        format!("Error constructing docker command, docker error code={number}, error message='{message}'");
    Failure::new(exit::DOCKER_RUN_FAILED, message)
}

impl Paths for Node {
    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>> {
        Some(fs::canonicalize(OsStr::from_bytes(path)).ok()?.into_os_string().into_vec())
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        Path::new(OsStr::from_bytes(path)).is_dir()
    }
}

impl Host for Node {
    fn executor_config_path(&self) -> Vec<u8> {
        self.installation.path.clone().into_os_string().into_vec()
    }

    /// Queries the default binary, whatever is configured, as the native code does.
    fn network_driver(&self, network: &[u8]) -> Option<Vec<u8>> {
        let ask = || {
            Command::new(DEFAULT_BINARY)
                .args(["network", "inspect"])
                .arg(OsStr::from_bytes(network))
                .arg("--format={{.Driver}}")
                .env_clear()
                .stderr(std::process::Stdio::inherit())
                .output()
        };
        let output = act_as_root(ask).ok()?.ok().filter(|output| output.status.success());
        let driver =
            output.map(|output| output.stdout.trim_ascii().to_vec()).filter(|driver| !driver.is_empty());
        if driver.is_none() {
            let network = String::from_utf8_lossy(network);
            complain!(
                "Could not inspect docker network to get type {DEFAULT_BINARY} network inspect {network} --format='{{{{.Driver}}}}'."
            );
        }
        driver
    }

    fn docker_access(&self, user: &[u8]) -> DockerAccess {
        let name = String::from_utf8_lossy(user);
        let Some(user) = User::from_name(&name).ok().flatten() else { return DockerAccess::UnknownUser };
        let Ok(c_name) = std::ffi::CString::new(user.name) else { return DockerAccess::UnknownUser };
        let groups = getgrouplist(&c_name, user.gid).unwrap_or_default();
        let names = groups.into_iter().filter_map(|gid| Some(Group::from_gid(gid).ok()??.name));
        if names.into_iter().any(|group| group == "root" || group == "docker") {
            DockerAccess::Granted
        } else {
            DockerAccess::Denied
        }
    }
}
