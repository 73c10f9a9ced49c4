//! Elements in typed contents to tensors: each datatype has one field, those of short floats none.

use std::convert::Infallible;
use std::fmt::Display;

use crate::codec::dense::{Dense, Elements};
use crate::codec::inference::dtype;
use crate::codec::limits::Limits;
use crate::proto::inference::InferTensorContents;
use crate::proto::tensorflow::{DataType, TensorProto};

/// The tensor of this shape with these elements.
///
/// # Errors
///
/// More or fewer elements than the shape has, and elements that there are not.
pub(super) fn tensor(
    contents: &InferTensorContents,
    dtype: DataType,
    dimensions: Vec<usize>,
    count: usize,
    limits: &Limits,
) -> Result<TensorProto, String> {
    let (field, found) = field(contents, dtype)?;
    if found != count {
        return Err(format!("{found} elements in {field} for the shape {dimensions:?}, which takes {count}"));
    }
    let elements = if dtype == DataType::DtString {
        let strings = contents.bytes_contents.clone();
        let most = limits.string_size;
        if let Some(index) = strings.iter().position(|string| string.len() > most) {
            return Err(format!("more than {most} bytes in element {index}"));
        }
        Elements::Strings(strings)
    } else {
        Elements::Numbers(numbers(contents, dtype)?.into())
    };
    Ok(Dense { dtype, dimensions, elements }.into_proto())
}

/// The field of a dtype and how many elements it has.
fn field(contents: &InferTensorContents, dtype: DataType) -> Result<(&'static str, usize), String> {
    Ok(match dtype {
        DataType::DtBool => ("bool_contents", contents.bool_contents.len()),
        DataType::DtInt8 | DataType::DtInt16 | DataType::DtInt32 => {
            ("int_contents", contents.int_contents.len())
        }
        DataType::DtInt64 => ("int64_contents", contents.int64_contents.len()),
        DataType::DtUint8 | DataType::DtUint16 | DataType::DtUint32 => {
            ("uint_contents", contents.uint_contents.len())
        }
        DataType::DtUint64 => ("uint64_contents", contents.uint64_contents.len()),
        DataType::DtFloat => ("fp32_contents", contents.fp32_contents.len()),
        DataType::DtDouble => ("fp64_contents", contents.fp64_contents.len()),
        DataType::DtString => ("bytes_contents", contents.bytes_contents.len()),
        _ => {
            let datatype = dtype::name(dtype).unwrap_or_default();
            return Err(format!("{datatype} has no contents; it needs raw_input_contents"));
        }
    })
}

/// The numbers of a dtype in a row.
fn numbers(contents: &InferTensorContents, dtype: DataType) -> Result<Vec<u8>, String> {
    let (ints, uints) = (&contents.int_contents, &contents.uint_contents);
    match dtype {
        DataType::DtBool => row(&contents.bool_contents, dtype, |value| fits([u8::from(value)])),
        DataType::DtInt8 => row(ints, dtype, |value| i8::try_from(value).map(i8::to_le_bytes)),
        DataType::DtInt16 => row(ints, dtype, |value| i16::try_from(value).map(i16::to_le_bytes)),
        DataType::DtInt32 => row(ints, dtype, |value| fits(value.to_le_bytes())),
        DataType::DtInt64 => row(&contents.int64_contents, dtype, |value| fits(value.to_le_bytes())),
        DataType::DtUint8 => row(uints, dtype, |value| u8::try_from(value).map(u8::to_le_bytes)),
        DataType::DtUint16 => row(uints, dtype, |value| u16::try_from(value).map(u16::to_le_bytes)),
        DataType::DtUint32 => row(uints, dtype, |value| fits(value.to_le_bytes())),
        DataType::DtUint64 => row(&contents.uint64_contents, dtype, |value| fits(value.to_le_bytes())),
        DataType::DtFloat => row(&contents.fp32_contents, dtype, |value| fits(value.to_le_bytes())),
        _ => row(&contents.fp64_contents, dtype, |value| fits(value.to_le_bytes())),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "narrower numbers may not fit")]
fn fits<const WIDTH: usize>(bytes: [u8; WIDTH]) -> Result<[u8; WIDTH], Infallible> {
    Ok(bytes)
}

/// Numbers in a row, in a width that they may not fit.
fn row<T: Copy + Display, E, const WIDTH: usize>(
    values: &[T],
    dtype: DataType,
    to_bytes: impl Fn(T) -> Result<[u8; WIDTH], E>,
) -> Result<Vec<u8>, String> {
    let mut row = Vec::with_capacity(values.len() * WIDTH);
    for (index, value) in values.iter().enumerate() {
        let bytes = to_bytes(*value).map_err(|_| {
            let datatype = dtype::name(dtype).unwrap_or_default();
            format!("{value} in element {index}, which is out of the range of {datatype}")
        })?;
        row.extend_from_slice(&bytes);
    }
    Ok(row)
}
