//! `tfbridge doctor`: what it finds of servers that are well, and what it says of those that are not.

use std::time::Duration;

use serde_json::Value;
use tempfile::NamedTempFile;
use tfbridge::config::ListedModel;
use tfbridge::mock::Models;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::auth;
use crate::backend::{Server, Transport, replace};
use crate::bridge::{Bridge, models};
use crate::certificates::Authority;
use crate::port::Port;
use crate::scripted::{Script, Scripted};

/// No step waits longer for what never comes, and all steps together are done by then.
const LIMIT: &str = "2s";
const END: Duration = Duration::from_secs(30);

/// What the doctor prints, and the code that it ends with.
async fn examine(words: &[&str]) -> (Option<i32>, String) {
    let child = Command::new(env!("CARGO_BIN_EXE_tfbridge"))
        .arg("doctor")
        .args(words)
        .env_remove("TFBRIDGE_SERVER")
        .env_remove("TFBRIDGE_TOKEN")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(END, child).await.expect("it does not end").unwrap();
    assert!(!output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// The code that another command ends with, and what it prints and complains of.
async fn run(words: &[&str]) -> (Option<i32>, String, String) {
    let child = Command::new(env!("CARGO_BIN_EXE_tfbridge"))
        .args(words)
        .env_remove("TFBRIDGE_SERVER")
        .env_remove("TFBRIDGE_TOKEN")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(END, child).await.expect("it does not end").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The same as JSON.
async fn report(words: &[&str]) -> (Option<i32>, Value) {
    let words = [words, &["--output", "json", "--timeout", LIMIT]].concat();
    let (code, text) = examine(&words).await;
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["ok"] == true, code == Some(0), "{report:#}");
    (code, report)
}

/// The names of the steps with what came of them.
fn steps(report: &Value) -> Vec<String> {
    let steps = report["steps"].as_array().unwrap().iter();
    steps.map(|step| format!("{}: {}", step["name"], step["status"]).replace('"', "")).collect()
}

fn step<'a>(report: &'a Value, name: &str) -> &'a Value {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no {name}: {report:#}"))
}

/// The only step that fails has this name and says this: what was found, why, and what to try.
async fn check_fails(words: &[&str], name: &str, says: &[&str]) {
    let (code, report) = report(words).await;
    assert_eq!(code, Some(1), "{words:?}");
    let failed: Vec<_> = steps(&report).into_iter().filter(|step| step.ends_with("failed")).collect();
    assert_eq!(failed, [format!("{name}: failed")], "{report:#}");
    let step = step(&report, name);
    let told = ["detail", "cause", "advice"].map(|part| step[part].as_str().unwrap()).join("\n");
    for part in says {
        assert!(told.contains(part), "{words:?}: {part:?} is not in\n{told}");
    }
}

#[tokio::test]
async fn a_bridge_that_is_well_passes_every_step() {
    let bridge = Bridge::start_with(models(), |config| {
        config.api.models = ["half_plus_two", "echo"].map(ListedModel::new).into();
    })
    .await;
    let server = format!("http://localhost:{}", bridge.address.port());
    let (code, report) = report(&["--server", &server]).await;
    let expected = [
        "settings: ok",
        "dns: ok",
        "connect: ok",
        "tls: skipped",
        "protocol: ok",
        "health: ok",
        "models: ok",
        "model: ok",
        "predict: ok",
        "model: ok",
        "predict: ok",
    ];
    assert_eq!((code, steps(&report).as_slice()), (Some(0), &expected.map(str::to_owned)[..]), "{report:#}");
    assert_eq!(step(&report, "models")["detail"], "echo, half_plus_two");
    assert!(step(&report, "predict")["milliseconds"].as_f64().unwrap() > 0.0);

    let (code, text) = examine(&["--server", &server, "half_plus_two"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("ok   settings"), "{text}");
    assert!(text.contains("half_plus_two: version 124, AVAILABLE, signatures"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[tokio::test]
async fn a_model_server_that_is_well_passes_every_step_over_every_transport() {
    for transport in [Transport::Tcp, Transport::Tls, Transport::Mtls, Transport::Unix] {
        let server = Server::start(transport, models()).await;
        let backend = server.backend().to_string();
        let files = server.tls();
        let mut words = vec!["--backend", &*backend, "half_plus_two"];
        let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let ca = files.ca.as_deref().map(path);
        let identity = files.identity.map(|(cert, key)| [path(&cert), path(&key)]);
        words.extend(ca.iter().flat_map(|ca| ["--ca", ca]));
        words.extend(identity.iter().flat_map(|[cert, key]| ["--cert", &**cert, "--key", key]));
        let (code, report) = report(&words).await;
        assert_eq!(code, Some(0), "{transport:?}: {report:#}");
        let is_secure = matches!(transport, Transport::Tls | Transport::Mtls);
        let tls = step(&report, "tls");
        assert_eq!(tls["status"] == "ok", is_secure, "{tls}");
        if is_secure {
            let detail = tls["detail"].as_str().unwrap();
            assert!(detail.contains("for 127.0.0.1, from CN=") && detail.contains("ALPN h2"), "{detail}");
        }
        assert_eq!(step(&report, "predict")["status"], "ok");
    }
    // Who names no model is told how to.
    let server = Server::start(Transport::Tcp, models()).await;
    let (code, report) = report(&["--backend", &server.backend().to_string()]).await;
    assert_eq!((code, step(&report, "models")["status"].as_str()), (Some(0), Some("skipped")));
}

#[tokio::test]
async fn health_is_what_the_server_says() {
    let (server, reporter) = Scripted::start_with_health(Script::Answer(Duration::ZERO)).await;
    let backend = server.backend().to_string();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let (code, report) = report(&["--backend", &backend, "m"]).await;
    assert_eq!((code, step(&report, "health")["status"].as_str()), (Some(0), Some("ok")), "{report:#}");
    reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    check_fails(&["--backend", &backend, "m"], "health", &["NOT_SERVING", "starting or stopping"]).await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_told() {
    let free = Port::new();
    let closed = format!("http://{}", free.address);
    check_fails(&["--server", &closed], "connect", &["refuses", "nobody listens", "tfbridge serve"]).await;
    check_fails(&["--backend", &closed], "connect", &["refuses", "tensorflow_model_server"]).await;
    // A label that is too long is a name that no server needs to be asked about.
    let nowhere = format!("http://{}.invalid:8501", "a".repeat(64));
    check_fails(&["--server", &nowhere], "dns", &["aaa.invalid: ", "misspelt"]).await;
    let missing = ["--server", "https://127.0.0.1:1", "--ca", "/nowhere/ca.pem"];
    check_fails(&missing, "settings", &["/nowhere/ca.pem", "PEM"]).await;
    let socket = "unix:/nowhere/socket";
    check_fails(&["--backend", socket], "connect", &["/nowhere/socket", "no such socket"]).await;
    // What is odd about a port is told, whatever comes of it.
    for (words, note) in [
        (["--server", "http://127.0.0.1:8500"], "gRPC port"),
        (["--backend", "http://127.0.0.1:8501"], "8500"),
    ] {
        let (_, report) = report(&words).await;
        let advice = step(&report, "settings")["advice"].as_str().unwrap();
        assert!(advice.contains(note), "{advice}");
    }
}

#[tokio::test]
async fn what_is_no_model_server_is_told() {
    // A port that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    check_fails(&["--server", &address], "protocol", &["nothing comes back", "hangs"]).await;
    check_fails(&["--backend", &address], "protocol", &["nothing comes back"]).await;
    check_fails(&["--server", &address.replace("http", "https")], "tls", &["no answer to the handshake"])
        .await;

    // One of HTTP/1.1 only.
    let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", old.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = old.accept().await {
            let mut bytes = [0; 1024];
            // Whoever has seen enough may be gone.
            let _ = stream.read(&mut bytes).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
            // What is left unread would reset the connection, and the answer be lost with it.
            tokio::spawn(async move {
                let _ = stream.shutdown().await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    check_fails(&["--backend", &address], "protocol", &["HTTP/1.1", "no gRPC port", "8500", "--server"])
        .await;
    // It has no list of models, and is no server of models that has none.
    check_fails(
        &["--server", &address],
        "models",
        &["/v1/models is not there: 400", "another server", "8501"],
    )
    .await;

    // A gRPC port is none of HTTP, and that of a bridge is no model server.
    let server = Server::start(Transport::Tcp, models()).await;
    let grpc = server.backend().to_string();
    check_fails(&["--server", &grpc], "protocol", &["gRPC port", "8501", "--backend http://127.0.0.1:"])
        .await;
    let bridge = Bridge::start(models()).await;
    let address = format!("http://{}", bridge.address);
    check_fails(&["--backend", &address, "echo"], "health", &["no gRPC", "a bridge", "--server"]).await;
}

#[tokio::test]
async fn what_is_wrong_with_certificates_is_told() {
    let server = Server::start(Transport::Tls, models()).await;
    let (backend, ca) = (server.backend().to_string(), server.path("ca.pem"));
    let ca = ca.to_str().unwrap();
    check_fails(&["--backend", &backend], "tls", &["not trusted", "issuer", "--ca"]).await;
    check_fails(&["--backend", &backend.replace("https", "http")], "protocol", &["TLS", "https://127.0.0.1"])
        .await;
    replace(&server.path("ca.pem"), &Authority::new().pem());
    check_fails(&["--backend", &backend, "--ca", ca], "tls", &["not trusted", "other authorities"]).await;

    let elsewhere = Server::start_as(Transport::Tls, models(), "elsewhere.example").await;
    let (backend, ca) = (elsewhere.backend().to_string(), elsewhere.path("ca.pem"));
    let words = ["--backend", &*backend, "--ca", ca.to_str().unwrap()];
    check_fails(&words, "tls", &["not for 127.0.0.1", "elsewhere.example"]).await;

    let mutual = Server::start(Transport::Mtls, models()).await;
    let (backend, ca) = (mutual.backend().to_string(), mutual.path("ca.pem"));
    let words = ["--backend", &*backend, "--ca", ca.to_str().unwrap()];
    check_fails(&words, "protocol", &["mutual TLS", "--cert FILE --key FILE"]).await;
    let stranger = Authority::new().issue("bridge");
    replace(&mutual.path("bridge.pem"), &stranger.certificate.pem());
    replace(&mutual.path("bridge.key"), &stranger.key.serialize_pem());
    let (cert, key) = (mutual.path("bridge.pem"), mutual.path("bridge.key"));
    let identity = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    check_fails(&[&words[..], &identity].concat(), "protocol", &["does not accept our certificate"]).await;

    // What `openssl req -x509` makes if it is not told otherwise: a certificate that is its own authority's.
    let own = Server::start(Transport::Tls, models()).await;
    let (certificate, key) = own_authority();
    replace(&own.path("ca.pem"), &certificate.pem());
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(tls));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // It is refused, which is what is looked at.
            let _ = acceptor.accept(stream).await;
        }
    });
    let authority = own.path("ca.pem");
    let words = ["--server", &*address, "--ca", authority.to_str().unwrap()];
    check_fails(&words, "tls", &["not trusted", "basicConstraints=critical,CA:FALSE", "subjectAltName"])
        .await;

    let plain = Server::start(Transport::Tcp, models()).await;
    let backend = plain.backend().to_string().replace("http", "https");
    check_fails(&["--backend", &backend, "--ca", ca.to_str().unwrap()], "tls", &["clear text", "http://127"])
        .await;
}

/// A certificate that signs itself and is an authority's.
fn own_authority() -> (rcgen::Certificate, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    (parameters.self_signed(&key).unwrap(), key)
}

#[tokio::test]
async fn other_commands_say_what_to_try() {
    let free = Port::new();
    let (closed, secure) = (format!("http://{}", free.address), format!("https://{}", free.address));
    let plain = Server::start(Transport::Tcp, models()).await;
    let (grpc, tls) = (plain.backend().to_string(), plain.backend().to_string().replace("http", "https"));
    for command in ["models", "inspect", "bench"] {
        for (flag, url, says) in [
            ("--server", &*closed, "Is a bridge running there?".to_owned()),
            ("--server", &*secure, "Is a bridge running there?".to_owned()),
            ("--server", &*grpc, format!("`tfbridge doctor --server {grpc}`")),
            ("--server", &*tls, format!("`tfbridge doctor --server {tls}`")),
            ("--backend", &*closed, format!("`tfbridge doctor --backend {closed}`")),
            ("--backend", &*tls, format!("`tfbridge doctor --backend {tls}`")),
        ] {
            let (code, output, error) = run(&[command, "echo", flag, url]).await;
            assert_eq!((code, &*output, error.lines().count()), (Some(1), "", 2), "{command} {url}: {error}");
            assert!(error.contains(&says), "{command} {flag} {url}: {error}");
        }
    }

    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), auth::entry("some", "")).unwrap();
    let guarded =
        Bridge::start_with(models(), |config| config.access.auth_file = Some(file.path().to_owned())).await;
    let server = format!("http://{}", guarded.address);
    for words in [&["models"][..], &["models", "echo"], &["bench", "echo"]] {
        let (code, _, error) = run(&[words, &["--server", &server]].concat()).await;
        assert!(code == Some(1) && error.contains("A token is sent with --token"), "{words:?}: {error}");
    }
    let (code, _, error) = run(&["models", "--server", "http://user:secret@127.0.0.1:1"]).await;
    assert!(code == Some(64) && error.contains("--token") && !error.contains("secret"), "{error}");
    let (code, _, error) = run(&["models", "--timeout", "584542046090y"]).await;
    assert!(code == Some(64) && error.contains("365 days"), "{error}");
}

#[tokio::test]
async fn models_are_listed_by_name_as_in_the_whole_list() {
    let bridge = Bridge::start_with(models(), |config| {
        config.api.models = vec!["half_plus_two@stable".parse().unwrap()];
    })
    .await;
    let server = format!("http://{}", bridge.address);
    let words = |words: &[&'static str]| [words, &["--server"]].concat();
    let ask = async |names: &[&'static str]| {
        run(&[&words(&[&["models"], names].concat())[..], &[&*server]].concat()).await
    };
    let (code, whole, _) = ask(&[]).await;
    assert!(code == Some(0) && whole.contains("stable") && whole.contains("serving_default"), "{whole}");
    let (code, named, _) = ask(&["half_plus_two"]).await;
    assert_eq!((code, named), (Some(0), whole));
    let (_, list, _) = ask(&["--output", "json"]).await;
    let (_, named, _) = ask(&["half_plus_two", "--output", "json"]).await;
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(json(&named), json(&list));

    // One that is not there keeps no other from being shown.
    let (code, some, error) = ask(&["nobody", "half_plus_tow", "echo"]).await;
    assert_eq!(code, Some(1), "{some}");
    assert!(some.contains("nobody") && some.contains("UNKNOWN") && some.contains("AVAILABLE"), "{some}");
    assert!(error.contains("Did you mean half_plus_two?") && error.contains("model nobody"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_models_and_tokens_is_told() {
    let bridge = Bridge::start(models()).await;
    let server = format!("http://{}", bridge.address);
    check_fails(&["--server", &server, "nobody"], "model", &["model nobody", "upper and lower case"]).await;
    let refusing = Scripted::start(Script::Fail(tonic::Code::Internal, "out of luck")).await;
    let backend = refusing.backend().to_string();
    check_fails(&["--backend", &backend, "m"], "predict", &["out of luck", "log"]).await;
    let stalled = Scripted::start(Script::Stall).await;
    let backend = stalled.backend().to_string();
    check_fails(&["--backend", &backend, "m"], "predict", &["within 2s", "--timeout"]).await;

    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), auth::entry("some", "models = [\"echo\"]\n")).unwrap();
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        config.access.auth_file = Some(file.path().to_owned());
    })
    .await;
    let server = format!("http://{}", bridge.address);
    let words = ["--server", &*server, "--output", "json"];
    let (code, text) = examine(&[&words[..], &["echo"]].concat()).await;
    assert!(code == Some(1) && text.contains("no token was sent"), "{text}");
    let (code, text) = examine(&[&words[..], &["--token", "not-the-secret", "echo"]].concat()).await;
    assert!(code == Some(1) && text.contains("does not know the token"), "{text}");
    assert!(!text.contains("not-the-secret"), "{text}");
    let token = auth::token("some");
    let (code, text) = examine(&[&words[..], &["--token", &token, "echo"]].concat()).await;
    assert!(code == Some(0) && !text.contains(&token), "{text}");
    check_fails(&["--server", &server, "--token", &token, "half_plus_two"], "model", &["not meant for this"])
        .await;
}
