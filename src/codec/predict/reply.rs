//! The reply: `predictions`, a list with an entry per row, or `outputs`, whole tensors. Routes of one's own write
//! the same values under names of theirs.

use std::collections::HashMap;

use super::Format;
use crate::codec::tensor::Printer;
use crate::codec::writer::{self, NanStyle};
use crate::error::{Error, Result};
use crate::proto::tensorflow::TensorProto;

/// About how many bytes of text an element takes, to begin with.
const TEXT_PER_ELEMENT: usize = 11;

/// The most bytes set aside at once for a reply that has not been written.
const MAX_RESERVED: usize = 16 * 1024 * 1024;

/// The most bytes of text that may come of no bytes of the reply in particular: brackets, elements
/// that repeat, and names in every row. Few bytes from a backend must not become gigabytes.
pub(super) const MAX_SURPLUS: usize = 1 << 29;

/// Rows as lines of text.
#[derive(Debug)]
pub(crate) struct Lines {
    /// One after the other, each with its end of line.
    pub(crate) text: Vec<u8>,
    /// Where each ends.
    pub(crate) ends: Vec<usize>,
    /// Rows that cannot be written, whose lines are empty.
    pub(crate) faults: Vec<(usize, Error)>,
}

/// Writes each row of the outputs of a model as a line: what an entry of `predictions` is.
///
/// # Errors
///
/// As [`encode`] for the row format, but for what is wrong with single rows.
pub(crate) fn encode_lines(outputs: &HashMap<String, TensorProto>, nan: NanStyle) -> Result<Lines> {
    let (tensors, mut text) = prepare(same_names(outputs), nan)?;
    let rows = batch_size(&tensors)?;
    let names = if tensors.len() > 1 { names(&tensors) } else { Vec::new() };
    check_surplus(rows.saturating_mul(names.iter().map(Vec::len).sum::<usize>() + 1))?;
    let (mut ends, mut faults) = (Vec::with_capacity(rows), Vec::new());
    for row in 0..rows {
        let start = text.len();
        let written = match tensors.as_slice() {
            [(_, tensor)] => tensor.write_row(row, &mut text),
            tensors => encode_row(tensors, &names, row, &mut text),
        };
        match written {
            Ok(()) => text.push(b'\n'),
            Err(error) => {
                text.truncate(start);
                faults.push((row, error));
            }
        }
        ends.push(text.len());
    }
    Ok(Lines { text, ends, faults })
}

/// Writes the outputs of a model in the format of the request.
///
/// A single output is written bare, several as objects with their names, sorted.
///
/// # Errors
///
/// As in the original these are `INVALID_ARGUMENT`: no outputs, a dtype without a form in JSON,
/// and for the row format a scalar or tensors of different batch sizes. `INTERNAL` if a tensor
/// contradicts itself, or the text would be out of all proportion to the reply.
#[expect(clippy::implicit_hasher, reason = "it is the map that prost generates")]
pub fn encode(outputs: &HashMap<String, TensorProto>, format: Format, nan: NanStyle) -> Result<Vec<u8>> {
    let (tensors, mut out) = prepare(same_names(outputs), nan)?;
    let is_bare = tensors.len() == 1;
    match format {
        Format::Row => {
            out.extend_from_slice(b"{\"predictions\":");
            write_rows(&tensors, is_bare, &mut out)?;
        }
        Format::Columnar => {
            out.extend_from_slice(b"{\"outputs\":");
            write_columns(&tensors, is_bare, &mut out)?;
        }
    }
    out.push(b'}');
    Ok(out)
}

/// An output with its name.
type Output<'a> = (&'a str, Printer<'a>);

/// The outputs under the names that the backend gives them.
fn same_names(outputs: &HashMap<String, TensorProto>) -> impl Iterator<Item = Named<'_>> {
    outputs.iter().map(|(name, tensor)| Named { name, alias: name, tensor })
}

/// An output and what it is to be called.
pub(in crate::codec) struct Named<'a> {
    pub(in crate::codec) name: &'a str,
    /// What the backend calls it.
    pub(in crate::codec) alias: &'a str,
    pub(in crate::codec) tensor: &'a TensorProto,
}

/// The outputs as they can be written, sorted by name, and room for their text.
pub(in crate::codec) fn prepare<'a>(
    outputs: impl Iterator<Item = Named<'a>>,
    nan: NanStyle,
) -> Result<(Vec<Output<'a>>, Vec<u8>)> {
    let mut tensors = outputs
        .map(|Named { name, alias, tensor }| Ok((name, Printer::new(alias, tensor, nan)?)))
        .collect::<Result<Vec<_>>>()?;
    tensors.sort_unstable_by_key(|(name, _)| *name);
    if tensors.is_empty() {
        return Err(Error::invalid_argument("Cannot convert empty tensor map to JSON"));
    }
    let surplus = tensors.iter().map(|(_, tensor)| tensor.surplus()).fold(0, usize::saturating_add);
    check_surplus(surplus)?;
    let elements = tensors.iter().map(|(_, tensor)| tensor.elements()).fold(0, usize::saturating_add);
    // The last few elements ask for more room than they take.
    let spare = 32 + elements.min(writer::BATCH) * TEXT_PER_ELEMENT * 2;
    let room = elements.saturating_mul(TEXT_PER_ELEMENT).min(MAX_RESERVED) + spare;
    Ok((tensors, Vec::with_capacity(room)))
}

/// Writes a list with an entry per row: the value of the first output if it `is_bare`, else an object of them all.
pub(in crate::codec) fn write_rows(tensors: &[Output<'_>], is_bare: bool, out: &mut Vec<u8>) -> Result<()> {
    let batch_size = batch_size(tensors)?;
    if let (true, [(_, tensor), ..]) = (is_bare, tensors) {
        return tensor.write(out);
    }
    out.push(b'[');
    let names = names(tensors);
    check_surplus(batch_size.saturating_mul(names.iter().map(Vec::len).sum()))?;
    for row in 0..batch_size {
        if row > 0 {
            out.push(b',');
        }
        encode_row(tensors, &names, row, out)?;
    }
    out.push(b']');
    Ok(())
}

/// Writes the one row that there must be, as an entry of [`write_rows`].
pub(in crate::codec) fn write_only_row(
    tensors: &[Output<'_>],
    is_bare: bool,
    out: &mut Vec<u8>,
) -> Result<()> {
    let size = batch_size(tensors)?;
    if size != 1 {
        let name = tensors.first().map_or("", |(name, _)| *name);
        return Err(Error::invalid_argument(format!(
            "Tensor name: {name} has inconsistent batch size: {size} expecting: 1"
        )));
    }
    match tensors {
        [(_, tensor), ..] if is_bare => tensor.write_row(0, out),
        tensors => encode_row(tensors, &names(tensors), 0, out),
    }
}

/// A row as an object of its values.
fn encode_row(tensors: &[Output<'_>], names: &[Vec<u8>], row: usize, out: &mut Vec<u8>) -> Result<()> {
    for (index, ((_, tensor), name)) in tensors.iter().zip(names).enumerate() {
        out.push(if index == 0 { b'{' } else { b',' });
        out.extend_from_slice(name);
        tensor.write_row(row, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// Checks how many bytes of a reply come of none of the backend's.
///
/// # Errors
///
/// `INTERNAL` if there are too many.
pub(crate) fn check_surplus(surplus: usize) -> Result<()> {
    if surplus > MAX_SURPLUS {
        return Err(Error::internal(format!(
            "The backend's reply is out of all proportion to its JSON, {surplus} bytes of which come of none of its own"
        )));
    }
    Ok(())
}

/// Writes whole tensors: the first output if it `is_bare`, else an object of them all.
pub(in crate::codec) fn write_columns(
    tensors: &[Output<'_>],
    is_bare: bool,
    out: &mut Vec<u8>,
) -> Result<()> {
    if let (true, [(_, tensor), ..]) = (is_bare, tensors) {
        return tensor.write(out);
    }
    for (index, ((_, tensor), name)) in tensors.iter().zip(names(tensors)).enumerate() {
        out.push(if index == 0 { b'{' } else { b',' });
        out.extend_from_slice(&name);
        tensor.write(out)?;
    }
    out.push(b'}');
    Ok(())
}

/// The names as member names, colon included.
fn names(tensors: &[Output<'_>]) -> Vec<Vec<u8>> {
    let name = |(name, _): &(&str, Printer<'_>)| {
        let mut text = Vec::new();
        writer::write_string(name.as_bytes(), &mut text);
        text.push(b':');
        text
    };
    tensors.iter().map(name).collect()
}

/// The size of the first dimension, which all outputs must share.
fn batch_size(tensors: &[Output<'_>]) -> Result<usize> {
    let mut expected = None;
    for (name, tensor) in tensors {
        let size = tensor.batch_size().ok_or_else(|| {
            Error::invalid_argument(format!("Tensor name: {name} has no shape information "))
        })?;
        let expected = *expected.get_or_insert(size);
        if size != expected {
            return Err(Error::invalid_argument(format!(
                "Tensor name: {name} has inconsistent batch size: {size} expecting: {expected}"
            )));
        }
    }
    Ok(expected.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensorflow::tensor_shape_proto::Dim;
    use crate::proto::tensorflow::{DataType, TensorShapeProto};

    #[test]
    fn few_bytes_never_become_gigabytes() {
        let tensor = |dtype: DataType, sizes: &[i64], string: &[u8]| TensorProto {
            dtype: dtype.into(),
            tensor_shape: Some(TensorShapeProto {
                dim: sizes.iter().map(|&size| Dim { size, ..Dim::default() }).collect(),
                unknown_rank: false,
            }),
            string_val: if string.is_empty() { Vec::new() } else { vec![string.to_vec().into()] },
            ..TensorProto::default()
        };
        let check = |count: usize, name: &str, tensor: &TensorProto, format, expected: bool| {
            let outputs = (0..count).map(|index| (format!("{name}{index}"), tensor.clone())).collect();
            let encoded = encode(&outputs, format, NanStyle::Null);
            assert_eq!(encoded.as_ref().err().map(Error::code), (!expected).then_some(tonic::Code::Internal));
            if let Err(error) = encoded {
                assert!(error.message().contains("out of all proportion"), "{error}");
            }
        };
        let rows = |rows| tensor(DataType::DtFloat, &[rows, 0], b"");
        let numbers = |sizes: &[i64]| tensor(DataType::DtFloat, sizes, b"");
        let strings = |elements| tensor(DataType::DtString, &[elements], &[1; 1000]);
        let long_name = "n".repeat(1000);
        // Lists around nothing, names in every row, zeros, and strings of characters to be escaped.
        check(3, "", &rows(1000), Format::Columnar, true);
        check(300, "", &rows(1 << 20), Format::Columnar, false);
        check(2, &long_name, &rows(1000), Format::Row, true);
        check(2, &long_name, &rows(1 << 20), Format::Row, false);
        check(2, "", &numbers(&[1000, 1, 1]), Format::Row, true);
        check(40, "", &numbers(&[1 << 22]), Format::Row, false);
        check(1, "", &numbers(&[1 << 24, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), Format::Row, false);
        check(1, "", &strings(1000), Format::Columnar, true);
        check(1, "", &strings(1 << 18), Format::Columnar, false);
        check(1, "_bytes", &strings(1 << 20), Format::Columnar, false);
    }
}
