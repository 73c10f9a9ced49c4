//! Forms: a part for each input, as `curl -F` and browsers send them.
//!
//! What a part is depends on its type and its input. An array of NumPy or a JSON value is the whole tensor. Any
//! other part is a value: the bytes of a string, or the text of a number. Parts of the same name are the rows of
//! a batch, in their order.

mod parts;

use super::body::{Decoded, Given, check_inputs, form, signature};
use super::cast::cast;
use super::column::Column;
use super::csv::cell;
use super::dense::{Dense, Elements};
use super::dtype;
use super::limits::Limits;
use super::media::MediaType;
use super::npy;
use super::predict::{Format, Inputs};
use super::reader::Reader;
use super::rows;
use super::signature::Input;
use crate::error::{Error, Result};
use crate::proto::tensorflow::{DataType, TensorProto};
pub(crate) use parts::MOST_PARTS;
use parts::Part;

/// Makes the parts of a body the inputs of their names.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the part that cannot be meant, or for what is no form.
pub(super) fn decode(given: &Given<'_>) -> Result<Decoded> {
    let Given { agreement, body, signatures, limits } = *given;
    let boundary = agreement.content_parameter("boundary").unwrap_or_default();
    let mut parts = parts::parts(body, &boundary)?;
    // The parts of a name keep their order.
    parts.sort_by(|left, right| left.name.cmp(&right.name));
    let mut signature_name = agreement.parameters.signature_name.clone().unwrap_or_default();
    let mut known = None;
    if let Some(signatures) = signatures {
        let (name, signature) = signature(agreement, signatures)?;
        (signature_name, known) = (name, Some(signature));
    }
    let mut inputs = Inputs::new();
    for parts in parts.chunk_by(|left, right| left.name == right.name) {
        let name = &parts[0].name;
        let tensor = match known {
            Some(signature) => tensor(parts, signature.input(name)?, limits)?,
            None => untold(parts, limits)?,
        };
        inputs.insert(name.clone(), tensor);
    }
    if let Some(signature) = known {
        check_inputs(&inputs, signature)?;
    }
    let form = form(agreement.reply, Format::Columnar);
    Ok(Decoded { signature_name, inputs, output_filter: Vec::new(), form })
}

/// The tensor of the parts of an input.
fn tensor(parts: &[Part], input: &Input, limits: &Limits) -> Result<TensorProto> {
    let name = &input.name;
    let is_string = input.dtype == DataType::DtString;
    if let [part] = parts {
        if is_array(part, is_string) {
            return Ok(cast(name, npy::read(name, &part.content, limits)?, input.dtype)?.into_proto());
        }
        if part.media_type() == Some(MediaType::Json) && !part.is_plain() {
            return json(part, input, limits);
        }
    }
    let dimensions = || rows::shape(input, parts.len(), 1, false);
    if is_string {
        return strings(name, parts, limits, dimensions);
    }
    let Some(width) = dtype::width(input.dtype).filter(|_| cell::has_form(input.dtype)) else {
        let dtype = dtype::name(input.dtype);
        return Err(Error::invalid_argument(format!(
            "{name}: a value of type {dtype} is a part of type application/json or application/x-npy"
        )));
    };
    let mut content = vec![0; width.saturating_mul(parts.len())];
    for (part, place) in parts.iter().zip(content.chunks_exact_mut(width)) {
        if !part.is_plain() {
            let (found, dtype) = (&part.content_type, dtype::name(input.dtype));
            return Err(Error::invalid_argument(format!(
                "{name}: a part of type {found:?} is no value of type {dtype}, unless it is the only one of its name \
                 and of type application/json or application/x-npy"
            )));
        }
        if !cell::read(&part.content, input.dtype, place) {
            let (shown, dtype) = (part.shown(), dtype::name(input.dtype));
            return Err(Error::invalid_argument(format!("{name}: {shown:?} is not a {dtype}")));
        }
    }
    let elements = Elements::Numbers(content.into());
    Ok(Dense { dtype: input.dtype, dimensions: dimensions()?, elements }.into_proto())
}

/// The tensor of parts of a name, where nobody knows what the model takes: they must say what they are.
fn untold(parts: &[Part], limits: &Limits) -> Result<TensorProto> {
    let name = &parts[0].name;
    if let [part] = parts
        && is_array(part, false)
    {
        return Ok(npy::read(name, &part.content, limits)?.into_proto());
    }
    if parts.iter().any(|part| matches!(part.media_type(), Some(MediaType::Json))) {
        return Err(Error::invalid_argument(format!(
            "{name}: nobody knows the inputs of this model, and so not what this text is: a part of type \
             application/x-npy or application/octet-stream says it"
        )));
    }
    strings(name, parts, limits, || Ok(vec![parts.len()]))
}

/// Whether a part is an array: `curl` calls every file a stream of octets, and the `requests` of Python leave the
/// type out.
fn is_array(part: &Part, is_string: bool) -> bool {
    match part.media_type() {
        Some(MediaType::Npy) => true,
        Some(MediaType::Octets) => !is_string && npy::is_array(&part.content),
        _ => !is_string && part.is_plain() && npy::is_array(&part.content),
    }
}

fn strings(
    name: &str,
    parts: &[Part],
    limits: &Limits,
    dimensions: impl FnOnce() -> Result<Vec<usize>>,
) -> Result<TensorProto> {
    let most = limits.string_size;
    if parts.iter().any(|part| part.content.len() > most) {
        return Err(Error::invalid_argument(format!("{name}: More than {most} bytes in a string")));
    }
    let strings = parts.iter().map(|part| part.content.clone()).collect();
    let elements = Elements::Strings(strings);
    Ok(Dense { dtype: DataType::DtString, dimensions: dimensions()?, elements }.into_proto())
}

/// The tensor of one JSON value, as the columnar format has it.
fn json(part: &Part, input: &Input, limits: &Limits) -> Result<TensorProto> {
    let bytes = &part.content;
    let mut reader = Reader::new(bytes, limits);
    let mut column = Column::new(input.dtype, bytes);
    column.reserve(bytes.len(), limits);
    reader.peek();
    let read = column.read(&mut reader).and_then(|()| {
        reader.peek();
        if reader.at < bytes.len() {
            reader.fault("The document root must not be followed by other values.")
        } else {
            Ok(())
        }
    });
    match read {
        Ok(()) => Ok(column.into_tensor()),
        Err(fault) => {
            let error = fault.into_error(bytes);
            Err(Error::new(error.code(), format!("{}: {}", input.name, error.message())))
        }
    }
}

/// The most bytes that it takes to read the arrays in a form into numbers of this width.
pub(crate) fn room(body: &[u8], widest: usize) -> usize {
    let arrays = memchr::memmem::find_iter(body, npy::MAGIC);
    arrays.map(|at| npy::room(&body[at..], body.len() - at, widest)).fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec::media::Agreement;
    use crate::codec::signature::{Signature, Signatures};

    fn form_of(parts: &[(&str, &[u8])]) -> Bytes {
        let mut body = Vec::new();
        for (head, content) in parts {
            body.extend_from_slice(b"--AaB\r\nContent-Disposition: form-data; name=");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(b"\r\n\r\n");
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--AaB--\r\n");
        body.into()
    }

    fn decoded(body: &Bytes, is_told: bool) -> Result<Inputs> {
        let input = |(name, dtype, shape): (&str, DataType, Option<&[i64]>)| Input {
            name: name.to_owned(),
            dtype,
            shape: shape.map(<[i64]>::to_vec),
        };
        let inputs = [
            ("f", DataType::DtFloat, Some(&[-1, 1][..])),
            ("i", DataType::DtInt8, None),
            ("s", DataType::DtString, Some(&[-1])),
        ];
        let signature = Signature::new(inputs.map(input).to_vec());
        let signatures = Signatures::from_iter([("serving_default".to_owned(), signature)]);
        let agreement = Agreement::new(Some("multipart/form-data; boundary=AaB"), [], None)?;
        let limits = Limits { string_size: 200, ..Limits::default() };
        decode(&Given {
            agreement: &agreement,
            body,
            signatures: is_told.then_some(&signatures),
            limits: &limits,
        })
        .map(|decoded| decoded.inputs)
    }

    fn array(values: &[i8]) -> Vec<u8> {
        let tensor = Dense {
            dtype: DataType::DtInt8,
            dimensions: vec![values.len()],
            elements: Elements::Numbers(values.iter().map(|value| value.cast_unsigned()).collect()),
        };
        let mut out = Vec::new();
        npy::append("i", &tensor.into_proto(), &mut out).unwrap();
        out
    }

    #[test]
    fn parts_are_inputs() {
        let array = array(&[7, -7]);
        let check = |parts: &[(&str, &[u8])]| {
            let inputs = decoded(&form_of(parts), true).unwrap();
            let of = |name: &str| Dense::new(name, &inputs[name]).unwrap();
            let floats = [1.5_f32, -2.0].map(f32::to_le_bytes).concat();
            assert_eq!(
                (of("f").dimensions, of("f").elements),
                (vec![2, 1], Elements::Numbers(floats.into()))
            );
            let elements = Elements::Numbers(vec![7, 249].into());
            assert_eq!((of("i").dimensions, of("i").elements), (vec![2], elements));
            let strings = vec![Bytes::from_static(b"\r\n--Aa"), Bytes::from_static(b"\xff")];
            assert_eq!((of("s").dimensions, of("s").elements), (vec![2], Elements::Strings(strings)));
        };
        check(&[
            ("\"f\"", b"1.5"),
            ("s", b"\r\n--Aa"),
            ("f", b"-2"),
            ("i\r\ncontent-type: application/x-npy", &array),
            ("s; filename=\"a.jpg\"\r\nContent-Type: image/jpeg", b"\xff"),
        ]);
        check(&[
            ("f\r\nContent-Type: application/json", b" [[1.5], [-2]] "),
            ("i; filename=a.npy\r\nContent-Type: application/octet-stream", &array),
            ("s\r\nContent-Type: text/plain", b"\r\n--Aa"),
            ("s\r\nContent-Type: audio/wav", b"\xff"),
        ]);
        check(&[
            ("f\r\nContent-Type: application/json", b"[[1.5], [-2]]"),
            ("i; filename=\"a.npy\"", &array),
            ("s", b"\r\n--Aa"),
            ("s; filename=\"b\"", b"\xff"),
        ]);
        // Of an input of strings it is the string.
        let inputs = decoded(&form_of(&[("f", b"1"), ("i", b"1"), ("s", &array)]), true).unwrap();
        assert_eq!(inputs["s"].string_val, [Bytes::from(array.clone())]);
        let untold = form_of(&[
            ("i\r\ncontent-type: application/x-npy", &array),
            ("s\r\nContent-Type: image/png", b"\xff"),
        ]);
        assert_eq!(decoded(&untold, false).unwrap()["s"].string_val, [Bytes::from_static(b"\xff")]);
        assert_eq!(room(&untold, 1), 0);
        assert_eq!(room(&untold, 4), 2 * 2 + 2 * 4);
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let check = |parts: &[(&str, &[u8])], expected: &str| {
            let error = decoded(&form_of(parts), true).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
            assert_eq!(error.status(), 400);
        };
        check(&[("f", b"1"), ("i", b"300")], "i: \"300\" is not a int8");
        check(&[("f", b"1"), ("i", b"1")], "Missing named input: s");
        check(&[("z", b"1")], "There is no input \"z\" in the signature");
        check(
            &[("f\r\nContent-Type: application/json", b"[[1],[x]]")],
            "f: JSON Parse error: Invalid value. at offset: 6",
        );
        check(&[("f\r\nContent-Type: application/json", b"[[1],[true]]")], "f: /1/0: JSON Value: true");
        check(&[("f\r\nContent-Type: application/json", b"1 2")], "followed by other values");
        check(&[("f\r\nContent-Type: application/x-npy", b"1")], "f: it is no file in NumPy's format");
        check(
            &[("f\r\nContent-Type: image/png", b"1")],
            "a part of type \"image/png\" is no value of type float",
        );
        check(&[("f\r\nContent-Type: application/json", b"1"), ("f", b"1")], "unless it is the only one");
        check(&[("s", &[b'x'; 201])], "s: More than 200 bytes in a string");
        let text = form_of(&[("f", b"1")]);
        assert!(decoded(&text, false).unwrap_err().message().contains("nobody knows the inputs"));
    }
}
