//! The program under attack: a mock and a bridge in front of it, as processes of their own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, TempDir};

use crate::certificates::Authority;
use crate::honest::Transport;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tfbridge");

/// What the bridge is told, where it knows the flag: small times, so that slow attacks end soon,
/// and small sizes, so that a bound of memory is reached.
const FLAGS: &[(&str, &str)] = &[
    ("--log", "error"),
    ("--admin-listen", "off"),
    ("--header-timeout", "2s"),
    ("--idle-timeout", "3s"),
    ("--body-timeout", "2s"),
    ("--write-timeout", "2s"),
    ("--timeout", "10s"),
    ("--drain-timeout", "1s"),
    ("--max-body-size", "32MiB"),
    ("--max-response-size", "64MiB"),
    ("--max-memory", "256MiB"),
    // As many as attack at once, and the honest ones.
    ("--max-connections", "11000"),
];

/// A process that ends with this.
struct Process {
    child: Child,
    errors: NamedTempFile,
}

impl Process {
    fn start(arguments: &[String]) -> Self {
        let errors = NamedTempFile::new().unwrap();
        let child = Command::new(PROGRAM)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors.reopen().unwrap())
            .spawn()
            .unwrap();
        Self { child, errors }
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn errors(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.errors.path()).unwrap()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A model server for bridges to stand in front of.
pub struct Mock {
    process: Process,
    address: SocketAddr,
}

impl Mock {
    pub fn start() -> Self {
        let address = free_address();
        let arguments = ["mock", "--listen", &address.to_string(), "--log", "error"].map(str::to_owned);
        let mut process = Process::start(&arguments);
        wait("the mock", &mut process, || std::net::TcpStream::connect(address).is_ok());
        Self { process, address }
    }

    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }
}

/// A bridge, and how its honest clients reach it.
pub struct Bridge {
    process: Process,
    pub transport: Transport,
    flags: Vec<String>,
    _files: TempDir,
}

impl Bridge {
    /// A bridge that speaks clear text.
    pub fn plain(mock: &Mock) -> Self {
        let address = free_address();
        Self::start(mock, Transport::plain(address), &[], TempDir::new().unwrap())
    }

    /// A bridge that speaks TLS; `None` if this build cannot.
    pub fn tls(mock: &Mock) -> Option<Self> {
        if !known_flags().iter().any(|flag| flag == "--tls-cert") {
            return None;
        }
        let address = free_address();
        let authority = Authority::new();
        let identity = authority.issue("localhost");
        let files = TempDir::new().unwrap();
        let file = |name: &str, text: String| {
            let path = files.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let arguments = [
            "--tls-cert".to_owned(),
            file("cert.pem", identity.certificate.pem()),
            "--tls-key".to_owned(),
            file("key.pem", identity.key.serialize_pem()),
        ];
        Some(Self::start(mock, Transport::tls(address, &authority.der()), &arguments, files))
    }

    fn start(mock: &Mock, transport: Transport, more: &[String], files: TempDir) -> Self {
        let flags = known_flags();
        let mut arguments = vec![
            "serve".to_owned(),
            "--backend".to_owned(),
            format!("http://{}", mock.address),
            "--listen".to_owned(),
            transport.address().to_string(),
        ];
        for (flag, value) in FLAGS.iter().filter(|(flag, _)| flags.iter().any(|known| known == flag)) {
            arguments.extend([(*flag).to_owned(), (*value).to_owned()]);
        }
        arguments.extend_from_slice(more);
        let mut process = Process::start(&arguments);
        wait("the bridge", &mut process, || {
            transport.connect().and_then(|mut connection| connection.predict(false)).is_ok()
        });
        Self { process, transport, flags, _files: files }
    }

    pub fn address(&self) -> SocketAddr {
        self.transport.address()
    }

    /// Whether this build has all these flags.
    pub fn knows(&self, flags: &[&str]) -> bool {
        flags.iter().all(|flag| self.flags.iter().any(|known| known == flag))
    }

    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// What it wrote to its standard error: panics, among other things.
    pub fn errors(&self) -> String {
        self.process.errors()
    }

    /// Its memory in MiB: now, and the most since the peak was last forgotten.
    pub fn memory(&self) -> (usize, usize) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Forgets the peak of its memory, so that the next attack has one of its own.
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.process.child.id()), "5").unwrap();
    }
}

/// The flags that this build has.
fn known_flags() -> Vec<String> {
    let output = Command::new(PROGRAM).args(["serve", "--help"]).env_clear().output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let first = |line: &str| {
        let word = line.split_whitespace().find(|word| word.starts_with("--"))?;
        Some(word.to_owned())
    };
    help.lines().filter(|line| line.trim_start().starts_with('-')).filter_map(first).collect()
}

/// An address that nobody listens on, below the ports that clients get.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 12_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn wait(what: &str, process: &mut Process, mut is_ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_ready() {
        assert!(process.is_running(), "{what} has ended: {}", process.errors());
        assert!(start.elapsed() < Duration::from_secs(20), "{what} is not ready: {}", process.errors());
        std::thread::sleep(Duration::from_millis(20));
    }
}
