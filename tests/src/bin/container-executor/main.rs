//! A stand-in for Hadoop's container-executor, which is in no package: the setuid program through which a NodeManager
//! runs containers as their users and Docker as root. Arguments, output, files and exit codes are those of Hadoop 3.4;
//! its decisions come from `hadoop-rules`. It reads /etc/hadoop/conf/container-executor.cfg, like EMR's build.
//!
//! Not covered: control groups, traffic shaping, runC, YARN's sysfs, GPUs and FPGAs, interactive shells.

/// Like `println`, but ignores write errors: the program must go on if the NodeManager is gone.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}

/// Like `say`, but to standard error.
macro_rules! complain {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

mod accounts;
mod directories;
mod docker;
mod exit;
mod launch;
mod messages;
mod setup;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::sys::signal::{self, Signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, geteuid};

use accounts::{Account, NodeManager};
use exit::Failure;
use setup::Installation;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let text: Vec<&str> = arguments.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    match run(&text) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.message.is_empty() {
                complain!("{}", failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run(arguments: &[&str]) -> Result<u8, Failure> {
    if !geteuid().is_root() {
        return Err(Failure::new(
            exit::INVALID_CONTAINER_EXEC_PERMISSIONS,
            "container-executor is not setuid root.",
        ));
    }
    let installation = Installation::check()?;
    umask(Mode::from_bits_truncate(0o027));
    let manager = NodeManager::become_root()?;
    let node = Node { installation, manager };
    match arguments {
        ["--checksetup"] => Ok(0),
        ["--run-docker", file] => node.run_docker(Path::new(file)),
        ["--inspect-docker-container", rest @ ..] => node.docker_with("inspect", rest),
        // With control groups, the container's group comes before its name.
        ["--remove-docker-container", .., container] => node.docker_with("rm", &[container]),
        [option, ..] if option.starts_with("--") => {
            Err(Failure::new(exit::FEATURE_DISABLED, "Feature disabled"))
        }
        [run_as, yarn_user, command, rest @ ..] => {
            tell_end(node.run_command(run_as, yarn_user, command, rest))
        }
        _ => Err(usage()),
    }
}

/// Prints the last line on standard error, unless all went well or no docker command could be built: then the native
/// code exits at once.
fn tell_end(outcome: Result<u8, Failure>) -> Result<u8, Failure> {
    let code = match outcome {
        Ok(code) => code,
        Err(failure) if failure.code == exit::DOCKER_RUN_FAILED => return Err(failure),
        Err(failure) => {
            if !failure.message.is_empty() {
                complain!("{}", failure.message);
            }
            failure.code
        }
    };
    if code != 0 {
        let code = if code == exit::USER_REFUSED { -1 } else { i32::from(code) };
        complain!("Nonzero exit code={code}, error message='{}'", exit::message(code));
    }
    Ok(code)
}

/// The state that all commands share.
struct Node {
    installation: Installation,
    manager: NodeManager,
}

impl Node {
    fn run_command(
        &self,
        run_as: &str,
        yarn_user: &str,
        command: &str,
        rest: &[&str],
    ) -> Result<u8, Failure> {
        say!("main : command provided {command}");
        say!("main : run as user is {run_as}");
        say!("main : requested yarn user is {yarn_user}");
        let user = self.installation.user(run_as).map_err(|refusal| {
            say!("{}", refusal.message);
            Failure::new(refusal.code, "")
        })?;
        match (command, rest) {
            ("0", [app, container, tokens, local_dirs, log_dirs, program @ ..]) if !program.is_empty() => {
                let app = directories::App::new(yarn_user, app, container, local_dirs, log_dirs);
                self.localize(&user, &app, Path::new(tokens), program)
            }
            (
                "1",
                [app, container, work_dir, script, tokens, _scheme, pid_file, local_dirs, log_dirs, ..],
            ) => {
                let app = directories::App::new(yarn_user, app, container, local_dirs, log_dirs);
                let files = launch::Files::new(work_dir, script, tokens, pid_file);
                self.launch_plainly(&user, &app, &files)
            }
            (
                "4",
                [
                    app,
                    container,
                    work_dir,
                    script,
                    tokens,
                    _scheme,
                    pid_file,
                    local_dirs,
                    log_dirs,
                    command_file,
                ],
            ) => {
                let app = directories::App::new(yarn_user, app, container, local_dirs, log_dirs);
                let files = launch::Files::new(work_dir, script, tokens, pid_file);
                self.launch_in_docker(&user, &app, &files, Path::new(command_file))
            }
            ("2", [pid, number]) => self.signal(&user, pid, number),
            ("3", [subdirectory, bases @ ..]) => self.delete(&user, subdirectory, bases),
            ("5", [directory]) => self.list(&user, Path::new(directory)),
            _ => Err(usage()),
        }
    }

    /// Makes an application's directories and becomes its localizer.
    fn localize(
        &self,
        user: &Account,
        app: &directories::App<'_>,
        tokens: &Path,
        program: &[&str],
    ) -> Result<u8, Failure> {
        app.make_user_directories(user, &self.manager)?;
        app.make_log_directories(user, &self.manager)?;
        let content = self.manager.read(tokens)?;
        user.become_it()?;
        let directory = app.make_app_directories()?;
        // The localizer looks for the file name that the NodeManager uses.
        let copy = directory.join(tokens.file_name().ok_or_else(usage)?);
        directories::write(&copy, &content, 0o600)?;
        let [program, arguments @ ..] = program else { return Err(usage()) };
        let error = Command::new(program).args(arguments).current_dir(directory).exec();
        Err(Failure::new(
            exit::UNABLE_TO_EXECUTE_CONTAINER_SCRIPT,
            format!("Failure to exec app initialization process - {error}"),
        ))
    }

    fn signal(&self, user: &Account, pid: &str, number: &str) -> Result<u8, Failure> {
        let gone = || Failure::new(exit::INVALID_CONTAINER_PID, "");
        let pid = pid.parse().ok().filter(|pid: &i32| *pid > 0).map(Pid::from_raw).ok_or_else(gone)?;
        let wanted = number.parse::<i32>().map_err(|_| usage())?;
        // Signal 0 only checks that the process exists.
        let wanted = if wanted == 0 { None } else { Some(Signal::try_from(wanted).map_err(|_| usage())?) };
        user.become_it()?;
        if signal::killpg(pid, None).is_ok() {
            say!("Killing process group {pid} with {number}");
            return signal::killpg(pid, wanted).map(|()| 0).map_err(|_| gone());
        }
        signal::kill(pid, wanted).map(|()| 0).map_err(|_| gone())
    }

    fn delete(&self, user: &Account, subdirectory: &str, bases: &[&str]) -> Result<u8, Failure> {
        user.become_it()?;
        let paths: Vec<PathBuf> = match bases {
            [] => vec![PathBuf::from(subdirectory)],
            bases => bases.iter().map(|base| Path::new(base).join(subdirectory)).collect(),
        };
        for path in paths {
            directories::delete(&path)?;
        }
        Ok(0)
    }

    fn list(&self, user: &Account, directory: &Path) -> Result<u8, Failure> {
        user.become_it()?;
        for name in directories::names(directory)? {
            say!("{}", name.to_string_lossy());
        }
        Ok(0)
    }
}

fn usage() -> Failure {
    Failure::new(exit::INVALID_ARGUMENT_NUMBER, "Usage: container-executor --checksetup")
}
