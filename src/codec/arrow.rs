//! Streams of Apache Arrow: a column is an input or an output, the rows of all batches are the first dimension.
//!
//! What pyarrow, polars, DuckDB and others hand on is read as it lies: numbers, bools and strings in
//! columns, in lists that all have the same length, or in tensors of a fixed shape. A column of one batch that
//! has the input's dtype becomes a tensor without a copy. Nulls, lists of different lengths and what is no number
//! or string are refused with their place. Of the two ways in which batches may be compressed LZ4 is known, which
//! some libraries take where nobody says otherwise; Zstandard, which none does, would need a library.
//!
//! The tables of metadata are those that `arrow-ipc` generates, read once `flatbuffers` has verified them. Its
//! arrays are not used: they panic where a message places a buffer outside of itself, and take memory for what
//! metadata says many times over.

mod batch;
mod column;
mod layout;
mod lz4;
mod messages;
mod room;
mod strings;
mod table;
#[cfg(test)]
mod tests;
mod write;

use super::body::{Decoded, Given, check_inputs, form, signature};
use super::cast::cast;
use super::predict::{Format, Inputs};
use crate::error::{Error, Result};
pub(crate) use room::room;
use table::Table;
pub(super) use write::encode;

/// Makes the columns of a body the inputs of their names.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for what is no such stream, or has other columns than those that the signature takes.
pub(super) fn decode(given: &Given<'_>) -> Result<Decoded> {
    let Given { agreement, body, signatures, limits } = *given;
    let mut signature_name = agreement.parameters.signature_name.clone().unwrap_or_default();
    let mut known = None;
    if let Some(signatures) = signatures {
        let (name, signature) = signature(agreement, signatures)?;
        (signature_name, known) = (name, Some(signature));
    }
    let table = Table::open(body, limits.most_dimensions())?;
    let mut dtypes = Vec::with_capacity(table.columns.len());
    for column in &table.columns {
        dtypes.push(known.map(|signature| signature.input(&column.name)).transpose()?.map(|it| it.dtype));
    }
    let mut inputs = Inputs::new();
    for ((name, mut dense), dtype) in table.read(limits)?.into_iter().zip(dtypes) {
        if inputs.contains_key(&name) {
            return Err(Error::invalid_argument(format!("The stream has two columns of the name {name}")));
        }
        if let Some(dtype) = dtype {
            dense = cast(&name, dense, dtype)?;
        }
        inputs.insert(name, dense.into_proto());
    }
    if let Some(signature) = known {
        check_inputs(&inputs, signature)?;
    }
    let form = form(agreement.reply, Format::Columnar);
    Ok(Decoded { signature_name, inputs, output_filter: Vec::new(), form })
}
