//! Which model a command is about, what a server tells of its signatures, and what to try when it is not there.

use std::collections::BTreeMap;

use clap::builder::NonEmptyStringValueParser;
use http::StatusCode;
use serde_json::Value;
use tonic::Code;

use super::client::{Client, encoded};
use super::inspect;
use crate::codec::catalog::{Signature, Tensor, Version};
use crate::codec::dtype;
use crate::codec::signature::{self, DEFAULT_SIGNATURE, Signatures};
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;

/// A model, and what of it.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TargetArguments {
    /// The name of the model.
    #[arg(value_name = "MODEL", value_parser = NonEmptyStringValueParser::new())]
    pub(super) model: String,
    /// Its version; the server chooses the latest without it.
    #[arg(long, value_name = "NUMBER", conflicts_with = "label", value_parser = version)]
    version: Option<u64>,
    /// The label of its version, such as `stable`.
    #[arg(long, value_name = "LABEL", value_parser = NonEmptyStringValueParser::new())]
    label: Option<String>,
    /// The signature, if it is not `serving_default`.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(super) signature: Option<String>,
}

/// The number of a version.
fn version(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| i64::try_from(*number).is_ok());
    number.ok_or_else(|| "a number such as 3 is expected".to_owned())
}

/// What a server tells of a version of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Description {
    /// The version that has these signatures.
    pub(super) version: Option<i64>,
    /// The signatures by name.
    pub(super) signatures: BTreeMap<String, Signature>,
}

impl TargetArguments {
    /// A model by its name.
    pub(super) fn of(model: &str) -> Self {
        Self { model: model.to_owned(), version: None, label: None, signature: None }
    }

    /// The path of the model, with the version that is asked for.
    pub(super) fn path(&self) -> String {
        let model = encoded(&self.model);
        match (&self.version, &self.label) {
            (Some(version), _) => format!("/v1/models/{model}/versions/{version}"),
            (None, Some(label)) => format!("/v1/models/{model}/labels/{}", encoded(label)),
            (None, None) => format!("/v1/models/{model}"),
        }
    }

    /// The name of the signature.
    pub(super) fn signature_name(&self) -> &str {
        self.signature.as_deref().unwrap_or(DEFAULT_SIGNATURE)
    }

    /// Asks for the signatures.
    ///
    /// # Errors
    ///
    /// What the server says, with what to try next.
    pub(super) async fn describe(&self, client: &Client) -> Result<Description> {
        match client.get(&format!("{}/metadata", self.path())).await {
            Ok(metadata) => Description::read(&metadata).ok_or_else(|| {
                Error::internal(format!(
                    "{} does not tell signatures as TensorFlow Serving does",
                    client.name()
                ))
            }),
            Err(error) => Err(self.explained(client, error).await),
        }
    }

    /// An error with what to try next, where that is known.
    pub(super) async fn explained(&self, client: &Client, error: Error) -> Error {
        let advice = match error.status() {
            StatusCode::NOT_FOUND => self.others(client).await,
            // The text is TensorFlow Serving's, which says the same of all labels of a model that is not there.
            _ if self.label.is_some() && error.message().contains(UNKNOWN_LABEL) => self.labels(client).await,
            _ => return explained(client, error),
        };
        advised(error, advice.as_deref())
    }

    /// Which labels the model has, for somebody who asked for one that it has not.
    async fn labels(&self, client: &Client) -> Option<String> {
        let Ok(versions) = inspect::versions(client, &self.model).await else {
            return self.others(client).await;
        };
        let version = |version: &Version| {
            let label = |label: &String| format!("{label} (version {})", version.number);
            version.labels.iter().map(label).collect::<Vec<_>>()
        };
        let labels: Vec<_> = versions.iter().flat_map(version).collect();
        // A model server does not tell them, and a bridge knows those that somebody has asked for.
        if labels.is_empty() {
            self.others(client).await
        } else {
            Some(format!("Known labels: {}", labels.join(", ")))
        }
    }

    /// Which models or versions there are, for somebody who asked for one that is not there.
    async fn others(&self, client: &Client) -> Option<String> {
        let status = client.get(&format!("/v1/models/{}", encoded(&self.model))).await;
        if let Ok(status) = status {
            let versions = status["model_version_status"].as_array().into_iter().flatten();
            let available = versions.filter(|version| version["state"] == "AVAILABLE");
            let numbers: Vec<_> = available.filter_map(|version| version["version"].as_str()).collect();
            if !numbers.is_empty() {
                // Where the version is there, too, something else is not.
                let is_there = |version: u64| numbers.contains(&version.to_string().as_str());
                let is_missing = self.version.map_or(self.label.is_some(), |version| !is_there(version));
                return is_missing.then(|| format!("Available versions: {}", numbers.join(", ")));
            }
        }
        let catalog = client.get("/v1/models").await.unwrap_or_default();
        let models = catalog["models"].as_array().into_iter().flatten();
        let available = models.filter(|model| model["state"] == "AVAILABLE");
        let names: Vec<_> = available.filter_map(|model| model["name"].as_str()).collect();
        Some(match (similar(&self.model, names.iter().copied()), names.as_slice()) {
            (Some(name), _) => format!("Did you mean {name}?"),
            (None, []) => SPELLING.to_owned(),
            (None, names) => format!("{} knows: {}", client.name(), names.join(", ")),
        })
    }
}

/// How a model server says that a model has no such label.
const UNKNOWN_LABEL: &str = "Unrecognized servable version label";

/// What is said to those who are not let in.
const TOKEN: &str = "A token is sent with --token, or from the variable TFBRIDGE_TOKEN.";

/// What is said of a model that is not there, where nobody tells which ones are.
const SPELLING: &str = "Is the name spelled as the model server has it?";

/// An error that is about no certain model, with what to try next, where that is known.
pub(super) fn explained(client: &Client, error: Error) -> Error {
    let (name, message) = (client.name(), error.message());
    let is_way = message.starts_with(name) || message.starts_with("The answer of ");
    let advice = match error.status().as_u16() {
        401 | 403 => Some(TOKEN.to_owned()),
        // That is how a bridge begins what it says of its way to the model server.
        _ if client.is_backend() && message.contains("The backend ") => Some(doctor("--backend", name)),
        // Nobody listens there, or there is no such socket.
        503 if is_way && (message.contains("refused") || message.contains("No such file")) => Some(
            "Is a bridge running there? --server says where it is, --backend asks a model server without one, and \
             `tfbridge demo` starts one with models to try."
                .to_owned(),
        ),
        _ if is_way => Some(doctor(if client.is_backend() { "--backend" } else { "--server" }, name)),
        _ => None,
    };
    advised(error, advice.as_deref())
}

/// An error of a model server that is asked over gRPC, with what to try next, where that is known.
pub(super) fn explained_backend(backend: &str, error: Error) -> Error {
    let advice = match error.code() {
        Code::Unauthenticated | Code::PermissionDenied => Some(TOKEN.to_owned()),
        Code::NotFound => Some(SPELLING.to_owned()),
        // What has no answer is one of these, whatever the reason.
        Code::Unavailable | Code::Unknown | Code::Internal | Code::DeadlineExceeded => {
            Some(doctor("--backend", backend))
        }
        _ => None,
    };
    advised(error, advice.as_deref())
}

/// How to find out why a server cannot be reached.
fn doctor(flag: &str, url: &str) -> String {
    format!("`tfbridge doctor {flag} {url}` tells what is wrong on the way to {url}.")
}

/// An error with a second line that says what to try.
pub(super) fn advised(error: Error, advice: Option<&str>) -> Error {
    match advice {
        Some(advice) => {
            Error::new(error.code(), format!("{}\n{advice}", error.message())).with_status(error.status())
        }
        None => error,
    }
}

/// The name that was probably meant.
pub(super) fn similar<'a>(meant: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |name: &str| strsim::jaro_winkler(name, meant);
    let best = names.max_by(|one, other| similarity(one).total_cmp(&similarity(other)))?;
    (similarity(best) > 0.8).then_some(best)
}

impl Description {
    /// What `GET /v1/models/NAME/metadata` has answered; `None` if it is something else.
    pub(super) fn read(metadata: &Value) -> Option<Self> {
        let version = metadata["model_spec"]["version"].as_str().and_then(|version| version.parse().ok());
        let definitions = metadata["metadata"]["signature_def"]["signature_def"].as_object()?;
        // It initializes a model and cannot be called.
        let callable = definitions.iter().filter(|(name, _)| *name != "__saved_model_init_op");
        let signatures = callable.map(|(name, definition)| Some((name.clone(), read_signature(definition)?)));
        Some(Self { version, signatures: signatures.collect::<Option<_>>()? })
    }

    /// A signature.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` with those that there are.
    pub(super) fn signature(&self, name: &str) -> Result<&Signature> {
        self.signatures.get(name).ok_or_else(|| {
            let names: Vec<_> = self.signatures.keys().map(String::as_str).collect();
            let advice = match similar(name, names.iter().copied()) {
                Some(similar) => format!("did you mean {similar}?"),
                None => format!("there are: {}. One is chosen with --signature", names.join(", ")),
            };
            Error::invalid_argument(format!("The model has no signature {name}; {advice}"))
        })
    }

    /// The same as the codec knows signatures: what they take.
    pub(super) fn inputs(&self) -> Signatures {
        let input = |(name, tensor): (&String, &Tensor)| signature::Input {
            name: name.clone(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
        };
        let signature = |(name, signature): (&String, &Signature)| {
            (name.clone(), signature::Signature::new(signature.inputs.iter().map(input).collect()))
        };
        self.signatures.iter().map(signature).collect()
    }
}

fn read_signature(definition: &Value) -> Option<Signature> {
    let tensors = |key: &str| -> Option<BTreeMap<String, Tensor>> {
        let infos = definition[key].as_object().into_iter().flatten();
        infos.map(|(name, info)| Some((name.clone(), read_tensor(info)?))).collect()
    };
    Some(Signature {
        method_name: definition["method_name"].as_str().unwrap_or_default().to_owned(),
        inputs: tensors("inputs")?,
        outputs: tensors("outputs")?,
    })
}

fn read_tensor(info: &Value) -> Option<Tensor> {
    let dtype = match info["dtype"].as_str() {
        Some(name) => dtype::from_name(name)?,
        // What a server writes for a dtype newer than its protos.
        None => DataType::DtInvalid,
    };
    let shape = &info["tensor_shape"];
    if shape["unknown_rank"] == true {
        return Some(Tensor { dtype, shape: None });
    }
    let size = |dim: &Value| match &dim["size"] {
        Value::String(text) => text.parse().ok(),
        size => size.as_i64(),
    };
    let sizes = shape["dim"].as_array().into_iter().flatten().map(size).collect::<Option<_>>()?;
    Some(Tensor { dtype, shape: Some(sizes) })
}

/// The type of a tensor for people: `float [?, 224, 224, 3]`.
pub(super) fn type_of(tensor: &Tensor) -> String {
    format!("{} {}", dtype::name(tensor.dtype), shape_of(tensor))
}

/// The shape of a tensor for people: `[?, 3]`, `?` where any size will do.
pub(super) fn shape_of(tensor: &Tensor) -> String {
    let Some(sizes) = &tensor.shape else { return "any shape".to_owned() };
    let size = |size: &i64| if *size < 0 { "?".to_owned() } else { size.to_string() };
    format!("[{}]", sizes.iter().map(size).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_is_read_as_tensorflow_serving_writes_it() {
        let metadata = json!({
            "model_spec": { "name": "m", "signature_name": "", "version": "7" },
            "metadata": { "signature_def": { "signature_def": {
                "__saved_model_init_op": { "inputs": {}, "outputs": {}, "method_name": "" },
                "serving_default": {
                    "inputs": { "x": { "dtype": "DT_FLOAT", "tensor_shape": {
                        "dim": [{ "size": "-1", "name": "" }, { "size": "3", "name": "" }], "unknown_rank": false
                    }, "name": "x:0" } },
                    "outputs": { "y": { "dtype": "DT_STRING", "tensor_shape": {
                        "dim": [], "unknown_rank": true
                    }, "name": "y:0" } },
                    "method_name": "tensorflow/serving/predict"
                }
            } } }
        });
        let description = Description::read(&metadata).unwrap();
        assert_eq!((description.version, description.signatures.len()), (Some(7), 1));
        let signature = description.signature("serving_default").unwrap();
        assert_eq!(type_of(&signature.inputs["x"]), "float [?, 3]");
        assert_eq!(type_of(&signature.outputs["y"]), "string any shape");
        assert_eq!(description.inputs().get("").unwrap().inputs[0].shape, Some(vec![-1, 3]));
        let told = |name| description.signature(name).unwrap_err().message().to_owned();
        assert_eq!(
            told("serving_defualt"),
            "The model has no signature serving_defualt; did you mean serving_default?"
        );
        assert!(told("x").contains("there are: serving_default."));
        assert_eq!(Description::read(&json!({ "metadata": {} })), None);
    }

    #[test]
    fn similar_names_are_found() {
        let names = || ["half_plus_two", "half_plus_three", "echo"].into_iter();
        assert_eq!(similar("half_plus_tow", names()), Some("half_plus_two"));
        assert_eq!(similar("resnet", names()), None);
    }
}
