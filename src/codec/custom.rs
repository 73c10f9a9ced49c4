//! Bodies of routes of one's own: what a client of such a route sends becomes the inputs of a signature, and the
//! outputs become what it expects, both laid out by a [`Mapping`] from the configuration.
//!
//! Values are read straight into tensors, as those of predict are, and faults stand at their place in the client's
//! body. A fixed input that does not fit the signature is no fault of the client: such errors have a status of 500.
//! Nothing here knows paths or models.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::body::{self, Decoded, Encoded, Rules};
use super::column::Column;
use super::document;
use super::fault::{Fault, What};
use super::media::{Agreement, MediaType};
use super::octets;
use super::parameters::Parameters;
use super::predict::{self, Inputs, Named, check_input_shapes, check_shapes_at, decode_values};
use super::reader::Reader;
use super::signature::{DEFAULT_SIGNATURE, Signature, Signatures};
use super::writer::{self, NanStyle};
use crate::error::{Error, Result};
use crate::proto::tensorflow::TensorProto;
use crate::proto::tensorflow::serving::PredictResponse;
use crate::proto::tensorflow::tensor_shape_proto::Dim;

/// What messages call the value of a route that has no key for it.
const WHOLE: &str = "body";

/// How bodies of a route become inputs, and outputs replies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    /// The signature to run; empty for the default.
    pub signature_name: String,
    /// How the value of a body, and that of a reply, is laid out.
    pub format: Format,
    /// The member of the body that has the value; without one, the body is the value.
    pub input_key: Option<String>,
    /// The member of the reply that has the value; without one, the reply is the value.
    pub reply_key: Option<String>,
    /// Inputs that clients do not send, by name: each as JSON, the tensor as it stands.
    pub fixed: BTreeMap<String, Bytes>,
    /// The outputs that are wanted, with what clients are to call them; empty for all under their own names.
    pub outputs: BTreeMap<String, String>,
}

/// How values are laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Whole tensors: that of the only input that is not fixed, or an object of them.
    #[default]
    Columnar,
    /// A list with an entry per row, each a value for that input or an object of values.
    Row,
    /// One such entry alone, which becomes a batch of one.
    Single,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Columnar, Self::Row, Self::Single];

    /// The name by which the configuration knows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Columnar => "columnar",
            Self::Row => "row",
            Self::Single => "single",
        }
    }

    /// The format of predict that is read and written nearly alike: a row alone is like columns, with a dimension
    /// less.
    pub(crate) fn of_predict(self) -> predict::Format {
        match self {
            Self::Columnar | Self::Single => predict::Format::Columnar,
            Self::Row => predict::Format::Row,
        }
    }
}

impl Mapping {
    /// The signature without the inputs that are fixed: what clients send.
    #[must_use]
    pub fn free<'a>(&self, signature: &'a Signature) -> Cow<'a, Signature> {
        if self.fixed.is_empty() {
            return Cow::Borrowed(signature);
        }
        let inputs = signature.inputs.iter().filter(|input| !self.fixed.contains_key(&input.name));
        Cow::Owned(Signature { inputs: inputs.cloned().collect() })
    }

    /// Whether the value of a reply with so many outputs is that of its only output, not an object. An output that
    /// the configuration names is shown under that name, unless the reply has a key for it.
    #[must_use]
    pub fn is_bare(&self, outputs: usize) -> bool {
        outputs == 1 && (self.outputs.is_empty() || self.reply_key.is_some())
    }
}

/// Makes a body the inputs of a signature, those that are fixed included. Types other than JSON are read as predict
/// reads them, for the inputs that are not fixed.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the place and the reason, `UNIMPLEMENTED` for a dtype that the type cannot carry, and
/// `FAILED_PRECONDITION`, with a status of 500, where the mapping does not fit the model.
pub fn decode(
    mapping: &Mapping,
    agreement: &Agreement,
    body: &Bytes,
    signatures: Option<&Signatures>,
    rules: &Rules,
) -> Result<Decoded<()>> {
    let signatures = signatures.ok_or_else(|| {
        Error::misconfigured(
            "Nobody knows the inputs of this model: the model server does not tell its signatures, and no file has them",
        )
    })?;
    let signature =
        signatures.get(&mapping.signature_name).map_err(|error| Error::misconfigured(error.message()))?;
    let fixed = fixed(mapping, signature, rules)?;
    let free = mapping.free(signature);
    let mut inputs = match agreement.request {
        MediaType::Json => decode_json(mapping, body, &free, rules)?,
        // Some clients call every body bytes.
        MediaType::Octets if octets::may_be_json(body) => decode_json(mapping, body, &free, rules)
            .or_else(|error| decode_other(mapping, agreement, body, &free, rules).map_err(|_| error))?,
        _ => decode_other(mapping, agreement, body, &free, rules)?,
    };
    inputs.extend(fixed);
    Ok(Decoded {
        signature_name: mapping.signature_name.clone(),
        inputs,
        output_filter: mapping.outputs.keys().cloned().collect(),
        form: (),
    })
}

/// The tensors of the inputs that clients do not send.
fn fixed(mapping: &Mapping, signature: &Signature, rules: &Rules) -> Result<Inputs> {
    let misfit =
        |name: &str, why: &str| Error::misconfigured(format!("The fixed input {name:?} is of no use: {why}"));
    let mut inputs = Inputs::with_capacity(mapping.fixed.len());
    for (name, text) in &mapping.fixed {
        let input = signature.input(name).map_err(|error| misfit(name, error.message()))?;
        let mut column = Column::new(input.dtype, text);
        column
            .read(&mut Reader::new(text, &rules.limits))
            .map_err(|fault| misfit(name, fault.into_error(text).message()))?;
        inputs.insert(name.clone(), column.into_tensor());
    }
    if rules.check_shapes {
        check_input_shapes(&inputs, signature).map_err(|error| Error::misconfigured(error.message()))?;
    }
    Ok(inputs)
}

/// A body of another type, as predict reads it.
fn decode_other(
    mapping: &Mapping,
    agreement: &Agreement,
    body: &Bytes,
    free: &Signature,
    rules: &Rules,
) -> Result<Inputs> {
    let name = match mapping.signature_name.as_str() {
        "" => DEFAULT_SIGNATURE,
        name => name,
    };
    let parameters = Parameters { signature_name: Some(name.to_owned()), ..agreement.parameters.clone() };
    let agreement = Agreement { parameters, ..agreement.clone() };
    let signatures = [(name.to_owned(), free.clone())].into_iter().collect();
    Ok(body::decode(&agreement, body, Some(&signatures), rules, None)?.inputs)
}

fn decode_json(mapping: &Mapping, body: &Bytes, free: &Signature, rules: &Rules) -> Result<Inputs> {
    let read = || {
        let (start, inputs) = match &mapping.input_key {
            Some(key) => read_member(mapping, key, body, free, rules)?,
            None => read_whole(mapping, body, free, rules)?,
        };
        if rules.check_shapes {
            check_shapes_at(body, || start, mapping.format.of_predict(), &inputs, free)?;
        }
        Ok(inputs)
    };
    read().map_err(|fault: Fault| fault.into_error(body))
}

/// Reads the member that has the value, the first of that name; others are ignored. With it comes where it starts.
fn read_member(
    mapping: &Mapping,
    key: &str,
    body: &Bytes,
    free: &Signature,
    rules: &Rules,
) -> Result<(usize, Inputs), Fault> {
    let mut found: Option<(usize, Result<Inputs, Fault>)> = None;
    document::members(body, &rules.limits, |reader, name| {
        if found.is_some() || name != key.as_bytes() {
            return reader.skip_value();
        }
        let start = reader.at;
        found = Some((start, read_value(mapping, reader, body, free, key)?));
        Ok(())
    })?;
    match found {
        Some((start, inputs)) => Ok((start, inputs?)),
        None if free.inputs.is_empty() => Ok((0, Inputs::new())),
        None => Err(Fault::text(0, format!("Missing '{key}' key"))),
    }
}

/// Reads a body that is the value, and where that starts.
fn read_whole(
    mapping: &Mapping,
    body: &Bytes,
    free: &Signature,
    rules: &Rules,
) -> Result<(usize, Inputs), Fault> {
    let mut reader = Reader::new(body, &rules.limits);
    reader.peek();
    let start = reader.at;
    if start >= body.len() {
        return reader.fault("The document is empty.");
    }
    let inputs = read_value(mapping, &mut reader, body, free, WHOLE)?;
    reader.peek();
    if reader.at < body.len() {
        // What looks like a number may be the beginning of something else.
        return reader.fault("The document root must not be followed by other values.");
    }
    Ok((start, inputs?))
}

/// Reads the value at the reader's position. What is no JSON is a fault at once; what is wrong with the value is
/// one once the rest has been read.
fn read_value(
    mapping: &Mapping,
    reader: &mut Reader<'_>,
    body: &Bytes,
    free: &Signature,
    key: &str,
) -> Result<Result<Inputs, Fault>, Fault> {
    let start = reader.clone();
    if free.inputs.is_empty() {
        reader.skip_value()?;
        return Ok(Ok(Inputs::new()));
    }
    let inputs =
        decode_values(reader, body, mapping.format.of_predict(), free, key).and_then(|mut inputs| {
            if mapping.format == Format::Single {
                let most = start.limits.most_dimensions();
                inputs.values_mut().try_for_each(|tensor| as_batch(tensor, start.at, most))?;
            }
            Ok(inputs)
        });
    match inputs {
        Err(fault) if fault.ends_text() => Err(fault),
        Err(fault) => {
            *reader = start;
            reader.skip_value()?;
            Ok(Err(fault))
        }
        Ok(inputs) => Ok(Ok(inputs)),
    }
}

/// Makes a tensor a batch of one.
fn as_batch(tensor: &mut TensorProto, at: usize, most: usize) -> Result<(), Fault> {
    let dimensions = &mut tensor.tensor_shape.get_or_insert_default().dim;
    if dimensions.len() >= most {
        return Err(Fault::new(at, What::Rank(most)));
    }
    dimensions.insert(0, Dim { size: 1, ..Dim::default() });
    Ok(())
}

/// Writes a reply of this type. In types other than JSON the outputs are whole tensors under their new names, as
/// predict writes them.
///
/// # Errors
///
/// As from [`body::encode`], and `INTERNAL` if the backend leaves out an output that it was asked for.
pub fn encode(
    mapping: &Mapping,
    media_type: MediaType,
    reply: PredictResponse,
    nan: NanStyle,
) -> Result<Encoded> {
    if media_type == MediaType::Json {
        let body = encode_json(mapping, &reply, nan)?.into();
        return Ok(Encoded { body, content_type: MediaType::Json.name() });
    }
    let form = body::form(media_type, mapping.format.of_predict());
    if mapping.outputs.is_empty() {
        return body::encode(&form, &reply, nan);
    }
    let outputs = named(mapping, &reply)?.into_iter();
    let outputs = outputs.map(|Named { name, tensor, .. }| (name.to_owned(), tensor.clone())).collect();
    body::encode(&form, &PredictResponse { outputs, ..reply }, nan)
}

fn encode_json(mapping: &Mapping, reply: &PredictResponse, nan: NanStyle) -> Result<Vec<u8>> {
    let (tensors, mut out) = predict::prepare(named(mapping, reply)?.into_iter(), nan)?;
    let is_bare = mapping.is_bare(tensors.len());
    if let Some(key) = &mapping.reply_key {
        out.push(b'{');
        writer::write_string(key.as_bytes(), &mut out);
        out.push(b':');
    }
    match mapping.format {
        Format::Columnar => predict::write_columns(&tensors, is_bare, &mut out)?,
        Format::Row => predict::write_rows(&tensors, is_bare, &mut out)?,
        Format::Single => predict::write_only_row(&tensors, is_bare, &mut out)?,
    }
    if mapping.reply_key.is_some() {
        out.push(b'}');
    }
    Ok(out)
}

/// The outputs that are wanted, under the names that clients know.
fn named<'a>(mapping: &'a Mapping, reply: &'a PredictResponse) -> Result<Vec<Named<'a>>> {
    if mapping.outputs.is_empty() {
        let outputs = reply.outputs.iter();
        return Ok(outputs.map(|(name, tensor)| Named { name, alias: name, tensor }).collect());
    }
    let named = |(alias, name): (&'a String, &'a String)| {
        let tensor = reply
            .outputs
            .get(alias)
            .ok_or_else(|| Error::internal(format!("The backend's reply has no output {alias:?}")))?;
        // Either name may say that its strings are bytes.
        Ok(Named { name, alias: if name.ends_with("_bytes") { name } else { alias }, tensor })
    };
    mapping.outputs.iter().map(named).collect()
}

#[cfg(test)]
mod tests;
