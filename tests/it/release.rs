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
    let listeners = Listeners { api: vec![api.into()], admin: Some(admin), ..Listeners::default() };
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
    let server = Scripted::start(Script::Answer(std::time::Duration::ZERO)).await;
    let backend = server.address.to_string();
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
    // A label of 64 letters is no name, which every resolver knows without asking another that may be slow.
    let nowhere = format!("dns:///{}.invalid:1", "a".repeat(64));
    let _bridge = serve(admin.into(), &nowhere).await;
    let (code, reason) = healthcheck(&["--address", &address]).await;
    let expected =
        "error: /readyz: 503 Service Unavailable: The backend cannot be reached: its name has no addresses";
    assert_eq!((code, reason.trim_end()), (1, expected));
    assert_eq!(healthcheck(&["--address", &address, "--path", "/livez"]).await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_fails_with_the_reason() {
    // Nobody accepts what comes in, so that there is no answer.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let check = async |arguments: &[&str], code: i32, reason: &str| {
        let (actual, message) = healthcheck(arguments).await;
        assert_eq!(actual, code, "{arguments:?}: {message}");
        assert!(message.contains(reason), "{arguments:?}: {message}");
    };
    check(&["--address", &address, "--timeout", "100ms"], 1, "No answer within 100ms").await;
    // Nobody listens at an address that no other test takes.
    check(&["--address", "127.1.1.1:1"], 1, "Cannot reach 127.1.1.1:1: Connection refused").await;
    check(&["--address", "unix:/nowhere/admin"], 1, "Cannot reach unix:/nowhere/admin: No such file").await;
    check(&["--address", "off"], 1, "--admin-listen is off").await;
    check(&["--address", "somewhere"], 64, "an address such as 127.0.0.1:8502 is expected").await;
    check(&["--path", "readyz"], 64, "a path such as /readyz is expected").await;
    check(&["--timeout", "0s"], 64, "a time above zero is expected").await;
}

/// What a program says that is not everywhere: `None` without it.
fn tool(name: &str, arguments: &[&str]) -> Option<Output> {
    let output = Command::new(name).args(arguments).env("MANWIDTH", "100").env("LC_ALL", "C.UTF-8").output();
    output.ok()
}

#[test]
fn shells_complete_commands_and_flags() {
    let directory = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = tfbridge(&["completions", shell]);
        assert!(output.status.success(), "{shell}: {output:?}");
        let script = text(&output.stdout);
        for word in ["healthcheck", "check-config", "max-body-size"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        let path = directory.path().join(shell);
        std::fs::write(&path, script).unwrap();
        if let "bash" | "fish" | "zsh" = shell
            && let Some(output) = tool(shell, &["-n", path.to_str().unwrap()])
        {
            assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
        }
    }
    // What bash does when somebody presses the tab key.
    let complete = |words: &str| {
        let script = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _tfbridge tfbridge \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[*]}}\"",
            directory.path().join("bash").display()
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(complete("tfbridge heal"), "healthcheck");
    assert_eq!(complete("tfbridge serve --max-body"), "--max-body-size");
    assert_eq!(complete("tfbridge serve --nan str"), "string");
    assert_eq!(tfbridge(&["completions", "tcl"]).status.code(), Some(64));
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("share/man1");
    let output = tfbridge(&["man", pages.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let help = tfbridge(&["--help"]);
    let commands = text(&help.stdout).split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands = commands.lines().filter_map(|line| line.split_whitespace().next());
    let commands: Vec<_> = commands.filter(|command| *command != "help").collect();
    assert!(commands.len() > 5, "{commands:?}");
    assert_eq!(std::fs::read_dir(&pages).unwrap().count(), commands.len() + 1);
    let names = commands.iter().map(|command| format!("tfbridge-{command}")).chain(["tfbridge".to_owned()]);
    for name in names {
        let path = pages.join(format!("{name}.1"));
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        for part in [&format!(".TH {name} 1"), ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS"] {
            assert!(page.contains(part), "{name} has no {part}");
        }
        if let Some(output) = tool("man", &["--warnings", "-l", path.to_str().unwrap()]) {
            // A long word leaves a line short, which is nobody's mistake.
            let mut warnings =
                text(&output.stderr).lines().filter(|line| !line.contains("cannot adjust line"));
            assert!(output.status.success() && warnings.next().is_none(), "{name}: {output:?}");
            assert!(text(&output.stdout).contains("SYNOPSIS"), "{name}: {output:?}");
        }
    }
    let serve = std::fs::read_to_string(pages.join("tfbridge-serve.1")).unwrap();
    assert!(serve.contains("TFBRIDGE_MAX_BODY_SIZE") && serve.contains("256MiB"), "{serve}");
    let page = tfbridge(&["man"]);
    assert_eq!(page.stdout, std::fs::read(pages.join("tfbridge.1")).unwrap());
}

#[test]
fn a_manual_that_cannot_be_written_is_told() {
    let output = tfbridge(&["man", "/proc/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: Cannot write /proc/nowhere"), "{output:?}");
}

#[test]
fn the_newest_changes_are_those_of_this_version() {
    let changes = std::fs::read_to_string("deploy/CHANGELOG.md").unwrap();
    let versions: Vec<_> = changes.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let (version, date) = versions[0].split_once(" - ").expect("VERSION - DATE");
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let is_date = date.len() == 10 && date.split('-').all(|part| part.parse::<u16>().is_ok());
    assert!(is_date || date == "unreleased", "{date}");
    // Only the newest one may be without a date.
    assert!(versions[1..].iter().all(|version| !version.ends_with("unreleased")), "{versions:?}");
}
