//! `completions`: what makes a shell complete the program's commands and options.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::aot::{Bash, Fish, Zsh, generate};

use super::{Exit, output};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let (mut command, mut script) = (super::command(), Vec::new());
    let name = command.get_name().to_owned();
    match options.shell {
        Shell::Bash => generate(Bash, &mut command, name, &mut script),
        Shell::Zsh => generate(Zsh, &mut command, name, &mut script),
        Shell::Fish => generate(Fish, &mut command, name, &mut script),
    }
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
