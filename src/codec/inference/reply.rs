//! Tensors to a reply of the protocol.
//!
//! ```text
//! {"id":"1","model_name":"m","model_version":"1","outputs":[
//!  {"name":"z","datatype":"FP32","shape":[2,1],"data":[1.0,2.0]},
//!  {"name":"w","datatype":"INT8","shape":[2],"parameters":{"binary_data_size":2}}]}
//! ```
//!
//! The outputs stand in the order in which they were asked for, else sorted by name, and their binary data in
//! the same order behind the JSON.

use std::io::Write as _;

use super::request::Form;
use super::{dtype, raw};
use crate::codec::dense::{Dense, Elements};
use crate::codec::predict::check_surplus;
use crate::codec::tensor::Printer;
use crate::codec::top_k;
use crate::codec::writer::{self, NanStyle};
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::PredictResponse;
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::proto::tensorflow::{DataType, TensorProto};

/// About how many bytes of text an element takes, to begin with.
const TEXT_PER_ELEMENT: usize = 11;

/// The most bytes set aside at once for text that has not been written.
const MOST_RESERVED: usize = 16 << 20;

/// A body, and how it is told apart.
#[derive(Debug, PartialEq)]
pub struct Encoded {
    /// The JSON, and binary data behind it.
    pub body: Vec<u8>,
    /// How long the JSON is if there may be something behind it.
    pub json_length: Option<usize>,
}

/// Writes the reply of a model to a request of this form.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if the best scores are wanted where there are none, for a dtype that the protocol does not know and for strings that are no text and were
/// not asked for in binary form, `INTERNAL` if a tensor contradicts itself or an output is missing.
pub fn encode(form: &Form, model_name: &str, reply: &PredictResponse, nan: NanStyle) -> Result<Encoded> {
    match form.top_k {
        Some(count) => {
            let chosen = top_k::select(reply, count.get(), 0)?;
            write(&form.of_chosen(&chosen), model_name, &chosen, nan)
        }
        None => write(form, model_name, reply, nan),
    }
}

fn write(form: &Form, model_name: &str, reply: &PredictResponse, nan: NanStyle) -> Result<Encoded> {
    let outputs = outputs(form, reply, nan)?;
    let surplus = outputs.iter().map(|output| output.surplus).fold(0, usize::saturating_add);
    check_surplus(surplus)?;
    let elements = |output: &Output<'_>| if output.is_binary() { 0 } else { output.elements };
    let elements = outputs.iter().map(elements).fold(0, usize::saturating_add);
    let spare = 256 + 128 * outputs.len() + writer::BATCH * TEXT_PER_ELEMENT * 2;
    let mut body = Vec::with_capacity(elements.saturating_mul(TEXT_PER_ELEMENT).min(MOST_RESERVED) + spare);
    body.push(b'{');
    if let Some(id) = &form.id {
        body.extend_from_slice(b"\"id\":");
        writer::write_string(id.as_bytes(), &mut body);
        body.push(b',');
    }
    body.extend_from_slice(b"\"model_name\":");
    writer::write_string(model_name.as_bytes(), &mut body);
    let spec = reply.model_spec.as_ref();
    if let Some(VersionChoice::Version(version)) = spec.and_then(|spec| spec.version_choice.as_ref()) {
        // To write into memory cannot fail.
        let _ = write!(body, ",\"model_version\":\"{version}\"");
    }
    body.extend_from_slice(b",\"outputs\":[");
    for (index, output) in outputs.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        output.write(&mut body)?;
    }
    body.extend_from_slice(b"]}");
    let is_binary = outputs.iter().any(Output::is_binary);
    let json_length = is_binary.then_some(body.len());
    let binary = || outputs.iter().filter_map(Output::binary);
    body.reserve_exact(binary().map(|(_, size)| size).sum());
    for (dense, _) in binary() {
        raw::append(dense, &mut body);
    }
    Ok(Encoded { body, json_length })
}

/// An output that is ready to be written.
struct Output<'a> {
    name: &'a str,
    datatype: &'static str,
    dimensions: Vec<usize>,
    elements: usize,
    data: Data<'a>,
    /// How many bytes come of none of the reply's.
    surplus: usize,
}

enum Data<'a> {
    Numbers(Printer<'a>),
    Texts(Dense),
    /// With the number of its bytes.
    Binary(Dense, usize),
}

fn outputs<'a>(form: &'a Form, reply: &'a PredictResponse, nan: NanStyle) -> Result<Vec<Output<'a>>> {
    if !form.outputs.is_empty() {
        let output = |wanted: &'a super::request::Output| {
            let name = wanted.name.as_str();
            let tensor = reply
                .outputs
                .get(name)
                .ok_or_else(|| Error::internal(format!("The backend has left out the output {name:?}")))?;
            Output::new(name, tensor, wanted.binary.unwrap_or(form.binary), nan)
        };
        return form.outputs.iter().map(output).collect();
    }
    let mut tensors: Vec<_> = reply.outputs.iter().collect();
    tensors.sort_unstable_by_key(|(name, _)| *name);
    tensors.into_iter().map(|(name, tensor)| Output::new(name, tensor, form.binary, nan)).collect()
}

impl<'a> Output<'a> {
    fn new(name: &'a str, tensor: &'a TensorProto, is_binary: bool, nan: NanStyle) -> Result<Self> {
        let dtype = crate::codec::dtype::from_wire(tensor.dtype);
        let datatype = dtype::name(dtype).ok_or_else(|| {
            let dtype = crate::codec::dtype::name(dtype);
            Error::invalid_argument(format!(
                "The output {name:?} is of type {dtype}, for which the protocol has no datatype"
            ))
        })?;
        // It measures what an output may grow to before that is made.
        let printer = Printer::new(name, tensor, nan)?;
        let (elements, surplus) = (printer.elements(), printer.surplus());
        let dimensions = printer.dimensions().to_vec();
        let data = if is_binary || dtype == DataType::DtString {
            check_surplus(surplus)?;
            let dense = Dense::new(name, tensor)?;
            if is_binary {
                let size = raw::size(&dense).ok_or_else(|| {
                    Error::internal(format!("The output {name:?} has a string beyond 4 GiB"))
                })?;
                Data::Binary(dense, size)
            } else {
                check_texts(name, &dense)?;
                Data::Texts(dense)
            }
        } else {
            Data::Numbers(printer)
        };
        Ok(Self { name, datatype, dimensions, elements, data, surplus })
    }

    fn binary(&self) -> Option<(&Dense, usize)> {
        match &self.data {
            Data::Binary(dense, size) => Some((dense, *size)),
            _ => None,
        }
    }

    fn is_binary(&self) -> bool {
        self.binary().is_some()
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(b"{\"name\":");
        writer::write_string(self.name.as_bytes(), out);
        let _ = write!(out, ",\"datatype\":\"{}\",\"shape\":[", self.datatype);
        for (index, size) in self.dimensions.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let _ = write!(out, "{comma}{size}");
        }
        match &self.data {
            Data::Numbers(printer) => {
                out.extend_from_slice(b"],\"data\":");
                printer.write_flat(out)?;
            }
            Data::Texts(dense) => {
                out.extend_from_slice(b"],\"data\":[");
                for (index, text) in strings(dense).enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    writer::write_string(text, out);
                }
                out.push(b']');
            }
            Data::Binary(_, size) => {
                let _ = write!(out, "],\"parameters\":{{\"binary_data_size\":{size}}}");
            }
        }
        out.push(b'}');
        Ok(())
    }
}

fn strings(dense: &Dense) -> impl Iterator<Item = &[u8]> {
    let strings = match &dense.elements {
        Elements::Strings(strings) => strings.as_slice(),
        Elements::Numbers(_) => &[],
    };
    strings.iter().map(|string| &string[..])
}

/// JSON has no form for bytes that are no text, and to replace them would hand out other ones.
fn check_texts(name: &str, dense: &Dense) -> Result<()> {
    match strings(dense).position(|string| std::str::from_utf8(string).is_err()) {
        None => Ok(()),
        Some(index) => Err(Error::invalid_argument(format!(
            "The output {name:?} has bytes that are no UTF-8 at element {index}: ask for it with the parameter \
             binary_data"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dense;
    use crate::codec::inference::request::Output as Wanted;
    use crate::proto::tensorflow::serving::ModelSpec;

    fn reply(outputs: &[(&str, TensorProto)]) -> PredictResponse {
        let version_choice = Some(VersionChoice::Version(7));
        PredictResponse {
            model_spec: Some(ModelSpec { version_choice, ..ModelSpec::default() }),
            outputs: outputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect(),
        }
    }

    fn tensor(dtype: DataType, sizes: &[usize]) -> TensorProto {
        TensorProto { dtype: dtype.into(), tensor_shape: Some(dense::shape(sizes)), ..TensorProto::default() }
    }

    fn check(form: &Form, reply: &PredictResponse, expected: &str, binary: &[u8]) {
        let Encoded { body, json_length } = encode(form, "m", reply, NanStyle::Literal).unwrap();
        let (json, rest) = body.split_at(json_length.unwrap_or(body.len()));
        assert_eq!((std::str::from_utf8(json).unwrap(), rest), (expected, binary));
    }

    #[test]
    fn outputs_are_json_or_binary() {
        let floats = TensorProto { float_val: vec![1.0, 0.5], ..tensor(DataType::DtFloat, &[1, 2]) };
        let texts =
            TensorProto { string_val: vec!["a\"".into(), "".into()], ..tensor(DataType::DtString, &[2]) };
        let halves = TensorProto { half_val: vec![0x3c00], ..tensor(DataType::DtHalf, &[]) };
        let reply = reply(&[("b", floats), ("a", texts), ("c_bytes", halves)]);
        let floats = r#"{"name":"b","datatype":"FP32","shape":[1,2],"data":[1.0,0.5]}"#;
        let texts = r#"{"name":"a","datatype":"BYTES","shape":[2],"data":["a\"",""]}"#;
        let halves = r#"{"name":"c_bytes","datatype":"FP16","shape":[],"data":[1.0]}"#;
        let start = r#""model_name":"m","model_version":"7","outputs":["#;
        check(&Form::default(), &reply, &format!("{{{start}{texts},{floats},{halves}]}}"), b"");
        let output = |name: &str, binary| Wanted { name: name.to_owned(), binary };
        let form = Form {
            id: Some("1".to_owned()),
            outputs: vec![output("c_bytes", None), output("a", Some(true)), output("b", Some(false))],
            top_k: None,
            binary: true,
        };
        let halves = r#"{"name":"c_bytes","datatype":"FP16","shape":[],"parameters":{"binary_data_size":2}}"#;
        let texts = r#"{"name":"a","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":10}}"#;
        let expected = format!("{{\"id\":\"1\",{start}{halves},{texts},{floats}]}}");
        check(&form, &reply, &expected, b"\x00\x3c\x02\0\0\0a\"\0\0\0\0");
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let check = |tensor: TensorProto, wanted: &str, status: u16, expected: &str| {
            let output = Wanted { name: wanted.to_owned(), binary: None };
            let form = Form { outputs: vec![output], ..Form::default() };
            let error = encode(&form, "m", &reply(&[("y", tensor)]), NanStyle::Literal).unwrap_err();
            assert_eq!(error.status(), status);
            assert!(error.message().contains(expected), "{error}");
        };
        let bytes = TensorProto {
            string_val: vec!["a".into(), vec![0xff].into()],
            ..tensor(DataType::DtString, &[2])
        };
        check(bytes.clone(), "y", 400, "no UTF-8 at element 1: ask for it with the parameter binary_data");
        check(bytes, "z", 500, "left out the output \"z\"");
        check(tensor(DataType::DtComplex64, &[0]), "y", 400, "the protocol has no datatype");
        let short = TensorProto { tensor_content: vec![1].into(), ..tensor(DataType::DtFloat, &[1]) };
        check(short, "y", 500, "1 elements of 4 bytes in 1 bytes");
        let many = TensorProto {
            string_val: vec![vec![b'x'; 1000].into()],
            ..tensor(DataType::DtString, &[1 << 20])
        };
        check(many, "y", 500, "out of all proportion");
    }
}
