//! Writes the manual pages into a directory: `cargo run --example manpages -- DIRECTORY`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [directory] = arguments.as_slice() else {
        eprintln!("usage: manpages DIRECTORY");
        return ExitCode::from(2);
    };
    match clap_mangen::generate_to(emr_ecr_agent::cli::command(), Path::new(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manpages: cannot write into {}: {error}", Path::new(directory).display());
            ExitCode::FAILURE
        }
    }
}
