//! A body that is the value of one string input, such as a picture for a model that decodes it itself.

use super::body::{Decoded, Given, form, only_input, signature, told_input};
use super::dense::{Dense, Elements};
use super::dtype;
use super::predict::{Format, Inputs};
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;

/// Whether a body may be JSON all the same. Some clients' libraries call every body bytes, and TensorFlow Serving
/// reads JSON whatever it is called.
pub(crate) fn may_be_json(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// Makes the body the one string of the one input: a batch of one, or a scalar where the signature wants that.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if it is not clear which input is meant, that input takes no strings, or the body is
/// longer than a string may be.
pub(super) fn decode(given: &Given<'_>) -> Result<Decoded> {
    let Given { agreement, body, signatures, limits } = *given;
    let (signature_name, name, is_scalar) = if let Some(signatures) = signatures {
        let (signature_name, signature) = signature(agreement, signatures)?;
        let input = only_input(agreement, signature)?;
        if input.dtype != DataType::DtString {
            let (name, dtype) = (&input.name, dtype::name(input.dtype));
            return Err(Error::invalid_argument(format!(
                "The input {name:?} is of type {dtype}, but the bytes of a body are a string"
            )));
        }
        let is_scalar = input.shape.as_ref().is_some_and(Vec::is_empty);
        (signature_name, input.name.clone(), is_scalar)
    } else {
        (agreement.parameters.signature_name.clone().unwrap_or_default(), told_input(agreement)?, false)
    };
    if body.len() > limits.string_size {
        let (size, most) = (body.len(), limits.string_size);
        return Err(Error::invalid_argument(format!("A string of {size} bytes is longer than {most} bytes")));
    }
    let tensor = Dense {
        dtype: DataType::DtString,
        dimensions: if is_scalar { Vec::new() } else { vec![1] },
        elements: Elements::Strings(vec![body.clone()]),
    };
    let inputs = Inputs::from([(name, tensor.into_proto())]);
    let form = form(agreement.reply, Format::Row);
    Ok(Decoded { signature_name, inputs, output_filter: Vec::new(), form })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec::limits::Limits;
    use crate::codec::media::Agreement;
    use crate::codec::signature::{Input, Signature, Signatures};

    fn decoded(dtype: DataType, shape: Option<&[i64]>, query: &str) -> Result<Decoded> {
        let input = |name: &str| Input { name: name.to_owned(), dtype, shape: shape.map(<[i64]>::to_vec) };
        let signatures = Signatures::from_iter([
            ("serving_default".to_owned(), Signature::new(vec![input("x")])),
            ("two".to_owned(), Signature::new(vec![input("x"), input("y")])),
        ]);
        let agreement = Agreement::new(Some("image/png"), [], Some(query))?;
        let limits = Limits { string_size: 5, ..Limits::default() };
        decode(&Given {
            agreement: &agreement,
            body: &Bytes::from_static(b"\x89PNG"),
            signatures: Some(&signatures),
            limits: &limits,
        })
    }

    #[test]
    fn the_body_is_one_string() {
        for (shape, dimensions) in [(Some(&[-1][..]), vec![1]), (None, vec![1]), (Some(&[]), vec![])] {
            let decoded = decoded(DataType::DtString, shape, "").unwrap();
            let tensor = Dense::new("x", &decoded.inputs["x"]).unwrap();
            let expected = Elements::Strings(vec![Bytes::from_static(b"\x89PNG")]);
            assert_eq!((tensor.dimensions, tensor.elements), (dimensions, expected));
        }
        let decoded = decoded(DataType::DtString, None, "signature_name=two&input=y").unwrap();
        assert_eq!((decoded.signature_name.as_str(), decoded.inputs.contains_key("y")), ("two", true));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let check = |dtype, query, expected: &str| {
            let error = decoded(dtype, None, query).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        };
        check(DataType::DtFloat, "", "The input \"x\" is of type float");
        check(DataType::DtString, "signature_name=two", "?input=NAME, of x, y");
        check(DataType::DtString, "input=z", "There is no input \"z\" in the signature; it has: x");
        check(DataType::DtString, "signature_name=none", "\"none\" not found");
    }
}
