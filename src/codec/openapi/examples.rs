//! The verbs that take examples: classify, regress and multi_inference.
//!
//! A signature of theirs does not tell its features, so that any object of features fits here.

use serde_json::{Map, Value, json};

use super::components::{Components, json_content};
use super::example;
use super::request::Named;
use super::schema::{any_of, list, object};
use super::tensor::base64;
use crate::codec::catalog;
use crate::codec::signature::DEFAULT_SIGNATURE;
use crate::codec::writer::NanStyle;
use crate::proto::tensorflow::DataType;

/// What all names of methods begin with.
const PREFIX: &str = "tensorflow/serving/";

/// A verb that takes examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// Labels with scores.
    Classify,
    /// Numbers.
    Regress,
    /// Both, for several signatures.
    MultiInference,
}

impl Verb {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Classify, Self::Regress, Self::MultiInference];

    /// As paths have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Regress => "regress",
            Self::MultiInference => "multi_inference",
        }
    }

    /// What it does, for people.
    pub(super) fn summary(self) -> &'static str {
        match self {
            Self::Classify => "Labels with scores for examples",
            Self::Regress => "Numbers for examples",
            Self::MultiInference => "Several signatures on the same examples",
        }
    }

    /// The signatures that it is for.
    pub(super) fn signatures(self, model: &catalog::Model) -> Vec<Named<'_>> {
        let is_meant = |method: &str| match method.strip_prefix(PREFIX) {
            Some("classify") => self != Self::Regress,
            Some("regress") => self != Self::Classify,
            _ => false,
        };
        let signatures = model.signatures.iter().flatten();
        signatures
            .filter(|(_, signature)| is_meant(&signature.method_name))
            .map(|(name, signature)| (name.as_str(), signature))
            .collect()
    }
}

/// Whether a signature is for one of these verbs.
pub(super) fn is_for_examples(signature: &catalog::Signature) -> bool {
    matches!(signature.method_name.strip_prefix(PREFIX), Some("classify" | "regress"))
}

/// The body of a request, with examples made of the inputs of these signatures if they may be features.
pub(super) fn content(
    verb: Verb,
    signatures: &[Named<'_>],
    others: &[Named<'_>],
    components: &mut Components,
) -> Value {
    let features = features(components);
    let mut properties = Map::new();
    properties.insert("examples".to_owned(), list(&features, None, 1));
    let mut required = vec!["examples"];
    let mut context = features;
    context["description"] = json!("Features of all examples.");
    if verb == Verb::MultiInference {
        let tasks: Vec<_> = signatures.iter().map(task).collect();
        properties.insert("tasks".to_owned(), list(&any_of(tasks), None, 1));
        required.push("tasks");
    } else {
        let names = signatures.iter().map(|(name, _)| *name);
        let is_default = names.clone().any(|name| name == DEFAULT_SIGNATURE);
        let mut names: Vec<_> = names.collect();
        if is_default {
            names.push("");
        } else {
            required.push("signature_name");
        }
        properties.insert("signature_name".to_owned(), json!({"type": "string", "enum": names}));
    }
    properties.insert("context".to_owned(), context);
    let schema = json!({"type": "object", "required": required, "properties": properties});
    let mut body = json_content(schema);
    body["application/json"]["examples"] = examples(verb, signatures, others);
    body
}

fn examples(verb: Verb, signatures: &[Named<'_>], others: &[Named<'_>]) -> Value {
    let mut examples = Map::new();
    let Some(body) = example::features(others) else { return Value::Object(examples) };
    // Others want the features that they take as a tensor.
    let is_parsed = |signature: &catalog::Signature| {
        signature.inputs.len() == 1
            && signature.inputs.values().all(|input| input.dtype == DataType::DtString)
    };
    let parsed: Vec<_> = signatures.iter().filter(|(_, signature)| is_parsed(signature)).collect();
    if verb == Verb::MultiInference {
        let tasks: Vec<_> = parsed
            .iter()
            .map(|(name, signature)| json!({"signature_name": name, "method_name": signature.method_name}))
            .collect();
        if !tasks.is_empty() {
            let mut body = body;
            body["tasks"] = json!(tasks);
            examples.insert("all".to_owned(), json!({"summary": "all signatures", "value": body}));
        }
    } else {
        for (name, _) in parsed {
            let mut body = body.clone();
            body["signature_name"] = json!(name);
            examples.insert(example::key(name), json!({"summary": name, "value": body}));
        }
    }
    Value::Object(examples)
}

fn task((name, signature): &Named<'_>) -> Value {
    let method = &signature.method_name;
    let short = method.strip_prefix(PREFIX).unwrap_or(method);
    let is_default = *name == DEFAULT_SIGNATURE;
    let names = if is_default { json!([name, ""]) } else { json!([name]) };
    let required = if is_default { json!(["method_name"]) } else { json!(["method_name", "signature_name"]) };
    json!({
        "type": "object",
        "required": required,
        "properties": {
            "signature_name": {"type": "string", "enum": names},
            "method_name": {"type": "string", "enum": [short, method]},
        },
    })
}

/// An object of features.
fn features(components: &mut Components) -> Value {
    let base64 = base64(components);
    let number = json!({"description": "true is 1 and false 0.", "type": ["number", "boolean"]});
    let string = any_of(vec![json!({"type": "string"}), base64]);
    let feature = components.schema("Feature", || {
        json!({
            "description": "A value, or a list of values of one kind.",
            "anyOf": [number, string, list(&number, None, 0), list(&string, None, 0)],
        })
    });
    components.schema(
        "Features",
        || json!({"type": "object", "description": "Features by name.", "additionalProperties": feature}),
    )
}

/// The reply.
pub(super) fn reply(verb: Verb, nan: NanStyle, components: &mut Components) -> Value {
    let number = match nan {
        NanStyle::Null => json!({"type": ["number", "null"]}),
        NanStyle::String => json!({"type": ["number", "string"]}),
        NanStyle::Literal | NanStyle::Error => json!({"type": "number"}),
    };
    let score = components.schema("LabelAndScore", || {
        json!({
            "description": "A label and its score.",
            "type": "array",
            "items": any_of(vec![json!({"type": "string"}), number.clone()]),
            "minItems": 2,
            "maxItems": 2,
        })
    });
    let classes = list(&list(&score, None, 0), None, 0);
    let numbers = list(&number, None, 0);
    let results = |results: Value| object([("results".to_owned(), results)].into_iter().collect());
    let schema = match verb {
        Verb::Classify => components.schema("Classifications", || results(classes)),
        Verb::Regress => components.schema("Regressions", || results(numbers)),
        Verb::MultiInference => components.schema("MultiInferenceResults", || {
            let result = [
                ("signature_name", json!({"type": "string"})),
                ("method_name", json!({"type": "string"})),
                ("results", any_of(vec![classes, numbers])),
            ];
            let result = object(result.map(|(name, schema)| (name.to_owned(), schema)).into_iter().collect());
            results(list(&result, None, 0))
        }),
    };
    json_content(schema)
}
