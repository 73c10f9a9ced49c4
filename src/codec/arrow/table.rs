//! A stream as a whole: a schema, then batches of rows, with dictionaries before and between them.

use arrow_ipc::{DictionaryBatch, Endianness};
use bytes::Bytes;

use super::batch::{Batch, Fault, Inflatable, Run};
use super::column::Column;
use super::layout::{Layout, Leaf};
use super::messages::{Messages, broken};
use super::strings::{self, Dictionaries};
use crate::codec::dense::Dense;
use crate::codec::limits::Limits;
use crate::error::{Error, Result};

/// The most columns: no signature has as many inputs.
const MOST_COLUMNS: usize = 4096;

/// A stream of which the schema has been read.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) columns: Vec<Column>,
    pub(super) messages: Messages<'a>,
}

impl<'a> Table<'a> {
    /// Reads the schema of a body.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if there is none, or if it has columns that are no tensors.
    pub(super) fn open(body: &'a Bytes, most_dimensions: usize) -> Result<Self> {
        let mut messages = Messages::new(body)?;
        let first = messages.read()?.and_then(|(message, _)| message.header_as_schema());
        let schema = first.ok_or_else(|| broken("it does not start with a schema"))?;
        if schema.endianness() != Endianness::Little {
            return Err(broken("its numbers are big-endian"));
        }
        let fields = schema.fields().map(|fields| fields.iter()).into_iter().flatten();
        let mut columns = Vec::new();
        for field in fields {
            if columns.len() == MOST_COLUMNS {
                return Err(broken(&format!("it has more than {MOST_COLUMNS} columns")));
            }
            let name = field.name().unwrap_or_default().to_owned();
            let layout = Layout::of(field, most_dimensions)
                .map_err(|what| Error::invalid_argument(format!("{name}: {what}")))?;
            columns.push(Column::new(name, layout));
        }
        Ok(Self { columns, messages })
    }

    /// Reads all batches: a tensor for each column, in their order.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` with the column, and the place in it.
    pub(super) fn read(mut self, limits: &Limits) -> Result<Vec<(String, Dense)>> {
        let mut dictionaries = Dictionaries::new();
        let mut inflatable = Inflatable::new(limits.inflated);
        // A byte of an index stands for a whole string, which the model server gets each time.
        let mut unfolded = 0_usize;
        while let Some((message, content)) = self.messages.read()? {
            if let Some(batch) = message.header_as_record_batch() {
                let mut batch = Batch::new(batch, content, &mut inflatable)?;
                for column in &mut self.columns {
                    let known = column.strings();
                    column.read(&mut batch, &dictionaries, limits)?;
                    unfolded = unfolded.saturating_add(column.unfolded(known));
                    if unfolded > limits.inflated {
                        let most = limits.inflated;
                        return Err(Error::payload_too_large(format!(
                            "{}: the strings of dictionaries and views have more than {most} bytes together",
                            column.name
                        )));
                    }
                }
            } else if let Some(dictionary) = message.header_as_dictionary_batch() {
                let data = dictionary.data().ok_or_else(|| broken("a dictionary has no batch"))?;
                let batch = Batch::new(data, content, &mut inflatable)?;
                self.read_dictionary(dictionary, batch, limits, &mut dictionaries)?;
            } else {
                return Err(broken("a message is neither a batch nor a dictionary"));
            }
        }
        Ok(self.columns.into_iter().map(Column::into_dense).collect())
    }

    /// Reads the values of a dictionary, in place of those it had or behind them.
    fn read_dictionary(
        &self,
        dictionary: DictionaryBatch<'_>,
        mut batch: Batch<'_>,
        limits: &Limits,
        dictionaries: &mut Dictionaries,
    ) -> Result<()> {
        let id = dictionary.id();
        let coded = self.columns.iter().find_map(|column| match &column.layout.leaf {
            Leaf::Coded { dictionary, values, .. } if *dictionary == id => Some((column, values)),
            _ => None,
        });
        let (column, leaf) = coded.ok_or_else(|| broken("a dictionary belongs to no column"))?;
        let mut values =
            if dictionary.isDelta() { dictionaries.remove(&id) } else { None }.unwrap_or_default();
        let run = Run { start: 0, count: batch.rows };
        batch
            .array(run)
            .and_then(|_| {
                strings::read(leaf, &mut batch, run, &Dictionaries::new(), limits.string_size, &mut values)
            })
            .map_err(|Fault { index, what }| {
                let place = index.map(|index| format!("[{index}]")).unwrap_or_default();
                Error::invalid_argument(format!("{}: its dictionary{place}: {what}", column.name))
            })?;
        dictionaries.insert(id, values);
        Ok(())
    }
}
