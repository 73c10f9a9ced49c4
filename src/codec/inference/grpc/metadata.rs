//! What a model takes and gives, from its signature.

use std::collections::HashMap;

use crate::codec::dtype as tensor_dtype;
use crate::codec::inference::dtype;
use crate::codec::model;
use crate::codec::signature::DEFAULT_SIGNATURE;
use crate::error::{Error, Result};
use crate::proto::inference::ModelMetadataResponse;
use crate::proto::inference::model_metadata_response::TensorMetadata;
use crate::proto::tensorflow::TensorInfo;
use crate::proto::tensorflow::serving::model_version_status::State;
use crate::proto::tensorflow::serving::{GetModelMetadataResponse, GetModelStatusResponse};

/// What the protocol calls a SavedModel.
const PLATFORM: &str = "tensorflow_savedmodel";

/// The metadata of a model, of its default signature or else the first one that has inputs.
///
/// # Errors
///
/// `INTERNAL` if the reply holds no signatures, `NOT_FOUND` if none can be run.
pub fn metadata(
    name: &str,
    status: &GetModelStatusResponse,
    reply: &GetModelMetadataResponse,
) -> Result<ModelMetadataResponse> {
    let mut signatures: Vec<_> = model::decode_signatures(reply)?.signature_def.into_iter().collect();
    signatures.retain(|(_, signature)| !signature.inputs.is_empty());
    signatures.sort_by(|(left, _), (right, _)| {
        (left != DEFAULT_SIGNATURE, left).cmp(&(right != DEFAULT_SIGNATURE, right))
    });
    let (_, signature) = signatures
        .into_iter()
        .next()
        .ok_or_else(|| Error::not_found(format!("The model {name} has no signature that can be run")))?;
    let mut versions: Vec<_> = status
        .model_version_status
        .iter()
        .filter(|version| version.state() == State::Available)
        .map(|version| version.version)
        .collect();
    versions.sort_unstable();
    Ok(ModelMetadataResponse {
        name: name.to_owned(),
        versions: versions.iter().map(ToString::to_string).collect(),
        platform: PLATFORM.to_owned(),
        inputs: tensors(&signature.inputs),
        outputs: tensors(&signature.outputs),
    })
}

/// Tensors sorted by name.
fn tensors(infos: &HashMap<String, TensorInfo>) -> Vec<TensorMetadata> {
    let mut infos: Vec<_> = infos.iter().collect();
    infos.sort_by_key(|(name, _)| *name);
    infos.into_iter().map(|(name, info)| tensor(name, info)).collect()
}

fn tensor(name: &str, info: &TensorInfo) -> TensorMetadata {
    let dtype = tensor_dtype::from_wire(info.dtype);
    // What the protocol has no name for is told by TensorFlow's.
    let datatype = dtype::name(dtype).map_or_else(|| tensor_dtype::name(dtype).to_uppercase(), str::to_owned);
    let shape = match &info.tensor_shape {
        Some(shape) if !shape.unknown_rank => shape.dim.iter().map(|dim| dim.size).collect(),
        // The protocol has no open rank.
        _ => vec![-1],
    };
    TensorMetadata { name: name.to_owned(), datatype, shape }
}
