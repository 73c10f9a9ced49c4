//! `echo`: what comes in goes out, unchanged, whatever its dtype and shape.
//!
//! There is a signature for each dtype under the dtype's name, `bytes` for a binary output by its
//! alias, and `mixed` with three inputs of different dtypes.

use super::graph::{Feeds, Graph, Signatures, not_fed};
use super::signature::{DEFAULT, PREDICT, signature, unshaped};
use super::tensor::{Tensor, dtype_name};
use crate::error::Result;
use crate::proto::tensorflow::{DataType, TensorInfo};

const DTYPES: [DataType; 16] = [
    DataType::DtFloat,
    DataType::DtDouble,
    DataType::DtInt8,
    DataType::DtInt16,
    DataType::DtInt32,
    DataType::DtInt64,
    DataType::DtUint8,
    DataType::DtUint16,
    DataType::DtUint32,
    DataType::DtUint64,
    DataType::DtBool,
    DataType::DtString,
    DataType::DtHalf,
    DataType::DtBfloat16,
    DataType::DtComplex64,
    DataType::DtComplex128,
];

/// What a fetched tensor is called before the name of the one it repeats.
const IDENTITY: &str = "Identity_";

#[derive(Debug)]
pub(super) struct Echo;

impl Graph for Echo {
    fn signatures(&self) -> Signatures {
        let mut signatures: Signatures = DTYPES
            .into_iter()
            .map(|dtype| {
                let name = dtype_name(dtype);
                let (input, output) = tensors(&format!("{name}_x:0"), dtype);
                (name, signature(PREDICT, [("x", input)], [("x", output)]))
            })
            .collect();
        let (input, output) = tensors("serving_default_x:0", DataType::DtFloat);
        signatures.insert(DEFAULT.to_owned(), signature(PREDICT, [("x", input)], [("x", output)]));
        let (input, output) = tensors("bytes_x:0", DataType::DtString);
        signatures.insert("bytes".to_owned(), signature(PREDICT, [("x", input)], [("x_bytes", output)]));
        let (a_in, a_out) = tensors("mixed_a:0", DataType::DtFloat);
        let (b_in, b_out) = tensors("mixed_b:0", DataType::DtInt64);
        let (s_in, s_out) = tensors("mixed_s:0", DataType::DtString);
        let inputs = [("a", a_in), ("b", b_in), ("s", s_in)];
        let outputs = [("a", a_out), ("b", b_out), ("s", s_out)];
        signatures.insert("mixed".to_owned(), signature(PREDICT, inputs, outputs));
        signatures
    }

    fn fetch(&self, feeds: &Feeds, name: &str) -> Result<Tensor> {
        let source = name.trim_start_matches(IDENTITY);
        feeds.get(source).cloned().ok_or_else(|| not_fed(source))
    }
}

/// An input, and the output that repeats it.
fn tensors(name: &str, dtype: DataType) -> (TensorInfo, TensorInfo) {
    (unshaped(name, dtype), unshaped(&format!("{IDENTITY}{name}"), dtype))
}
