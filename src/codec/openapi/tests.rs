//! The document of a few models.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{CustomPath, Options, document};
use crate::codec::catalog::{Catalog, Model, Signature, Tensor, Version};
use crate::codec::custom::{Format, Mapping};
use crate::codec::signature::DEFAULT_SIGNATURE;
use crate::codec::writer::NanStyle;
use crate::proto::tensorflow::DataType;

fn tensors(tensors: &[(&str, DataType, Option<&[i64]>)]) -> BTreeMap<String, Tensor> {
    let tensor = |(name, dtype, shape): &(&str, DataType, Option<&[i64]>)| {
        ((*name).to_owned(), Tensor { dtype: *dtype, shape: shape.map(Into::into) })
    };
    tensors.iter().map(tensor).collect()
}

fn model(name: &str, signatures: &[(&str, &str, Signature)]) -> Model {
    let signature = |(name, method, signature): &(&str, &str, Signature)| {
        let method_name = format!("tensorflow/serving/{method}");
        ((*name).to_owned(), Signature { method_name, ..signature.clone() })
    };
    Model {
        name: name.to_owned(),
        state: "AVAILABLE",
        version: Some(3),
        versions: vec![
            Version { number: 4, state: "LOADING", labels: Vec::new() },
            Version { number: 3, state: "AVAILABLE", labels: vec!["stable".to_owned()] },
        ],
        signatures: Some(signatures.iter().map(signature).collect()),
        error: None,
    }
}

fn signature(
    inputs: &[(&str, DataType, Option<&[i64]>)],
    outputs: &[(&str, DataType, Option<&[i64]>)],
) -> Signature {
    Signature { method_name: String::new(), inputs: tensors(inputs), outputs: tensors(outputs) }
}

fn small() -> Catalog {
    let plain = signature(
        &[("x", DataType::DtFloat, Some(&[-1, 2]))],
        &[("scores", DataType::DtFloat, Some(&[-1, 3])), ("text", DataType::DtString, None)],
    );
    let bytes = signature(
        &[("n", DataType::DtUint64, Some(&[])), ("raw_bytes", DataType::DtString, Some(&[2]))],
        &[("raw_bytes", DataType::DtString, Some(&[]))],
    );
    let parsed = signature(
        &[("inputs", DataType::DtString, Some(&[-1]))],
        &[("outputs", DataType::DtFloat, Some(&[-1]))],
    );
    let models = vec![
        Model::unknown("gone", Some("why".to_owned())),
        model(
            "a:b {c}",
            &[
                (DEFAULT_SIGNATURE, "predict", plain),
                ("raw", "predict", bytes),
                ("labels", "classify", parsed),
            ],
        ),
    ];
    Catalog { models, ..Catalog::default() }
}

fn schema<'a>(document: &'a Value, name: &str) -> &'a Value {
    &document["components"]["schemas"][name]
}

#[test]
fn bodies_are_what_the_signatures_say() {
    let document = document(&small(), &Options::default());
    let rows = schema(&document, "ABCServingDefaultRows");
    let number = json!({"type": "number", "format": "float"});
    let row = json!({"type": "array", "items": number, "minItems": 2, "maxItems": 2});
    assert_eq!(rows["required"], json!(["instances"]));
    let instances = &rows["properties"]["instances"]["anyOf"];
    assert_eq!(instances[0], json!({"type": "array", "items": row, "minItems": 1}));
    assert_eq!(instances[1]["items"]["properties"]["x"], row);
    assert_eq!(instances[1]["items"]["additionalProperties"], false);
    assert_eq!(rows["properties"]["top_k"]["minimum"], 1);
    // An output that is asked for twice is refused.
    assert_eq!(rows["properties"]["output_filter"]["uniqueItems"], true);
    // Without a dimension of rows there are none.
    assert!(schema(&document, "ABCRawRows").is_null());
    let columns = schema(&document, "ABCRawColumns");
    assert_eq!(columns["required"], json!(["inputs", "signature_name"]));
    let inputs = &columns["properties"]["inputs"];
    assert_eq!(inputs["required"], json!(["n", "raw_bytes"]));
    assert_eq!(inputs["properties"]["n"]["maximum"], json!(u64::MAX));
    assert_eq!(inputs["properties"]["raw_bytes"]["items"], json!({"$ref": "#/components/schemas/Text"}));
    let outputs = schema(&document, "ABCRawOutputs");
    assert_eq!(outputs["properties"]["outputs"], json!({"$ref": "#/components/schemas/Base64"}));
    let predictions =
        &schema(&document, "ABCServingDefaultPredictions")["properties"]["predictions"]["items"];
    let members: Vec<_> = predictions["anyOf"][0]["properties"].as_object().unwrap().keys().collect();
    assert_eq!(members, ["scores", "scores_indices", "scores_scores", "text"]);
}

#[test]
fn paths_are_those_that_answer() {
    let document =
        document(&small(), &Options { sagemaker: Some("a:b {c}".to_owned()), ..Options::default() });
    let paths = document["paths"].as_object().unwrap();
    let has = |path: &str| assert!(paths.contains_key(path), "{path}");
    for path in [
        "/v1/models",
        "/v1/models/gone",
        "/v1/models/a%3Ab%20%7Bc%7D:predict",
        "/v1/models/a%3Ab%20%7Bc%7D/versions/{version}:classify",
        "/v1/models/a%3Ab%20%7Bc%7D/labels/{label}:multi_inference",
        "/v1/models/a%3Ab%20%7Bc%7D/labels/{label}/metadata",
        "/v2/models/a%3Ab%20%7Bc%7D/infer",
        "/v2/health/ready",
        "/ping",
    ] {
        has(path);
    }
    for path in ["/v1/models/gone:predict", "/v1/models/a%3Ab%20%7Bc%7D:regress", "/v2/models/gone"] {
        assert!(!paths.contains_key(path), "{path}");
    }
    let predict = &paths["/v1/models/a%3Ab%20%7Bc%7D/versions/{version}:predict"]["post"];
    assert_eq!(predict["parameters"][0]["schema"]["enum"], json!(["3"]), "what is LOADING does not answer");
    assert_eq!(paths["/invocations"]["post"]["requestBody"], predict["requestBody"]);
    let operations: Vec<_> = paths.values().flat_map(|item| item.as_object().unwrap().values()).collect();
    let ids: std::collections::BTreeSet<_> =
        operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len());
}

/// All references of a value.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    if let Some(reference) = value["$ref"].as_str() {
        found.push(reference);
    }
    match value {
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        Value::Object(values) => values.values().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document =
        document(&small(), &Options { nan: NanStyle::String, has_tokens: true, ..Options::default() });
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
}

#[test]
fn replies_are_numbers_as_they_are_written() {
    for (nan, expected) in [
        (NanStyle::Literal, json!({"type": "number", "format": "float"})),
        (NanStyle::Null, json!({"anyOf": [{"type": "number", "format": "float"}, {"type": "null"}]})),
    ] {
        let document = document(&small(), &Options { nan, ..Options::default() });
        let predictions =
            &schema(&document, "ABCServingDefaultPredictions")["properties"]["predictions"]["items"];
        assert_eq!(predictions["anyOf"][0]["properties"]["scores"]["items"], expected, "{nan:?}");
    }
}

#[test]
fn routes_of_ones_own_have_their_keys() {
    let route = CustomPath {
        path: "/score".to_owned(),
        model: "a:b {c}".to_owned(),
        label: Some("stable".to_owned()),
        mapping: Mapping {
            input_key: Some("input".to_owned()),
            reply_key: Some("output".to_owned()),
            outputs: [("scores".to_owned(), "probabilities".to_owned())].into(),
            format: Format::Single,
            ..Mapping::default()
        },
        ..CustomPath::default()
    };
    let lost = CustomPath { path: "/lost".to_owned(), model: "none".to_owned(), ..CustomPath::default() };
    let nothing = CustomPath {
        path: "/nothing".to_owned(),
        model: "a:b {c}".to_owned(),
        mapping: Mapping {
            fixed: [("x".to_owned(), "[[1, 2]]".into())].into(),
            outputs: [("text".to_owned(), "text_bytes".to_owned())].into(),
            ..Mapping::default()
        },
        ..CustomPath::default()
    };
    let custom = vec![route, nothing, lost];
    let document = document(&small(), &Options { custom, ..Options::default() });
    let item = &document["paths"]["/score"];
    assert_eq!(
        item["x-tfbridge-route"],
        json!({"model": "a:b {c}", "label": "stable", "signature_name": "serving_default"})
    );
    let content = &item["post"]["requestBody"]["content"]["application/json"];
    assert_eq!(content["example"], json!({"input": [0.5, 0.25]}));
    // The value of the only input, or an object that may have more than that.
    let forms = &content["schema"]["properties"]["input"]["anyOf"];
    assert_eq!((&forms[0]["maxItems"], &forms[1]["required"]), (&json!(2), &json!(["x"])));
    assert!(forms[1]["additionalProperties"].is_null());
    let reply = &item["post"]["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(reply["properties"]["output"]["maxItems"], 3);
    let nothing = &document["paths"]["/nothing"]["post"];
    let content = &nothing["requestBody"]["content"]["application/json"];
    assert_eq!(content["schema"], json!({}));
    // What is called bytes is bytes.
    let reply = &nothing["responses"]["200"]["content"]["application/json"]["schema"];
    let bytes = json!({"$ref": "#/components/schemas/BytesTensorOut"});
    assert_eq!(reply["properties"]["text_bytes"], bytes);
    let lost = &document["paths"]["/lost"]["post"]["requestBody"]["content"]["application/json"];
    assert_eq!(lost["schema"], json!({}));
}

#[test]
fn deep_and_large_tensors_take_no_longer_than_their_text() {
    let large: &[i64] = &[-1, 100, 100, 100];
    let deep: &[i64] = &[2; 250];
    let signature = signature(
        &[("x", DataType::DtString, Some(large)), ("y", DataType::DtFloat, Some(deep))],
        &[("scores", DataType::DtFloat, Some(deep))],
    );
    let large = Signature { inputs: tensors(&[("x", DataType::DtString, Some(large))]), ..signature.clone() };
    let names: Vec<_> = (0..20).map(|index| (format!("deep{index}"), format!("large{index}"))).collect();
    let signatures: Vec<_> = names
        .iter()
        .flat_map(|(deep, wide)| {
            [(deep.as_str(), "predict", signature.clone()), (wide.as_str(), "predict", large.clone())]
        })
        .collect();
    let models = vec![model("m", &signatures)];
    let start = std::time::Instant::now();
    let document = document(&Catalog { models, ..small() }, &Options::default());
    // A sample of a million strings for each, which nobody is shown, would be minutes.
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(document["components"]["schemas"].as_object().is_some_and(|schemas| schemas.len() > 40));
}
