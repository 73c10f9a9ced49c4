//! Lines have the answers that they would have alone, whatever the pieces and the batches that they come in.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use tfbridge::codec::Limits;
use tfbridge::codec::lines::{self, Batch, Decoded, Splitter};
use tfbridge::codec::signature::{Input, Signature};
use tfbridge::proto::tensorflow::{DataType, TensorProto};

/// The most bytes of a line.
const LONGEST: usize = 48;

/// What comes of a line: its tensors by name, or what is wrong with it.
type Line = Result<BTreeMap<String, TensorProto>, String>;

/// The lines of a text by their numbers, decoded in batches of so many that go off whenever a piece has come.
fn answers(
    text: &[u8],
    most: usize,
    steps: &[usize],
    signature: &Signature,
    limits: &Limits,
    check_shapes: bool,
) -> BTreeMap<u64, Line> {
    // Pieces from the first step's size on stay as they came.
    let mut splitter = Splitter::new(most, LONGEST).keeping(steps.first().copied().unwrap_or_default());
    let mut answers = BTreeMap::new();
    let mut add = |batch: Batch| {
        assert!(batch.len() <= most);
        let Decoded { mut groups, faults } = lines::decode(&batch, signature, limits, check_shapes);
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
        let (piece, after) = rest.split_at(rest.len().min(*step));
        splitter.push(Bytes::copy_from_slice(piece));
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

fn signatures() -> Vec<Signature> {
    let input = |name: &str, dtype, shape: Option<&[i64]>| Input {
        name: name.to_owned(),
        dtype,
        shape: shape.map(<[i64]>::to_vec),
    };
    vec![
        Signature::new(vec![input("x", DataType::DtFloat, Some(&[-1, 2]))]),
        Signature::new(vec![input("x", DataType::DtFloat, Some(&[2, 1]))]),
        Signature::new(vec![input("x", DataType::DtComplex64, None)]),
        Signature::new(vec![input("x", DataType::DtString, Some(&[-1]))]),
        Signature::new(vec![input("x", DataType::DtInt8, None), input("y", DataType::DtString, None)]),
    ]
}

/// Pieces of lines, most of which make sense together now and then.
fn text() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "\n",
        "\n",
        "\n",
        "\r\n",
        "[1,2]\n",
        "[3,4]\n",
        "[1,2]\n[3,4]\n[5,6]\n[7,8]\n",
        "[1, 2]\r\n[3, 4]\r\n[5, 6]\r\n",
        "[5]\n[6]\n[7]\n",
        "[5]\n",
        "1\n",
        "2\n",
        "[]\n",
        "[[1,2]]\n",
        "\"a\"\n",
        "{\"b64\":\"AA==\"}\n",
        "{\"x\":1,\"y\":\"b\"}\n",
        "{\"y\":\"c\",\"x\":[2]}\n",
        "{\"x\":[1,2]}\n",
        "[",
        "]",
        ",",
        " ",
        "1",
        "\"",
        "{",
        "}",
        "\u{FEFF}",
        "300",
        "[1,2],[3,4]\n",
        "\\",
        "x",
    ]);
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_and_pieces_change_nothing(
        text in text(),
        most in 1..12_usize,
        steps in prop::collection::vec(1..30_usize, 1..6),
        which in 0..5_usize,
        check_shapes: bool,
        is_tight: bool,
    ) {
        let tight = Limits { depth: 4, rank: 3, elements: 6, string_size: 2, ..Limits::default() };
        let limits = if is_tight { tight } else { Limits::default() };
        let signature = &signatures()[which];
        let batched = answers(text.as_bytes(), most, &steps, signature, &limits, check_shapes);
        let alone = answers(text.as_bytes(), 1, &[usize::MAX], signature, &limits, check_shapes);
        prop_assert_eq!(batched, alone);
    }
}
