//! A cluster in miniature: three backends, two bridges that are processes, a load balancer that asks them
//! whether they are ready, and clients with kept-alive connections. It is taken through a day of
//! operations, in which no request may fail.
//!
//! `cargo test --test it cluster -- --nocapture` prints the numbers.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::Client;
use crate::load;
use crate::scripted::{Script, Scripted};

const PATH: &str = "/v1/models/m:predict";
const BODY: &str = r#"{"instances": [1.0, 2.0, 5.0]}"#;
const CLIENTS: usize = 16;
/// After so many requests a client connects anew, as those do that bound the age of connections.
const REQUESTS_PER_CONNECTION: usize = 100;
/// How often the load balancer asks. The delay before the end of a bridge is many times as long.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
const DRAIN_DELAY: &str = "1500ms";
const USUAL: Duration = Duration::from_millis(5);

fn answers(time: Duration) -> Script {
    Script::Answer(time)
}

/// An address of this run of the test. All of 127.0.0.0/8 is this machine, so that each server has an
/// address of its own with the usual port, as pods have.
fn address(network: u8, host: u8, port: u16) -> SocketAddr {
    (Ipv4Addr::new(127, 100 + network % 100, network, host), port).into()
}

/// A backend with threads of its own, so that all of it can be ended at once like a process.
struct Server {
    address: SocketAddr,
    running: Option<(Runtime, Scripted)>,
    /// The calls of those that were there before.
    earlier: usize,
}

impl Server {
    async fn start(address: SocketAddr) -> Self {
        let mut server = Self { address, running: None, earlier: 0 };
        server.start_again().await;
        server
    }

    async fn start_again(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let scripted = runtime.spawn(Scripted::start_at(self.address, answers(USUAL))).await.unwrap();
        self.running = Some((runtime, scripted));
    }

    /// Ends it in the middle of what it does: its sockets are closed.
    fn kill(&mut self) {
        self.earlier = self.calls();
        if let Some((runtime, _)) = self.running.take() {
            runtime.shutdown_background();
        }
    }

    fn calls(&self) -> usize {
        self.earlier + self.running.as_ref().map_or(0, |(_, scripted)| scripted.calls())
    }

    fn set(&self, script: Script) {
        self.running.as_ref().unwrap().1.set(script);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What all share.
struct Cluster {
    apis: [SocketAddr; 2],
    admins: [SocketAddr; 2],
    /// What the load balancer thinks of the bridges.
    ready: [AtomicBool; 2],
    /// How many clients are connected to each, and how many requests each has answered.
    clients: [AtomicUsize; 2],
    requests: [AtomicUsize; 2],
    latencies: Mutex<Vec<Duration>>,
    is_over: AtomicBool,
}

impl Cluster {
    /// A bridge as the orchestrator starts it.
    async fn start_bridge(&self, index: usize, servers: &[Server; 3]) -> Child {
        let backends = servers.each_ref().map(|server| server.address.to_string()).join(",");
        let (api, admin) = (self.apis[index].to_string(), self.admins[index].to_string());
        let child = Command::new(env!("CARGO_BIN_EXE_tfbridge"))
            .args(["serve", "--backend", &backends, "--drain-delay", DRAIN_DELAY])
            .args(["--listen", &api, "--admin-listen", &admin])
            .args(["--log", "error"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.until("the bridge is ready", async || self.readiness(index).await.starts_with("200")).await;
        child
    }

    /// What a bridge says about itself: the status and the rest; empty if it does not answer.
    async fn readiness(&self, index: usize) -> String {
        let ask = async {
            let mut stream = TcpStream::connect(self.admins[index]).await?;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer = ask.await.unwrap_or_default();
        answer.strip_prefix("HTTP/1.1 ").unwrap_or_default().to_owned()
    }

    /// Sends new connections to the bridges that are ready.
    async fn balance(self: Arc<Self>) {
        while !self.is_over.load(Ordering::Relaxed) {
            for index in 0..2 {
                let is_ready = self.readiness(index).await.starts_with("200");
                self.ready[index].store(is_ready, Ordering::Relaxed);
            }
            sleep(PROBE_INTERVAL).await;
        }
    }

    /// One request after the other; fails with the first one that does.
    async fn request(self: Arc<Self>) {
        while !self.is_over.load(Ordering::Relaxed) {
            let ready: Vec<usize> =
                (0..2).filter(|&index| self.ready[index].load(Ordering::Relaxed)).collect();
            assert!(!ready.is_empty(), "no bridge is ready");
            let index = ready[fastrand::usize(..ready.len())];
            let mut client = Client::connect(self.apis[index]).await;
            self.clients[index].fetch_add(1, Ordering::Relaxed);
            for _ in 0..REQUESTS_PER_CONNECTION {
                let start = Instant::now();
                let response = client.post(PATH, BODY).await;
                assert_eq!(response.status, 200, "bridge {index}: {}", response.text());
                self.latencies.lock().unwrap().push(start.elapsed());
                self.requests[index].fetch_add(1, Ordering::Relaxed);
                let closes = response.headers.get("connection").is_some_and(|value| value == "close");
                if closes || self.is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
            self.clients[index].fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits until something holds, for a bounded time.
    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
        let start = Instant::now();
        while !holds().await {
            assert!(start.elapsed() < Duration::from_secs(10), "waited in vain until {what}");
            sleep(Duration::from_millis(10)).await;
        }
        start.elapsed()
    }

    /// What happens within a time: the calls of each backend and the requests of each bridge, printed.
    async fn observe(&self, what: &str, time: Duration, servers: &[Server; 3]) -> [usize; 3] {
        self.latencies.lock().unwrap().clear();
        let calls = servers.each_ref().map(Server::calls);
        let requests = self.requests();
        sleep(time).await;
        let mut latencies = std::mem::take(&mut *self.latencies.lock().unwrap());
        latencies.sort_unstable();
        assert!(latencies.len() > 100, "{what}: {} requests", latencies.len());
        let calls = [0, 1, 2].map(|index| servers[index].calls() - calls[index]);
        let requests = [0, 1].map(|index| self.requests()[index] - requests[index]);
        let (p50, p99) = (latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100]);
        println!(
            "{what}: {calls:?} calls of backends, {requests:?} requests of bridges, p50 {p50:?}, p99 {p99:?}"
        );
        calls
    }

    fn requests(&self) -> [usize; 2] {
        self.requests.each_ref().map(|requests| requests.load(Ordering::Relaxed))
    }

    /// Restarts a bridge as an orchestrator does: it ends the old one when it has drained, then starts
    /// the new one.
    async fn restart(&self, index: usize, bridge: &mut Child, servers: &[Server; 3]) {
        let served = self.requests()[index];
        let id = i32::try_from(bridge.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        let noticed = self
            .until("it is not ready", async || {
                let answer = self.readiness(index).await;
                answer.starts_with("503") && answer.contains("The bridge is about to end")
            })
            .await;
        let moved = self
            .until("its connections have moved", async || {
                // Those that were about to connect may come and go meanwhile.
                !self.ready[index].load(Ordering::Relaxed) && self.clients[index].load(Ordering::Relaxed) == 0
            })
            .await;
        assert!(bridge.try_wait().unwrap().is_none(), "it has ended before its connections have moved");
        assert!(self.requests()[index] > served, "it has dropped what was under way");
        let start = Instant::now();
        let status = tokio::time::timeout(Duration::from_secs(10), bridge.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0));
        println!(
            "bridge {index} is told to end: not ready after {noticed:?}, without connections {moved:?} later, \
             at its end {:?} later",
            start.elapsed()
        );
        *bridge = self.start_bridge(index, servers).await;
        self.until("it has clients again", async || self.clients[index].load(Ordering::Relaxed) > 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_through_a_day_without_a_failed_request() {
    let _machine = load::MACHINE.lock().await;
    let network = fastrand::u8(..);
    let [first, second, third] = [1, 2, 3].map(|host| Server::start(address(network, host, 8500)));
    let mut servers = [first.await, second.await, third.await];
    let cluster = Arc::new(Cluster {
        apis: [11, 12].map(|host| address(network, host, 8501)),
        admins: [11, 12].map(|host| address(network, host, 8502)),
        ready: Default::default(),
        clients: Default::default(),
        requests: Default::default(),
        latencies: Mutex::default(),
        is_over: AtomicBool::new(false),
    });
    let mut bridges = [cluster.start_bridge(0, &servers).await, cluster.start_bridge(1, &servers).await];
    let balancer = tokio::spawn(Arc::clone(&cluster).balance());
    cluster
        .until("both are ready", async || cluster.ready.iter().all(|ready| ready.load(Ordering::Relaxed)))
        .await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(Arc::clone(&cluster).request());
    }
    let day = async {
        // The first calls measure what a call takes, and a backend that happened to be slow then has few of
        // them for a second.
        sleep(Duration::from_secs(2)).await;
        let calls = cluster.observe("all is well", Duration::from_secs(4), &servers).await;
        let mean = calls.iter().sum::<usize>() as f64 / 3.0;
        for share in calls.map(|calls| calls as f64 / mean) {
            assert!((0.85..1.15).contains(&share), "{calls:?}");
        }

        servers[0].set(answers(10 * USUAL));
        sleep(Duration::from_millis(500)).await;
        let calls = cluster.observe("the first backend is slow", Duration::from_secs(2), &servers).await;
        assert!(calls[0] * 3 < calls[1].min(calls[2]), "{calls:?}");
        servers[0].set(answers(USUAL));

        servers[1].kill();
        let calls = cluster.observe("the second backend is killed", Duration::from_secs(2), &servers).await;
        assert_eq!(calls[1], 0);
        servers[1].start_again().await;
        let back = servers[1].calls();
        let wait = cluster.until("it has calls again", async || servers[1].calls() > back + 100).await;
        println!("the second backend is back: 100 calls after {wait:?}");

        for (index, bridge) in bridges.iter_mut().enumerate() {
            cluster.restart(index, bridge, &servers).await;
        }
        cluster.observe("both bridges are new", Duration::from_secs(2), &servers).await;
        cluster.is_over.store(true, Ordering::Relaxed);
    };
    let failed = async {
        while let Some(result) = clients.join_next().await {
            // With the message of the client that failed.
            result.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(day, failed) }).await.unwrap();
    balancer.await.unwrap();
    let requests = cluster.requests();
    println!("{} requests, none failed", requests.iter().sum::<usize>());
    assert!(requests.iter().all(|&requests| requests > 500), "{requests:?}");
}
