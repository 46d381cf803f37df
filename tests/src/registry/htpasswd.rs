//! The registry's password file, which the registry reloads whenever its modification time changes.
//!
//! bcrypt uses only the first 72 bytes of a password. Passwords like ECR's differ from the 17th byte on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot hash a password")]
    Hash { source: bcrypt::BcryptError },
    #[error("cannot replace the password file {}", path.display())]
    Replace { path: PathBuf, source: io::Error },
}

/// The file; clones share it.
#[derive(Debug, Clone)]
pub struct PasswordFile {
    path: PathBuf,
    changed: Arc<Mutex<SystemTime>>,
}

impl PasswordFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, changed: Arc::new(Mutex::new(SystemTime::UNIX_EPOCH)) }
    }

    /// Makes the registry accept only these credentials, from the next request on.
    pub fn accept_only(&self, user: &str, password: &str) -> Result<(), Error> {
        let hash = bcrypt::hash(password, LOWEST_COST).map_err(|source| Error::Hash { source })?;
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        // Two changes within one tick of the file system's clock would have the same time.
        let now = SystemTime::now().max(*changed + Duration::from_millis(1));
        self.replace(&format!("{user}:{hash}\n"), now)
            .map_err(|source| Error::Replace { path: self.path.clone(), source })?;
        *changed = now;
        Ok(())
    }

    fn replace(&self, text: &str, now: SystemTime) -> io::Result<()> {
        let draft = self.path.with_extension("draft");
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.set_modified(now)?;
        fs::rename(&draft, &self.path)
    }
}

/// For speed: the registry hashes on every request, and there is nothing to protect.
const LOWEST_COST: u32 = 4;
