//! Lines have the answers that they would have alone, whatever the pieces that they arrive in and the batches
//! that they are decoded in.

#![no_main]

use std::collections::BTreeMap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tfbridge::codec::Limits;
use tfbridge::codec::lines::{self, Batch, Decoded, Splitter};
use tfbridge::codec::signature::Signature;
use tfbridge::proto::tensorflow::TensorProto;
use tfbridge_fuzz::codec::{TIGHT, WIDE};
use tfbridge_fuzz::reference;

/// The most bytes of a line.
const LONGEST: usize = 64;

/// What comes of a line: its tensors by name, or what is wrong with it.
type Line = Result<BTreeMap<String, TensorProto>, String>;

fuzz_target!(|data: &[u8]| {
    let Some((signatures, data)) = reference::signatures(data) else { return };
    let Some((&[most, ref steps @ ..], text)) = data.split_first_chunk::<5>() else { return };
    let Ok(signature) = signatures.get("") else { return };
    for limits in [WIDE, TIGHT] {
        for check_shapes in [false, true] {
            let decode = |most, steps: &[u8]| answers(text, most, steps, signature, &limits, check_shapes);
            assert_eq!(decode(usize::from(most), steps), decode(1, &[u8::MAX]));
        }
    }
});

/// The lines of a text by their numbers.
fn answers(
    text: &[u8],
    most: usize,
    steps: &[u8],
    signature: &Signature,
    limits: &Limits,
    check_shapes: bool,
) -> BTreeMap<u64, Line> {
    // Pieces from the first step's size on stay as they came.
    let mut splitter = Splitter::new(most, LONGEST).keeping(steps.first().copied().unwrap_or_default().into());
    let mut answers = BTreeMap::new();
    let mut add = |batch: Batch| {
        assert!(batch.len() <= most.max(1));
        let Decoded { groups, faults } = lines::decode(&batch, signature, limits, check_shapes);
        let mut groups = groups;
        let mut add = |line, answer: Line| {
            assert!(answers.insert(batch.number(line), answer).is_none(), "a line is answered twice");
        };
        for (line, error) in faults {
            add(line, Err(error.to_string()));
        }
        while let Some(group) = groups.pop() {
            match group.halves() {
                Some(halves) => groups.extend(halves),
                None => add(group.lines[0], Ok(group.inputs.into_iter().collect())),
            }
        }
    };
    let mut rest = text;
    for step in steps.iter().cycle() {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*step) + 1));
        splitter.push(Bytes::copy_from_slice(piece));
        // A batch that is not full goes when it is due, which may be at any time.
        while let Some(batch) = if step % 2 == 0 { splitter.take() } else { splitter.next_full() } {
            add(batch);
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    splitter.finish();
    while let Some(batch) = splitter.take() {
        add(batch);
    }
    answers
}
