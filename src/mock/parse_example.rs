//! What the `ParseExample` operation of `half_plus_two` does: strings in, the feature `x` out.
//!
//! Texts are TensorFlow's. The operation parses every feature it was configured for, so a wrong
//! `x2` is refused although nobody asks for its value.

use prost::Message as _;

use super::tensor::{Tensor, dtype_name, shape_text};
use crate::error::{Error, Result};
use crate::proto::tensorflow::feature::Kind;
use crate::proto::tensorflow::{DataType, Example};

/// Parses a scalar or a vector of serialized `tf.Example`s: each has one float in `x`.
pub(super) fn parse_examples(serialized: &Tensor) -> Result<Tensor> {
    if serialized.shape.len() > 1 {
        let shape = shape_text(&serialized.shape);
        let text = format!("Expected serialized to be a scalar or vector, got shape: {shape}");
        return Err(Error::invalid_argument(text));
    }
    let mut values = Vec::with_capacity(serialized.strings().len());
    for (index, bytes) in serialized.strings().iter().enumerate() {
        let example = Example::decode(bytes.clone()).map_err(|_| {
            let value = String::from_utf8_lossy(bytes);
            Error::invalid_argument(format!("Could not parse example input, value: '{value}'"))
        })?;
        find_float(&example, "x2", index)?;
        values.push(find_float(&example, "x", index)?.ok_or_else(|| {
            let text = "Name: <unknown>, Feature: x (data type: float) is required but could not be found.";
            Error::invalid_argument(text)
        })?);
    }
    let mut shape = serialized.shape.clone();
    shape.push(1);
    Ok(Tensor::of_floats(shape, values.into_iter()))
}

/// The one float of a feature, or `None` where the feature is missing or has no kind.
fn find_float(example: &Example, key: &str, index: usize) -> Result<Option<f32>> {
    let feature = example.features.as_ref().and_then(|features| features.feature.get(key));
    let refuse = |problem: String| {
        Error::invalid_argument(format!("Name: <unknown>, Key: {key}, Index: {index}.  {problem}"))
    };
    let dtype = match feature.and_then(|feature| feature.kind.as_ref()) {
        None => return Ok(None),
        Some(Kind::FloatList(list)) => {
            return match list.value.as_slice() {
                &[value] => Ok(Some(value)),
                values => Err(refuse(format!(
                    "Number of float values != expected.  Values size: {} but output shape: [1]",
                    values.len()
                ))),
            };
        }
        Some(Kind::Int64List(_)) => DataType::DtInt64,
        Some(Kind::BytesList(_)) => DataType::DtString,
    };
    let name = dtype_name(dtype);
    Err(refuse(format!("Data types don't match. Data type: {name} but expected type: float")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::proto::tensorflow::{Feature, Features, FloatList, Int64List};

    fn example<const COUNT: usize>(features: [(&str, Option<Kind>); COUNT]) -> Bytes {
        let feature = features.map(|(name, kind)| (name.to_owned(), Feature { kind })).into();
        Example { features: Some(Features { feature }) }.encode_to_vec().into()
    }

    fn floats(value: &[f32]) -> Option<Kind> {
        Some(Kind::FloatList(FloatList { value: value.to_vec() }))
    }

    #[test]
    fn examples_are_parsed_or_refused_in_the_words_of_tensorflow() {
        const MISSING: &str =
            "Name: <unknown>, Feature: x (data type: float) is required but could not be found.";
        let integers = || Some(Kind::Int64List(Int64List { value: vec![1] }));
        for (bytes, expected) in [
            (example([("x", floats(&[4.0])), ("z", integers())]), Ok(4.0)),
            (example([]), Err(MISSING)),
            (example([("x", None)]), Err(MISSING)),
            (
                example([("x", integers())]),
                Err("Name: <unknown>, Key: x, Index: 1.  Data types don't match. \
                     Data type: int64 but expected type: float"),
            ),
            (
                example([("x", floats(&[1.0])), ("x2", integers())]),
                Err("Name: <unknown>, Key: x2, Index: 1.  Data types don't match. \
                     Data type: int64 but expected type: float"),
            ),
            (
                example([("x", floats(&[]))]),
                Err("Name: <unknown>, Key: x, Index: 1.  Number of float values != expected.  \
                     Values size: 0 but output shape: [1]"),
            ),
            (Bytes::from_static(b"garbage"), Err("Could not parse example input, value: 'garbage'")),
        ] {
            let strings = Tensor::of_strings(vec![example([("x", floats(&[1.0]))]), bytes]);
            let result = parse_examples(&strings).map(|tensor| (tensor.floats().last(), tensor.shape));
            let expected = expected.map(|last| (Some(last), vec![2, 1]));
            assert_eq!(result.as_ref().map_err(Error::message), expected.as_ref().map_err(|text| *text));
        }
    }
}
