//! Decodes the numbers of a large predict body while the rest of it is still on its way.
//!
//! A [`Stream`] is fed the growing body and keeps a decoder suspended between two numbers. It
//! covers the shape of bodies that are large in practice, one input given as a list of
//! numbers, and gives up quietly on everything else: whoever holds the whole body in the end
//! decodes it from the start then, and finds the right error there.

use bytes::Bytes;

use super::column::Column;
use super::dtype;
use super::limits::Limits;
use super::nested::{Progress, Step};
use super::predict::Inputs;
use super::reader::Reader;
use super::signature::Signatures;
use crate::proto::tensorflow::DataType;

/// The decoder of a body that is still arriving.
pub struct Stream {
    limits: Limits,
    state: State,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stream").finish_non_exhaustive()
    }
}

enum State {
    /// The values have not been looked for.
    Fresh,
    Running(Box<Values>),
    /// The body is not of the kind that can be decoded in parts.
    Abandoned,
}

/// The values under way.
struct Values {
    /// Where they start in the body.
    start: usize,
    /// How far they have been decoded.
    at: usize,
    /// How far the text has been searched for commas.
    searched: usize,
    /// Set once they have been decoded to their end.
    done: bool,
    signature_name: String,
    input_name: String,
    column: Column,
    progress: Progress,
}

impl Stream {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Fresh }
    }

    /// Decodes as much as it can of the body so far, which starts where it always started.
    ///
    /// `expected` is how many bytes the whole body is believed to have; the tensor gets room for
    /// them.
    pub fn feed(&mut self, body: &[u8], expected: usize, signatures: &Signatures) {
        if matches!(self.state, State::Fresh) {
            self.state = find(body, signatures, &self.limits)
                .map_or(State::Abandoned, |values| State::Running(Box::new(values)));
        }
        let State::Running(values) = &mut self.state else { return };
        // Cut behind the last comma: no number is seen in part.
        let from = values.searched.max(values.at);
        values.searched = body.len();
        let Some(comma) = body.get(from..).and_then(|text| memchr::memrchr(b',', text)) else { return };
        let part = &body[..=from + comma];
        if values.done {
            return;
        }
        if values.advance(part, &self.limits).is_none() {
            self.state = State::Abandoned;
            return;
        }
        let (read, all) = (values.at - values.start, expected.saturating_sub(values.start));
        if all > read {
            values.column.reserve_rest(read, all, &self.limits);
        }
    }

    /// How many bytes of a body are still to be decoded.
    pub(crate) fn remaining(&self, body: &[u8]) -> usize {
        match &self.state {
            State::Running(values) => body.len().saturating_sub(values.at),
            State::Fresh | State::Abandoned => body.len(),
        }
    }

    /// Decodes the rest with the whole body at hand: the end of the values and their tensor.
    ///
    /// `None` if these are not the values at `start`, the signature turns out to be another
    /// one, or there is a fault in them.
    pub(crate) fn finish(self, body: &[u8], start: usize, signature_name: &str) -> Option<(usize, Inputs)> {
        let State::Running(mut values) = self.state else { return None };
        if values.start != start || values.signature_name != signature_name {
            return None;
        }
        if !values.done {
            values.advance(body, &self.limits)?;
        }
        values.done.then(|| (values.at, Inputs::from([(values.input_name, values.column.into_tensor())])))
    }
}

impl Values {
    /// Decodes up to the end of the text; `None` if there is a fault.
    fn advance(&mut self, text: &[u8], limits: &Limits) -> Option<()> {
        // Around the lists that are open there is the body's object.
        let mut reader = Reader::inside(text, self.at, 1 + self.progress.depth(), limits);
        let step = self.column.read_part(&mut reader, &mut self.progress).ok()?;
        self.at = reader.at;
        self.done = step == Step::Done;
        Some(())
    }
}

/// Finds the values in the first part of a body, if they are a list for one numeric input.
fn find(body: &[u8], signatures: &Signatures, limits: &Limits) -> Option<Values> {
    let mut reader = Reader::new(body, limits);
    if reader.peek() != b'{' || !reader.open_object().ok()? {
        return None;
    }
    let mut signature_name = String::new();
    loop {
        let key = reader.key().ok()?;
        let first = reader.peek();
        match key.bytes(body) {
            b"signature_name" if first == b'"' && signature_name.is_empty() => {
                let text = reader.string().ok()?;
                signature_name = String::from_utf8(text.bytes(body).to_vec()).ok()?;
            }
            b"instances" | b"inputs" if first == b'[' => break,
            _ => return None,
        }
        if !reader.next_member().ok()? {
            return None;
        }
    }
    let [input] = signatures.get(&signature_name).ok()?.inputs.as_slice() else { return None };
    dtype::width(input.dtype)?;
    // A list of two numbers may be one complex number: that is for the whole body to tell.
    if matches!(input.dtype, DataType::DtComplex64 | DataType::DtComplex128) {
        return None;
    }
    // A list whose first entry is an object is not a list of numbers; one whose first entry has
    // not arrived may turn out to be empty.
    let mut ahead = reader.clone();
    if !ahead.open_array().ok()? || matches!(ahead.byte(), b'{' | 0) {
        return None;
    }
    Some(Values {
        start: reader.at,
        at: reader.at,
        searched: reader.at,
        done: false,
        signature_name,
        input_name: input.name.clone(),
        column: Column::new(input.dtype, &Bytes::new()),
        progress: Progress::default(),
    })
}
