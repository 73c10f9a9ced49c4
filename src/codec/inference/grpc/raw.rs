//! Elements as they are in raw contents: numbers little-endian in a row, strings with their lengths before
//! them.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::codec::dense::Elements;
use crate::codec::dtype;
use crate::codec::limits::Limits;
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;

/// The bytes of a string's length.
pub(super) const LENGTH: usize = 4;

/// The elements of a tensor, which share the bytes.
pub(super) fn elements(
    raw: &Bytes,
    dtype: DataType,
    datatype: &str,
    count: usize,
    limits: &Limits,
) -> Result<Elements> {
    let Some(width) = dtype::width(dtype) else { return strings(raw, count, limits).map(Elements::Strings) };
    if count.checked_mul(width) == Some(raw.len()) {
        return Ok(Elements::Numbers(raw.clone()));
    }
    let length = raw.len();
    Err(Error::invalid_argument(format!(
        "has {length} raw bytes, but {count} elements of {datatype} by its shape"
    )))
}

fn strings(raw: &Bytes, count: usize, limits: &Limits) -> Result<Vec<Bytes>> {
    let mismatch = || {
        Error::invalid_argument(format!(
            "has raw bytes that are not {count} strings, each with its length before it"
        ))
    };
    // Each of them takes as much of the bytes.
    if count > raw.len() / LENGTH {
        return Err(mismatch());
    }
    let mut rest = raw.clone();
    let mut strings = Vec::with_capacity(count);
    for _ in 0..count {
        let length = rest.try_get_u32_le().map_err(|_| mismatch())?;
        let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
        let length = length.ok_or_else(mismatch)?;
        check_string(length, limits)?;
        strings.push(rest.split_to(length));
    }
    if rest.is_empty() { Ok(strings) } else { Err(mismatch()) }
}

/// Sees that a string is not too long.
pub(super) fn check_string(length: usize, limits: &Limits) -> Result<()> {
    let most = limits.string_size;
    if length > most {
        return Err(Error::invalid_argument(format!(
            "has a string of {length} bytes, longer than {most} bytes"
        )));
    }
    Ok(())
}

/// The bytes for strings.
///
/// # Errors
///
/// `UNIMPLEMENTED` for one whose length has no place in four bytes.
pub(super) fn from_strings(strings: &[Bytes]) -> Result<Bytes> {
    let size = strings.iter().map(|string| LENGTH + string.len()).sum();
    let mut raw = BytesMut::with_capacity(size);
    for string in strings {
        let length = u32::try_from(string.len())
            .map_err(|_| Error::unimplemented("A string of an output has more than 4 GiB"))?;
        raw.put_u32_le(length);
        raw.put_slice(string);
    }
    Ok(raw.freeze())
}
