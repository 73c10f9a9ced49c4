//! How much memory decoding and encoding may take, found out before it is taken.
//!
//! The bounds are generous, for what is not needed is given back; they hold whatever a body says.

mod tensors;

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memmem};

use crate::codec::Limits;
use crate::codec::media::MediaType;
use crate::codec::signature::Signatures;
use crate::codec::{arrow, csv, multipart, npy, npz, octets};
pub(super) use tensors::{of_list, of_reply, of_rows, of_tensor, of_text, of_typed};

/// Bodies up to this size are not looked at: every byte of them may be the worst.
const SMALL: usize = 16 << 10;

/// What one string takes besides its bytes, also while the list of them grows.
const STRING: usize = 48;

/// What one feature of an example takes, and one of its values.
const FEATURE: usize = 256;
const VALUE: usize = 48;

/// The most bytes that the tensors of a part of a predict body take while it is decoded.
pub(super) fn of_tensors(
    media_type: MediaType,
    bytes: &Bytes,
    signatures: Option<&Signatures>,
    limits: &Limits,
) -> usize {
    let widest = || signatures.map_or(0, Signatures::widest_number);
    match media_type {
        MediaType::Octets if octets::may_be_json(bytes) => {
            STRING + of_tensors(MediaType::Json, bytes, signatures, limits)
        }
        MediaType::Json if may_be_examples(bytes, signatures) => {
            of_json(bytes, signatures, 0).max(of_serialized(bytes))
        }
        MediaType::Json => of_json(bytes, signatures, 0),
        MediaType::Lines => of_lines(bytes, signatures),
        // The body itself is the string.
        MediaType::Octets | MediaType::Image => STRING,
        MediaType::Csv => of_csv(bytes, signatures),
        MediaType::Multipart => of_form(bytes, signatures),
        MediaType::Npy => npy::room(bytes, bytes.len(), widest()),
        MediaType::Npz => npz::room(bytes, widest(), limits.inflated),
        MediaType::Arrow => arrow::room(bytes, signatures, limits.inflated),
        // Its tensors are parts of the body.
        MediaType::Protobuf => 0,
    }
}

/// The most bytes that so many strings take beside those of the body.
pub(super) fn of_strings(count: usize) -> usize {
    count.saturating_mul(STRING)
}

/// True if there may be examples in a body, which take more memory than their text says. Names may be written
/// with escapes.
fn may_be_examples(text: &[u8], signatures: Option<&Signatures>) -> bool {
    signatures.is_none_or(Signatures::has_strings)
        && (memmem::find(text, b"\"examples\"").is_some() || memmem::find(text, b"\\u").is_some())
}

/// The most bytes that the tensors of any lines of this size take, where it is not much more than most lines do: if
/// they are numbers.
pub(super) fn of_any_lines(size: usize, signatures: Option<&Signatures>) -> Option<usize> {
    let signatures = signatures.filter(|signatures| !signatures.has_strings())?;
    Some(of_numbers(size / 2 + 1, signatures.widest_number()))
}

/// The most bytes that so many numbers take while they are decoded.
fn of_numbers(count: usize, width: usize) -> usize {
    count * width / 2 * 3
}

/// The most bytes that the tensors of lines take: ends of lines stand between numbers, too.
pub(super) fn of_lines(text: &[u8], signatures: Option<&Signatures>) -> usize {
    of_json(text, signatures, count(text, b'\n'))
}

/// Between two numbers there is a comma, around each string there are quotes.
fn of_json(text: &[u8], signatures: Option<&Signatures>, lines: usize) -> usize {
    let (width, has_strings) =
        signatures.map_or((8, true), |known| (known.widest_number(), known.has_strings()));
    let (numbers, strings) = if text.len() <= SMALL {
        (text.len() / 2 + 1, text.len() / 3 + 1)
    } else {
        (count(text, b',') + lines + 1, if has_strings { count(text, b'"') / 2 } else { 0 })
    };
    let numbers = of_numbers(numbers, width);
    let strings = if has_strings { strings * STRING + text.len() } else { 0 };
    numbers + strings
}

/// Between two cells there is a comma or the end of a line.
fn of_csv(text: &[u8], signatures: Option<&Signatures>) -> usize {
    const NAME: usize = 64;
    // Nothing is kept of a line that has too many, where it is plain that it ends there.
    let first = &text[..memchr(b'\n', text).unwrap_or(text.len())];
    if count(first, b',') >= csv::MOST_COLUMNS && !first.contains(&b'"') {
        return 0;
    }
    let cells = count(text, b',') + count(text, b'\n') + 1;
    let widest = signatures.map_or(0, Signatures::widest_number);
    let has_strings = signatures.is_some_and(Signatures::has_strings);
    // Whoever grows has the old and the new at once.
    let strings = if has_strings { cells * 2 * STRING + 3 * text.len() } else { 0 };
    cells * 3 * widest + cells.min(csv::MOST_COLUMNS) * NAME + strings
}

/// A form may hold arrays, JSON, and many small parts.
fn of_form(bytes: &[u8], signatures: Option<&Signatures>) -> usize {
    const PART: usize = 256;
    let widest = signatures.map_or(0, Signatures::widest_number);
    multipart::room(bytes, widest)
        + of_json(bytes, signatures, 0)
        + (count(bytes, b'\n') / 3).min(multipart::MOST_PARTS) * PART
}

/// The most bytes that the examples of a body take.
pub(super) fn of_examples(text: &[u8]) -> usize {
    if text.len() <= SMALL {
        return text.len() * VALUE;
    }
    count(text, b':') * FEATURE + count(text, b',') * VALUE + text.len()
}

/// The same where they are made strings, which have all of it once more, and may have steps of features.
fn of_serialized(text: &[u8]) -> usize {
    of_examples(text) + text.len() + count(text, b'[') * VALUE
}

/// The most bytes that a text takes when it is indented: every element has a line of its own.
pub(crate) fn of_indented(text: &[u8]) -> usize {
    const LINE: usize = 64;
    let lines = [b',', b'[', b'{', b']', b'}'].map(|byte| count(text, byte));
    lines.iter().sum::<usize>() * LINE + text.len()
}

fn count(text: &[u8], byte: u8) -> usize {
    memchr_iter(byte, text).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::signature::{Input, Signature};
    use crate::proto::tensorflow::DataType;

    #[test]
    fn examples_take_more_than_their_text() {
        let of = |dtype, name: &str| {
            let text = format!(r#"{{"{name}": [{}{{}}]}}"#, r#"{"a": [1, 2, 3]}, "#.repeat(2000));
            let text = Bytes::from(text);
            let input = Input { name: "x".to_owned(), dtype, shape: None };
            let signature = ("serving_default".to_owned(), Signature::new(vec![input]));
            (
                of_tensors(
                    MediaType::Json,
                    &text,
                    Some(&[signature].into_iter().collect()),
                    &Limits::default(),
                ),
                text.len(),
            )
        };
        for name in ["examples", "ex\\u0061mples"] {
            let (memory, length) = of(DataType::DtString, name);
            assert!(memory > 20 * length, "{name}: {memory}");
        }
        let (memory, length) = of(DataType::DtString, "instances");
        assert!(memory < 10 * length, "{memory}");
        // What takes no strings gets no examples.
        let (memory, length) = of(DataType::DtFloat, "examples");
        assert!(memory < 5 * length, "{memory}");
    }
}
