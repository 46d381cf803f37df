//! Ports on loopback for servers that need a fixed one, such as a NameNode that restarts on the same port.
//!
//! They are below the kernel's ephemeral range, and a lock file reserves each for one owner, so tests that run in
//! parallel cannot take each other's port between its choice and its use.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;

use crate::parts;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot create the directory of port locks {path}")]
    Directory { path: String, source: io::Error },
    #[error("no free port between {} and {}", RANGE.start, RANGE.end)]
    NoneFree,
}

/// A port on 127.0.0.1, reserved until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    pub fn reserve() -> Result<Self, Error> {
        let locks = parts::cache().join("locks/ports");
        fs::create_dir_all(&locks)
            .map_err(|source| Error::Directory { path: locks.display().to_string(), source })?;
        for _ in 0..TRIES {
            let number = fastrand::u16(RANGE);
            let Ok(lock) = File::create(locks.join(number.to_string())) else {
                continue;
            };
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        Err(Error::NoneFree)
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

const RANGE: Range<u16> = 20_000..32_000;
const TRIES: usize = 200;
