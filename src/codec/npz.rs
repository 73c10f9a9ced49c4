//! Archives of arrays: `numpy.savez` and `numpy.savez_compressed` make them, a member for each name.
//!
//! Members of a request are the inputs of a signature, stored or deflated. What they inflate to is bounded
//! together and known before anything is set aside for it, whatever an archive says of itself. A stored member
//! becomes a tensor without a copy. Replies are stored.

mod archive;

use std::collections::HashMap;

use bytes::Bytes;

use super::body::{Decoded, Given, check_inputs, form, signature};
use super::cast::cast;
use super::npy;
use super::predict::{Format, Inputs};
use crate::error::{Error, Result};
use crate::proto::tensorflow::TensorProto;

/// What NumPy adds to the names.
const SUFFIX: &str = ".npy";

/// Makes the members of a body the inputs of their names.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for what is no archive of arrays or not of those that the signature takes, 413 for one
/// that inflates to more than it may.
pub(super) fn decode(given: &Given<'_>) -> Result<Decoded> {
    let Given { agreement, body, signatures, limits } = *given;
    let mut signature_name = agreement.parameters.signature_name.clone().unwrap_or_default();
    let mut known = None;
    if let Some(signatures) = signatures {
        let (name, signature) = signature(agreement, signatures)?;
        (signature_name, known) = (name, Some(signature));
    }
    let mut inputs = Inputs::new();
    for member in archive::members(body, limits.inflated)? {
        let name = member.name.strip_suffix(SUFFIX).unwrap_or(&member.name);
        let input = known.map(|signature| signature.input(name)).transpose()?;
        if inputs.contains_key(name) {
            return Err(Error::invalid_argument(format!("The archive has two members of the name {name}")));
        }
        let mut dense = npy::read(name, &member.content(body)?, limits)?;
        if let Some(input) = input {
            dense = cast(name, dense, input.dtype)?;
        }
        inputs.insert(name.to_owned(), dense.into_proto());
    }
    if let Some(signature) = known {
        check_inputs(&inputs, signature)?;
    }
    let form = form(agreement.reply, Format::Columnar);
    Ok(Decoded { signature_name, inputs, output_filter: Vec::new(), form })
}

/// Writes the outputs of a reply, sorted by their names.
///
/// # Errors
///
/// 406 if there is one that NumPy cannot hold, `INTERNAL` if one contradicts itself.
pub(super) fn encode(outputs: &HashMap<String, TensorProto>) -> Result<Bytes> {
    let mut outputs: Vec<_> = outputs.iter().collect();
    outputs.sort_unstable_by_key(|(name, _)| *name);
    let mut writer = archive::Writer::default();
    for (name, tensor) in outputs {
        writer.member(&format!("{name}{SUFFIX}"), |out| npy::append(name, tensor, out))?;
    }
    writer.finish().map(Bytes::from)
}

/// The most bytes that it takes to read an archive, besides its own.
pub(crate) fn room(body: &Bytes, widest: usize, inflated: usize) -> usize {
    // What is refused takes nothing.
    let Ok(members) = archive::members(body, inflated) else { return 0 };
    members.iter().map(|member| member.room(body, widest)).fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::limits::Limits;
    use crate::codec::media::Agreement;
    use crate::codec::signature::{Input, Signature, Signatures};
    use crate::proto::tensorflow::DataType;

    fn tensor(content: &[u8]) -> TensorProto {
        super::super::dense::Dense {
            dtype: DataType::DtUint8,
            dimensions: vec![content.len()],
            elements: super::super::dense::Elements::Numbers(Bytes::copy_from_slice(content)),
        }
        .into_proto()
    }

    fn decoded(body: &Bytes, inputs: &[(&str, DataType)]) -> Result<Inputs> {
        let input =
            |(name, dtype): &(&str, _)| Input { name: (*name).to_owned(), dtype: *dtype, shape: None };
        let signature = Signature::new(inputs.iter().map(input).collect());
        let signatures = Signatures::from_iter([("serving_default".to_owned(), signature)]);
        let agreement = Agreement::new(Some("application/x-npz"), [], None)?;
        decode(&Given {
            agreement: &agreement,
            body,
            signatures: Some(&signatures),
            limits: &Limits::default(),
        })
        .map(|decoded| decoded.inputs)
    }

    #[test]
    fn members_are_inputs_and_outputs() {
        let outputs = HashMap::from([("a/b".to_owned(), tensor(&[1, 2])), ("é".to_owned(), tensor(&[3]))]);
        let body = encode(&outputs).unwrap();
        let inputs = [("a/b", DataType::DtUint8), ("é", DataType::DtUint8)];
        assert_eq!(decoded(&body, &inputs).unwrap(), outputs);
        let content = &decoded(&body, &inputs).unwrap()["é"].tensor_content;
        assert!(body.as_ptr_range().contains(&content.as_ptr()), "a stored member has been copied");
        let wider = decoded(&body, &[("a/b", DataType::DtInt16), ("é", DataType::DtUint8)]).unwrap();
        assert_eq!(wider["a/b"].tensor_content.as_ref(), [1, 0, 2, 0]);
        assert!(room(&body, 8, 1 << 20) >= 3 * 8);
    }

    #[test]
    fn members_must_be_those_of_the_signature() {
        let check = |outputs: &[&str], inputs: &[(&str, DataType)], expected: &str| {
            let outputs = outputs.iter().map(|name| ((*name).to_owned(), tensor(&[1]))).collect();
            let error = decoded(&encode(&outputs).unwrap(), inputs).unwrap_err();
            assert_eq!((error.message(), error.status().as_u16()), (expected, 400));
        };
        let (x, y) = (("x", DataType::DtUint8), ("y", DataType::DtUint8));
        check(&["z"], &[x, y], "There is no input \"z\" in the signature; it has: x, y");
        check(&["y"], &[x, y], "Missing named input: x");
        check(&["x"], &[("x", DataType::DtString)], "x: uint8 values for an input of type string");
        let error = decoded(&Bytes::from_static(b"hello"), &[x]).unwrap_err();
        assert!(error.message().starts_with("The body is no archive"), "{error}");
    }
}
