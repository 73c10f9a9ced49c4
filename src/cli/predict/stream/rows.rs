//! The lines of the input, read on a thread of their own and in pieces, so that a file of any size takes the same
//! memory and a terminal may be as slow as it is.

use std::collections::VecDeque;
use std::io::Read;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::sync::mpsc;

use super::table::Table;
use crate::error::{Error, Result};

/// The most bytes of a line, as a bridge has it.
const LONGEST: usize = 16 << 20;

/// How much of a longer line is kept, to tell which one it was.
const KEPT: usize = 1 << 10;

/// How much is read at once.
const PIECE: usize = 256 << 10;

/// How many pieces wait for those who send them.
const WAITING: usize = 4;

/// A line of the input.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// What the input has, without the end of the line.
    pub(super) text: Bytes,
    pub(super) content: Content,
    /// How many bytes of the input end with it.
    pub(super) end: u64,
}

/// What is to be done with a line.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// This is sent.
    Instance(Bytes),
    /// Nothing is asked and nothing answered.
    Blank,
    /// It is answered here, with what is wrong with it.
    Faulty(String),
}

/// What the input is.
#[derive(Debug)]
pub(in crate::cli::predict) enum Kind {
    /// A value of JSON in each line.
    Lines,
    /// A table, whose rows are made such values.
    Table(Box<Table>),
}

/// Reads the lines behind the first `skip`, until nobody wants more.
pub(super) fn read(
    source: Box<dyn Read + Send>,
    kind: Kind,
    skip: u64,
) -> Result<mpsc::Receiver<Result<VecDeque<Row>>>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let reader = Reader { source, splitter: Splitter::new(matches!(kind, Kind::Table(_))), kind, skip };
    std::thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || reader.run(&sender))
        .map_err(|error| Error::internal("There can be no further thread").with_source(error))?;
    Ok(receiver)
}

struct Reader {
    source: Box<dyn Read + Send>,
    splitter: Splitter,
    kind: Kind,
    skip: u64,
}

impl Reader {
    fn run(mut self, sender: &mpsc::Sender<Result<VecDeque<Row>>>) {
        let mut piece = vec![0; PIECE];
        loop {
            let length = match self.source.read(&mut piece) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let error = Error::unavailable(format!("The input cannot be read on: {error}"));
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            };
            match &piece[..length] {
                [] => self.splitter.finish(),
                piece => self.splitter.push(piece),
            }
            let rows = match self.rows() {
                Ok(_) if length == 0 && self.skip > 0 => Err(Error::invalid_argument(
                    "The output has more lines than the input: it is of another one",
                )),
                rows => rows,
            };
            let is_over = length == 0 || rows.is_err();
            let is_empty = rows.as_ref().is_ok_and(VecDeque::is_empty);
            if !is_empty && sender.blocking_send(rows).is_err() || is_over {
                return;
            }
        }
    }

    /// The rows of what has been read.
    fn rows(&mut self) -> Result<VecDeque<Row>> {
        let mut rows = VecDeque::new();
        while let Some((text, end, is_whole)) = self.splitter.next() {
            if let Kind::Table(table) = &mut self.kind
                && table.wants_names()
            {
                if !text.is_empty() {
                    table.name(&text)?;
                }
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            let content = if !is_whole {
                Content::Faulty(format!("It is longer than {LONGEST} bytes"))
            } else if text.trim_ascii().is_empty() {
                Content::Blank
            } else {
                Content::Instance(text.clone())
            };
            rows.push_back(Row { text, content, end });
        }
        if let Kind::Table(table) = &self.kind {
            table.convert(rows.make_contiguous());
        }
        Ok(rows)
    }
}

/// Cuts a text into lines; those of a table may have ends of lines in quotes.
#[derive(Debug)]
struct Splitter {
    buffer: BytesMut,
    /// How far it has been looked for an end.
    searched: usize,
    /// Where in a table that is.
    state: Option<Quotes>,
    /// What has been kept of a line that is too long.
    dropped: Option<Bytes>,
    end: u64,
}

/// Where a cell of a table is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Quotes {
    Start,
    Plain,
    Quoted,
    /// Behind a quote in quotes, which is the end of them or the first of two.
    Behind,
}

impl Splitter {
    fn new(is_table: bool) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            state: is_table.then_some(Quotes::Start),
            dropped: None,
            end: 0,
        }
    }

    fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// There is nothing more: the last line has ended.
    fn finish(&mut self) {
        if !self.buffer.is_empty() || self.dropped.is_some() {
            // It counts as read whether it is there or not.
            self.buffer.extend_from_slice(b"\n");
            if self.state.is_some() {
                self.state = Some(Quotes::Plain);
                self.searched = self.buffer.len() - 1;
            }
        }
    }

    /// The next line, where it ends in the text, and whether it is all of it.
    fn next(&mut self) -> Option<(Bytes, u64, bool)> {
        let rest = self.buffer.get(self.searched..).unwrap_or_default();
        let found = match &mut self.state {
            None => memchr::memchr(b'\n', rest),
            Some(state) => rest.iter().position(|&byte| state.step(byte)),
        };
        let Some(length) = found else {
            self.searched = self.buffer.len();
            if self.buffer.len() > LONGEST {
                let kept = Bytes::copy_from_slice(&self.buffer[..KEPT]);
                self.dropped.get_or_insert(kept);
                self.end += self.buffer.len() as u64;
                self.buffer.clear();
                self.searched = 0;
            }
            return None;
        };
        let mut line = self.buffer.split_to(self.searched + length + 1).freeze();
        self.end += line.len() as u64;
        self.searched = 0;
        if let Some(kept) = self.dropped.take() {
            return Some((kept, self.end, false));
        }
        if line.len() > LONGEST {
            return Some((Bytes::copy_from_slice(&line[..KEPT]), self.end, false));
        }
        if self.end == line.len() as u64 && line.starts_with(b"\xef\xbb\xbf") {
            line.advance(3);
        }
        line.truncate(line.len() - 1);
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        Some((line, self.end, true))
    }
}

impl Quotes {
    /// Goes on by a byte; true if that ends the row.
    fn step(&mut self, byte: u8) -> bool {
        *self = match (*self, byte) {
            (Self::Quoted, b'"') => Self::Behind,
            (Self::Quoted, _) | (Self::Start | Self::Behind, b'"') => Self::Quoted,
            (_, b'\n') => {
                *self = Self::Start;
                return true;
            }
            (_, b',') => Self::Start,
            _ => Self::Plain,
        };
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &[u8], is_table: bool, piece: usize) -> Vec<(String, u64, bool)> {
        let mut splitter = Splitter::new(is_table);
        let mut lines = Vec::new();
        let mut take = |splitter: &mut Splitter| {
            while let Some((line, end, is_whole)) = splitter.next() {
                lines.push((
                    String::from_utf8_lossy(&line[..line.len().min(30)]).into_owned(),
                    end,
                    is_whole,
                ));
            }
        };
        for piece in text.chunks(piece) {
            splitter.push(piece);
            take(&mut splitter);
        }
        splitter.finish();
        take(&mut splitter);
        lines
    }

    #[test]
    fn lines_are_the_same_whatever_the_pieces() {
        let line = |text: &str, end| (text.to_owned(), end, true);
        for piece in [1, 2, 3, 100] {
            let found = split(b"\xef\xbb\xbfa\r\n\nbc", false, piece);
            assert_eq!(found, [line("a", 6), line("", 7), line("bc", 10)], "{piece}");
            let found = split(b"\"a\n\"\"b\",c\nd\"e,\"\"\n\"open\nf", true, piece);
            let expected = [line("\"a\n\"\"b\",c", 10), line("d\"e,\"\"", 17), line("\"open\nf", 25)];
            assert_eq!(found, expected, "{piece}");
        }
        assert_eq!(split(b"", false, 1), []);
        assert_eq!(split(b"a\n", true, 1), [line("a", 2)]);
    }

    #[test]
    fn of_lines_that_are_too_long_the_beginning_is_kept() {
        let mut text = vec![b'x'; LONGEST + 5];
        text.extend_from_slice(b"\nnext\n");
        let found = split(&text, false, PIECE);
        let end = LONGEST as u64 + 6;
        assert_eq!(found, [("x".repeat(30), end, false), ("next".to_owned(), end + 5, true)]);
    }

    #[test]
    fn lines_are_skipped_and_blank_ones_counted() {
        let source = Box::new(&b"1\n\n 3\n4"[..]);
        let mut rows = read(source, Kind::Lines, 1).unwrap();
        let mut found = Vec::new();
        while let Some(batch) = rows.blocking_recv() {
            found.extend(batch.unwrap().into_iter().map(|row| (row.content, row.end)));
        }
        let instance = |text: &'static str| Content::Instance(Bytes::from(text));
        assert_eq!(found, [(Content::Blank, 3), (instance(" 3"), 6), (instance("4"), 8)]);
    }
}
