//! The rows of a table as lines of JSON: the codec of a bridge reads them, and writes what it has read.
//!
//! A row is what it is to a bridge, with the same names of columns and the same faults.

use bytes::Bytes;

use super::rows::{Content, Row};
use crate::codec::body::{self, Rules};
use crate::codec::lines;
use crate::codec::media::Agreement;
use crate::codec::signature::Signatures;
use crate::codec::{Limits, NanStyle};
use crate::error::{Error, Result};

/// How many rows are read at once.
const BATCH: usize = 256;

/// How a table is read.
#[derive(Debug)]
pub(in crate::cli::predict) struct Table {
    agreement: Agreement,
    signatures: Signatures,
    /// The line that names the columns, with its end; `None` if it has not come.
    names: Option<Vec<u8>>,
}

impl Table {
    /// A table for a signature, and for one input of it.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for names that cannot be.
    pub(in crate::cli::predict) fn new(
        signatures: Signatures,
        signature_name: &str,
        input: Option<&str>,
        no_header: bool,
    ) -> Result<Self> {
        let content_type = if no_header { "text/csv; header=absent" } else { "text/csv" };
        let mut agreement = Agreement::new(Some(content_type), ["application/x-ndjson"], None)?;
        agreement.parameters.signature_name = Some(signature_name.to_owned());
        agreement.parameters.input = input.map(str::to_owned);
        Ok(Self { agreement, signatures, names: no_header.then(Vec::new) })
    }

    /// Whether the next line names the columns.
    pub(super) fn wants_names(&self) -> bool {
        self.names.is_none()
    }

    /// Takes the line that names the columns.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for columns that the signature has no place for.
    pub(super) fn name(&mut self, line: &[u8]) -> Result<()> {
        let mut names = line.to_vec();
        names.push(b'\n');
        let names = self.names.insert(names).clone();
        // A table without rows is one, too.
        self.decode(&Bytes::from(names)).map(drop)
    }

    /// Makes the instances of rows what a bridge reads as lines.
    pub(super) fn convert(&self, rows: &mut [Row]) {
        let mut instances: Vec<_> =
            rows.iter_mut().filter(|row| matches!(row.content, Content::Instance(_))).collect();
        for rows in instances.chunks_mut(BATCH) {
            self.convert_batch(rows);
        }
    }

    /// All rows at once; if that does not go, the halves.
    fn convert_batch(&self, rows: &mut [&mut Row]) {
        match (self.lines(rows), rows) {
            (Ok(lines), rows) => {
                for (row, line) in rows.iter_mut().zip(lines) {
                    row.content = Content::Instance(line);
                }
            }
            (Err(error), [row]) => {
                let message = error.message();
                // It is told as a table of its own.
                let place =
                    if self.names.as_ref().is_some_and(Vec::is_empty) { "line 1: " } else { "line 2: " };
                row.content = Content::Faulty(message.strip_prefix(place).unwrap_or(message).to_owned());
            }
            (Err(_), rows) => {
                let (first, second) = rows.split_at_mut(rows.len() / 2);
                self.convert_batch(first);
                self.convert_batch(second);
            }
        }
    }

    /// A line for each row.
    fn lines(&self, rows: &[&mut Row]) -> Result<Vec<Bytes>> {
        let mut text = self.names.clone().unwrap_or_default();
        for row in rows {
            if std::str::from_utf8(&row.text).is_err() {
                return Err(Error::invalid_argument("It is not UTF-8"));
            }
            text.extend_from_slice(&row.text);
            text.push(b'\n');
        }
        let text = self.decode(&text.into())?;
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').map(|line| text.slice_ref(line)).collect();
        // There is nothing behind the last end.
        match lines.split_last() {
            Some((_, lines)) if lines.len() == rows.len() => Ok(lines.to_vec()),
            _ => Err(Error::invalid_argument("It is not one row")),
        }
    }

    fn decode(&self, text: &Bytes) -> Result<Bytes> {
        let rules = Rules { limits: Limits::default(), check_shapes: false };
        let decoded = body::decode(&self.agreement, text, Some(&self.signatures), &rules, None)?;
        lines::encode_whole(&decoded.inputs, NanStyle::Literal).map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::signature::{Input, Signature};
    use crate::proto::tensorflow::DataType;

    fn table(inputs: &[(&str, DataType, Option<&[i64]>)], no_header: bool) -> Table {
        let input = |(name, dtype, shape): &(&str, DataType, Option<&[i64]>)| Input {
            name: (*name).to_owned(),
            dtype: *dtype,
            shape: shape.map(<[i64]>::to_vec),
        };
        let signature = Signature::new(inputs.iter().map(input).collect());
        let signatures = Signatures::from_iter([("serving_default".to_owned(), signature)]);
        Table::new(signatures, "serving_default", None, no_header).unwrap()
    }

    fn converted(table: &Table, rows: &[&'static str]) -> Vec<Result<String, String>> {
        let row = |text: &&'static str| {
            let text = Bytes::from(*text);
            Row { content: Content::Instance(text.clone()), text, end: 0 }
        };
        let mut rows: Vec<_> = rows.iter().map(row).collect();
        table.convert(&mut rows);
        let result = |row: Row| match row.content {
            Content::Instance(line) => Ok(String::from_utf8(line.to_vec()).unwrap()),
            Content::Faulty(error) => Err(error),
            Content::Blank => Err("blank".to_owned()),
        };
        rows.into_iter().map(result).collect()
    }

    #[test]
    fn rows_become_lines() {
        let mut columns =
            table(&[("n", DataType::DtInt8, Some(&[-1, 1])), ("s", DataType::DtString, None)], false);
        assert!(columns.wants_names());
        columns.name(b"s,n").unwrap();
        let found = converted(&columns, &["a,+1", "\"b,\"\"\nc\",300", "d", "e,2"]);
        let expected = [
            Ok(r#"{"n":[1],"s":"a"}"#.to_owned()),
            Err("column n: \"300\" is not a int8".to_owned()),
            Err("it has 1 cells, and there are 2 columns".to_owned()),
            Ok(r#"{"n":[2],"s":"e"}"#.to_owned()),
        ];
        assert_eq!(found.len(), 4);
        for (found, expected) in found.iter().zip(&expected) {
            match (found, expected) {
                (Err(found), Err(expected)) => {
                    assert!(found.contains(expected.split(" is ").next().unwrap()), "{found}");
                }
                (found, expected) => assert_eq!(found, expected),
            }
        }
        let one = table(&[("x", DataType::DtFloat, Some(&[-1, 2, 2]))], true);
        assert!(!one.wants_names());
        let found = converted(&one, &["1,2,3,.5", "1,nan,-inf,0.1"]);
        let expected = ["[[1.0,2.0],[3.0,0.5]]", "[[1.0,NaN],[-Infinity,0.1]]"];
        assert_eq!(found, expected.map(|line| Ok(line.to_owned())));
    }

    #[test]
    fn columns_must_have_a_place() {
        let mut columns = table(&[("n", DataType::DtInt8, None), ("s", DataType::DtString, None)], false);
        let error = columns.name(b"s,z").unwrap_err();
        assert!(error.message().starts_with("The column \"z\" is no input"), "{error}");
    }
}
