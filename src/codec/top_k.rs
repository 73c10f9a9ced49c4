//! The best scores of a reply in place of all of them: `"top_k": 5`, or `?top_k=5`.
//!
//! Every output of floats is replaced by two that have, along its last dimension, the places of the largest
//! elements and these elements, the largest first. Of the same size the one with the lower index comes
//! first, as in TensorFlow; NaN comes last, and both zeros are the same. An only output `y` becomes `indices`
//! (int32) and `scores` (of the output's dtype), of several each becomes `y_indices` and `y_scores`. Where
//! an output has fewer elements than are wanted, all of them are there. Outputs of other dtypes and those
//! without a dimension of scores stay as they are.
//!
//! What the model does costs what it did. Only the reply is smaller, and the text that is made of it.

use std::cmp::Reverse;
use std::collections::HashMap;

use bytes::Bytes;

use super::dense::{Dense, Elements};
use super::dtype;
use super::half::{BFLOAT16, HALF};
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::PredictResponse;
use crate::proto::tensorflow::{DataType, TensorProto};

/// How many candidates there are at least before the best of them are chosen: choosing has a cost of its own.
const FEWEST: usize = 64;

/// The reply with the best scores alone. `outer` dimensions in front are never those of the scores.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if no output has scores, or the new names are those of other outputs; `INTERNAL` for
/// a tensor that contradicts itself.
pub(super) fn select(reply: &PredictResponse, count: usize, outer: usize) -> Result<PredictResponse> {
    let is_only = reply.outputs.len() == 1;
    let mut outputs = HashMap::with_capacity(reply.outputs.len() * 2);
    let mut has_scores = false;
    let mut tensors: Vec<_> = reply.outputs.iter().collect();
    tensors.sort_unstable_by_key(|(name, _)| *name);
    for (name, tensor) in tensors {
        if !is_score(tensor, outer) {
            put(&mut outputs, name.clone(), tensor.clone())?;
            continue;
        }
        has_scores = true;
        let (indices, scores) = best(&Dense::new(name, tensor)?, count)?;
        let [places, values] = names(name, is_only);
        put(&mut outputs, places, indices)?;
        put(&mut outputs, values, scores)?;
    }
    if !has_scores {
        return Err(Error::invalid_argument(
            "'top_k' wants an output of floats with a dimension of scores, and there is none",
        ));
    }
    Ok(PredictResponse { outputs, model_spec: reply.model_spec.clone() })
}

/// What the places and the scores of an output are called.
fn names(output: &str, is_only: bool) -> [String; 2] {
    ["indices", "scores"].map(|suffix| if is_only { suffix.to_owned() } else { format!("{output}_{suffix}") })
}

/// What has come of an output, one of several or the only one: it is as it was, or its places and scores.
pub(super) fn names_in(chosen: &PredictResponse, output: &str, is_only: bool) -> Vec<String> {
    if chosen.outputs.contains_key(output) { vec![output.to_owned()] } else { names(output, is_only).into() }
}

/// About how many bytes choosing takes, and the text of what is chosen, for a reply of `size` bytes.
pub(super) fn memory(reply: &PredictResponse, count: usize, size: usize) -> usize {
    // How many there are of what is chosen, what it is chosen from, and what stays as it is.
    let of = |tensor: &TensorProto| {
        let sizes = tensor.tensor_shape.iter().flat_map(|shape| &shape.dim);
        let sizes = sizes.map(|dim| usize::try_from(dim.size).unwrap_or_default());
        let (all, last) = sizes.fold((1_usize, 1), |(all, _), size| (all.saturating_mul(size), size));
        if is_float(tensor) {
            let chosen = (all / last.max(1)).saturating_mul(count.min(last));
            (chosen, count.saturating_mul(2).max(FEWEST).min(last), 0)
        } else {
            (0, 0, size)
        }
    };
    let (chosen, candidates, rest) =
        reply.outputs.values().map(of).fold((0, 0, 0), |sum: (usize, _, _), next| {
            (sum.0.saturating_add(next.0), next.1.max(sum.1), next.2.max(sum.2))
        });
    let elements = size / 8;
    // An index, a score, and a text of each; and all elements once more, if they have come in a typed field.
    let chosen = chosen.min(elements).saturating_mul(64);
    let candidates = candidates.min(elements).saturating_mul(size_of::<Candidate>());
    size.saturating_add(rest.saturating_mul(2)).saturating_add(chosen).saturating_add(candidates)
}

fn put(outputs: &mut HashMap<String, TensorProto>, name: String, tensor: TensorProto) -> Result<()> {
    if outputs.contains_key(&name) {
        return Err(Error::invalid_argument(format!(
            "'top_k' makes a second output {name:?}: choose outputs by 'output_filter'"
        )));
    }
    outputs.insert(name, tensor);
    Ok(())
}

fn is_float(tensor: &TensorProto) -> bool {
    matches!(
        dtype::from_wire(tensor.dtype),
        DataType::DtFloat | DataType::DtDouble | DataType::DtHalf | DataType::DtBfloat16
    )
}

fn is_score(tensor: &TensorProto, outer: usize) -> bool {
    is_float(tensor) && tensor.tensor_shape.as_ref().is_some_and(|shape| shape.dim.len() > outer)
}

/// The places and the values of the best elements along the last dimension.
fn best(tensor: &Dense, count: usize) -> Result<(TensorProto, TensorProto)> {
    let Elements::Numbers(numbers) = &tensor.elements else {
        return Err(Error::internal("Strings are no scores"));
    };
    let size = tensor.dimensions.last().copied().unwrap_or_default();
    if u32::try_from(tensor.len()).is_err() {
        return Err(Error::internal(format!("{} scores are more than their places can tell", tensor.len())));
    }
    let mut dimensions = tensor.dimensions.clone();
    if let Some(last) = dimensions.last_mut() {
        *last = size.min(count);
    }
    let (indices, scores) = match tensor.dtype {
        DataType::DtFloat => rows(numbers, size, count, |bytes| f64::from(f32::from_le_bytes(bytes))),
        DataType::DtDouble => rows(numbers, size, count, f64::from_le_bytes),
        DataType::DtHalf => rows(numbers, size, count, |bytes| HALF.to_f64(u16::from_le_bytes(bytes))),
        _ => rows(numbers, size, count, |bytes| BFLOAT16.to_f64(u16::from_le_bytes(bytes))),
    };
    let indices =
        Dense { dtype: DataType::DtInt32, dimensions: dimensions.clone(), elements: numbers_of(indices) };
    let scores = Dense { dtype: tensor.dtype, dimensions, elements: numbers_of(scores) };
    Ok((indices.into_proto(), scores.into_proto()))
}

fn numbers_of(bytes: Vec<u8>) -> Elements {
    Elements::Numbers(Bytes::from(bytes))
}

/// A score and its place; the best come first in order.
type Candidate = (Reverse<u64>, u32);

/// The bytes of the places and the scores of the best of every `size` elements.
fn rows<const WIDTH: usize>(
    numbers: &[u8],
    size: usize,
    count: usize,
    value: impl Fn([u8; WIDTH]) -> f64,
) -> (Vec<u8>, Vec<u8>) {
    if size == 0 {
        return (Vec::new(), Vec::new());
    }
    let (elements, _) = numbers.as_chunks::<WIDTH>();
    let chosen = elements.len() / size * size.min(count);
    let (mut indices, mut scores) =
        (Vec::with_capacity(chosen * size_of::<u32>()), Vec::with_capacity(chosen * WIDTH));
    let mut candidates = Vec::new();
    for row in elements.chunks_exact(size) {
        choose(row.iter().map(|bytes| rank(value(*bytes))), count.min(size), &mut candidates);
        for (_, index) in &candidates {
            indices.extend_from_slice(&index.to_le_bytes());
            scores.extend_from_slice(row.get(*index as usize).map_or(&[][..], |bytes| bytes));
        }
    }
    (indices, scores)
}

/// Puts the best `count` of these, in order, into `candidates`.
///
/// Once there are as many as that, most of the others are seen to be worse than all of them at a glance.
fn choose(ranks: impl Iterator<Item = u64>, count: usize, candidates: &mut Vec<Candidate>) {
    let most = count.saturating_mul(2).max(FEWEST);
    let mut worst = None;
    candidates.clear();
    for (rank, index) in ranks.zip(0..) {
        // An equal one comes later, and so after it.
        if worst.is_some_and(|worst| rank <= worst) {
            continue;
        }
        candidates.push((Reverse(rank), index));
        if candidates.len() == most {
            let (_, last, _) = candidates.select_nth_unstable(count - 1);
            worst = Some(last.0.0);
            candidates.truncate(count);
        }
    }
    candidates.sort_unstable();
    candidates.truncate(count);
}

/// A number that is larger for a larger score.
fn rank(score: f64) -> u64 {
    if score.is_nan() {
        return 0;
    }
    // Makes the negative zero positive.
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dense::shape;

    fn floats(sizes: &[usize], values: &[f32]) -> TensorProto {
        TensorProto {
            dtype: DataType::DtFloat.into(),
            tensor_shape: Some(shape(sizes)),
            float_val: values.to_vec(),
            ..TensorProto::default()
        }
    }

    fn reply(outputs: &[(&str, TensorProto)]) -> PredictResponse {
        let outputs = outputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
        PredictResponse { outputs, ..PredictResponse::default() }
    }

    fn chosen(values: &[f32], count: usize) -> Vec<u32> {
        let mut candidates = Vec::new();
        let ranks = values.iter().map(|value| rank(f64::from(*value)));
        choose(ranks, count.min(values.len()), &mut candidates);
        candidates.into_iter().map(|(_, index)| index).collect()
    }

    #[test]
    fn the_largest_come_first_then_the_lower_index_and_nan_last() {
        let (nan, far) = (f32::NAN, f32::INFINITY);
        for (values, count, expected) in [
            (&[1.0, 3.0, 2.0][..], 2, &[1, 2][..]),
            (&[1.0, 3.0, 3.0, 1.0], 9, &[1, 2, 0, 3]),
            (&[nan, -far, far, -nan, -1.0], 5, &[2, 4, 1, 0, 3]),
            (&[-0.0, 0.0, -0.0], 2, &[0, 1]),
            (&[-2.0, -1.0, -1e-40, 1e-40], 3, &[3, 2, 1]),
            (&[], 3, &[]),
        ] {
            assert_eq!(chosen(values, count), expected, "{values:?}");
        }
    }

    #[test]
    fn choosing_is_sorting() {
        let mut state = 1_u32;
        let values: Vec<f32> = (0..5000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from(u16::try_from(state >> 22).unwrap()) - 512.0
            })
            .collect();
        let mut sorted: Vec<u32> = (0..5000).collect();
        sorted.sort_by(|&left, &right| values[right as usize].total_cmp(&values[left as usize]));
        for count in [1, 2, 31, 32, 33, 100, 2500, 4999, 5000, 9000] {
            assert_eq!(chosen(&values, count), sorted[..count.min(5000)], "{count}");
        }
    }

    #[test]
    fn an_output_becomes_two() {
        let tensor = floats(&[2, 3], &[0.1, 0.7, 0.2, 0.5, 0.0, 0.5]);
        let selected = select(&reply(&[("y", tensor.clone())]), 2, 1).unwrap();
        assert_eq!(selected.outputs.len(), 2);
        let indices = Dense::new("i", &selected.outputs["indices"]).unwrap();
        let expected: Vec<u8> = [1_i32, 2, 0, 2].iter().flat_map(|index| index.to_le_bytes()).collect();
        assert_eq!((indices.dtype, indices.dimensions), (DataType::DtInt32, vec![2, 2]));
        assert_eq!(indices.elements, numbers_of(expected));
        let scores = Dense::new("s", &selected.outputs["scores"]).unwrap();
        let expected: Vec<u8> =
            [0.7_f32, 0.2, 0.5, 0.5].iter().flat_map(|score| score.to_le_bytes()).collect();
        assert_eq!((scores.dtype, scores.elements), (DataType::DtFloat, numbers_of(expected)));

        let label = TensorProto {
            dtype: DataType::DtString.into(),
            tensor_shape: Some(shape(&[2])),
            string_val: vec!["a".into(), "b".into()],
            ..TensorProto::default()
        };
        let only_rows = floats(&[2], &[1.0, 2.0]);
        let outputs = [("y", tensor), ("label", label), ("only", only_rows)];
        let selected = select(&reply(&outputs), 2, 1).unwrap();
        let mut names: Vec<_> = selected.outputs.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["label", "only", "y_indices", "y_scores"]);
        // Whole tensors have no dimension that is kept for rows.
        assert_eq!(select(&reply(&outputs), 2, 0).unwrap().outputs.len(), 5);
    }

    #[test]
    fn every_float_has_scores_of_its_own_dtype() {
        for (dtype, content) in [
            (DataType::DtHalf, [0x3c00_u16, 0xc000].map(u16::to_le_bytes).concat()),
            (DataType::DtBfloat16, [0x3f80_u16, 0xc000].map(u16::to_le_bytes).concat()),
            (DataType::DtDouble, [1.0, -2.0_f64].map(f64::to_le_bytes).concat()),
        ] {
            let tensor = TensorProto {
                dtype: dtype.into(),
                tensor_shape: Some(shape(&[2])),
                tensor_content: content.clone().into(),
                ..TensorProto::default()
            };
            let selected = select(&reply(&[("y", tensor)]), 1, 0).unwrap();
            let scores = &selected.outputs["scores"];
            assert_eq!(scores.dtype(), dtype);
            assert_eq!(scores.tensor_content, content[..content.len() / 2]);
        }
    }

    #[test]
    fn replies_without_scores_and_names_that_clash_are_refused() {
        let scalar = floats(&[], &[1.0]);
        let error = select(&reply(&[("y", scalar)]), 1, 0).unwrap_err();
        assert!(error.message().starts_with("'top_k' wants an output of floats"), "{error}");
        let vector = floats(&[2], &[1.0, 2.0]);
        let outputs = [("y", vector.clone()), ("y_scores", vector.clone()), ("y_scores_scores", vector)];
        assert!(select(&reply(&outputs[..2]), 1, 0).is_ok());
        let label = TensorProto { dtype: DataType::DtInt64.into(), ..TensorProto::default() };
        let error = select(&reply(&[outputs[0].clone(), ("y_scores", label)]), 1, 0).unwrap_err();
        assert!(error.message().contains("\"y_scores\""), "{error}");
        let huge = floats(&[1 << 40, 1 << 40], &[]);
        assert!(select(&reply(&[("y", huge)]), 1, 0).is_err());
    }
}
