//! Where lines end, in a text that arrives in pieces.
//!
//! It holds the lines that have not been taken and the beginning of the next one, which is never longer than
//! a line may be: of a longer one the rest is dropped as it comes.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

/// A batch is full with so many bytes, however few lines they are.
const FULL: usize = 1 << 20;

/// Cuts a text into batches of lines.
#[derive(Debug)]
pub struct Splitter {
    most_lines: usize,
    longest: usize,
    buffer: BytesMut,
    /// How many bytes the last batch had, to make room for another.
    usual: usize,
    /// The lines of the next batch, and where in the buffer what follows them starts.
    lines: Vec<Line>,
    at: usize,
    /// How far the buffer has been searched for the end of a line.
    searched: usize,
    /// How many lines have ended.
    number: u64,
    /// Whether the rest of a line is being dropped.
    drops: bool,
}

/// Lines that go to the model together.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(super) text: Bytes,
    pub(super) lines: Vec<Line>,
    pub(super) longest: usize,
}

/// A line that is not blank.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Its number, from 1 on.
    pub(super) number: u64,
    /// Where it is in the text; `None` if it was too long.
    pub(super) span: Option<Range<usize>>,
}

impl Splitter {
    /// A splitter for batches of so many lines, of so many bytes each at most.
    #[must_use]
    pub fn new(most_lines: usize, longest: usize) -> Self {
        Self {
            most_lines: most_lines.max(1),
            longest,
            buffer: BytesMut::new(),
            usual: 0,
            lines: Vec::new(),
            at: 0,
            searched: 0,
            number: 0,
            drops: false,
        }
    }

    /// Takes the next piece of the text.
    pub fn push(&mut self, piece: &[u8]) {
        if self.buffer.capacity() - self.buffer.len() < piece.len() {
            // To grow is to move what there is, so that there is room for a batch at once, and for the piece
            // that goes on beyond it.
            self.buffer.reserve(piece.len() + self.usual.saturating_sub(self.buffer.len()));
        }
        self.buffer.extend_from_slice(piece);
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// The number of the line that has not ended.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.number + 1
    }

    /// The text has ended, and with it the last line.
    pub fn finish(&mut self) {
        self.buffer.extend_from_slice(b"\n");
    }

    /// The next batch that is full, if there is one.
    pub fn next_full(&mut self) -> Option<Batch> {
        while self.lines.len() < self.most_lines && self.at < FULL {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(length) = memchr::memchr(b'\n', rest) else {
                self.searched = self.buffer.len();
                if self.buffer.len() - self.at > self.longest {
                    if !self.drops {
                        self.lines.push(Line { number: self.number + 1, span: None });
                        self.drops = true;
                    }
                    self.buffer.truncate(self.at);
                    self.searched = self.at;
                }
                return None;
            };
            let end = self.searched + length;
            self.add(end);
            self.at = end + 1;
            if self.lines.is_empty() {
                // Blank lines before the first one are nothing to hold.
                self.buffer.advance(self.at);
                self.at = 0;
            }
            self.searched = self.at;
        }
        Some(self.cut())
    }

    /// The lines that have ended, if there are any: a batch that may not be full.
    pub fn take(&mut self) -> Option<Batch> {
        if let Some(full) = self.next_full() {
            return Some(full);
        }
        if self.lines.is_empty() { None } else { Some(self.cut()) }
    }

    /// Whether [`Splitter::take`] would give something, as far as the text has been searched.
    #[must_use]
    pub fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Adds the line that ends here.
    fn add(&mut self, end: usize) {
        self.number += 1;
        if !std::mem::take(&mut self.drops) {
            self.lines.extend(line(&self.buffer, self.number, self.at..end, self.longest));
        }
    }

    fn cut(&mut self) -> Batch {
        let text = self.buffer.split_to(self.at).freeze();
        self.searched -= self.at;
        self.usual = self.at.min(FULL);
        self.at = 0;
        Batch { text, lines: std::mem::take(&mut self.lines), longest: self.longest }
    }
}

/// The line in this range, unless it is blank.
fn line(text: &[u8], number: u64, span: Range<usize>, longest: usize) -> Option<Line> {
    let Range { start, end } = span;
    if end - start > longest {
        return Some(Line { number, span: None });
    }
    let has_mark = number == 1 && text[start..end].starts_with(b"\xEF\xBB\xBF");
    let start = if has_mark { start + 3 } else { start };
    let is_blank = text[start..end].iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
    (!is_blank).then_some(Line { number, span: Some(start..end) })
}

/// The lines of a text that are not blank: the number and the place of each.
pub(super) fn lines(text: &Bytes) -> impl Iterator<Item = (u64, Range<usize>)> {
    let ends = memchr::memchr_iter(b'\n', text).chain([text.len()]);
    let mut start = 0;
    (1..).zip(ends).filter_map(move |(number, end)| {
        let span = start..end;
        start = end + 1;
        line(text, number, span, usize::MAX)?.span.map(|span| (number, span))
    })
}

impl Batch {
    /// How many lines it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Its lines as they came.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The number of one of its lines, in the whole text.
    #[must_use]
    pub fn number(&self, line: usize) -> u64 {
        self.lines.get(line).map_or(0, |line| line.number)
    }

    /// The numbers of the first and the last one.
    #[must_use]
    pub fn numbers(&self) -> (u64, u64) {
        (self.number(0), self.number(self.len().saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a text that arrives in pieces of one size, each with its number.
    fn lines(text: &str, piece: usize, longest: usize) -> Vec<(u64, Option<String>)> {
        let mut splitter = Splitter::new(2, longest);
        let mut found = Vec::new();
        let mut add = |batch: Batch| {
            assert!(batch.len() <= 2);
            found.extend(batch.lines.iter().map(|line| {
                let text = line.span.clone().map(|span| String::from_utf8_lossy(&batch.text[span]).into());
                (line.number, text)
            }));
        };
        for piece in text.as_bytes().chunks(piece) {
            splitter.push(piece);
            while let Some(batch) = splitter.next_full() {
                add(batch);
            }
            assert!(splitter.held() <= 2 * (longest + 1) + piece.len(), "{}", splitter.held());
        }
        splitter.finish();
        while let Some(batch) = splitter.take() {
            add(batch);
        }
        assert_eq!(splitter.held(), 0);
        found
    }

    #[test]
    fn lines_are_the_same_in_whatever_pieces_they_come() {
        let line = |number, text: &str| (number, Some(text.to_owned()));
        let long = |number| (number, None);
        for piece in 1..40 {
            let check = |text: &str, expected: &[(u64, Option<String>)]| {
                assert_eq!(lines(text, piece, 8), expected, "{text:?} in pieces of {piece}");
            };
            check("", &[]);
            check("\n \n\t\r\n", &[]);
            check("1", &[line(1, "1")]);
            check("1\n2\r\n\n4", &[line(1, "1"), line(2, "2\r"), line(4, "4")]);
            check("\u{FEFF}1\n\u{FEFF}2\n", &[line(1, "1"), line(2, "\u{FEFF}2")]);
            check("12345678\n123456789\n3\n", &[line(1, "12345678"), long(2), line(3, "3")]);
            check("1\n12345678901234567890\n3", &[line(1, "1"), long(2), line(3, "3")]);
            check("12345678901234567890", &[long(1)]);
            check("         \n2", &[long(1), line(2, "2")]);
        }
    }

    #[test]
    fn a_batch_is_full_with_enough_bytes() {
        let mut splitter = Splitter::new(1000, FULL);
        let line = [vec![b'1'; FULL / 2], vec![b'\n']].concat();
        for _ in 0..4 {
            splitter.push(&line);
        }
        assert_eq!(splitter.next_full().map(|batch| batch.len()), Some(2));
        assert_eq!(splitter.next_full().map(|batch| batch.numbers()), Some((3, 4)));
        assert!(splitter.next_full().is_none() && !splitter.has_lines());
    }
}
