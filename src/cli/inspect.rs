//! `tfbridge inspect`: what a model takes and gives, and which versions of it there are.

use serde_json::Value;

use super::OutputFormat;
use super::client::{Client, ServerArguments, encoded};
use super::table::{Table, visible};
use super::target::{Description, TargetArguments, shape_of};
use crate::codec::catalog::{Model, Signature, Version};
use crate::codec::dtype;
use crate::error::Result;
use crate::proto::tensorflow::serving::model_version_status::State;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    server: ServerArguments,
    /// How to print it.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    output: OutputFormat,
}

/// Prints the model.
pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let client = arguments.server.connect()?;
    let target = &arguments.target;
    let mut description = target.describe(&client).await?;
    if target.signature.is_some() {
        let signature = description.signature(target.signature_name())?.clone();
        description.signatures = [(target.signature_name().to_owned(), signature)].into();
    }
    let versions = versions(&client, &target.model).await?;
    let model = described(&target.model, versions, Some(description));
    match arguments.output {
        OutputFormat::Json => {
            let json = serde_json::to_string_pretty(&model).unwrap_or_default();
            super::print(format!("{json}\n"))
        }
        OutputFormat::Text => super::print(visible(&text(&model)).as_bytes()),
    }
}

/// A model as a bridge lists it.
pub(super) fn described(name: &str, versions: Vec<Version>, description: Option<Description>) -> Model {
    let available = versions.iter().find(|version| version.state == State::Available.as_str_name());
    let state = available.or(versions.first()).map_or(State::Unknown.as_str_name(), |version| version.state);
    let (version, signatures) = description.map(|it| (it.version, it.signatures)).unzip();
    Model { name: name.to_owned(), state, version: version.flatten(), versions, signatures, error: None }
}

/// The versions of a model, with the labels that a bridge knows for them.
pub(super) async fn versions(client: &Client, model: &str) -> Result<Vec<Version>> {
    let status = client.get(&format!("/v1/models/{}", encoded(model))).await?;
    // Another server of the same API has no such list.
    let catalog = client.get("/v1/models").await.unwrap_or_default();
    let listed = catalog["models"].as_array().into_iter().flatten();
    let listed = listed.filter(|listed| listed["name"] == model).filter_map(|it| it["versions"].as_array());
    let labelled: Vec<_> = listed.flatten().collect();
    let version = |status: &Value| {
        let known = labelled.iter().find(|known| known["version"] == status["version"]);
        let labels = known.and_then(|known| known["labels"].as_array()).into_iter().flatten();
        let state = State::from_str_name(status["state"].as_str()?).unwrap_or_default();
        Some(Version {
            number: status["version"].as_str()?.parse().ok()?,
            state: state.as_str_name(),
            labels: labels.filter_map(|label| label.as_str().map(str::to_owned)).collect(),
        })
    };
    let versions = status["model_version_status"].as_array().into_iter().flatten();
    Ok(versions.filter_map(version).collect())
}

/// A table of the versions and one of the signatures.
fn text(model: &Model) -> String {
    let mut versions = Table::new(["VERSION", "STATE", "LABELS"]);
    for version in &model.versions {
        versions.row([version.number.to_string(), version.state.to_owned(), version.labels.join(", ")]);
    }
    let mut signatures = Table::new(["SIGNATURE", "METHOD", "", "NAME", "DTYPE", "SHAPE"]);
    for (name, signature) in model.signatures.iter().flatten() {
        add(&mut signatures, name, signature);
    }
    let shown = model.version.map(|version| format!(", version {version}")).unwrap_or_default();
    format!("{}\n\n{versions}\nThe signatures{shown}:\n\n{signatures}", model.name)
}

/// Adds a row for each tensor; the name of the signature is in the first one.
fn add(table: &mut Table<6>, name: &str, signature: &Signature) {
    let method = signature.method_name.trim_start_matches("tensorflow/serving/");
    let mut first = [name.to_owned(), method.to_owned()];
    let tensors = [("input", &signature.inputs), ("output", &signature.outputs)];
    for (kind, name, tensor) in
        tensors.iter().flat_map(|(kind, map)| map.iter().map(move |(name, tensor)| (kind, name, tensor)))
    {
        let [signature, method] = std::mem::take(&mut first);
        let (dtype, shape) = (dtype::name(tensor.dtype), shape_of(tensor));
        table.row([signature, method, (*kind).to_owned(), name.clone(), dtype, shape]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::catalog::Tensor;
    use crate::proto::tensorflow::DataType;

    #[test]
    fn signatures_have_a_line_for_each_tensor() {
        let tensor = |dtype, shape: &[i64]| Tensor { dtype, shape: Some(shape.to_vec()) };
        let signature = Signature {
            method_name: "tensorflow/serving/predict".to_owned(),
            inputs: [("x".to_owned(), tensor(DataType::DtFloat, &[-1, 224, 224, 3]))].into(),
            outputs: [
                ("label".to_owned(), tensor(DataType::DtString, &[])),
                ("scores".to_owned(), tensor(DataType::DtFloat, &[-1, 1000])),
            ]
            .into(),
        };
        let version = |number, labels: &[&str]| Version {
            number,
            state: "AVAILABLE",
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
        };
        let model = Model {
            name: "m".to_owned(),
            version: Some(2),
            versions: vec![version(2, &[]), version(1, &["stable"])],
            signatures: Some([("serving_default".to_owned(), signature)].into()),
            ..Model::default()
        };
        let expected = "\
m

VERSION  STATE      LABELS
2        AVAILABLE
1        AVAILABLE  stable

The signatures, version 2:

SIGNATURE        METHOD           NAME    DTYPE   SHAPE
serving_default  predict  input   x       float   [?, 224, 224, 3]
                          output  label   string  []
                          output  scores  float   [?, 1000]
";
        assert_eq!(text(&model), expected);
    }
}
