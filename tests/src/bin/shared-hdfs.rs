//! Keeps the HDFS that tests share, in the folder named on the command line. Tests start it by themselves.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use emr_ecr_agent_tests::hdfs;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: shared-hdfs FOLDER");
        return ExitCode::from(64);
    };
    match hdfs::keep(&folder).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shared-hdfs: {error}");
            ExitCode::FAILURE
        }
    }
}
