//! Tables for people: columns as wide as their widest cell, with two spaces between them.

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
        self.rows.push(row);
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
}
