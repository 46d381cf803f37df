//! An HDFS's configuration directory, read by its servers and all clients.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use crate::site;

/// The settings in which one HDFS differs from the others.
#[derive(Debug, Clone, Default)]
pub(super) struct Differences {
    /// The default file system's authority: an address or a nameservice.
    pub authority: String,
    pub core: Vec<(String, String)>,
    pub hdfs: Vec<(String, String)>,
}

impl Differences {
    pub(super) fn at(authority: impl Into<String>) -> Self {
        Self { authority: authority.into(), ..Self::default() }
    }

    pub(super) fn hdfs(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.hdfs.push((name.into(), value.into()));
        self
    }

    pub(super) fn core(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.core.push((name.into(), value.into()));
        self
    }
}

/// Writes `conf/` below `home` and returns its path.
pub(super) fn write(home: &Path, differences: &Differences) -> Result<PathBuf, Error> {
    let conf = home.join("conf");
    let failed =
        |source| Error::File { operation: "write the HDFS configuration in", path: conf.clone(), source };
    let below = |name: &str| home.join(name).display().to_string();

    fs::create_dir_all(home.join("tmp")).map_err(failed)?;
    fs::create_dir(&conf).map_err(failed)?;
    let uri = format!("hdfs://{}", differences.authority);
    let tmp = below("tmp");
    let core = [
        ("fs.defaultFS", uri.as_str()),
        ("hadoop.tmp.dir", &tmp),
        // The users need not exist on this machine.
        ("hadoop.user.group.static.mapping.overrides", GROUPS),
    ];
    site::write(&conf.join("core-site.xml"), &with(&core, &differences.core)).map_err(failed)?;
    let (name, data) = (below("name"), below("data"));
    let hdfs = [
        ("dfs.replication", "1"),
        ("dfs.permissions.enabled", "true"),
        ("dfs.permissions.superusergroup", "hdfsadmingroup"),
        ("dfs.namenode.name.dir", &name),
        ("dfs.datanode.data.dir", &data),
        ("dfs.namenode.http-address", ANY_PORT),
        ("dfs.datanode.address", ANY_PORT),
        ("dfs.datanode.ipc.address", ANY_PORT),
        ("dfs.datanode.http.address", ANY_PORT),
        ("dfs.namenode.safemode.extension", "0"),
    ];
    site::write(&conf.join("hdfs-site.xml"), &with(&hdfs, &differences.hdfs)).map_err(failed)?;
    fs::write(conf.join("log4j.properties"), LOG4J).map_err(failed)?;
    Ok(conf)
}

/// Of two values with the same name, Hadoop uses the later one.
fn with<'a>(all: &[(&'a str, &'a str)], differences: &'a [(String, String)]) -> Vec<(&'a str, &'a str)> {
    let differences = differences.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    all.iter().copied().chain(differences).collect()
}

const ANY_PORT: &str = "127.0.0.1:0";
const GROUPS: &str = "hdfs=hdfsadmingroup;hadoop=hadoop;yarn=yarn,hadoop";

const LOG4J: &str = "\
log4j.rootLogger=INFO,console
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
log4j.logger.org.apache.hadoop.hdfs.server.datanode.DataNode.clienttrace=WARN
log4j.logger.org.apache.hadoop.hdfs.server.namenode.FSNamesystem.audit=WARN
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
";
