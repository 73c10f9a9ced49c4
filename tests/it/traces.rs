//! Traces as a collector gets them that speaks OTLP.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use tfbridge::config::{OtlpProtocol, TracesConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};

use crate::backend::{pass_on, server_config};
use crate::bridge::Bridge;
use crate::certificates::Authority;
use crate::client::Client;
use crate::program::{Program, documented};
use crate::scripted::{Script, Scripted};

const PATH: &str = "/v1/models/m:predict";
const BODY: &[u8] = br#"{"instances": [1.0]}"#;
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector, over gRPC or HTTP.
#[derive(Clone, Default)]
struct Collector {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    /// The headers or metadata that came with each of them.
    heads: Arc<Mutex<Vec<HeaderMap>>>,
    /// How many requests it refuses before it takes some.
    refusals: Arc<AtomicUsize>,
}

impl Collector {
    async fn grpc(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(self.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpIncoming::from(listener)),
        );
        address
    }

    async fn http(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let collector = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let collector = collector.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let collector = collector.clone();
                    async move {
                        assert_eq!(
                            (request.method(), request.uri().path()),
                            (&Method::POST, "/base/v1/traces")
                        );
                        assert_eq!(request.headers()[header::CONTENT_TYPE], "application/x-protobuf");
                        let head = request.headers().clone();
                        let body = request.into_body().collect().await?.to_bytes();
                        let mut response = Response::new(Full::<bytes::Bytes>::default());
                        if !collector.take(head, ExportTraceServiceRequest::decode(body).unwrap()) {
                            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                        }
                        Ok::<_, hyper::Error>(response)
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        address
    }

    /// Takes a request, unless it is to be refused.
    fn take(&self, head: HeaderMap, request: ExportTraceServiceRequest) -> bool {
        let is_refused = self.refusals.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        if !is_refused {
            self.heads.lock().unwrap().push(head);
            self.requests.lock().unwrap().push(request);
        }
        !is_refused
    }

    fn resource(&self) -> Vec<KeyValue> {
        self.requests.lock().unwrap()[0].resource_spans[0].resource.clone().unwrap().attributes
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().unwrap();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|spans| &spans.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        if self.take(metadata.into_headers(), request) {
            Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
        } else {
            Err(Status::unavailable("busy"))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> &'a Value {
    let attribute = attributes.iter().find(|attribute| attribute.key == key);
    let attribute = attribute.unwrap_or_else(|| panic!("no {key} in {attributes:?}"));
    attribute.value.as_ref().unwrap().value.as_ref().unwrap()
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn collectors_get_the_documented_spans_of_every_request_before_the_end() {
    for protocol in ["grpc", "http"] {
        let collector = Collector::default();
        let endpoint = match protocol {
            "grpc" => format!("http://{}", collector.grpc().await),
            _ => format!("http://{}/base/", collector.http().await),
        };
        let backend = Scripted::start(Script::Answer(Duration::from_millis(100))).await;
        let flags = ["--otlp-endpoint", &endpoint, "--otlp-protocol", protocol, "--service-name", "front"];
        let flags = [&flags[..], &["--max-in-flight", "1", "--log-format", "json"]].concat();
        let mut program = Program::serve(&backend, &flags).await;
        let parent = format!("00-{TRACE}-{PARENT}-01");
        let headers = [("traceparent", parent.as_str()), ("tracestate", "a=1"), ("x-request-id", "id")];
        let mut client = Client::connect(program.api).await;
        assert_eq!(client.request("POST", PATH, &headers, BODY).await.status, 200);
        let seen = backend.state.seen.lock().unwrap().clone();
        // One of two has to wait.
        let mut other = Client::connect(program.api).await;
        tokio::join!(client.post(PATH, BODY), other.post(PATH, BODY));
        backend.set(Script::Fail(Code::Internal, "broken"));
        assert_eq!(client.post(PATH, BODY).await.status, 500);
        drop((client, other));
        let log = program.end();

        let spans = collector.spans();
        let request = spans.iter().find(|span| hex(&span.parent_span_id) == PARENT).unwrap();
        assert_eq!((hex(&request.trace_id).as_str(), request.name.as_str()), (TRACE, "predict"));
        assert_eq!((request.kind(), request.trace_state.as_str()), (SpanKind::Server, "a=1"));
        for (key, expected) in [
            ("http.request.method", text("POST")),
            ("url.path", text(PATH)),
            ("http.response.status_code", Value::IntValue(200)),
            ("http.request.body.size", Value::IntValue(BODY.len() as i64)),
            ("tfbridge.model", text("m")),
            ("tfbridge.signature", text("serving_default")),
            ("tfbridge.version", Value::IntValue(1)),
            ("tfbridge.request_id", text("id")),
        ] {
            assert_eq!(*value(&request.attributes, key), expected, "{key}");
        }
        let parts: Vec<_> = spans.iter().filter(|span| span.parent_span_id == request.span_id).collect();
        let names: BTreeSet<_> = parts.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["backend", "decode", "encode", "read", "write"]));
        for part in &parts {
            assert_eq!(part.trace_id, request.trace_id);
            assert!(part.start_time_unix_nano >= request.start_time_unix_nano, "{part:?}");
            assert!(part.end_time_unix_nano >= part.start_time_unix_nano, "{part:?}");
            assert!(part.end_time_unix_nano <= request.end_time_unix_nano, "{part:?}");
        }
        let call = parts.iter().find(|span| span.name == "backend").unwrap();
        assert_eq!(call.kind(), SpanKind::Client);
        assert!(call.end_time_unix_nano - call.start_time_unix_nano >= 100_000_000);
        assert_eq!(seen.get("traceparent").unwrap(), &format!("00-{TRACE}-{}-01", hex(&call.span_id)));
        assert_eq!(seen.get("tracestate").unwrap(), "a=1");
        assert!(log.contains(&format!("\"trace_id\":\"{TRACE}\"")), "{log}");

        let roots = spans.iter().filter(|span| span.parent_span_id.is_empty());
        let traces: BTreeSet<_> = roots.map(|span| span.trace_id.clone()).collect();
        assert_eq!(traces.len(), 3);
        assert_eq!(*value(&collector.resource(), "service.name"), text("front"));

        let name =
            |span: &Span| if span.kind() == SpanKind::Server { "VERB".to_owned() } else { span.name.clone() };
        assert_eq!(spans.iter().map(name).collect::<BTreeSet<_>>(), documented("span"));
        let fields =
            spans.iter().flat_map(|span| span.attributes.iter().map(|attribute| attribute.key.clone()));
        assert_eq!(fields.collect::<BTreeSet<_>>(), documented("span field"));
    }
}

/// What takes TLS and passes what is in it on, with the file that has its authority.
async fn behind_tls(inner: SocketAddr, protocol: &str) -> (SocketAddr, tempfile::NamedTempFile) {
    let authority = Authority::new();
    let mut config = server_config(&authority, "127.0.0.1", false);
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { pass_on(acceptor.accept(stream).await.unwrap(), inner).await });
        }
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    (address, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn collectors_may_take_tls_and_be_in_the_common_variable() {
    for (protocol, alpn) in [("grpc", "h2"), ("http", "http/1.1")] {
        let collector = Collector::default();
        let inner = if protocol == "grpc" { collector.grpc().await } else { collector.http().await };
        let (address, authority) = behind_tls(inner, alpn).await;
        let endpoint = format!("https://{address}/base");
        let variables = [
            ("SSL_CERT_FILE", authority.path().to_str().unwrap()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ];
        let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
        let mut program = Program::serve_with(&backend, &["--otlp-protocol", protocol], &variables).await;
        let mut client = Client::connect(program.api).await;
        assert_eq!(client.post(PATH, BODY).await.status, 200);
        drop(client);
        let log = program.end();
        assert!(collector.spans().iter().any(|span| span.name == "predict"), "{protocol}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_common_variables_count_where_there_is_no_flag() {
    for (protocol, flags, name) in [
        ("grpc", &[][..], "variable"),
        ("http", &[], "variable"),
        ("http", &["--service-name", "flag"], "flag"),
    ] {
        let collector = Collector::default();
        let address = if protocol == "grpc" { collector.grpc().await } else { collector.http().await };
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*format!("http://{address}/base")),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret,x-tenant=a"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=attribute,deployment.environment.name=test"),
            ("OTEL_SERVICE_NAME", "variable"),
        ];
        let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
        let flags = [&["--otlp-protocol", protocol], flags].concat();
        let mut program = Program::serve_with(&backend, &flags, &variables).await;
        let mut client = Client::connect(program.api).await;
        assert_eq!(client.post(PATH, BODY).await.status, 200);
        drop(client);
        let log = program.end();
        let heads = collector.heads.lock().unwrap();
        let head = heads.first().unwrap_or_else(|| panic!("{log}"));
        assert_eq!(
            (&head["authorization"], &head["x-tenant"]),
            (&"Bearer secret".parse().unwrap(), &"a".parse().unwrap())
        );
        let resource = collector.resource();
        assert_eq!(*value(&resource, "service.name"), text(name));
        assert_eq!(*value(&resource, "deployment.environment.name"), text("test"));
        assert_eq!(*value(&resource, "service.version"), text(env!("CARGO_PKG_VERSION")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_busy_gets_the_spans_at_the_second_attempt_and_not_at_a_third() {
    for (protocol, refusals) in [("grpc", 1), ("http", 1), ("grpc", 2), ("http", 2)] {
        let collector = Collector::default();
        collector.refusals.store(refusals, Relaxed);
        let address = if protocol == "grpc" { collector.grpc().await } else { collector.http().await };
        let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
        let endpoint = format!("http://{address}/base");
        let flags = ["--otlp-endpoint", &endpoint, "--otlp-protocol", protocol];
        let mut program = Program::serve(&backend, &flags).await;
        let mut client = Client::connect(program.api).await;
        assert_eq!(client.post(PATH, BODY).await.status, 200);
        drop(client);
        let log = program.end();
        let is_lost = refusals > 1;
        assert_eq!(collector.spans().is_empty(), is_lost, "{protocol} {refusals}: {log}");
        for text in ["the collector takes no traces", "traces were lost"] {
            assert_eq!(log.contains(text), is_lost, "{protocol} {refusals}: {log}");
        }
        assert_eq!(collector.refusals.load(Relaxed), 0);
    }
}

#[tokio::test]
async fn whoever_begins_a_trace_decides_whether_it_is_kept() {
    for (sample, sent, is_kept) in [(0.0, "00", false), (1.0, "00", false), (0.0, "01", true)] {
        let collector = Collector::default();
        let endpoint = format!("http://{}", collector.grpc().await).parse().unwrap();
        let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
        let bridge = Bridge::in_front_of_all(vec![backend.backend()], |config| {
            config.telemetry.traces =
                Some(TracesConfig { sample, ..TracesConfig::new(endpoint, OtlpProtocol::Grpc) });
        })
        .await;
        let mut client = bridge.connect().await;
        assert_eq!(client.post(PATH, BODY).await.status, 200);
        let flags = if sample > 0.0 { "-01" } else { "-00" };
        let passed = |backend: &Scripted| {
            let seen = backend.state.seen.lock().unwrap();
            seen.get("traceparent").unwrap().to_str().unwrap().to_owned()
        };
        assert!(passed(&backend).ends_with(flags), "{}", passed(&backend));
        let parent = format!("00-{TRACE}-{PARENT}-{sent}");
        assert_eq!(client.request("POST", PATH, &[("traceparent", &parent)], BODY).await.status, 200);
        assert!(passed(&backend).starts_with(&format!("00-{TRACE}-")) && passed(&backend).ends_with(sent));
        // The request after that is known to be sent with it, or after it.
        let is_there = || collector.spans().iter().any(|span| hex(&span.trace_id) == TRACE);
        let start = Instant::now();
        while !is_there() && start.elapsed() < Duration::from_millis(if is_kept { 10_000 } else { 1500 }) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(is_there(), is_kept, "{sample} {sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_costs_nothing_but_two_seconds_at_the_end() {
    // One that takes connections and never says a word is worse than one that is not there.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = (format!("http://{}", silent.local_addr().unwrap()), silent);
    for (endpoint, protocol) in [("http://127.0.0.1:1", "http"), (&silent.0, "grpc"), (&silent.0, "http")] {
        let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
        let flags = ["--otlp-endpoint", endpoint, "--otlp-protocol", protocol];
        let mut program = Program::serve(&backend, &flags).await;
        let mut client = Client::connect(program.api).await;
        for _ in 0..20 {
            assert_eq!(client.post(PATH, BODY).await.status, 200);
        }
        drop(client);
        let start = Instant::now();
        let log = program.end();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let is_told = ["could not be sent before the end", "the collector takes no traces"];
        assert!(is_told.iter().any(|text| log.contains(text)), "{log}");
        assert_eq!(log.matches("ConnectionRefused").count(), usize::from(endpoint.ends_with(":1")), "{log}");
    }
    drop(silent);
}
