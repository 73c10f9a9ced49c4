//! The mock behind TLS, mutual TLS or a UNIX socket.
//!
//! The transport ends in front of the mock, which serves plain TCP behind it: what the bridge
//! meets is the transport, and the mock stays the same for all of them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tfbridge::config::{Backend, Place, UpstreamTls};
use tfbridge::mock::{self, Models};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Authority;

/// How the bridge reaches the mock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Tls,
    /// The server asks for a certificate, too.
    Mtls,
    Unix,
}

impl Transport {
    /// The one in `TFBRIDGE_TEST_TRANSPORT`, plain TCP without it.
    pub fn from_env() -> Self {
        match env::var("TFBRIDGE_TEST_TRANSPORT").as_deref() {
            Err(_) | Ok("" | "tcp") => Self::Tcp,
            Ok("tls") => Self::Tls,
            Ok("mtls") => Self::Mtls,
            Ok("unix") => Self::Unix,
            Ok(other) => panic!("TFBRIDGE_TEST_TRANSPORT: {other} is none of tcp, tls, mtls, unix"),
        }
    }
}

/// A mock whose transport runs until this is dropped. The files are the bridge's.
pub struct Server {
    files: TempDir,
    authority: Authority,
    backend: Backend,
    is_mutual: bool,
    mock: SocketAddr,
    /// All connections and the port: they end together, as those of a process do.
    front: JoinSet<()>,
}

impl Server {
    /// A mock behind a transport, with a certificate for the loopback address.
    pub async fn start(transport: Transport, models: Models) -> Self {
        Self::start_as(transport, models, "127.0.0.1").await
    }

    /// The same with a certificate for a name.
    pub async fn start_as(transport: Transport, models: Models, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mock = listener.local_addr().unwrap();
        tokio::spawn(mock::serve(listener, models, std::future::pending()));
        let is_mutual = transport == Transport::Mtls;
        let backend = Backend::at(mock);
        let (files, authority) = (TempDir::new().unwrap(), Authority::new());
        let mut server = Self { files, authority, backend, is_mutual, mock, front: JoinSet::new() };
        match transport {
            Transport::Tcp => {}
            Transport::Unix => server.listen_on_socket(),
            Transport::Tls | Transport::Mtls => {
                server.write_ca();
                server.write_identity();
                server.listen("127.0.0.1:0".parse().unwrap(), name).await;
            }
        }
        server
    }

    /// Where it is.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// What a bridge needs to be let in.
    pub fn tls(&self) -> UpstreamTls {
        if !self.backend.tls {
            return UpstreamTls::default();
        }
        UpstreamTls {
            ca: Some(self.path("ca.pem")),
            identity: self.is_mutual.then(|| (self.path("bridge.pem"), self.path("bridge.key"))),
            server_name: None,
        }
    }

    /// Another process takes its place on the same port: none of the connections last. The
    /// bridge's files stay as they are, even if the authority is another one.
    pub async fn restart(&mut self, authority: Option<Authority>) {
        let Place::Address { port, .. } = self.backend.place else { panic!("this takes a port") };
        if let Some(authority) = authority {
            self.authority = authority;
        }
        self.front.shutdown().await;
        self.listen(SocketAddr::from(([127, 0, 0, 1], port)), "127.0.0.1").await;
    }

    /// Writes the authority to the file that the bridge trusts.
    pub fn write_ca(&self) {
        replace(&self.path("ca.pem"), &self.authority.pem());
    }

    /// Writes a certificate and its key for the bridge.
    pub fn write_identity(&self) {
        let identity = self.authority.issue("bridge");
        replace(&self.path("bridge.key"), &identity.key.serialize_pem());
        replace(&self.path("bridge.pem"), &identity.certificate.pem());
    }

    /// A file of the bridge.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    async fn listen(&mut self, address: SocketAddr, name: &str) {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&self.authority, name, self.is_mutual)));
        let listener = TcpListener::bind(address).await.unwrap();
        self.backend = Backend { tls: true, ..Backend::at(listener.local_addr().unwrap()) };
        let mock = self.mock;
        self.front.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let handshake = acceptor.accept(stream).into_fallible();
                connections.spawn(async move {
                    match handshake.await {
                        Ok(stream) => pass_on(stream, mock).await,
                        Err((_, stream)) => turn_away(stream).await,
                    }
                });
            }
        });
    }

    fn listen_on_socket(&mut self) {
        let path = self.path("mock.sock");
        let listener = UnixListener::bind(&path).unwrap();
        self.backend = format!("unix:{}", path.display()).parse().unwrap();
        let mock = self.mock;
        self.front.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(pass_on(stream, mock));
            }
        });
    }
}

/// Carries the bytes of a connection to the mock and back.
pub async fn pass_on(mut stream: impl AsyncRead + AsyncWrite + Unpin, mock: SocketAddr) {
    let mut inner = TcpStream::connect(mock).await.unwrap();
    inner.set_nodelay(true).unwrap();
    // Either side may go away at any moment.
    let _ = copy_bidirectional(&mut stream, &mut inner).await;
}

/// Closes a connection so that its client gets to read why: what is left unread would reset it.
async fn turn_away(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

pub fn server_config(authority: &Authority, name: &str, is_mutual: bool) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if is_mutual {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let identity = authority.issue(name);
    let chain = vec![identity.certificate.der().clone()];
    let mut config = builder.with_single_cert(chain, identity.key.into()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Puts a file in the place of another at once, as those who care about readers do.
pub fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}
