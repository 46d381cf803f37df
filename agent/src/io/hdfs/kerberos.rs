//! Who the agent is on a cluster with Kerberos. The library gets and renews the tickets; here the keytab is looked at
//! first, since what it says about a bad one helps nobody. Its content is never read here.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use domain::settings::KerberosLogin;
use hdfs_native::ClientBuilder;

use super::HdfsError;

/// One cache in this process's memory for all visits: the library would make another, never freed, for each, and
/// ask the KDC anew each time.
const TICKETS: &str = "MEMORY:emr-ecr-agent";
/// Permission bits of those who are neither owner nor group.
const OTHERS: u32 = 0o007;

/// Makes the client act as `login`.
pub(super) fn log_in(builder: ClientBuilder, login: &KerberosLogin) -> Result<ClientBuilder, HdfsError> {
    let builder = builder.with_kerberos_principal(&login.principal);
    let Some(keytab) = &login.keytab else { return Ok(builder) };
    check(keytab)?;
    Ok(builder.with_kerberos_keytab(keytab.display().to_string()).with_kerberos_cache(TICKETS))
}

/// A keytab is as good as a password: there, readable for us, and not for everybody.
fn check(path: &Path) -> Result<(), HdfsError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => HdfsError::NoKeytab { path: path.to_owned() },
        _ => HdfsError::Keytab { path: path.to_owned(), source },
    };
    let metadata = File::open(path).and_then(|file| file.metadata()).map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o7777;
    match mode & OTHERS {
        0 => Ok(()),
        _ => Err(HdfsError::OpenKeytab { path: path.to_owned(), mode }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::check;
    use crate::place::StoreError as _;

    #[test]
    fn a_keytab_is_there_and_closed_to_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.keytab");
        let told = check(&path).expect_err("it is not there");
        assert_eq!(told.waits_for(), Some(format!("the keytab {}", path.display())));

        fs::write(&path, "").expect("a file");
        for (mode, sound) in [(0o400, true), (0o440, true), (0o600, true), (0o444, false), (0o601, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
            assert_eq!(check(&path).is_ok(), sound, "{mode:o}");
        }
    }
}
