//! `tfbridge models`: the models that a bridge knows, or a model server has.

use http::StatusCode;
use serde_json::Value;

use super::client::{Client, ServerArguments};
use super::table::{Table, visible};
use super::target::{TargetArguments, explained};
use super::{OutputFormat, inspect};
use crate::codec::catalog::Model;
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The models to list, by name. A model server cannot be asked for the names of its models: without any, a
    /// bridge lists those that it knows.
    #[arg(value_name = "MODEL")]
    models: Vec<String>,
    #[command(flatten)]
    server: ServerArguments,
    /// How to print them.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    output: OutputFormat,
}

/// Prints the list.
pub(super) async fn run(arguments: Arguments) -> Result<()> {
    if arguments.models.is_empty() && arguments.server.backend().is_some() {
        return Err(Error::invalid_argument(
            "A model server cannot be asked for the names of its models: name them, as in `tfbridge models NAME`",
        ));
    }
    let client = arguments.server.connect()?;
    let mut missing = Vec::new();
    let models = if arguments.models.is_empty() {
        let list = client.get("/v1/models").await;
        list.map_err(|error| explained(&client, error))?["models"].take()
    } else {
        let mut models = Vec::new();
        for name in &arguments.models {
            models.push(named(&client, name, &mut missing).await?);
        }
        serde_json::to_value(models).map_err(|error| Error::internal(error.to_string()))?
    };
    match arguments.output {
        OutputFormat::Json => super::print(format!("{models:#}\n"))?,
        OutputFormat::Text => super::print(visible(&table(&models, client.name())).as_bytes())?,
    }
    let texts: Vec<_> = missing.iter().map(Error::message).collect();
    if texts.is_empty() { Ok(()) } else { Err(Error::not_found(texts.join("\n"))) }
}

/// A model as a bridge lists it. One that is not there is among the missing as well, and keeps no other from being shown.
///
/// # Errors
///
/// What holds for all models, such as that the server cannot be reached.
async fn named(client: &Client, name: &str, missing: &mut Vec<Error>) -> Result<Model> {
    let target = TargetArguments::of(name);
    match inspect::versions(client, name).await {
        Ok(versions) => {
            // One that is not loaded has none, and has versions all the same.
            let description = target.describe(client).await.ok();
            Ok(inspect::described(name, versions, description))
        }
        Err(error) if error.status() == StatusCode::NOT_FOUND => {
            let told = error.message().trim_start_matches("404: ").to_owned();
            missing.push(target.explained(client, error).await);
            Ok(Model { error: Some(told), ..inspect::described(name, Vec::new(), None) })
        }
        Err(error) => Err(target.explained(client, error).await),
    }
}

/// A line for each version of each model.
fn table(models: &Value, server: &str) -> String {
    let mut table = Table::new(["MODEL", "VERSION", "STATE", "LABELS", "SIGNATURES"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for model in models.as_array().into_iter().flatten() {
        let signatures = model["signatures"].as_object();
        let signatures: Vec<_> = signatures.into_iter().flat_map(|map| map.keys().cloned()).collect();
        let versions = model["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
        for version in versions {
            let labels = version["labels"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
            let is_described = model["version"] == version["version"];
            let signatures = if is_described { signatures.join(", ") } else { String::new() };
            let (number, state) = (text(&version["version"]), text(&version["state"]));
            table.row([text(&model["name"]), number, state, labels.join(", "), signatures]);
        }
        if versions.is_empty() {
            let error = text(&model["error"]);
            table.row([text(&model["name"]), String::new(), text(&model["state"]), String::new(), error]);
        }
    }
    if table.is_empty() {
        return format!(
            "{server} knows no model yet: it learns of those that are asked for, and has those of its --model flags.\n"
        );
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_have_a_line_each() {
        let models = json!([
            { "name": "m", "version": "3", "signatures": { "a": {}, "b": {} }, "versions": [
                { "version": "3", "state": "AVAILABLE", "labels": ["x", "y"] },
                { "version": "1", "state": "END", "labels": [] },
            ] },
            { "name": "gone", "state": "UNKNOWN", "versions": [], "error": "why" },
        ]);
        let expected = "\
MODEL  VERSION  STATE      LABELS  SIGNATURES
m      3        AVAILABLE  x, y    a, b
m      1        END
gone            UNKNOWN            why
";
        assert_eq!(table(&models, ""), expected);
        assert!(table(&json!([]), "http://a").starts_with("http://a knows no model yet"));
    }
}
