//! Short ways to write a signature down, and the three methods that signatures are made for.

use std::collections::HashMap;

use crate::proto::tensorflow::tensor_info::Encoding;
use crate::proto::tensorflow::tensor_shape_proto::Dim;
use crate::proto::tensorflow::{DataType, SignatureDef, TensorInfo, TensorShapeProto};

pub(super) const PREDICT: &str = "tensorflow/serving/predict";
pub(super) const CLASSIFY: &str = "tensorflow/serving/classify";
pub(super) const REGRESS: &str = "tensorflow/serving/regress";

/// The signature that an empty name means.
pub(super) const DEFAULT: &str = "serving_default";

/// The name of the signature that a request means.
pub(super) fn effective(signature_name: &str) -> &str {
    if signature_name.is_empty() { DEFAULT } else { signature_name }
}

/// A signature of the given aliases.
pub(super) fn signature<const INPUTS: usize, const OUTPUTS: usize>(
    method_name: &str,
    inputs: [(&str, TensorInfo); INPUTS],
    outputs: [(&str, TensorInfo); OUTPUTS],
) -> SignatureDef {
    let named = |(alias, info): (&str, TensorInfo)| (alias.to_owned(), info);
    SignatureDef {
        inputs: inputs.into_iter().map(named).collect(),
        outputs: outputs.into_iter().map(named).collect(),
        method_name: method_name.to_owned(),
        defaults: HashMap::new(),
    }
}

/// A tensor of a known shape, where -1 stands for any size.
pub(super) fn shaped(name: &str, dtype: DataType, sizes: &[i64]) -> TensorInfo {
    info(name, dtype, shape_proto(sizes))
}

/// A tensor of any rank.
pub(super) fn unshaped(name: &str, dtype: DataType) -> TensorInfo {
    info(name, dtype, TensorShapeProto { unknown_rank: true, ..TensorShapeProto::default() })
}

fn info(name: &str, dtype: DataType, shape: TensorShapeProto) -> TensorInfo {
    TensorInfo {
        dtype: dtype.into(),
        tensor_shape: Some(shape),
        encoding: Some(Encoding::Name(name.to_owned())),
    }
}

/// A shape as the wire carries it.
pub(super) fn shape_proto(sizes: &[i64]) -> TensorShapeProto {
    let dim = sizes.iter().map(|&size| Dim { size, name: String::new() }).collect();
    TensorShapeProto { dim, unknown_rank: false }
}
