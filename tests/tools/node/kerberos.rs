//! A cluster with Kerberos: inside its systemd sandbox the agent loads libgssapi, reads another user's keytab, and
//! publishes to an HDFS that requires tickets.

use std::fs;
use std::time::Duration;

use emr_ecr_agent_tests::hdfs::Hdfs;
use emr_ecr_agent_tests::kerberos::{AGENT, Realm};
use emr_ecr_agent_tests::screen::{Failure, Screen};
use hyper::StatusCode;

use crate::emr::{self, Role};
use crate::machine::{Machine, User};
use crate::packages::Packages;
use crate::services::{SOON, Services};
use crate::{Outcome, ensure};

const KEYTAB: &str = "/etc/hadoop.keytab";
const TICKET_LIFE: Duration = Duration::from_secs(3600);

pub(crate) async fn inside_the_sandbox(screen: &Screen, packages: &Packages) -> Result<(), Failure> {
    screen.title("With Kerberos");
    let cluster = screen.step("a fresh core node boots", Cluster::start(packages)).await?;
    screen.step("it is installed with principal and keytab", cluster.is_installed()).await?;
    screen.step("Hadoop appears: it waits for the keytab", cluster.waits_for_its_keytab()).await?;
    screen.step("the keytab appears: ready, in its sandbox", cluster.publishes()).await?;
    Ok(())
}

struct Cluster {
    node: Machine,
    services: Services<Hdfs>,
    realm: Realm,
}

impl Cluster {
    async fn start(packages: &Packages) -> Outcome<Self> {
        let realm = Realm::start(TICKET_LIFE).await?;
        let services = Services::around(Hdfs::start_in(&realm).await?).await?;
        let node = Machine::boot(packages.directory()).await?;
        emr::write_instance_files(&node, Role::Core)?;
        services.write_environment(&node)?;
        node.write("/etc/krb5.conf", 0o644, &fs::read_to_string(realm.krb5_conf())?)?;
        Ok(Self { node, services, realm })
    }

    async fn is_installed(&self) -> Outcome {
        let settings = format!(
            "[health]\nlisten = \"{}\"\n\n[published]\nprincipal = \"{AGENT}\"\nkeytab = \"{KEYTAB}\"\n",
            self.services.listen()
        );
        self.node.write("/tmp/agent.toml", 0o644, &settings)?;
        let install = "bash /packages/new/install.sh --strict --from /packages/new --config /tmp/agent.toml";
        self.node.run(User::Hadoop, install).await.map(drop)
    }

    async fn waits_for_its_keytab(&self) -> Outcome {
        emr::provision(&self.node, self.services.hdfs.client().conf_dir()).await?;
        let line = format!("systemctl status emr-ecr-agent | grep 'Status: \"not ready; .*{KEYTAB}'");
        self.node.wait_for("a status that names the keytab", SOON, &line).await?;
        self.services.wait_for_answer("/readyz", StatusCode::SERVICE_UNAVAILABLE).await
    }

    async fn publishes(&self) -> Outcome {
        self.node.write_bytes("/run/agent.keytab", 0o600, &fs::read(self.realm.agent_keytab())?)?;
        let appear = format!("install -m 400 -o hadoop -g hadoop /run/agent.keytab {KEYTAB}");
        self.node.run(User::Root, &appear).await?;
        self.services.wait_ready().await?;
        let sandboxed = self.node.unit("MemoryDenyWriteExecute").await?;
        ensure(sandboxed == "yes", || "the drop-in is not in effect".to_owned())?;

        let tickets = self.realm.service_tickets()?;
        let client = self.services.hdfs.client();
        self.services.is_good(&client.fs_shell_by(&tickets, &["-cat", "/user/hadoop/config.json"]).await?)
    }
}
