//! Relays connections to a server and counts the bytes in both directions.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::listener;

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct Error {
    address: SocketAddr,
    source: io::Error,
}

/// A running relay. Dropping it closes its connections.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    carried: Arc<Carried>,
    task: JoinHandle<()>,
}

/// The traffic so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    pub connections: u64,
    /// Bytes in both directions, without TCP and IP headers.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Carried {
    connections: AtomicU64,
    bytes: AtomicU64,
}

impl Relay {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start(server: SocketAddr) -> Result<Self, Error> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), server).await
    }

    /// Listens on the server's port number at another address.
    pub async fn start_on(ip: IpAddr, server: SocketAddr) -> Result<Self, Error> {
        Self::start_at((ip, server.port()).into(), server).await
    }

    async fn start_at(address: SocketAddr, server: SocketAddr) -> Result<Self, Error> {
        let failed = |source| Error { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let carried = Arc::<Carried>::default();
        let counted = Arc::clone(&carried);
        let task = tokio::spawn(listener::serve(socket, move |client| {
            let carried = Arc::clone(&counted);
            // Both ends notice however the connection ends.
            async move { drop(pass(client, server, &carried).await) }
        }));
        Ok(Self { address, carried, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn traffic(&self) -> Traffic {
        Traffic {
            connections: self.carried.connections.load(Ordering::Relaxed),
            bytes: self.carried.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Traffic {
    /// The traffic since `before`.
    pub fn since(self, before: Self) -> Self {
        Self { connections: self.connections - before.connections, bytes: self.bytes - before.bytes }
    }
}

async fn pass(client: TcpStream, server: SocketAddr, carried: &Carried) -> io::Result<()> {
    carried.connections.fetch_add(1, Ordering::Relaxed);
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::try_join!(one_way(from_client, to_server, carried), one_way(from_server, to_client, carried))?;
    Ok(())
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, carried: &Carried) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        carried.bytes.fetch_add(length as u64, Ordering::Relaxed);
        to.write_all(&buffer[..length]).await?;
    }
}
