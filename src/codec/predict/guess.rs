//! Predict for a model server that does not tell its signatures: the body itself tells them.
//!
//! The names of the inputs are those of the object `inputs` or of the first object in
//! `instances`. The dtype of an input is what the member `dtypes` says, an object from names
//! to dtypes, and otherwise what all values of the input have in common:
//!
//! | values | dtype |
//! |---|---|
//! | numbers without point and exponent | `DT_INT64` |
//! | numbers of which any has a point or an exponent, or is `NaN` or infinite | `DT_FLOAT` |
//! | `true` and `false` | `DT_BOOL` |
//! | strings and base64 objects | `DT_STRING` |
//! | none, as in an empty list | `DT_FLOAT` |
//!
//! Every name in `dtypes` is an input that the body must give. Values without names are those
//! of the one name in `dtypes`; if there is not exactly one, nobody knows what they are for.
//!
//! The guess is a pass of its own, which ends in a [`Signature`]: what decodes the body, and
//! what is wrong with it, is the same as where the signatures are known.

mod dtypes;
mod inputs;
mod kind;

use std::collections::BTreeMap;

use bytes::Bytes;

use self::inputs::Found;
use super::{Format, Predict, decode_named};
use crate::codec::document::{self, SignatureName};
use crate::codec::fault::Fault;
use crate::codec::limits::Limits;
use crate::codec::reader::Reader;
use crate::codec::signature::{DEFAULT_SIGNATURE, Input, Signature, Signatures};
use crate::error::Result;
use crate::proto::tensorflow::DataType;

/// The most inputs that a body may name: no signature bounds their number here, and each takes
/// much more memory than its text.
const MAX_INPUTS: usize = 1024;

/// Decodes a predict body without the signatures of the model that it is for, from what the
/// body's values and its member `dtypes` tell.
///
/// # Errors
///
/// As from [`decode`](super::decode), and `INVALID_ARGUMENT` with the place for a member `dtypes` that is
/// no object of dtypes, for values that have no name and for more than 1024 inputs.
pub fn decode_guessed(body: &Bytes, limits: &Limits) -> Result<Predict> {
    decode_guessed_named(body, limits, "")
}

/// The same for this signature, where the body names none.
pub(in crate::codec) fn decode_guessed_named(
    body: &Bytes,
    limits: &Limits,
    signature_name: &str,
) -> Result<Predict> {
    let (name, signature) = guess(body, limits, signature_name).map_err(|fault| fault.into_error(body))?;
    decode_named(body, &Signatures::from_iter([(name, signature)]), limits, None, signature_name)
}

/// The signature that the body asks for and what must be true of its inputs.
fn guess(body: &[u8], limits: &Limits, default: &str) -> Result<(String, Signature), Fault> {
    let mut signature_name = SignatureName::or(default);
    let (mut dtypes_at, mut rows, mut columns, mut examples_at) = (None, None, None, None);
    document::members(body, limits, |reader, key| {
        let (found, format) = match key {
            b"signature_name" => return signature_name.read(reader),
            b"instances" => (&mut rows, Format::Row),
            b"inputs" => (&mut columns, Format::Columnar),
            b"dtypes" => {
                dtypes_at = dtypes_at.or(Some(reader.at));
                return reader.skip_value();
            }
            b"examples" => {
                examples_at = examples_at.or(Some(reader.at));
                return reader.skip_value();
            }
            _ => return reader.skip_value(),
        };
        if found.is_some() {
            return reader.skip_value();
        }
        let start = reader.clone();
        let result = inputs::find(reader, format);
        if let Err(fault) = &result {
            // What is no JSON further on comes first.
            if fault.ends_text() {
                return result.map(drop);
            }
            *reader = start;
            reader.skip_value()?;
        }
        *found = Some(result);
        Ok(())
    })?;

    let name = signature_name.finish()?;
    let name = if name.is_empty() { DEFAULT_SIGNATURE.to_owned() } else { name };
    let mut dtypes = match dtypes_at {
        Some(at) => dtypes::read(&mut Reader::inside(body, at, 1, limits))?,
        None => BTreeMap::new(),
    };
    let found = match (rows, columns, examples_at) {
        (Some(found), None, None) | (None, Some(found), None) => found?,
        (None, None, Some(at)) => Found::Unnamed(at),
        // Which the decoder refuses.
        _ => Found::Nothing,
    };
    match found {
        Found::Named(kinds) => {
            for (name, kind) in kinds {
                dtypes.entry(name).or_insert_with(|| kind.dtype());
            }
        }
        Found::Unnamed(at) if dtypes.len() != 1 => return Err(unnamed(at)),
        Found::Unnamed(_) => {}
        // Some input, so that the decoder comes to say what is wrong with the body.
        Found::Nothing => dtypes = BTreeMap::from([(String::new(), DataType::DtFloat)]),
    }
    let inputs = dtypes.into_iter().map(|(name, dtype)| Input { name, dtype, shape: None }).collect();
    Ok((name, Signature::new(inputs)))
}

#[cold]
fn unnamed(at: usize) -> Fault {
    Fault::text(
        at,
        "The model server does not tell its signatures, so that inputs must be named: expecting an object as \
         'inputs', objects in 'instances', or exactly one name in 'dtypes'",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::predict::decode;
    use crate::codec::{MAX_RANK, dtype};

    fn guessed(body: impl Into<Bytes>) -> Result<Predict> {
        decode_guessed(&body.into(), &Limits::default())
    }

    /// The inputs as `name: dtype[sizes]`, sorted.
    fn inputs(predict: &Predict) -> String {
        let mut inputs: Vec<_> = predict
            .inputs
            .iter()
            .map(|(name, tensor)| {
                let sizes: Vec<_> =
                    tensor.tensor_shape.iter().flat_map(|shape| &shape.dim).map(|dim| dim.size).collect();
                format!("{name}: {}{sizes:?}", dtype::name(tensor.dtype()))
            })
            .collect();
        inputs.sort();
        inputs.join("; ")
    }

    fn check(cases: &[(&str, &str)]) {
        for (body, expected) in cases {
            let found =
                guessed(body.to_string()).map_or_else(|error| error.to_string(), |body| inputs(&body));
            assert_eq!(&found, expected, "{body}");
        }
    }

    #[test]
    fn the_dtype_is_what_the_values_have_in_common() {
        check(&[
            (r#"{"inputs": {"x": 1}}"#, "x: int64[]"),
            (r#"{"inputs": {"x": [[1, -2], [0, 3]]}}"#, "x: int64[2, 2]"),
            (r#"{"inputs": {"x": [1, 2.0]}}"#, "x: float[2]"),
            (r#"{"inputs": {"x": [2.5, 1]}}"#, "x: float[2]"),
            (r#"{"inputs": {"x": [1, 1e2]}}"#, "x: float[2]"),
            (r#"{"inputs": {"x": [1, NaN, -Infinity]}}"#, "x: float[3]"),
            (r#"{"inputs": {"x": [true, false]}}"#, "x: bool[2]"),
            (r#"{"inputs": {"x": ["a", {"b64": "YQ=="}]}}"#, "x: string[2]"),
            (r#"{"inputs": {"x": {"b64": "YQ=="}}}"#, "x: string[]"),
            (r#"{"inputs": {"x": []}}"#, "x: float[0]"),
            (r#"{"inputs": {"x": [[], []]}}"#, "x: float[2, 0]"),
            (
                r#"{"inputs": {"x": [[1], ["#,
                "INVALID_ARGUMENT: JSON Parse error: Invalid value. at offset: 24",
            ),
            (r#"{"inputs": {"b": true, "a": [1], "c": ["s"]}}"#, "a: int64[1]; b: bool[]; c: string[1]"),
        ]);
    }

    #[test]
    fn the_values_of_all_rows_count() {
        check(&[
            (r#"{"instances": [{"x": 1}, {"x": 2}]}"#, "x: int64[2]"),
            (r#"{"instances": [{"x": 1}, {"x": 2.5}]}"#, "x: float[2]"),
            (r#"{"instances": [{"x": [], "y": "s"}, {"y": "t", "x": []}]}"#, "x: float[2, 0]; y: string[2]"),
            (r#"{"instances": [{"x": [1], "y": 2}, {"y": 0.5, "x": [3]}]}"#, "x: int64[2, 1]; y: float[2]"),
        ]);
    }

    #[test]
    fn the_member_dtypes_overrules_the_values_wherever_it_stands() {
        check(&[
            (r#"{"dtypes": {"x": "DT_INT32"}, "inputs": {"x": [1]}}"#, "x: int32[1]"),
            (r#"{"inputs": {"x": [1]}, "dtypes": {"x": "DT_DOUBLE"}}"#, "x: double[1]"),
            (r#"{"instances": [{"x": 1, "y": 2}], "dtypes": {"y": "float32"}}"#, "x: int64[1]; y: float[1]"),
            (r#"{"instances": [{"x": [1, 2]}], "dtypes": {"x": "complex64"}}"#, "x: complex64[1]"),
            (r#"{"dtypes": {}, "dtypes": {"x": "bool"}, "inputs": {"x": 1}}"#, "x: int64[]"),
            (r#"{"dtypes": {"x": "half", "x": "bool"}, "inputs": {"x": 1}}"#, "x: half[]"),
        ]);
    }

    #[test]
    fn one_name_in_dtypes_names_bare_values() {
        check(&[
            (r#"{"instances": [1, 2], "dtypes": {"x": "DT_FLOAT"}}"#, "x: float[2]"),
            (r#"{"dtypes": {"x": "DT_INT64"}, "inputs": [[1, 2]]}"#, "x: int64[1, 2]"),
            (r#"{"dtypes": {"x": "string"}, "inputs": {"b64": "YQ=="}}"#, "x: string[]"),
            (r#"{"dtypes": {"x": "string"}, "instances": [{"b64": "YQ=="}]}"#, "x: string[1]"),
        ]);
    }

    #[test]
    fn bare_values_without_one_name_are_refused() {
        let reason = "The model server does not tell its signatures, so that inputs must be named: expecting \
                      an object as 'inputs', objects in 'instances', or exactly one name in 'dtypes'";
        for (place, body) in [
            ("inputs", r#"{"inputs": 1}"#),
            ("inputs", r#"{"inputs": {}}"#),
            ("inputs", r#"{"inputs": {"b64": "YQ=="}}"#),
            ("inputs", r#"{"inputs": [], "dtypes": {}}"#),
            ("instances", r#"{"instances": [1.5]}"#),
            ("instances", r#"{"instances": [{}]}"#),
            ("instances", r#"{"instances": [{"b64": "YQ=="}]}"#),
            ("instances", r#"{"instances": [1], "dtypes": {"x": "DT_FLOAT", "y": "DT_FLOAT"}}"#),
        ] {
            check(&[(body, &format!("INVALID_ARGUMENT: /{place}: {reason}"))]);
        }
    }

    #[test]
    fn what_is_no_dtype_is_refused() {
        for (place, value, dtypes) in [
            ("/x", "5 Type: Number", r#"{"x": 5}"#),
            ("/x", r#""DT_TEXT" Type: String"#, r#"{"x": "DT_TEXT"}"#),
            ("/x", r#""DT_INVALID" Type: String"#, r#"{"x": "DT_INVALID"}"#),
            ("/y", "null Type: Null", r#"{"x": "bool", "y": null}"#),
        ] {
            let expected = format!(
                "INVALID_ARGUMENT: /dtypes{place}: JSON Value: {value} is not a dtype, such as \"DT_FLOAT\""
            );
            check(&[
                (&format!(r#"{{"dtypes": {dtypes}, "inputs": {{"x": 1}}}}"#), &expected),
                (&format!(r#"{{"instances": [{{"x": 1}}], "dtypes": {dtypes}}}"#), &expected),
            ]);
        }
        check(&[(
            r#"{"dtypes": ["bool"], "inputs": {"x": 1}}"#,
            "INVALID_ARGUMENT: /dtypes: JSON Value: [\"bool\"] Type: Array is not an object from names of inputs \
             to dtypes",
        )]);
    }

    #[test]
    fn everything_else_is_as_with_the_signature() {
        let input = |name: &str, dtype| Input { name: name.to_owned(), dtype, shape: None };
        let signature = Signature::new(vec![input("x", DataType::DtInt64), input("y", DataType::DtString)]);
        let names = [DEFAULT_SIGNATURE, "s"].map(|name| (name.to_owned(), signature.clone()));
        let signatures = Signatures::from_iter(names);
        let limits = Limits::default();
        for body in [
            r#"{"inputs": {"x": [1, 2], "y": "a"}, "output_filter": ["z"], "signature_name": "s"}"#,
            r#"{"signature_name": "", "instances": [{"x": 1, "y": "a"}, {"y": "\u00e9", "x": 2}]}"#,
            r#"{"inputs": {"x": 1, "y": "a", "x": 2.5}, "instances_": []} junk"#,
            r#"{"inputs": {"x": [1, "a"], "y": "a"}}"#,
            r#"{"inputs": {"x": [1, null], "y": "a"}}"#,
            r#"{"inputs": {"x": [1, [2]], "y": "a"}}"#,
            r#"{"inputs": {"x": 9223372036854775808, "y": "a"}}"#,
            r#"{"inputs": {"x": 1, "y": {"b64": 5}}}"#,
            r#"{"inputs": {"x": 1, "y": {"b64": "?"}}}"#,
            r#"{"inputs": {"x": 1, "y": "a"}, "instances": [5]}"#,
            r#"{"instances": [1], "inputs": {"x": 1, "y": "a"}}"#,
            r#"{"instances": [{"x": 1, "y": "a"}, {"x": 1, "y": "a", "z": 1}]}"#,
            r#"{"instances": [{"x": 1, "y": "a"}, {"x": [1], "y": "a"}]}"#,
            r#"{"instances": [{"x": 1, "y": "a"}, {"x": 1}]}"#,
            r#"{"instances": [{"x": 1, "y": "a", "x": 1}]}"#,
            r#"{"instances": [{"x": 1, "y": "a"}, 5]}"#,
            r#"{"instances": [{"x": 1, "y": "a"}, {"b64": "YQ=="}]}"#,
            r#"{"instances": []}"#,
            r#"{"instances": {"x": 1}}"#,
            r#"{"dtypes": {}}"#,
            r#"{"inputs": {"x": 1, "y": "a"}, "output_filter": [1]}"#,
            r#"{"inputs": {"x": 1, "y": "a"}, "signature_name": 1, "dtypes": 1}"#,
            r#"{"inputs": {"x": 1, "y": "a"}, "dtypes": 1, "#,
            r#"{"inputs": {"x": 01, "y": "a"}}"#,
            r#"{"inputs": {"x": 1.}, "y": "a"}"#,
            r#"{"inputs": {"x": 1, "y": tru}}"#,
            r#"{"inputs": {"x": 1, "y": {"b64": "a}}"#,
            "[1]",
            "",
        ] {
            let body = Bytes::from_static(body.as_bytes());
            let show = |result: Result<Predict>| result.map_err(|error| error.to_string());
            assert_eq!(
                show(decode_guessed(&body, &limits)),
                show(decode(&body, &signatures, &limits)),
                "{body:?}"
            );
        }
    }

    #[test]
    fn names_in_dtypes_must_be_given() {
        check(&[
            (
                r#"{"inputs": {"x": 1}, "dtypes": {"y": "bool"}}"#,
                "INVALID_ARGUMENT: /inputs: Missing named input: y in 'inputs' object.",
            ),
            (
                r#"{"instances": [{"x": 1}], "dtypes": {"y": "bool"}}"#,
                "INVALID_ARGUMENT: /instances/0: JSON object: {\"x\": 1} keys must be equal to: x,y",
            ),
        ]);
    }

    #[test]
    fn inputs_are_bounded_in_number() {
        let body = |count: usize| {
            let members: Vec<_> = (0..count).map(|index| format!("\"{index}\": 1")).collect();
            format!(r#"{{"inputs": {{{}}}}}"#, members.join(","))
        };
        assert_eq!(guessed(body(MAX_INPUTS)).unwrap().inputs.len(), MAX_INPUTS);
        let error = guessed(body(MAX_INPUTS + 1)).unwrap_err();
        assert_eq!(error.message(), "/inputs/1024: More than 1024 inputs without a signature");
        let error = guessed(&b"{\"inputs\": {\"\xFF\": 1}}"[..]).unwrap_err();
        assert_eq!(error.message(), "/inputs/\u{FFFD}: The name of an input must be UTF-8");
    }

    #[test]
    fn deep_lists_are_refused() {
        let body =
            |depth: usize| format!(r#"{{"inputs": {{"x": {}1{}}}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(guessed(body(MAX_RANK)).unwrap().inputs["x"].dtype(), DataType::DtInt64);
        let error = guessed(body(20_000)).unwrap_err();
        assert!(error.message().ends_with("More than 512 levels of nesting"), "{error}");
        let error = guessed(body(MAX_RANK + 1)).unwrap_err();
        assert!(error.message().ends_with("A tensor has at most 254 dimensions"), "{error}");
    }
}
