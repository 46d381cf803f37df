//! The package's purpose: a NodeManager and Docker arrive on the node where it was installed before Hadoop existed,
//! and launch containers of a private image.

use std::fs;

use emr_ecr_agent_tests::http;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::registry::{Registry, USER};
use emr_ecr_agent_tests::scratch;
use emr_ecr_agent_tests::screen::{Failure, Screen};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::yarn_cluster::{Booted, Launch, YarnCluster};
use hyper::StatusCode;

use crate::emr::{self, Role};
use crate::machine::{Machine, User};
use crate::packages::Packages;
use crate::services::{SOON, Services};
use crate::{Outcome, ensure};

/// Proves that the container itself has run.
const RAN: i32 = 77;
const COMMAND: &str = "exit 77";

pub(crate) async fn of_private_images(screen: &Screen, packages: &Packages) -> Result<(), Failure> {
    screen.title("A node that launches containers");
    let node = screen.step("it boots, without Hadoop and Docker", Node::start(packages)).await?;
    screen.step("it is installed, and waits for Hadoop", node.is_installed()).await?;
    let arrival = node.gets_docker_and_yarn();
    let cluster = screen.step("Docker and a NodeManager come: ready without a restart", arrival).await?;
    let controls = node.refuses_without_credentials(&cluster);
    screen.step("without its credentials a private image does not launch", controls).await?;
    screen.step("with the published file it does", node.launches(&cluster)).await?;
    let warms = node.warms(&cluster);
    screen.step("its sandboxed unit warms the image: a dead token does no harm", warms).await?;
    let controls = node.refuses_a_dead_token(&cluster);
    screen.step("it removes the image: the dead token is refused", controls).await
}

struct Node {
    machine: Machine,
    services: Services,
    registry: Registry,
}

impl Node {
    async fn start(packages: &Packages) -> Outcome<Self> {
        let (services, registry) = (Services::start().await?, Registry::start_with_shell().await?);
        registry.follow(&services.ecr);
        let machine = Machine::boot_with(packages.directory(), &Booted::mounts()).await?;
        emr::write_instance_files(&machine, Role::Core)?;
        services.write_environment(&machine)?;
        Ok(Self { machine, services, registry })
    }

    async fn is_installed(&self) -> Outcome {
        self.machine.write("/tmp/agent.toml", 0o644, &self.settings(""))?;
        let install = "bash /packages/new/install.sh --strict --from /packages/new --config /tmp/agent.toml";
        self.machine.run(User::Hadoop, install).await?;
        self.services.wait_for_answer("/livez", StatusCode::OK).await?;
        self.services.wait_for_answer("/readyz", StatusCode::SERVICE_UNAVAILABLE).await
    }

    fn settings(&self, more: &str) -> String {
        let (listen, path) = (self.services.listen(), self.services.published());
        let alias = self.registry.host();
        format!(
            "[health]\nlisten = \"{listen}\"\n\n[published]\npath = \"{path}\"\n\n\
             [[registries]]\nhost = \"{TRUSTED_REGISTRY}\"\naliases = [\"{alias}\"]\n{more}"
        )
    }

    async fn gets_docker_and_yarn(&self) -> Outcome<YarnCluster> {
        let process = self.machine.unit("MainPID").await?;
        emr::make_users(&self.machine).await?;
        let booted = Booted::led_by(self.machine.leader()?);
        let hdfs = self.services.hdfs.client();
        let cluster = YarnCluster::start_on(booted, hdfs, &[&self.registry.host()]).await?;
        self.services.wait_ready().await?;
        let now = self.machine.unit("MainPID").await?;
        ensure(now == process, || format!("process {process} has become {now}"))?;
        let sandboxed = self.machine.unit("ProtectSystem").await?;
        ensure(sandboxed == "strict", || "the drop-in is not in effect".to_owned())?;
        Ok(cluster)
    }

    async fn refuses_without_credentials(&self, cluster: &YarnCluster) -> Outcome {
        let scratch = scratch::directory("empty")?;
        let local = scratch.path().join("empty.json");
        fs::write(&local, r#"{"auths": {}}"#)?;
        let empty = self.services.hdfs.path("empty.json");
        let put = ["-put", &local.display().to_string(), &empty];
        self.services.hdfs.client().fs_shell("hadoop", &put).await?;
        self.fails(cluster, &empty, "no basic auth credentials").await
    }

    async fn launches(&self, cluster: &YarnCluster) -> Outcome {
        self.runs(cluster, &self.services.published()).await
    }

    async fn warms(&self, cluster: &YarnCluster) -> Outcome {
        cluster.nodes()[0].remove_image(&self.registry.image()).await?;
        self.warm(&[&self.registry.image()]).await?;
        self.wait_for_metric("emr_ecr_agent_warm_images{state=\"on_node\"} 1\n").await?;
        self.registry.password_file().accept_only(USER, "none")?;
        self.launches(cluster).await
    }

    async fn refuses_a_dead_token(&self, cluster: &YarnCluster) -> Outcome {
        self.warm(&[]).await?;
        let node = &cluster.nodes()[0];
        wait::until("the end of the warmed image", SOON, async || {
            let images = node.run(&["/usr/bin/docker", "images", "--quiet"]).await;
            let images = images.map_err(|error| error.to_string())?;
            if images.is_empty() { Ok(()) } else { Err(images) }
        })
        .await?;
        self.fails(cluster, &self.services.published(), "unauthorized: authentication required").await
    }

    /// Makes the agent warm these images.
    async fn warm(&self, images: &[&str]) -> Outcome {
        let warm = format!("\n[warm]\nspread = \"0s\"\ndisk_floor_gb = 0\nimages = {images:?}\n");
        self.machine.write("/etc/emr-ecr-agent/agent.toml", 0o644, &self.settings(&warm))?;
        self.machine.run(User::Root, "systemctl reload emr-ecr-agent").await.map(drop)
    }

    async fn wait_for_metric(&self, line: &str) -> Outcome {
        let found = wait::until(line, SOON, async || {
            let metrics = http::get(self.services.listen(), "/metrics").await;
            let text = metrics.map_err(|error| error.to_string())?.text();
            if text.contains(line) { Ok(()) } else { Err(text) }
        });
        Ok(found.await?)
    }

    async fn runs(&self, cluster: &YarnCluster, client_config: &str) -> Outcome {
        let launched = cluster.launch(&self.launch(client_config)).await?;
        ensure(launched.exit_code == Some(RAN), || launched.diagnostics)
    }

    /// Checks that Docker fails the launch with these words.
    async fn fails(&self, cluster: &YarnCluster, client_config: &str, words: &str) -> Outcome {
        let launched = cluster.launch(&self.launch(client_config)).await?;
        let is_dockers = launched.exit_code == Some(7) && launched.diagnostics.contains(words);
        ensure(is_dockers, || format!("{:?}: {}", launched.exit_code, launched.diagnostics))
    }

    fn launch(&self, client_config: &str) -> Launch {
        let uri = self.services.hdfs.client().uri(client_config);
        Launch::docker(&self.registry.image(), COMMAND).client_config(&uri)
    }
}
