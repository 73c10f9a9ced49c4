//! The program as a process of its own, with its log.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;

use crate::port::Port;
use crate::scripted::Scripted;

/// The program while it runs.
pub struct Program {
    child: Child,
    pub api: SocketAddr,
    /// Where its log goes.
    log: tempfile::NamedTempFile,
    /// What keeps its port for it, unless it has chosen one.
    _port: Option<Port>,
}

impl Program {
    /// The demo, with these flags.
    pub fn demo(arguments: &[&str]) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tfbridge"))
            .args(["demo", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
        let address = greeting.split_once("http://").unwrap().1.split_once(". In").unwrap().0;
        Self { child, api: address.parse().unwrap(), log, _port: None }
    }

    /// The bridge in front of a backend, with these flags.
    pub async fn serve(backend: &Scripted, arguments: &[&str]) -> Self {
        Self::serve_with(backend, arguments, &[]).await
    }

    /// The same with these variables.
    pub async fn serve_with(backend: &Scripted, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let port = Port::new();
        let api = port.address;
        let log = tempfile::NamedTempFile::new().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tfbridge"))
            .args(["serve", "--admin-listen", "off", "--listen", &api.to_string()])
            .args(["--backend", &backend.address.to_string()])
            .args(arguments)
            .envs(variables.iter().copied())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while TcpStream::connect(api).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not serve");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { child, api, log, _port: Some(port) }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap(), signal).unwrap();
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        let mut text = String::new();
        self.log.reopen().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Has it end, and gives its whole log.
    pub fn end(&mut self) -> String {
        self.signal(Signal::TERM);
        assert!(self.child.wait().unwrap().success());
        self.log()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended cannot be ended again.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is documented to be emitted, of one kind.
pub fn documented(kind: &str) -> BTreeSet<String> {
    let text = fs::read_to_string("deploy/OBSERVABILITY.md").unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix(&format!("| {kind} | `")));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}
