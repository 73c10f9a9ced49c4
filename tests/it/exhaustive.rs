//! Every float32 there is, printed and read back.
//!
//! `cargo test --release --test it exhaustive -- --ignored` takes minutes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use tfbridge::codec::NanStyle;
use tfbridge::codec::predict::Format;
use tfbridge::proto::tensorflow::DataType;

use crate::properties::{canonical, decode, encode, tensor};

/// Bit patterns of one tensor.
const CHUNK: u32 = 1 << 16;

/// The one float (and its negative) that is another one when it is read back: 7.038531e-26. The
/// double nearest to that text lies in the middle between two floats and goes to the even one.
/// Reading a float by way of a double is the original's rule, and that of clients that cast.
const ROUNDED_TWICE: [u32; 2] = [0x15AE_43FD, 0x95AE_43FD];

#[test]
#[ignore = "takes minutes: all 2^32 float32 bit patterns"]
fn every_float32_prints_in_its_shortest_form_and_reads_back() {
    let next = AtomicU32::new(0);
    let others = Mutex::new(Vec::new());
    let work = || {
        while let Some(first) = next.fetch_add(1, Ordering::Relaxed).checked_mul(CHUNK) {
            let found = check(first);
            others.lock().unwrap().extend(found);
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
    assert!(next.into_inner() > u32::MAX / CHUNK);
    let mut others = others.into_inner().unwrap();
    others.sort_unstable();
    assert_eq!(others, ROUNDED_TWICE);
}

/// Checks one tensor of floats; returns those that read back as others.
fn check(first: u32) -> Vec<u32> {
    let floats = (first..=first + (CHUNK - 1)).map(f32::from_bits);
    let content: Vec<u8> = floats.clone().flat_map(f32::to_le_bytes).collect();
    let tensor = tensor(DataType::DtFloat, &[CHUNK as usize], content);

    let text = encode(&tensor, Format::Columnar, NanStyle::Literal).unwrap();
    let texts = text.strip_prefix(b"{\"outputs\":[").and_then(|rest| rest.strip_suffix(b"]}")).unwrap();
    let mut buffer = zmij::Buffer::new();
    let mut count = 0;
    for (found, float) in texts.split(|&byte| byte == b',').zip(floats) {
        let expected = match buffer.format(float) {
            "inf" => "Infinity",
            "-inf" => "-Infinity",
            text => text,
        };
        assert_eq!(std::str::from_utf8(found), Ok(expected));
        count += 1;
    }
    assert_eq!(count, CHUNK);

    let decoded = decode([b"{\"inputs\":[", texts, b"]}"].concat(), DataType::DtFloat).unwrap();
    let expected = canonical(&tensor);
    assert_eq!(decoded.tensor_shape, expected.tensor_shape);
    let pairs = decoded.tensor_content.chunks(4).zip(expected.tensor_content.chunks(4));
    (first..=first + (CHUNK - 1))
        .zip(pairs)
        .filter(|(_, (found, expected))| found != expected)
        .map(|(bits, _)| bits)
        .collect()
}
