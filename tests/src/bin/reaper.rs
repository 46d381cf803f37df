//! Cleans up after a process of the harness, which starts it: `reaper OWNER [PARENT]`.

use std::env;
use std::process::ExitCode;

use emr_ecr_agent_tests::reaper;

fn main() -> ExitCode {
    let numbers: Result<Vec<i32>, _> = env::args().skip(1).map(|number| number.parse()).collect();
    let (owner, parent) = match numbers.as_deref() {
        Ok([owner]) => (*owner, None),
        Ok([owner, parent]) => (*owner, Some(*parent)),
        _ => {
            eprintln!("usage: reaper OWNER [PARENT]");
            return ExitCode::from(64);
        }
    };
    match reaper::reap(owner, parent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reaper: {error}");
            ExitCode::FAILURE
        }
    }
}
