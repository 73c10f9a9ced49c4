//! Bodies of other types than JSON: heads and directories that lie, bombs, tables without end.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use crate::attack::Attack;
use crate::http1::{ECHO, HALF, post};

/// Refused for what it says; the connection is as good as before.
const BAD: &[&str] = &["400 open"];

/// Refused as a bomb.
const BOMB: &[&str] = &["413 open", "413 closed"];

/// A stream of Apache Arrow.
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// Many of something.
const MILLION: usize = 1_000_000;

fn attack(name: &'static str, expect: &'static [&'static str], bytes: fn() -> Vec<u8>) -> Attack {
    Attack::http1("formats", name, expect, bytes)
}

fn posted(content_type: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    post(ECHO, &format!("Content-Type: {content_type}\r\n"), body)
}

/// An array with this type and shape.
fn npy(descr: &str, shape: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = u16::try_from(head.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], head.as_bytes(), content].concat()
}

/// An archive of members that all lie over the same deflated bytes and say that they have this size.
fn npz(content: &[u8], size: u32, members: u16) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    let data = encoder.finish().unwrap();
    let mut sum = Crc::new();
    sum.update(content);
    let length = u32::try_from(data.len()).unwrap();
    let mut fields = vec![20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0];
    fields.extend_from_slice(&sum.sum().to_le_bytes());
    fields.extend_from_slice(&length.to_le_bytes());
    fields.extend_from_slice(&size.to_le_bytes());
    fields.extend_from_slice(&[5, 0, 0, 0]);
    let mut archive = [b"PK\x03\x04", &fields[..], b"x.npy", &data].concat();
    let start = u32::try_from(archive.len()).unwrap();
    let entry = [b"PK\x01\x02\x14\x00", &fields[..], &[0; 14], b"x.npy"].concat();
    archive.extend_from_slice(&entry.repeat(usize::from(members)));
    let directory = u32::try_from(archive.len()).unwrap() - start;
    archive.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    archive.extend_from_slice(&[members.to_le_bytes(), members.to_le_bytes()].concat());
    archive.extend_from_slice(&directory.to_le_bytes());
    archive.extend_from_slice(&start.to_le_bytes());
    archive.extend_from_slice(&[0; 2]);
    archive
}

pub fn attacks() -> Vec<Attack> {
    vec![
        attack("an array whose head announces 4 GiB of itself", BAD, || {
            posted("application/x-npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr'")
        }),
        attack("an array of 2^62 elements", BAD, || {
            posted("application/x-npy", npy("<f4", "(4611686018427387904,)", &[0; 4]))
        }),
        attack("an array of 2^28 strings of no bytes", BAD, || {
            posted("application/x-npy", npy("|S0", "(268435456,)", &[]))
        }),
        attack("an array of Python objects", BAD, || {
            posted("application/x-npy", npy("|O", "(1,)", b"\x80\x04cos\nsystem\n"))
        }),
        attack("a bomb in an archive", BOMB, || {
            posted("application/x-npz", npz(&vec![0; 64 << 20], 64 << 20, 1))
        })
        .needs(&["--max-inflate-ratio"]),
        attack("a bomb that says it is small", BAD, || {
            posted("application/x-npz", npz(&vec![0; 64 << 20], 1000, 1))
        }),
        attack("60 000 members over the same bytes", &["413 open", "400 open"], || {
            posted("application/x-npz", npz(&[0; 1000], 1000, 60_000))
        }),
        attack("a table of a million columns", BAD, || posted("text/csv", "x,".repeat(MILLION))),
        attack("a table of a million columns without names", BAD, || {
            posted("text/csv; header=absent", "1,".repeat(MILLION))
        }),
        attack("a table of one quote and 16 MB", &["400 open", "503 open"], || {
            posted("text/csv", format!("x\n\"{}", "1".repeat(16 * MILLION)))
        }),
        attack("a form of 100 000 parts", BAD, || {
            let part = "--b\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n";
            posted("multipart/form-data; boundary=b", part.repeat(MILLION / 10))
        }),
        attack("a form of what is nearly its boundary", BAD, || {
            let head = "--b\r\nContent-Disposition: form-data; name=x\r\n\r\n";
            posted("multipart/form-data; boundary=b", format!("{head}{}", "\r\n--".repeat(MILLION)))
        }),
        attack("a message of a million empty inputs", BAD, || {
            posted("application/x-protobuf", [0x12, 0].repeat(MILLION))
        }),
        attack("a message of a million dimensions", BAD, || {
            let varint = |mut number: usize| {
                let mut bytes = Vec::new();
                while number > 127 {
                    bytes.push((number & 127) as u8 | 128);
                    number >>= 7;
                }
                bytes.push(number as u8);
                bytes
            };
            let field = |key: u8, value: Vec<u8>| [vec![key], varint(value.len()), value].concat();
            posted("application/x-protobuf", field(0x12, field(0x12, field(0x12, [0x12, 0].repeat(MILLION)))))
        }),
        attack("a stream whose message announces 4 GiB of metadata", BAD, || {
            posted(ARROW, [&[255; 4][..], &[254, 255, 255, 255], &[0; 100]].concat())
        }),
        attack("a stream of nothing but the starts of messages", BAD, || {
            posted(ARROW, [255; 4].repeat(MILLION))
        }),
        attack("a million names of outputs in a message", BAD, || {
            posted("application/x-protobuf", [0x1a, 0].repeat(MILLION))
        }),
        attack("a tensor of two shapes", BAD, || {
            posted("application/x-protobuf", [0x12, 6, 0x12, 4, 0x12, 0, 0x12, 0])
        }),
        attack("a cell of 16 MB in a table of numbers", &["400 open", "503 open"], || {
            post(HALF, "Content-Type: text/csv\r\n", format!("x\n{}\n", "0".repeat(16 * MILLION)))
        }),
        attack("an array of 250 dimensions, turned around", &["413 open", "503 open"], || {
            let shape = format!("({}, 2{})", MILLION / 2, ", 1".repeat(250));
            let file = String::from_utf8_lossy(&npy("|i1", &shape, &[])[10..]).replace("False", "True ");
            let length = u16::try_from(file.len()).unwrap().to_le_bytes();
            let file = [b"\x93NUMPY\x01\x00", &length[..], file.as_bytes(), &vec![1; MILLION]].concat();
            post(&format!("{ECHO}?signature_name=int8"), "Content-Type: application/x-npy\r\n", file)
        }),
        attack("60 KB of strings that an array fills up to 240 MB", &["500 open", "503 open"], || {
            let strings = format!("\"{}\"{}", "a".repeat(16_000), ",\"\"".repeat(15_000));
            let body = format!("{{\"signature_name\":\"string\",\"instances\":[{strings}]}}");
            post(ECHO, "Accept: application/x-npy\r\n", body)
        }),
        attack("a type that nobody knows", &["415 open"], || posted("application/cbor", "x".repeat(1000))),
    ]
}
