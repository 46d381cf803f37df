//! The agent's identity on HDFS and the local files it depends on: when one of them changes, it logs in again.
//!
//! The library obtains and renews tickets. The keytab is checked here first, because the library's error for a bad
//! one is unhelpful; its content is never read here.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use domain::settings::{KerberosLogin, PublishedSettings};
use hdfs_native::ClientBuilder;

use super::HdfsError;

/// Permission bits of users that are neither owner nor group.
const OTHERS: u32 = 0o007;

/// An identity with the state of the files it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    Simple {
        user: String,
    },
    Keytab {
        principal: String,
        keytab: PathBuf,
        files: Vec<Option<FileState>>,
    },
    /// Uses the tickets in the process's cache.
    Tickets {
        principal: Option<String>,
        /// `None` if the tickets are not in a file, so that changes go undetected.
        files: Option<Vec<Option<FileState>>>,
    },
}

/// Metadata that changes when a file is written or replaced.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FileState {
    device: u64,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Login {
    /// The identity according to the settings and the current files.
    pub(super) fn current(settings: &PublishedSettings, secure: bool) -> Result<Self, HdfsError> {
        if !secure {
            return Ok(Self::Simple { user: settings.user.clone() });
        }
        match &settings.kerberos {
            Some(KerberosLogin { principal, keytab: Some(keytab) }) => {
                let keys = check(keytab)?;
                let files = [Some(keys)].into_iter().chain(configuration()).collect();
                Ok(Self::Keytab { principal: principal.clone(), keytab: keytab.clone(), files })
            }
            login => {
                let principal = login.as_ref().map(|login| login.principal.clone());
                let tickets = ticket_file().and_then(|path| FileState::of(&path).ok());
                let files =
                    tickets.map(|tickets| [Some(tickets)].into_iter().chain(configuration()).collect());
                Ok(Self::Tickets { principal, files })
            }
        }
    }

    /// The identity of another user, where HDFS trusts any name.
    pub(super) fn of(&self, user: &str) -> Option<Self> {
        match self {
            Self::Simple { user: own } if own != user => Some(Self::Simple { user: user.to_owned() }),
            _ => None,
        }
    }

    /// Whether a login by `self` is still valid, given the files as in `now`.
    pub(super) fn is_still(&self, now: &Self) -> bool {
        self == now && !matches!(self, Self::Tickets { files: None, .. })
    }

    /// Makes the client act as this identity.
    pub(super) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        match self {
            Self::Simple { user } => builder.with_user(user),
            // With Kerberos, the name comes from the ticket; setting a user would request impersonation.
            Self::Keytab { principal, keytab, files } => builder
                .with_kerberos_principal(principal)
                .with_kerberos_keytab(keytab.display().to_string())
                .with_kerberos_cache(ticket_cache(principal, keytab, files)),
            Self::Tickets { principal: Some(principal), .. } => builder.with_kerberos_principal(principal),
            Self::Tickets { principal: None, .. } => builder,
        }
    }
}

impl FileState {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&fs::metadata(path)?))
    }
}

impl From<&fs::Metadata> for FileState {
    fn from(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// An in-memory ticket cache, shared by all clients of one state of the keytab: the library would create one per
/// client and never free it, and tickets obtained with other keys must not be reused.
fn ticket_cache(principal: &str, keytab: &Path, files: &[Option<FileState>]) -> String {
    let mut hasher = DefaultHasher::new();
    (principal, keytab, files).hash(&mut hasher);
    format!("MEMORY:emr-ecr-agent-{:016x}", hasher.finish())
}

/// The files that configure Kerberos and delegation tokens, by this process's environment.
fn configuration() -> impl Iterator<Item = Option<FileState>> {
    let krb5_conf = env::var_os("KRB5_CONFIG").unwrap_or_else(|| "/etc/krb5.conf".into());
    let delegation_tokens = env::var_os("HADOOP_TOKEN_FILE_LOCATION").map(PathBuf::from);
    let paths: Vec<PathBuf> = env::split_paths(&krb5_conf).chain(delegation_tokens).collect();
    paths.into_iter().map(|path| FileState::of(&path).ok())
}

/// The process's ticket cache, if it is a file.
fn ticket_file() -> Option<PathBuf> {
    match env::var("KRB5CCNAME") {
        Ok(name) if name.starts_with('/') => Some(name.into()),
        Ok(name) => name.strip_prefix("FILE:").map(PathBuf::from),
        Err(_) => Some(format!("/tmp/krb5cc_{}", nix::unistd::geteuid()).into()),
    }
}

/// Checks that the keytab exists, is readable, and is closed to others: it is as good as a password.
fn check(path: &Path) -> Result<FileState, HdfsError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => HdfsError::NoKeytab { path: path.to_owned() },
        _ => HdfsError::Keytab { path: path.to_owned(), source },
    };
    let metadata = fs::File::open(path).and_then(|file| file.metadata()).map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o7777;
    match mode & OTHERS {
        0 => Ok(FileState::from(&metadata)),
        _ => Err(HdfsError::OpenKeytab { path: path.to_owned(), mode }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::{Login, check, ticket_cache};
    use crate::sink::StoreError as _;
    use domain::settings::{KerberosLogin, Settings};

    fn login(keytab: &Path) -> Login {
        let mut settings = Settings::default().published;
        settings.kerberos = Some(KerberosLogin {
            principal: "hadoop/node@EXAMPLE.COM".to_owned(),
            keytab: Some(keytab.to_owned()),
        });
        Login::current(&settings, true).expect("a sound keytab")
    }

    #[test]
    fn a_keytab_exists_and_is_closed_to_others() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("agent.keytab");
        let missing = check(&path).expect_err("it does not exist");
        assert_eq!(missing.waits_for(), Some(format!("the keytab {}", path.display())));

        fs::write(&path, "").expect("a file");
        for (mode, sound) in [(0o400, true), (0o440, true), (0o600, true), (0o444, false), (0o601, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
            assert_eq!(check(&path).is_ok(), sound, "{mode:o}");
        }
    }

    #[test]
    fn a_changed_keytab_is_another_login_with_other_tickets() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("agent.keytab");
        let write = |keys: &str| {
            let another = directory.path().join("another");
            fs::write(&another, keys).expect("a file");
            fs::set_permissions(&another, fs::Permissions::from_mode(0o600)).expect("its mode");
            fs::rename(&another, &path).expect("its name");
        };
        let cache = |login: &Login| match login {
            Login::Keytab { principal, keytab, files } => ticket_cache(principal, keytab, files),
            other => unreachable!("{other:?}"),
        };
        write("keys");
        let before = login(&path);
        let same = login(&path);
        assert!(before.is_still(&same));
        assert_eq!(cache(&before), cache(&same));
        write("other");
        let after = login(&path);
        assert!(!before.is_still(&after));
        assert_ne!(cache(&before), cache(&after));
    }

    #[test]
    fn tickets_that_cannot_be_watched_are_looked_up_each_time() {
        let tickets = Login::Tickets { principal: None, files: None };
        assert!(!tickets.is_still(&tickets.clone()));
    }
}
