//! TLS, mutual TLS and UNIX sockets to the backend: what works, what is refused, and what happens
//! when certificates change. `suite` runs as a whole over each of them, too.

use std::time::Duration;

use serde_json::json;
use tfbridge::config::{Config, Place, Resolver};

use crate::backend::{Server, Transport, replace};
use crate::bridge::{Bridge, models};
use crate::certificates::Authority;
use crate::client::Response;
use crate::log::Log;

const HALF: &str = "/v1/models/half_plus_two:predict";
const UNREACHABLE: &str = "The backend cannot be reached";

/// No request may take longer, and none should come near.
fn in_time(config: &mut Config) {
    config.api.timeout = Duration::from_secs(10);
}

async fn post(bridge: &Bridge, path: &str) -> Response {
    bridge.connect().await.post(path, r#"{"instances": [1.0, 2.0, 5.0]}"#).await
}

/// Makes predictions, by every way to name a version.
async fn check_works(bridge: &Bridge, what: &str) {
    for (path, version) in [
        (HALF, "124"),
        ("/v1/models/half_plus_two/versions/123:predict", "123"),
        ("/v1/models/half_plus_two/labels/stable:predict", "123"),
    ] {
        let response = post(bridge, path).await;
        assert_eq!(response.json(), json!({"predictions": [2.5, 3.0, 4.5]}), "{what}");
        assert_eq!(response.headers["x-model-version"], version, "{what}");
    }
}

/// Sends a request that must fail; only the log may know the cause.
async fn check_unreachable(bridge: &Bridge, cause: &str) {
    let log = Log::default();
    let _guard = log.listen();
    let response = post(bridge, HALF).await;
    assert_eq!((response.status, response.error().as_str()), (503, UNREACHABLE), "{cause}");
    assert!(log.text().contains(cause), "{cause} is not in the log:\n{}", log.text());
}

#[tokio::test]
async fn predictions_pass_over_every_transport() {
    for transport in [Transport::Tls, Transport::Mtls, Transport::Unix] {
        check_works(&Bridge::over(transport, models()).await, &format!("{transport:?}")).await;
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let server = Server::start(Transport::Tls, models()).await;
    replace(&server.path("ca.pem"), &Authority::new().pem());
    check_unreachable(&Bridge::to(&server, in_time).await, "InvalidCertificate").await;
    // The authorities of the system do not know it either.
    let by_system = |config: &mut Config| config.upstream.tls.ca = None;
    check_unreachable(&Bridge::to(&server, by_system).await, "InvalidCertificate").await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_wants_the_right_one() {
    let server = Server::start(Transport::Mtls, models()).await;
    let bridge = Bridge::to(&server, |config| config.upstream.tls.identity = None).await;
    check_unreachable(&bridge, "CertificateRequired").await;

    let stranger = Authority::new().issue("bridge");
    replace(&server.path("bridge.pem"), &stranger.certificate.pem());
    replace(&server.path("bridge.key"), &stranger.key.serialize_pem());
    check_unreachable(&Bridge::to(&server, in_time).await, "received fatal alert").await;
}

#[tokio::test]
async fn plain_text_and_tls_do_not_meet() {
    let server = Server::start(Transport::Tls, models()).await;
    let plain = |config: &mut Config| config.upstream.backends[0].tls = false;
    let bridge = Bridge::to(&server, plain).await;
    let response = post(&bridge, HALF).await;
    assert_eq!((response.status, response.error().as_str()), (503, UNREACHABLE));
}

#[tokio::test]
async fn a_certificate_of_another_name_takes_the_override() {
    let server = Server::start_as(Transport::Tls, models(), "serving.models").await;
    check_unreachable(&Bridge::to(&server, in_time).await, "NotValidForName").await;
    let named = |config: &mut Config| config.upstream.tls.server_name = Some("serving.models".to_owned());
    check_works(&Bridge::to(&server, named).await, "the name of the certificate").await;
    let wrong = |config: &mut Config| config.upstream.tls.server_name = Some("serving".to_owned());
    check_unreachable(&Bridge::to(&server, wrong).await, "NotValidForName").await;
}

#[tokio::test]
async fn a_name_with_many_addresses_is_the_name_of_the_certificates() {
    let server = Server::start_as(Transport::Tls, models(), "serving.models").await;
    let Place::Address { port, .. } = server.backend().place else { panic!("TLS is over TCP") };
    let looked_up = |config: &mut Config| {
        config.upstream.backends = vec![format!("dns+tls:///serving.models:{port}").parse().unwrap()];
        config.upstream.resolver =
            Resolver::new(|_, port| async move { Ok(vec![([127, 0, 0, 1], port).into()]) });
    };
    check_works(&Bridge::to(&server, looked_up).await, "the name that is looked up").await;
}

#[tokio::test]
async fn new_certificates_are_used_without_a_restart() {
    for transport in [Transport::Tls, Transport::Mtls] {
        let mut server = Server::start(transport, models()).await;
        let bridge = Bridge::to(&server, in_time).await;
        check_works(&bridge, "the first certificates").await;

        server.restart(Some(Authority::new())).await;
        check_unreachable(&bridge, "InvalidCertificate").await;
        server.write_ca();
        if transport == Transport::Mtls {
            check_unreachable(&bridge, "received fatal alert").await;
            server.write_identity();
        }
        check_works(&bridge, "the new certificates").await;
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_the_old_ones_in_use() {
    let mut server = Server::start(Transport::Mtls, models()).await;
    let bridge = Bridge::to(&server, in_time).await;
    // The bridge has started, but made no connection.
    assert_eq!(bridge.connect().await.get("/monitoring/prometheus/metrics").await.status, 200);
    let stranger = Authority::new().issue("bridge");
    for (file, content, cause) in [
        ("ca.pem", String::new(), "ca.pem: "),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), "ca.pem: "),
        ("bridge.pem", "no certificate".to_owned(), "bridge.pem: "),
        // The certificate and the key change one after the other: they do not match in between.
        ("bridge.key", stranger.key.serialize_pem(), "KeyMismatch"),
    ] {
        replace(&server.path(file), &content);
        server.restart(None).await;
        let log = Log::default();
        let guard = log.listen();
        check_works(&bridge, &format!("{file}: {content}")).await;
        drop(guard);
        assert!(log.text().contains(cause), "{cause} is not in the log:\n{}", log.text());
        server.write_ca();
        server.write_identity();
    }
}

#[tokio::test]
async fn a_socket_without_a_server_is_unreachable() {
    let server = Server::start(Transport::Unix, models()).await;
    let bridge = Bridge::to(&server, in_time).await;
    check_works(&bridge, "the socket").await;
    let path = server.path("mock.sock");
    drop(server);
    check_unreachable(&bridge, "No such file").await;
    assert!(!path.exists());
}
