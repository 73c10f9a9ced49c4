//! Bodies of lines that are answered while they arrive.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tfbridge::codec::NanStyle;
use tfbridge::config::Config;
use tfbridge::mock::Models;
use tfbridge::proto::tensorflow::{Example, Feature, Features, FloatList, feature};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tonic::Code;

use crate::bridge::Bridge;
use crate::scripted::{Script, Scripted};

const HALF: &str = "/v1/models/half_plus_two:predict";
const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");

/// A request that is sent and whose answer is read at the same time, over HTTP/1.1.
struct Exchange {
    answer: BufReader<OwnedReadHalf>,
    request: OwnedWriteHalf,
    /// What has been read of the answer's body.
    text: Vec<u8>,
    has_ended: bool,
}

impl Exchange {
    async fn begin(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (answer, mut request) = stream.into_split();
        let mut head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        request.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        Self { answer: BufReader::new(answer), request, text: Vec::new(), has_ended: false }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        send(&mut self.request, bytes.as_ref()).await.unwrap();
    }

    async fn end(&mut self) {
        self.request.write_all(b"0\r\n\r\n").await.unwrap();
    }

    /// The status and the head of the answer.
    async fn head(&mut self) -> (u16, String) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.answer.read_line(&mut head).await.unwrap() > 0, "{head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase())
    }

    /// Reads the next chunk; false after the last one.
    async fn chunk(&mut self) -> std::io::Result<bool> {
        let mut size = String::new();
        if self.answer.read_line(&mut size).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.answer.read_exact(&mut chunk).await?;
        self.text.extend_from_slice(&chunk[..size]);
        self.has_ended = size == 0;
        Ok(size > 0)
    }

    /// The next line of the answer; `None` after the last one.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line = self.text.drain(..=end).collect();
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            if self.has_ended || !self.chunk().await.unwrap() {
                return None;
            }
        }
    }

    /// All that is left of the answer's body.
    async fn rest(&mut self) -> String {
        while !self.has_ended && self.chunk().await.unwrap() {}
        String::from_utf8(std::mem::take(&mut self.text)).unwrap()
    }
}

async fn send(request: &mut OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<()> {
    request.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
    request.write_all(bytes).await?;
    request.write_all(b"\r\n").await
}

/// Sends a whole body and checks the whole answer.
async fn check(bridge: &Bridge, path: &str, body: &str, expected: &str) {
    let mut exchange = Exchange::begin(bridge.address, path, &[NDJSON]).await;
    exchange.send(body).await;
    exchange.end().await;
    let (status, head) = exchange.head().await;
    assert_eq!(status, 200, "{head}");
    assert!(head.contains("content-type: application/x-ndjson\r\n"), "{head}");
    assert_eq!(exchange.rest().await, expected, "{body}");
}

async fn bridge(configure: impl FnOnce(&mut Config)) -> Bridge {
    Bridge::start_with(Models::builtin(), configure).await
}

/// A sample of the metrics.
async fn metric(bridge: &Bridge, name: &str) -> f64 {
    let text = bridge.connect().await.get("/monitoring/prometheus/metrics").await;
    let line = text.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in {}", text.text())).parse().unwrap()
}

/// Waits until all memory has been given back.
async fn settled(bridge: &Bridge) {
    let start = Instant::now();
    // The request that asks holds some itself.
    while metric(bridge, "tfbridge_memory_held_bytes").await > f64::from(64 << 10) {
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_line_has_its_answer_in_its_place() {
    let bridge = bridge(|config| config.api.streams.batch = 3).await;
    let wrong = |line: usize| {
        format!(
            "{{\"error\":\"line {line}: JSON Value: \\\"a\\\" Type: String is not of expected type: float\"}}\n"
        )
    };
    check(&bridge, HALF, "", "").await;
    check(&bridge, HALF, "\n\n", "").await;
    check(&bridge, HALF, "1.0\n2.0\r\n\n{\"x\": 5}", "2.5\n3.0\n4.5\n").await;
    check(&bridge, HALF, "1\n\n\"a\"\n3\n\"a\"\n", &format!("2.5\n{}3.5\n{}", wrong(3), wrong(5))).await;
    // Lines of several shapes, among others.
    check(&bridge, HALF, "1\n[1, 2]\n2\n[[3]]\n[3, 4]\n", "2.5\n[2.5,3.0]\n3.0\n[[3.5]]\n[3.5,4.0]\n").await;
    let many: Vec<usize> = (0..10_000).collect();
    let body: String = many.iter().map(|number| format!("{number}\n")).collect();
    let expected: String = many.iter().map(|number| format!("{:?}\n", *number as f32 / 2.0 + 2.0)).collect();
    check(&bridge, HALF, &body, &expected).await;
}

#[tokio::test]
async fn a_line_that_the_model_refuses_spoils_no_other() {
    let bridge = bridge(|_| {}).await;
    // The model takes rows of a hundred, in whatever company.
    let row = |value: usize| format!("{:?}\n", vec![value; 100]);
    let mut body = String::new();
    let mut expected = String::new();
    for line in 1..=100 {
        if line % 7 == 0 {
            body.push_str("[1, 2, 3]\n");
            let size = "Matrix size-incompatible: In[0]: [1,3], In[1]: [100,1]";
            expected.push_str(&format!("{{\"error\":\"line {line}: {size}\"}}\n"));
        } else {
            body.push_str(&row(64));
            expected.push_str("[-49.5]\n");
        }
    }
    check(&bridge, "/v1/models/affine100:predict", &body, &expected).await;
}

#[tokio::test]
async fn the_line_that_a_batch_is_refused_for_is_found() {
    let bridge = bridge(|_| {}).await;
    // Examples as they are serialized: of the same shape, and some of them are none.
    let example = |x: f32| {
        let kind = feature::Kind::FloatList(FloatList { value: vec![x] });
        let feature = [("x".to_owned(), Feature { kind: Some(kind) })].into();
        let bytes = Example { features: Some(Features { feature }) }.encode_to_vec();
        base64_simd::STANDARD.encode_to_string(bytes)
    };
    let (mut body, mut expected) = (String::new(), String::new());
    for line in 1..=200 {
        if [1, 7, 8, 64, 65, 130, 200].contains(&line) {
            body.push_str("\"none\"\n");
            let text = "Could not parse example input, value: 'none'";
            expected.push_str(&format!("{{\"error\":\"line {line}: {text}\"}}\n"));
        } else {
            body.push_str(&format!("{{\"b64\": \"{}\"}}\n", example(line as f32)));
            expected.push_str(&format!("[{:?}]\n", line as f32 / 2.0 + 2.0));
        }
    }
    check(&bridge, &format!("{HALF}?signature_name=regress_x_to_y"), &body, &expected).await;
}

#[tokio::test]
async fn outputs_and_signatures_are_chosen_by_the_query() {
    let bridge = bridge(|_| {}).await;
    let row = "{\"a\": 0.5, \"b\": 1, \"s\": \"x\"}\n";
    let path = "/v1/models/echo:predict?signature_name=mixed";
    check(&bridge, path, &row.repeat(2), &"{\"a\":0.5,\"b\":1,\"s\":\"x\"}\n".repeat(2)).await;
    check(&bridge, &format!("{path}&outputs=b"), &row.repeat(2), "1\n1\n").await;
}

#[tokio::test]
async fn a_row_that_cannot_be_written_spoils_no_other() {
    let bridge = bridge(|config| config.api.nan = NanStyle::Error).await;
    let path = "/v1/models/echo:predict?signature_name=float";
    let text = "The reply holds NaN, which JSON cannot carry (the server runs with --nan error)";
    let expected = format!("1.0\n{{\"error\":\"line 2: {text}\"}}\n2.0\n");
    check(&bridge, path, "1\nNaN\n2\n", &expected).await;
}

#[tokio::test]
async fn a_reply_must_have_a_row_for_each_line() {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    let text = "The model answered 2 lines with 1 predictions: its outputs have no row for each";
    let expected = [1, 2].map(|line| format!("{{\"error\":\"line {line}: {text}\"}}\n")).concat();
    check(&bridge, "/v1/models/m:predict", "1\n2\n", &expected).await;
}

#[tokio::test]
async fn what_is_wrong_with_all_lines_is_an_error_as_ever() {
    let bridge = bridge(|_| {}).await;
    let mut client = bridge.connect().await;
    for (path, status, text) in [
        ("/v1/models/none:predict", 404, "Servable not found for request: Latest(none)"),
        (
            "/v1/models/half_plus_two:predict?signature_name=none",
            400,
            "Serving signature name: \"none\" not found in signature def",
        ),
    ] {
        let response = client.request("POST", path, &[NDJSON], b"1\n2\n").await;
        assert_eq!((response.status, response.error().as_str()), (status, text), "{path}");
    }
    let backend = Scripted::start(Script::Fail(Code::ResourceExhausted, "no more")).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    let response = bridge.connect().await.request("POST", "/v1/models/m:predict", &[NDJSON], b"1\n2\n").await;
    assert_eq!((response.status, response.error().as_str()), (429, "no more"));
}

#[tokio::test]
async fn lines_go_with_other_types_too() {
    let bridge = bridge(|_| {}).await;
    let mut client = bridge.connect().await;
    let json = ("Accept", "application/json");
    let response = client.request("POST", HALF, &[NDJSON, json], b"1\n\n2\n").await;
    assert_eq!(response.text(), "{\"predictions\":[2.5,3.0]}");
    let response = client.request("POST", HALF, &[NDJSON, json], b"1\n\n\"a\"\n").await;
    assert_eq!(response.status, 400);
    assert!(response.error().starts_with("line 3: JSON Value: \"a\""), "{}", response.error());
    let lines = ("Accept", "application/x-ndjson");
    let response = client.request("POST", HALF, &[lines], b"{\"instances\": [1, 2]}").await;
    assert_eq!(response.text(), "2.5\n3.0\n");
    assert_eq!(response.headers["content-type"], "application/x-ndjson");
}

#[tokio::test]
async fn answers_come_while_the_upload_goes_on() {
    let bridge = bridge(|_| {}).await;
    let mut exchange = Exchange::begin(bridge.address, HALF, &[NDJSON]).await;
    exchange.send("1\n2").await;
    let (status, head) = exchange.head().await;
    assert_eq!(status, 200, "{head}");
    assert!(head.contains("x-model-version: 124\r\n"), "{head}");
    assert_eq!(exchange.line().await.unwrap(), "2.5");
    exchange.send("\n").await;
    assert_eq!(exchange.line().await.unwrap(), "3.0");
    exchange.send("{}\n4").await;
    assert!(exchange.line().await.unwrap().starts_with("{\"error\":\"line 3: JSON object: {} keys"));
    exchange.end().await;
    assert_eq!(exchange.line().await.unwrap(), "4.0");
    assert_eq!(exchange.line().await, None);
    settled(&bridge).await;
}

#[tokio::test]
async fn a_client_may_ask_before_it_sends() {
    let bridge = bridge(|_| {}).await;
    let mut exchange = Exchange::begin(bridge.address, HALF, &[NDJSON, ("Expect", "100-continue")]).await;
    assert_eq!(exchange.head().await.0, 100);
    exchange.send("1\n").await;
    exchange.end().await;
    assert_eq!(exchange.head().await.0, 200);
    assert_eq!(exchange.rest().await, "2.5\n");
}

/// Sends lines for as long as they are taken, and a time beyond; the number of bytes that were.
async fn flood(request: &mut OwnedWriteHalf, line: &str, most: usize) -> usize {
    let chunk = line.repeat((64 << 10) / line.len());
    let mut sent = 0;
    while sent < most {
        match tokio::time::timeout(Duration::from_secs(2), send(request, chunk.as_bytes())).await {
            Ok(Ok(())) => sent += chunk.len(),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_not_read_from() {
    let bridge = bridge(|config| {
        config.api.streams.buffer = 1 << 20;
        config.server.write_timeout = Duration::from_secs(4);
    })
    .await;
    let path = "/v1/models/echo:predict?signature_name=float";
    let mut exchange = Exchange::begin(bridge.address, path, &[NDJSON]).await;
    let row = format!("[{}]\n", ["0.125"; 100].join(","));
    let sent = flood(&mut exchange.request, &row, 200 << 20).await;
    assert!(sent < 100 << 20, "{sent}");
    let held = metric(&bridge, "tfbridge_memory_held_bytes").await;
    assert!(held < f64::from(16 << 20), "{held}");
    // One that reads nothing at all is cut off in the end.
    tokio::time::timeout(Duration::from_secs(20), settled(&bridge)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_takes_little_memory() {
    const LINES: usize = 60_000;
    let bridge = bridge(|_| {}).await;
    let path = "/v1/models/affine100:predict";
    let Exchange { answer, mut request, .. } = Exchange::begin(bridge.address, path, &[NDJSON]).await;
    let row = format!("[{}]\n", vec!["64.00000000"; 100].join(","));
    let upload = tokio::spawn(async move {
        let chunk = row.repeat(60);
        for _ in 0..LINES / 60 {
            send(&mut request, chunk.as_bytes()).await.unwrap();
        }
        request.write_all(b"0\r\n\r\n").await.unwrap();
        request
    });
    let mut most = 0.0_f64;
    let watch = async {
        loop {
            most = most.max(metric(&bridge, "tfbridge_memory_held_bytes").await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = read_lines(answer, "[-49.5]\n", LINES) => {}
        () = watch => {}
    }
    drop(upload.await.unwrap());
    assert!(most > 0.0 && most < f64::from(32 << 20), "{most}");
}

/// Reads so many lines, all of which are this one.
async fn read_lines(mut answer: BufReader<OwnedReadHalf>, expected: &str, lines: usize) {
    let (mut count, mut line) = (0, String::new());
    while count < lines {
        line.clear();
        assert!(answer.read_line(&mut line).await.unwrap() > 0, "{count}");
        count += usize::from(line == expected);
    }
}

#[tokio::test]
async fn an_endless_line_is_an_error_of_its_own() {
    let bridge = bridge(|config| config.api.streams.max_line = 1000).await;
    let mut exchange = Exchange::begin(bridge.address, HALF, &[NDJSON]).await;
    exchange.send("1\n").await;
    for _ in 0..64 {
        exchange.send("1".repeat(64 << 10)).await;
    }
    exchange.send("\n3\n").await;
    exchange.end().await;
    assert_eq!(exchange.head().await.0, 200);
    let expected = "2.5\n{\"error\":\"line 2: It is longer than 1000 bytes\"}\n3.5\n";
    assert_eq!(exchange.rest().await, expected);
}

#[tokio::test]
async fn a_backend_that_stalls_costs_the_lines_of_its_batch() {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |config| {
        config.api.timeout = Duration::from_millis(300);
        config.api.streams.batch = 1;
    })
    .await;
    let mut exchange = Exchange::begin(bridge.address, "/v1/models/m:predict", &[NDJSON]).await;
    exchange.send("1\n").await;
    assert_eq!(exchange.head().await.0, 200);
    assert_eq!(exchange.line().await.unwrap(), "1");
    backend.set(Script::Stall);
    exchange.send("2\n").await;
    let error = exchange.line().await.unwrap();
    assert!(error.starts_with("{\"error\":\"line 2: The deadline passed while"), "{error}");
    // It says that it may pass, which what is wrong with a line does not.
    assert!(error.ends_with(",\"status\":504}"), "{error}");
    backend.set(Script::Answer(Duration::ZERO));
    exchange.send("3\n").await;
    assert_eq!(exchange.line().await.unwrap(), "1");
    exchange.end().await;
    assert_eq!(exchange.line().await, None);
}

#[tokio::test]
async fn what_is_under_way_is_cancelled_when_the_client_goes() {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge =
        Bridge::in_front_of_all(vec![backend.backend()], |config| config.api.streams.batch = 1).await;
    for ends in [false, true] {
        backend.set(Script::Answer(Duration::ZERO));
        backend.state.cancelled.lock().unwrap().clear();
        let before = backend.calls();
        let mut exchange = Exchange::begin(bridge.address, "/v1/models/m:predict", &[NDJSON]).await;
        exchange.send("1\n").await;
        assert_eq!(exchange.line_after_head().await, "1");
        backend.set(Script::Stall);
        exchange.send("2\n3\n4\n5\n6\n7\n8\n").await;
        if ends {
            exchange.end().await;
        }
        let start = Instant::now();
        while backend.calls() < before + 5 {
            assert!(start.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(exchange);
        // As many as may be under way at once, and no other.
        while backend.state.cancelled.lock().unwrap().len() < 4 {
            assert!(start.elapsed() < Duration::from_secs(20), "{ends}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(backend.calls(), before + 5, "{ends}");
        settled(&bridge).await;
    }
}

impl Exchange {
    async fn line_after_head(&mut self) -> String {
        assert_eq!(self.head().await.0, 200);
        self.line().await.unwrap()
    }
}

#[tokio::test]
async fn a_body_that_dribbles_ends_with_an_error() {
    let bridge = bridge(|config| config.api.body_timeout = Duration::from_millis(300)).await;
    let mut exchange = Exchange::begin(bridge.address, HALF, &[NDJSON]).await;
    exchange.send("1\n2").await;
    assert_eq!(exchange.line_after_head().await, "2.5");
    let error = exchange.line().await.unwrap();
    assert!(
        error.starts_with("{\"error\":\"line 2 and all that follow: The body arrives too slowly"),
        "{error}"
    );
    assert_eq!(exchange.line().await, None);
    // Before there is any answer it is a response of its own.
    let mut exchange = Exchange::begin(bridge.address, HALF, &[NDJSON]).await;
    exchange.send("1").await;
    assert_eq!(exchange.head().await.0, 408);
}

#[tokio::test]
async fn compressed_lines_are_inflated_on_the_way() {
    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, text).unwrap();
        encoder.finish().unwrap()
    };
    let bridge = bridge(|config| config.api.max_inflate_ratio = 100).await;
    let headers = [NDJSON, ("Content-Encoding", "gzip")];
    let mut exchange = Exchange::begin(bridge.address, HALF, &headers).await;
    // Two members, the way files are put together.
    for piece in [gzip(b"1\n2"), gzip(b"\n3")].concat().chunks(7) {
        exchange.send(piece).await;
    }
    exchange.end().await;
    assert_eq!(exchange.head().await.0, 200);
    assert_eq!(exchange.rest().await, "2.5\n3.0\n3.5\n");
    for (body, status) in
        [(gzip(&vec![b' '; 8 << 20]), 413), (b"1\n2\n".to_vec(), 400), (gzip(b"x")[..12].to_vec(), 400)]
    {
        let mut exchange = Exchange::begin(bridge.address, HALF, &headers).await;
        exchange.send(body).await;
        exchange.end().await;
        assert_eq!(exchange.head().await.0, status);
    }
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, b"1\n2\n3").unwrap();
    let mut exchange =
        Exchange::begin(bridge.address, HALF, &[NDJSON, ("Content-Encoding", "deflate")]).await;
    exchange.send(encoder.finish().unwrap()).await;
    exchange.end().await;
    assert_eq!((exchange.head().await.0, exchange.rest().await.as_str()), (200, "2.5\n3.0\n3.5\n"));
}

#[tokio::test]
async fn http2_carries_lines() {
    let bridge = bridge(|_| {}).await;
    let stream = TcpStream::connect(bridge.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let body: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    let request = Request::post(format!("http://localhost{HALF}"))
        .version(Version::HTTP_2)
        .header(NDJSON.0, NDJSON.1)
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let expected: String = (0..20_000).map(|number| format!("{:?}\n", number as f32 / 2.0 + 2.0)).collect();
    assert!(text == expected, "{} bytes", text.len());
}

#[tokio::test]
async fn a_drain_waits_for_streams() {
    let mut bridge = bridge(|_| {}).await;
    let mut exchange = Exchange::begin(bridge.address, HALF, &[NDJSON]).await;
    exchange.send("1\n").await;
    assert_eq!(exchange.line_after_head().await, "2.5");
    bridge.drain();
    tokio::time::sleep(Duration::from_millis(700)).await;
    exchange.send("2\n").await;
    assert_eq!(exchange.line().await.unwrap(), "3.0");
    exchange.end().await;
    assert_eq!(exchange.line().await, None);
}

#[tokio::test]
async fn a_model_may_change_under_a_stream() {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    let mut exchange = Exchange::begin(bridge.address, "/v1/models/m:predict", &[NDJSON]).await;
    exchange.send("1.5\n").await;
    assert_eq!(exchange.line_after_head().await, "1");
    *backend.state.model.lock().unwrap() = crate::scripted::Model {
        version: 2,
        dtype: tfbridge::proto::tensorflow::DataType::DtString,
        rank: 1,
    };
    exchange.send("\"a\"\n").await;
    assert_eq!(exchange.line().await.unwrap(), "2");
    exchange.send("\"a\"\n2\n").await;
    assert_eq!(exchange.line().await.unwrap(), "2");
    assert!(exchange.line().await.unwrap().contains("line 4: JSON Value: 2 Type: Number"));
    exchange.end().await;
    assert_eq!(exchange.line().await, None);
}
