//! Answers that are made up: tensors of the dtypes and shapes that a signature declares, whatever the model
//! would have computed.
//!
//! The same request gets the same answer, in this process and in the next. No answer takes more memory than
//! a fixed limit, whatever shape a signature or a request has.

mod fixed;
mod random;
mod shapes;

use std::collections::BTreeMap;

pub(super) use self::fixed::{Fixed, Misfit};
use self::random::Rows;
pub(super) use self::random::mix;
use super::graph::{Feed, Fetch};
use super::tensor::{MOST_BYTES, MOST_ELEMENTS, Tensor, Values, dtype_name, element_count, too_large};
use crate::codec::dtype;
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;

/// What a model answers, and which inputs it takes.
#[derive(Debug, Default)]
pub(super) struct Answer {
    kind: Kind,
    seed: u64,
    /// Whether inputs may have shapes that the signature does not declare.
    any_shape: bool,
}

/// Where the values of outputs come from.
#[derive(Debug, Clone, Default)]
pub(super) enum Kind {
    /// The input of the same name, or else the first one that the output could be. Zeros without one.
    Echo,
    #[default]
    Zeros,
    /// Numbers that look random, and hang on the seed and on the inputs.
    Random,
    /// The same for every request. Outputs for which there is nothing are zeros.
    Fixed(BTreeMap<(String, String), Fixed>),
}

impl Answer {
    /// The seed is different for each version of each model.
    pub(super) fn new(kind: Kind, seed: u64, any_shape: bool, model: &str, version: i64) -> Self {
        Self { kind, seed: random::seed_of(seed, model, version), any_shape }
    }

    /// Makes up the outputs of a signature, in their order.
    pub(super) fn give(
        &self,
        signature: &str,
        feeds: &[Feed<'_>],
        fetches: &[Fetch<'_>],
    ) -> Result<Vec<Tensor>> {
        if !self.any_shape {
            shapes::check(signature, feeds)?;
        }
        let batch = shapes::batch(feeds);
        let rows = Rows::new(self.seed, signature, feeds, batch);
        let mut room = MOST_BYTES;
        let answer = |fetch: &Fetch<'_>| {
            let shape = shapes::resolve(fetch, feeds, batch);
            let blank = Blank::new(fetch.info.dtype(), shape, &mut room)?;
            Ok(match &self.kind {
                Kind::Zeros => blank.zeros(),
                Kind::Random => rows.fill(blank, fetch),
                Kind::Echo => echo(feeds, fetch).cloned().unwrap_or_else(|| blank.zeros()),
                Kind::Fixed(values) => match values.get(&(signature.to_owned(), fetch.alias.to_owned())) {
                    Some(value) => value.give(blank, batch, &mut room)?,
                    None => blank.zeros(),
                },
            })
        };
        fetches.iter().map(answer).collect()
    }
}

/// The input that an output repeats.
fn echo<'a>(feeds: &'a [Feed<'_>], fetch: &Fetch<'_>) -> Option<&'a Tensor> {
    let fits = |feed: &&Feed<'_>| {
        feed.tensor.dtype == fetch.info.dtype() && shapes::fits(fetch.info, &feed.tensor.shape)
    };
    let same = feeds.iter().find(|feed| feed.alias == fetch.alias).filter(fits);
    same.or_else(|| feeds.iter().find(fits)).map(|feed| &feed.tensor)
}

/// A tensor without values, of a size that memory has room for.
#[derive(Debug)]
struct Blank {
    dtype: DataType,
    shape: Vec<i64>,
    count: usize,
    /// Bytes per number; `None` for strings.
    width: Option<usize>,
}

impl Blank {
    /// Takes what it needs out of the room that an answer has.
    fn new(dtype: DataType, shape: Vec<i64>, room: &mut usize) -> Result<Self> {
        let width = dtype::width(dtype);
        if width.is_none() && dtype != DataType::DtString {
            let text = format!("The mock makes no tensors of type {}", dtype_name(dtype));
            return Err(Error::unimplemented(text));
        }
        let count = element_count(&shape).unwrap_or(usize::MAX);
        let size = count.saturating_mul(width.unwrap_or(STRING_SIZE));
        if count > MOST_ELEMENTS || size > *room {
            return Err(too_large(dtype, &shape));
        }
        *room -= size;
        Ok(Self { dtype, shape, count, width })
    }

    fn zeros(self) -> Tensor {
        let values = match self.width {
            Some(width) => Values::Numbers(vec![0; self.count * width].into()),
            None => Values::Strings(vec![bytes::Bytes::new(); self.count]),
        };
        Tensor { dtype: self.dtype, shape: self.shape, values }
    }
}

/// What a string of ours takes, with the eight letters that it may have.
const STRING_SIZE: usize = size_of::<bytes::Bytes>() + 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::signature::{shaped, unshaped};
    use crate::proto::tensorflow::TensorInfo;

    const FLOAT: DataType = DataType::DtFloat;

    fn floats(shape: &[i64]) -> Tensor {
        let count = u16::try_from(shape.iter().product::<i64>()).unwrap();
        Tensor::of_floats(shape.to_vec(), (1..=count).map(f32::from))
    }

    fn answer(
        kind: Kind,
        inputs: &[(&str, TensorInfo, Tensor)],
        outputs: &[(&str, TensorInfo)],
    ) -> Result<Vec<Tensor>> {
        let feeds: Vec<_> =
            inputs.iter().map(|(alias, info, tensor)| Feed { alias, info, tensor: tensor.clone() }).collect();
        let fetches: Vec<_> = outputs.iter().map(|(alias, info)| Fetch { alias, info }).collect();
        Answer::new(kind, 7, false, "m", 1).give("serving_default", &feeds, &fetches)
    }

    #[test]
    fn outputs_have_the_shapes_that_the_signature_declares() {
        let check = |input: &[i64], given: &[i64], output: &[i64], expected: &[i64]| {
            let inputs = [("x", shaped("x:0", FLOAT, input), floats(given))];
            for kind in [Kind::Zeros, Kind::Random, Kind::Echo] {
                let tensors = answer(kind, &inputs, &[("y", shaped("y:0", FLOAT, output))]).unwrap();
                assert_eq!(tensors[0].shape, expected);
                assert_eq!(
                    tensors[0].floats().count(),
                    usize::try_from(expected.iter().product::<i64>()).unwrap()
                );
            }
        };
        check(&[-1, 4], &[3, 4], &[-1, 10], &[3, 10]);
        check(&[-1, -1], &[3, 5], &[-1, -1], &[3, 5]);
        check(&[-1, -1], &[3, 5], &[-1, -1, 2], &[3, 1, 2]);
        check(&[-1, 4], &[0, 4], &[-1, 10], &[0, 10]);
        check(&[2], &[2], &[], &[]);
        check(&[], &[], &[-1, 2], &[1, 2]);
        let any = || unshaped("x:0", FLOAT);
        let inputs = [("x", any(), floats(&[2, 3])), ("z", any(), floats(&[4]))];
        let outputs = [("y", unshaped("y:0", DataType::DtInt64)), ("z", any())];
        let tensors = answer(Kind::Zeros, &inputs, &outputs).unwrap();
        assert_eq!((&tensors[0].shape[..], &tensors[1].shape[..]), (&[2, 3][..], &[4][..]));
        assert_eq!(answer(Kind::Zeros, &[], &outputs).unwrap()[0].shape, [0_i64; 0]);
    }

    #[test]
    fn an_echo_prefers_the_name_and_repeats_only_what_fits() {
        let any = || shaped("x:0", FLOAT, &[-1]);
        let inputs = [("a", any(), floats(&[1])), ("b", any(), floats(&[3]))];
        let outputs = [
            ("b", any()),
            ("c", any()),
            ("d", shaped("d:0", FLOAT, &[-1, 2])),
            ("e", shaped("e:0", DataType::DtString, &[-1])),
        ];
        let tensors = answer(Kind::Echo, &inputs, &outputs).unwrap();
        assert_eq!(tensors[0], floats(&[3]));
        assert_eq!(tensors[1], floats(&[1]));
        assert_eq!(tensors[2], Tensor::of_floats(vec![1, 2], [0.0, 0.0].into_iter()));
        assert_eq!(tensors[3].strings(), [""]);
    }

    #[test]
    fn shapes_that_the_signature_does_not_declare_are_refused() {
        let check = |declared: &[i64], given: &[i64], is_fine: bool| {
            let inputs = [("x", shaped("x:0", FLOAT, declared), floats(given))];
            assert_eq!(answer(Kind::Zeros, &inputs, &[]).is_ok(), is_fine, "{declared:?} {given:?}");
        };
        check(&[-1, 4], &[3, 4], true);
        check(&[-1, 4], &[3, 5], false);
        check(&[-1, 4], &[4], false);
        check(&[], &[], true);
        check(&[], &[1], false);
        let inputs = [("x", shaped("x:0", FLOAT, &[-1, 4]), floats(&[3, 5]))];
        assert_eq!(
            answer(Kind::Zeros, &inputs, &[]).unwrap_err().to_string(),
            "INVALID_ARGUMENT: Input \"x\" has the shape [3,5], but signature \"serving_default\" declares [-1,4]"
        );
    }

    #[test]
    fn no_shape_takes_more_memory_than_the_limit() {
        let huge = [("y", shaped("y:0", FLOAT, &[1 << 40, 1 << 40]))];
        let large = || shaped("y:0", DataType::DtString, &[8 << 20]);
        let outputs = [("a", large()), ("b", large())];
        for outputs in [&huge[..], &outputs] {
            let error = answer(Kind::Random, &[], outputs).unwrap_err();
            assert_eq!(error.code(), tonic::Code::ResourceExhausted, "{error}");
        }
        let outputs = [("y", shaped("y:0", DataType::DtVariant, &[]))];
        assert_eq!(
            answer(Kind::Zeros, &[], &outputs).unwrap_err().message(),
            "The mock makes no tensors of type variant"
        );
    }
}
