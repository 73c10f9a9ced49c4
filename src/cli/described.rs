//! What is known of a model before it is asked to predict: its versions and its signatures, from either side; and
//! inputs for it where nobody has given any.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tonic::Code;

use super::client::{Client, accepted, encoded};
use super::grpc::Grpc;
use crate::codec::catalog::{Model, Signature};
use crate::codec::predict::Inputs;
use crate::codec::signature::{DEFAULT_SIGNATURE, Signatures};
use crate::codec::{Limits, model, predict, sample};
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::proto::tensorflow::serving::model_version_status::State;
use crate::proto::tensorflow::serving::{ModelSpec, SignatureDefMap};

/// What a signature for predictions is made for.
const PREDICT: &str = "tensorflow/serving/predict";

/// A model with its signatures.
#[derive(Debug)]
pub(super) struct Described {
    model: Model,
    /// The inputs, as the codec needs them.
    signatures: Signatures,
    /// Whether a version can be asked; `None` if the server does not tell.
    state: Option<&'static str>,
}

impl Described {
    /// Asks a server of the REST API.
    ///
    /// # Errors
    ///
    /// What the server says, and that it cannot be reached.
    pub(super) async fn over_http(client: &Client, name: &str) -> Result<Self> {
        let path = format!("/v1/models/{}", encoded(name));
        let state = match client.get(&path).await {
            Ok(status) => Some(state(&status)),
            Err(error) if error.status() == StatusCode::NOT_IMPLEMENTED => None,
            Err(error) => return Err(error),
        };
        let response = client.exchange(Method::GET, &format!("{path}/metadata"), &[], Bytes::new()).await?;
        let (version, signatures) = model::decode_metadata(accepted(response)?.body())?;
        Ok(Self::new(name, version, &signatures, state))
    }

    /// Asks a model server.
    ///
    /// # Errors
    ///
    /// What the server says, and that it cannot be reached.
    pub(super) async fn over_grpc(grpc: &Grpc, name: &str) -> Result<Self> {
        let state = match grpc.status(name).await {
            Ok(status) => Some(Model::unknown(name, None).with_status(&status).state),
            Err(error) if error.code() == Code::Unimplemented => None,
            Err(error) => return Err(error.into()),
        };
        let metadata = grpc.metadata(name).await?;
        let version = metadata.model_spec.as_ref().and_then(version);
        Ok(Self::new(name, version, &model::decode_signatures(&metadata)?, state))
    }

    fn new(
        name: &str,
        version: Option<i64>,
        signatures: &SignatureDefMap,
        state: Option<&'static str>,
    ) -> Self {
        let model = Model::unknown(name, None).with_signatures(version, signatures);
        Self { model, signatures: signatures.into(), state }
    }

    /// The version that answers, if it is told.
    pub(super) fn version(&self) -> Option<i64> {
        self.model.version
    }

    /// Its state, for people.
    pub(super) fn state(&self) -> &'static str {
        self.state.unwrap_or("of unknown state")
    }

    /// False if the server says that no version can be asked.
    pub(super) fn is_available(&self) -> bool {
        self.state.is_none_or(|state| state == State::Available.as_str_name())
    }

    /// The names of its signatures.
    pub(super) fn names(&self) -> Vec<&str> {
        self.model.signatures.iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    /// A signature: that of this name, else the default one, else the first that is made for predictions.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if there is none, with those that there are.
    pub(super) fn signature(&self, wanted: Option<&str>) -> Result<(&str, &Signature)> {
        let signatures = || self.model.signatures.iter().flatten();
        let found = match wanted {
            Some(wanted) => signatures().find(|(name, _)| name.as_str() == wanted),
            None => signatures()
                .find(|(name, _)| name.as_str() == DEFAULT_SIGNATURE)
                .or_else(|| signatures().find(|(_, signature)| signature.method_name == PREDICT)),
        };
        found.map(|(name, signature)| (name.as_str(), signature)).ok_or_else(|| {
            let wanted = wanted.map_or_else(|| "for predictions".to_owned(), |name| format!("{name:?}"));
            Error::invalid_argument(format!(
                "The model {} has no signature {wanted}; it has: {}",
                self.model.name,
                self.names().join(", ")
            ))
        })
    }

    /// A body for a signature, with so many rows where the signature leaves that open.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if there can be none.
    pub(super) fn sample(&self, name: &str, rows: usize, seed: Option<u64>) -> Result<Value> {
        let (name, signature) = self.signature(Some(name))?;
        let mut signature = signature.clone();
        let size = i64::try_from(rows).unwrap_or(i64::MAX);
        for tensor in signature.inputs.values_mut() {
            if let Some(first @ -1) = tensor.shape.as_mut().and_then(|shape| shape.first_mut()) {
                *first = size;
            }
        }
        let mut source = seed.map_or_else(sample::Source::plain, sample::Source::random);
        // Rows are what most requests have.
        let body = sample::row_of(&signature, &mut source.clone())
            .or_else(|| sample::columnar_of(&signature, &mut source));
        let mut body = body.ok_or_else(|| {
            Error::invalid_argument(format!(
                "There can be no sample for the signature {name}: its inputs are too large, or of a type that JSON \
                 cannot carry"
            ))
        })?;
        body["signature_name"] = json!(name);
        Ok(body)
    }

    /// The tensors of such a body.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` with the place of what is wrong.
    pub(super) fn tensors(&self, body: &Bytes) -> Result<(String, Inputs)> {
        let decoded = predict::decode(body, &self.signatures, &Limits::default())?;
        Ok((decoded.signature_name, decoded.inputs))
    }
}

/// The version that a reply is of.
fn version(spec: &ModelSpec) -> Option<i64> {
    match spec.version_choice {
        Some(VersionChoice::Version(version)) => Some(version),
        _ => None,
    }
}

/// The state of a model whose versions are these: AVAILABLE if one of them is, else that of the first.
fn state(status: &Value) -> &'static str {
    let versions = status["model_version_status"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut all = versions.iter().filter_map(|version| State::from_str_name(version["state"].as_str()?));
    let first = all.next().unwrap_or(State::Unknown);
    if all.any(|it| it == State::Available) { State::Available } else { first }.as_str_name()
}
