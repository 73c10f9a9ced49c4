//! Tables for people: columns as wide as their widest cell, with two spaces between them.

use std::borrow::Cow;
use std::fmt;

/// A table, line by line.
#[derive(Debug)]
pub(super) struct Table<const COLUMNS: usize> {
    /// The first one is the head.
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with this head and no rows.
    pub(super) fn new(head: [&str; COLUMNS]) -> Self {
        Self { rows: vec![head.map(str::to_owned)] }
    }

    /// Adds a row at the end.
    pub(super) fn row(&mut self, row: [String; COLUMNS]) {
        // A line break would look like a row of its own.
        self.rows.push(row.map(|cell| spelled(&cell, char::is_control).into_owned()));
    }

    /// True if there are no rows below the head.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl<const COLUMNS: usize> fmt::Display for Table<COLUMNS> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        for row in &self.rows {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(formatter, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A text as it may be printed, whoever wrote it: what a terminal would obey, such as moving the cursor and writing over
/// what is there, is spelled out.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    spelled(text, |character| character.is_control() && !matches!(character, '\n' | '\t'))
}

fn spelled(text: &str, is_bad: fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(is_bad) {
        return Cow::Borrowed(text);
    }
    let mut whole = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_bad(character) {
            whole.extend(character.escape_default());
        } else {
            whole.push(character);
        }
    }
    Cow::Owned(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["A", "BB", "C"]);
        assert!(table.is_empty());
        table.row(["é".repeat(3), "1".to_owned(), String::new()]);
        table.row([String::new(), "22".to_owned(), "3".to_owned()]);
        assert_eq!(table.to_string(), "A    BB  C\nééé  1\n     22  3\n");
    }

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        assert!(matches!(visible("naïve\n\tplain"), Cow::Borrowed("naïve\n\tplain")));
        assert_eq!(visible("\x1b[2Ja\r\u{9b}b\x7f\n"), "\\u{1b}[2Ja\\r\\u{9b}b\\u{7f}\n");
        let mut table = Table::new(["A", "B"]);
        table.row(["\x1b]0;t\x07".to_owned(), "two\nlines".to_owned()]);
        assert_eq!(table.to_string(), "A                B\n\\u{1b}]0;t\\u{7}  two\\nlines\n");
    }
}
