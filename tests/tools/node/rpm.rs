//! Installs by RPM, as for a custom image.

use crate::emr::{self, Role};
use crate::machine::{Machine, User};
use crate::packages::Packages;
use crate::services::SOON;
use crate::{Outcome, ensure};
use emr_ecr_agent_tests::screen::{Failure, Screen};

const SETTINGS: &str = "/etc/emr-ecr-agent/agent.toml";
/// Debian's RPM database has none of the required packages.
const RPM: &str = "rpm --nodeps";

pub(crate) async fn by_rpm(screen: &Screen, packages: &Packages) -> Result<(), Failure> {
    screen.title("By RPM");
    let node = screen.step("a fresh core node boots", boot(packages)).await?;
    screen.step("it installs and the daemon runs", installs(&node)).await?;
    screen.step("install.sh refuses to install beside it", refuses(&node)).await?;
    screen.step("a keytab in the settings brings its capability", reads_keytabs(&node)).await?;
    screen.step("an upgrade restarts it and keeps settings", upgrades(&node)).await?;
    screen.step("erasing it leaves a copy of the changed settings", erases(&node)).await?;
    screen.step("it refuses to install beside install.sh", is_refused(&node)).await?;
    Ok(())
}

async fn boot(packages: &Packages) -> Outcome<Machine> {
    let node = Machine::boot(packages.directory()).await?;
    emr::write_instance_files(&node, Role::Core)?;
    Ok(node)
}

async fn installs(node: &Machine) -> Outcome {
    node.run(User::Root, &format!("{RPM} --install /packages/rpm/package.rpm")).await?;
    runs(node).await?;
    node.run(User::Root, "systemctl is-enabled emr-ecr-agent && ls /var/log/emr-ecr-agent/agent.log").await?;
    let sandboxed = node.unit("MemoryDenyWriteExecute").await?;
    ensure(sandboxed == "yes", || "the drop-in is not in effect".to_owned())
}

async fn refuses(node: &Machine) -> Outcome {
    let install = "bash /packages/new/install.sh --strict --from /packages/new";
    let output = node.attempt(User::Hadoop, install).await?;
    let is_told =
        output.code == 1 && output.text.contains("NOT INSTALLED: the RPM emr-ecr-agent is on this node");
    ensure(is_told && !node.exists("/usr/local/bin/emr-ecr-agent"), || output.text)
}

async fn reads_keytabs(node: &Machine) -> Outcome {
    ensure(node.unit("CapabilityBoundingSet").await?.is_empty(), || {
        "it has a capability already".to_owned()
    })?;
    let settings = node.read(SETTINGS)?;
    node.write(SETTINGS, 0o644, &(settings.clone() + "[published]\nkeytab = \"/etc/hadoop.keytab\"\n"))?;
    node.run(User::Root, "systemctl daemon-reload").await?;
    let capabilities = node.unit("CapabilityBoundingSet").await?;
    node.write(SETTINGS, 0o644, &settings)?;
    node.run(User::Root, "systemctl daemon-reload").await?;
    ensure(capabilities == "cap_dac_read_search", || format!("it has {capabilities}"))?;
    ensure(node.unit("CapabilityBoundingSet").await?.is_empty(), || "the capability stays".to_owned())
}

async fn upgrades(node: &Machine) -> Outcome {
    let (settings, process) = (node.read(SETTINGS)? + "\n# a user's comment\n", node.unit("MainPID").await?);
    node.write(SETTINGS, 0o644, &settings)?;
    node.run(User::Root, &format!("{RPM} --upgrade --force /packages/rpm/package.rpm")).await?;
    runs(node).await?;
    ensure(node.read(SETTINGS)? == settings, || "the settings were changed".to_owned())?;
    ensure(node.unit("MainPID").await? != process, || "the old process still runs".to_owned())
}

async fn erases(node: &Machine) -> Outcome {
    node.run(User::Root, "rpm --erase emr-ecr-agent").await?;
    let script = "find / -xdev -path /proc -prune -o -path '*emr-ecr-agent*' -print | grep -v -e ^/var/log";
    let left = node.run(User::Root, script).await?;
    let expected = format!("/etc/emr-ecr-agent\n{SETTINGS}.rpmsave");
    ensure(left == expected, || format!("left behind: {left}"))
}

async fn is_refused(node: &Machine) -> Outcome {
    node.run(User::Hadoop, "bash /packages/new/install.sh --strict --from /packages/new").await?;
    let output = node.attempt(User::Root, &format!("{RPM} --install /packages/rpm/package.rpm")).await?;
    let is_told = output.code != 0 && output.text.contains("NOT INSTALLED: it is on this node by install.sh");
    ensure(is_told && !node.exists("/usr/bin/emr-ecr-agent"), || output.text)
}

async fn runs(node: &Machine) -> Outcome {
    let script = "[[ $(systemctl is-active emr-ecr-agent) == active ]] && emr-ecr-agent --version";
    node.wait_for("the service", SOON, script).await.map(drop)
}
