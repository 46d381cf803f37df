//! Listeners for health requests: a TCP address for scripts and Prometheus, which any local account can take first,
//! and a socket in a directory that only root can write, which `status` trusts.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};

use crate::io::disk::{DiskError, guarded};
use crate::io::http_client::Stream;

/// Where to listen.
#[derive(Debug, Clone)]
pub(crate) enum Endpoint {
    Address(SocketAddr),
    Socket(PathBuf),
}

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

#[derive(Debug, Error)]
pub(super) enum ListenError {
    #[error("cannot listen on {address} for health requests")]
    Address { address: SocketAddr, source: io::Error },
    #[error("cannot listen on {} for health requests", path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("cannot listen on {} for health requests", path.display())]
    Unguarded { path: PathBuf, source: DiskError },
}

impl Listener {
    pub(super) async fn bind(endpoint: &Endpoint) -> Result<Self, ListenError> {
        match endpoint {
            Endpoint::Address(address) => {
                let listener = TcpListener::bind(address).await;
                listener
                    .map(Listener::Tcp)
                    .map_err(|source| ListenError::Address { address: *address, source })
            }
            Endpoint::Socket(path) => {
                guarded(path).map_err(|source| ListenError::Unguarded { path: path.clone(), source })?;
                let listener = bind_socket(path);
                listener
                    .map(Listener::Unix)
                    .map_err(|source| ListenError::Socket { path: path.clone(), source })
            }
        }
    }

    /// The next connection, and the local address it arrived at.
    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<IpAddr>)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                let address = stream.local_addr().ok().map(|address| address.ip());
                Ok((Box::new(stream), address))
            }
            Listener::Unix(listener) => Ok((Box::new(listener.accept().await?.0), None)),
        }
    }
}

/// Binds a socket that anyone may connect to.
fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        // With systemd's mode; any other failure shows in the calls below.
        let _ = fs::DirBuilder::new().mode(0o755).create(directory);
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    // A stale socket of a process that has ended.
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}
