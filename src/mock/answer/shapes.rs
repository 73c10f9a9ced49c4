//! The shapes of inputs and outputs beside those that a signature declares.

use super::super::graph::{Feed, Fetch};
use super::super::tensor::shape_text;
use crate::error::{Error, Result};
use crate::proto::tensorflow::TensorInfo;

/// The sizes that a signature declares, less than zero where any will do; `None` if even the rank is open.
fn declared(info: &TensorInfo) -> Option<impl Iterator<Item = i64>> {
    let shape = info.tensor_shape.as_ref().filter(|shape| !shape.unknown_rank)?;
    Some(shape.dim.iter().map(|dim| dim.size))
}

/// How many dimensions a signature declares, if it tells.
pub(super) fn rank(info: &TensorInfo) -> Option<usize> {
    declared(info).map(Iterator::count)
}

/// True if a tensor may have this shape.
pub(super) fn fits(info: &TensorInfo, shape: &[i64]) -> bool {
    let Some(sizes) = declared(info) else { return true };
    let sizes: Vec<i64> = sizes.collect();
    let fits = |(&declared, &given): (&i64, &i64)| declared < 0 || declared == given;
    sizes.len() == shape.len() && sizes.iter().zip(shape).all(fits)
}

/// Refuses inputs of other shapes than the signature declares.
pub(super) fn check(signature: &str, feeds: &[Feed<'_>]) -> Result<()> {
    let Some(feed) = feeds.iter().find(|feed| !fits(feed.info, &feed.tensor.shape)) else { return Ok(()) };
    let sizes: Vec<i64> = declared(feed.info).into_iter().flatten().collect();
    let (alias, given, declared) = (feed.alias, shape_text(&feed.tensor.shape), shape_text(&sizes));
    Err(Error::invalid_argument(format!(
        "Input {alias:?} has the shape {given}, but signature {signature:?} declares {declared}"
    )))
}

/// How many rows the inputs have: the first size of the first input that has it open, or else 1.
pub(super) fn batch(feeds: &[Feed<'_>]) -> i64 {
    let is_open = |feed: &&Feed<'_>| is_batch(feed.info);
    feeds.iter().filter(is_open).find_map(|feed| feed.tensor.shape.first()).copied().unwrap_or(1)
}

/// True if the first size may be any.
pub(super) fn is_batch(info: &TensorInfo) -> bool {
    declared(info).is_none_or(|mut sizes| sizes.next().is_some_and(|size| size < 0))
}

/// The shape of an output. What the signature leaves open is as the inputs have it, the one of the same name
/// before the others.
pub(super) fn resolve(fetch: &Fetch<'_>, feeds: &[Feed<'_>], batch: i64) -> Vec<i64> {
    let Some(sizes) = declared(fetch.info) else {
        let like = feeds.iter().find(|feed| feed.alias == fetch.alias).or(feeds.first());
        return like.map(|feed| feed.tensor.shape.clone()).unwrap_or_default();
    };
    let mut shape: Vec<i64> = sizes.collect();
    let rank = shape.len();
    let like = feeds.iter().map(|feed| &feed.tensor.shape).find(|given| given.len() == rank);
    for (index, size) in shape.iter_mut().enumerate().filter(|(_, size)| **size < 0) {
        *size = match index {
            0 => batch,
            _ => like.and_then(|given| given.get(index)).copied().unwrap_or(1),
        };
    }
    shape
}
