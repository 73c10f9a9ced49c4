//! The GetModelMetadata call: the signatures of a version.

use std::collections::HashMap;

use prost::Message as _;
use prost_types::Any;

use super::models::Models;
use super::predict::{missing_spec, served_spec};
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::{GetModelMetadataRequest, GetModelMetadataResponse, SignatureDefMap};

/// The only field of metadata that there is.
const FIELD: &str = "signature_def";

const TYPE_URL: &str = "type.googleapis.com/tensorflow.serving.SignatureDefMap";

/// Describes a version of a model.
pub(super) fn get(models: &Models, request: &GetModelMetadataRequest) -> Result<GetModelMetadataResponse> {
    let spec = request.model_spec.as_ref().ok_or_else(missing_spec)?;
    if request.metadata_field.is_empty() {
        let text = "GetModelMetadataRequest must specify at least one metadata_field";
        return Err(Error::invalid_argument(text));
    }
    if let Some(field) = request.metadata_field.iter().find(|field| *field != FIELD) {
        return Err(Error::invalid_argument(format!("Metadata field {field} is not supported")));
    }
    let servable = models.find(spec)?;
    let signatures = &servable.program.signatures;
    let map = SignatureDefMap {
        signature_def: signatures.iter().map(|(name, signature)| (name.clone(), signature.clone())).collect(),
    };
    let packed = Any { type_url: TYPE_URL.to_owned(), value: map.encode_to_vec() };
    Ok(GetModelMetadataResponse {
        model_spec: Some(served_spec(&spec.name, "", servable.version)),
        metadata: HashMap::from([(FIELD.to_owned(), packed)]),
    })
}
