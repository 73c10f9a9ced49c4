//! The file of requests that are kept, read back by a reader of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use prost::Message as _;
use tfbridge::config::PayloadLogConfig;
use tfbridge::mock::Models;
use tfbridge::proto::tensorflow::TensorProto;
use tfbridge::proto::tensorflow::serving::prediction_log::LogType;
use tfbridge::proto::tensorflow::serving::{PredictRequest, PredictionLog};

use crate::bridge::Bridge;
use crate::client::Client;
use crate::program::Program;
use crate::scripted::{Script, Scripted};

/// The CRC-32C of some bytes, bit by bit, masked as TensorFlow does.
fn masked(data: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in data {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
        }
    }
    (!sum).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The requests of a file.
fn read(path: &Path) -> Vec<PredictRequest> {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut requests = Vec::new();
    while !rest.is_empty() {
        let size = u64::from_le_bytes(rest[..8].try_into().unwrap());
        assert_eq!(rest[8..12], masked(&rest[..8]).to_le_bytes());
        let (data, behind) = rest[12..].split_at(size as usize);
        assert_eq!(behind[..4], masked(data).to_le_bytes());
        rest = &behind[4..];
        let Some(LogType::PredictLog(log)) = PredictionLog::decode(data).unwrap().log_type else { panic!() };
        assert!(log.response.is_none());
        requests.push(log.request.unwrap());
    }
    requests
}

/// Waits until so many requests are in the file.
async fn wait_for(path: &Path, count: usize) -> Vec<PredictRequest> {
    let start = Instant::now();
    loop {
        let requests = read(path);
        if requests.len() >= count {
            return requests;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{requests:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn answered_requests_are_kept_as_the_model_got_them_but_for_what_is_secret() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("requests");
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        config.telemetry.payload_log = Some(PayloadLogConfig {
            sample: 1.0,
            redact: vec!["b".to_owned(), "s".to_owned()],
            ..PayloadLogConfig::new(path.clone())
        });
    })
    .await;
    let mut client = bridge.connect().await;
    let predict = "/v1/models/half_plus_two:predict";
    assert_eq!(client.post(predict, r#"{"instances": [1.0, 2.0]}"#).await.status, 200);
    // What is refused is not kept.
    assert_eq!(client.post(predict, r#"{"instances": ["a"]}"#).await.status, 400);
    assert_eq!(client.post("/v1/models/none:predict", r#"{"instances": [1.0]}"#).await.status, 404);
    let mixed =
        r#"{"signature_name": "mixed", "inputs": {"a": [0.5, 1.5], "b": [7, 8], "s": ["one", "two"]}}"#;
    let response = client.post("/v1/models/echo:predict", mixed).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let requests = wait_for(&path, 2).await;
    assert_eq!(requests.len(), 2);

    let spec = requests[0].model_spec.as_ref().unwrap();
    assert_eq!(spec.name, "half_plus_two");
    let x = &requests[0].inputs["x"];
    assert_eq!(x.tensor_content, [1.0_f32.to_le_bytes(), 2.0_f32.to_le_bytes()].concat());

    let spec = requests[1].model_spec.as_ref().unwrap();
    assert_eq!((spec.name.as_str(), spec.signature_name.as_str()), ("echo", "mixed"));
    let inputs: BTreeMap<&str, &TensorProto> =
        requests[1].inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let shape = |tensor: &TensorProto| tensor.tensor_shape.as_ref().unwrap().dim[0].size;
    assert!(inputs.values().all(|tensor| shape(tensor) == 2));
    let a = [0.5_f32.to_le_bytes(), 1.5_f32.to_le_bytes()].concat();
    assert_eq!(inputs["a"].tensor_content, a);
    assert_eq!(inputs["b"].tensor_content, [0; 16].as_slice());
    assert_eq!(inputs["s"].string_val, [b"".as_slice(), b""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_whole_at_the_end_and_the_next_process_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("requests");
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    for count in 1..=2 {
        let flags = ["--payload-log", path.to_str().unwrap(), "--payload-log-sample", "1"];
        let mut program = Program::serve(&backend, &flags).await;
        let mut client = Client::connect(program.api).await;
        for _ in 0..20 {
            assert_eq!(client.post("/v1/models/m:predict", r#"{"instances": [1.0]}"#).await.status, 200);
        }
        drop(client);
        program.end();
        assert_eq!(read(&path).len(), 20 * count);
    }
}

#[test]
fn a_file_of_something_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("letter");
    fs::write(&path, "Dear Sir or Madam").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tfbridge"))
        .args(["demo", "--listen", "127.0.0.1:0", "--payload-log"])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no file of records"));
    assert_eq!(fs::read(&path).unwrap(), b"Dear Sir or Madam");
}
