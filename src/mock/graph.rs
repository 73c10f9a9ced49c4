//! What a graph is: tensors are fed and fetched by their names, as in a TensorFlow session.
//!
//! Of the tensors fed only the dtypes are compared with the signature, never the shapes: whether a
//! shape will do is the graph's own affair, as it is in TensorFlow Serving.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::tensor::{Tensor, dtype_name};
use crate::error::{Error, Result};
use crate::proto::tensorflow::tensor_info::Encoding;
use crate::proto::tensorflow::{SignatureDef, TensorInfo};

/// Signatures by name, in the order of their names.
pub(super) type Signatures = BTreeMap<String, SignatureDef>;

/// The tensors that are fed, by their names in the graph.
pub(super) type Feeds = BTreeMap<String, Tensor>;

/// Something that computes tensors from tensors.
pub(super) trait Graph: Debug + Send + Sync {
    /// Under which names, and with which tensors, the graph is called.
    fn signatures(&self) -> Signatures;

    /// Computes the tensor of the given name. The dtypes of what is fed are right.
    fn fetch(&self, feeds: &Feeds, name: &str) -> Result<Tensor>;
}

/// A tensor for an input of a signature.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    pub(super) alias: &'a str,
    pub(super) info: &'a TensorInfo,
    pub(super) tensor: Tensor,
}

/// An output of a signature that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetch<'a> {
    pub(super) alias: &'a str,
    pub(super) info: &'a TensorInfo,
}

/// Compares the dtypes with the signature, in the order of its aliases.
pub(super) fn check_dtypes(feeds: &[Feed<'_>]) -> Result<()> {
    for (index, Feed { info, tensor, .. }) in feeds.iter().enumerate() {
        if tensor.dtype != info.dtype() {
            let (expected, given) = (dtype_name(info.dtype()), dtype_name(tensor.dtype));
            let text = format!("Expects arg[{index}] to be {expected} but {given} is provided");
            return Err(Error::invalid_argument(text));
        }
    }
    Ok(())
}

/// Feeds the tensors and fetches the others in their order.
pub(super) fn run(graph: &dyn Graph, feeds: Vec<Feed<'_>>, fetches: &[Fetch<'_>]) -> Result<Vec<Tensor>> {
    let by_name = feeds.into_iter().map(|feed| (tensor_name(feed.info).to_owned(), feed.tensor)).collect();
    fetches.iter().map(|fetch| graph.fetch(&by_name, tensor_name(fetch.info))).collect()
}

/// The refusal of a fetch for which nothing was fed.
pub(super) fn not_fed(name: &str) -> Error {
    Error::invalid_argument(format!("You must feed a value for placeholder tensor '{name}'"))
}

/// The name of a signature's tensor in the graph.
pub(super) fn tensor_name(info: &TensorInfo) -> &str {
    match &info.encoding {
        Some(Encoding::Name(name)) => name,
        // Tensors of several parts have no name of their own.
        _ => "",
    }
}
