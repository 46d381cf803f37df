//! The conf folder of a sandbox HDFS: what its servers and every client of it read.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Error;
use crate::site;

/// Writes `conf/` below `home` for a NameNode at `address`, and gives its path.
pub(super) fn write(home: &Path, address: SocketAddr) -> Result<PathBuf, Error> {
    let conf = home.join("conf");
    let failed =
        |source| Error::File { operation: "write the HDFS configuration in", path: conf.clone(), source };
    let below = |name: &str| home.join(name).display().to_string();

    fs::create_dir_all(home.join("tmp")).map_err(failed)?;
    fs::create_dir(&conf).map_err(failed)?;
    site::write(
        &conf.join("core-site.xml"),
        &[
            ("fs.defaultFS", &format!("hdfs://{address}")),
            ("hadoop.tmp.dir", &below("tmp")),
            // The users need not exist on this machine.
            ("hadoop.user.group.static.mapping.overrides", GROUPS),
        ],
    )
    .map_err(failed)?;
    site::write(
        &conf.join("hdfs-site.xml"),
        &[
            ("dfs.replication", "1"),
            ("dfs.permissions.enabled", "true"),
            ("dfs.permissions.superusergroup", "hdfsadmingroup"),
            ("dfs.namenode.name.dir", &below("name")),
            ("dfs.datanode.data.dir", &below("data")),
            ("dfs.namenode.http-address", ANY_PORT),
            ("dfs.datanode.address", ANY_PORT),
            ("dfs.datanode.ipc.address", ANY_PORT),
            ("dfs.datanode.http.address", ANY_PORT),
            // Seconds, so that a restarted NameNode finds its DataNode at once.
            ("dfs.heartbeat.interval", "1"),
            ("dfs.namenode.safemode.extension", "0"),
        ],
    )
    .map_err(failed)?;
    fs::write(conf.join("log4j.properties"), LOG4J).map_err(failed)?;
    Ok(conf)
}

const ANY_PORT: &str = "127.0.0.1:0";
const GROUPS: &str = "hdfs=hdfsadmingroup;hadoop=hadoop;yarn=yarn,hadoop";

const LOG4J: &str = "\
log4j.rootLogger=INFO,console
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
";
