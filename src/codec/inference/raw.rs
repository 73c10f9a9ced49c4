//! The binary form of tensors: their elements in a row, little-endian; a string behind its length, which has
//! four bytes.
//!
//! Numbers are not copied. What is wrong is told without a place, which only the caller knows.

use bytes::{Buf as _, Bytes};

use super::dtype;
use crate::codec::dense::{Dense, Elements};
use crate::codec::limits::Limits;
use crate::proto::tensorflow::{DataType, TensorProto};

/// How many bytes the length of a string takes.
const LENGTH: usize = size_of::<u32>();

/// A shape that a tensor may have, and the number of its elements.
///
/// # Errors
///
/// A negative size, or more dimensions or elements than the limits allow.
pub(crate) fn shape(sizes: &[i64], limits: &Limits) -> Result<(Vec<usize>, usize), String> {
    let most = limits.most_dimensions();
    if sizes.len() > most {
        return Err(format!("a shape of {} dimensions, of at most {most}", sizes.len()));
    }
    let mut dimensions = Vec::with_capacity(sizes.len());
    let (mut product, mut count) = (1_usize, 1_usize);
    for &size in sizes {
        if size < 0 {
            return Err(format!("a shape with the negative size {size}"));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        // Without the zeros, so that they do not hide a shape beyond all memory.
        product = product.checked_mul(size.max(1)).ok_or_else(|| beyond(limits))?;
        count *= size;
        dimensions.push(size);
    }
    if count > limits.elements {
        return Err(beyond(limits));
    }
    Ok((dimensions, count))
}

fn beyond(limits: &Limits) -> String {
    format!("a shape of more than {} elements", limits.elements)
}

/// The tensor of this shape with these elements.
///
/// # Errors
///
/// Data that is too short or too long for the shape, and elements that there are not.
pub(crate) fn tensor(
    dtype: DataType,
    dimensions: Vec<usize>,
    count: usize,
    data: &Bytes,
    limits: &Limits,
) -> Result<TensorProto, String> {
    let elements = match crate::codec::dtype::width(dtype) {
        Some(width) => {
            let needed = count.saturating_mul(width);
            if needed != data.len() {
                let (size, name) = (data.len(), dtype::name(dtype).unwrap_or_default());
                return Err(format!(
                    "{size} bytes of binary data for {count} elements of {name}, which take {needed}"
                ));
            }
            if dtype == DataType::DtBool && data.iter().any(|&byte| byte > 1) {
                return Err("a BOOL that is neither 0 nor 1".to_owned());
            }
            Elements::Numbers(data.clone())
        }
        None => Elements::Strings(strings(data, count, limits)?),
    };
    Ok(Dense { dtype, dimensions, elements }.into_proto())
}

/// So many strings, each behind its length. They are slices of the data.
fn strings(data: &Bytes, count: usize, limits: &Limits) -> Result<Vec<Bytes>, String> {
    if count > data.len() / LENGTH {
        let size = data.len();
        return Err(format!(
            "{size} bytes of binary data for {count} elements of BYTES, which take {LENGTH} each at least"
        ));
    }
    let mut strings = Vec::with_capacity(count);
    let mut rest = data.clone();
    for index in 0..count {
        let length = rest.first_chunk().map(|length| u32::from_le_bytes(*length));
        let length = length.and_then(|length| usize::try_from(length).ok());
        let Some(length) = length.filter(|length| *length <= rest.len() - LENGTH) else {
            return Err(format!("binary data that ends within element {index} of {count}"));
        };
        if length > limits.string_size {
            return Err(format!("more than {} bytes in element {index}", limits.string_size));
        }
        rest.advance(LENGTH);
        strings.push(rest.split_to(length));
    }
    if !rest.is_empty() {
        return Err(format!("{} bytes of binary data behind {count} elements of BYTES", rest.len()));
    }
    Ok(strings)
}

/// How many bytes the elements of a tensor take; `None` if one of them is too long.
pub(crate) fn size(tensor: &Dense) -> Option<usize> {
    match &tensor.elements {
        Elements::Numbers(numbers) => Some(numbers.len()),
        Elements::Strings(strings) => strings.iter().try_fold(0_usize, |size, string| {
            u32::try_from(string.len()).ok()?;
            size.checked_add(LENGTH)?.checked_add(string.len())
        }),
    }
}

/// Appends the elements of a tensor, of which [`size`] knows how many bytes they take.
pub(crate) fn append(tensor: &Dense, out: &mut Vec<u8>) {
    match &tensor.elements {
        Elements::Numbers(numbers) => out.extend_from_slice(numbers),
        Elements::Strings(strings) => {
            for string in strings {
                let length = u32::try_from(string.len()).unwrap_or(u32::MAX);
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(string);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dtype: DataType, sizes: &[i64], data: &[u8], expected: &str) {
        let limits = Limits { rank: 3, elements: 100, string_size: 5, ..Limits::default() };
        let data = Bytes::copy_from_slice(data);
        let tensor = shape(sizes, &limits)
            .and_then(|(dimensions, count)| tensor(dtype, dimensions, count, &data, &limits));
        assert_eq!(tensor.as_ref().err().map_or("", String::as_str), expected, "{sizes:?}");
        if let Ok(tensor) = tensor {
            let dense = Dense::new("x", &tensor).unwrap();
            let mut again = Vec::new();
            append(&dense, &mut again);
            assert_eq!((size(&dense), again), (Some(data.len()), data.to_vec()));
        }
    }

    #[test]
    fn numbers_are_as_many_as_the_shape_says() {
        check(DataType::DtFloat, &[2, 1], &[1; 8], "");
        check(DataType::DtFloat, &[], &[1; 4], "");
        check(DataType::DtFloat, &[0, 7], &[], "");
        let expected = "12 bytes of binary data for 4 elements of FP32, which take 16";
        check(DataType::DtFloat, &[4], &[1; 12], expected);
        let expected = "3 bytes of binary data for 1 elements of BF16, which take 2";
        check(DataType::DtBfloat16, &[1], &[1; 3], expected);
        check(DataType::DtBool, &[2], &[1, 2], "a BOOL that is neither 0 nor 1");
        check(DataType::DtFloat, &[2, -1], &[], "a shape with the negative size -1");
        check(DataType::DtInt8, &[101], &[0; 101], "a shape of more than 100 elements");
        check(DataType::DtInt8, &[i64::MAX, i64::MAX], &[], "a shape of more than 100 elements");
        check(DataType::DtInt8, &[0, i64::MAX, i64::MAX], &[], "a shape of more than 100 elements");
        check(DataType::DtInt8, &[7, 0], &[], "");
        check(DataType::DtInt8, &[1; 4], &[1], "a shape of 4 dimensions, of at most 3");
    }

    #[test]
    fn strings_stand_behind_their_lengths() {
        check(DataType::DtString, &[2], b"\x01\0\0\0a\0\0\0\0", "");
        check(DataType::DtString, &[0], b"", "");
        let least = "4 bytes of binary data for 2 elements of BYTES, which take 4 each at least";
        check(DataType::DtString, &[2], &[0; 4], least);
        check(DataType::DtString, &[1], b"\x02\0\0\0a", "binary data that ends within element 0 of 1");
        let ends = "binary data that ends within element 1 of 2";
        check(DataType::DtString, &[2], b"\x04\0\0\0abcd\0\0\0", ends);
        check(DataType::DtString, &[1], &[0xff; 9], "binary data that ends within element 0 of 1");
        let behind = "1 bytes of binary data behind 1 elements of BYTES";
        check(DataType::DtString, &[1], b"\x01\0\0\0ab", behind);
        check(DataType::DtString, &[1], b"\x06\0\0\0abcdef", "more than 5 bytes in element 0");
    }
}
