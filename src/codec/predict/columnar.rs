//! The columnar format: `inputs`, or what a route of one's own calls it: a value for the only input or an object
//! of named values.

use bytes::Bytes;

use super::Inputs;
use crate::codec::column::Column;
use crate::codec::fault::Fault;
use crate::codec::reader::Reader;
use crate::codec::signature::{Input, Signature};

/// Decodes the value at the reader's position, which messages call `key`.
pub(super) fn decode(
    reader: &mut Reader<'_>,
    body: &Bytes,
    signature: &Signature,
    key: &str,
) -> Result<Inputs, Fault> {
    if reader.byte() == b'{' && reader.clone().base64_object().is_none() {
        return decode_object(reader, body, &signature.inputs, key);
    }
    match signature.inputs.as_slice() {
        [input] => {
            let column = read(reader, body, input, 1)?;
            Ok(Inputs::from([(input.name.clone(), column.into_tensor())]))
        }
        _ => Err(Fault::text(
            reader.at,
            format!(
                "{key} is a plain value/list, but expecting an object as multiple input tensors required as per \
                 tensorinfo_map"
            ),
        )),
    }
}

/// Reads the members that are inputs, of each name the first; others are ignored.
fn decode_object(
    reader: &mut Reader<'_>,
    body: &Bytes,
    inputs: &[Input],
    key: &str,
) -> Result<Inputs, Fault> {
    let start = reader.at;
    let mut tensors = Inputs::with_capacity(inputs.len());
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        reader.peek();
        let name = key.bytes(body);
        // The inputs are sorted, and a body that names its own inputs may name many.
        let index = inputs.binary_search_by(|input| input.name.as_bytes().cmp(name));
        match index.ok().and_then(|index| inputs.get(index)) {
            Some(input) if !tensors.contains_key(&input.name) => {
                let column = read(reader, body, input, inputs.len())?;
                tensors.insert(input.name.clone(), column.into_tensor());
            }
            _ => reader.skip_value()?,
        }
        more = reader.next_member()?;
    }
    match inputs.iter().find(|input| !tensors.contains_key(&input.name)) {
        Some(missing) => {
            Err(Fault::text(start, format!("Missing named input: {} in '{key}' object.", missing.name)))
        }
        None => Ok(tensors),
    }
}

/// Reads the value of one of `count` inputs, which share the rest of the body.
fn read(reader: &mut Reader<'_>, body: &Bytes, input: &Input, count: usize) -> Result<Column, Fault> {
    let mut column = Column::new(input.dtype, body);
    column.reserve((body.len() - reader.at) / count.max(1), reader.limits);
    column.read(reader)?;
    Ok(column)
}
