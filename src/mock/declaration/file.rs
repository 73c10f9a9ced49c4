//! The keys of a declaration of models.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use toml::{Spanned, Value};

use crate::codec::dtype;
use crate::mock::faults::{Delay, FailCode, Probability};
use crate::mock::signature::{CLASSIFY, PREDICT, REGRESS, shaped, unshaped};
use crate::proto::tensorflow::{DataType, SignatureDef, TensorInfo};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) model: Vec<ModelTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ModelTable {
    pub(super) name: Spanned<String>,
    /// Only 1 without it, or those of the SavedModel.
    pub(super) versions: Option<Spanned<Vec<i64>>>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, Spanned<i64>>,
    /// Where the signatures are, in place of `signatures`. It is relative to the file.
    pub(super) saved_model: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) signatures: BTreeMap<String, SignatureTable>,
    pub(super) answer: Option<AnswerName>,
    /// What the outputs are if the answer is fixed.
    pub(super) values: Option<Spanned<BTreeMap<String, Spanned<Value>>>>,
    pub(super) seed: Option<u64>,
    pub(super) any_shape: Option<bool>,
    pub(super) delay: Option<Text<Delay>>,
    #[serde(default, deserialize_with = "probability")]
    pub(super) fail: Option<Probability>,
    pub(super) fail_code: Option<Text<FailCode>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AnswerName {
    Echo,
    Zeros,
    Random,
    Fixed,
    Replay,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureTable {
    #[serde(default)]
    inputs: BTreeMap<String, TensorTable>,
    #[serde(default)]
    outputs: BTreeMap<String, TensorTable>,
    #[serde(default)]
    method: Method,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorTable {
    dtype: Text<Dtype>,
    /// Of any rank without it.
    shape: Option<Vec<Size>>,
}

/// What a signature is made for, by its short name or by the one that signatures have.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    #[default]
    #[serde(alias = "tensorflow/serving/predict")]
    Predict,
    #[serde(alias = "tensorflow/serving/classify")]
    Classify,
    #[serde(alias = "tensorflow/serving/regress")]
    Regress,
}

/// A value that is written as a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<T>(pub(super) T);

impl<'de, T: FromStr<Err = String>> Deserialize<'de> for Text<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value = text.parse().map_err(|problem| format!("{text:?}: {problem}"));
        value.map(Self).map_err(serde::de::Error::custom)
    }
}

fn probability<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Probability>, D::Error> {
    let value = f64::deserialize(deserializer)?;
    Probability::try_from(value).map(Some).map_err(serde::de::Error::custom)
}

#[derive(Debug, Clone, Copy)]
struct Dtype(DataType);

impl FromStr for Dtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = dtype::from_name(text).filter(|dtype| *dtype != DataType::DtInvalid);
        found.map(Self).ok_or_else(|| "it is no dtype such as float, int64 or string".to_owned())
    }
}

/// A size, or -1 for any.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
struct Size(i64);

impl TryFrom<i64> for Size {
    type Error = String;

    fn try_from(size: i64) -> Result<Self, String> {
        if size < -1 { Err(format!("{size} is no size, and -1 is for any")) } else { Ok(Self(size)) }
    }
}

/// The tensor that examples are fed to, which signatures of one model have in common.
const EXAMPLES: &str = "input_example_tensor:0";

impl SignatureTable {
    /// The signature as a server tells it, with names for the tensors like those that exports have.
    pub(super) fn definition(&self, name: &str) -> SignatureDef {
        let input = |(alias, table): (&String, &TensorTable)| {
            let tensor = match self.method {
                Method::Predict => format!("{name}_{alias}:0"),
                Method::Classify | Method::Regress => EXAMPLES.to_owned(),
            };
            (alias.clone(), table.info(&tensor))
        };
        let output = |(index, (alias, table)): (usize, (&String, &TensorTable))| {
            (alias.clone(), table.info(&format!("StatefulPartitionedCall:{index}")))
        };
        let method_name = match self.method {
            Method::Predict => PREDICT,
            Method::Classify => CLASSIFY,
            Method::Regress => REGRESS,
        };
        SignatureDef {
            inputs: self.inputs.iter().map(input).collect(),
            outputs: self.outputs.iter().enumerate().map(output).collect(),
            method_name: method_name.to_owned(),
            ..SignatureDef::default()
        }
    }
}

impl TensorTable {
    fn info(&self, name: &str) -> TensorInfo {
        let Text(Dtype(dtype)) = self.dtype;
        match &self.shape {
            Some(shape) => shaped(name, dtype, &shape.iter().map(|size| size.0).collect::<Vec<_>>()),
            None => unshaped(name, dtype),
        }
    }
}

/// A value as JSON that the codec reads, which knows NaN and infinities.
pub(super) fn to_json(value: &Value) -> Result<String, &'static str> {
    const TABLE: &str = "is a table, other than { b64 = \"…\" } for a string of bytes";
    Ok(match value {
        Value::String(text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) if number.is_nan() => "NaN".to_owned(),
        Value::Float(number) if number.is_infinite() && *number > 0.0 => "Infinity".to_owned(),
        Value::Float(number) if number.is_infinite() => "-Infinity".to_owned(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(value) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(to_json).collect::<Result<_, _>>()?;
            format!("[{}]", items.join(","))
        }
        Value::Table(members) => match members.get("b64") {
            Some(Value::String(text)) if members.len() == 1 => serde_json::json!({ "b64": text }).to_string(),
            _ => return Err(TABLE),
        },
        Value::Datetime(_) => return Err("is a date, which no tensor has"),
    })
}
