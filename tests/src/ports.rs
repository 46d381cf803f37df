//! Ports on loopback for servers that need a fixed one, such as a NameNode that restarts on the same port.
//!
//! They are below the kernel's ephemeral range, and a lock file reserves each for one owner, so tests that run in
//! parallel cannot take each other's port between choosing and using it.

use std::io;
use std::iter;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::PathBuf;

use crate::reservation::Reservation;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot create the directory of port locks {}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("no free port between {} and {}", RANGE.start, RANGE.end)]
    NoneFree,
}

/// A port on 127.0.0.1, reserved until dropped.
#[derive(Debug)]
pub struct Port(Reservation);

impl Port {
    pub fn reserve() -> Result<Self, Error> {
        let candidates = iter::repeat_with(|| fastrand::u16(RANGE)).take(TRIES);
        let free = |number| TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
        let reserved = Reservation::first("ports", candidates, free)
            .map_err(|(path, source)| Error::Directory { path, source })?;
        reserved.map(Self).ok_or(Error::NoneFree)
    }

    pub fn number(&self) -> u16 {
        self.0.number()
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number()).into()
    }
}

const RANGE: Range<u16> = 20_000..32_000;
const TRIES: usize = 200;
