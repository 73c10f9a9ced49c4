//! A line of a recording: a call and what came of it, in the JSON that protocol buffers have.
//!
//! `{"method": "tensorflow.serving.PredictionService/Predict", "request": {…}, "reply": {…}}`, or in place of
//! `reply` an `error` as in `{"code": "NOT_FOUND", "message": "…"}`. Names of fields are those of the protos.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use tonic::Code;

use super::Outcome;
use crate::codec::model;
use crate::error::code_name;
use crate::mock::call::Call;

/// The most bytes of a line.
pub(in crate::mock) const LONGEST_LINE: u64 = 512 << 20;

/// A line as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mock) struct Line {
    pub(super) method: String,
    request: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    code: String,
    #[serde(default)]
    message: String,
}

impl Line {
    /// The line for a call, without its end.
    pub(in crate::mock) fn text<C: Call>(request: &C, outcome: &Outcome) -> Result<String, String> {
        let (reply, error) = match outcome {
            Outcome::Reply(bytes) => (Some(to_json(C::REPLY, bytes)?), None),
            Outcome::Error(code, message) => {
                (None, Some(Failure { code: code_name(*code).to_owned(), message: message.clone() }))
            }
        };
        let request = to_json(C::REQUEST, &request.encode_to_vec())?;
        let line = Self { method: C::METHOD.to_owned(), request, reply, error };
        serde_json::to_string(&line).map_err(|error| error.to_string())
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| {
            if error.is_data() { error.to_string() } else { format!("it is no JSON: {error}") }
        })
    }

    /// True for the beginning of a line, as a recorder leaves it that is killed while it writes.
    pub(in crate::mock) fn is_cut(text: &[u8]) -> bool {
        let start = br#"{"method":"tensorflow.serving."#;
        let is_ours = text.starts_with(start);
        is_ours && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err_and(|error| error.is_eof())
    }

    /// The call of a line whose method is known.
    pub(super) fn read<C: Call>(&self) -> Result<(C, Outcome), String> {
        let bytes =
            from_json(C::REQUEST, &self.request).map_err(|error| format!("the request is {error}"))?;
        let request = C::decode(bytes).map_err(|error| error.to_string())?;
        let outcome = match (&self.reply, &self.error) {
            (Some(reply), None) => {
                Outcome::Reply(from_json(C::REPLY, reply).map_err(|error| format!("the reply is {error}"))?)
            }
            (None, Some(Failure { code, message })) => {
                let mut codes = (1..=16).map(Code::from_i32);
                let found = codes.find(|found| code_name(*found) == code);
                let code = found.ok_or_else(|| format!("{code:?} is no code of an error"))?;
                Outcome::Error(code, message.clone())
            }
            _ => return Err("there is neither a reply nor an error, or both".to_owned()),
        };
        Ok((request, outcome))
    }
}

/// The JSON of an encoded message.
fn to_json(message: &str, encoded: &[u8]) -> Result<Value, String> {
    let descriptor = model::descriptor(message).map_err(|error| error.message().to_owned())?;
    let message = DynamicMessage::decode(descriptor, encoded).map_err(|error| error.to_string())?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    // By way of a text, in which a float is no longer than it must be, as it would be as a double.
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut text);
    message.serialize_with_options(&mut serializer, &options).map_err(|error| error.to_string())?;
    let mut short: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let exact = message.serialize_with_options(serde_json::value::Serializer, &options);
    spell(&mut short, &exact.map_err(|error| error.to_string())?, false);
    Ok(short)
}

/// The field of tensors that has doubles.
const DOUBLES: &str = "double_val";

/// Writes doubles as strings, which the mapping of protocol buffers to JSON allows: a reader of JSON numbers may
/// be off in the last bit. The largest float, which models use to mask with, is one of them, since a bit more
/// would be out of range.
fn spell(value: &mut Value, exact: &Value, is_double: bool) {
    match value {
        Value::Object(members) => {
            members.iter_mut().for_each(|(name, member)| spell(member, &exact[name], name == DOUBLES));
        }
        Value::Array(items) => {
            items.iter_mut().enumerate().for_each(|(index, item)| spell(item, &exact[index], is_double));
        }
        Value::Number(number) if is_double || is_edge(number) => *value = Value::String(exact.to_string()),
        Value::Number(_) | Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// True for a number that may be the largest float. The shortest text of that one is more than it.
fn is_edge(number: &Number) -> bool {
    number.as_f64().is_some_and(|number| number.abs() > 3.4e38 && number.abs() < 3.5e38)
}

/// The encoded message of a JSON.
fn from_json(message: &str, json: &Value) -> Result<Bytes, String> {
    let descriptor = model::descriptor(message).map_err(|error| error.message().to_owned())?;
    let read =
        DynamicMessage::deserialize(descriptor, json).map_err(|error| format!("no {message}: {error}"))?;
    Ok(read.encode_to_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensorflow::serving::{PredictRequest, PredictResponse};
    use crate::proto::tensorflow::{DataType, TensorProto};

    #[test]
    fn a_line_can_be_read_by_people() {
        let x = TensorProto {
            dtype: DataType::DtFloat.into(),
            float_val: vec![0.1, -3.0],
            ..TensorProto::default()
        };
        let request = PredictRequest { inputs: [("x".to_owned(), x)].into(), ..PredictRequest::default() };
        let outcome = Outcome::Error(Code::NotFound, "no\nmodel".to_owned());
        assert_eq!(
            Line::text(&request, &outcome).unwrap(),
            r#"{"method":"tensorflow.serving.PredictionService/Predict","request":{"inputs":{"x":{"dtype":"DT_FLOAT","float_val":[0.1,-3.0]}}},"error":{"code":"NOT_FOUND","message":"no\nmodel"}}"#
        );
    }

    #[test]
    fn numbers_come_back_as_they_were() {
        let mut random = fastrand::Rng::with_seed(1);
        let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE, f64::MAX];
        let tensor = TensorProto {
            dtype: DataType::DtDouble.into(),
            double_val: (0..2000).map(|_| f64::from_bits(random.u64(..))).chain(special).collect(),
            float_val: (0..2000).map(|_| f32::from_bits(random.u32(..))).chain([-0.0, f32::MAX]).collect(),
            int64_val: vec![i64::MIN, i64::MAX],
            uint64_val: vec![u64::MAX],
            string_val: vec![Bytes::from_static(b"\xff\0"), Bytes::new()],
            tensor_content: Bytes::from_static(b"\0\xff"),
            ..TensorProto::default()
        };
        let reply =
            PredictResponse { outputs: [("y".to_owned(), tensor.clone())].into(), ..Default::default() };
        let outcome = Outcome::Reply(reply.encode_to_vec().into());
        let text = Line::text(&PredictRequest::default(), &outcome).unwrap();
        let (_, outcome) = Line::parse(text.as_bytes()).unwrap().read::<PredictRequest>().unwrap();
        let Outcome::Reply(bytes) = outcome else { panic!("{outcome:?}") };
        let read = PredictResponse::decode(bytes).unwrap().outputs.remove("y").unwrap();
        // A NaN has no payload in JSON.
        let bits = |value: &f64| if value.is_nan() { 0 } else { value.to_bits() };
        assert!(read.double_val.iter().map(bits).eq(tensor.double_val.iter().map(bits)));
        let bits = |value: &f32| if value.is_nan() { 0 } else { value.to_bits() };
        assert!(read.float_val.iter().map(bits).eq(tensor.float_val.iter().map(bits)));
        let rest = |tensor| TensorProto { double_val: Vec::new(), float_val: Vec::new(), ..tensor };
        assert_eq!(rest(read), rest(tensor));
    }
}
