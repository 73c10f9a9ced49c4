//! Connections of clients: the sockets they come in on, TLS, and what they may take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tfbridge::Listeners;
use tfbridge::config::{Config, Listen, ServerTls};
use tfbridge::mock::Models;
use tfbridge::server::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bridge::Bridge;
use crate::certificates::{Authority, Identity};
use crate::client::Client;
use crate::scripted::{Script, Scripted};

const HALF: &str = "/v1/models/half_plus_two:predict";
const BODY: &str = r#"{"instances": [1.0]}"#;
const REPLY: &str = r#"{"predictions":[2.5]}"#;

/// The files of a server's TLS.
pub struct Files {
    directory: TempDir,
    authority: Authority,
}

impl Files {
    pub fn new() -> Self {
        let files = Self { directory: TempDir::new().unwrap(), authority: Authority::new() };
        files.write("ca.pem", &files.authority.pem());
        files.renew();
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }

    /// Puts another certificate in place.
    fn renew(&self) -> Identity {
        let identity = self.authority.issue("localhost");
        self.write("key.pem", &identity.key.serialize_pem());
        self.write("cert.pem", &identity.certificate.pem());
        identity
    }

    pub fn tls(&self, asks_clients: bool) -> ServerTls {
        let path = |name| self.directory.path().join(name);
        ServerTls {
            certificate: path("cert.pem"),
            key: path("key.pem"),
            client_ca: asks_clients.then(|| path("ca.pem")),
        }
    }

    /// A connection whose client offers this protocol, and maybe a certificate.
    pub async fn connect(
        &self,
        address: SocketAddr,
        protocol: &str,
        identity: Option<Identity>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![identity.certificate.der().clone()], key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

fn request(version: Version) -> Request<Full<Bytes>> {
    let uri = if version == Version::HTTP_2 { format!("https://localhost{HALF}") } else { HALF.to_owned() };
    Request::post(uri).header("host", "localhost").version(version).body(Full::from(BODY)).unwrap()
}

/// Sends one request over HTTP/1.1, byte by byte what a client sends, on any kind of stream.
async fn exchange(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> std::io::Result<String> {
    let length = BODY.len();
    let text = format!("POST {HALF} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{BODY}");
    stream.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with('}') {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    Ok(answer)
}

async fn bridge(configure: impl FnOnce(&mut Config)) -> Bridge {
    Bridge::start_with(Models::builtin(), configure).await
}

#[tokio::test]
async fn both_protocols_are_spoken_over_tls() {
    let files = Files::new();
    let bridge = bridge(|config| config.server.tls = Some(files.tls(false))).await;

    let stream = files.connect(bridge.address, "http/1.1", None).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request(Version::HTTP_11)).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_11));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), REPLY);

    let stream = files.connect(bridge.address, "h2", None).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request(Version::HTTP_2)).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), REPLY);

    // Clear text is no handshake.
    let mut stream = TcpStream::connect(bridge.address).await.unwrap();
    assert!(exchange(&mut stream).await.is_err());
}

#[tokio::test]
async fn clients_show_a_certificate_where_one_is_asked_for() {
    let files = Files::new();
    let bridge = bridge(|config| config.server.tls = Some(files.tls(true))).await;
    let mut known =
        files.connect(bridge.address, "http/1.1", Some(files.authority.issue("client"))).await.unwrap();
    assert!(exchange(&mut known).await.unwrap().ends_with(REPLY));
    for identity in [None, Some(Authority::new().issue("client"))] {
        // With TLS 1.3 a client learns of it when it reads.
        let answer = match files.connect(bridge.address, "http/1.1", identity).await {
            Ok(mut stream) => exchange(&mut stream).await,
            Err(error) => Err(error),
        };
        assert!(answer.is_err());
    }
}

/// The certificate that new connections get.
async fn shown(files: &Files, address: SocketAddr) -> Vec<u8> {
    let stream = files.connect(address, "http/1.1", None).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_under_load_without_a_failure() {
    let files = Arc::new(Files::new());
    let bridge = bridge(|config| config.server.tls = Some(files.tls(false))).await;
    let address = bridge.address;
    // It has read its first certificate before there is another one.
    shown(&files, address).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..4 {
        let (files, stopped) = (Arc::clone(&files), stopped.clone());
        clients.spawn(async move {
            let mut requests = 0_usize;
            while !*stopped.borrow() {
                // Some connections are short, and some outlive the certificate that they began with.
                let mut stream = files.connect(address, "http/1.1", None).await.unwrap();
                for _ in 0..(if client == 0 { 1 } else { 500 }) {
                    assert!(exchange(&mut stream).await.unwrap().ends_with(REPLY));
                    requests += 1;
                }
            }
            requests
        });
    }
    for _ in 0..3 {
        let new = files.renew();
        let start = Instant::now();
        while shown(&files, address).await != new.certificate.der().to_vec() {
            assert!(start.elapsed() < Duration::from_secs(10), "the old certificate is still there");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // What is no certificate is refused, and the last one stays.
    let last = shown(&files, address).await;
    files.write("cert.pem", "nonsense");
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(shown(&files, address).await, last);
    stop.send(true).unwrap();
    let requests: usize = clients.join_all().await.into_iter().sum();
    assert!(requests > 100, "{requests}");
}

#[tokio::test]
async fn it_listens_on_several_addresses_and_a_socket() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("api.sock");
    // One that a process which died has left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let mut api = Vec::new();
    for listen in ["127.0.0.1:0", "[::1]:0", &format!("unix:{}", path.display())] {
        api.extend(Listener::bind(&listen.parse::<Listen>().unwrap()).unwrap());
    }
    let addresses: Vec<SocketAddr> =
        api[..2].iter().map(|listener| listener.address().parse().unwrap()).collect();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(tfbridge::run(
        Config::new(backend.backend()),
        Listeners { api, ..Listeners::default() },
        async {
            drop(stopped.await);
        },
    ));
    for address in addresses {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(exchange(&mut stream).await.unwrap().starts_with("HTTP/1.1 200 OK"), "{address}");
    }
    let mut stream = UnixStream::connect(&path).await.unwrap();
    assert!(exchange(&mut stream).await.unwrap().starts_with("HTTP/1.1 200 OK"));
    assert!(Listener::bind(&Listen::Unix(path.clone())).is_err(), "it is in use");
    drop(stop);
    served.await.unwrap().unwrap();
    assert!(!path.exists());
}

/// How a connection ends: what the server sends until then, and how long that takes.
async fn until_closed(mut stream: TcpStream) -> (String, Duration) {
    let start = Instant::now();
    let mut text = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut text)).await.expect("open");
    (String::from_utf8_lossy(&text).into_owned(), start.elapsed())
}

#[tokio::test]
async fn heads_are_limited_in_size_count_and_time() {
    let bridge = bridge(|config| {
        config.server.max_header_size = 16 << 10;
        config.server.max_headers = 20;
        config.server.header_timeout = Duration::from_millis(400);
    })
    .await;
    let head =
        |headers: &str| format!("POST {HALF} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: 20\r\n\r\n");
    let check = async |headers: &str, expected: u16| {
        let mut client = bridge.connect().await;
        client.send(head(headers).as_bytes()).await;
        client.send(BODY.as_bytes()).await;
        assert_eq!(client.receive(false).await.status, expected);
    };
    check(&format!("x: {}\r\n", "a".repeat(15 << 10)), 200).await;
    check(&format!("x: {}\r\n", "a".repeat(17 << 10)), 431).await;
    check(&"x: a\r\n".repeat(18), 200).await;
    check(&"x: a\r\n".repeat(19), 431).await;

    // A head that trickles in is not waited for, also behind a request.
    let mut stream = TcpStream::connect(bridge.address).await.unwrap();
    exchange(&mut stream).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let trickle = tokio::spawn(async move {
        while write.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let start = Instant::now();
    let _ = read.read_to_end(&mut Vec::new()).await;
    assert!((350..3_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    trickle.abort();
}

#[tokio::test]
async fn a_body_that_trickles_in_is_answered_with_408() {
    let bridge = bridge(|config| config.api.body_timeout = Duration::from_millis(300)).await;
    let mut stream = TcpStream::connect(bridge.address).await.unwrap();
    let head = format!("POST {HALF} HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let trickle = tokio::spawn(async move {
        while write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut answer = [0; 12];
    read.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    trickle.abort();
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let slow = Scripted::start(Script::Answer(Duration::from_millis(900))).await;
    let bridge = Bridge::in_front_of_all(vec![slow.backend()], |config| {
        config.server.idle_timeout = Duration::from_millis(300);
    })
    .await;
    let mut stream = TcpStream::connect(bridge.address).await.unwrap();
    let answer = exchange(&mut stream).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (text, time) = until_closed(stream).await;
    assert!(text.is_empty() && time < Duration::from_secs(5), "{text} {time:?}");
}

#[tokio::test]
async fn a_reply_that_nobody_takes_is_given_up() {
    let bridge = bridge(|config| {
        config.server.write_timeout = Duration::from_millis(300);
        config.server.idle_timeout = Duration::from_secs(600);
    })
    .await;
    // Small buffers, so that little of the reply leaves the process.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(bridge.address).await.unwrap();
    let values = vec!["1.25"; 3_000_000].join(",");
    let body = format!("{{\"instances\":[{values}]}}");
    let head = format!("POST {HALF} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    // The server lets go of it although the client neither reads nor hangs up.
    let start = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let probe = stream.write_all(b" ").await;
        if probe.is_err() {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "the reply is still owed");
    }
}

#[tokio::test]
async fn connections_are_limited_in_all_and_per_address() {
    let bridge = bridge(|config| {
        config.server.max_connections = 3;
        config.server.max_connections_per_address = 2;
    })
    .await;
    let connect = async |from: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        socket.connect(bridge.address).await.unwrap()
    };
    let mut kept = Vec::new();
    for from in ["127.0.0.1", "127.0.0.1", "127.0.0.2"] {
        let mut stream = connect(from).await;
        exchange(&mut stream).await.unwrap();
        kept.push(stream);
    }
    for from in ["127.0.0.1", "127.0.0.3"] {
        let (answer, _) = until_closed(connect(from).await).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        assert!(answer.contains(&format!("Content-Length: {}\r\n", body.len())), "{answer}");
        assert!(answer.contains("Retry-After: 1\r\n") && body.contains("\"error\""), "{answer}");
    }
    kept.clear();
    let start = Instant::now();
    while exchange(&mut connect("127.0.0.3").await).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(5), "no place was made");
    }
}

#[tokio::test]
async fn requests_in_flight_are_limited() {
    let slow = Scripted::start(Script::Answer(Duration::from_millis(500))).await;
    let bridge = Bridge::in_front_of_all(vec![slow.backend()], |config| {
        config.api.max_in_flight = 2;
        config.api.max_queue = 1;
        config.api.queue_timeout = Duration::from_secs(5);
    })
    .await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let mut client = bridge.connect().await;
        requests.spawn(async move { client.post("/v1/models/m:predict", BODY).await });
    }
    let responses = requests.join_all().await;
    let refused: Vec<_> = responses.iter().filter(|response| response.status == 503).collect();
    assert_eq!((responses.iter().filter(|response| response.status == 200).count(), refused.len()), (3, 3));
    assert!(refused.iter().all(|response| response.headers["retry-after"] == "1"));
    assert!(refused[0].error().contains("Too many requests"), "{}", refused[0].error());
}

/// A client takes no place of others while its body is on its way.
#[tokio::test]
async fn slow_bodies_are_not_in_flight() {
    let bridge = bridge(|config| {
        config.api.max_in_flight = 1;
        config.api.max_queue = 0;
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..10 {
        let mut client = bridge.connect().await;
        let head = format!("POST {HALF} HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n{{");
        client.send(head.as_bytes()).await;
        slow.push(client);
    }
    for _ in 0..10 {
        assert_eq!(bridge.connect().await.post(HALF, BODY).await.text(), REPLY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_limited_for_all_together() {
    let bridge = bridge(|config| config.api.max_memory = 64 << 20).await;
    let large = format!("{{\"instances\":[{}1]}}", "1,".repeat(20 << 20));
    let response = bridge.connect().await.post(HALF, &large).await;
    assert_eq!(response.status, 413, "{}", response.text());

    // A body that is on its way holds what it may take; the others do not wait for it.
    let mut slow = bridge.connect().await;
    let head = format!("POST {HALF} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{{", 15 << 20);
    slow.send(head.as_bytes()).await;
    slow.send(&vec![b' '; 4 << 20]).await;
    let large = format!("{{\"instances\":[{}1]}}", "1.0,".repeat(2 << 20));
    let start = Instant::now();
    loop {
        let response = bridge.connect().await.post(HALF, &large).await;
        if response.status == 503 {
            assert_eq!(response.headers["retry-after"], "1");
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{}", response.status);
    }
    assert_eq!(bridge.connect().await.post(HALF, BODY).await.text(), REPLY);
    drop(slow);
    while bridge.connect().await.post(HALF, &large).await.status != 200 {
        assert!(start.elapsed() < Duration::from_secs(30), "the memory does not come back");
    }
}

#[tokio::test]
async fn replies_are_limited() {
    let bridge = bridge(|config| config.api.max_response_size = 1000).await;
    let body = |count: usize| format!("{{\"instances\":[{}1]}}", "1.125,".repeat(count));
    let mut client = bridge.connect().await;
    assert_eq!(client.post(HALF, body(50)).await.status, 200);
    // The message has four bytes a number, and the text seven.
    for count in [200, 400] {
        let response = client.post(HALF, body(count)).await;
        assert_eq!(response.status, 500, "{}", response.text());
        assert!(response.error().contains("1000"), "{}", response.text());
    }
}

#[tokio::test]
async fn who_asks_before_sending_is_not_told_to_go_on_in_vain() {
    let bridge = bridge(|config| config.api.max_body_size = 1000).await;
    let head = |path: &str, length: usize| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
    };
    for (path, length, expected) in [(HALF, 2000, "HTTP/1.1 413"), ("/nowhere", 20, "HTTP/1.1 404")] {
        let mut stream = TcpStream::connect(bridge.address).await.unwrap();
        stream.write_all(head(path, length).as_bytes()).await.unwrap();
        let (answer, _) = until_closed(stream).await;
        assert!(answer.starts_with(expected), "{answer}");
    }
    let mut stream = TcpStream::connect(bridge.address).await.unwrap();
    stream.write_all(head(HALF, BODY.len()).as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(BODY.as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

/// A bridge with an admin port and a short delay, which ends when told to.
struct Instance {
    api: SocketAddr,
    admin: SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    served: tokio::task::JoinHandle<tfbridge::error::Result<()>>,
}

impl Instance {
    async fn start(backend: &Scripted, delay: Duration) -> Self {
        let (api, admin) = (
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let addresses = (api.local_addr().unwrap(), admin.local_addr().unwrap());
        let mut config = Config::new(backend.backend());
        config.server.drain_delay = delay;
        config.api.sagemaker = Some("m".parse().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let listeners =
            Listeners { api: vec![api.into()], admin: Some(admin.into()), ..Listeners::default() };
        let served = tokio::spawn(tfbridge::run(config, listeners, async { drop(stopped.await) }));
        Self { api: addresses.0, admin: addresses.1, stop, served }
    }
}

#[tokio::test]
async fn a_bridge_that_ends_says_so_first() {
    let backend = Scripted::start(Script::Answer(Duration::from_millis(100))).await;
    let Instance { api, admin, stop, served } = Instance::start(&backend, Duration::from_millis(400)).await;
    let mut operator = Client::connect(admin).await;
    assert_eq!(operator.get("/readyz").await.status, 200);
    let (mut used, idle) = (Client::connect(api).await, TcpStream::connect(api).await.unwrap());
    let path = "/v1/models/m:predict";
    assert!(!used.post(path, BODY).await.headers.contains_key("connection"));
    let stream = TcpStream::connect(api).await.unwrap();
    let (mut http2, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request =
        || Request::post(format!("http://localhost{path}")).body(Full::<Bytes>::from(BODY)).unwrap();
    assert_eq!(http2.send_request(request()).await.unwrap().status(), 200);

    drop(stop);
    let start = Instant::now();
    while operator.get("/readyz").await.status == 200 {
        assert!(start.elapsed() < Duration::from_secs(5), "it is still ready");
    }
    for path in ["/ping", "/v2/health/ready"] {
        let response = Client::connect(api).await.get(path).await;
        assert_eq!((response.status, &*response.error()), (503, "The bridge is about to end"), "{path}");
    }
    // It still serves, and says that the connection is not to be used again.
    let response = used.post(path, BODY).await;
    assert_eq!((response.status, response.headers["connection"].as_str()), (200, "close"));
    assert_eq!(Client::connect(api).await.post(path, BODY).await.status, 200);
    assert_eq!(http2.send_request(request()).await.unwrap().status(), 200);
    // At the end idle connections are closed, those of HTTP/2 by GOAWAY, which is no error.
    let (text, _) = until_closed(idle).await;
    assert_eq!(text, "");
    connection.await.unwrap().unwrap();
    served.await.unwrap().unwrap();
    assert!(TcpStream::connect(api).await.is_err());
    assert!(TcpStream::connect(admin).await.is_err());
}

/// A hundred bridges take over from each other, as in a rolling update: who sends requests goes by
/// what `/readyz` says and by `Connection: close`, and never sends a request again.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_drains_under_load_lose_no_request() {
    let _machine = crate::load::MACHINE.lock().await;
    let backend = Scripted::start(Script::Answer(Duration::from_millis(1))).await;
    let mut current = Instance::start(&backend, Duration::from_millis(60)).await;
    let (sender, receiver) = tokio::sync::watch::channel(Some(current.api));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let receiver = receiver.clone();
        clients.spawn(async move {
            let mut requests = 0_usize;
            loop {
                let Some(address) = *receiver.borrow() else { return requests };
                let mut client = Client::connect(address).await;
                // A connection lasts until the server closes it, or no new ones go there.
                while *receiver.borrow() == Some(address) {
                    let response = client.post("/v1/models/m:predict", BODY).await;
                    assert_eq!(response.status, 200, "{}", response.text());
                    requests += 1;
                    if response.headers.contains_key("connection") {
                        break;
                    }
                }
            }
        });
    }
    for _ in 0..100 {
        let next = Instance::start(&backend, Duration::from_millis(60)).await;
        let Instance { admin, stop, served, .. } = std::mem::replace(&mut current, next);
        let mut operator = Client::connect(admin).await;
        drop(stop);
        while operator.get("/readyz").await.status == 200 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sender.send(Some(current.api)).unwrap();
        drop(operator);
        served.await.unwrap().unwrap();
    }
    sender.send(None).unwrap();
    let requests: usize = clients.join_all().await.into_iter().sum();
    assert!(requests > 1_000, "{requests}");
}
