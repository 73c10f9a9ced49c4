//! The reply: `predictions`, a list with an entry per row, or `outputs`, whole tensors.

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

/// Writes the outputs of a model in the format of the request.
///
/// A single output is written bare, several as objects with their names, sorted.
///
/// # Errors
///
/// As in the original these are `INVALID_ARGUMENT`: no outputs, a dtype without a form in JSON,
/// and for the row format a scalar or tensors of different batch sizes. `INTERNAL` if a tensor
/// contradicts itself.
#[expect(clippy::implicit_hasher, reason = "it is the map that prost generates")]
pub fn encode(outputs: &HashMap<String, TensorProto>, format: Format, nan: NanStyle) -> Result<Vec<u8>> {
    let mut tensors = outputs
        .iter()
        .map(|(name, tensor)| Ok((name.as_str(), Printer::new(name, tensor, nan)?)))
        .collect::<Result<Vec<_>>>()?;
    tensors.sort_unstable_by_key(|(name, _)| *name);
    if tensors.is_empty() {
        return Err(Error::invalid_argument("Cannot convert empty tensor map to JSON"));
    }
    let elements = tensors.iter().map(|(_, tensor)| tensor.elements()).fold(0, usize::saturating_add);
    // The last few elements ask for more room than they take.
    let spare = 32 + elements.min(writer::BATCH) * TEXT_PER_ELEMENT * 2;
    let mut out = Vec::with_capacity(elements.saturating_mul(TEXT_PER_ELEMENT).min(MAX_RESERVED) + spare);
    match format {
        Format::Row => encode_rows(&tensors, &mut out)?,
        Format::Columnar => encode_columns(&tensors, &mut out)?,
    }
    Ok(out)
}

fn encode_rows(tensors: &[(&str, Printer<'_>)], out: &mut Vec<u8>) -> Result<()> {
    let batch_size = batch_size(tensors)?;
    out.extend_from_slice(b"{\"predictions\":");
    if let [(_, tensor)] = tensors {
        tensor.write(out)?;
    } else {
        out.push(b'[');
        let names = names(tensors);
        for row in 0..batch_size {
            out.extend_from_slice(if row == 0 { b"{" } else { b",{" });
            for (index, ((_, tensor), name)) in tensors.iter().zip(&names).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(name);
                tensor.write_row(row, out)?;
            }
            out.push(b'}');
        }
        out.push(b']');
    }
    out.push(b'}');
    Ok(())
}

fn encode_columns(tensors: &[(&str, Printer<'_>)], out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(b"{\"outputs\":");
    if let [(_, tensor)] = tensors {
        tensor.write(out)?;
    } else {
        for (index, ((_, tensor), name)) in tensors.iter().zip(names(tensors)).enumerate() {
            out.push(if index == 0 { b'{' } else { b',' });
            out.extend_from_slice(&name);
            tensor.write(out)?;
        }
        out.push(b'}');
    }
    out.push(b'}');
    Ok(())
}

/// The names as member names, colon included.
fn names(tensors: &[(&str, Printer<'_>)]) -> Vec<Vec<u8>> {
    let name = |(name, _): &(&str, Printer<'_>)| {
        let mut text = Vec::new();
        writer::write_string(name.as_bytes(), &mut text);
        text.push(b':');
        text
    };
    tensors.iter().map(name).collect()
}

/// The size of the first dimension, which all outputs must share.
fn batch_size(tensors: &[(&str, Printer<'_>)]) -> Result<usize> {
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
