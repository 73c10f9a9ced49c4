//! The row format: `instances`, or what a route of one's own calls it: a list with one entry per row of the batch.

use std::ops::Range;

use bytes::Bytes;

use super::Inputs;
use crate::codec::column::Column;
use crate::codec::fault::{Fault, Value, What};
use crate::codec::limits::Limits;
use crate::codec::nested::Shape;
use crate::codec::reader::Reader;
use crate::codec::signature::{Input, Signature};

/// Decodes the value at the reader's position, which messages call `key`.
pub(super) fn decode(
    reader: &mut Reader<'_>,
    body: &Bytes,
    signature: &Signature,
    key: &str,
) -> Result<Inputs, Fault> {
    let start = reader.at;
    if reader.byte() != b'[' {
        reader.skip_value()?;
        let value = Value::at(body, start);
        return Err(Fault::text(
            start,
            format!("JSON Value: {} Expecting '{key}' to be an list/array", value.text),
        ));
    }
    let mut first = reader.clone();
    if !first.open_array()? {
        *reader = first;
        return Err(Fault::text(start, format!("JSON Value: [] No values in '{key}' array")));
    }
    // The first entry decides: an object gives a value for every input, anything else is one.
    if first.byte() == b'{' && first.base64_object().is_none() {
        return decode_objects(reader, body, &signature.inputs);
    }
    match signature.inputs.as_slice() {
        [input] => decode_values(reader, body, input),
        _ => Err(Fault::text(
            start,
            format!(
                "{key} is a plain list, but expecting list of objects as multiple input tensors required as per \
                 tensorinfo_map"
            ),
        )),
    }
}

/// Entries that are values of the only input: the whole list is one nested value.
fn decode_values(reader: &mut Reader<'_>, body: &Bytes, input: &Input) -> Result<Inputs, Fault> {
    let start = reader.clone();
    let mut column = Column::new(input.dtype, body);
    column.reserve(body.len() - start.at, reader.limits);
    let fault = match column.read(reader) {
        Ok(()) if column.shape().rank() > 0 => {
            return Ok(Inputs::from([(input.name.clone(), column.into_tensor())]));
        }
        // Two numbers are a complex number, but here they are two rows that are none.
        Ok(()) => Fault::new(start.at, What::Type(input.dtype)),
        Err(fault) if fault.ends_text() || fault.is_limit() => return Err(fault),
        Err(fault) => fault,
    };
    Err(explain_values(body, start, input).err().unwrap_or(fault))
}

/// Finds out which entry does not go with the first one, by reading them one by one.
#[cold]
fn explain_values(body: &Bytes, mut reader: Reader<'_>, input: &Input) -> Result<(), Fault> {
    let mut first: Option<Shape> = None;
    let mut more = reader.open_array()?;
    for index in 0_usize.. {
        if !more {
            break;
        }
        let entry = {
            reader.peek();
            reader.at
        };
        if reader.byte() == b'{' && reader.clone().base64_object().is_none() {
            return Err(Fault::text(
                entry,
                format!("Expecting value/list but got object at item {index} of input list"),
            ));
        }
        let mut column = Column::new(input.dtype, body);
        column.read(&mut reader)?;
        let expected = first.get_or_insert_with(|| column.shape().clone());
        same_shape(entry, expected, column.shape())?;
        more = reader.next_element()?;
    }
    Ok(())
}

/// The rule that all rows of an input have the shape of its first row.
fn same_shape(at: usize, expected: &Shape, found: &Shape) -> Result<(), Fault> {
    let (size, expected_size) = (found.elements(), expected.elements());
    if size != expected_size {
        return Err(Fault::text(at, format!("Expecting tensor size: {expected_size} but got: {size}")));
    }
    let (text, expected_text) = (found.text(), expected.text());
    if text != expected_text {
        return Err(Fault::text(at, format!("Expecting shape {expected_text} but got: {text}")));
    }
    Ok(())
}

/// Entries that are objects with a value for every input.
fn decode_objects(reader: &mut Reader<'_>, body: &Bytes, inputs: &[Input]) -> Result<Inputs, Fault> {
    let mut rows = Rows::new(inputs, body.len(), reader.limits);
    rows.columns.iter_mut().for_each(|column| column.turn_to(body));
    let start = reader.at;
    let mut more = reader.open_array()?;
    while more {
        if reader.peek() != b'{' || reader.clone().base64_object().is_some() {
            return Err(Fault::text(
                reader.at,
                format!("Expecting object but got list at item {} of input list", rows.count),
            ));
        }
        rows.read(reader, body)?;
        rows.count += 1;
        more = reader.next_element()?;
    }
    rows.finish(start)
}

/// Decodes rows that stand apart, each on a line of the body: values of the only input or objects. All of them
/// have one shape.
pub(crate) fn decode_rows(
    body: &Bytes,
    lines: impl Iterator<Item = Range<usize>>,
    signature: &Signature,
    limits: &Limits,
) -> Result<Inputs, Fault> {
    let mut rows = Rows::new(&signature.inputs, body.len(), limits);
    rows.read_lines(body, lines)?;
    rows.finish(0)
}

/// The first row says how much room the rows of so much text take, and not of more: the others may be blank.
const MOST_FORESEEN: usize = 1 << 20;

/// The columns that rows fill. After a fault they are of no use.
pub(crate) struct Rows<'a> {
    inputs: &'a [Input],
    limits: &'a Limits,
    /// How many bytes of text the rows have.
    size: usize,
    /// A column for each input.
    columns: Vec<Column>,
    /// Which input each member of the first row was: later rows mostly keep that order.
    order: Vec<usize>,
    /// How many rows have been read.
    count: usize,
}

impl<'a> Rows<'a> {
    /// No rows so far, of a text that has about so many bytes.
    pub(crate) fn new(inputs: &'a [Input], size: usize, limits: &'a Limits) -> Self {
        let columns = inputs.iter().map(|input| Column::new(input.dtype, &Bytes::new())).collect();
        Self { inputs, limits, size, columns, order: Vec::with_capacity(inputs.len()), count: 0 }
    }

    /// The tensors of all rows, which start here.
    pub(crate) fn finish(self, start: usize) -> Result<Inputs, Fault> {
        // The batch is one more dimension.
        let most = self.limits.most_dimensions();
        if self.columns.iter().any(|column| column.shape().rank() >= most) {
            return Err(Fault::new(start, What::Rank(most)));
        }
        let names = self.inputs.iter().map(|input| input.name.clone());
        Ok(names.zip(self.columns.into_iter().map(Column::into_batch)).collect())
    }

    /// Reads rows from a text, of which these are lines that follow each other but for blank ones.
    pub(crate) fn read_lines(
        &mut self,
        text: &Bytes,
        lines: impl Iterator<Item = Range<usize>>,
    ) -> Result<(), Fault> {
        self.columns.iter_mut().for_each(|column| column.turn_to(text));
        let mut lines = lines;
        while let Some(line) = lines.next() {
            let (count, mut reader) = self.read_plain_lines(text, line.start);
            let last = if count > 1 { lines.nth(count - 2) } else { None };
            // What is behind the row is not there for its reader.
            reader.bytes = text.get(..last.unwrap_or(line).end).unwrap_or_default();
            if count == 0 {
                self.read_line(&mut reader, text)?;
            }
            reader.peek();
            if reader.at < reader.bytes.len() {
                return reader.fault("The document root must not be followed by other values.");
            }
            self.count += count.max(1);
            if let (1, [column]) = (self.count, self.columns.as_mut_slice()) {
                column.reserve_rest(reader.at, self.size.min(MOST_FORESEEN), self.limits);
            }
        }
        Ok(())
    }

    /// Reads rows for as long as they are written plainly and like those before them: how many, and a reader behind
    /// the last one's value.
    fn read_plain_lines<'t>(&mut self, text: &'t [u8], start: usize) -> (usize, Reader<'t>)
    where
        'a: 't,
    {
        let mut reader = Reader::inside(text, start, 0, self.limits);
        let has_returns = text.get(..start).is_some_and(|before| before.ends_with(b"\r\n"));
        let count = match self.columns.as_mut_slice() {
            [column] if self.count > 0 => column.read_lines(&mut reader, has_returns),
            _ => 0,
        };
        (count, reader)
    }

    /// Reads one row that stands apart.
    fn read_line(&mut self, reader: &mut Reader<'_>, body: &Bytes) -> Result<(), Fault> {
        let first = reader.peek();
        let start = reader.at;
        if first == b'{' && reader.clone().base64_object().is_none() {
            return self.read(reader, body);
        }
        if let [column] = self.columns.as_mut_slice() {
            return column.read(reader);
        }
        let value = Value::at(reader.bytes, start).text;
        let names: Vec<_> = self.inputs.iter().map(|input| input.name.as_str()).collect();
        let text = format!("JSON Value: {value} Expecting an object with the inputs: {}", names.join(","));
        Err(Fault::text(start, text))
    }

    /// Reads one row: every input once, in any order.
    fn read(&mut self, reader: &mut Reader<'_>, body: &Bytes) -> Result<(), Fault> {
        let start = reader.at;
        let mut members = 0;
        let mut more = reader.open_object()?;
        while more {
            reader.peek();
            let at = reader.at;
            let key = reader.key()?;
            reader.peek();
            let index = self.input(key.bytes(body), members, reader.at)?;
            let (Some(column), Some(input)) = (self.columns.get_mut(index), self.inputs.get(index)) else {
                break;
            };
            if column.rows > self.count {
                return Err(Fault::text(at, format!("JSON object: repeats the input: {}", input.name)));
            }
            let value = reader.clone();
            if let Err(fault) = column.read(reader) {
                return Err(self.explain(fault, value, index, body));
            }
            members += 1;
            more = reader.next_member()?;
        }
        if members < self.inputs.len() {
            let names: Vec<_> = self.inputs.iter().map(|input| input.name.as_str()).collect();
            let text = Value::at(body, start).text;
            return Err(Fault::text(
                start,
                format!("JSON object: {text} keys must be equal to: {}", names.join(",")),
            ));
        }
        Ok(())
    }

    /// The index of the input of that name, looked for first where the first row had it.
    #[inline]
    fn input(&mut self, name: &[u8], member: usize, at: usize) -> Result<usize, Fault> {
        if let Some(&index) = self.order.get(member)
            && self.inputs.get(index).is_some_and(|input| input.name.as_bytes() == name)
        {
            return Ok(index);
        }
        let Ok(index) = self.inputs.binary_search_by(|input| input.name.as_bytes().cmp(name)) else {
            let name = String::from_utf8_lossy(name);
            return Err(Fault::text(at, format!("JSON object: does not have named input: {name}")));
        };
        if self.order.len() == member {
            self.order.push(index);
        }
        Ok(index)
    }

    /// Compares a value that does not fit with the rows before it.
    #[cold]
    fn explain(&self, fault: Fault, mut value: Reader<'_>, index: usize, body: &Bytes) -> Fault {
        let (Some(input), Some(column)) = (self.inputs.get(index), self.columns.get(index)) else {
            return fault;
        };
        if !fault.is_structural() || column.rows == 0 {
            return fault;
        }
        let mut alone = Column::new(input.dtype, body);
        let at = value.at;
        let result = alone.read(&mut value);
        result.and_then(|()| same_shape(at, column.shape(), alone.shape())).err().unwrap_or(fault)
    }
}
