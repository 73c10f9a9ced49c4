//! What a server and a model are, in the protocol's words.

use serde::Serialize;

use super::dtype;
use crate::codec::dtype as tensorflow;
use crate::codec::signature::{DEFAULT_SIGNATURE, dimensions};
use crate::error::{Error, Result};
use crate::proto::tensorflow::TensorInfo;
use crate::proto::tensorflow::serving::SignatureDefMap;

/// What the models run on, in Triton's word for it.
pub const PLATFORM: &str = "tensorflow_savedmodel";

/// The name of the server.
pub const SERVER: &str = "tfbridge";

/// What the server can do beyond the protocol's core.
pub const EXTENSIONS: [&str; 1] = ["binary_tensor_data"];

/// A model.
#[derive(Debug, PartialEq, Serialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// The versions that answer requests.
    pub versions: Vec<String>,
    /// What it runs on.
    pub platform: &'static str,
    /// What it takes, sorted by name.
    pub inputs: Vec<Tensor>,
    /// What it gives, sorted by name.
    pub outputs: Vec<Tensor>,
}

/// An input or an output.
#[derive(Debug, PartialEq, Serialize)]
pub struct Tensor {
    /// Its alias in the signature.
    pub name: String,
    /// The protocol's name of its dtype; TensorFlow's in capitals where the protocol has none.
    pub datatype: String,
    /// Its sizes, -1 where any will do. A rank that is open is written as the one size -1: the protocol
    /// knows no such thing.
    pub shape: Vec<i64>,
}

impl Model {
    /// A model by one of its signatures.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if there is no signature of that name.
    pub fn new(
        name: &str,
        mut versions: Vec<i64>,
        signatures: &SignatureDefMap,
        signature_name: &str,
    ) -> Result<Self> {
        let signature_name = if signature_name.is_empty() { DEFAULT_SIGNATURE } else { signature_name };
        let signature = signatures.signature_def.get(signature_name).ok_or_else(|| {
            Error::invalid_argument(format!(
                "Serving signature name: \"{signature_name}\" not found in signature def"
            ))
        })?;
        versions.sort_unstable();
        Ok(Self {
            name: name.to_owned(),
            versions: versions.iter().map(ToString::to_string).collect(),
            platform: PLATFORM,
            inputs: tensors(&signature.inputs),
            outputs: tensors(&signature.outputs),
        })
    }

    /// The model as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

fn tensors(infos: &std::collections::HashMap<String, TensorInfo>) -> Vec<Tensor> {
    let mut tensors: Vec<_> = infos.iter().map(|(name, info)| Tensor::new(name, info)).collect();
    tensors.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    tensors
}

impl Tensor {
    fn new(name: &str, info: &TensorInfo) -> Self {
        let dtype = tensorflow::from_wire(info.dtype);
        let datatype = dtype::name(dtype)
            .map_or_else(|| tensorflow::name(dtype).to_ascii_uppercase(), ToOwned::to_owned);
        let shape = dimensions(info).unwrap_or_else(|| vec![-1]);
        Self { name: name.to_owned(), datatype, shape }
    }
}

/// The server as JSON.
#[must_use]
pub fn server() -> Vec<u8> {
    #[derive(Serialize)]
    struct Server {
        name: &'static str,
        version: &'static str,
        extensions: &'static [&'static str],
    }
    to_json(&Server { name: SERVER, version: env!("CARGO_PKG_VERSION"), extensions: &EXTENSIONS })
}

/// Names and numbers can always be written.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensorflow::tensor_shape_proto::Dim;
    use crate::proto::tensorflow::{DataType, SignatureDef, TensorShapeProto};

    #[test]
    fn models_are_described_by_their_signature() {
        let info = |dtype: DataType, shape: Option<&[i64]>| TensorInfo {
            dtype: dtype.into(),
            tensor_shape: Some(TensorShapeProto {
                dim: shape.unwrap_or_default().iter().map(|&size| Dim { size, ..Dim::default() }).collect(),
                unknown_rank: shape.is_none(),
            }),
            ..TensorInfo::default()
        };
        let signature = SignatureDef {
            inputs: [
                ("b".to_owned(), info(DataType::DtString, None)),
                ("a".to_owned(), info(DataType::DtFloat, Some(&[-1, 4]))),
            ]
            .into(),
            outputs: [("c".to_owned(), info(DataType::DtComplex64, Some(&[])))].into(),
            ..SignatureDef::default()
        };
        let signatures =
            SignatureDefMap { signature_def: [("serving_default".to_owned(), signature)].into() };
        let model = Model::new("m", vec![10, 9], &signatures, "").unwrap();
        let expected = concat!(
            r#"{"name":"m","versions":["9","10"],"platform":"tensorflow_savedmodel","#,
            r#""inputs":[{"name":"a","datatype":"FP32","shape":[-1,4]},"#,
            r#"{"name":"b","datatype":"BYTES","shape":[-1]}],"#,
            r#""outputs":[{"name":"c","datatype":"COMPLEX64","shape":[]}]}"#
        );
        assert_eq!(String::from_utf8(model.to_json()).unwrap(), expected);
        assert_eq!(Model::new("m", vec![], &signatures, "x").unwrap_err().status(), 400);
        assert!(String::from_utf8(server()).unwrap().starts_with(r#"{"name":"tfbridge","version":"#));
    }
}
