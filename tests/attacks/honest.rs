//! The honest clients: small predicts over a few connections, before, during and after attacks.
//!
//! They run on threads of their own with blocking sockets, so that nothing but the bridge and the
//! machine makes them wait.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How many clients keep their connection from request to request.
const KEEPERS: usize = 3;

/// How long each of them thinks between two requests.
const PAUSE: Duration = Duration::from_millis(4);

/// No honest request may take longer.
const LONGEST: Duration = Duration::from_secs(5);

/// How the bridge is reached.
#[derive(Clone)]
pub struct Transport {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

impl Transport {
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    pub fn tls(address: SocketAddr, authority: &CertificateDer<'static>) -> Self {
        Self { address, tls: Some(Arc::new(client_config(authority))) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONGEST))?;
        stream.set_write_timeout(Some(LONGEST))?;
        let Some(config) = &self.tls else { return Ok(Connection(BufReader::new(Box::new(stream)))) };
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Connection(BufReader::new(Box::new(StreamOwned::new(client, stream)))))
    }
}

/// A client's side of TLS that trusts this authority alone.
fn client_config(authority: &CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A connection of an honest client.
pub struct Connection(BufReader<Box<dyn Stream>>);

impl Connection {
    /// One small predict, whose answer must be right.
    pub fn predict(&mut self, is_last: bool) -> io::Result<()> {
        const BODY: &str = r#"{"instances":[1.0,2.0]}"#;
        let close = if is_last { "Connection: close\r\n" } else { "" };
        let request = format!(
            "POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: honest\r\n{close}Content-Length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.trim_end().to_owned();
        let mut length = 0;
        loop {
            line.clear();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::Error::other(format!("the connection ended after {status:?}")));
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        if status == "HTTP/1.1 200 OK" && body == br#"{"predictions":[2.5,3.0]}"# {
            return Ok(());
        }
        Err(io::Error::other(format!("{status}: {}", String::from_utf8_lossy(&body))))
    }
}

/// A request of an honest client.
#[derive(Debug, Clone)]
struct Sample {
    client: usize,
    start: Instant,
    elapsed: Duration,
    failure: Option<String>,
}

/// The honest clients of a bridge, which go on until they are dropped.
pub struct Honest {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// How the honest clients fared in some stretch of time.
#[derive(Debug, Clone, Default)]
pub struct Fare {
    pub requests: usize,
    pub failures: Vec<String>,
    latencies: Vec<Duration>,
}

impl Fare {
    pub fn percentile(&self, percent: usize) -> Duration {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

impl Honest {
    pub fn start(transport: &Transport) -> Self {
        let samples = Arc::default();
        let stop = Arc::default();
        let client = |client| {
            let (transport, samples, stop) = (transport.clone(), Arc::clone(&samples), Arc::clone(&stop));
            std::thread::spawn(move || run(&transport, client, &samples, &stop))
        };
        let threads = (0..=KEEPERS).map(client).collect();
        Self { samples, stop, threads }
    }

    /// How they fared with the requests that started from `start` until `end`, also those that are
    /// still under way. What is older than `start` is forgotten.
    pub fn between(&self, start: Instant, end: Instant) -> Fare {
        let is_beyond = |client| {
            let samples = self.samples.lock().unwrap();
            samples.iter().any(|sample| sample.client == client && sample.start >= end)
        };
        while !(0..=KEEPERS).all(is_beyond) && end.elapsed() < 2 * LONGEST {
            std::thread::sleep(PAUSE);
        }
        let mut samples = self.samples.lock().unwrap();
        samples.retain(|sample| sample.start >= start);
        let mut fare = Fare::default();
        for sample in samples.iter().filter(|sample| sample.start < end) {
            fare.requests += 1;
            fare.latencies.push(sample.elapsed);
            fare.failures.extend(sample.failure.clone());
        }
        fare.latencies.sort_unstable();
        fare
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run(transport: &Transport, client: usize, samples: &Mutex<Vec<Sample>>, stop: &AtomicBool) {
    // The last one needs a new connection for each request.
    let keeps = client < KEEPERS;
    let mut kept = None;
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let result = match kept.take() {
            Some(connection) => Ok(connection),
            None => transport.connect(),
        }
        .and_then(|mut connection| {
            connection.predict(!keeps)?;
            Ok(connection)
        });
        let failure = match result {
            Ok(connection) => {
                kept = keeps.then_some(connection);
                None
            }
            Err(error) => {
                Some(format!("{error} ({})", if keeps { "kept connection" } else { "new connection" }))
            }
        };
        samples.lock().unwrap().push(Sample { client, start, elapsed: start.elapsed(), failure });
        std::thread::sleep(PAUSE);
    }
}
