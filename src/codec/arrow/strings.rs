//! The strings of a column, which are slices of the body in all their layouts, and the numbers of dictionaries, which
//! are slices as well.

use std::collections::HashMap;

use bytes::Bytes;

use super::batch::{Batch, Fault, Offsets, Run};
use super::layout::Leaf;
use crate::codec::dtype;
use crate::proto::tensorflow::DataType;

/// What dictionaries hold, by their numbers, as far as they have come.
pub(super) type Dictionaries = HashMap<i64, Vec<Bytes>>;

/// Appends the strings of a run, each of no more than `most` bytes.
pub(super) fn read(
    leaf: &Leaf,
    batch: &mut Batch<'_>,
    run: Run,
    dictionaries: &Dictionaries,
    most: usize,
    out: &mut Vec<Bytes>,
) -> Result<(), Fault> {
    match leaf {
        Leaf::Strings { is_long } => {
            let offsets = Offsets::new(&batch.buffer()?, run, *is_long)?;
            let data = batch.buffer()?;
            let ends = offsets.iter().skip(1);
            append(run, offsets.iter().zip(ends), most, out, |(start, end)| slice(&data, start, end))
        }
        Leaf::FixedStrings(width) => fixed(batch, run, *width, most, out),
        Leaf::Numbers(dtype) => fixed(batch, run, dtype::width(*dtype).unwrap_or(1), usize::MAX, out),
        Leaf::Views => {
            let views = run.of(&batch.buffer()?, VIEW)?;
            let data = batch.data_buffers()?;
            append(run, 0..run.count, most, out, |at| view(&views.slice(at * VIEW..(at + 1) * VIEW), &data))
        }
        Leaf::Coded { dictionary, index, values: leaf } => {
            let size = dtype::width(leaf.dtype());
            let width = dtype::width(*index).unwrap_or(1);
            let indices = run.of(&batch.buffer()?, width)?;
            let values = dictionaries.get(dictionary).map(Vec::as_slice).unwrap_or_default();
            append(run, indices.chunks_exact(width), most, out, |bytes| {
                let index = number(bytes, *index);
                let value = usize::try_from(index).ok().and_then(|index| values.get(index));
                let value = value.ok_or_else(|| {
                    format!("the dictionary has {} values, and none of number {index}", values.len())
                })?;
                // Another column may have the same dictionary, as what it is itself.
                match size {
                    Some(size) if size != value.len() => Err(format!(
                        "the dictionary has values of {} bytes, and {size} are needed",
                        value.len()
                    )),
                    _ => Ok(value.clone()),
                }
            })
        }
        Leaf::Bits => Ok(()),
    }
}

/// Appends values that all have as many bytes.
fn fixed(
    batch: &mut Batch<'_>,
    run: Run,
    width: usize,
    most: usize,
    out: &mut Vec<Bytes>,
) -> Result<(), Fault> {
    let data = run.of(&batch.buffer()?, width)?;
    append(run, 0..run.count, most, out, |at| slice(&data, at * width, (at + 1) * width))
}

/// Appends as many strings as a run has. The buffer that has a part for each is known to be that long.
fn append<T>(
    run: Run,
    parts: impl Iterator<Item = T>,
    most: usize,
    out: &mut Vec<Bytes>,
    string: impl Fn(T) -> Result<Bytes, String>,
) -> Result<(), Fault> {
    out.reserve(run.count);
    for (index, part) in parts.enumerate() {
        let string = string(part).map_err(|what| Fault::at(index, what))?;
        if string.len() > most {
            return Err(Fault::at(index, format!("More than {most} bytes in a string")));
        }
        out.push(string);
    }
    Ok(())
}

fn slice(data: &Bytes, start: usize, end: usize) -> Result<Bytes, String> {
    if start > end || end > data.len() {
        return Err("the string lies outside of its buffer".to_owned());
    }
    Ok(data.slice(start..end))
}

/// How many bytes a view has, and how many a string has at most to be in it.
const VIEW: usize = 16;
const SHORT: usize = 12;

/// The string of a view: its length, then itself or its start, the number of its buffer and its place there.
fn view(view: &Bytes, data: &[Bytes]) -> Result<Bytes, String> {
    let (words, _) = view.as_chunks::<4>();
    // What is negative is beyond every buffer.
    let word = |at: usize| words.get(at).and_then(|word| usize::try_from(u32::from_le_bytes(*word)).ok());
    let length = word(0).unwrap_or_default();
    if length <= SHORT {
        return slice(view, 4, 4 + length);
    }
    let data = word(2).and_then(|buffer| data.get(buffer)).ok_or("the string is in no buffer")?;
    let start = word(3).unwrap_or_default();
    slice(data, start, start.saturating_add(length))
}

/// The number that these bytes are.
fn number(bytes: &[u8], dtype: DataType) -> i128 {
    let is_negative =
        matches!(dtype, DataType::DtInt8 | DataType::DtInt16 | DataType::DtInt32 | DataType::DtInt64)
            && bytes.last().is_some_and(|byte| *byte > 127);
    let mut wide = [if is_negative { 255 } else { 0 }; 16];
    for (place, byte) in wide.iter_mut().zip(bytes) {
        *place = *byte;
    }
    i128::from_le_bytes(wide)
}
