//! A value that an output always has, whatever the request holds.
//!
//! It is written as in the columnar format of the REST API, a list of lists of numbers or strings.

use bytes::Bytes;

use super::super::tensor::{Tensor, Values, shape_text, too_large};
use super::{Blank, shapes};
use crate::codec::Limits;
use crate::codec::predict;
use crate::codec::signature::{Input, Signature};
use crate::error::Result;
use crate::proto::tensorflow::TensorInfo;

/// A value that fits its output.
#[derive(Debug, Clone)]
pub(in crate::mock) struct Fixed {
    tensor: Tensor,
    repeats: Repeats,
}

/// How often a value is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeats {
    /// Once: it is all of the output.
    Once,
    /// Once a row.
    Rows,
    /// For each of the elements.
    Elements,
}

/// Why a value is not one of the output, as the end of a sentence.
#[derive(Debug)]
pub(in crate::mock) struct Misfit(pub(in crate::mock) String);

impl Fixed {
    /// Reads the JSON of a value for an output.
    pub(in crate::mock) fn read(alias: &str, info: &TensorInfo, json: &str) -> Result<Self, Misfit> {
        let input = Input { name: alias.to_owned(), dtype: info.dtype(), shape: None };
        let signatures = [(String::from("serving_default"), Signature::new(vec![input]))];
        let body = format!("{{\"inputs\": {{{}: {json}}}}}", serde_json::Value::from(alias));
        let misfit = |error: crate::error::Error| Misfit(error.message().to_owned());
        let decoded =
            predict::decode(&Bytes::from(body), &signatures.into_iter().collect(), &Limits::default());
        let mut inputs = decoded.map_err(misfit)?.inputs;
        let proto = inputs.remove(alias).unwrap_or_default();
        let tensor = Tensor::from_proto(alias, &proto).map_err(misfit)?;
        let repeats = repeats(info, &tensor.shape).ok_or_else(|| {
            let declared = info.tensor_shape.iter().flat_map(|shape| &shape.dim).map(|dim| dim.size);
            let declared = shape_text(&declared.collect::<Vec<_>>());
            let given = shape_text(&tensor.shape);
            Misfit(format!("has the shape {given}, but the signature declares {declared}"))
        })?;
        Ok(Self { tensor, repeats })
    }

    /// The output, in place of one without values.
    pub(super) fn give(&self, blank: Blank, batch: i64, room: &mut usize) -> Result<Tensor> {
        let Tensor { dtype, shape, values } = &self.tensor;
        let (shape, times) = match self.repeats {
            Repeats::Once => return Ok(self.tensor.clone()),
            Repeats::Elements => (blank.shape, blank.count),
            Repeats::Rows => {
                let mut repeated = shape.clone();
                // A single row was written with its own size of 1, or without.
                if repeated.len() == blank.shape.len() {
                    repeated.remove(0);
                }
                repeated.insert(0, batch);
                (repeated, usize::try_from(batch).unwrap_or(usize::MAX))
            }
        };
        let size = match values {
            Values::Numbers(packed) => packed.len(),
            // In a reply each of them has bytes of its own.
            Values::Strings(strings) => strings.iter().map(|string| size_of::<Bytes>() + string.len()).sum(),
        };
        if size.saturating_mul(times) > *room {
            return Err(too_large(*dtype, &shape));
        }
        *room -= size * times;
        let values = match values {
            // Nothing is as much however often it is there.
            _ if size == 0 => values.clone(),
            Values::Numbers(packed) => Values::Numbers(packed.repeat(times).into()),
            Values::Strings(strings) => {
                Values::Strings(std::iter::repeat_n(strings, times).flatten().cloned().collect())
            }
        };
        Ok(Tensor { dtype: *dtype, shape, values })
    }
}

fn repeats(info: &TensorInfo, given: &[i64]) -> Option<Repeats> {
    let has_rows = shapes::is_batch(info);
    let row = [&[1], given].concat();
    match shapes::rank(info) {
        Some(rank) if rank > 0 && given.is_empty() => Some(Repeats::Elements),
        Some(_) if has_rows && shapes::fits(info, given) && given.first() == Some(&1) => Some(Repeats::Rows),
        _ if shapes::fits(info, given) => Some(Repeats::Once),
        _ if has_rows && shapes::fits(info, &row) => Some(Repeats::Rows),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::signature::{shaped, unshaped};
    use crate::proto::tensorflow::DataType;

    fn give(dtype: DataType, declared: &[i64], json: &str) -> Result<Tensor, String> {
        let info = shaped("y:0", dtype, declared);
        let fixed = Fixed::read("y", &info, json).map_err(|misfit| misfit.0)?;
        let shape = declared.iter().map(|&size| if size < 0 { 2 } else { size }).collect();
        let mut room = 1 << 20;
        let blank = Blank::new(dtype, shape, &mut room).map_err(|error| error.message().to_owned())?;
        fixed.give(blank, 2, &mut room).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_row_is_repeated_and_a_whole_is_not() {
        let check = |declared: &[i64], json: &str, shape: &[i64], values: &[f32]| {
            let tensor = give(DataType::DtFloat, declared, json).unwrap();
            assert_eq!(
                (tensor.shape.as_slice(), tensor.floats().collect::<Vec<_>>()),
                (shape, values.to_vec())
            );
        };
        check(&[-1, 2], "[1, 2]", &[2, 2], &[1.0, 2.0, 1.0, 2.0]);
        check(&[-1, 2], "[[1, 2]]", &[2, 2], &[1.0, 2.0, 1.0, 2.0]);
        check(&[-1, 2], "[[1, 2], [3, 4]]", &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        check(&[-1, 2], "[[1, 2], [3, 4], [5, 6]]", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        check(&[-1, 2], "0.5", &[2, 2], &[0.5; 4]);
        check(&[-1], "0.5", &[2], &[0.5; 2]);
        check(&[], "0.5", &[], &[0.5]);
        check(&[2], "[1, 2]", &[2], &[1.0, 2.0]);
    }

    #[test]
    fn values_are_of_the_dtype_of_the_output() {
        let tensor = give(DataType::DtString, &[-1, 1], r#"["a"]"#).unwrap();
        assert_eq!(tensor.strings(), ["a", "a"]);
        let tensor = give(DataType::DtString, &[], r#"{"b64": "/w=="}"#).unwrap();
        assert_eq!(tensor.strings(), [&b"\xff"[..]]);
        for (dtype, declared, json, expected) in [
            (DataType::DtInt8, &[-1][..], "[1000]", "1000"),
            (
                DataType::DtFloat,
                &[-1, 2],
                "[1, 2, 3]",
                "has the shape [3], but the signature declares [-1,2]",
            ),
            (DataType::DtFloat, &[], "[1]", "has the shape [1], but the signature declares []"),
            (DataType::DtFloat, &[-1], "\"a\"", "a"),
        ] {
            let error = give(dtype, declared, json).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Fixed::read("y", &unshaped("y:0", DataType::DtFloat), "[[1, 2], [3, 4]]").is_ok());
    }

    #[test]
    fn repetition_is_bounded() {
        let info = shaped("y:0", DataType::DtFloat, &[-1, 2]);
        let fixed = Fixed::read("y", &info, "[1, 2]").unwrap();
        let blank = Blank::new(DataType::DtFloat, vec![2, 2], &mut 100).unwrap();
        let error = fixed.give(blank, 2, &mut 15).unwrap_err();
        assert_eq!(error.message(), "OOM when allocating tensor with shape[2,2] and type float");
    }
}
