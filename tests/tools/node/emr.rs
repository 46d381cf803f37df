//! The files that EMR puts on a node: instance files before the bootstrap actions, Hadoop and Docker after them.

use std::fs;
use std::path::Path;

use emr_ecr_agent_tests::node::container_executor_cfg;

use crate::Outcome;
use crate::machine::{Machine, User};

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

/// Does what the provisioner does after all bootstrap actions: users, Docker, and finally Hadoop's configuration.
pub(crate) async fn provision(node: &Machine, hdfs_conf: &Path) -> Outcome {
    node.run(
        User::Root,
        "groupadd hdfsadmingroup && groupadd docker &&
         useradd --system --no-create-home --user-group --groups hdfsadmingroup hdfs &&
         useradd --system --no-create-home --user-group --groups hadoop,docker yarn",
    )
    .await?;
    node.write("/usr/bin/docker", 0o755, "#!/bin/sh\necho Docker version 20.10.25\n")?;
    for name in ["hdfs-site.xml", "core-site.xml"] {
        let text = fs::read_to_string(hdfs_conf.join(name))?;
        node.write(&format!("/etc/hadoop/conf.empty/{name}"), 0o644, &text)?;
    }
    let executor_cfg = container_executor_cfg("/mnt/yarn,/mnt/containers");
    node.write("/etc/hadoop/conf.empty/container-executor.cfg", 0o400, &executor_cfg)?;
    node.run(User::Root, "ln -s conf.empty /etc/hadoop/conf").await.map(drop)
}
