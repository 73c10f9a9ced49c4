//! What models there are: their versions with states and labels, and their signatures whole.
//!
//! It is what `GET /v1/models` answers, and what everything that explains the API is made from. It is data;
//! who asks the backends for it is elsewhere.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::dtype;
use super::signature::dimensions;
use crate::proto::tensorflow::serving::model_version_status::State;
use crate::proto::tensorflow::serving::{GetModelStatusResponse, SignatureDefMap};
use crate::proto::tensorflow::{DataType, SignatureDef, TensorInfo};

/// What TensorFlow calls the signature with which it initializes a model: nobody can call it.
const INITIALIZER: &str = "__saved_model_init_op";

/// All models that are known, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Catalog {
    /// The models.
    pub models: Vec<Model>,
    /// The routes of one's own, in the order of the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
}

/// A route of one's own: a path that stands for a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// The path.
    pub path: String,
    /// The name of the model.
    pub model: String,
}

/// A model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// AVAILABLE if one of its versions is, else the state of the newest, else UNKNOWN.
    pub state: &'static str,
    /// The version that the signatures are of, which answers where none is asked for.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "number")]
    pub version: Option<i64>,
    /// All its versions, the newest first.
    pub versions: Vec<Version>,
    /// Its signatures by name; `None` if nobody tells them.
    pub signatures: Option<BTreeMap<String, Signature>>,
    /// Why something is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Its number. JSON has it as a string, as the replies of `GET /v1/models/NAME` do.
    #[serde(rename = "version", serialize_with = "text")]
    pub number: i64,
    /// Its state, as TensorFlow Serving names it.
    pub state: &'static str,
    /// The labels that stand for it, as far as they are known, sorted.
    pub labels: Vec<String>,
}

/// A signature.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// What it is made for, such as `tensorflow/serving/predict`.
    pub method_name: String,
    /// What it takes, by name.
    pub inputs: BTreeMap<String, Tensor>,
    /// What it gives, by name.
    pub outputs: BTreeMap<String, Tensor>,
}

/// An input or an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tensor {
    /// The type of its elements.
    #[serde(serialize_with = "dtype_name")]
    pub dtype: DataType,
    /// Its sizes, -1 where any will do; `None` if even the rank is open.
    pub shape: Option<Vec<i64>>,
}

impl Catalog {
    /// The same with those models only.
    #[must_use]
    pub fn only(&self, is_visible: impl Fn(&str) -> bool) -> Self {
        Self {
            models: self.models.iter().filter(|model| is_visible(&model.name)).cloned().collect(),
            routes: self.routes.iter().filter(|route| is_visible(&route.model)).cloned().collect(),
        }
    }

    /// It as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Names and numbers can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Model {
    /// A model of which no more is known than its name, and why.
    #[must_use]
    pub fn unknown(name: &str, error: Option<String>) -> Self {
        Self { name: name.to_owned(), state: State::Unknown.as_str_name(), error, ..Self::default() }
    }

    /// Takes the versions over from what the backend says of them.
    #[must_use]
    pub fn with_status(mut self, status: &GetModelStatusResponse) -> Self {
        let version = |it: &crate::proto::tensorflow::serving::ModelVersionStatus| Version {
            number: it.version,
            state: it.state().as_str_name(),
            labels: Vec::new(),
        };
        self.versions = status.model_version_status.iter().map(version).collect();
        self.versions.sort_unstable_by_key(|version| std::cmp::Reverse(version.number));
        let available = State::Available.as_str_name();
        let newest = self.versions.first().map_or(self.state, |version| version.state);
        let is_available = self.versions.iter().any(|version| version.state == available);
        self.state = if is_available { available } else { newest };
        self
    }

    /// Takes the signatures over.
    #[must_use]
    pub fn with_signatures(mut self, version: Option<i64>, signatures: &SignatureDefMap) -> Self {
        let named = signatures.signature_def.iter().filter(|(name, _)| *name != INITIALIZER);
        self.version = version;
        self.signatures = Some(named.map(|(name, signature)| (name.clone(), signature.into())).collect());
        self
    }

    /// Has a label stand for a version that there is.
    pub fn add_label(&mut self, label: &str, number: i64) {
        if let Some(version) = self.versions.iter_mut().find(|version| version.number == number)
            && let Err(at) = version.labels.binary_search_by(|known| known.as_str().cmp(label))
        {
            version.labels.insert(at, label.to_owned());
        }
    }
}

impl From<&SignatureDef> for Signature {
    fn from(definition: &SignatureDef) -> Self {
        let tensors = |infos: &std::collections::HashMap<String, TensorInfo>| {
            infos.iter().map(|(name, info)| (name.clone(), info.into())).collect()
        };
        Self {
            method_name: definition.method_name.clone(),
            inputs: tensors(&definition.inputs),
            outputs: tensors(&definition.outputs),
        }
    }
}

impl From<&TensorInfo> for Tensor {
    fn from(info: &TensorInfo) -> Self {
        Self { dtype: dtype::from_wire(info.dtype), shape: dimensions(info) }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields so")]
fn text<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

#[expect(clippy::ref_option, reason = "serde passes fields so")]
fn number<S: Serializer>(number: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => serializer.collect_str(number),
        None => serializer.serialize_none(),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields so")]
fn dtype_name<S: Serializer>(dtype: &DataType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.as_str_name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensorflow::TensorShapeProto;
    use crate::proto::tensorflow::serving::ModelVersionStatus;
    use crate::proto::tensorflow::tensor_shape_proto::Dim;

    fn info(dtype: DataType, shape: Option<&[i64]>) -> TensorInfo {
        let dim = |&size: &i64| Dim { size, ..Dim::default() };
        TensorInfo {
            dtype: dtype.into(),
            tensor_shape: Some(TensorShapeProto {
                dim: shape.unwrap_or_default().iter().map(dim).collect(),
                unknown_rank: shape.is_none(),
            }),
            ..TensorInfo::default()
        }
    }

    #[test]
    fn models_are_told_whole() {
        let versions = [(1, State::End), (20, State::Loading), (3, State::Available)];
        let status = versions.map(|(version, state)| ModelVersionStatus {
            version,
            state: state.into(),
            ..ModelVersionStatus::default()
        });
        let signature = SignatureDef {
            inputs: [("x".to_owned(), info(DataType::DtFloat, Some(&[-1, 4])))].into(),
            outputs: [("y".to_owned(), info(DataType::DtString, None))].into(),
            method_name: "tensorflow/serving/predict".to_owned(),
            ..SignatureDef::default()
        };
        let signatures =
            [("serving_default".to_owned(), signature.clone()), (INITIALIZER.to_owned(), signature)];
        let mut model = Model::unknown("m", None)
            .with_status(&GetModelStatusResponse { model_version_status: status.into() })
            .with_signatures(Some(3), &SignatureDefMap { signature_def: signatures.into() });
        for (label, number) in [("stable", 3), ("best", 3), ("stable", 3), ("lost", 9)] {
            model.add_label(label, number);
        }
        let gone = Model::unknown("gone", Some("why".to_owned()));
        let route = |model: &str| Route { path: format!("/{model}"), model: model.to_owned() };
        let catalog = Catalog { models: vec![gone, model], routes: vec![route("m"), route("gone")] };
        let expected = concat!(
            r#"{"models":[{"name":"gone","state":"UNKNOWN","versions":[],"signatures":null,"error":"why"},"#,
            r#"{"name":"m","state":"AVAILABLE","version":"3","versions":["#,
            r#"{"version":"20","state":"LOADING","labels":[]},"#,
            r#"{"version":"3","state":"AVAILABLE","labels":["best","stable"]},"#,
            r#"{"version":"1","state":"END","labels":[]}],"#,
            r#""signatures":{"serving_default":{"method_name":"tensorflow/serving/predict","#,
            r#""inputs":{"x":{"dtype":"DT_FLOAT","shape":[-1,4]}},"#,
            r#""outputs":{"y":{"dtype":"DT_STRING","shape":null}}}}}],"#,
            r#""routes":[{"path":"/m","model":"m"},{"path":"/gone","model":"gone"}]}"#,
        );
        assert_eq!(String::from_utf8(catalog.to_json()).unwrap(), expected);
        let visible = catalog.only(|name| name == "m");
        assert_eq!((visible.models.len(), visible.routes), (1, vec![route("m")]));
    }
}
