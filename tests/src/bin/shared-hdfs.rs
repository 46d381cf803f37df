//! The keeper of the HDFS that tests share; its argument is the directory where they meet. Tests start it.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use emr_ecr_agent_tests::{hdfs, reaper};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(directory) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: shared-hdfs DIRECTORY");
        return ExitCode::from(64);
    };
    if let Err(error) = reaper::outlive_parent() {
        eprintln!("shared-hdfs: cannot start the reaper: {error}");
        return ExitCode::FAILURE;
    }
    match hdfs::keep(&directory).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shared-hdfs: {error}");
            ExitCode::FAILURE
        }
    }
}
