//! Bodies of other types than JSON: any tensor comes back as it was, and what has been changed at random is
//! refused or read as something whole.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use prost::Message as _;
use tfbridge::codec::body::{self, Form, Rules};
use tfbridge::codec::media::Agreement;
use tfbridge::codec::signature::{Input, Signature, Signatures};
use tfbridge::codec::{Limits, NanStyle, dtype, protobuf};
use tfbridge::error::Error;
use tfbridge::proto::tensorflow::serving::{ModelSpec, PredictRequest, PredictResponse};
use tfbridge::proto::tensorflow::{DataType, TensorProto};

use crate::properties::DTYPES;
use crate::support::shape;

const ARROW: &str = "application/vnd.apache.arrow.stream";

const TYPES: [&str; 6] = [
    "application/x-npy",
    "application/x-npz",
    ARROW,
    "text/csv",
    "multipart/form-data; boundary=b",
    "application/x-protobuf",
];

const RULES: Rules = Rules {
    limits: Limits { depth: 512, rank: 254, elements: 1 << 20, string_size: 1 << 20, inflated: 1 << 20 },
    check_shapes: false,
};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A tensor of any dtype with up to so many dimensions.
fn tensor(dimensions: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = TensorProto> {
    (select(&DTYPES[..]), vec(0..4_usize, dimensions)).prop_flat_map(|(dtype, sizes)| {
        let count: usize = sizes.iter().product();
        let sizes: Vec<i64> = sizes.iter().map(|&size| size as i64).collect();
        let width = dtype::width(dtype).unwrap_or(0);
        // A byte that no string ends with.
        let string = vec(any::<u8>(), 0..6).prop_map(|mut bytes| {
            bytes.pop_if(|last| *last == 0);
            if bytes.last() == Some(&0) { Bytes::new() } else { bytes.into() }
        });
        let strings = if dtype == DataType::DtString { count } else { 0 };
        (vec(any::<u8>(), count * width), vec(string, strings)).prop_map(move |(mut content, strings)| {
            if dtype == DataType::DtBool {
                for byte in &mut content {
                    *byte &= 1;
                }
            }
            TensorProto {
                dtype: dtype.into(),
                tensor_shape: Some(shape(&sizes)),
                tensor_content: content.into(),
                string_val: strings,
                ..TensorProto::default()
            }
        })
    })
}

fn signatures(dtype: DataType) -> Signatures {
    let input = Input { name: "x".to_owned(), dtype, shape: None };
    Signatures::from_iter([("serving_default".to_owned(), Signature::new(vec![input]))])
}

fn decode(content_type: &str, body: &Bytes, dtype: DataType) -> Result<HashMap<String, TensorProto>, Error> {
    let agreement = Agreement::new(Some(content_type), [], None).unwrap();
    let signatures = signatures(dtype);
    if content_type == "application/x-protobuf" {
        protobuf::pass(&agreement, body, Some(&signatures), &Rules { check_shapes: true, ..RULES })?;
    }
    body::decode(&agreement, body, Some(&signatures), &RULES, None).map(|decoded| decoded.inputs)
}

/// A body of this type with the tensor as `x`.
fn encode(content_type: &str, tensor: &TensorProto) -> Result<Bytes, Error> {
    let form = match content_type {
        "application/x-npy" => Form::Npy,
        "application/x-npz" => Form::Npz,
        ARROW => Form::Arrow,
        "text/csv" => Form::Csv,
        "application/x-protobuf" => {
            let inputs = [("x".to_owned(), tensor.clone())].into();
            let model_spec = Some(ModelSpec::default());
            return Ok(PredictRequest { model_spec, inputs, ..PredictRequest::default() }
                .encode_to_vec()
                .into());
        }
        _ => {
            let array = encode("application/x-npy", tensor)?;
            let head =
                b"--b\r\nContent-Disposition: form-data; name=x\r\nContent-Type: application/npy\r\n\r\n";
            return Ok([head, &array[..], b"\r\n--b--\r\n"].concat().into());
        }
    };
    let outputs = [("x".to_owned(), tensor.clone())].into();
    let reply = PredictResponse { outputs, ..PredictResponse::default() };
    body::encode(&form, &reply, NanStyle::Literal).map(|encoded| encoded.body)
}

/// Whether a tensor comes back from text: NaN has one spelling, and an empty one no width.
fn is_exact(tensor: &TensorProto) -> bool {
    match tensor.dtype() {
        DataType::DtFloat | DataType::DtDouble | DataType::DtHalf | DataType::DtBfloat16 => false,
        _ => !tensor.tensor_content.is_empty() || !tensor.string_val.is_empty(),
    }
}

/// Whether a tensor can be a column of a table that knows dimensions.
fn has_columns(tensor: &TensorProto) -> bool {
    let is_complex = matches!(tensor.dtype(), DataType::DtComplex64 | DataType::DtComplex128);
    !is_complex && tensor.tensor_shape.as_ref().is_some_and(|shape| !shape.dim.is_empty())
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn tensors_come_back(tensor in tensor(0..=4)) {
        for content_type in TYPES {
            // Where it is made longer and shorter again, a NaN that signals becomes one that is quiet.
            let is_widened = tensor.dtype() == DataType::DtBfloat16 && content_type != "application/x-protobuf";
            if content_type == "text/csv" || is_widened {
                continue;
            }
            if content_type == ARROW && !has_columns(&tensor) {
                prop_assert_eq!(encode(content_type, &tensor).unwrap_err().status(), 406);
                continue;
            }
            let body = encode(content_type, &tensor).unwrap();
            let found = decode(content_type, &body, tensor.dtype()).unwrap();
            prop_assert_eq!(&found["x"], &tensor, "{}", content_type);
        }
    }

    #[test]
    fn tables_come_back(tensor in tensor(1..=2)) {
        let Ok(body) = encode("text/csv", &tensor) else { return Ok(()) };
        if is_exact(&tensor) {
            let found = decode("text/csv", &body, tensor.dtype()).unwrap();
            prop_assert_eq!(&found["x"], &tensor);
        }
    }

    #[test]
    fn what_was_changed_is_refused_or_whole(
        tensor in tensor(0..=3),
        content_type in select(&TYPES[..]),
        wanted in select(&DTYPES[..]),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
        cut in any::<Option<Index>>(),
    ) {
        let Ok(body) = encode(content_type, &tensor) else { return Ok(()) };
        let mut body = body.to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len().max(1));
            body.get_mut(at).map(|place| *place = byte).unwrap_or_default();
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len() + 1));
        }
        check(content_type, body, wanted)?;
    }

    #[test]
    fn any_bytes_are_refused_or_whole(
        body in vec(any::<u8>(), 0..200),
        content_type in select(&TYPES[..]),
        wanted in select(&DTYPES[..]),
    ) {
        check(content_type, body, wanted)?;
    }
}

/// What can be read has as many elements as its shape says.
fn check(content_type: &str, body: Vec<u8>, wanted: DataType) -> Result<(), TestCaseError> {
    let Ok(inputs) = decode(content_type, &body.into(), wanted) else { return Ok(()) };
    if content_type == "application/x-protobuf" {
        return Ok(());
    }
    let tensor = &inputs["x"];
    let elements: usize =
        tensor.tensor_shape.iter().flat_map(|shape| &shape.dim).map(|dim| dim.size as usize).product();
    let strings = if wanted == DataType::DtString { elements } else { 0 };
    prop_assert_eq!(tensor.dtype(), wanted);
    prop_assert_eq!(tensor.string_val.len(), strings);
    prop_assert_eq!(tensor.tensor_content.len(), elements * dtype::width(wanted).unwrap_or(0));
    Ok(())
}
