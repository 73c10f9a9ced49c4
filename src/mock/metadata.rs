//! The `GetModelMetadata` call: the signatures of a version.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensorflow::serving::ModelSpec;

    fn request(name: Option<&str>, fields: &[&str]) -> GetModelMetadataRequest {
        GetModelMetadataRequest {
            model_spec: name.map(|name| ModelSpec { name: name.to_owned(), ..ModelSpec::default() }),
            metadata_field: fields.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn signatures_are_packed_whole() {
        let reply = get(&Models::builtin(), &request(Some("half_plus_two"), &[FIELD])).unwrap();
        assert_eq!(reply.model_spec, Some(served_spec("half_plus_two", "", 124)));
        let packed = &reply.metadata[FIELD];
        assert_eq!(packed.type_url, TYPE_URL);
        let map = SignatureDefMap::decode(packed.value.as_slice()).unwrap().signature_def;
        assert_eq!(map.len(), 6);
        assert_eq!(map["regress_x2_to_y3"].inputs["inputs"].tensor_shape.as_ref().unwrap().dim[0].size, -1);
    }

    #[test]
    fn other_requests_are_refused() {
        for (name, fields, expected) in [
            (None, &[][..], "Missing ModelSpec"),
            (Some("m"), &[], "GetModelMetadataRequest must specify at least one metadata_field"),
            (Some("m"), &[FIELD, "f"], "Metadata field f is not supported"),
            (Some("m"), &[FIELD], "Servable not found for request: Latest(m)"),
        ] {
            assert_eq!(get(&Models::builtin(), &request(name, fields)).unwrap_err().message(), expected);
        }
    }
}
