//! The program's entry point: everything behind it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    emr_ecr_agent::cli::main()
}
