//! The keeper of servers that tests share. Its arguments are the kind of servers and the directory where keeper and
//! tests meet. Tests start it.

use std::env;
use std::error::Error as StdError;
use std::path::Path;
use std::process::ExitCode;

use emr_ecr_agent_tests::hdfs::{KeptHdfs, KeptShell};
use emr_ecr_agent_tests::keeper::{self, Error, Service};
use emr_ecr_agent_tests::reaper;
use emr_ecr_agent_tests::yarn_cluster::ResourceManager;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [kind, directory] = args.as_slice() else {
        eprintln!("usage: keeper KIND DIRECTORY");
        return ExitCode::from(64);
    };
    if let Err(error) = reaper::outlive_parent() {
        eprintln!("keeper: cannot start the reaper: {error}");
        return ExitCode::FAILURE;
    }
    match keep(kind, Path::new(directory)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keeper: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn with_causes(error: &dyn StdError) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

async fn keep(kind: &str, directory: &Path) -> Result<(), Error> {
    match kind {
        KeptHdfs::KIND => keeper::keep::<KeptHdfs>(directory).await,
        KeptShell::KIND => keeper::keep::<KeptShell>(directory).await,
        ResourceManager::KIND => keeper::keep::<ResourceManager>(directory).await,
        _ => Err(Error::Start {
            program: format!("of {kind}"),
            source: std::io::ErrorKind::InvalidInput.into(),
        }),
    }
}
