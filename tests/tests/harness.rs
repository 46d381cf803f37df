//! Tests of the harness: whichever of its processes dies, the next test can use it, and nothing is left behind.

use std::path::Path;
use std::time::Duration;

use emr_ecr_agent_tests::hdfs::{Processes, SharedHdfs, ShellAnnouncement};
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::testbed::Outcome;
use emr_ecr_agent_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(60);

/// Joins an HDFS used only by this test, and writes to it.
async fn join() -> Outcome<SharedHdfs> {
    let hdfs = SharedHdfs::join_named("harness-test", "hadoop", "0755").await?;
    hdfs.client().fs_shell("hadoop", &["-touchz", &hdfs.path("file")]).await?;
    Ok(hdfs)
}

type All = (Processes, ShellAnnouncement);

async fn processes(hdfs: &SharedHdfs) -> Outcome<All> {
    Ok((hdfs.processes()?, hdfs.client().shared_shell().await?))
}

#[tokio::test]
async fn shared_hdfs_recovers_from_any_killed_process() -> Outcome {
    if !parts::present([Part::hadoop()]) {
        return Ok(());
    }
    let mut hdfs = join().await?;
    let members: [fn(&All) -> u32; 5] = [
        |(_, shell)| shell.process,
        |(hdfs, _)| hdfs.namenode,
        |(hdfs, _)| hdfs.datanode,
        |(hdfs, _)| hdfs.keeper,
        |(_, shell)| shell.keeper,
    ];
    for of in members {
        let before = of(&processes(&hdfs).await?);
        drop(hdfs);
        kill_now(before)?;
        hdfs = join().await?;
        wait::until("the replaced process", SOON, async || match processes(&hdfs).await {
            Ok(now) if of(&now) != before => Ok(()),
            Ok(_) => Err("the old one is still announced".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn idle_shell_connections_block_nobody() -> Outcome {
    if !parts::present([Part::hadoop()]) {
        return Ok(());
    }
    let hdfs = SharedHdfs::join("hadoop", "0755").await?;
    let shell = hdfs.client().shared_shell().await?.address;
    let _silent = TcpStream::connect(shell).await?;
    drop(TcpStream::connect(shell).await?);
    hdfs.client().fs_shell("hadoop", &["-touchz", &hdfs.path("file")]).await?;
    Ok(())
}

#[tokio::test]
async fn killed_keepers_leave_no_process_and_no_directory() -> Outcome {
    if !parts::present([Part::hadoop()]) {
        return Ok(());
    }
    let hdfs = SharedHdfs::join_named("killed-keeper-test", "hadoop", "0755").await?;
    let (Processes { keeper, namenode, datanode }, shell) = processes(&hdfs).await?;
    let home = hdfs.client().conf_dir().parent().ok_or("conf has a parent")?.to_owned();
    assert!(home.exists());
    kill_now(keeper)?;
    kill_now(shell.keeper)?;
    wait::until("the end of its processes", SOON, async || {
        let left: Vec<u32> = [namenode, datanode, shell.process].into_iter().filter(|id| runs(*id)).collect();
        match (left.is_empty(), home.exists()) {
            (true, false) => Ok(()),
            (_, exists) => Err(format!("processes {left:?}; {} exists: {exists}", home.display())),
        }
    })
    .await?;
    Ok(())
}

fn kill_now(process: u32) -> Outcome {
    Ok(kill(Pid::from_raw(i32::try_from(process)?), Signal::SIGKILL)?)
}

fn runs(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}
