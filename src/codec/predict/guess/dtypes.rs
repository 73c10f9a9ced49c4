//! The member `dtypes`: the dtypes of inputs by name, such as `{"x": "DT_INT64"}`.

use std::collections::BTreeMap;

use super::inputs::input_name;
use crate::codec::dtype;
use crate::codec::fault::{Fault, Value};
use crate::codec::reader::Reader;
use crate::proto::tensorflow::DataType;

/// Reads the member's value at the reader's position. Of each name the first one counts.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<BTreeMap<String, DataType>, Fault> {
    let start = reader.at;
    if reader.byte() != b'{' {
        let Value { kind, text } = Value::at(reader.bytes, start);
        return Err(Fault::text(
            start,
            format!("JSON Value: {text} Type: {kind} is not an object from names of inputs to dtypes"),
        ));
    }
    let mut dtypes = BTreeMap::new();
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        reader.peek();
        let name = input_name(key.bytes(reader.bytes), reader.at, dtypes.len())?;
        let dtype = read_dtype(reader)?;
        dtypes.entry(name).or_insert(dtype);
        more = reader.next_member()?;
    }
    Ok(dtypes)
}

fn read_dtype(reader: &mut Reader<'_>) -> Result<DataType, Fault> {
    let start = reader.at;
    let mut dtype = None;
    if reader.byte() == b'"' {
        let text = reader.string()?;
        dtype = str::from_utf8(text.bytes(reader.bytes)).ok().and_then(dtype::from_name);
    }
    dtype.filter(|&dtype| dtype != DataType::DtInvalid).ok_or_else(|| {
        let Value { kind, text } = Value::at(reader.bytes, start);
        Fault::text(start, format!("JSON Value: {text} Type: {kind} is not a dtype, such as \"DT_FLOAT\""))
    })
}
