//! Writes the extra files that packages ship: `cargo run --example extras -- DIRECTORY` creates `man/` and
//! `completions/` there.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap_complete::aot::{Bash, Fish, Zsh, generate_to};
use emr_ecr_agent::cli::command;

const NAME: &str = "emr-ecr-agent";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [directory] = arguments.as_slice() else {
        eprintln!("usage: extras DIRECTORY");
        return ExitCode::from(2);
    };
    match write(Path::new(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("extras: cannot write into {}: {error}", Path::new(directory).display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> Result<(), Box<dyn Error>> {
    let (manual, completions) = (directory.join("man"), directory.join("completions"));
    fs::create_dir(&manual)?;
    fs::create_dir(&completions)?;
    clap_mangen::generate_to(command(), &manual)?;
    generate_to(Bash, &mut command(), NAME, &completions)?;
    generate_to(Zsh, &mut command(), NAME, &completions)?;
    generate_to(Fish, &mut command(), NAME, &completions)?;
    Ok(())
}
