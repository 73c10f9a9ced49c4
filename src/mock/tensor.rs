//! A tensor in memory: numbers packed as in `tensor_content`, strings one by one.
//!
//! Reading follows TensorFlow's `Tensor::FromProto`: too few values repeat the last one, none at
//! all are zeros, too many are ignored, and `tensor_content` must have exactly the right length.
//! No shape makes it allocate more than [`MOST_BYTES`].

use bytes::Bytes;
use tonic::Code;

use super::{numbers, signature, strings};
use crate::error::{Error, Result};
use crate::proto::tensorflow::{DataType, TensorProto};

/// The largest number of elements of one tensor.
pub(super) const MOST_ELEMENTS: usize = 64 << 20;

/// The most memory that one tensor may take, counting what its strings refer to only once where
/// they share it.
pub(super) const MOST_BYTES: usize = 512 << 20;

/// TensorFlow knows no tensor of more dimensions.
const MOST_DIMENSIONS: usize = 254;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    pub(super) dtype: DataType,
    pub(super) shape: Vec<i64>,
    pub(super) values: Values,
}

/// The elements in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    /// Little-endian numbers without gaps.
    Numbers(Bytes),
    Strings(Vec<Bytes>),
}

/// Why a tensor cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    Malformed,
    TooLarge,
}

impl Tensor {
    /// Reads the tensor that a request sends under an alias.
    pub(super) fn from_proto(alias: &str, proto: &TensorProto) -> Result<Self> {
        let dims = proto.tensor_shape.iter().flat_map(|shape| &shape.dim);
        let shape: Vec<i64> = dims.map(|dim| dim.size).collect();
        let dtype = DataType::try_from(proto.dtype).unwrap_or_default();
        match read_values(proto, dtype, &shape) {
            Ok(values) => Ok(Self { dtype, shape, values }),
            Err(Unreadable::Malformed) => {
                Err(Error::invalid_argument(format!("tensor parsing error: {alias}")))
            }
            Err(Unreadable::TooLarge) => Err(too_large(dtype, &shape)),
        }
    }

    /// The tensor as a reply carries it.
    pub(super) fn to_proto(&self, as_content: bool) -> TensorProto {
        let mut proto = TensorProto {
            dtype: self.dtype.into(),
            tensor_shape: Some(signature::shape_proto(&self.shape)),
            ..TensorProto::default()
        };
        match (&self.values, as_content) {
            (Values::Numbers(content), true) => proto.tensor_content = content.clone(),
            (Values::Numbers(content), false) => numbers::unpack(self.dtype, content, &mut proto),
            (Values::Strings(strings), true) => proto.tensor_content = strings::pack(strings),
            (Values::Strings(strings), false) => proto.string_val.clone_from(strings),
        }
        proto
    }

    pub(super) fn of_floats(shape: Vec<i64>, floats: impl Iterator<Item = f32>) -> Self {
        let content: Vec<u8> = floats.flat_map(f32::to_le_bytes).collect();
        Self { dtype: DataType::DtFloat, shape, values: Values::Numbers(content.into()) }
    }

    /// A vector of strings.
    pub(super) fn of_strings(strings: Vec<Bytes>) -> Self {
        let size = i64::try_from(strings.len()).unwrap_or(i64::MAX);
        Self { dtype: DataType::DtString, shape: vec![size], values: Values::Strings(strings) }
    }

    /// The elements of a `DT_FLOAT` tensor.
    pub(super) fn floats(&self) -> impl Iterator<Item = f32> {
        let content: &[u8] = match &self.values {
            Values::Numbers(content) => content,
            Values::Strings(_) => &[],
        };
        content.as_chunks().0.iter().copied().map(f32::from_le_bytes)
    }

    /// The elements of a `DT_STRING` tensor.
    pub(super) fn strings(&self) -> &[Bytes] {
        match &self.values {
            Values::Numbers(_) => &[],
            Values::Strings(strings) => strings,
        }
    }
}

fn read_values(proto: &TensorProto, dtype: DataType, shape: &[i64]) -> Result<Values, Unreadable> {
    let count = element_count(shape).ok_or(Unreadable::Malformed)?;
    if count > MOST_ELEMENTS {
        return Err(Unreadable::TooLarge);
    }
    if dtype == DataType::DtString {
        return strings::read(proto, count).map(Values::Strings);
    }
    numbers::read(proto, dtype, count).map(Values::Numbers)
}

/// The refusal of a tensor for which there is no room.
pub(super) fn too_large(dtype: DataType, shape: &[i64]) -> Error {
    let (shape, name) = (shape_text(shape), dtype_name(dtype));
    let text = format!("OOM when allocating tensor with shape{shape} and type {name}");
    Error::new(Code::ResourceExhausted, text)
}

/// The number of elements of a shape, or `None` for what is no shape.
pub(super) fn element_count(shape: &[i64]) -> Option<usize> {
    if shape.len() > MOST_DIMENSIONS {
        return None;
    }
    let count =
        shape.iter().try_fold(1_i64, |count, &size| if size < 0 { None } else { count.checked_mul(size) })?;
    // Where this does not fit, no memory could hold the tensor either.
    Some(usize::try_from(count).unwrap_or(usize::MAX))
}

/// A shape as TensorFlow prints it, for example `[2,3]`.
pub(super) fn shape_text(shape: &[i64]) -> String {
    let sizes: Vec<String> = shape.iter().map(i64::to_string).collect();
    format!("[{}]", sizes.join(","))
}

/// The name of a dtype in TensorFlow's texts, for example `float`.
pub(super) fn dtype_name(dtype: DataType) -> String {
    dtype.as_str_name().trim_start_matches("DT_").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float_proto(sizes: &[i64], float_val: &[f32], content: &'static [u8]) -> TensorProto {
        TensorProto {
            dtype: DataType::DtFloat.into(),
            tensor_shape: Some(signature::shape_proto(sizes)),
            float_val: float_val.to_vec(),
            tensor_content: Bytes::from_static(content),
            ..TensorProto::default()
        }
    }

    #[test]
    fn values_are_matched_with_the_shape() {
        const PARSING: &str = "INVALID_ARGUMENT: tensor parsing error: x";
        const HUGE: i64 = 1 << 40;
        let rank_255 = vec![1; 255];
        let cases: [(&[i64], &[f32], &[u8], Result<&[f32], &str>); 16] = [
            (&[], &[2.0], b"", Ok(&[2.0])),
            (&[], &[], b"", Ok(&[0.0])),
            (&[0], &[1.0], b"", Ok(&[])),
            (&[3], &[2.0, 4.0], b"", Ok(&[2.0, 4.0, 4.0])),
            (&[2], &[2.0, 4.0, 6.0], b"", Ok(&[2.0, 4.0])),
            (&[2], &[], b"", Ok(&[0.0, 0.0])),
            (&[1, 1], &[], b"\0\0\x80\x3f", Ok(&[1.0])),
            (&[1], &[5.0], b"\0\0\x80\x3f", Ok(&[1.0])),
            (&[0], &[], b"abc", Ok(&[])),
            (&[1], &[], b"abc", Err(PARSING)),
            (&[2], &[], b"\0\0\x80\x3f", Err(PARSING)),
            (&[-1], &[1.0], b"", Err(PARSING)),
            (&[HUGE, HUGE], &[1.0], b"", Err(PARSING)),
            (&rank_255, &[1.0], b"", Err(PARSING)),
            (&[HUGE, 0], &[1.0], b"", Ok(&[])),
            (
                &[HUGE],
                &[1.0],
                b"",
                Err(
                    "RESOURCE_EXHAUSTED: OOM when allocating tensor with shape[1099511627776] and type float",
                ),
            ),
        ];
        for (shape, float_val, content, expected) in cases {
            let result = Tensor::from_proto("x", &float_proto(shape, float_val, content));
            let result = result.map(|tensor| tensor.floats().collect::<Vec<_>>()).map_err(|e| e.to_string());
            assert_eq!(
                result.as_deref().map_err(String::as_str),
                expected,
                "{shape:?} {float_val:?} {content:?}"
            );
        }
    }

    #[test]
    fn both_forms_of_a_reply_read_back_the_same() {
        let tensor = Tensor::of_floats(vec![2, 1], [0.1, f32::NEG_INFINITY].into_iter());
        let strings = [&b""[..], b"a\0\xff", &[7; 300]].map(Bytes::copy_from_slice);
        for tensor in [tensor, Tensor::of_strings(strings.to_vec())] {
            for as_content in [false, true] {
                let proto = tensor.to_proto(as_content);
                assert_eq!(proto.tensor_content.is_empty(), !as_content);
                assert_eq!(Tensor::from_proto("x", &proto).unwrap(), tensor);
            }
        }
    }

    #[test]
    fn dtypes_without_a_form_are_refused() {
        for dtype in [0, 7000, DataType::DtVariant.into(), DataType::DtQint8.into()] {
            let proto = TensorProto { dtype, ..float_proto(&[1], &[1.0], b"") };
            assert_eq!(Tensor::from_proto("x", &proto).unwrap_err().message(), "tensor parsing error: x");
        }
    }
}
