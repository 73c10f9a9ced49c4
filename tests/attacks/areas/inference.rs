//! Bodies of the Open Inference Protocol: lengths and sizes that lie, and shapes beyond all memory.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::attack::Attack;
use crate::http1::post;

const INFER: &str = "/v2/models/half_plus_two/infer";

const BAD: &[&str] = &["400 open"];

/// The same, but there may be no memory to find that out.
const LARGE: &[&str] = &["400 open", "413 open", "503 open"];

/// A request whose header tells this length of the JSON.
fn told(length: impl std::fmt::Display, json: &str, binary: &[u8]) -> Vec<u8> {
    let header = format!("Inference-Header-Content-Length: {length}\r\n");
    post(INFER, &header, [json.as_bytes(), binary].concat())
}

/// An input with these members beside its name.
fn input(members: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x",{members}}}]}}"#)
}

/// A request that tells the length rightly.
fn infer(members: &str, binary: &[u8]) -> Vec<u8> {
    let json = input(members);
    told(json.len(), &json, binary)
}

/// A `PredictRequest` whose tensor has an empty element of this field four million times.
fn message(element: u8) -> Vec<u8> {
    let tensor = [element, 0].repeat(4 << 20);
    let field = |value: &[u8]| {
        let mut bytes = vec![0x12];
        prost::encoding::encode_varint(value.len() as u64, &mut bytes);
        [&bytes, value].concat()
    };
    post(INFER, "Content-Type: application/x-protobuf\r\n", field(&field(&tensor)))
}

fn attack(name: &'static str, expect: &'static [&'static str], bytes: fn() -> Vec<u8>) -> Attack {
    Attack::http1("inference", name, expect, bytes)
}

pub fn attacks() -> Vec<Attack> {
    vec![
        attack("JSON that is longer than the body", BAD, || told(1_u64 << 40, "{}", b"")),
        attack("JSON of a length beyond all numbers", BAD, || told("9".repeat(100), "{}", b"")),
        attack("JSON of a negative length", BAD, || told(-1, "{}", b"")),
        attack("JSON of a length within itself", BAD, || told(1, "{}", b"")),
        attack("binary data of 1 TB", BAD, || {
            infer(r#""datatype":"FP32","shape":[1],"parameters":{"binary_data_size":1099511627776}"#, b"1234")
        }),
        attack("a tensor of 1 TB out of 4 bytes", BAD, || {
            infer(r#""datatype":"INT8","shape":[1099511627776],"parameters":{"binary_data_size":4}"#, b"1234")
        }),
        attack("a shape beyond all numbers", BAD, || {
            let members = r#""datatype":"INT8","shape":[4294967296,4294967296,4294967296],"data":[]"#;
            infer(members, b"")
        }),
        attack("a shape of a million dimensions", BAD, || {
            let shape = vec!["1"; 1 << 20].join(",");
            infer(&format!(r#""datatype":"INT8","shape":[{shape}],"data":[1]"#), b"")
        }),
        attack("a million strings of no bytes", BAD, || {
            let members = r#""datatype":"BYTES","shape":[1048576],"parameters":{"binary_data_size":4194304}"#;
            infer(members, &vec![0; 4 << 20])
        }),
        attack("a string of 4 GB", BAD, || {
            infer(r#""datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":8}"#, &[0xff; 8])
        }),
        attack("a million inputs", LARGE, || {
            let inputs = vec![r#"{"name":"x","datatype":"INT8","shape":[0],"data":[]}"#; 1 << 20].join(",");
            post(INFER, "", format!(r#"{{"inputs":[{inputs}]}}"#))
        }),
        attack("a million outputs", LARGE, || {
            let outputs = vec![r#"{"name":"y"}"#; 1 << 20].join(",");
            post(INFER, "", format!(r#"{{"inputs":[],"outputs":[{outputs}]}}"#))
        }),
        attack("a message of four million empty strings", &["413 open", "503 open"], || message(0x42))
            .attackers(2),
        attack("a message of four million handles", &["400 open", "503 open"], || message(0x72)).attackers(2),
        attack("a bomb in deflate", &["413 open", "413 closed"], || {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
            for _ in 0..256 {
                encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
            }
            post(INFER, "Content-Encoding: deflate\r\n", encoder.finish().unwrap())
        }),
    ]
}
