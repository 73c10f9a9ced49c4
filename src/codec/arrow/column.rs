//! A column while its batches are read, and the tensor that it becomes.

use bytes::Bytes;

use super::batch::{Batch, Fault, Offsets, Run};
use super::layout::{Layout, Leaf, List};
use super::strings::{self, Dictionaries};
use crate::codec::cast::place;
use crate::codec::dense::{Dense, Elements};
use crate::codec::dtype;
use crate::codec::limits::Limits;
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;

/// A column of which some batches have been read.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) layout: Layout,
    rows: usize,
    /// How many values the lists of each level have, where that is known by now.
    sizes: Vec<Option<usize>>,
    /// The strings, or the numbers of each batch.
    values: Vec<Bytes>,
}

impl Column {
    /// A column without rows.
    pub(super) fn new(name: String, layout: Layout) -> Self {
        let sizes = layout.lists.iter().map(|list| match list {
            List::Fixed(size, _) => Some(*size),
            List::Offsets { .. } => None,
        });
        Self { sizes: sizes.collect(), name, layout, rows: 0, values: Vec::new() }
    }

    /// Reads what a batch has of it.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` with what is wrong, and the place of the value if it is one.
    pub(super) fn read(
        &mut self,
        batch: &mut Batch<'_>,
        dictionaries: &Dictionaries,
        limits: &Limits,
    ) -> Result<()> {
        let before = self.rows;
        self.rows = before.saturating_add(batch.rows);
        let mut dimensions = vec![self.rows];
        self.append(batch, dictionaries, limits, &mut dimensions).map_err(|Fault { index, what }| {
            let row = dimensions.iter().skip(1).fold(1_usize, |count, size| count.saturating_mul(*size));
            let index = index.map(|index| before.saturating_mul(row).saturating_add(index));
            let place =
                index.map_or_else(|| self.name.clone(), |index| place(&self.name, index, &dimensions));
            Error::invalid_argument(format!("{place}: {what}"))
        })
    }

    /// The same, with the dimensions down to the level at which it was reading.
    fn append(
        &mut self,
        batch: &mut Batch<'_>,
        dictionaries: &Dictionaries,
        limits: &Limits,
        dimensions: &mut Vec<usize>,
    ) -> Result<(), Fault> {
        let mut run = Run { start: 0, count: batch.rows };
        check(dimensions, limits.elements)?;
        for (level, (list, size)) in self.layout.lists.iter().zip(&mut self.sizes).enumerate() {
            check_rows(level, batch.array(run)?, run)?;
            match list {
                List::Fixed(size, shape) => {
                    run = run.times(*size)?;
                    dimensions.extend_from_slice(shape);
                }
                List::Offsets { is_long } => {
                    (run, *size) = Offsets::new(&batch.buffer()?, run, *is_long)?.lists(*size)?;
                    dimensions.push(size.unwrap_or_default());
                }
            }
            check(dimensions, limits.elements)?;
        }
        check_rows(self.layout.lists.len(), batch.array(run)?, run)?;
        let values = match &self.layout.leaf {
            Leaf::Bits => bits(&batch.buffer()?, run)?,
            Leaf::Numbers(dtype) => run.of(&batch.buffer()?, dtype::width(*dtype).unwrap_or_default())?,
            leaf => {
                let is_string = leaf.dtype() == DataType::DtString;
                let (most, mut numbers) = (limits.string_size, Vec::new());
                let out = if is_string { &mut self.values } else { &mut numbers };
                strings::read(leaf, batch, run, dictionaries, most, out)?;
                joined(numbers)
            }
        };
        if !values.is_empty() {
            self.values.push(values);
        }
        Ok(())
    }

    /// How many bytes its strings beyond the first `known` have, if some of them may be the same bytes of the body.
    pub(super) fn unfolded(&self, known: usize) -> usize {
        let strings = self.values.get(known..).filter(|_| self.layout.leaf.is_folded());
        strings.unwrap_or_default().iter().map(Bytes::len).fold(0, usize::saturating_add)
    }

    /// How many strings there are.
    pub(super) fn strings(&self) -> usize {
        self.values.len()
    }

    /// The tensor of all batches.
    pub(super) fn into_dense(self) -> (String, Dense) {
        let mut dimensions = vec![self.rows];
        for (list, size) in self.layout.lists.iter().zip(self.sizes) {
            match list {
                List::Fixed(_, shape) => dimensions.extend_from_slice(shape),
                // Of no lists at all nobody can tell.
                List::Offsets { .. } => dimensions.push(size.unwrap_or_default()),
            }
        }
        let dtype = self.layout.leaf.dtype();
        let elements = match dtype {
            DataType::DtString => Elements::Strings(self.values),
            _ => Elements::Numbers(joined(self.values)),
        };
        (self.name, Dense { dtype, dimensions, elements })
    }
}

/// The arrays inside of lists may have more than is in them, and those of the rows may not.
fn check_rows(level: usize, length: usize, run: Run) -> Result<(), Fault> {
    if level == 0 && length != run.count {
        return Err(format!("it has {length} rows in a batch of {}", run.count).into());
    }
    Ok(())
}

/// An empty dimension does not make the others any smaller.
fn check(dimensions: &[usize], most: usize) -> Result<(), Fault> {
    let count = dimensions.iter().try_fold(1_usize, |count, size| count.checked_mul(*size.max(&1)));
    match count {
        Some(count) if count <= most => Ok(()),
        _ => Err(format!("More than {most} elements").into()),
    }
}

/// A byte for each bit of a run.
fn bits(buffer: &Bytes, run: Run) -> Result<Bytes, Fault> {
    let end = run.end()?;
    if run.count > 0 && end.div_ceil(8) > buffer.len() {
        return Err(format!("a buffer has {} bytes, and {} are needed", buffer.len(), end.div_ceil(8)).into());
    }
    let bit = |at: usize| buffer.get(at / 8).map_or(0, |byte| byte >> (at % 8) & 1);
    Ok((run.start..end).map(bit).collect::<Vec<_>>().into())
}

/// Numbers of several batches in a row; those of one are not copied.
fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() > 1 {
        return pieces.concat().into();
    }
    pieces.pop().unwrap_or_default()
}
