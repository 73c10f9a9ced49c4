//! Requests and replies as messages of the gRPC API: passed on, their tensors unread.
//!
//! Of a `PredictRequest` only the model is another one, that of the path; everything else goes to the backend
//! as it came, and so does its `PredictResponse` to the client. But what is no such message is found here, so
//! that the client gets its error from us and not the backend's of a broken call.

mod fields;
mod room;

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::string;

use super::body::{Decoded, Rules, form};
use super::limits::Limits;
use super::media::Agreement;
use super::predict::{Format, Inputs, check_input_shapes};
use super::signature::Signatures;
use crate::error::Result;
use crate::proto::tensorflow::serving::{ModelSpec, PredictRequest, PredictResponse};
use crate::proto::tensorflow::{TensorProto, TensorShapeProto};
use fields::{Broken, Field, fields};

/// The most tensors of a request, and names of outputs: no signature has as many.
const MOST_INPUTS: usize = 4096;
const MOST_OUTPUTS: usize = 4096;

/// The field numbers of `PredictRequest` and `PredictResponse`, of a map's entries, and of `TensorProto`.
mod number {
    pub(super) const REQUEST_MODEL_SPEC: u32 = 1;
    pub(super) const REQUEST_INPUTS: u32 = 2;
    pub(super) const REQUEST_OUTPUT_FILTER: u32 = 3;
    pub(super) const RESPONSE_OUTPUTS: u32 = 1;
    pub(super) const RESPONSE_MODEL_SPEC: u32 = 2;
    pub(super) const MAP_KEY: u32 = 1;
    pub(super) const MAP_VALUE: u32 = 2;
    pub(super) const TENSOR_SHAPE: u32 = 2;
    pub(super) const TENSOR_FLOAT: u32 = 5;
    pub(super) const TENSOR_DOUBLE: u32 = 6;
    pub(super) const TENSOR_INT: u32 = 7;
    pub(super) const TENSOR_STRING: u32 = 8;
    pub(super) const TENSOR_COMPLEX64: u32 = 9;
    pub(super) const TENSOR_INT64: u32 = 10;
    pub(super) const TENSOR_BOOL: u32 = 11;
    pub(super) const TENSOR_COMPLEX128: u32 = 12;
    pub(super) const TENSOR_HALF: u32 = 13;
    pub(super) const TENSOR_RESOURCE: u32 = 14;
    pub(super) const TENSOR_VARIANT: u32 = 15;
    pub(super) const TENSOR_UINT32: u32 = 16;
    pub(super) const TENSOR_UINT64: u32 = 17;
    pub(super) const SHAPE_DIM: u32 = 2;
}

/// A request that is passed on.
#[derive(Debug, Clone, PartialEq)]
pub struct Passed {
    /// The signature to run; empty for the default.
    pub signature_name: String,
    /// All fields but the model's, as they came.
    pub fields: Vec<Bytes>,
}

/// Finds out that a body is a `PredictRequest`, and what must be known of it.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the reason.
pub fn pass(
    agreement: &Agreement,
    body: &Bytes,
    signatures: Option<&Signatures>,
    rules: &Rules,
) -> Result<Passed> {
    let parameters = &agreement.parameters;
    let request = Request::read(body, rules).map_err(|broken| broken.error("PredictRequest"))?;
    let mut signature_name = request.model_spec.signature_name;
    if let (true, Some(name)) = (signature_name.is_empty(), &parameters.signature_name) {
        signature_name.clone_from(name);
    }
    let mut fields = request.others;
    if !request.has_filter && !parameters.outputs.is_empty() {
        let mut filter = Vec::new();
        string::encode_repeated(number::REQUEST_OUTPUT_FILTER, &parameters.outputs, &mut filter);
        fields.push(filter.into());
    }
    if let Some(signatures) = signatures.filter(|_| rules.check_shapes) {
        check_input_shapes(&request.shapes, signatures.get(&signature_name)?)?;
    }
    Ok(Passed { signature_name, fields })
}

/// Reads a request with its tensors, for those who must know them.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the reason.
pub(super) fn decode(agreement: &Agreement, body: &Bytes, rules: &Rules) -> Result<Decoded> {
    let request = whole(body, rules).map_err(|broken| broken.error("PredictRequest"))?;
    let mut signature_name = request.model_spec.map(|spec| spec.signature_name).unwrap_or_default();
    if signature_name.is_empty() {
        signature_name = agreement.parameters.signature_name.clone().unwrap_or_default();
    }
    let mut output_filter = request.output_filter;
    if output_filter.is_empty() {
        output_filter.clone_from(&agreement.parameters.outputs);
    }
    let form = form(agreement.reply, Format::Columnar);
    Ok(Decoded { signature_name, inputs: request.inputs, output_filter, form })
}

/// The whole message, for which there must be [`room`].
fn whole(body: &Bytes, rules: &Rules) -> Result<PredictRequest, Broken> {
    // What few bytes could make many of is refused first.
    Request::read(body, rules)?;
    if room::of_request(body)?.has_handles {
        return Err(Broken::new("a tensor has handles or variants, which mean nothing here"));
    }
    Ok(PredictRequest::decode(body.clone())?)
}

/// The most bytes that it takes to read a request with its tensors, besides its own. What is refused takes nothing.
pub(crate) fn room(body: &Bytes) -> usize {
    let room = room::of_request(body).unwrap_or_default();
    if room.has_handles { 0 } else { room.bytes }
}

/// The most bytes that it takes to read a reply with its tensors, besides its own.
pub(crate) fn room_of_reply(message: &Bytes) -> usize {
    room::of_reply(message).unwrap_or_default().bytes
}

/// The request that has been passed on, for which there must be [`room`]; `None` if it cannot be read.
pub(crate) fn passed(body: &Bytes) -> Option<PredictRequest> {
    whole(body, &Rules { limits: Limits::NONE, check_shapes: false }).ok()
}

/// Writes a reply that has been read, as [`Reply`] has one that has not.
pub(super) fn encode(reply: &PredictResponse) -> Bytes {
    reply.encode_to_vec().into()
}

/// What is learnt of a request.
struct Request {
    model_spec: ModelSpec,
    others: Vec<Bytes>,
    has_filter: bool,
    /// The inputs by their names, without elements, if their shapes are to be checked.
    shapes: Inputs,
}

impl Request {
    fn read(body: &Bytes, rules: &Rules) -> Result<Self, Broken> {
        let mut request = Self {
            model_spec: ModelSpec::default(),
            others: Vec::new(),
            has_filter: false,
            shapes: Inputs::new(),
        };
        let mut has_spec = false;
        let (mut inputs, mut outputs, mut rest) = (0, 0, 0);
        for field in fields(body) {
            let field = field?;
            match (field.number, field.value) {
                (number::REQUEST_MODEL_SPEC, Some(value)) => {
                    // Two would have to be put together, and nobody writes two.
                    if std::mem::replace(&mut has_spec, true) {
                        return Err(Broken::new("it has more than one model_spec"));
                    }
                    request.model_spec = ModelSpec::decode(value)?;
                    request.others.push(body.slice(rest..field.start));
                    rest = field.end;
                }
                (number::REQUEST_INPUTS, Some(value)) => {
                    inputs += 1;
                    if inputs > MOST_INPUTS {
                        return Err(Broken::new(format!("it has more than {MOST_INPUTS} inputs")));
                    }
                    let (name, tensor) = input(&value, rules.limits.most_dimensions())?;
                    if rules.check_shapes {
                        request.shapes.insert(name, tensor);
                    }
                }
                (number::REQUEST_OUTPUT_FILTER, Some(_)) => {
                    outputs += 1;
                    if outputs > MOST_OUTPUTS {
                        return Err(Broken::new(format!("it names more than {MOST_OUTPUTS} outputs")));
                    }
                    request.has_filter = true;
                }
                _ => {}
            }
        }
        request.others.push(body.slice(rest..));
        request.others.retain(|part| !part.is_empty());
        Ok(request)
    }
}

/// The name of an input, and its tensor without elements.
///
/// Parts of a message that come twice are put together by whoever reads it, shapes among them, so that one alone
/// would not tell what the tensor is. Nobody writes two.
fn input(entry: &Bytes, most_dimensions: usize) -> Result<(String, TensorProto), Broken> {
    let (mut name, mut tensor) = (String::new(), TensorProto::default());
    let mut has_tensor = false;
    for field in fields(entry) {
        match field? {
            Field { number: number::MAP_KEY, value: Some(key), .. } => {
                let key =
                    std::str::from_utf8(&key).map_err(|_| Broken::new("the name of an input is no UTF-8"))?;
                key.clone_into(&mut name);
            }
            Field { number: number::MAP_VALUE, value: Some(value), .. } => {
                if std::mem::replace(&mut has_tensor, true) {
                    return Err(Broken::new("an input has more than one tensor"));
                }
                tensor.tensor_shape = shape(&value, most_dimensions)?;
            }
            _ => {}
        }
    }
    Ok((name, tensor))
}

/// The shape of a tensor, whose other fields are not looked into.
fn shape(tensor: &Bytes, most_dimensions: usize) -> Result<Option<TensorShapeProto>, Broken> {
    let mut shape = None;
    for field in fields(tensor) {
        if let Field { number: number::TENSOR_SHAPE, value: Some(value), .. } = field? {
            if shape.is_some() {
                return Err(Broken::new("a tensor has more than one shape"));
            }
            let mut dimensions = 0;
            for field in fields(&value) {
                dimensions += usize::from(field?.number == number::SHAPE_DIM);
                if dimensions > most_dimensions {
                    return Err(Broken::new(format!("a tensor has more than {most_dimensions} dimensions")));
                }
            }
            shape = Some(TensorShapeProto::decode(value)?);
        }
    }
    Ok(shape)
}

/// A `PredictResponse` of which nothing but the model is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The message.
    pub bytes: Bytes,
    /// The model and version that answered.
    pub model_spec: Option<ModelSpec>,
}

impl Reply {
    /// Looks for the model in a message.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn read(bytes: Bytes) -> Result<Self, String> {
        let model_spec = || -> Result<Option<ModelSpec>, Broken> {
            let mut model_spec = None;
            for field in fields(&bytes) {
                if let Field { number: number::RESPONSE_MODEL_SPEC, value: Some(value), .. } = field? {
                    model_spec = Some(ModelSpec::decode(value)?);
                }
            }
            Ok(model_spec)
        };
        let model_spec = model_spec().map_err(|broken| broken.to_string())?;
        Ok(Self { bytes, model_spec })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dense::{Dense, Elements, shape as shape_of};
    use crate::codec::limits::Limits;
    use crate::codec::signature::{Input, Signature};
    use crate::proto::tensorflow::DataType;

    const RULES: Rules = Rules { limits: Limits::NONE, check_shapes: false };

    fn request(signature_name: &str, output_filter: &[&str]) -> PredictRequest {
        let tensor = Dense {
            dtype: DataType::DtFloat,
            dimensions: vec![1, 2],
            elements: Elements::Numbers(vec![0; 8].into()),
        };
        PredictRequest {
            model_spec: Some(ModelSpec {
                name: "theirs".to_owned(),
                signature_name: signature_name.to_owned(),
                ..ModelSpec::default()
            }),
            inputs: [("x".to_owned(), tensor.into_proto())].into(),
            output_filter: output_filter.iter().map(|name| (*name).to_owned()).collect(),
            client_id: Some(Bytes::from_static(b"me")),
            ..PredictRequest::default()
        }
    }

    fn agreement(query: &str) -> Agreement {
        Agreement::new(Some("application/x-protobuf"), [], Some(query)).unwrap()
    }

    fn passed(body: &Bytes, query: &str) -> Result<(String, PredictRequest)> {
        let Passed { signature_name, fields } = pass(&agreement(query), body, None, &RULES)?;
        Ok((signature_name, PredictRequest::decode(Bytes::from(fields.concat())).unwrap()))
    }

    #[test]
    fn all_but_the_model_is_passed_on() {
        let check = |request: &PredictRequest, query, signature_name: &str, output_filter: &[&str]| {
            let body = Bytes::from(request.encode_to_vec());
            let (name, passed) = passed(&body, query).unwrap();
            let output_filter: Vec<_> = output_filter.iter().map(|name| (*name).to_owned()).collect();
            let expected = PredictRequest { model_spec: None, output_filter, ..request.clone() };
            assert_eq!((name.as_str(), &passed), (signature_name, &expected));
            let decoded = decode(&agreement(query), &body, &RULES).unwrap();
            assert_eq!(
                (decoded.signature_name.as_str(), &decoded.inputs),
                (signature_name, &expected.inputs)
            );
            assert_eq!(decoded.output_filter, expected.output_filter);
        };
        check(&request("f", &["y"]), "", "f", &["y"]);
        check(&request("f", &["y"]), "signature_name=g&outputs=z", "f", &["y"]);
        check(&request("", &[]), "signature_name=g&outputs=z,y", "g", &["z", "y"]);
        check(&PredictRequest::default(), "", "", &[]);
        // Fields may come in any order, and those that nobody knows stay.
        let body = [&request("f", &[]).encode_to_vec()[..], &[0xa0, 0x06, 1]].concat();
        let Passed { fields, .. } = pass(&agreement(""), &body.into(), None, &RULES).unwrap();
        assert!(fields.concat().ends_with(&[0xa0, 0x06, 1]));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let check = |body: &[u8], expected: &str| {
            for error in [
                passed(&Bytes::copy_from_slice(body), "").unwrap_err(),
                decode(&agreement(""), &Bytes::copy_from_slice(body), &RULES).unwrap_err(),
            ] {
                assert_eq!(error.status(), 400);
                assert!(error.message().starts_with("The body is no PredictRequest: "), "{error}");
                assert!(error.message().contains(expected), "{error}");
            }
        };
        let whole = request("f", &[]).encode_to_vec();
        check(br#"{"instances": [1]}"#, "");
        check(&whole[..whole.len() - 1], "");
        check(&[0x0a, 1, 0x0a], "");
        check(&[0x0a, 0, 0x0a, 0], "more than one model_spec");
        check(&[0x12, 3, 0x0a, 1, 0xff], "no UTF-8");
        check(&[0x12, 0].repeat(4097), "more than 4096 inputs");
        check(&[0x12, 4, 0x12, 2, 0x22, 9], "");
        check(&[0x1a, 0].repeat(4097), "more than 4096 outputs");
        let handle = Bytes::from_static(&[0x12, 4, 0x12, 2, 0x72, 0]);
        assert!(decode(&agreement(""), &handle, &RULES).unwrap_err().message().contains("handles"));
        check(&[0x12, 4, 0x12, 0, 0x12, 0], "more than one tensor");
        check(&[0x12, 6, 0x12, 4, 0x12, 0, 0x12, 0], "more than one shape");
        let mut request = request("f", &[]);
        request.inputs.get_mut("x").unwrap().tensor_shape = Some(shape_of(&[1; 300]));
        check(&request.encode_to_vec(), "more than 254 dimensions");
    }

    #[test]
    fn shapes_are_checked_where_that_is_wanted() {
        let input =
            |size| Input { name: "x".to_owned(), dtype: DataType::DtFloat, shape: Some(vec![-1, size]) };
        let body = Bytes::from(request("", &[]).encode_to_vec());
        for (size, expected) in [(2, true), (3, false)] {
            let signature = Signature::new(vec![input(size)]);
            let signatures = Signatures::from_iter([("serving_default".to_owned(), signature)]);
            let rules = Rules { check_shapes: true, ..RULES };
            assert_eq!(pass(&agreement(""), &body, Some(&signatures), &rules).is_ok(), expected);
        }
    }

    #[test]
    fn of_replies_only_the_model_is_read() {
        let model_spec = Some(ModelSpec { name: "m".to_owned(), ..ModelSpec::default() });
        let response = PredictResponse { model_spec: model_spec.clone(), outputs: request("", &[]).inputs };
        let bytes = Bytes::from(response.encode_to_vec());
        assert_eq!(Reply::read(bytes.clone()), Ok(Reply { bytes, model_spec }));
        assert!(Reply::read(Bytes::from_static(&[0x0a, 5])).is_err());
    }
}
