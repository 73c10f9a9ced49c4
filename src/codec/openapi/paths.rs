//! The document as a whole: the paths of all models and of the server.

use serde_json::{Map, Value, json};

use super::Options;
use super::components::{Components, json_content, reference, response};
use super::examples::{self, Verb, is_for_examples};
use super::names::{Names, pascal, segment, snake};
use super::request::{Named, is_callable};
use super::{custom::CustomPath, inference, predict, server};
use crate::codec::catalog::{Catalog, Model};

/// Makes the document.
pub(super) fn document(catalog: &Catalog, options: &Options) -> Value {
    let mut document = Document {
        options,
        paths: Map::new(),
        tags: Vec::new(),
        components: Components::default(),
        operations: Names::default(),
    };
    for path in &options.custom {
        document.custom(catalog, path);
    }
    for model in &catalog.models {
        document.model(model);
    }
    document.server();
    if let Some(model) = &options.sagemaker {
        document.sagemaker(catalog, model);
    }
    document.finish()
}

/// The document so far.
struct Document<'a> {
    options: &'a Options,
    paths: Map<String, Value>,
    tags: Vec<Value>,
    components: Components,
    operations: Names,
}

/// What is asked for, of one of the ways to choose a version.
struct Operation<'a> {
    id: String,
    tag: &'a str,
    summary: String,
    parameters: Vec<Value>,
    body: Option<Value>,
    reply: Value,
}

/// A way to choose a version in a path.
struct Choice {
    path: String,
    suffix: &'static str,
    parameter: Option<Value>,
}

/// The tag of what is about no model.
const SERVER: &str = "server";

impl Document<'_> {
    /// Adds an operation to a path.
    fn add(&mut self, path: &str, method: &str, operation: Operation<'_>) {
        let mut value = json!({
            "operationId": self.operations.take(&operation.id),
            "summary": operation.summary,
            "tags": [operation.tag],
            "responses": {
                "200": operation.reply,
                "4XX": reference("responses", "Error"),
                "5XX": reference("responses", "Error"),
            },
        });
        if !operation.parameters.is_empty() {
            value["parameters"] = json!(operation.parameters);
        }
        if let Some(body) = operation.body {
            value["requestBody"] = body;
        }
        let item = self.paths.entry(path).or_insert_with(|| json!({}));
        item[method] = value;
    }

    fn model(&mut self, model: &Model) {
        let name = model.name.as_str();
        let (word, id) = (self.components.name(&pascal(name)), snake(name));
        self.tags.push(json!({"name": name, "description": describe(model)}));
        let choices = choices(model);
        let nan = self.options.nan;
        let callable = callable(model);
        if !callable.is_empty() {
            let content = predict::content(&word, &callable, &mut self.components);
            let body = self.components.body(&format!("{word}Predict"), content);
            let content = predict::reply(&word, &callable, nan, &mut self.components);
            let reply = self.components.response(&format!("{word}Predict"), "What the model says.", content);
            let parameters = predict::parameters(&callable);
            let summary = "Run a signature on tensors";
            for Choice { path, suffix, parameter } in &choices {
                let operation = Operation {
                    id: format!("predict_{id}{suffix}"),
                    tag: name,
                    summary: summary.to_owned(),
                    parameters: parameter.iter().chain(&parameters).cloned().collect(),
                    body: Some(body.clone()),
                    reply: reply.clone(),
                };
                self.add(&format!("/v1/models/{path}:predict"), "post", operation);
            }
        }
        for verb in Verb::ALL {
            let signatures = verb.signatures(model);
            if signatures.is_empty() {
                continue;
            }
            let content = examples::content(verb, &signatures, &callable, &mut self.components);
            let body = self.components.body(&format!("{word}{}", pascal(verb.name())), content);
            let content = examples::reply(verb, nan, &mut self.components);
            let reply = self.components.response(&pascal(verb.name()), "What the model says.", content);
            for Choice { path, suffix, parameter } in &choices {
                let operation = Operation {
                    id: format!("{}_{id}{suffix}", verb.name()),
                    tag: name,
                    summary: verb.summary().to_owned(),
                    parameters: parameter.iter().cloned().collect(),
                    body: Some(body.clone()),
                    reply: reply.clone(),
                };
                self.add(&format!("/v1/models/{path}:{}", verb.name()), "post", operation);
            }
        }
        self.infer(model, &word, &id, &callable, &choices);
        self.told(model, &id, &choices);
    }

    /// The Open Inference Protocol of a model.
    fn infer(&mut self, model: &Model, word: &str, id: &str, callable: &[Named<'_>], choices: &[Choice]) {
        let callable = inference::callable(callable);
        if callable.is_empty() {
            return;
        }
        let content = inference::content(word, &callable, &mut self.components);
        let body = self.components.body(&format!("{word}Infer"), content);
        let content = inference::reply(&mut self.components);
        let reply = self.components.response("Infer", "What the model says.", content);
        for Choice { path, suffix, parameter } in choices {
            let operation = Operation {
                id: format!("infer_{id}{suffix}"),
                tag: &model.name,
                summary: "Run a signature, by the Open Inference Protocol".to_owned(),
                parameters: parameter.iter().cloned().collect(),
                body: Some(body.clone()),
                reply: reply.clone(),
            };
            self.add(&format!("/v2/models/{path}/infer"), "post", operation);
        }
    }

    /// What a model can be asked without a body.
    fn told(&mut self, model: &Model, id: &str, choices: &[Choice]) {
        let contents = [
            ("ModelStatus", server::status(&mut self.components)),
            ("ModelMetadata", server::metadata(&mut self.components)),
            ("InferModel", inference::metadata(&mut self.components)),
            ("InferModelReady", inference::ready(&mut self.components)),
        ];
        let replies = contents.map(|(name, content)| self.components.response(name, "The answer.", content));
        let questions = [
            ("/v1/models/", "", "status", "The states of the versions"),
            ("/v1/models/", "/metadata", "metadata", "The signatures"),
            ("/v2/models/", "", "describe", "The inputs and outputs of the default signature"),
            ("/v2/models/", "/ready", "ready", "Whether the model can be used"),
        ];
        for ((prefix, end, verb, summary), reply) in questions.into_iter().zip(replies) {
            let is_status = verb == "status";
            // The status of a label is that of all versions, for any label there may be: nothing to tell anybody of.
            let is_told = |choice: &&Choice| {
                if is_status { choice.suffix != "_label" } else { model.signatures.is_some() }
            };
            for Choice { path, suffix, parameter } in choices.iter().filter(is_told) {
                let operation = Operation {
                    id: format!("{verb}_{id}{suffix}"),
                    tag: &model.name,
                    summary: summary.to_owned(),
                    parameters: parameter.iter().cloned().collect(),
                    body: None,
                    reply: reply.clone(),
                };
                self.add(&format!("{prefix}{path}{end}"), "get", operation);
            }
        }
    }

    fn server(&mut self) {
        self.tags.push(json!({"name": SERVER, "description": "What is about no model in particular."}));
        let models = server::models(&mut self.components);
        let about = server::about(&mut self.components);
        for (path, id, summary, content) in [
            ("/v1/models", "list_models", "The models that are known", models),
            ("/v2", "describe_server", "What this server is", about),
            ("/v2/health/live", "server_live", "Whether this server lives", server::flag("live")),
            ("/v2/health/ready", "server_ready", "Whether this server can answer", server::flag("ready")),
        ] {
            self.ask(path, id, summary, content);
        }
    }

    /// A question to the server.
    fn ask(&mut self, path: &str, id: &str, summary: &str, content: Value) {
        let operation = Operation {
            id: id.to_owned(),
            tag: SERVER,
            summary: summary.to_owned(),
            parameters: Vec::new(),
            body: None,
            reply: response("The answer.", content, &["x-request-id"]),
        };
        self.add(path, "get", operation);
    }

    /// The two paths of SageMaker's, the second as predict of its model.
    fn sagemaker(&mut self, catalog: &Catalog, name: &str) {
        let content = json!({"application/json": {}});
        self.ask("/ping", "ping", "Whether requests can be answered, as SageMaker asks it", content);
        let any = || json!({"required": true, "content": json_content(json!({}))});
        let predict = self.paths.get(&format!("/v1/models/{}:predict", segment(name)));
        let body = predict.map_or_else(any, |predict| predict["post"]["requestBody"].clone());
        let reply = predict.map_or_else(
            || response("What the model says.", json_content(json!({})), &["x-request-id"]),
            |predict| predict["post"]["responses"]["200"].clone(),
        );
        let is_known = catalog.models.iter().any(|model| model.name == name);
        let operation = Operation {
            id: "invocations".to_owned(),
            tag: if is_known { name } else { SERVER },
            summary: format!("Run the model {name}, as SageMaker asks for it"),
            parameters: Vec::new(),
            body: Some(body),
            reply,
        };
        self.add("/invocations", "post", operation);
    }

    fn custom(&mut self, catalog: &Catalog, custom: &CustomPath) {
        let (request, reply) = custom.contents(catalog, self.options.nan, &mut self.components);
        let is_known = catalog.models.iter().any(|model| model.name == custom.model);
        let headers = ["x-model-version", "x-request-id", "x-attempts"];
        let operation = Operation {
            id: format!("route_{}", snake(&custom.path)),
            tag: if is_known { &custom.model } else { SERVER },
            summary: format!("Run the model {}", custom.model),
            parameters: Vec::new(),
            body: Some(json!({"required": true, "content": request})),
            reply: response("What the model says.", reply, &headers),
        };
        self.add(&custom.path, "post", operation);
        if let Some(item) = self.paths.get_mut(&custom.path) {
            item["x-tfbridge-route"] = custom.mark();
        }
    }

    fn finish(self) -> Value {
        let mut document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "tfbridge",
                "version": env!("CARGO_PKG_VERSION"),
                "description": DESCRIPTION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "tags": self.tags,
            "paths": self.paths,
            "components": self.components.finish(self.options.has_tokens),
        });
        if self.options.has_tokens {
            document["security"] = json!([{"bearer": []}, {"apiKey": []}]);
        }
        document
    }
}

/// What readers of the document should know beforehand.
const DESCRIPTION: &str = "A REST front door for TensorFlow Serving. Bodies have the types and shapes that the signatures declare; \
    a model may take other shapes as well, unless the bridge runs with `--check-shapes`. Numbers may be the bare tokens `NaN`, \
    `Infinity` and `-Infinity` in both directions, unless `--nan` says otherwise for replies. Bodies may be gzip.";

/// The signatures that predict may run.
fn callable(model: &Model) -> Vec<Named<'_>> {
    let signatures = model.signatures.iter().flatten();
    signatures
        .filter(|(_, signature)| !is_for_examples(signature) && is_callable(signature))
        .map(|(name, signature)| (name.as_str(), signature))
        .collect()
}

/// The ways to choose a version of a model: none, by its number, by its label.
fn choices(model: &Model) -> Vec<Choice> {
    let name = segment(&model.name);
    let mut choices = vec![Choice { path: name.clone(), suffix: "", parameter: None }];
    let available = || model.versions.iter().filter(|version| version.state == "AVAILABLE");
    let versions: Vec<_> = available().map(|version| version.number.to_string()).collect();
    let labels: Vec<_> = available().flat_map(|version| &version.labels).collect();
    if !versions.is_empty() {
        choices.push(Choice {
            path: format!("{name}/versions/{{version}}"),
            suffix: "_version",
            parameter: Some(parameter("version", "A version that is AVAILABLE.", &json!(versions))),
        });
    }
    if !labels.is_empty() {
        choices.push(Choice {
            path: format!("{name}/labels/{{label}}"),
            suffix: "_label",
            parameter: Some(parameter("label", "A label of a version.", &json!(labels))),
        });
    }
    choices
}

fn parameter(name: &str, description: &str, values: &Value) -> Value {
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": description,
        "schema": {"type": "string", "enum": values},
    })
}

fn describe(model: &Model) -> String {
    match (&model.version, &model.error) {
        (_, Some(error)) => format!("{}: {error}", model.state),
        (Some(version), None) => format!("{}; the signatures are those of version {version}.", model.state),
        (None, None) => format!("{}.", model.state),
    }
}
