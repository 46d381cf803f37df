//! The settings of an HDFS with Kerberos.

use super::conf::Differences;
use crate::kerberos::{Realm, SERVICE, WEB};

/// The NameNode listens at `port` of localhost, the host in its principal.
pub(super) fn differences(port: u16, realm: &Realm) -> Differences {
    let keytab = realm.service_keytab().display().to_string();
    let mut differences = Differences::at(format!("localhost:{port}"))
        .core("hadoop.security.authentication", "kerberos")
        .core("hadoop.rpc.protection", "privacy");
    for server in ["namenode", "datanode"] {
        differences = differences
            .hdfs(format!("dfs.{server}.kerberos.principal"), SERVICE)
            .hdfs(format!("dfs.{server}.keytab.file"), &keytab);
    }
    differences
        .hdfs("dfs.web.authentication.kerberos.principal", WEB)
        .hdfs("dfs.web.authentication.kerberos.keytab", &keytab)
        .hdfs("dfs.block.access.token.enable", "true")
        .hdfs("dfs.data.transfer.protection", "privacy")
        .hdfs("dfs.encrypt.data.transfer", "true")
        // The DataNode's ports are not privileged.
        .hdfs("ignore.secure.ports.for.testing", "true")
}
