//! Predict bodies of every type: the one place that knows which codec reads and which writes which type.
//!
//! Each type is a file of its own beside this one. To read is to make tensors for the inputs of a signature,
//! and to settle how the reply is to look; to write is to do that with the tensors of a reply.

use std::num::NonZeroUsize;

use bytes::Bytes;

use super::image;
use super::limits::Limits;
use super::lines;
use super::media::{Agreement, MediaType};
use super::predict::{self, Format, Inputs, Predict, check_input_shapes};
use super::signature::{Input, Signature, Signatures};
use super::stream::Stream;
use super::top_k;
use super::writer::NanStyle;
use super::{arrow, csv, multipart, npy, npz, octets, protobuf};
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;
use crate::proto::tensorflow::serving::PredictResponse;

/// What a body says.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded<F = Form> {
    /// The signature to run; empty for the default.
    pub signature_name: String,
    /// A tensor for every input of the signature.
    pub inputs: Inputs,
    /// The outputs that the client wants; empty for all.
    pub output_filter: Vec<String>,
    /// How the reply is to be written.
    pub form: F,
}

impl<F> Decoded<F> {
    /// The same with another form, made of this one and the outputs that the client wants.
    pub fn map<G>(self, form: impl FnOnce(F, &[String]) -> G) -> Decoded<G> {
        let Self { signature_name, inputs, output_filter, form: before } = self;
        let form = form(before, &output_filter);
        Decoded { signature_name, inputs, output_filter, form }
    }
}

/// How a reply is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// As TensorFlow Serving has it.
    Json(Format),
    /// As an array.
    Npy,
    /// As an archive of arrays.
    Npz,
    /// As a stream of Apache Arrow.
    Arrow,
    /// As a table.
    Csv,
    /// As a table without a line of names.
    Rows,
    /// A line for every row.
    Lines,
    /// As the message that the backend has sent.
    Protobuf,
    /// With the best of the scores in place of all of them.
    Top {
        /// How the rest is written.
        form: Box<Self>,
        /// How many of them.
        count: NonZeroUsize,
    },
}

impl Form {
    /// The same with so many of the best scores, if a number is given.
    #[must_use]
    pub fn top(self, count: Option<NonZeroUsize>) -> Self {
        match count {
            Some(count) => Self::Top { form: Box::new(self), count },
            None => self,
        }
    }

    /// The same, as a table without names if they are not wanted.
    #[must_use]
    pub fn named(self, has_names: Option<bool>) -> Self {
        if self == Self::Csv && has_names == Some(false) { Self::Rows } else { self }
    }

    /// True if a reply has an entry for each row, for which the first dimension of an output is needed.
    fn is_row_wise(&self) -> bool {
        match self {
            Self::Json(format) => *format == Format::Row,
            Self::Csv | Self::Rows | Self::Lines => true,
            Self::Npy | Self::Npz | Self::Arrow | Self::Protobuf => false,
            Self::Top { form, .. } => form.is_row_wise(),
        }
    }

    /// About how many bytes a reply takes while it is written, if its outputs have `size`.
    #[must_use]
    pub fn memory(&self, reply: &PredictResponse, size: usize) -> usize {
        match self {
            Self::Top { form, count } => {
                // What stays as it is takes what it would without.
                top_k::memory(reply, count.get(), size).saturating_add(form.gain(reply))
            }
            _ => size.saturating_mul(2).saturating_add(self.gain(reply)),
        }
    }

    /// How much longer than the elements of a reply what is written may be, and what it takes while it grows.
    fn gain(&self, reply: &PredictResponse) -> usize {
        let outputs = &reply.outputs;
        match self {
            Self::Json(Format::Columnar) => predict::escapes(outputs).saturating_mul(2),
            Self::Json(Format::Row) | Self::Lines => {
                predict::escapes(outputs).saturating_add(predict::names(outputs)).saturating_mul(2)
            }
            Self::Npy => outputs.values().map(npy::padding).fold(0, usize::saturating_add),
            // It grows by every member, and by what it ends with.
            Self::Npz => outputs.values().map(npy::padding).fold(0, usize::saturating_add).saturating_mul(2),
            Self::Arrow | Self::Csv | Self::Rows | Self::Protobuf => 0,
            Self::Top { form, .. } => form.gain(reply),
        }
    }
}

/// A reply as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// The body.
    pub body: Bytes,
    /// Its type.
    pub content_type: &'static str,
}

/// How bodies are read, whatever their type.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How much a body may ask for.
    pub limits: Limits,
    /// Whether inputs must have the shapes that the signature declares.
    pub check_shapes: bool,
}

/// What a body of another type than JSON is decoded from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    /// What the head and the query of the request say.
    pub(super) agreement: &'a Agreement,
    /// The body, whole.
    pub(super) body: &'a Bytes,
    /// What the model takes, if anybody knows.
    pub(super) signatures: Option<&'a Signatures>,
    /// How much the body may ask for.
    pub(super) limits: &'a Limits,
}

/// Decodes a body of the type agreed on. Without `signatures` nobody knows what the model takes. Of a JSON
/// body a [`Stream`] may have decoded the values already.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the place and the reason, `UNIMPLEMENTED` for a dtype that the type cannot carry.
pub fn decode(
    agreement: &Agreement,
    body: &Bytes,
    signatures: Option<&Signatures>,
    rules: &Rules,
    stream: Option<Stream>,
) -> Result<Decoded> {
    let given = Given { agreement, body, signatures, limits: &rules.limits };
    let mut decoded = match agreement.request {
        // `curl --data-binary @cat.jpg` calls it a form.
        MediaType::Json if image::is_picture(body) || npy::is_array(body) => decode_file(&given)?,
        MediaType::Json => return decode_json(agreement, body, signatures, rules, stream),
        MediaType::Csv => csv::decode(&given)?,
        MediaType::Lines => decode_lines(&given)?,
        MediaType::Multipart => multipart::decode(&given)?,
        MediaType::Npy => npy::decode(&given)?,
        MediaType::Npz => npz::decode(&given)?,
        MediaType::Arrow => arrow::decode(&given)?,
        MediaType::Protobuf => protobuf::decode(agreement, body, rules)?,
        MediaType::Octets if octets::may_be_json(body) => {
            match decode_json(agreement, body, signatures, rules, None) {
                Ok(decoded) => return Ok(decoded),
                // An input of strings takes any bytes.
                Err(error) => octets::decode(&given).map_err(|_| error)?,
            }
        }
        MediaType::Octets | MediaType::Image => decode_file(&given)?,
    };
    if decoded.output_filter.is_empty() {
        decoded.output_filter.clone_from(&agreement.parameters.outputs);
    }
    decoded.form = decoded.form.named(agreement.has_names).top(agreement.parameters.top_k);
    if let Some(signatures) = signatures.filter(|_| rules.check_shapes) {
        check_input_shapes(&decoded.inputs, signatures.get(&decoded.signature_name)?)?;
    }
    Ok(decoded)
}

/// The pixels of a picture and the elements of an array for an input of numbers, else the bytes of whatever it is.
fn decode_file(given: &Given<'_>) -> Result<Decoded> {
    if let Some(decoded) = image::decode(given)? {
        return Ok(decoded);
    }
    let Given { agreement, body, signatures, .. } = *given;
    let is_array = npy::is_array(body)
        && match signatures {
            Some(signatures) => {
                let (_, signature) = signature(agreement, signatures)?;
                only_input(agreement, signature)?.dtype != DataType::DtString
            }
            // An array says itself what its elements are.
            None => true,
        };
    if is_array { npy::decode(given) } else { octets::decode(given) }
}

fn decode_json(
    agreement: &Agreement,
    body: &Bytes,
    signatures: Option<&Signatures>,
    rules: &Rules,
    stream: Option<Stream>,
) -> Result<Decoded> {
    let name = agreement.parameters.signature_name.as_deref().unwrap_or_default();
    let predict = match signatures {
        Some(signatures) => {
            let predict = predict::decode_named(body, signatures, &rules.limits, stream, name)?;
            if rules.check_shapes {
                predict::check_shapes(body, &predict, signatures)?;
            }
            predict
        }
        None => predict::decode_guessed_named(body, &rules.limits, name)?,
    };
    let Predict { signature_name, format, inputs, mut output_filter, top_k } = predict;
    if output_filter.is_empty() {
        output_filter.clone_from(&agreement.parameters.outputs);
    }
    let form = form(agreement.reply, format).named(agreement.has_names);
    let form = form.top(top_k.or(agreement.parameters.top_k));
    Ok(Decoded { signature_name, inputs, output_filter, form })
}

/// The lines of a body whose reply is no lines, and so is there at once.
fn decode_lines(given: &Given<'_>) -> Result<Decoded> {
    let Given { agreement, body, signatures, limits } = *given;
    let signatures = signatures.ok_or_else(untold)?;
    let (signature_name, signature) = signature(agreement, signatures)?;
    let inputs = lines::decode_whole(body, signature, limits)?;
    let form = form(agreement.reply, Format::Row);
    Ok(Decoded { signature_name, inputs, output_filter: Vec::new(), form })
}

/// The error for lines where nobody knows what the model takes: their dtypes would have to be guessed, and each
/// batch of them would lead to other guesses.
pub(crate) fn untold() -> Error {
    Error::invalid_argument(
        "Nobody knows the inputs of this model, which lines are read by: the model server does not tell its \
         signatures, and no file has them",
    )
}

/// The form of a reply of this type to a request that is laid out like this.
pub(crate) fn form(reply: MediaType, format: Format) -> Form {
    match reply {
        MediaType::Json | MediaType::Octets | MediaType::Image | MediaType::Multipart => Form::Json(format),
        MediaType::Npy => Form::Npy,
        MediaType::Csv => Form::Csv,
        MediaType::Npz => Form::Npz,
        MediaType::Arrow => Form::Arrow,
        MediaType::Protobuf => Form::Protobuf,
        MediaType::Lines => Form::Lines,
    }
}

/// Writes a reply.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if the outputs cannot be written in this form, `INTERNAL` if a tensor contradicts
/// itself.
pub fn encode(form: &Form, reply: &PredictResponse, nan: NanStyle) -> Result<Encoded> {
    let (body, media_type) = match form {
        Form::Json(format) => (predict::encode(&reply.outputs, *format, nan)?.into(), MediaType::Json),
        Form::Npy => (npy::encode(&reply.outputs)?, MediaType::Npy),
        Form::Npz => (npz::encode(&reply.outputs)?, MediaType::Npz),
        Form::Arrow => (arrow::encode(&reply.outputs)?, MediaType::Arrow),
        Form::Csv => (csv::encode(&reply.outputs, true)?, MediaType::Csv),
        Form::Rows => {
            let body = csv::encode(&reply.outputs, false)?;
            return Ok(Encoded { body, content_type: csv::WITHOUT_NAMES });
        }
        Form::Lines => (lines::encode_whole(&reply.outputs, nan)?.into(), MediaType::Lines),
        Form::Protobuf => (protobuf::encode(reply), MediaType::Protobuf),
        Form::Top { form, count } => {
            let outer = usize::from(form.is_row_wise());
            return encode(form, &top_k::select(reply, count.get(), outer)?, nan);
        }
    };
    Ok(Encoded { body, content_type: media_type.name() })
}

/// A reply with an entry per row, with so many of the best scores in place of all, if a number is given.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if there are no scores.
pub(crate) fn best(reply: PredictResponse, count: Option<NonZeroUsize>) -> Result<PredictResponse> {
    match count {
        Some(count) => top_k::select(&reply, count.get(), 1),
        None => Ok(reply),
    }
}

/// Whether a body has all inputs of a signature.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the first that is missing.
pub(super) fn check_inputs(inputs: &Inputs, signature: &Signature) -> Result<()> {
    match signature.inputs.iter().find(|input| !inputs.contains_key(&input.name)) {
        Some(missing) => Err(Error::invalid_argument(format!("Missing named input: {}", missing.name))),
        None => Ok(()),
    }
}

/// The most bytes that a body takes beyond what its type alone says, while it is decoded.
#[must_use]
pub fn memory(agreement: &Agreement, body: &[u8], signatures: Option<&Signatures>) -> usize {
    match agreement.request {
        MediaType::Octets | MediaType::Json if npy::is_array(body) => {
            npy::room(body, body.len(), signatures.map_or(0, Signatures::widest_number))
        }
        MediaType::Octets | MediaType::Image => image::memory(agreement, body, signatures),
        MediaType::Json if image::is_picture(body) => image::memory(agreement, body, signatures),
        _ => 0,
    }
}

/// The signature that a body of a type without names is for, by the parameters.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if there is none of that name.
pub(super) fn signature<'a>(
    agreement: &Agreement,
    signatures: &'a Signatures,
) -> Result<(String, &'a Signature)> {
    let name = agreement.parameters.signature_name.clone().unwrap_or_default();
    let signature = signatures.get(&name)?;
    Ok((name, signature))
}

/// The input that a body with a single unnamed value is for: the one that the parameters name, or the only one.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if there is no such input, or several and none is named.
pub(super) fn only_input<'a>(agreement: &Agreement, signature: &'a Signature) -> Result<&'a Input> {
    let names = || signature.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", ");
    match (&agreement.parameters.input, signature.inputs.as_slice()) {
        (Some(wanted), _) => signature.input(wanted),
        (None, [input]) => Ok(input),
        (None, _) => Err(Error::invalid_argument(format!(
            "The body is for one input and the signature has several: say which with ?input=NAME, of {}",
            names()
        ))),
    }
}

/// The input that the parameters name, where nobody knows what the model takes.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if they name none.
pub(super) fn told_input(agreement: &Agreement) -> Result<String> {
    agreement.parameters.input.clone().ok_or_else(|| {
        Error::invalid_argument("Nobody knows the inputs of this model: say which with ?input=NAME")
    })
}
