//! The answers to the lines of a batch, in the order of the lines whatever order they come in.

use std::collections::HashMap;
use std::ops::Range;

use super::splitter::Batch;
use crate::codec::predict::encode_lines;
use crate::codec::writer::NanStyle;
use crate::error::{Error, Result};
use crate::proto::tensorflow::TensorProto;

/// A place for the answer to each line of a batch.
#[derive(Debug)]
pub struct Sheet {
    /// The numbers of the lines.
    numbers: Vec<u64>,
    /// Which text the answer to each is in, and where there.
    places: Vec<Option<(usize, Range<usize>)>>,
    texts: Vec<Vec<u8>>,
}

impl Sheet {
    /// The answers to a batch, none of which is there.
    #[must_use]
    pub fn new(batch: &Batch) -> Self {
        let numbers: Vec<_> = batch.lines.iter().map(|line| line.number).collect();
        Self { places: vec![None; numbers.len()], numbers, texts: Vec::new() }
    }

    /// Answers lines with the rows of a model's reply, of so many bytes at most.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` or `INTERNAL` if the reply has no row for each of the lines, or cannot be written.
    pub fn answer(
        &mut self,
        lines: &[usize],
        outputs: &HashMap<String, TensorProto>,
        nan: NanStyle,
        most: usize,
    ) -> Result<()> {
        let rows = encode_lines(outputs, nan)?;
        if rows.text.len() > most {
            return Err(Error::internal(format!("The reply is larger than {most} bytes")));
        }
        if rows.ends.len() != lines.len() {
            let (found, expected) = (rows.ends.len(), lines.len());
            return Err(Error::internal(format!(
                "The model answered {expected} lines with {found} predictions: its outputs have no row for each"
            )));
        }
        let mut start = 0;
        for (&line, &end) in lines.iter().zip(&rows.ends) {
            self.place(line, self.texts.len(), start..end);
            start = end;
        }
        self.texts.push(rows.text);
        for (row, error) in rows.faults {
            if let Some(&line) = lines.get(row) {
                self.fail(line, &error);
            }
        }
        Ok(())
    }

    /// Answers a line with an error.
    pub fn fail(&mut self, line: usize, error: &Error) {
        let number = self.numbers.get(line).copied().unwrap_or_default();
        let mut text = error.clone().about(&format!("line {number}")).to_json_with_status();
        text.push(b'\n');
        self.place(line, self.texts.len(), 0..text.len());
        self.texts.push(text);
    }

    /// Answers lines with an error.
    pub fn fail_all(&mut self, lines: &[usize], error: &Error) {
        for line in lines {
            self.fail(*line, error);
        }
    }

    fn place(&mut self, line: usize, text: usize, range: Range<usize>) {
        if let Some(place) = self.places.get_mut(line) {
            *place = Some((text, range));
        }
    }

    /// The text of all answers.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        // Mostly there is one text for all lines.
        if let ([text], true) = (self.texts.as_slice(), self.is_in_order())
            && self.places.last().and_then(Option::as_ref).is_none_or(|(_, range)| range.end == text.len())
        {
            return self.texts.pop().unwrap_or_default();
        }
        let mut all = Vec::with_capacity(self.texts.iter().map(Vec::len).sum());
        for (text, range) in self.places.into_iter().flatten() {
            all.extend_from_slice(self.texts.get(text).and_then(|text| text.get(range)).unwrap_or_default());
        }
        all
    }

    /// Whether each answer starts where the one before it ends.
    fn is_in_order(&self) -> bool {
        let mut end = 0;
        self.places.iter().all(|place| {
            let is_next = place.as_ref().is_some_and(|(_, range)| range.start == end);
            end = place.as_ref().map_or(end, |(_, range)| range.end);
            is_next
        })
    }
}

/// An error as a line.
#[must_use]
pub fn error_line(message: &str) -> Vec<u8> {
    let mut line = Error::invalid_argument(message).to_json();
    line.push(b'\n');
    line
}
