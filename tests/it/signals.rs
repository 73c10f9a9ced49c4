//! The program and the signals that it gets: SIGHUP to read its files again, SIGTERM to end.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::port::Port;
use crate::scripted::{Script, Scripted};

const PATH: &str = "/v1/models/m:predict";

/// The program while it runs; it ends with this.
pub struct Program {
    child: Child,
    pub api: SocketAddr,
    _port: Port,
}

impl Program {
    pub async fn start(config: &Path, backend: &Scripted) -> Self {
        let port = Port::new();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tfbridge"))
            .args(["serve", "--admin-listen", "off", "--listen", &port.address.to_string()])
            .args(["--backend", &backend.address.to_string(), "--config"])
            .arg(config)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        while !lines.next_line().await.unwrap().expect("it has ended").contains("serving") {}
        // Nobody reads the rest, but somebody has to take it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, api: port.address, _port: port }
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_read_again_and_a_bad_one_refused() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("tfbridge.toml");
    fs::write(&config, "max-body-size = 1000").unwrap();
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let program = Program::start(&config, &backend).await;
    // One connection sees all of it: none is closed by a new configuration.
    let mut client = Client::connect(program.api).await;
    let large = format!("{{\"instances\": [1.0{}]}}", " ".repeat(2000));
    assert_eq!(client.post(PATH, &large).await.status, 413);

    fs::write(&config, "max-body-size = 100000").unwrap();
    program.signal(Signal::HUP);
    let start = Instant::now();
    while client.post(PATH, &large).await.status != 200 {
        assert!(start.elapsed() < Duration::from_secs(10), "the new limit does not hold");
    }
    for bad in ["max-body-size = \"much\"", "max-body-sze = 10", "max-body-size ="] {
        fs::write(&config, bad).unwrap();
        program.signal(Signal::HUP);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(client.post(PATH, &large).await.status, 200, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_runs_is_answered_before_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("tfbridge.toml");
    fs::write(&config, "").unwrap();
    let backend = Scripted::start(Script::Answer(Duration::from_millis(300))).await;
    let mut program = Program::start(&config, &backend).await;
    let (mut first, mut second) = (Client::connect(program.api).await, Client::connect(program.api).await);
    assert_eq!(first.post(PATH, r#"{"instances": [1.0]}"#).await.status, 200);
    let calls = backend.calls();
    let request = tokio::spawn(async move { second.post(PATH, r#"{"instances": [1.0]}"#).await });
    while backend.calls() == calls {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    program.signal(Signal::TERM);
    let response = request.await.unwrap();
    assert_eq!((response.status, response.headers["connection"].as_str()), (200, "close"));
    let status = tokio::time::timeout(Duration::from_secs(10), program.child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}
