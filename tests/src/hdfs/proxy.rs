//! A proxy between a client and the NameNode. It parses just enough of Hadoop's RPC to name each call, counts the
//! calls, and fails exactly the configured one.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Error;
use crate::listener;
use crate::ports::Port;

/// A running proxy. Dropping it closes its connections.
#[derive(Debug)]
pub struct NameNodeProxy {
    port: Port,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

/// When a call fails, relative to its execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Before the NameNode receives it.
    Before,
    /// After the NameNode has executed it, but before the client receives the response.
    After,
}

/// How the proxy treats calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Behavior {
    #[default]
    Normal,
    /// Accepts connections and never answers.
    Silent,
    /// Holds back the first such call; from then on its connection forwards nothing in either direction.
    Catch { call: &'static str, side: Side },
    /// Resets the connection of every such call.
    Reset { call: &'static str, side: Side },
}

#[derive(Debug)]
struct Shared {
    namenode: SocketAddr,
    /// Calls that contain this text always go through.
    spared: &'static str,
    behavior: Mutex<Behavior>,
    calls: Mutex<BTreeMap<String, u64>>,
    caught: watch::Sender<bool>,
}

impl NameNodeProxy {
    /// Initially forwards everything to `namenode`. Calls that contain the text `spared` are never caught or reset.
    pub async fn start(namenode: SocketAddr, spared: &'static str) -> Result<Self, Error> {
        let (caught, _) = watch::channel(false);
        let shared = Arc::new(Shared {
            namenode,
            spared,
            behavior: Mutex::default(),
            calls: Mutex::default(),
            caught,
        });
        let mut proxy = Self { port: Port::reserve()?, shared, task: None };
        proxy.accept().await?;
        Ok(proxy)
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Applies to all later calls, including those on existing connections.
    pub fn set_behavior(&self, behavior: Behavior) {
        self.shared.caught.send_replace(false);
        *self.shared.behavior() = behavior;
    }

    /// The number of calls so far, by method.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.shared.calls().clone()
    }

    /// Waits until a call is caught.
    pub async fn caught(&self) {
        let mut caught = self.shared.caught.subscribe();
        // The sender lives as long as `self`.
        let _ = caught.wait_for(|caught| *caught).await;
    }

    /// Closes all connections and refuses new ones.
    pub async fn refuse(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // The port closes only when the task is gone.
            let _ = task.await;
        }
    }

    /// Accepts connections again.
    pub async fn accept(&mut self) -> Result<(), Error> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port.number())).await.map_err(failed)?;
        let shared = Arc::clone(&self.shared);
        self.task = Some(tokio::spawn(listener::serve(socket, move |client| {
            let shared = Arc::clone(&shared);
            // The client notices however the connection ends.
            async move { drop(pass(client, &shared).await) }
        })));
        Ok(())
    }
}

impl Drop for NameNodeProxy {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Shared {
    fn behavior(&self) -> MutexGuard<'_, Behavior> {
        self.behavior.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How this call fails, and when; `None` if it goes through.
    fn harm(&self, message: &[u8]) -> Option<(Harm, Side)> {
        let call = method(message)?;
        *self.calls().entry(call.to_owned()).or_default() += 1;
        let is_spared = message.windows(self.spared.len()).any(|text| text == self.spared.as_bytes());
        let mut behavior = self.behavior();
        match *behavior {
            Behavior::Silent => Some((Harm::Silence, Side::Before)),
            _ if is_spared => None,
            Behavior::Catch { call: wanted, side } if wanted == call => {
                *behavior = Behavior::Normal;
                Some((Harm::Catch, side))
            }
            Behavior::Reset { call: wanted, side } if wanted == call => Some((Harm::Reset, side)),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Catch,
    Reset,
    Silence,
}

async fn pass(client: TcpStream, shared: &Shared) -> io::Result<()> {
    if *shared.behavior() == Behavior::Silent {
        return std::future::pending().await;
    }
    let server = TcpStream::connect(shared.namenode).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut hello = [0; HELLO];
    from_client.read_exact(&mut hello).await?;
    to_server.write_all(&hello).await?;

    // Both connections stay open while this future is pending.
    let after = Mutex::new(None);
    let harm = tokio::select! {
        harm = calls(&mut from_client, &mut to_server, shared, &after) => harm?,
        harm = answers(&mut from_server, &mut to_client, &after) => harm?,
    };
    if harm == Harm::Reset {
        return Ok(());
    }
    if harm == Harm::Catch {
        shared.caught.send_replace(true);
    }
    std::future::pending().await
}

/// Forwards calls until one fails before the NameNode receives it; stores a failure due after a call in `after`.
async fn calls(
    client: &mut OwnedReadHalf,
    server: &mut OwnedWriteHalf,
    shared: &Shared,
    after: &Mutex<Option<Harm>>,
) -> io::Result<Harm> {
    loop {
        let call = frame(client).await?;
        match shared.harm(&call) {
            Some((harm, Side::Before)) => return Ok(harm),
            Some((harm, Side::After)) => {
                *after.lock().unwrap_or_else(PoisonError::into_inner) = Some(harm);
            }
            None => {}
        }
        server.write_all(&call).await?;
    }
}

/// Forwards responses up to the one that the client must not receive.
async fn answers(
    server: &mut OwnedReadHalf,
    client: &mut OwnedWriteHalf,
    after: &Mutex<Option<Harm>>,
) -> io::Result<Harm> {
    loop {
        let answer = frame(server).await?;
        if let Some(harm) = *after.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(harm);
        }
        client.write_all(&answer).await?;
    }
}

/// "hrpc", version, service class and authentication.
const HELLO: usize = 7;
const LARGEST: usize = 64 << 20;

/// Reads a complete message with its length prefix.
async fn frame(stream: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let size = u32::from_be_bytes(length) as usize;
    if size > LARGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; 4 + size];
    frame[..4].copy_from_slice(&length);
    stream.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

/// A call's method: the first field of the request header, which follows the RPC header.
fn method(frame: &[u8]) -> Option<&str> {
    let (header, rest) = varint(frame.get(4..)?)?;
    let (_, request) = varint(rest.get(header..)?)?;
    let (length, name) = varint(request.strip_prefix(&[FIRST_FIELD_OF_BYTES])?)?;
    str::from_utf8(name.get(..length)?).ok()
}

const FIRST_FIELD_OF_BYTES: u8 = 0x0A;

fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

fn failed(source: io::Error) -> Error {
    Error::Run { program: "the NameNode's proxy".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::method;

    #[test]
    fn method_names_are_parsed() {
        let check = |message: &[u8], expected: Option<&str>| {
            let frame = [&(message.len() as u32).to_be_bytes(), message].concat();
            assert_eq!(method(&frame), expected);
        };
        check(b"\x02\x08\x01\x08\x0A\x06create", Some("create"));
        // Neither a connection context nor a SASL negotiation has a method.
        check(b"\x02\x08\x01\x04\x1A\x02ab", None);
        check(b"\x02\x08\x01\x02\x08\x01", None);
        check(b"\x7F", None);
        check(b"", None);
    }
}
