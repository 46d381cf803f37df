//! The files that EMR puts on a node: instance files before the bootstrap actions, Hadoop and Docker after them.

use std::fs;
use std::path::Path;

use emr_ecr_agent_tests::node::container_executor_cfg;

use crate::Outcome;
use crate::machine::{Machine, User};

/// Includes EMR's settings that let jobs use Docker.
const YARN_SITE: &str = r#"<?xml version="1.0"?>
<configuration>
  <property>
    <name>yarn.nodemanager.container-executor.class</name>
    <value>org.apache.hadoop.yarn.server.nodemanager.LinuxContainerExecutor</value>
  </property>
  <property>
    <name>yarn.nodemanager.runtime.linux.allowed-runtimes</name>
    <value>default,docker</value>
  </property>
  <property>
    <name>yarn.nodemanager.local-dirs</name>
    <value>/mnt/yarn</value>
  </property>
  <property>
    <name>yarn.nodemanager.log-dirs</name>
    <value>/mnt/containers</value>
  </property>
</configuration>
"#;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    Core,
    Primary,
}

/// The instance files and directories that bootstrap actions find.
pub(crate) fn write_instance_files(node: &Machine, role: Role) -> Outcome {
    let primary = matches!(role, Role::Primary);
    node.write(
        "/mnt/var/lib/info/instance.json",
        0o644,
        &format!(
            r#"{{"isMaster": {primary}, "isRunningNameNode": {primary}, "isRunningNodeManager": {}}}"#,
            !primary
        ),
    )?;
    node.write("/mnt/var/lib/info/job-flow.json", 0o644, r#"{"jobFlowId": "j-2AXXXXXXGAPLF"}"#)?;
    node.write("/etc/logpusher/hadoop.config", 0o644, "{}")
}

/// An engine without containers that has every network: it gives each request the same response.
async fn write_docker_engine(node: &Machine) -> Outcome {
    const ENGINE: &str = r"#!/bin/bash
while IFS= read -r line; do
    [[ $line == $'\r' ]] && printf 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]'
done
";
    node.write("/usr/libexec/docker-engine", 0o755, ENGINE)?;
    let socket = "[Socket]\nListenStream=/run/docker.sock\nAccept=yes\nSocketGroup=docker\nSocketMode=0660\n";
    node.write("/etc/systemd/system/docker.socket", 0o644, socket)?;
    let service = "[Service]\nExecStart=/usr/libexec/docker-engine\nStandardInput=socket\n";
    node.write("/etc/systemd/system/docker@.service", 0o644, service)?;
    node.run(User::Root, "systemctl daemon-reload && systemctl start docker.socket").await.map(drop)
}

/// The users that come with Hadoop, and Docker's group.
pub(crate) async fn make_users(node: &Machine) -> Outcome {
    node.run(
        User::Root,
        "groupadd hdfsadmingroup && groupadd docker &&
         useradd --system --no-create-home --user-group --groups hdfsadmingroup hdfs &&
         useradd --system --no-create-home --user-group --groups hadoop,docker yarn",
    )
    .await
    .map(drop)
}

/// Does what the provisioner does after all bootstrap actions: users, Docker, and finally Hadoop's configuration.
pub(crate) async fn provision(node: &Machine, hdfs_conf: &Path) -> Outcome {
    make_users(node).await?;
    node.write("/usr/bin/docker", 0o755, "#!/bin/sh\necho Docker version 20.10.25\n")?;
    write_docker_engine(node).await?;
    for name in ["hdfs-site.xml", "core-site.xml"] {
        let text = fs::read_to_string(hdfs_conf.join(name))?;
        node.write(&format!("/etc/hadoop/conf.empty/{name}"), 0o644, &text)?;
    }
    node.write("/etc/hadoop/conf.empty/yarn-site.xml", 0o644, YARN_SITE)?;
    node.run(User::Root, "mkdir --parents /mnt/yarn /mnt/containers").await?;
    let executor_cfg = container_executor_cfg("/mnt/yarn,/mnt/containers");
    node.write("/etc/hadoop/conf.empty/container-executor.cfg", 0o400, &executor_cfg)?;
    node.run(User::Root, "ln -s conf.empty /etc/hadoop/conf").await.map(drop)
}
