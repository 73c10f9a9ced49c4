//! The arrays and buffers of one batch, taken in the order in which the columns are made of them.
//!
//! Nothing that a batch says of itself is trusted: buffers lie in its body and have no more bytes together than
//! that, arrays have the elements that are wanted of them, and offsets do not go back.

use arrow_ipc::{Buffer, CompressionType, FieldNode, RecordBatch};
use bytes::Bytes;
use flatbuffers::VectorIter;

use super::lz4;
use super::messages::broken;
use crate::error::{Error, Result};

/// What is wrong with a column, and with which of its values if it is one of them.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) index: Option<usize>,
    pub(super) what: String,
}

impl Fault {
    pub(super) fn at(index: usize, what: impl Into<String>) -> Self {
        Self { index: Some(index), what: what.into() }
    }
}

impl From<&str> for Fault {
    fn from(what: &str) -> Self {
        Self { index: None, what: what.to_owned() }
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self { index: None, what }
    }
}

/// The elements of an array that belong to a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) start: usize,
    pub(super) count: usize,
}

impl Run {
    pub(super) fn end(self) -> Result<usize, Fault> {
        self.start.checked_add(self.count).ok_or_else(|| Fault::from(BEYOND))
    }

    /// The elements of lists of this size.
    pub(super) fn times(self, size: usize) -> Result<Self, Fault> {
        match (self.start.checked_mul(size), self.count.checked_mul(size)) {
            (Some(start), Some(count)) => Ok(Self { start, count }),
            _ => Err(BEYOND.into()),
        }
    }

    /// The bytes of elements of this width.
    pub(super) fn of(self, buffer: &Bytes, width: usize) -> Result<Bytes, Fault> {
        let Self { start, count } = self.times(width)?;
        let end = Self { start, count }.end()?;
        if count == 0 {
            return Ok(Bytes::new());
        }
        if end > buffer.len() {
            return Err(format!("a buffer has {} bytes, and {end} are needed", buffer.len()).into());
        }
        Ok(buffer.slice(start..end))
    }
}

const BEYOND: &str = "its values are more than any memory holds";

/// What has not been taken of a batch.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) rows: usize,
    nodes: Option<VectorIter<'a, FieldNode>>,
    buffers: Option<VectorIter<'a, Buffer>>,
    data_buffers: Option<VectorIter<'a, i64>>,
    content: Bytes,
    /// How many bytes the other buffers have together at most.
    left: usize,
    is_compressed: bool,
}

impl<'a> Batch<'a> {
    /// The batch with this body, whose buffers may inflate to so many bytes together.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for one that is compressed with anything but LZ4, or has a negative number of rows;
    /// 413 for one that inflates to more.
    pub(super) fn new(batch: RecordBatch<'a>, content: Bytes, inflatable: &mut Inflatable) -> Result<Self> {
        if batch.compression().is_some_and(|it| it.codec() != CompressionType::LZ4_FRAME) {
            return Err(broken("its batches are compressed with zstd, write them with lz4 or uncompressed"));
        }
        inflatable.take(inflated(batch, &content))?;
        let rows = usize::try_from(batch.length()).map_err(|_| broken("a batch has less than no rows"))?;
        Ok(Self {
            rows,
            nodes: batch.nodes().map(|nodes| nodes.iter()),
            buffers: batch.buffers().map(|buffers| buffers.iter()),
            data_buffers: batch.variadicBufferCounts().map(|counts| counts.iter()),
            left: content.len(),
            is_compressed: batch.compression().is_some(),
            content,
        })
    }

    /// Takes an array up to its buffers of values, and checks that it has these elements, none of them null; tells
    /// how many it has in all.
    pub(super) fn array(&mut self, run: Run) -> Result<usize, Fault> {
        let node = self.nodes.as_mut().and_then(Iterator::next);
        let node = node.ok_or("its batch has fewer arrays than its columns are made of")?;
        let length = usize::try_from(node.length()).map_err(|_| "an array has less than no elements")?;
        let end = run.end()?;
        if length < end {
            return Err(format!("an array has {length} elements, and {end} are needed").into());
        }
        let validity = self.raw_buffer()?;
        if node.null_count() == 0 {
            return Ok(length);
        }
        let validity = self.inflate(validity)?;
        let is_null = |bit: usize| validity.get(bit / 8).is_none_or(|byte| byte >> (bit % 8) & 1 == 0);
        match (run.start..end).position(is_null) {
            Some(index) => Err(Fault::at(index, "it is null, which no tensor holds")),
            None => Ok(length),
        }
    }

    /// Takes a buffer.
    pub(super) fn buffer(&mut self) -> Result<Bytes, Fault> {
        let raw = self.raw_buffer()?;
        self.inflate(raw)
    }

    /// What a buffer holds; no more than what [`inflated`] has counted of it.
    fn inflate(&self, raw: Bytes) -> Result<Bytes, Fault> {
        if !self.is_compressed || raw.is_empty() {
            return Ok(raw);
        }
        let (length, data) = raw.split_first_chunk().ok_or(DAMAGED)?;
        if i64::from_le_bytes(*length) == PLAIN {
            return Ok(raw.slice(LENGTH..));
        }
        let length = usize::try_from(i64::from_le_bytes(*length)).map_err(|_| DAMAGED)?;
        Ok(lz4::inflate(data, length).ok_or(DAMAGED)?.into())
    }

    /// Takes a buffer as it lies in the batch.
    fn raw_buffer(&mut self) -> Result<Bytes, Fault> {
        let buffer = self.buffers.as_mut().and_then(Iterator::next);
        let buffer = buffer.ok_or("its batch has fewer buffers than its columns are made of")?;
        if buffer.length() == 0 {
            return Ok(Bytes::new());
        }
        let (start, length) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let (Ok(start), Ok(length)) = (start, length) else { return Err(OUTSIDE.into()) };
        let end = start.checked_add(length).filter(|end| *end <= self.content.len()).ok_or(OUTSIDE)?;
        self.left = self.left.checked_sub(length).ok_or("buffers of its batch lie over each other")?;
        Ok(self.content.slice(start..end))
    }

    /// Takes the buffers that hold the long strings of views.
    pub(super) fn data_buffers(&mut self) -> Result<Vec<Bytes>, Fault> {
        let count = self.data_buffers.as_mut().and_then(Iterator::next);
        let count = count.ok_or("its batch does not say how many buffers there are for its strings")?;
        // However many it says, there are no more than are found.
        (0..count).map(|_| self.buffer()).collect()
    }
}

const OUTSIDE: &str = "a buffer lies outside of its batch";

/// What stands before a compressed buffer: how many bytes it inflates to, or that it is not compressed after all.
const LENGTH: usize = size_of::<i64>();
const PLAIN: i64 = -1;

const DAMAGED: &str = "a compressed buffer is damaged";

/// How many bytes the buffers of a batch say that they inflate to, together.
pub(super) fn inflated(batch: RecordBatch<'_>, content: &Bytes) -> usize {
    let buffers = batch.buffers().filter(|_| batch.compression().is_some());
    let lengths = buffers.iter().flatten().filter_map(|buffer| {
        let start = usize::try_from(buffer.offset()).ok().filter(|_| buffer.length() > 0)?;
        let length = content.get(start..)?.first_chunk()?;
        usize::try_from(i64::from_le_bytes(*length)).ok()
    });
    lengths.fold(0, usize::saturating_add)
}

/// How many bytes the batches of a stream may still inflate to.
#[derive(Debug)]
pub(super) struct Inflatable {
    most: usize,
    left: usize,
}

impl Inflatable {
    pub(super) fn new(most: usize) -> Self {
        Self { most, left: most }
    }

    fn take(&mut self, size: usize) -> Result<()> {
        let left = self.left.checked_sub(size).ok_or_else(|| {
            let most = self.most;
            Error::payload_too_large(format!(
                "The batches of the stream inflate to more than the {most} bytes that one of its size may have"
            ))
        });
        self.left = left?;
        Ok(())
    }
}

/// Where lists or strings end, each where the next one starts.
#[derive(Debug)]
pub(super) struct Offsets {
    bytes: Bytes,
    is_long: bool,
}

impl Offsets {
    /// Those of a run, from where the first one starts.
    pub(super) fn new(buffer: &Bytes, run: Run, is_long: bool) -> Result<Self, Fault> {
        let count = if run.count == 0 { 0 } else { run.count.saturating_add(1) };
        let bytes = Run { count, ..run }.of(buffer, if is_long { 8 } else { 4 })?;
        Ok(Self { bytes, is_long })
    }

    /// All of them in turn.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        let width = if self.is_long { 8 } else { 4 };
        self.bytes.chunks_exact(width).map(|chunk| {
            let mut wide = [0; 8];
            wide[..chunk.len()].copy_from_slice(chunk);
            // What is negative is beyond every buffer.
            usize::try_from(u64::from_le_bytes(wide)).unwrap_or(usize::MAX)
        })
    }

    /// The elements of all lists of a run, and how many each of them has, if there are any lists.
    pub(super) fn lists(&self, known: Option<usize>) -> Result<(Run, Option<usize>), Fault> {
        let mut offsets = self.iter();
        let Some(start) = offsets.next() else { return Ok((Run { start: 0, count: 0 }, known)) };
        let (mut end, mut size) = (start, known);
        for (index, offset) in offsets.enumerate() {
            let found =
                offset.checked_sub(end).ok_or_else(|| Fault::at(index, "a list ends before it starts"))?;
            let size = *size.get_or_insert(found);
            if found != size {
                return Err(Fault::at(index, format!("a list of {found} values, and others have {size}")));
            }
            end = offset;
        }
        Ok((Run { start, count: end - start }, size))
    }
}
