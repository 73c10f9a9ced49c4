//! Examples for a signature that parses them: all of them are the strings of its only input.

use super::Inputs;
use crate::codec::dense::{Dense, Elements};
use crate::codec::dtype;
use crate::codec::example::serialized::Places;
use crate::codec::limits::Limits;
use crate::codec::signature::{Input, Signature};
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;

/// Decodes the members that make examples for a signature.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for a signature that takes anything else than strings, and with the place and the
/// reason for what is wrong with the examples.
pub(super) fn decode(places: &Places, body: &[u8], signature: &Signature, limits: &Limits) -> Result<Inputs> {
    let [Input { name, dtype: DataType::DtString, shape }] = signature.inputs.as_slice() else {
        let inputs = signature.inputs.iter();
        let inputs: Vec<_> =
            inputs.map(|input| format!("{}: {}", input.name, dtype::name(input.dtype))).collect();
        return Err(Error::invalid_argument(format!(
            "/examples: 'examples' are for a signature whose only input takes strings; this one has {}",
            inputs.join(", ")
        )));
    };
    let strings = places.strings(body, limits).map_err(|fault| fault.into_error(body))?;
    let is_scalar = shape.as_ref().is_some_and(Vec::is_empty) && strings.len() == 1;
    let dimensions = if is_scalar { Vec::new() } else { vec![strings.len()] };
    let tensor = Dense { dtype: DataType::DtString, dimensions, elements: Elements::Strings(strings) };
    Ok(Inputs::from([(name.clone(), tensor.into_proto())]))
}
