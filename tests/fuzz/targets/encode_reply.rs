//! A reply that no server should send is printed as JSON of the shape it claims, or refused.
//!
//! The JSON has its lists by the dimensions, is valid UTF-8, and valid JSON unless the style is
//! to write `NaN`.

#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use serde::Deserialize;
use serde_json::Value;
use tfbridge::codec::NanStyle;
use tfbridge::codec::predict::{self, Format};
use tfbridge::proto::tensorflow::serving::PredictResponse;
use tfbridge::proto::tensorflow::tensor_shape_proto::Dim;
use tfbridge::proto::tensorflow::{DataType, TensorProto, TensorShapeProto};
use tfbridge_fuzz::reference::DTYPES;

type Outputs = HashMap<String, TensorProto>;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else { return };
    let outputs: Outputs = if kind % 2 == 0 {
        let Ok(response) = PredictResponse::decode(data) else { return };
        response.outputs
    } else {
        let Ok(outputs) = Vec::<Output>::arbitrary_take_rest(Unstructured::new(data)) else { return };
        outputs.into_iter().map(|output| (output.name, output.tensor.into())).collect()
    };
    if is_slow(&outputs) {
        return;
    }
    for format in [Format::Row, Format::Columnar] {
        for nan in [NanStyle::Null, NanStyle::String, NanStyle::Error] {
            if let Ok(text) = predict::encode(&outputs, format, nan) {
                let text = std::str::from_utf8(&text).expect("UTF-8");
                let mut deserializer = serde_json::Deserializer::from_str(text);
                deserializer.disable_recursion_limit();
                let json = Value::deserialize(&mut deserializer).expect("JSON");
                deserializer.end().expect("nothing else");
                assert_shapes(&outputs, format, &json);
            }
        }
        if let Ok(text) = predict::encode(&outputs, format, NanStyle::Literal) {
            std::str::from_utf8(&text).expect("UTF-8");
        }
    }
});

/// True for replies whose text is longer than a fuzzer can wait for: repetition is allowed up
/// to 2^24 elements.
fn is_slow(outputs: &Outputs) -> bool {
    let names: u128 = outputs.keys().map(|name| name.len() as u128).sum();
    outputs.values().any(|tensor| {
        let dims = tensor.tensor_shape.as_ref().map(|shape| shape.dim.as_slice()).unwrap_or_default();
        // Below an empty dimension there is nothing to write.
        let sizes = dims.iter().take_while(|dim| dim.size != 0);
        let lists = sizes.fold(1_u128, |lists, dim| lists.saturating_mul(dim.size.max(1) as u128));
        let string = tensor.string_val.iter().map(|value| value.len() as u128).max().unwrap_or(0);
        lists <= 1 << 24 && lists * (2 * dims.len() as u128 + 32 + 6 * (string + names)) > 1 << 17
    })
}

fn assert_shapes(outputs: &Outputs, format: Format, json: &Value) {
    for (name, tensor) in outputs {
        let shape = tensor.tensor_shape.clone().unwrap_or_default();
        let sizes: Vec<usize> =
            shape.dim.iter().map(|dim| usize::try_from(dim.size).expect("a size")).collect();
        let is_complex = matches!(tensor.dtype(), DataType::DtComplex64 | DataType::DtComplex128);
        match format {
            Format::Columnar if outputs.len() == 1 => assert_nested(&json["outputs"], &sizes, is_complex),
            Format::Columnar => assert_nested(&json["outputs"][name], &sizes, is_complex),
            Format::Row if outputs.len() == 1 => assert_nested(&json["predictions"], &sizes, is_complex),
            Format::Row => {
                let rows = json["predictions"].as_array().expect("rows");
                assert_eq!(rows.len(), sizes[0]);
                rows.iter().for_each(|row| assert_nested(&row[name], &sizes[1..], is_complex));
            }
        }
    }
}

fn assert_nested(json: &Value, sizes: &[usize], is_complex: bool) {
    match (sizes, json) {
        ([], Value::Array(parts)) if is_complex => assert_eq!(parts.len(), 2),
        ([], Value::Array(_)) => panic!("a list for an element"),
        ([], Value::Object(members)) => assert!(members["b64"].is_string()),
        ([], _) => assert!(!is_complex),
        ([size, inner @ ..], Value::Array(items)) => {
            assert_eq!(items.len(), *size);
            items.iter().for_each(|item| assert_nested(item, inner, is_complex));
        }
        _ => panic!("no list for a dimension"),
    }
}

#[derive(Debug, Arbitrary)]
struct Output {
    name: String,
    tensor: Tensor,
}

/// A tensor whose parts know nothing of each other.
#[derive(Debug, Arbitrary)]
struct Tensor {
    dtype: u8,
    shape: Option<Vec<Size>>,
    /// Dimensions of size 1 in front, for ranks beyond all limits.
    more_rank: Option<u16>,
    unknown_rank: bool,
    content: Option<Vec<u8>>,
    strings: Vec<Vec<u8>>,
    floats: Vec<f32>,
    doubles: Vec<f64>,
    ints: Vec<i32>,
    int64s: Vec<i64>,
    bools: Vec<bool>,
    uint32s: Vec<u32>,
    uint64s: Vec<u64>,
}

#[derive(Debug, Arbitrary)]
enum Size {
    Small(u8),
    Any(i64),
    PowerOfTwo(u8),
}

impl From<Tensor> for TensorProto {
    fn from(tensor: Tensor) -> Self {
        let dtype = usize::from(tensor.dtype);
        let size = |size| match size {
            Size::Small(size) => i64::from(size % 8),
            Size::Any(size) => size,
            Size::PowerOfTwo(power) => 1 << (power % 64),
        };
        let ones = usize::from(tensor.more_rank.unwrap_or(0) % 300);
        let tensor_shape = tensor.shape.map(|sizes| TensorShapeProto {
            dim: std::iter::repeat_n(1, ones)
                .chain(sizes.into_iter().map(size))
                .map(|size| Dim { size, ..Dim::default() })
                .collect(),
            unknown_rank: tensor.unknown_rank && dtype % 2 == 0,
        });
        TensorProto {
            // Mostly dtypes that can be printed, but also numbers that are no dtype.
            dtype: DTYPES.get(dtype % 20).map_or(dtype as i32, |&dtype| dtype.into()),
            tensor_shape,
            tensor_content: tensor.content.unwrap_or_default().into(),
            string_val: tensor.strings.into_iter().map(Into::into).collect(),
            half_val: tensor.ints.clone(),
            scomplex_val: tensor.floats.clone(),
            dcomplex_val: tensor.doubles.clone(),
            float_val: tensor.floats,
            double_val: tensor.doubles,
            int_val: tensor.ints,
            int64_val: tensor.int64s,
            bool_val: tensor.bools,
            uint32_val: tensor.uint32s,
            uint64_val: tensor.uint64s,
            ..TensorProto::default()
        }
    }
}
