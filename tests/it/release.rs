//! What makes a release: the version, and the commands that those ask who install and run it.

use std::process::{Command, Output};

use tfbridge::Listeners;
use tfbridge::config::{Config, Listen};
use tfbridge::server::Listener;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::scripted::{Script, Scripted};

/// What the program does with these arguments, and without variables that would have a say.
fn tfbridge(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tfbridge"))
        .args(arguments)
        .env_remove("TFBRIDGE_ADMIN_LISTEN")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_version_names_the_commit() {
    let output = tfbridge(&["--version"]);
    let version = text(&output.stdout).trim_end();
    let rest = version.strip_prefix(concat!("tfbridge ", env!("CARGO_PKG_VERSION"))).expect(version);
    assert!(text(&tfbridge(&["serve", "--version"]).stdout).trim_end().ends_with(rest), "{rest}");
    let git = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let head = git.ok().filter(|output| output.status.success());
    match (std::env::var_os("TFBRIDGE_COMMIT"), head) {
        // Some other name was given to the build.
        (Some(_), _) => {}
        (None, Some(head)) => {
            let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')')).expect(version);
            let commit = commit.trim_end_matches("-dirty");
            assert!(commit.len() >= 7 && text(&head.stdout).starts_with(commit), "{version}");
        }
        (None, None) => assert_eq!(rest, ""),
    }
}

/// A bridge with this admin port, which runs until the answer is dropped.
async fn serve(admin: Listener, backend: &str) -> oneshot::Sender<()> {
    let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config::new(backend.parse().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let listeners = Listeners { api: vec![api.into()], admin: Some(admin) };
    tokio::spawn(async move {
        tfbridge::run(config, listeners, async { drop(stopped.await) }).await.unwrap();
    });
    stop
}

/// The exit code of a health check, and what it says.
async fn healthcheck(arguments: &[&str]) -> (i32, String) {
    let arguments: Vec<_> = ["healthcheck"].iter().chain(arguments).map(ToString::to_string).collect();
    let check = move || tfbridge(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let output = tokio::task::spawn_blocking(check).await.unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().unwrap(), text(&output.stderr).to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_says_how_the_bridge_is() {
    let directory = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", directory.path().join("admin").display());
    let listen: Listen = socket.parse().unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let backend = Scripted::start(Script::Answer(std::time::Duration::ZERO)).await.address.to_string();
    let unix = Listener::bind(&listen).unwrap().pop().unwrap();
    let _bridges = [serve(unix, &backend).await, serve(tcp.into(), &backend).await];
    for address in [&address, &socket] {
        assert_eq!(healthcheck(&["--address", address]).await, (0, String::new()), "{address}");
        assert_eq!(healthcheck(&["--address", address, "--path", "/livez"]).await.0, 0, "{address}");
        let (code, reason) = healthcheck(&["--address", address, "--path", "/nothing"]).await;
        assert_eq!(
            (code, reason.trim_end()),
            (1, "error: /nothing: 404 Not Found: There is nothing at /nothing")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_passes_on_why_a_bridge_is_not_ready() {
    let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = admin.local_addr().unwrap().to_string();
    let _bridge = serve(admin.into(), "dns:///nowhere.invalid:1").await;
    let (code, reason) = healthcheck(&["--address", &address]).await;
    assert_eq!(
        (code, reason.trim_end()),
        (1, "error: /readyz: 503 Service Unavailable: No backend is known")
    );
    assert_eq!(healthcheck(&["--address", &address, "--path", "/livez"]).await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_fails_with_the_reason() {
    // Nobody accepts what comes in, so that there is no answer, and nobody listens once it has gone.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let check = async |arguments: &[&str], code: i32, reason: &str| {
        let (actual, message) = healthcheck(arguments).await;
        assert_eq!(actual, code, "{arguments:?}: {message}");
        assert!(message.contains(reason), "{arguments:?}: {message}");
    };
    check(&["--address", &address, "--timeout", "100ms"], 1, "No answer within 100ms").await;
    drop(silent);
    check(&["--address", &address], 1, &format!("Cannot reach {address}: Connection refused")).await;
    check(&["--address", "unix:/nowhere/admin"], 1, "Cannot reach unix:/nowhere/admin: No such file").await;
    check(&["--address", "off"], 1, "--admin-listen is off").await;
    check(&["--address", "somewhere"], 64, "an address such as 127.0.0.1:8502 is expected").await;
    check(&["--path", "readyz"], 64, "a path such as /readyz is expected").await;
    check(&["--timeout", "0s"], 64, "a time above zero is expected").await;
}
