//! Every float32 there is, printed and read back.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use tfbridge::codec::predict::Format;
use tfbridge::proto::tensorflow::DataType;

use crate::properties::{canonical, round_trip, tensor};

/// Bit patterns of one tensor.
const CHUNK: u32 = 1 << 16;

#[test]
#[ignore = "takes minutes: all 2^32 float32 bit patterns"]
fn every_float32_reads_back() {
    let next = AtomicU32::new(0);
    let work = || {
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            let Some(first) = chunk.checked_mul(CHUNK) else { break };
            let content: Vec<u8> = (first..=first + (CHUNK - 1)).flat_map(u32::to_le_bytes).collect();
            let tensor = tensor(DataType::DtFloat, &[CHUNK as usize], content);
            let (found, expected) = (round_trip(&tensor, Format::Columnar), canonical(&tensor));
            for (found, expected) in found.tensor_content.chunks(4).zip(expected.tensor_content.chunks(4)) {
                assert_eq!(found, expected, "little-endian bytes of a float32");
            }
            assert_eq!(found.tensor_shape, expected.tensor_shape);
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    assert!(next.into_inner() >= u32::MAX / CHUNK);
}
