//! Runs the package for the other architecture in an emulator: one pass that publishes on a real HDFS.

use std::env;
use std::time::Duration;

use emr_ecr_agent_tests::parts::Part;
use emr_ecr_agent_tests::process;
use emr_ecr_agent_tests::testbed::{Published, Testbed};
use tokio::time::timeout;

use crate::packages::Packages;
use crate::{Outcome, ensure};
use emr_ecr_agent_tests::screen::{Failure, Screen};

const ARCHITECTURE: &str = "aarch64";
/// Emulation is slow.
const LONGEST: Duration = Duration::from_secs(120);

pub(crate) async fn architecture(screen: &Screen, packages: &Packages) -> Result<(), Failure> {
    screen.title(&format!("On {ARCHITECTURE}"));
    if env::consts::ARCH == ARCHITECTURE {
        screen.note("this is the machine's own architecture, tested below");
        return Ok(());
    }
    // Not an error in CI: a package that was not built is not a missing part.
    if !packages.has(ARCHITECTURE) {
        screen.warn(&format!("SKIPPED: there is no package for {ARCHITECTURE}; `make package` builds it"));
        return Ok(());
    }
    screen.step("a pass publishes ECR's token", pass(packages)).await
}

async fn pass(packages: &Packages) -> Outcome {
    let package = packages.unpacked_for(ARCHITECTURE)?;
    let emulator = Part::package()?.path(ARCHITECTURE);
    let published = Published::shared("hadoop", "0755").await?;
    let mut testbed = Testbed::publishing(&published).await?;
    testbed.settings.set("published.user", "hadoop");
    testbed.write_settings()?;

    let mut command = process::bound_to_parent(&emulator.join(format!("usr/bin/qemu-{ARCHITECTURE}-static")));
    command.arg("-L").arg(&emulator).arg(package.join("emr-ecr-agent"));
    command.arg("once").arg("--config").arg(testbed.node.agent_toml());
    command.env_clear().env("HOME", testbed.node.home_dir()).env("PATH", "/usr/bin:/bin");
    let finished = timeout(LONGEST, process::run(command)).await??;
    ensure(finished.code == 0, || format!("{}: {}{}", finished.code, finished.out, finished.err))?;

    let newest = testbed.ecr.newest("us-east-1").ok_or("it requested no token")?;
    published.wait_for_auth(emr_ecr_agent_tests::node::TRUSTED_REGISTRY, &newest.auth()).await?;
    Ok(())
}
