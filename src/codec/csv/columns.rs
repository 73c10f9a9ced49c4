//! Which columns are which elements of which input, and the tensors that come of them.

use std::collections::HashMap;

use bytes::Bytes;

use super::cell;
use crate::codec::dense::{Dense, Elements};
use crate::codec::dtype;
use crate::codec::limits::Limits;
use crate::codec::predict::Inputs;
use crate::codec::rows;
use crate::codec::signature::{Input, Signature};
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;

/// What the name of a column says.
#[derive(Debug)]
pub(super) enum Name {
    /// The number of an input in its signature, and the place in its row if there is one.
    Input(usize, Option<usize>),
    Other(String),
}

/// What a name means in a signature. Of those that are of no input the first one is kept, for a message.
pub(super) fn name(text: &[u8], signature: &Signature, is_shown: &mut bool) -> Name {
    /// How much of a name messages show.
    const SHOWN: usize = 100;
    let text = text.trim_ascii();
    let find = |name: &[u8]| signature.inputs.binary_search_by(|input| input.name.as_bytes().cmp(name)).ok();
    if let Some(index) = find(text) {
        return Name::Input(index, None);
    }
    let indexed = || {
        let text = std::str::from_utf8(text).ok()?;
        let (name, place) = text.strip_suffix(']')?.rsplit_once('[')?;
        let is_number = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit());
        let place = place.parse().ok().filter(|_| is_number)?;
        Some(Name::Input(find(name.as_bytes())?, Some(place)))
    };
    indexed().unwrap_or_else(|| {
        let shown = if std::mem::take(is_shown) { &text[..text.len().min(SHOWN)] } else { &[] };
        Name::Other(String::from_utf8_lossy(shown).into_owned())
    })
}

/// The columns of a table, and what has been read of them.
pub(super) struct Columns<'a> {
    inputs: Vec<Column<'a>>,
    /// For each column the number of its input among those, and its place in the row of that.
    places: Vec<(usize, usize)>,
    /// How many cells the row has so far.
    cells: usize,
    rows: usize,
}

/// The columns of one input.
struct Column<'a> {
    input: &'a Input,
    /// How many there are.
    width: usize,
    /// Whether they are numbered, and so a dimension.
    is_list: bool,
    store: Store,
}

enum Store {
    Numbers { content: Vec<u8>, width: usize },
    Strings { text: Vec<u8>, spans: Vec<(usize, usize)> },
}

impl<'a> Columns<'a> {
    /// The columns of these names; `None` if none of them is one of an input, or the query says whose they are.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for names that are missing, too many, or of no input.
    pub(super) fn named(names: &[Name], signature: &'a Signature, is_told: bool) -> Result<Option<Self>> {
        if is_told || names.iter().all(|name| matches!(name, Name::Other(_))) {
            return Ok(None);
        }
        let mut numbers = HashMap::new();
        let mut columns = Self::new();
        for name in names {
            let (input, place) = match name {
                Name::Input(input, place) => (*input, *place),
                Name::Other(name) => {
                    let known: Vec<_> = signature.inputs.iter().map(|input| input.name.as_str()).collect();
                    let known = known.join(", ");
                    return Err(Error::invalid_argument(format!(
                        "The column {name:?} is no input of the signature, which has: {known}"
                    )));
                }
            };
            let number = *numbers.entry(input).or_insert_with(|| {
                columns.inputs.push(Column::new(&signature.inputs[input], 0, place.is_some()));
                columns.inputs.len() - 1
            });
            let column = &mut columns.inputs[number];
            if column.is_list != place.is_some() || (place.is_none() && column.width > 0) {
                return Err(several(&column.input.name, place));
            }
            column.width += 1;
            columns.places.push((number, place.unwrap_or_default()));
        }
        columns.check_places()?;
        Ok(Some(columns))
    }

    /// As many columns as the first row has, or so many, which are all of one input.
    pub(super) fn row(input: &'a Input, width: usize) -> Self {
        let inputs = vec![Column::new(input, width, true)];
        Self { inputs, places: (0..width).map(|place| (0, place)).collect(), ..Self::new() }
    }

    fn new() -> Self {
        Self { inputs: Vec::new(), places: Vec::new(), cells: 0, rows: 0 }
    }

    /// Every place of a row has one column.
    fn check_places(&self) -> Result<()> {
        let mut seen: Vec<_> = self.inputs.iter().map(|column| vec![false; column.width]).collect();
        for (number, place) in &self.places {
            match seen[*number].get_mut(*place) {
                Some(seen) if *seen => return Err(several(&self.inputs[*number].input.name, Some(*place))),
                Some(seen) => *seen = true,
                // Then there is one missing.
                None => {}
            }
        }
        for (column, seen) in self.inputs.iter().zip(&seen) {
            if let Some(missing) = seen.iter().position(|seen| !seen) {
                let name = &column.input.name;
                return Err(Error::invalid_argument(format!("There is no column \"{name}[{missing}]\"")));
            }
        }
        Ok(())
    }

    /// Takes the next cell of a row. While `is_open` the first row says how many there are.
    pub(super) fn read(&mut self, index: usize, text: &[u8], is_open: bool) -> Result<(), String> {
        if is_open && self.rows == 0 {
            self.places.push((0, index));
            self.inputs[0].width = index + 1;
        }
        let most = self.places.len();
        let &(number, place) =
            self.places.get(index).ok_or_else(|| format!("it has more than the {most} columns"))?;
        self.cells = index + 1;
        let rows = self.rows;
        let column = &mut self.inputs[number];
        let Column { input, width, is_list, .. } = *column;
        // The first row of an open table has no width yet.
        let at = if is_open && rows == 0 { index } else { rows * width + place };
        let fault = || {
            let column = if is_list { format!("{}[{place}]", input.name) } else { input.name.clone() };
            let (shown, dtype) =
                (String::from_utf8_lossy(&text[..text.len().min(100)]), dtype::name(input.dtype));
            format!("column {column}: {shown:?} is not a {dtype}")
        };
        match &mut column.store {
            Store::Numbers { content, width } => {
                let (start, end) = (at * *width, (at + 1) * *width);
                if content.len() < end {
                    content.resize(end, 0);
                }
                let is_read = cell::read(text, input.dtype, &mut content[start..end]);
                if is_read { Ok(()) } else { Err(fault()) }
            }
            Store::Strings { text: all, spans } => {
                if spans.len() <= at {
                    spans.resize(at + 1, (0, 0));
                }
                spans[at] = (all.len(), all.len() + text.len());
                all.extend_from_slice(text);
                Ok(())
            }
        }
    }

    /// A row has ended.
    pub(super) fn end_row(&mut self, limits: &Limits) -> Result<(), String> {
        let (cells, columns) = (std::mem::take(&mut self.cells), self.places.len());
        if cells != columns {
            return Err(format!("it has {cells} cells, and there are {columns} columns"));
        }
        self.rows += 1;
        let most = limits.elements;
        if self.inputs.iter().any(|column| column.width.saturating_mul(self.rows) > most) {
            return Err(format!("More than {most} elements"));
        }
        for column in &self.inputs {
            if let Store::Strings { spans, .. } = &column.store {
                let last = spans.iter().rev().take(column.width);
                if last.into_iter().any(|(start, end)| end - start > limits.string_size) {
                    let (name, most) = (&column.input.name, limits.string_size);
                    return Err(format!("column {name}: More than {most} bytes in a string"));
                }
            }
        }
        Ok(())
    }

    /// The tensors of all rows.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a row that does not have the shape that the signature wants.
    pub(super) fn into_tensors(self) -> Result<Inputs> {
        let rows = self.rows;
        self.inputs
            .into_iter()
            .map(|column| Ok((column.input.name.clone(), column.into_dense(rows)?.into_proto())))
            .collect()
    }
}

impl<'a> Column<'a> {
    fn new(input: &'a Input, width: usize, is_list: bool) -> Self {
        let store = match dtype::width(input.dtype) {
            Some(width) => Store::Numbers { content: Vec::new(), width },
            None => Store::Strings { text: Vec::new(), spans: Vec::new() },
        };
        Self { input, width, is_list, store }
    }

    fn into_dense(self, rows: usize) -> Result<Dense> {
        let (dtype, name) = (self.input.dtype, &self.input.name);
        let is_number = cell::has_form(dtype);
        if !is_number && dtype != DataType::DtString {
            let dtype = dtype::name(dtype);
            return Err(Error::invalid_argument(format!(
                "The input {name} is of type {dtype}, which has no form in text/csv"
            )));
        }
        let dimensions = rows::shape(self.input, rows, self.width, self.is_list)?;
        let elements = match self.store {
            Store::Numbers { content, .. } => Elements::Numbers(content.into()),
            Store::Strings { text, spans } => {
                let text = Bytes::from(text);
                Elements::Strings(spans.into_iter().map(|(start, end)| text.slice(start..end)).collect())
            }
        };
        Ok(Dense { dtype, dimensions, elements })
    }
}

fn several(name: &str, place: Option<usize>) -> Error {
    let place = place.map_or_else(String::new, |place| format!("[{place}]"));
    Error::invalid_argument(format!("There are several columns \"{name}{place}\""))
}
