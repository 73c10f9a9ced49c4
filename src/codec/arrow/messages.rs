//! The messages of a stream: metadata in tables, and a body of buffers behind it.
//!
//! Metadata is verified before any of it is looked at. What is reached in it by several ways counts each time,
//! so that a few bytes cannot stand for many columns.

use arrow_ipc::{Message, MetadataVersion, root_as_message_with_opts};
use bytes::Bytes;
use flatbuffers::VerifierOptions;

use crate::error::{Error, Result};

/// What stands before the length of a message in all streams since 2019.
const CONTINUATION: u32 = u32::MAX;

/// What a file starts with, which has its stream inside.
const FILE: &[u8] = b"ARROW1";

/// The most bytes of the metadata of a message: ten thousand columns have a tenth of it.
const MOST_METADATA: usize = 16 << 20;

/// How deep tables lie in each other at most, which other readers have as well.
const MOST_DEPTH: usize = 64;

/// How many times its bytes what can be reached in metadata may have: what writers share are some small tables.
const MOST_SHARED: usize = 8;

/// The messages that have not been read yet.
#[derive(Debug)]
pub(super) struct Messages<'a> {
    body: &'a Bytes,
    at: usize,
}

impl<'a> Messages<'a> {
    /// All messages of a body.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if it is a file and no stream.
    pub(super) fn new(body: &'a Bytes) -> Result<Self> {
        if body.starts_with(FILE) {
            return Err(broken(
                "it is a file, write a stream: with pyarrow.ipc.new_stream, write_ipc_stream of polars, or their like",
            ));
        }
        Ok(Self { body, at: 0 })
    }

    /// The metadata and the body of the next message; none behind the last.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if it ends too early, or cannot be read.
    pub(super) fn read(&mut self) -> Result<Option<(Message<'a>, Bytes)>> {
        if self.at == self.body.len() {
            return Ok(None);
        }
        let mut length = self.number()?;
        if length == CONTINUATION {
            length = self.number()?;
        }
        if length == 0 {
            return match self.body.len() - self.at {
                0 => Ok(None),
                more => Err(broken(&format!("there are {more} bytes behind its end"))),
            };
        }
        let metadata = self.take(u64::from(length))?;
        if metadata.len() > MOST_METADATA {
            let length = metadata.len();
            return Err(broken(&format!(
                "a message has {length} bytes of metadata, more than {MOST_METADATA}"
            )));
        }
        let options = VerifierOptions {
            max_depth: MOST_DEPTH,
            // No table has fewer bytes.
            max_tables: metadata.len() / 4,
            max_apparent_size: metadata.len() * MOST_SHARED,
            ignore_missing_null_terminator: true,
        };
        let message = root_as_message_with_opts(&options, metadata)
            .map_err(|error| broken("the metadata of a message is damaged").with_source(error))?;
        if !matches!(message.version(), MetadataVersion::V4 | MetadataVersion::V5) {
            return Err(broken("it is of a version of the format that is not known"));
        }
        let start = self.at;
        // A negative length is far beyond the end.
        self.take(u64::try_from(message.bodyLength()).unwrap_or(u64::MAX))?;
        Ok(Some((message, self.body.slice(start..self.at))))
    }

    fn number(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(bytes.first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk)))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        let taken = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let taken = taken.ok_or_else(|| broken("it ends within a message"))?;
        self.at += taken.len();
        Ok(taken)
    }
}

/// The error for a body that is no stream of which anything could be read.
pub(super) fn broken(what: &str) -> Error {
    Error::invalid_argument(format!("The body is no Arrow stream that can be read: {what}"))
}
