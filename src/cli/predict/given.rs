//! A request from arguments: `NAME=VALUE`, `NAME=@FILE`, or a value alone for the only input.
//!
//! Values become a columnar body in JSON, which every server of the API reads. Arrays of NumPy go in a form, and a
//! picture for an input of numbers is a body of its own: those are for a bridge.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use serde_json::{Value, json};

use super::fit::Piece;
use super::{Request, sizes};
use crate::cli::body::{self, Format};
use crate::cli::target::{similar, type_of};
use crate::codec::catalog::{Signature, Tensor};
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;

/// What is given for an input.
#[derive(Debug, PartialEq)]
enum Given {
    Json(Piece),
    Array(Vec<u8>),
    Picture(Vec<u8>),
}

/// The request for these arguments.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for names that the signature does not have, values that cannot be read, and inputs that are
/// missing.
pub(super) fn request(
    arguments: &[String],
    signature: Option<&Signature>,
    signature_name: Option<&str>,
    top_k: Option<NonZeroUsize>,
) -> Result<Request> {
    let mut given: BTreeMap<&str, Vec<Given>> = BTreeMap::new();
    for argument in arguments {
        let (name, value) = named(argument, signature)?;
        let tensor = signature.and_then(|signature| signature.inputs.get(name));
        given.entry(name).or_default().push(read(name, value, tensor)?);
    }
    if let Some(signature) = signature
        && let Some((name, tensor)) =
            signature.inputs.iter().find(|(name, _)| !given.contains_key(name.as_str()))
    {
        return Err(Error::invalid_argument(format!(
            "The signature also takes {name}, which is missing: {}. Add {name}=VALUE",
            type_of(tensor)
        )));
    }
    let has = |wanted: fn(&Given) -> bool| given.values().flatten().any(wanted);
    if has(|given| matches!(given, Given::Picture(_))) {
        return picture(given);
    }
    let has_arrays = has(|given| matches!(given, Given::Array(_)));
    let mut values = BTreeMap::new();
    for (name, pieces) in given {
        let shape = signature.and_then(|it| it.inputs.get(name)).and_then(|tensor| tensor.shape.as_deref());
        values.insert(name, one(name, pieces, shape)?);
    }
    if has_arrays { Ok(form(values)) } else { Ok(columns(values, signature_name, top_k)) }
}

/// The input that an argument names, and its value.
fn named<'a>(argument: &'a str, signature: Option<&'a Signature>) -> Result<(&'a str, &'a str)> {
    let pair = argument.split_once('=');
    let Some(signature) = signature else {
        // Nobody knows the names.
        return Ok(pair.unwrap_or(("", argument)));
    };
    if let Some((name, value)) = pair {
        if signature.inputs.contains_key(name) {
            return Ok((name, value));
        }
        let is_name = |character: char| character.is_alphanumeric() || "_-./:".contains(character);
        if !name.is_empty() && name.chars().all(is_name) {
            let names: Vec<_> = signature.inputs.keys().map(String::as_str).collect();
            let advice = match similar(name, names.iter().copied()) {
                Some(similar) => format!("did you mean {similar}?"),
                None => format!("it has: {}", names.join(", ")),
            };
            return Err(Error::invalid_argument(format!("The signature has no input {name}; {advice}")));
        }
    }
    let mut inputs = signature.inputs.keys();
    if let (Some(only), None) = (inputs.next(), inputs.next()) {
        return Ok((only, argument));
    }
    let names: Vec<_> = signature.inputs.keys().map(String::as_str).collect();
    let names = names.join(", ");
    Err(Error::invalid_argument(format!(
        "Which input is {argument:?} for? Write NAME=VALUE with a name of {names}"
    )))
}

/// The file that an argument names, if it names one.
pub(super) fn file(argument: &str) -> Option<&Path> {
    let value = argument.split_once('=').map_or(argument, |(_, value)| value);
    argument.strip_prefix('@').or_else(|| value.strip_prefix('@')).map(Path::new)
}

/// Reads what is given for an input.
fn read(name: &str, value: &str, tensor: Option<&Tensor>) -> Result<Given> {
    let is_string = tensor.is_some_and(|tensor| tensor.dtype == DataType::DtString);
    if let Some(path) = value.strip_prefix('@') {
        let content = body::read(Path::new(path))?;
        return match content.as_slice() {
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Ok(Given::Array(content)),
            content if is_string => {
                Ok(Given::Json(scalar(&json!({ "b64": base64_simd::STANDARD.encode_to_string(content) }))))
            }
            [0xff, 0xd8, ..] | [0x89, b'P', b'N', b'G', ..] if tensor.is_some() => {
                Ok(Given::Picture(content))
            }
            text => {
                let text = String::from_utf8_lossy(text);
                parse(name, text.trim(), tensor).map(Given::Json).map_err(|error| error.about(path))
            }
        };
    }
    if is_string || tensor.is_none() {
        let is_json = value.starts_with(['[', '{', '"']) || tensor.is_none();
        let json = serde_json::from_str::<Value>(value).ok().filter(|_| is_json);
        let sizes = json.as_ref().map(sizes);
        return Ok(Given::Json(match sizes {
            Some(sizes) => Piece { text: value.to_owned(), sizes },
            None => scalar(&Value::from(value)),
        }));
    }
    parse(name, value, tensor).map(Given::Json)
}

/// A value for an input of numbers.
fn parse(name: &str, text: &str, tensor: Option<&Tensor>) -> Result<Piece> {
    let is_complex =
        tensor.is_some_and(|it| matches!(it.dtype, DataType::DtComplex64 | DataType::DtComplex128));
    match serde_json::from_str::<Value>(text) {
        Ok(value) => {
            let mut sizes = sizes(&value);
            if is_complex {
                // Two numbers are one element.
                sizes.pop();
            }
            Ok(Piece { text: text.to_owned(), sizes })
        }
        Err(error) => {
            let token = match text.to_ascii_lowercase().trim_start_matches('+') {
                "nan" => "NaN",
                "inf" | "infinity" => "Infinity",
                "-inf" | "-infinity" => "-Infinity",
                _ => {
                    let expected = tensor.map(|tensor| format!(" It takes {}.", type_of(tensor)));
                    let shown: String = text.chars().take(60).collect();
                    return Err(Error::invalid_argument(format!(
                        "The value {shown:?} of {name} is no JSON: {error}.{}",
                        expected.unwrap_or_default()
                    )));
                }
            };
            Ok(Piece { text: token.to_owned(), sizes: Vec::new() })
        }
    }
}

fn scalar(value: &Value) -> Piece {
    Piece { text: value.to_string(), sizes: Vec::new() }
}

/// One value of all that are given for an input.
fn one(name: &str, mut given: Vec<Given>, shape: Option<&[i64]>) -> Result<Given> {
    if given.len() == 1
        && let Some(Given::Array(array)) = given.pop_if(|given| matches!(given, Given::Array(_)))
    {
        return Ok(Given::Array(array));
    }
    let mut pieces = Vec::new();
    for given in given {
        let Given::Json(piece) = given else {
            return Err(Error::invalid_argument(format!("An array is all of {name}: it is given once")));
        };
        pieces.push(piece);
    }
    let piece = match pieces.len() {
        1 => pieces.remove(0),
        _ => Piece::join(pieces),
    };
    Ok(Given::Json(match shape {
        Some(shape) => piece.fit(shape),
        None => piece,
    }))
}

/// A columnar body.
fn columns(
    mut values: BTreeMap<&str, Given>,
    signature_name: Option<&str>,
    top_k: Option<NonZeroUsize>,
) -> Request {
    // A value without a name is for the only input, whatever that is called.
    let unnamed = if values.len() == 1 { values.remove("") } else { None };
    let inputs = if let Some(Given::Json(piece)) = unnamed {
        piece.text
    } else {
        let members = values.into_iter().filter_map(|(name, given)| match given {
            Given::Json(piece) => Some(format!("{}: {}", Value::from(name), piece.text)),
            _ => None,
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
    };
    let signature = signature_name.map(|name| format!("\"signature_name\": {}, ", Value::from(name)));
    let top_k = top_k.map(|count| format!("\"top_k\": {count}, "));
    let (signature, top_k) = (signature.unwrap_or_default(), top_k.unwrap_or_default());
    let body = format!("{{{signature}{top_k}\"inputs\": {inputs}}}");
    Request {
        content_type: Format::Json.content_type().to_owned(),
        body: body.into(),
        parameters: Vec::new(),
    }
}

/// A form with a part for each input.
fn form(values: BTreeMap<&str, Given>) -> Request {
    // Nothing that is sent has such a number in it.
    let boundary = format!("tfbridge-{:032x}", fastrand::u128(..));
    let mut body = Vec::new();
    for (name, given) in values {
        let (content_type, content) = match given {
            Given::Json(piece) => ("application/json", piece.text.into_bytes()),
            Given::Array(content) | Given::Picture(content) => ("application/x-npy", content),
        };
        let name = name.replace('"', "%22").replace(['\r', '\n'], " ");
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: {content_type}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let content_type = format!("multipart/form-data; boundary={boundary}");
    Request { content_type, body: body.into(), parameters: Vec::new() }
}

/// A picture as a body of its own.
fn picture(given: BTreeMap<&str, Vec<Given>>) -> Result<Request> {
    let mut given = given.into_iter();
    match (given.next(), given.next()) {
        (Some((name, mut pieces)), None) if pieces.len() == 1 => {
            let Some(Given::Picture(body)) = pieces.pop() else {
                return Err(Error::internal("There is no picture"));
            };
            let parameters = vec![("input".to_owned(), name.to_owned())];
            Ok(Request { content_type: body::picture_type(&body).to_owned(), body: body.into(), parameters })
        }
        _ => Err(Error::invalid_argument(
            "A picture becomes numbers only as the one thing that is given: the others could be arrays of NumPy",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(inputs: &[(&str, DataType, Option<&[i64]>)]) -> Signature {
        let tensor = |(name, dtype, shape): &(&str, DataType, Option<&[i64]>)| {
            ((*name).to_owned(), Tensor { dtype: *dtype, shape: shape.map(<[i64]>::to_vec) })
        };
        Signature { inputs: inputs.iter().map(tensor).collect(), ..Signature::default() }
    }

    fn body(arguments: &[&str], signature: Option<&Signature>) -> Result<String> {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        request(&arguments, signature, None, None).map(|it| String::from_utf8_lossy(&it.body).into_owned())
    }

    #[test]
    fn arguments_become_columns() {
        let one = signature(&[("x", DataType::DtFloat, Some(&[-1, 1]))]);
        let two = signature(&[("n", DataType::DtInt64, Some(&[-1])), ("s", DataType::DtString, Some(&[-1]))]);
        let complex = signature(&[("c", DataType::DtComplex64, Some(&[-1]))]);
        let check = |arguments: &[&str], signature: &Signature, expected: &str| {
            let body = body(arguments, Some(signature)).unwrap();
            assert_eq!(body, format!("{{\"inputs\": {expected}}}"), "{arguments:?}");
        };
        check(&["1.5"], &one, r#"{"x": [[1.5]]}"#);
        check(&["x=1.5"], &one, r#"{"x": [[1.5]]}"#);
        check(&["1", "2", "-5e3"], &one, r#"{"x": [[1], [2], [-5e3]]}"#);
        check(&["x=nan"], &one, r#"{"x": [[NaN]]}"#);
        check(&["[[1], [2]]"], &one, r#"{"x": [[1], [2]]}"#);
        check(&["s=a=b", "n=9007199254740993"], &two, r#"{"n": [9007199254740993], "s": ["a=b"]}"#);
        check(&["s=7", "s=[\"x\"]", "n=1"], &two, r#"{"n": [1], "s": ["7", ["x"]]}"#);
        check(&["[1, -1]"], &complex, r#"{"c": [[1, -1]]}"#);
        assert_eq!(body(&["x=1", "y=a"], None).unwrap(), r#"{"inputs": {"x": 1, "y": "a"}}"#);
        assert_eq!(body(&["[1, 2]"], None).unwrap(), r#"{"inputs": [1, 2]}"#);
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let two = signature(&[("size", DataType::DtInt64, Some(&[-1])), ("text", DataType::DtString, None)]);
        let check = |arguments: &[&str], expected: &str| {
            let error = body(arguments, Some(&two)).unwrap_err();
            assert_eq!(error.message(), expected, "{arguments:?}");
        };
        check(&["7"], "Which input is \"7\" for? Write NAME=VALUE with a name of size, text");
        check(&["siez=7"], "The signature has no input siez; did you mean size?");
        check(&["q=7"], "The signature has no input q; it has: size, text");
        check(
            &["size=7"],
            "The signature also takes text, which is missing: string any shape. Add text=VALUE",
        );
        let error = body(&["size=a", "text="], Some(&two)).unwrap_err();
        assert!(error.message().starts_with("The value \"a\" of size is no JSON: expected value"), "{error}");
        assert!(error.message().ends_with("It takes int64 [?]."), "{error}");
    }

    #[test]
    fn files_are_what_they_begin_as() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            format!("x=@{}", path.display())
        };
        let (array, picture) = (file("a", b"\x93NUMPY\x01"), file("p", b"\x89PNG\r\n"));
        let (numbers, jpeg) = (file("n", b"[1, 2]\n"), file("j", b"\xff\xd8\xff"));
        let floats = signature(&[("x", DataType::DtFloat, Some(&[-1]))]);
        let strings = signature(&[("x", DataType::DtString, Some(&[-1]))]);
        let request = |argument: &str, signature: &Signature| {
            request(&[argument.to_owned()], Some(signature), None, None).unwrap()
        };
        assert_eq!(request(&numbers, &floats).body, r#"{"inputs": {"x": [1, 2]}}"#);
        assert_eq!(request(&picture, &strings).body, r#"{"inputs": {"x": [{"b64":"iVBORw0K"}]}}"#);
        let sent = request(&jpeg, &floats);
        assert_eq!((sent.content_type.as_str(), sent.body.len()), ("image/jpeg", 3));
        assert_eq!(sent.parameters, [("input".to_owned(), "x".to_owned())]);
        let sent = request(&array, &floats);
        let boundary = sent.content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
        let expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"x\"\r\nContent-Type: application/x-npy\r\n\r\n\u{fffd}NUMPY\u{1}\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8_lossy(&sent.body), expected);
    }
}
