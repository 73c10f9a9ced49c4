//! Tables: a row of text for each row of the batch, a column for each input or for each number of one.
//!
//! The first line names the columns: by an input that has one value in a row, or by an input and the place in
//! its row (`x[0]`, `x[1]`, in any order). Where the model has one input, or the query says which is meant, and
//! no column is named like that, all columns together are its row. `text/csv; header=absent` says that there is
//! no such line; then the columns are the row of the one input, too. Replies are written the same way; whoever
//! accepts `text/csv; header=absent` gets them without that line.
//!
//! A first line of numbers is taken for names only if the type says so, or they count the columns from 0, as
//! pandas does, or from 1: else a table whose names have been forgotten would lose its first row, and nobody
//! would notice.

pub(super) mod cell;
mod columns;
mod write;

use csv_core::ReadFieldResult;

use super::body::{Decoded, Given, check_inputs, form, only_input, signature};
use super::predict::{Format, Inputs};
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;
use columns::Columns;
pub(super) use write::encode;

/// The most columns: more than the pixels of a picture that anybody writes as text.
pub(crate) const MOST_COLUMNS: usize = 1 << 18;

/// The most bytes of a cell where no input takes strings: no number has as many digits, and a cell is put together
/// in one place.
const MOST_DIGITS: usize = 1 << 16;

/// The type of a reply without a line of names.
pub(super) const WITHOUT_NAMES: &str = "text/csv; header=absent";

/// Makes the columns of a body tensors of the inputs.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the line and the column.
pub(super) fn decode(given: &Given<'_>) -> Result<Decoded> {
    let Given { agreement, body, signatures, limits } = *given;
    let Some(signatures) = signatures else {
        return Err(Error::invalid_argument(
            "Nobody knows the inputs of this model, and so not what the columns of a text/csv body are",
        ));
    };
    let (signature_name, signature) = signature(agreement, signatures)?;
    let header = agreement.content_parameter("header").map(|header| header.to_ascii_lowercase());
    let has_header = match header.as_deref() {
        None | Some("present") => true,
        Some("absent") => false,
        Some(other) => {
            return Err(Error::invalid_argument(format!(
                "The header of a text/csv body is present or absent, not {other:?}"
            )));
        }
    };
    let has_strings = signature.inputs.iter().any(|input| input.dtype == DataType::DtString);
    let most = if has_strings { usize::MAX } else { MOST_DIGITS };
    let mut cells = Cells::new(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body), most);
    if memchr::memchr_iter(b'"', body).count() % 2 == 1 {
        return Err(Error::invalid_argument("A quote is not closed"));
    }
    let (mut names, mut is_shown, mut numbers) = (Vec::new(), true, Numbers::default());
    if has_header
        && !cells.record(|index, name| {
            numbers.see(index, name);
            names.push(columns::name(name, signature, &mut is_shown));
            Ok(())
        })?
    {
        return Err(Error::invalid_argument("The body has no line that names its columns"));
    }
    let one = || only_input(agreement, signature);
    let mut columns = match Columns::named(&names, signature, agreement.parameters.input.is_some())? {
        Some(columns) => columns,
        None if has_header && header.is_none() && numbers.are_values() => {
            return Err(Error::invalid_argument(
                "The first line has numbers where the columns are named: the type text/csv; header=absent says that \
                 there is no line of names, and text/csv; header=present that these are names",
            ));
        }
        None if has_header => Columns::row(one()?, names.len()),
        None => Columns::row(one()?, 0),
    };
    while cells.record(|index, cell| columns.read(index, cell, !has_header))? {
        columns.end_row(limits).map_err(|what| cells.fault(&what))?;
    }
    let inputs: Inputs = columns.into_tensors()?;
    check_inputs(&inputs, signature)?;
    let form = form(agreement.reply, Format::Row);
    Ok(Decoded { signature_name, inputs, output_filter: Vec::new(), form })
}

/// What a line of names looks like.
#[derive(Default)]
struct Numbers {
    has_text: bool,
    /// Whether they are other than the places of the columns, counted from 0 and from 1.
    are_other: [bool; 2],
}

impl Numbers {
    fn see(&mut self, index: usize, name: &[u8]) {
        let text = std::str::from_utf8(name).unwrap_or_default().trim();
        let is_number = text.bytes().any(|byte| byte.is_ascii_digit()) && text.parse::<f64>().is_ok();
        self.has_text |= !is_number;
        for (first, is_other) in self.are_other.iter_mut().enumerate() {
            *is_other |= text.parse() != Ok(first + index);
        }
    }

    /// Whether it is the first row rather than their names.
    fn are_values(&self) -> bool {
        !self.has_text && self.are_other == [true; 2]
    }
}

/// The cells of a text, one after the other.
struct Cells<'a> {
    reader: csv_core::Reader,
    rest: &'a [u8],
    cell: Vec<u8>,
    /// The most bytes of one.
    most: usize,
    line: u64,
}

impl<'a> Cells<'a> {
    fn new(text: &'a [u8], most: usize) -> Self {
        Self { reader: csv_core::Reader::new(), rest: text, cell: vec![0; 256], most, line: 1 }
    }

    /// Reads the cells of the next line that has some; false if there is none.
    fn record(&mut self, mut read: impl FnMut(usize, &[u8]) -> Result<(), String>) -> Result<bool> {
        let (mut index, mut length) = (0, 0);
        loop {
            if length == 0 {
                self.line = self.reader.line();
            }
            let (result, taken, written) = self.reader.read_field(self.rest, &mut self.cell[length..]);
            self.rest = &self.rest[taken..];
            length += written;
            match result {
                // The end is told by one more call.
                ReadFieldResult::InputEmpty => {}
                ReadFieldResult::OutputFull if length >= self.most => {
                    return Err(self.fault(&format!("more than {} bytes in a cell", self.most)));
                }
                ReadFieldResult::OutputFull => self.cell.resize(self.cell.len() * 2, 0),
                ReadFieldResult::End => return Ok(false),
                ReadFieldResult::Field { record_end } => {
                    if index == MOST_COLUMNS {
                        return Err(self.fault(&format!("more than {MOST_COLUMNS} columns")));
                    }
                    read(index, &self.cell[..length]).map_err(|what| self.fault(&what))?;
                    if record_end {
                        return Ok(true);
                    }
                    (index, length) = (index + 1, 0);
                }
            }
        }
    }

    #[cold]
    fn fault(&self, what: &str) -> Error {
        Error::invalid_argument(format!("line {}: {what}", self.line))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec::dense::{Dense, Elements};
    use crate::codec::limits::Limits;
    use crate::codec::media::Agreement;
    use crate::codec::signature::{Input, Signature, Signatures};

    type Wanted<'a> = &'a [(&'a str, DataType, Option<&'a [i64]>)];

    fn decoded(body: &str, content_type: &str, query: &str, inputs: Wanted<'_>) -> Result<Inputs> {
        let input = |(name, dtype, shape): &(&str, _, Option<&[i64]>)| Input {
            name: (*name).to_owned(),
            dtype: *dtype,
            shape: shape.map(<[i64]>::to_vec),
        };
        let signature = Signature::new(inputs.iter().map(input).collect());
        let signatures = Signatures::from_iter([("serving_default".to_owned(), signature)]);
        let agreement = Agreement::new(Some(content_type), [], Some(query))?;
        let limits = Limits { elements: 20, string_size: 10, ..Limits::default() };
        let body = Bytes::copy_from_slice(body.as_bytes());
        decode(&Given { agreement: &agreement, body: &body, signatures: Some(&signatures), limits: &limits })
            .map(|decoded| decoded.inputs)
    }

    /// The shape of an input and its elements as text.
    fn shown(inputs: &Inputs, name: &str) -> (Vec<usize>, String) {
        let dense = Dense::new(name, &inputs[name]).unwrap();
        let text = match &dense.elements {
            Elements::Strings(strings) => format!("{strings:?}"),
            Elements::Numbers(content) => match dense.dtype {
                DataType::DtFloat => {
                    format!(
                        "{:?}",
                        content.as_chunks().0.iter().map(|it| f32::from_le_bytes(*it)).collect::<Vec<_>>()
                    )
                }
                _ => format!("{:?}", content.as_ref()),
            },
        };
        (dense.dimensions, text)
    }

    const X: (&str, DataType, Option<&[i64]>) = ("x", DataType::DtFloat, None);

    #[test]
    fn columns_are_inputs() {
        let inputs = decoded(
            "n,s,x[1],x[0]\n1,a,2,1.5\r\n-2,\"b,\"\"c\",4,.25\n\n",
            "text/csv",
            "",
            &[("n", DataType::DtInt8, Some(&[-1, 1])), ("s", DataType::DtString, None), X],
        )
        .unwrap();
        assert_eq!(shown(&inputs, "n"), (vec![2, 1], "[1, 254]".to_owned()));
        assert_eq!(shown(&inputs, "s"), (vec![2], r#"[b"a", b"b,\"c"]"#.to_owned()));
        assert_eq!(shown(&inputs, "x"), (vec![2, 2], "[1.5, 2.0, 0.25, 4.0]".to_owned()));
    }

    #[test]
    fn all_columns_are_the_row_of_one_input() {
        let check = |body, content_type, query, shape, dimensions: &[usize], elements: &str| {
            let inputs: Wanted<'_> = &[("x", DataType::DtFloat, shape)];
            let inputs = decoded(body, content_type, query, inputs).unwrap();
            assert_eq!(shown(&inputs, "x"), (dimensions.to_vec(), elements.to_owned()), "{body}");
        };
        let (present, absent) = ("text/csv", "text/csv; charset=utf-8; header=absent");
        check("\u{feff}a,b\n1,2\n3,NaN\n", present, "", None, &[2, 2], "[1.0, 2.0, 3.0, NaN]");
        check("1,2\n3,-inf\n", absent, "", None, &[2, 2], "[1.0, 2.0, 3.0, -inf]");
        check(
            "1,2,3,4\n5,6,7,8",
            absent,
            "",
            Some(&[-1, 2, 2]),
            &[2, 2, 2],
            "[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]",
        );
        check("1,2,3,4\n", absent, "", Some(&[-1, 2, -1]), &[1, 2, 2], "[1.0, 2.0, 3.0, 4.0]");
        check("1\n+2e1\n", absent, "", Some(&[-1]), &[2], "[1.0, 20.0]");
        check("x\n 1\n", present, "", Some(&[-1]), &[1], "[1.0]");
        check("x\n1\n", present, "", Some(&[]), &[], "[1.0]");
        check("x[0]\n1\n", present, "", None, &[1, 1], "[1.0]");
        check("x,y\n1,2\n", present, "input=x", None, &[1, 2], "[1.0, 2.0]");
        check("a,b\n", present, "", None, &[0, 2], "[]");
        check("1\n2\n", "text/csv; Header=ABSENT", "", None, &[2, 1], "[1.0, 2.0]");
        // Numbers are names where they are said to be, or count the columns.
        check("0,1\n2,3\n", present, "", None, &[1, 2], "[2.0, 3.0]");
        check("1,2\n3,4\n", present, "", None, &[1, 2], "[3.0, 4.0]");
        check("1.5,2\n3,4\n", "text/csv; header=present", "", None, &[1, 2], "[3.0, 4.0]");
        check("1,b\n3,4\n", present, "", None, &[1, 2], "[3.0, 4.0]");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let two: Wanted<'_> = &[X, ("n", DataType::DtUint8, None)];
        let check = |body: &str, inputs, expected: &str| {
            let error = decoded(body, "text/csv", "", inputs).unwrap_err();
            assert_eq!((error.message(), error.status().as_u16()), (expected, 400), "{body}");
        };
        check("x\n\"1\n", &[X], "A quote is not closed");
        check("x\n1e400\n", &[X], "line 2: column x: \"1e400\" is not a float");
        check("", &[X], "The body has no line that names its columns");
        let no_names = "The first line has numbers where the columns are named: the type text/csv; header=absent says \
                        that there is no line of names, and text/csv; header=present that these are names";
        for body in ["1.0,2.0\n3.0,4.0\n", "2", "\"-5\" , 1e3\n1,2", "1,2,4\n"] {
            check(body, &[X], no_names);
        }
        check("x,n\n1,2\n3,300\n", two, "line 3: column n: \"300\" is not a uint8");
        check("x,n\n1,\n", two, "line 2: column n: \"\" is not a uint8");
        check("x,n\n1,2.0\n", two, "line 2: column n: \"2.0\" is not a uint8");
        check("x[1],x[0],n\n0x1,1,1\n", two, "line 2: column x[1]: \"0x1\" is not a float");
        check("x,n\n1\n", two, "line 2: it has 1 cells, and there are 2 columns");
        check("x,n\n1,2,3\n", two, "line 2: it has more than the 2 columns");
        check("x\n1\n", two, "Missing named input: n");
        check("x,n,z\n1,2,3\n", two, "The column \"z\" is no input of the signature, which has: n, x");
        check(
            "a,b\n1,2\n",
            two,
            "The body is for one input and the signature has several: say which with ?input=NAME, of n, x",
        );
        check("x,n,x\n1,2,3\n", two, "There are several columns \"x\"");
        check("x,n,x[0]\n1,2,3\n", two, "There are several columns \"x[0]\"");
        check("x[0],x[2],n\n1,2,3\n", two, "There is no column \"x[1]\"");
        check("x[4294967296],n\n1,2\n", two, "There is no column \"x[0]\"");
        check(
            "a\n1\n",
            &[("x", DataType::DtFloat, Some(&[-1, 3]))],
            "The input x has shape [-1,3], and a row has 1 values for it",
        );
        check(
            "a\n1\n2\n",
            &[("x", DataType::DtFloat, Some(&[]))],
            "The input x has shape [], and there are 2 rows",
        );
        check(
            "x\n\"long enough\"\n",
            &[("x", DataType::DtString, None)],
            "line 2: column x: More than 10 bytes in a string",
        );
        check(&"1\n".repeat(22), &[X], "line 22: More than 20 elements");
        check(
            "x\n1\n",
            &[("x", DataType::DtComplex64, None)],
            "The input x is of type complex64, which has no form in text/csv",
        );
        check(&format!("x\n\"{}\"\n", "0".repeat(70_000)), &[X], "line 2: more than 65536 bytes in a cell");
        let columns = "1,".repeat(1_000_000);
        check(&columns, &[X], "line 1: more than 262144 columns");
        let error = decoded("1", "text/csv; header=maybe", "", &[X]).unwrap_err();
        assert!(error.message().contains("not \"maybe\""), "{error}");
        let error = decoded("1,2\n1\n", "text/csv; header=absent", "", &[X]).unwrap_err();
        assert_eq!(error.message(), "line 2: it has 1 cells, and there are 2 columns");
    }
}
