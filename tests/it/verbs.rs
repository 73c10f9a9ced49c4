//! What must hold of the verbs but predict for any input, as `properties` has it for that one, and
//! of the headers of all.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use prost::Message;
use prost_types::Any;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tfbridge::codec::signature::{self, Signatures};
use tfbridge::codec::{Limits, NanStyle, example, model};
use tfbridge::config::Config;
use tfbridge::error::Error;
use tfbridge::handler::Bridge;
use tfbridge::proto::tensorflow::feature::Kind;
use tfbridge::proto::tensorflow::serving::inference_result::Result as TaskResult;
use tfbridge::proto::tensorflow::serving::{
    Class, ClassificationResult, Classifications, GetModelMetadataResponse, GetModelStatusResponse,
    InferenceResult, ModelSpec, ModelVersionStatus, MultiInferenceResponse, Regression, RegressionResult,
    SignatureDefMap, StatusProto, input,
};
use tfbridge::proto::tensorflow::{
    BytesList, FloatList, Int64List, SignatureDef, TensorInfo, TensorShapeProto,
};

use crate::support;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn score() -> impl Strategy<Value = f32> {
    prop_oneof![any::<f32>(), select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY])]
}

fn classifications() -> impl Strategy<Value = ClassificationResult> {
    let class = (any::<String>(), score()).prop_map(|(label, score)| Class { label, score });
    let row = vec(class, 0..4).prop_map(|classes| Classifications { classes });
    vec(row, 0..4).prop_map(|classifications| ClassificationResult { classifications })
}

fn regressions() -> impl Strategy<Value = RegressionResult> {
    let regression = score().prop_map(|value| Regression { value });
    vec(regression, 0..6).prop_map(|regressions| RegressionResult { regressions })
}

/// The JSON that was written, if it was.
fn read(text: Result<Vec<u8>, Error>) -> Option<Value> {
    text.ok().map(|text| serde_json::from_slice(&text).expect("JSON"))
}

/// A float as JSON has it where there is no other word for it than `null`.
fn number(value: f32) -> Value {
    Value::from(f64::from(value))
}

/// The same JSON with its numbers as the floats that they are read as.
fn rounded(json: Value) -> Value {
    match json {
        Value::Number(number) => self::number(number.as_f64().unwrap() as f32),
        Value::Array(items) => items.into_iter().map(rounded).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, rounded(value))).collect(),
        json => json,
    }
}

fn rows(result: &ClassificationResult) -> Value {
    let class = |class: &Class| json!([class.label, number(class.score)]);
    let row = |row: &Classifications| row.classes.iter().map(class).collect::<Value>();
    result.classifications.iter().map(row).collect()
}

fn values(result: &RegressionResult) -> Value {
    result.regressions.iter().map(|regression| number(regression.value)).collect()
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn any_result_is_printed_as_it_is(classifications in classifications(), regressions in regressions()) {
        let expected = (!classifications.classifications.is_empty())
            .then(|| json!({ "results": rows(&classifications) }));
        prop_assert_eq!(read(example::encode_classifications(&classifications, NanStyle::Null)).map(rounded), expected);
        let expected = (!regressions.regressions.is_empty()).then(|| json!({ "results": values(&regressions) }));
        prop_assert_eq!(read(example::encode_regressions(&regressions, NanStyle::Null)).map(rounded), expected);
    }

    #[test]
    fn any_results_of_tasks_become_json_or_an_error(
        tasks in vec((any::<Option<String>>(), 0..3_u8, classifications(), regressions()), 0..4),
    ) {
        let result = |(name, kind, classes, values): (Option<String>, u8, _, _)| InferenceResult {
            model_spec: name.map(|signature_name| ModelSpec { signature_name, ..ModelSpec::default() }),
            result: match kind {
                0 => None,
                1 => Some(TaskResult::ClassificationResult(classes)),
                _ => Some(TaskResult::RegressionResult(values)),
            },
        };
        let reply = MultiInferenceResponse { results: tasks.into_iter().map(result).collect() };
        let is_whole = reply.results.iter().all(|result| match &result.result {
            None => false,
            Some(TaskResult::ClassificationResult(result)) => !result.classifications.is_empty(),
            Some(TaskResult::RegressionResult(result)) => !result.regressions.is_empty(),
        });
        let printed = read(example::encode_multi_inference(&reply, NanStyle::String));
        prop_assert_eq!(printed.is_some(), is_whole && !reply.results.is_empty());
        if let Some(printed) = printed {
            prop_assert_eq!(printed["results"].as_array().unwrap().len(), reply.results.len());
        }
    }

    #[test]
    fn any_status_is_printed(versions in vec(any::<(i64, i32, Option<(i32, String)>)>(), 0..4)) {
        let status = |(version, state, status): (i64, i32, Option<(i32, String)>)| ModelVersionStatus {
            version,
            state,
            status: status.map(|(error_code, error_message)| StatusProto { error_code, error_message }),
        };
        let expected: Vec<String> = versions.iter().map(|(version, ..)| version.to_string()).collect();
        let reply = GetModelStatusResponse { model_version_status: versions.into_iter().map(status).collect() };
        let printed = read(model::encode_status(&reply)).expect("whatever it says");
        let printed = printed["model_version_status"].as_array().unwrap();
        let found: Vec<&str> = printed.iter().map(|status| status["version"].as_str().unwrap()).collect();
        prop_assert_eq!(found, expected);
    }
}

fn tensor_info() -> impl Strategy<Value = TensorInfo> {
    let size = prop_oneof![8 => -1..5_i64, 1 => any::<i64>()];
    let shape = (vec(size, 0..4), prop::bool::weighted(0.2))
        .prop_map(|(sizes, unknown_rank)| TensorShapeProto { unknown_rank, ..support::shape(&sizes) });
    let dtype = prop_oneof![0..30, any::<i32>()];
    (dtype, prop::option::of(shape)).prop_map(|(dtype, tensor_shape)| TensorInfo {
        dtype,
        tensor_shape,
        ..TensorInfo::default()
    })
}

fn signature_map() -> impl Strategy<Value = SignatureDefMap> {
    let name = || {
        prop_oneof![
            ".{0,5}",
            select(vec!["inputs", "metadata", "signature_def", "dtype"]).prop_map(str::to_owned)
        ]
    };
    let infos = move || hash_map(name(), tensor_info(), 0..4);
    let definition = (infos(), infos(), any::<String>()).prop_map(|(inputs, outputs, method_name)| {
        SignatureDef { inputs, outputs, method_name, ..SignatureDef::default() }
    });
    hash_map(name(), definition, 0..4).prop_map(|signature_def| SignatureDefMap { signature_def })
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn signatures_that_are_printed_can_be_read_from_a_file(map in signature_map(), cut in any::<Option<u8>>()) {
        let mut value = map.encode_to_vec();
        // Lengths that lie: what is cut off is no message, or another one.
        value.truncate(cut.map_or(value.len(), usize::from));
        let type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap".to_owned();
        let metadata = HashMap::from([(model::SIGNATURE_DEF.to_owned(), Any { type_url, value })]);
        let reply = GetModelMetadataResponse { metadata, ..GetModelMetadataResponse::default() };
        let text = model::encode_metadata(&reply);
        let map = model::decode_signatures(&reply);
        prop_assert_eq!(text.is_ok(), map.is_ok());
        let (Ok(map), Ok(text)) = (map, text) else { return Ok(()) };
        let inputs = map.signature_def.values().flat_map(|definition| definition.inputs.values());
        let shapes = inputs.filter_map(|input| input.tensor_shape.as_ref()).filter(|shape| !shape.unknown_rank);
        let is_sound = shapes.flat_map(|shape| &shape.dim).all(|dim| dim.size >= -1);
        let models = signature::file::parse(&[b"{\"m\":", text.as_slice(), b"}"].concat());
        let expected = BTreeMap::from([("m".to_owned(), Signatures::from(&map))]);
        prop_assert_eq!(models.ok(), is_sound.then_some(expected));
    }

    #[test]
    fn no_file_and_no_reload_is_read_of_what_is_no_json(map in signature_map(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let value = map.encode_to_vec();
        let type_url = "tensorflow.serving.SignatureDefMap".to_owned();
        let metadata = HashMap::from([(model::SIGNATURE_DEF.to_owned(), Any { type_url, value })]);
        let reply = GetModelMetadataResponse { metadata, ..GetModelMetadataResponse::default() };
        let mut text = model::encode_metadata(&reply).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        let is_json = serde_json::from_slice::<IgnoredAny>(&text).is_ok();
        let is_read = signature::file::parse(&text).is_ok() || model::decode_reload(&text).is_ok();
        prop_assert!(is_json || !is_read, "{}", String::from_utf8_lossy(&text));
    }
}

/// A feature: its JSON and what it is read as.
fn feature() -> impl Strategy<Value = (Value, Option<Kind>)> {
    let strings = vec(any::<String>(), 1..4).prop_map(|values| {
        let list = values.iter().map(|value| Bytes::from(value.clone())).collect();
        (Value::from(values), Some(Kind::BytesList(BytesList { value: list })))
    });
    let floats = vec(any::<i32>().prop_map(|value| f64::from(value) / 8.0), 1..4).prop_map(|values| {
        let list = values.iter().map(|&value| value as f32).collect();
        (Value::from(values), Some(Kind::FloatList(FloatList { value: list })))
    });
    let integers = vec(any::<i64>(), 1..4)
        .prop_map(|value| (Value::from(value.clone()), Some(Kind::Int64List(Int64List { value }))));
    let lists = prop_oneof![strings, floats, integers, Just((json!([]), None))];
    (lists, any::<bool>()).prop_map(|((json, kind), is_bare)| match json {
        // A list of one may do without the list.
        Value::Array(items) if is_bare && items.len() == 1 => (items[0].clone(), kind),
        json => (json, kind),
    })
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn examples_are_read_as_they_are_written(
        examples in vec(hash_map(any::<String>(), feature(), 0..4), 1..4),
        context in prop::option::of(hash_map(any::<String>(), feature(), 0..4)),
    ) {
        let json = |features: &HashMap<String, (Value, Option<Kind>)>| {
            features.iter().map(|(name, (json, _))| (name.clone(), json.clone())).collect::<Value>()
        };
        let mut body = json!({
            "signature_name": "s",
            "examples": examples.iter().map(json).collect::<Vec<_>>(),
            "tasks": [{ "method_name": "regress" }],
        });
        if let Some(context) = &context {
            body["context"] = json(context);
        }
        let body = Bytes::from(body.to_string());
        let decoded = example::decode(&body, "classify", &Limits::default()).unwrap();
        prop_assert_eq!(&decoded.signature_name, "s");
        let tasks = example::decode_multi_inference(&body, "multi_inference", &Limits::default()).unwrap();
        prop_assert_eq!(&tasks.input, &decoded.input);
        let (list, found_context) = match decoded.input.kind.unwrap() {
            input::Kind::ExampleList(list) => (list.examples, None),
            input::Kind::ExampleListWithContext(list) => (list.examples, list.context),
        };
        prop_assert_eq!(found_context.is_some(), context.is_some());
        prop_assert_eq!(list.len(), examples.len());
        for (example, features) in list.iter().chain(&found_context).zip(examples.iter().chain(&context)) {
            let found = &example.features.as_ref().unwrap().feature;
            let kinds = found.iter().map(|(name, feature)| (name, &feature.kind)).collect::<HashMap<_, _>>();
            let expected = features.iter().map(|(name, (_, kind))| (name, kind)).collect::<HashMap<_, _>>();
            prop_assert_eq!(kinds, expected);
        }
    }
}

/// Times, what looks like them, and any bytes.
fn time() -> impl Strategy<Value = Vec<u8>> {
    let unit =
        select(vec!["", "H", "M", "S", "m", "u", "n", "s", "ms", "days", "years", " 1h 2min", "-", "e9"]);
    prop_oneof![
        4 => ("-?[0-9]{0,22}(\\.[0-9])?", unit).prop_map(|(digits, unit)| (digits + unit).into_bytes()),
        1 => vec(any::<u8>(), 0..12),
    ]
}

#[tokio::test]
async fn a_timeout_of_any_text_is_refused_or_makes_the_time_no_longer() {
    let config = Config::new("127.0.0.1:1".parse().unwrap());
    let bridge = Bridge::new(&config);
    let headers = vec((select(vec!["x-request-timeout", "grpc-timeout"]), time()), 0..3);
    let refused = |error: &Error| error.code() == tonic::Code::InvalidArgument;
    TestRunner::new(cases(4000))
        .run(&headers, |headers| {
            let value = |(name, value): (_, Vec<u8>)| {
                Some((HeaderName::from_static(name), HeaderValue::from_bytes(&value).ok()?))
            };
            let headers: HeaderMap = headers.into_iter().filter_map(value).collect();
            match bridge.call(&headers, &std::sync::Arc::default()) {
                Ok(call) => {
                    let remaining = call.deadline.remaining();
                    prop_assert!(remaining.is_some_and(|time| time <= config.api.timeout), "{:?}", remaining);
                }
                Err(error) => prop_assert!(refused(&error), "{}", error),
            }
            Ok(())
        })
        .unwrap();
}
