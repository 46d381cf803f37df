//! Numbers that tests running in parallel, even in separate processes, must not share.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use crate::parts;

/// A number, reserved until this value drops or its process ends.
#[derive(Debug)]
pub(crate) struct Reservation {
    number: u16,
    _lock: File,
}

impl Reservation {
    /// Reserves the first unreserved candidate that is `free`; `None` if there is none.
    pub(crate) fn first(
        kind: &str,
        mut candidates: impl Iterator<Item = u16>,
        free: impl Fn(u16) -> bool,
    ) -> Result<Option<Self>, (PathBuf, io::Error)> {
        let locks = parts::cache().join("locks").join(kind);
        fs::create_dir_all(&locks).map_err(|source| (locks.clone(), source))?;
        Ok(candidates.find_map(|number| {
            let lock = File::create(locks.join(number.to_string())).ok()?;
            (lock.try_lock().is_ok() && free(number)).then_some(Self { number, _lock: lock })
        }))
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
