//! A pool of backends: balancing, backends that die, restart or are slow, and names whose addresses
//! change.

use std::io;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tfbridge::config::{Backend, Resolver};
use tonic_health::ServingStatus;

use crate::bridge::Bridge;
use crate::client::Response;
use crate::load;
use crate::port::Port;
use crate::scripted::{Script, Scripted};

const PATH: &str = "/v1/models/half_plus_two:predict";
const BODY: &str = r#"{"instances": [1.0, 2.0, 5.0]}"#;

fn is_right(response: &Response) {
    assert_eq!(response.text(), r#"{"predictions":[2.5,3.0,4.5]}"#);
}

/// The mock as a process, which can be killed.
struct Process {
    child: Child,
    port: Port,
}

impl Process {
    fn start() -> Self {
        let port = Port::new();
        Self { child: Self::listen(port.address), port }
    }

    fn listen(address: SocketAddr) -> Child {
        let child = Command::new(env!("CARGO_BIN_EXE_tfbridge"))
            .args(["mock", "--log", "error", "--listen", &address.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let limit = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(address).is_err() {
            assert!(Instant::now() < limit, "the mock does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        child
    }

    /// Starts it where it was before.
    fn start_again(&mut self) {
        self.child = Self::listen(self.port.address);
    }

    /// Ends it with SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn bridge(processes: &[Process]) -> Bridge {
    let backends = processes.iter().map(|process| Backend::at(process.port.address)).collect();
    Bridge::in_front_of_all(backends, |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backend_fails_no_request() {
    let _machine = load::MACHINE.lock().await;
    let mut processes = [(); 3].map(|()| Process::start());
    let bridge = bridge(&processes).await;
    let load = tokio::spawn(load::run(bridge.address, 32, Duration::from_secs(3), PATH, BODY, is_right));
    tokio::time::sleep(Duration::from_secs(1)).await;
    processes[1].kill();
    load.await.unwrap().assert_no_failures();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_request() {
    let _machine = load::MACHINE.lock().await;
    let mut processes = [(); 3].map(|()| Process::start());
    let bridge = bridge(&processes).await;
    let load = tokio::spawn(load::run(bridge.address, 32, Duration::from_secs(5), PATH, BODY, is_right));
    for process in &mut processes {
        tokio::time::sleep(Duration::from_millis(700)).await;
        process.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        process.start_again();
    }
    load.await.unwrap().assert_no_failures();
}

const SCRIPTED_PATH: &str = "/v1/models/m:predict";

async fn scripted(scripts: [Script; 3]) -> ([Scripted; 3], Bridge) {
    let [first, second, third] = scripts;
    let backends =
        [Scripted::start(first).await, Scripted::start(second).await, Scripted::start(third).await];
    let addresses = backends.iter().map(Scripted::backend).collect();
    let bridge = Bridge::in_front_of_all(addresses, |_| {}).await;
    (backends, bridge)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_backend_is_left_alone() {
    let _machine = load::MACHINE.lock().await;
    const HEALTHY: Duration = Duration::from_millis(20);
    let healthy = [(); 3].map(|()| Script::Answer(HEALTHY));
    let (backends, bridge) = scripted(healthy).await;
    let run = |time| load::run(bridge.address, 32, time, SCRIPTED_PATH, BODY, |_| {});
    let mut before = run(Duration::from_secs(2)).await;
    before.assert_no_failures();

    backends[0].set(Script::Answer(20 * HEALTHY));
    // The calls that find out about it are not what this is about.
    run(Duration::from_millis(600)).await.assert_no_failures();
    let mut after = run(Duration::from_secs(3)).await;
    after.assert_no_failures();
    let (before, after) = (before.p99(), after.p99());
    assert!(after.as_secs_f64() <= 1.5 * before.as_secs_f64(), "p99 {before:?} before, {after:?} after");
}

#[tokio::test]
async fn requests_of_one_connection_spread_over_all_backends() {
    let _machine = load::MACHINE.lock().await;
    let (backends, bridge) = scripted([(); 3].map(|()| Script::Answer(Duration::ZERO))).await;
    let mut client = bridge.connect().await;
    for _ in 0..50 {
        assert_eq!(client.post(SCRIPTED_PATH, BODY).await.status, 200);
    }
    let calls: Vec<_> = backends.iter().map(Scripted::calls).collect();
    assert_eq!(calls.iter().sum::<usize>(), 50);
    assert!(calls.iter().all(|&calls| calls >= 4), "{calls:?}");
}

#[tokio::test]
async fn another_backend_is_tried_while_one_is_unavailable() {
    let unavailable = Script::Fail(tonic::Code::Unavailable, "the queue is full");
    let answer = Script::Answer(Duration::ZERO);
    let (backends, bridge) = scripted([unavailable.clone(), answer.clone(), answer]).await;
    let mut client = bridge.connect().await;
    let mut attempts = 0;
    for _ in 0..60 {
        let response = client.post(SCRIPTED_PATH, BODY).await;
        assert_eq!(response.status, 200, "{}", response.text());
        attempts += response.headers["x-attempts"].parse::<usize>().unwrap();
    }
    assert!(attempts > 60);
    // After five refusals in a row it is ejected; probes find it answering, and it fails again.
    assert!((5..40).contains(&backends[0].calls()), "{}", backends[0].calls());

    // All of them refuse: the client gets the backend's own words, after three attempts.
    for backend in &backends {
        backend.set(unavailable.clone());
    }
    let response = client.post(SCRIPTED_PATH, BODY).await;
    assert_eq!((response.status, response.error().as_str()), (503, "the queue is full"));
    assert_eq!(response.headers["x-attempts"], "3");
    // One that answers again is found, whatever was ejected.
    for backend in &backends {
        backend.set(Script::Answer(Duration::ZERO));
    }
    assert_eq!(client.post(SCRIPTED_PATH, BODY).await.status, 200);
}

#[tokio::test]
async fn an_ejected_backend_comes_back_when_it_says_that_it_is_well() {
    const ALL: &str = "";
    let unavailable = Script::Fail(tonic::Code::Unavailable, "starting");
    let well = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let (ill, health) = Scripted::start_with_health(unavailable).await;
    health.set_service_status(ALL, ServingStatus::NotServing).await;
    let bridge = Bridge::in_front_of_all(vec![well.backend(), ill.backend()], |_| {}).await;
    let mut client = bridge.connect().await;
    let mut run = async |requests: usize| {
        for _ in 0..requests {
            assert_eq!(client.post(SCRIPTED_PATH, BODY).await.status, 200);
        }
    };
    run(40).await;
    // It would answer again, but does not say so.
    ill.set(Script::Answer(Duration::ZERO));
    let calls = ill.calls();
    assert_eq!(calls, 5);
    tokio::time::sleep(Duration::from_millis(400)).await;
    run(20).await;
    assert_eq!(ill.calls(), calls);

    health.set_service_status(ALL, ServingStatus::Serving).await;
    let limit = Instant::now() + Duration::from_secs(10);
    while ill.calls() == calls {
        assert!(Instant::now() < limit, "it stays ejected");
        run(5).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn retries_have_a_budget() {
    let (backends, _) = scripted([(); 3].map(|()| Script::Fail(tonic::Code::Unavailable, "no"))).await;
    let addresses = backends.iter().map(Scripted::backend).collect();
    let bridge = Bridge::in_front_of_all(addresses, |config| config.upstream.retry_budget = 0.1).await;
    let mut client = bridge.connect().await;
    for _ in 0..300 {
        assert_eq!(client.post(SCRIPTED_PATH, BODY).await.status, 503);
    }
    let calls: usize = backends.iter().map(Scripted::calls).sum();
    // 300 first attempts, 100 that were saved up, and a tenth for each call (look-ups count).
    assert!((400..450).contains(&calls), "{calls}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hedging_cuts_the_tail() {
    let _machine = load::MACHINE.lock().await;
    const SLOW: Duration = Duration::from_millis(400);
    let answer = Script::Answer(Duration::from_millis(5));
    let (backends, _) = scripted([answer.clone(), answer.clone(), answer]).await;
    let addresses = backends.iter().map(Scripted::backend).collect();
    let bridge =
        Bridge::in_front_of_all(addresses, |config| config.upstream.hedge_percentile = Some(90.0)).await;
    let mut client = bridge.connect().await;
    for _ in 0..100 {
        assert_eq!(client.post(SCRIPTED_PATH, BODY).await.status, 200);
    }
    backends[0].set(Script::Answer(SLOW));
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(client.post(SCRIPTED_PATH, BODY).await.status, 200);
        assert!(start.elapsed() < SLOW / 2, "{:?}", start.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_may_change_its_addresses_under_load() {
    let _machine = load::MACHINE.lock().await;
    let [mut old, kept, new] = {
        let answer = || Scripted::start(Script::Answer(Duration::from_millis(1)));
        [answer().await, answer().await, answer().await]
    };
    let addresses = Arc::new(Mutex::new(Err(io::ErrorKind::NotFound)));
    let resolver = Resolver::new({
        let addresses = Arc::clone(&addresses);
        move |name, port| {
            assert_eq!((name, port), ("serving.models", 8500));
            let found: Result<Vec<SocketAddr>, _> = addresses.lock().unwrap().clone();
            async move { found.map_err(io::Error::from) }
        }
    });
    let backend = "dns:///serving.models:8500".parse().unwrap();
    let bridge = Bridge::in_front_of_all(vec![backend], |config| {
        config.upstream.resolver = resolver;
        config.upstream.dns_interval = Duration::from_millis(20);
        config.upstream.connect_timeout = Duration::from_millis(200);
    })
    .await;
    let mut client = bridge.connect().await;
    assert_eq!(client.post(SCRIPTED_PATH, BODY).await.status, 503);

    *addresses.lock().unwrap() = Ok(vec![old.address, kept.address]);
    let load =
        tokio::spawn(load::run(bridge.address, 16, Duration::from_secs(2), SCRIPTED_PATH, BODY, |_| {}));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(old.calls() > 0 && kept.calls() > 0 && new.calls() == 0);
    *addresses.lock().unwrap() = Ok(vec![kept.address, new.address]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    // What has gone gets no calls, and its connections are closed: it can end.
    let calls = old.calls();
    old.stop();
    let ended = tokio::time::timeout(Duration::from_secs(1), old.ended.take().unwrap()).await;
    assert!(ended.is_ok(), "the old backend still has connections");
    assert_eq!(old.calls(), calls);
    // While the name cannot be looked up, all goes on.
    *addresses.lock().unwrap() = Err(io::ErrorKind::TimedOut);
    load.await.unwrap().assert_no_failures();
    assert!(new.calls() > 0);
}
