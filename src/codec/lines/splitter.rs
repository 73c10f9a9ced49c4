//! Where lines end, in a text that arrives in pieces.
//!
//! It holds the lines that have not been taken and the beginning of the next one, which is never longer than
//! a line may be: of a longer one the rest is dropped as it comes. Large pieces stay as they came, and but for the
//! lines that go from one to the next nothing is copied; small ones are put together.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// A batch is full with so many bytes, however few lines they are.
const FULL: usize = 1 << 20;

/// From this size on a piece stays as it came.
const LARGE: usize = 64 << 10;

/// Cuts a text into batches of lines.
#[derive(Debug)]
pub struct Splitter {
    most_lines: usize,
    longest: usize,
    /// From which size on a piece stays as it came.
    large: usize,
    /// The lines of the next batch. What the last of them are in may still be the buffer.
    batch: Batch,
    /// How many bytes the texts of the next batch have, without the buffer.
    size: usize,
    /// Small pieces, and lines that go from one piece to the next.
    buffer: BytesMut,
    /// Where in the buffer the line starts that has not ended.
    at: usize,
    /// How far the buffer has been searched for its end.
    searched: usize,
    /// How many bytes the last batch had in the buffer, to make room for another.
    usual: usize,
    /// What follows the buffer.
    pieces: VecDeque<Bytes>,
    /// How many lines have ended.
    number: u64,
    /// Whether the rest of a line is being dropped.
    drops: bool,
}

/// Lines that go to the model together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Pieces of the whole text, each with whole lines.
    pub(super) texts: Vec<Bytes>,
    pub(super) lines: Vec<Line>,
    pub(super) longest: usize,
}

/// A line that is not blank.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Its number, from 1 on.
    pub(super) number: u64,
    /// Which text of the batch it is in.
    pub(super) text: usize,
    /// Where it is there; `None` if it was too long.
    pub(super) span: Option<Range<usize>>,
}

impl Splitter {
    /// A splitter for batches of so many lines, of so many bytes each at most.
    #[must_use]
    pub fn new(most_lines: usize, longest: usize) -> Self {
        Self {
            most_lines: most_lines.max(1),
            longest,
            large: LARGE,
            batch: Batch { longest, ..Batch::default() },
            size: 0,
            buffer: BytesMut::new(),
            at: 0,
            searched: 0,
            usual: 0,
            pieces: VecDeque::new(),
            number: 0,
            drops: false,
        }
    }

    /// The same, where pieces of so many bytes stay as they came.
    #[must_use]
    pub fn keeping(self, large: usize) -> Self {
        Self { large: large.max(1), ..self }
    }

    /// Takes the next piece of the text.
    pub fn push(&mut self, piece: Bytes) {
        if piece.len() >= self.large || !self.pieces.is_empty() {
            self.pieces.push_back(piece);
        } else {
            self.extend(&piece);
        }
    }

    /// Takes a copy of the next piece of the text.
    pub fn push_copy(&mut self, piece: &[u8]) {
        if self.pieces.is_empty() {
            self.extend(piece);
        } else {
            self.pieces.push_back(Bytes::copy_from_slice(piece));
        }
    }

    /// Puts this behind what is in the buffer.
    fn extend(&mut self, piece: &[u8]) {
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
        self.buffer.len() + self.kept()
    }

    /// How much memory that takes: a piece that stays as it came may be part of a buffer of twice its size.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.buffer.len() + 2 * self.kept()
    }

    fn kept(&self) -> usize {
        self.size + self.pieces.iter().map(Bytes::len).sum::<usize>()
    }

    /// The number of the line that has not ended.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.number + 1
    }

    /// The text has ended, and with it the last line.
    pub fn finish(&mut self) {
        self.push(Bytes::from_static(b"\n"));
    }

    /// The next batch that is full, if there is one.
    pub fn next_full(&mut self) -> Option<Batch> {
        loop {
            if self.search_buffer() {
                return Some(self.cut());
            }
            let piece = self.pieces.pop_front()?;
            if self.at < self.buffer.len() || self.drops {
                self.finish_line(piece);
            } else if self.search_piece(piece) {
                return Some(self.cut());
            }
        }
    }

    /// Adds the lines that end in the buffer: true if the batch is full.
    fn search_buffer(&mut self) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let (at, is_full) = self.search(&buffer, self.at, self.searched);
        if !is_full && buffer.len() - at > self.longest {
            self.drop_line();
            buffer.truncate(at);
        }
        (self.at, self.searched) = (at, if is_full { at } else { buffer.len() });
        self.buffer = buffer;
        if self.batch.is_empty() {
            // Blank lines before the first one are nothing to hold.
            self.take_buffer();
        }
        is_full
    }

    /// Adds the lines of a piece that begins with one: true if the batch is full. Of the last one there may be more
    /// to come.
    fn search_piece(&mut self, piece: Bytes) -> bool {
        let mut piece = piece;
        self.take_buffer();
        let (at, is_full) = self.search(&piece, 0, 0);
        self.add_text(piece.split_to(at));
        if is_full {
            self.pieces.push_front(piece);
        } else {
            self.extend(&piece);
            self.searched = piece.len();
        }
        is_full
    }

    /// Puts what belongs to the line that has begun behind it.
    fn finish_line(&mut self, piece: Bytes) {
        let mut piece = piece;
        let end = memchr::memchr(b'\n', &piece).map_or(piece.len(), |end| end + 1);
        self.extend(&piece.split_to(end));
        if !piece.is_empty() {
            self.pieces.push_front(piece);
        }
    }

    /// The lines that have ended, if there are any: a batch that may not be full.
    pub fn take(&mut self) -> Option<Batch> {
        if let Some(full) = self.next_full() {
            return Some(full);
        }
        if self.batch.is_empty() { None } else { Some(self.cut()) }
    }

    /// Whether [`Splitter::take`] would give something, as far as the text has been searched.
    #[must_use]
    pub fn has_lines(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Adds the lines of the batch's next text, in which one starts at `at` that does not end before `from`: where the
    /// first one starts that is not among them, and whether that is because the batch is full.
    fn search(&mut self, text: &[u8], at: usize, from: usize) -> (usize, bool) {
        let (mut at, mut from) = (at, from);
        // However many blank lines there are, they are no batch.
        while self.batch.is_empty() || (self.batch.len() < self.most_lines && self.size + at < FULL) {
            let Some(length) = memchr::memchr(b'\n', text.get(from..).unwrap_or_default()) else {
                return (at, false);
            };
            let end = from + length;
            self.number += 1;
            if !std::mem::take(&mut self.drops) {
                let line = line(text, self.number, at..end, self.longest);
                let text = self.batch.texts.len();
                self.batch.lines.extend(line.map(|(number, span)| Line { number, text, span }));
            }
            (at, from) = (end + 1, end + 1);
        }
        (at, true)
    }

    /// Drops the line that has not ended, which is too long.
    fn drop_line(&mut self) {
        if !std::mem::replace(&mut self.drops, true) {
            let (number, text) = (self.number + 1, self.batch.texts.len());
            self.batch.lines.push(Line { number, text, span: None });
        }
    }

    /// Leaves the whole lines in the buffer to the batch.
    fn take_buffer(&mut self) {
        let text = self.buffer.split_to(self.at).freeze();
        self.searched -= self.at;
        self.at = 0;
        self.add_text(text);
    }

    /// Adds a text to the batch, unless there is none of its lines in it.
    fn add_text(&mut self, text: Bytes) {
        if self.batch.lines.last().is_some_and(|line| line.text == self.batch.texts.len()) {
            self.size += text.len();
            self.batch.texts.push(text);
        }
    }

    fn cut(&mut self) -> Batch {
        self.usual = self.at.min(FULL);
        self.take_buffer();
        self.size = 0;
        let next = Batch { longest: self.longest, ..Batch::default() };
        std::mem::replace(&mut self.batch, next)
    }
}

/// The line in this range, unless it is blank: its number and where it is, if it is not too long.
fn line(text: &[u8], number: u64, span: Range<usize>, longest: usize) -> Option<(u64, Option<Range<usize>>)> {
    let Range { start, end } = span;
    if end - start > longest {
        return Some((number, None));
    }
    let has_mark = number == 1 && text[start..end].starts_with(b"\xEF\xBB\xBF");
    let start = if has_mark { start + 3 } else { start };
    let is_blank = text[start..end].iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
    (!is_blank).then_some((number, Some(start..end)))
}

/// The lines of a text that are not blank: the number and the place of each.
pub(super) fn lines(text: &Bytes) -> impl Iterator<Item = (u64, Range<usize>)> {
    let ends = memchr::memchr_iter(b'\n', text).chain([text.len()]);
    let mut start = 0;
    (1..).zip(ends).filter_map(move |(number, end)| {
        let span = start..end;
        start = end + 1;
        line(text, number, span, usize::MAX)?.1.map(|span| (number, span))
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

    /// Its lines as they came, in pieces.
    #[must_use]
    pub fn texts(&self) -> &[Bytes] {
        &self.texts
    }

    /// How many bytes its lines have.
    #[must_use]
    pub fn size(&self) -> usize {
        self.texts.iter().map(Bytes::len).sum()
    }

    /// The text that a line is in, and where there; `None` if it was too long.
    pub(super) fn place(&self, line: &Line) -> Option<(&Bytes, Range<usize>)> {
        self.texts.get(line.text).zip(line.span.clone())
    }

    /// Each of its texts with the lines that are in it.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&Bytes, &[Line])> {
        let parts = self.lines.chunk_by(|one, next| one.text == next.text);
        parts.filter_map(|lines| self.texts.get(lines.first()?.text).map(|text| (text, lines)))
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

    /// The lines of a text that arrives in pieces of one size, from which on they stay as they came or not.
    fn lines(text: &'static str, piece: usize, longest: usize, large: usize) -> Vec<(u64, Option<String>)> {
        let mut splitter = Splitter::new(2, longest).keeping(large);
        let mut found = Vec::new();
        let mut add = |batch: Batch| {
            assert!((1..=2).contains(&batch.len()));
            let parts: Vec<_> = batch.parts().flat_map(|(_, lines)| lines).map(|line| line.number).collect();
            assert_eq!(parts, batch.lines.iter().map(|line| line.number).collect::<Vec<_>>());
            found.extend(batch.lines.iter().map(|line| {
                let text = |(text, span): (&Bytes, Range<usize>)| String::from_utf8_lossy(&text[span]).into();
                (line.number, batch.place(line).map(text))
            }));
        };
        let body = Bytes::from_static(text.as_bytes());
        for start in (0..body.len()).step_by(piece) {
            splitter.push(body.slice(start..(start + piece).min(body.len())));
            while let Some(batch) = splitter.next_full() {
                add(batch);
            }
            assert!(splitter.held() <= 2 * (longest + 1) + piece, "{}", splitter.held());
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
        for (piece, large) in (1..40).flat_map(|piece| [(piece, 1), (piece, 7), (piece, 99)]) {
            let check = |text: &'static str, expected: &[(u64, Option<String>)]| {
                let found = lines(text, piece, 8, large);
                assert_eq!(found, expected, "{text:?} in pieces of {piece} that stay from {large} on");
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
            check(
                "1\n2\n3\n4\n5\n6\n7",
                &["1", "2", "3", "4", "5", "6", "7"].map(|it| line(it.parse().unwrap(), it)),
            );
        }
    }

    #[test]
    fn large_pieces_are_not_copied() {
        let piece = Bytes::from([b"[1, 2, 3, 4]\n".repeat(LARGE / 13 + 1), b"[1".to_vec()].concat());
        let mut splitter = Splitter::new(1000, LARGE);
        splitter.push(piece.clone());
        splitter.push(piece.clone());
        let whole = piece.as_ptr_range();
        let mut copied = 0;
        while let Some(batch) = splitter.take() {
            let texts = batch.texts().iter().filter(|text| !whole.contains(&text.as_ptr()));
            copied += texts.map(Bytes::len).sum::<usize>();
        }
        // The line that goes from one to the other.
        assert_eq!(copied, "[1[1, 2, 3, 4]\n".len());
    }

    #[test]
    fn blank_lines_are_not_held() {
        for large in [1, LARGE, usize::MAX] {
            let mut splitter = Splitter::new(10, FULL).keeping(large);
            for _ in 0..4 {
                splitter.push(vec![b'\n'; FULL].into());
                splitter.push(vec![b'\n'; 100].into());
                assert!(splitter.take().is_none());
                assert_eq!(splitter.held(), 0);
            }
            let blank = 4 * (FULL + 100);
            splitter.push([&vec![b'\n'; 2 * FULL], &b"1\n2"[..]].concat().into());
            splitter.finish();
            let numbers = std::iter::from_fn(|| splitter.take()).map(|batch| batch.numbers());
            let first = u64::try_from(blank + 2 * FULL + 1).unwrap();
            assert_eq!(numbers.collect::<Vec<_>>(), [(first, first), (first + 1, first + 1)]);
        }
    }

    #[test]
    fn a_batch_is_full_with_enough_bytes() {
        let mut splitter = Splitter::new(1000, FULL);
        let line = Bytes::from([vec![b'1'; FULL / 2], vec![b'\n']].concat());
        for _ in 0..4 {
            splitter.push(line.clone());
        }
        assert_eq!(splitter.next_full().map(|batch| batch.len()), Some(2));
        assert_eq!(splitter.next_full().map(|batch| batch.numbers()), Some((3, 4)));
        assert!(splitter.next_full().is_none() && !splitter.has_lines());
    }
}
