//! Whether tensors have shapes that the signature allows.
//!
//! The original leaves that to the model, some of which take other shapes than they declare, while
//! others end the serving process: so it is a check of its own, for those who ask for it.

use super::{Format, Inputs, Members, Predict};
use crate::codec::fault::Fault;
use crate::codec::limits::Limits;
use crate::codec::reader::Reader;
use crate::codec::signature::{Input, Signature, Signatures};
use crate::error::{Error, Result};
use crate::proto::tensorflow::TensorProto;

/// Checks the rank and the fixed sizes of all inputs of a decoded body against the signature that
/// it was decoded with.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the place of the first input that contradicts it.
pub fn check_shapes(body: &[u8], predict: &Predict, signatures: &Signatures) -> Result<()> {
    let Predict { signature_name, format, inputs, .. } = predict;
    check_shapes_at(body, || start(body, *format), *format, inputs, signatures.get(signature_name)?)
        .map_err(|fault| fault.into_error(body))
}

/// The same for inputs whose values start where `start` says.
pub(in crate::codec) fn check_shapes_at(
    body: &[u8],
    start: impl FnOnce() -> usize,
    format: Format,
    inputs: &Inputs,
    signature: &Signature,
) -> Result<(), Fault> {
    let Some((name, text)) = contradiction(inputs, signature) else { return Ok(()) };
    let start = start();
    let place = match format {
        // All of them are in the one list.
        Format::Row => start,
        Format::Columnar => member(body, start, name).unwrap_or(start),
    };
    Err(Fault::text(place, text))
}

/// The same for inputs that have no place in a text.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the name of the first input that contradicts the signature.
pub(crate) fn check_input_shapes(inputs: &Inputs, signature: &Signature) -> Result<()> {
    match contradiction(inputs, signature) {
        Some((_, text)) => Err(Error::invalid_argument(text)),
        None => Ok(()),
    }
}

/// The first input that contradicts its signature, and how.
fn contradiction<'a>(inputs: &Inputs, signature: &'a Signature) -> Option<(&'a str, String)> {
    signature.inputs.iter().find_map(|Input { name, shape, .. }| {
        let (wanted, found) = (shape.as_ref()?, sizes(inputs.get(name)?));
        (!allows(wanted, &found)).then(|| {
            let (found, wanted) = (text(&found), text(wanted));
            let text = format!("Input {name:?} has shape {found}, but the signature wants {wanted}");
            (name.as_str(), text)
        })
    })
}

fn sizes(tensor: &TensorProto) -> Vec<i64> {
    tensor.tensor_shape.iter().flat_map(|shape| &shape.dim).map(|dim| dim.size).collect()
}

/// True if a tensor of these sizes is what a signature wants, in which negative sizes are open.
fn allows(wanted: &[i64], found: &[i64]) -> bool {
    wanted.len() == found.len()
        && wanted.iter().zip(found).all(|(wanted, found)| *wanted < 0 || wanted == found)
}

fn text(sizes: &[i64]) -> String {
    let sizes: Vec<_> = sizes.iter().map(ToString::to_string).collect();
    format!("[{}]", sizes.join(","))
}

/// Where the values of a body start.
#[cold]
fn start(body: &[u8], format: Format) -> usize {
    let mut members = Members::default();
    // It has been decoded, and so can be read.
    let _ = members.read(body, &Limits::NONE, |reader, _, _| reader.skip_value());
    let start = match format {
        Format::Row => members.instances.or(members.examples.examples()),
        Format::Columnar => members.inputs,
    };
    start.unwrap_or_default()
}

/// Where the value of the first member of that name starts, if there is an object of members.
fn member(body: &[u8], start: usize, name: &str) -> Option<usize> {
    let mut reader = Reader::inside(body, start, 1, &Limits::NONE);
    if reader.byte() != b'{' || reader.clone().base64_object().is_some() {
        return None;
    }
    let mut more = reader.open_object().ok()?;
    while more {
        let key = reader.key().ok()?;
        reader.peek();
        if key.bytes(body) == name.as_bytes() {
            return Some(reader.at);
        }
        reader.skip_value().ok()?;
        more = reader.next_member().ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::predict::decode;
    use crate::codec::signature::Signature;
    use crate::proto::tensorflow::DataType;

    fn check(shape: Option<&[i64]>, cases: &[(&str, &str)]) {
        let input = |name: &str, dtype, shape| Input { name: name.to_owned(), dtype, shape };
        let x = input("x", DataType::DtFloat, shape.map(<[i64]>::to_vec));
        let other = input("a/b", DataType::DtString, Some(vec![-1]));
        let signatures = Signatures::from_iter([
            ("serving_default".to_owned(), Signature::new(vec![x.clone()])),
            ("two".to_owned(), Signature::new(vec![x, other])),
        ]);
        for (body, expected) in cases {
            let bytes = body.to_string().into();
            let predict = decode(&bytes, &signatures, &Limits::default()).unwrap();
            let found = check_shapes(&bytes, &predict, &signatures);
            assert_eq!(
                found.map_err(|error| error.message().to_owned()).err().unwrap_or_default(),
                *expected,
                "{body}"
            );
        }
    }

    #[test]
    fn rank_and_fixed_sizes_are_those_of_the_signature() {
        let wants = |place: &str, found: &str| {
            format!("{place}: Input \"x\" has shape {found}, but the signature wants [-1,2]")
        };
        check(
            Some(&[-1, 2]),
            &[
                (r#"{"instances": [[1, 2]]}"#, ""),
                (r#"{"instances": [[1, 2], [3, 4], [5, 6]]}"#, ""),
                (r#"{"inputs": {"x": [[1, 2]]}}"#, ""),
                (r#"{"instances": [1, 2, 3]}"#, &wants("/instances", "[3]")),
                (r#"{"instances": [{"x": 1}]}"#, &wants("/instances", "[1]")),
                (r#"{"instances": [[[1, 2]]]}"#, &wants("/instances", "[1,1,2]")),
                (r#"{"instances": [[1], [2]]}"#, &wants("/instances", "[2,1]")),
                (r#"{"inputs": []}"#, &wants("/inputs", "[0]")),
                (r#"{"inputs": 5}"#, &wants("/inputs", "[]")),
                (r#"{"inputs": {"y": 1, "x": [[]]}}"#, &wants("/inputs/x", "[1,0]")),
                (r#"{"signature_name": "two", "inputs": {"x": 1, "a/b": []}}"#, &wants("/inputs/x", "[]")),
                (
                    r#"{"inputs": {"x": [[1, 2]], "a/b": [["s"]]}, "signature_name": "two"}"#,
                    "/inputs/a~1b: Input \"a/b\" has shape [1,1], but the signature wants [-1]",
                ),
                (
                    r#"{"signature_name": "two", "instances": [{"x": [1, 2], "a/b": ["s"]}]}"#,
                    "/instances: Input \"a/b\" has shape [1,1], but the signature wants [-1]",
                ),
            ],
        );
    }

    #[test]
    fn an_empty_list_is_no_image() {
        let expected = "/inputs: Input \"x\" has shape [0], but the signature wants [-1,28,28,1]";
        check(Some(&[-1, 28, 28, 1]), &[(r#"{"inputs": []}"#, expected)]);
    }

    #[test]
    fn what_is_open_takes_any_shape() {
        let bodies =
            [r#"{"inputs": []}"#, r#"{"inputs": 5}"#, r#"{"instances": [[1, 2]]}"#].map(|body| (body, ""));
        check(None, &bodies);
        check(Some(&[-1, -1]), &[(r#"{"inputs": [[]]}"#, ""), (r#"{"instances": [[1, 2], [3, 4]]}"#, "")]);
        check(Some(&[]), &[(r#"{"inputs": 5}"#, "")]);
    }
}
