//! Model status and metadata: replies of the backend as JSON, by protobuf's own JSON mapping.
//!
//! Field names stay as in the protos, fields without presence are always written, 64-bit
//! integers are strings and keys are sorted.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::proto::DESCRIPTORS;
use crate::proto::tensorflow::serving::{
    GetModelMetadataRequest, GetModelMetadataResponse, GetModelStatusResponse, ModelSpec,
    ReloadConfigRequest, SignatureDefMap,
};

/// The one kind of metadata that servers have.
pub const SIGNATURE_DEF: &str = "signature_def";

static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).ok());

/// The request for the signatures of a model.
#[must_use]
pub fn metadata_request(spec: ModelSpec) -> GetModelMetadataRequest {
    GetModelMetadataRequest { model_spec: Some(spec), metadata_field: vec![SIGNATURE_DEF.to_owned()] }
}

/// The JSON of the versions of a model, newest first as the backend lists them.
///
/// # Errors
///
/// `INTERNAL` if the reply cannot be expressed, which no reply of a server can bring about.
pub fn encode_status(reply: &GetModelStatusResponse) -> Result<Vec<u8>> {
    Ok(to_bytes(&to_json("tensorflow.serving.GetModelStatusResponse", &reply.encode_to_vec())?))
}

/// The JSON of a model's signatures.
///
/// # Errors
///
/// `INTERNAL` if the reply holds no signatures or something else in their place.
pub fn encode_metadata(reply: &GetModelMetadataResponse) -> Result<Vec<u8>> {
    let spec = reply.model_spec.clone().unwrap_or_default();
    let signatures = to_json("tensorflow.serving.SignatureDefMap", packed_signatures(reply)?)?;
    Ok(to_bytes(&json!({
        "model_spec": to_json("tensorflow.serving.ModelSpec", &spec.encode_to_vec())?,
        "metadata": { SIGNATURE_DEF: signatures },
    })))
}

/// The signatures inside a metadata reply.
///
/// # Errors
///
/// `INTERNAL` as from [`encode_metadata`].
pub fn decode_signatures(reply: &GetModelMetadataResponse) -> Result<SignatureDefMap> {
    SignatureDefMap::decode(packed_signatures(reply)?).map_err(|error| unpack_error().with_source(error))
}

/// The signatures in the JSON that [`encode_metadata`] writes, and the version that they are of.
///
/// # Errors
///
/// `INTERNAL` if it is something else.
pub fn decode_metadata(json: &[u8]) -> Result<(Option<i64>, SignatureDefMap)> {
    let wrong = |error: &dyn std::fmt::Display| {
        Error::internal(format!("The metadata of the model cannot be read: {error}"))
    };
    let mut json: Value = serde_json::from_slice(json).map_err(|error| wrong(&error))?;
    let version = json["model_spec"]["version"].as_str().and_then(|text| text.parse().ok());
    let mut signatures = json.pointer_mut("/metadata/signature_def").map(Value::take).unwrap_or_default();
    // Other servers write the type of what they have packed, too.
    if let Some(members) = signatures.as_object_mut() {
        members.remove("@type");
    }
    let descriptor = descriptor("tensorflow.serving.SignatureDefMap")?;
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let message = DynamicMessage::deserialize_with_options(descriptor, signatures, &options)
        .map_err(|error| wrong(&error))?;
    Ok((version, message.transcode_to().map_err(|error| wrong(&error))?))
}

fn packed_signatures(reply: &GetModelMetadataResponse) -> Result<&[u8]> {
    let any = reply.metadata.get(SIGNATURE_DEF).ok_or_else(|| {
        Error::internal("Failed to find 'signature_def' key in the GetModelMetadataResponse metadata map.")
    })?;
    if any.type_url.rsplit('/').next() != Some("tensorflow.serving.SignatureDefMap") {
        return Err(unpack_error());
    }
    Ok(&any.value)
}

fn unpack_error() -> Error {
    Error::internal("Failed to unpack 'Any' object to 'SignatureDefMap'.")
}

/// An encoded message as a JSON value, in which objects sort their keys.
fn to_json(message: &str, encoded: &[u8]) -> Result<Value> {
    let message = DynamicMessage::decode(descriptor(message)?, encoded)
        .map_err(|error| unpack_error().with_source(error))?;
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| Error::internal("A reply of the backend has no JSON form").with_source(error))
}

/// A new model config in protobuf's JSON, with the field names of the protos or in camel case.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if it is something else; unknown fields are not passed over.
pub fn decode_reload(json: &[u8]) -> Result<ReloadConfigRequest> {
    let invalid = |error: serde_json::Error| {
        Error::invalid_argument(format!("The body is no ReloadConfigRequest: {error}"))
    };
    let descriptor = descriptor("tensorflow.serving.ReloadConfigRequest")?;
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let message = DynamicMessage::deserialize(descriptor, &mut deserializer).map_err(invalid)?;
    deserializer.end().map_err(invalid)?;
    message.transcode_to().map_err(|error| unpack_error().with_source(error))
}

/// What our protos say of a message.
pub(crate) fn descriptor(message: &str) -> Result<MessageDescriptor> {
    let pool = POOL.as_ref();
    pool.and_then(|pool| pool.get_message_by_name(message))
        .ok_or_else(|| Error::internal(format!("{message} is not among our protos")))
}

fn to_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_as_servers_print_it() {
        let json = r#"{
            "model_spec": {"name": "m", "signature_name": "", "version": "7"},
            "metadata": {"signature_def": {
                "@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap",
                "signature_def": {"serving_default": {
                    "inputs": {"x": {
                        "name": "x:0", "dtype": "DT_FLOAT", "later": {"fields": []},
                        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": false}
                    }},
                    "outputs": {}, "method_name": "tensorflow/serving/predict"
                }}
            }}
        }"#;
        let (version, map) = decode_metadata(json.as_bytes()).unwrap();
        let signature = &map.signature_def["serving_default"];
        let input = &signature.inputs["x"];
        assert_eq!((version, signature.method_name.as_str()), (Some(7), "tensorflow/serving/predict"));
        assert_eq!((input.dtype, input.tensor_shape.as_ref().unwrap().dim[0].size), (1, -1));
        for bad in ["", "{}", "[]", r#"{"metadata": {"signature_def": 1}}"#] {
            let error = decode_metadata(bad.as_bytes()).unwrap_err();
            assert!(error.message().starts_with("The metadata of the model cannot be read: "), "{error}");
        }
    }
}
