//! Small bodies that would take much memory, here or in the reply: what they take is held before it is taken, or
//! they are refused for what they are.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use tfbridge::proto::tensorflow::serving::PredictRequest;
use tfbridge::proto::tensorflow::{DataType, TensorProto};

use crate::bridge::{Bridge, models};
use crate::client::Response;
use crate::support::shape;

const ECHO: &str = "/v1/models/echo:predict";

/// The memory that there is for all.
const MEMORY: usize = 16 << 20;

async fn post(bridge: &Bridge, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut client = bridge.connect().await;
    client.request("POST", path, headers, body).await
}

/// Asks for more memory than there is, and says so.
async fn check_beyond(bridge: &Bridge, path: &str, headers: &[(&str, &str)], body: &[u8]) {
    let response = post(bridge, path, headers, body).await;
    assert_eq!(response.status, 413, "{path} {headers:?}: {:.200}", response.text());
    assert!(response.error().contains("bytes of memory"), "{path} {headers:?}: {}", response.error());
}

fn message(tensor: TensorProto) -> Vec<u8> {
    PredictRequest { inputs: [("x".to_owned(), tensor)].into(), ..PredictRequest::default() }.encode_to_vec()
}

fn strings(count: usize) -> TensorProto {
    TensorProto {
        dtype: DataType::DtString.into(),
        tensor_shape: Some(shape(&[i64::try_from(count).unwrap()])),
        string_val: vec![Bytes::new(); count],
        ..TensorProto::default()
    }
}

#[tokio::test]
async fn messages_that_are_read_take_more_than_their_bytes() {
    let bridge = Bridge::start_with(models(), |config| config.api.max_memory = MEMORY).await;
    let headers = [("Content-Type", "application/x-protobuf"), ("Accept", "application/json")];
    let infer = "/v2/models/echo/infer?signature_name=string";
    check_beyond(&bridge, infer, &headers, &message(strings(1 << 18))).await;
    let numbers = TensorProto {
        dtype: DataType::DtInt64.into(),
        tensor_shape: Some(shape(&[1 << 20])),
        int64_val: vec![1; 1 << 20],
        ..TensorProto::default()
    };
    check_beyond(&bridge, "/v2/models/echo/infer?signature_name=int64", &headers, &message(numbers)).await;
    // What is passed on takes nothing more, but the strings of the reply do.
    check_beyond(&bridge, &format!("{ECHO}?signature_name=string"), &headers, &message(strings(1 << 18)))
        .await;
    for (body, expected) in [
        ([0x1a, 0].repeat(1 << 16), "more than 4096 outputs"),
        (
            [&[0x12, 0x84, 0x80, 4, 0x12, 0x80, 0x80, 4][..], &[0x72, 0].repeat(1 << 15)].concat(),
            "handles or variants",
        ),
    ] {
        let response = post(&bridge, infer, &headers, &body).await;
        assert_eq!(response.status, 400, "{:.200}", response.text());
        assert!(response.error().contains(expected), "{}", response.error());
    }
}

#[tokio::test]
async fn strings_of_a_reply_take_what_they_gain() {
    let bridge = Bridge::start_with(models(), |config| config.api.max_memory = MEMORY).await;
    // All take the room of the longest in an array, and a control character that of six in JSON.
    let long = "a".repeat(10_000);
    let body =
        format!(r#"{{"signature_name": "string", "instances": ["{long}"{}]}}"#, r#", """#.repeat(2000));
    for accept in ["application/x-npy", "application/x-npz"] {
        check_beyond(&bridge, ECHO, &[("Accept", accept)], body.as_bytes()).await;
    }
    let path = format!("{ECHO}?signature_name=string");
    let bytes = [("Content-Type", "application/octet-stream")];
    check_beyond(&bridge, &path, &bytes, &vec![1; 2 << 20]).await;
    assert_eq!(post(&bridge, &path, &bytes, &vec![b'a'; 2 << 20]).await.status, 200);
    assert_eq!(post(&bridge, &path, &bytes, &vec![1; 1 << 19]).await.text().len(), 6 * (1 << 19) + 20);
}

#[tokio::test]
async fn no_more_outputs_are_named_than_a_signature_has() {
    let bridge = Bridge::start(models()).await;
    let names = |count: usize| vec![r#""y""#; count].join(",");
    let body = |count| format!(r#"{{"output_filter": [{}], "instances": [1.0]}}"#, names(count));
    let half = "/v1/models/half_plus_two:predict";
    let response = post(&bridge, half, &[], body(4097).as_bytes()).await;
    assert_eq!(response.status, 400);
    assert_eq!(response.error(), "/output_filter: 'output_filter' has more than 4096 names");
    let response = post(&bridge, half, &[], body(4096).as_bytes()).await;
    assert!(!response.text().contains("more than"), "{}", response.text());
}

#[tokio::test]
async fn what_is_compressed_twice_inflates_no_further_than_once() {
    let bridge = Bridge::start_with(models(), |config| config.api.max_inflate_ratio = 20).await;
    // An archive of 5 MiB of zeros, with so much in front of it that it would be right by its own size.
    let mut file = Vec::new();
    let head = format!("{{'descr': '|i1', 'fortran_order': False, 'shape': ({},)}}\n", 5 << 20);
    file.extend_from_slice(b"\x93NUMPY\x01\x00");
    file.extend_from_slice(&u16::try_from(head.len()).unwrap().to_le_bytes());
    file.extend_from_slice(head.as_bytes());
    file.resize(file.len() + (5 << 20), 0);
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&file).unwrap();
    let archive = archive(&file, &encoder.finish().unwrap(), 500_000);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&archive).unwrap();
    let packed = encoder.finish().unwrap();
    assert!(archive.len() < 1 << 20 && packed.len() < 5000, "{} {}", archive.len(), packed.len());
    let path = format!("{ECHO}?signature_name=int8");
    let (npz, gzip) = (("Content-Type", "application/x-npz"), ("Content-Encoding", "gzip"));
    assert_eq!(post(&bridge, &path, &[npz], &archive).await.status, 200);
    let response = post(&bridge, &path, &[npz, gzip], &packed).await;
    assert_eq!(response.status, 413, "{:.200}", response.text());
    assert!(response.error().contains("inflate to more than the 1048576 bytes"), "{}", response.error());
}

/// An archive of the member `x` behind so many zeros.
fn archive(content: &[u8], data: &[u8], zeros: usize) -> Vec<u8> {
    let mut sum = flate2::Crc::new();
    sum.update(content);
    let mut fields = vec![20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0];
    let number = |size: usize| u32::try_from(size).unwrap().to_le_bytes();
    fields.extend_from_slice(&sum.sum().to_le_bytes());
    fields.extend_from_slice(&number(data.len()));
    fields.extend_from_slice(&number(content.len()));
    fields.extend_from_slice(&[1, 0, 0, 0]);
    let mut archive = vec![0; zeros];
    archive.extend_from_slice(&[b"PK\x03\x04", &fields[..], b"x", data].concat());
    let start = archive.len();
    archive.extend_from_slice(&[b"PK\x01\x02\x14\x00", &fields[..], &[0; 10], &number(zeros), b"x"].concat());
    let size = archive.len() - start;
    archive.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    archive.extend_from_slice(&[number(size), number(start)].concat());
    archive.extend_from_slice(&[0; 2]);
    archive
}
