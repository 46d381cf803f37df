//! The password file of the registry, which reads it again whenever its time of change is another.
//!
//! bcrypt looks at the first 72 bytes of a password only. Passwords like ECR's differ from the 17th on.

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

/// Decides whom the registry accepts; copies decide the same.
#[derive(Debug, Clone)]
pub struct PasswordFile {
    path: PathBuf,
    changed: Arc<Mutex<SystemTime>>,
}

impl PasswordFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, changed: Arc::new(Mutex::new(SystemTime::UNIX_EPOCH)) }
    }

    /// From the next request on, these credentials are accepted, and none else.
    pub fn accept_only(&self, user: &str, password: &str) -> Result<(), Error> {
        let hash = bcrypt::hash(password, LOWEST_COST).map_err(|source| Error::Hash { source })?;
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        // Two changes within one tick of the file system's clock would look like one.
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

/// The registry hashes at every request; this is for speed and protects nothing.
const LOWEST_COST: u32 = 4;
