//! Tensors as one run of elements, however the backend has sent them, and back.
//!
//! Every binary type of body has its elements in a row, little-endian; so has `tensor_content`, which is
//! shared then and not copied. Elements in typed fields are put in a row first.

use bytes::Bytes;

use super::dtype;
use super::tensor::{Repeated, dimensions, repeated, repeated_pairs, string_content};
use crate::error::{Error, Result};
use crate::proto::tensorflow::tensor_shape_proto::Dim;
use crate::proto::tensorflow::{DataType, TensorProto, TensorShapeProto};

/// A tensor whose size is what its shape says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dense {
    pub(crate) dtype: DataType,
    pub(crate) dimensions: Vec<usize>,
    pub(crate) elements: Elements,
}

/// The elements of a tensor, the last dimension running fastest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Elements {
    /// Numbers of the dtype's width, little-endian.
    Numbers(Bytes),
    Strings(Vec<Bytes>),
}

impl Dense {
    /// Checks a named tensor of a reply and puts its elements in a row.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a dtype that has neither numbers nor strings, `INTERNAL` for a tensor whose
    /// shape and elements disagree.
    pub(crate) fn new(name: &str, tensor: &TensorProto) -> Result<Self> {
        let dtype = dtype::from_wire(tensor.dtype);
        let (dimensions, _, count) = dimensions(name, tensor)?;
        let elements = if dtype == DataType::DtString {
            Elements::Strings(strings(name, tensor, count)?)
        } else {
            let Some(width) = dtype::width(dtype) else {
                let dtype = dtype::name(dtype);
                return Err(Error::invalid_argument(format!(
                    "The output {name} is of type {dtype}, which has no numbers"
                )));
            };
            Elements::Numbers(numbers(name, tensor, dtype, count, width)?)
        };
        Ok(Self { dtype, dimensions, elements })
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.dimensions.iter().product()
    }

    /// The tensor as a message.
    pub(crate) fn into_proto(self) -> TensorProto {
        let mut tensor = TensorProto {
            dtype: self.dtype.into(),
            tensor_shape: Some(shape(&self.dimensions)),
            ..TensorProto::default()
        };
        match self.elements {
            Elements::Numbers(content) => tensor.tensor_content = content,
            Elements::Strings(strings) => tensor.string_val = strings,
        }
        tensor
    }
}

/// The message for a shape of these sizes.
pub(crate) fn shape(dimensions: &[usize]) -> TensorShapeProto {
    let dim = |size: &usize| Dim { size: i64::try_from(*size).unwrap_or(i64::MAX), ..Dim::default() };
    TensorShapeProto { dim: dimensions.iter().map(dim).collect(), unknown_rank: false }
}

fn numbers(name: &str, tensor: &TensorProto, dtype: DataType, count: usize, width: usize) -> Result<Bytes> {
    let content = &tensor.tensor_content;
    if !content.is_empty() || count == 0 {
        if count.checked_mul(width) != Some(content.len()) {
            return Err(Error::internal(format!(
                "The backend's output {name} has {count} elements of {width} bytes in {} bytes",
                content.len()
            )));
        }
        return Ok(content.clone());
    }
    typed(name, tensor, dtype, count)
}

fn strings(name: &str, tensor: &TensorProto, count: usize) -> Result<Vec<Bytes>> {
    if !tensor.tensor_content.is_empty() {
        return string_content(&tensor.tensor_content, count).ok_or_else(|| {
            Error::internal(format!(
                "The backend's output {name} has strings whose lengths disagree with their bytes"
            ))
        });
    }
    repeated(name, &tensor.string_val, count)?;
    let mut strings = tensor.string_val.clone();
    let last = strings.last().cloned().unwrap_or_default();
    strings.resize(count, last);
    Ok(strings)
}

/// The elements of a typed field.
fn typed(name: &str, tensor: &TensorProto, dtype: DataType, count: usize) -> Result<Bytes> {
    let row = match dtype {
        DataType::DtFloat => row(repeated(name, &tensor.float_val, count)?, count, f32::to_le_bytes),
        DataType::DtDouble => row(repeated(name, &tensor.double_val, count)?, count, f64::to_le_bytes),
        DataType::DtInt64 => row(repeated(name, &tensor.int64_val, count)?, count, i64::to_le_bytes),
        DataType::DtUint32 => row(repeated(name, &tensor.uint32_val, count)?, count, u32::to_le_bytes),
        DataType::DtUint64 => row(repeated(name, &tensor.uint64_val, count)?, count, u64::to_le_bytes),
        DataType::DtBool => row(repeated(name, &tensor.bool_val, count)?, count, |value| [u8::from(value)]),
        DataType::DtComplex64 => {
            row(repeated_pairs(name, &tensor.scomplex_val, count)?, 2 * count, f32::to_le_bytes)
        }
        DataType::DtComplex128 => {
            row(repeated_pairs(name, &tensor.dcomplex_val, count)?, 2 * count, f64::to_le_bytes)
        }
        // The bits of short floats travel in the low half of an int32.
        DataType::DtHalf | DataType::DtBfloat16 => {
            row(repeated(name, &tensor.half_val, count)?, count, low::<2>)
        }
        DataType::DtInt8 | DataType::DtUint8 => row(repeated(name, &tensor.int_val, count)?, count, low::<1>),
        DataType::DtInt16 | DataType::DtUint16 => {
            row(repeated(name, &tensor.int_val, count)?, count, low::<2>)
        }
        _ => row(repeated(name, &tensor.int_val, count)?, count, i32::to_le_bytes),
    };
    Ok(row)
}

/// So many elements, one after the other; those that are missing repeat the last ones.
fn row<T: Copy + Default, const WIDTH: usize>(
    values: Repeated<'_, T>,
    count: usize,
    to_bytes: impl Fn(T) -> [u8; WIDTH],
) -> Bytes {
    let mut row = Vec::with_capacity(count * WIDTH);
    for index in 0..count {
        row.extend_from_slice(&to_bytes(values.get(index)));
    }
    row.into()
}

/// The low bytes of a number.
fn low<const WIDTH: usize>(value: i32) -> [u8; WIDTH] {
    let mut low = [0; WIDTH];
    low.copy_from_slice(&value.to_le_bytes()[..WIDTH]);
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dense(dtype: DataType, sizes: &[usize], tensor: TensorProto) -> Result<Dense> {
        Dense::new("y", &TensorProto { dtype: dtype.into(), tensor_shape: Some(shape(sizes)), ..tensor })
    }

    #[test]
    fn typed_fields_are_put_in_a_row() {
        let check = |dtype, tensor: TensorProto, expected: &[u8]| {
            let dense = dense(dtype, &[3], tensor).unwrap();
            assert_eq!(dense.elements, Elements::Numbers(Bytes::copy_from_slice(expected)), "{dtype:?}");
        };
        let ints = TensorProto { int_val: vec![1, -2], ..TensorProto::default() };
        check(DataType::DtInt8, ints.clone(), &[1, 254, 254]);
        check(DataType::DtInt16, ints.clone(), &[1, 0, 254, 255, 254, 255]);
        check(DataType::DtInt32, ints, &[1, 0, 0, 0, 254, 255, 255, 255, 254, 255, 255, 255]);
        let halves = TensorProto { half_val: vec![0x3c00], ..TensorProto::default() };
        check(DataType::DtHalf, halves, &[0, 0x3c, 0, 0x3c, 0, 0x3c]);
        let bools = TensorProto { bool_val: vec![true, false, true], ..TensorProto::default() };
        check(DataType::DtBool, bools, &[1, 0, 1]);
        let pairs = TensorProto { scomplex_val: vec![1.0, 2.0], ..TensorProto::default() };
        let pair = [1_f32.to_le_bytes(), 2_f32.to_le_bytes()].concat();
        check(DataType::DtComplex64, pairs, &[&pair[..]; 3].concat());
        check(DataType::DtInt64, TensorProto::default(), &[0; 24]);
        let content = TensorProto { tensor_content: vec![5, 6, 7].into(), ..TensorProto::default() };
        check(DataType::DtUint8, content, &[5, 6, 7]);
    }

    #[test]
    fn strings_come_in_two_encodings() {
        let expected = Elements::Strings(["ab", "", ""].map(Bytes::from).to_vec());
        let listed = TensorProto { string_val: vec!["ab".into(), "".into()], ..TensorProto::default() };
        assert_eq!(dense(DataType::DtString, &[3], listed).unwrap().elements, expected);
        let content =
            TensorProto { tensor_content: (&[2, 0, 0, b'a', b'b'][..]).into(), ..TensorProto::default() };
        assert_eq!(dense(DataType::DtString, &[3], content).unwrap().elements, expected);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let content = TensorProto { tensor_content: vec![0; 5].into(), ..TensorProto::default() };
        let error = dense(DataType::DtFloat, &[3], content).unwrap_err();
        assert_eq!(error.message(), "The backend's output y has 3 elements of 4 bytes in 5 bytes");
        let error = dense(DataType::DtFloat, &[1 << 12, 1 << 13], TensorProto::default()).unwrap_err();
        assert!(error.message().contains("gives 0 values"), "{error}");
        assert!(dense(DataType::DtVariant, &[1], TensorProto::default()).is_err());
    }
}
