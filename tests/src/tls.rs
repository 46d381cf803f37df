//! A TLS server for AWS's real host names. It accepts TLS directly and through HTTPS_PROXY's CONNECT, presents
//! certificates from its own authority, and forwards requests in plain text.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig, pki_types::PrivatePkcs8KeyDer};

use crate::listener;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot create certificates")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot use the certificates")]
    Tls(#[from] rustls::Error),
    #[error("cannot listen on loopback")]
    Bind(#[source] io::Error),
}

/// A host name and the plain-text server that stands in for it.
#[derive(Debug, Clone)]
pub struct Route {
    pub host: String,
    pub server: SocketAddr,
}

/// A running proxy. Dropping it closes its connections.
#[derive(Debug)]
pub struct TlsProxy {
    address: SocketAddr,
    authority: String,
    task: JoinHandle<()>,
}

impl TlsProxy {
    pub async fn start(routes: Vec<Route>) -> Result<Self, Error> {
        let (authority, acceptor) = certified(&routes)?;
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::Bind)?;
        let address = socket.local_addr().map_err(Error::Bind)?;
        let routes: Arc<[Route]> = routes.into();
        let task = tokio::spawn(listener::serve(socket, move |client| {
            let (acceptor, routes) = (acceptor.clone(), Arc::clone(&routes));
            // The client notices however the connection ends.
            async move { drop(pass(client, &acceptor, &routes).await) }
        }));
        Ok(Self { address, authority, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate that clients must trust, as PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn certified(routes: &[Route]) -> Result<(String, TlsAcceptor), Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let authority = CertifiedIssuer::self_signed(params, key)?;

    let names: Vec<String> = routes.iter().map(|route| route.host.clone()).collect();
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    // With the authority's name it would look self-signed.
    params.distinguished_name.push(DnType::CommonName, "stand-in");
    let certificate = params.signed_by(&key, &authority)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )?;
    Ok((authority.pem(), Arc::new(config).into()))
}

async fn pass(client: TcpStream, acceptor: &TlsAcceptor, routes: &[Route]) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = BufReader::new(client);
    if client.fill_buf().await?.first() != Some(&HANDSHAKE) {
        take_connect(&mut client).await?;
    }
    let mut client = acceptor.accept(client).await?;
    let host = client.get_ref().1.server_name().unwrap_or_default();
    let Some(route) = routes.iter().find(|route| route.host == host) else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    let mut server = TcpStream::connect(route.server).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The first byte of a TLS connection.
const HANDSHAKE: u8 = 0x16;

/// Reads the head of a `CONNECT HOST:PORT HTTP/1.1` request and accepts it; TLS names the host, too.
async fn take_connect(client: &mut BufReader<TcpStream>) -> io::Result<()> {
    let mut line = String::new();
    while client.read_line(&mut line).await? > 2 {
        line.clear();
    }
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await
}
