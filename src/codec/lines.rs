//! NDJSON: a value per line in, a prediction per line out.
//!
//! A line is what an entry of `instances` is: a value for the only input, or an object with a value for
//! every input. Its answer is what an entry of `predictions` is, or `{"error": "line 17: ..."}`. Blank lines
//! are passed over, but counted. Lines stand for themselves: whatever is wrong with one, and whatever the
//! pieces are that a body arrives in and the batches that its lines are sent in, all others get the answers
//! that they would get alone.
//!
//! ```text
//! pieces ─► Splitter ─► Batch ─► decode ─► Groups of rows of one shape, and faults of lines
//!                                            └─ model ─► Sheet ─► a line for each line
//! ```

mod batch;
mod sheet;
mod splitter;

use std::collections::HashMap;

use bytes::Bytes;

pub use batch::{Decoded, Group, decode};
pub use sheet::{Sheet, error_line};
pub use splitter::{Batch, Splitter};

use super::fault::Fault;
use super::limits::Limits;
use super::predict::{self, Inputs};
use super::signature::Signature;
use super::writer::NanStyle;
use crate::error::{Error, Result};
use crate::proto::tensorflow::TensorProto;

/// Decodes a body that is there as a whole: all of its lines are rows of one batch.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the line and the reason: without one of them there is no batch.
pub(super) fn decode_whole(body: &Bytes, signature: &Signature, limits: &Limits) -> Result<Inputs> {
    if splitter::lines(body).next().is_none() {
        return Err(Error::invalid_argument("The body has no lines"));
    }
    let spans = splitter::lines(body).map(|(_, span)| span);
    predict::decode_rows(body, spans, signature, limits).map_err(|fault| {
        let line = splitter::lines(body).find(|(_, span)| fault.at <= span.end);
        let (number, span) = line.unwrap_or((1, 0..body.len()));
        let at = fault.at.saturating_sub(span.start);
        let error = Fault { at, ..fault }.into_error(body.get(span).unwrap_or_default());
        Error::invalid_argument(format!("line {number}: {}", error.message()))
    })
}

/// Writes the outputs of a model as a line for each of their rows.
///
/// # Errors
///
/// As [`predict::encode`] for rows.
#[expect(clippy::implicit_hasher, reason = "it is the map that prost generates")]
pub fn encode_whole(outputs: &HashMap<String, TensorProto>, nan: NanStyle) -> Result<Vec<u8>> {
    let rows = predict::encode_lines(outputs, nan)?;
    match rows.faults.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(rows.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::signature::Input;
    use crate::proto::tensorflow::DataType;

    #[test]
    fn one_row_sets_no_more_aside_than_it_may_foresee() {
        let x = Input { name: "x".to_owned(), dtype: DataType::DtDouble, shape: None };
        let signature = Signature::new(vec![x]);
        let body = Bytes::from([b"1\n2", &vec![b' '; 64 << 20][..]].concat());
        let mut inputs = decode_whole(&body, &signature, &Limits::default()).unwrap();
        let content = Vec::from(inputs.remove("x").unwrap().tensor_content);
        assert_eq!(content.len(), 16);
        assert!(content.capacity() <= 16 << 20, "{}", content.capacity());
    }

    #[test]
    fn a_body_at_once_is_one_batch_or_an_error() {
        let x = Input { name: "x".to_owned(), dtype: DataType::DtInt32, shape: None };
        let signature = Signature::new(vec![x]);
        let check = |body: &'static str, expected: Result<&[i64], &str>| {
            let found = decode_whole(&Bytes::from(body), &signature, &Limits::default());
            let found = found.map(|inputs| {
                let shape = inputs["x"].tensor_shape.clone().unwrap_or_default();
                shape.dim.iter().map(|dim| dim.size).collect::<Vec<_>>()
            });
            let found = found.as_ref().map(Vec::as_slice).map_err(Error::message);
            assert_eq!(found, expected, "{body}");
        };
        check("1\n\n2\n", Ok(&[2]));
        check("[1, 2]\r\n[3, 4]", Ok(&[2, 2]));
        check("", Err("The body has no lines"));
        check(" \n\n", Err("The body has no lines"));
        let wrong = "line 3: /1: JSON Value: \"a\" Type: String is not of expected type: int32";
        check("[1, 2]\n\n[3, \"a\"]", Err(wrong));
        check(
            "[1, 2]\n[3",
            Err("line 2: JSON Parse error: Missing a comma or ']' after an array element. at offset: 2"),
        );
    }
}
