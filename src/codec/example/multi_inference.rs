//! MultiInference: several classifications and regressions of the same examples at once.
//!
//! A body is an object with `tasks`, a list of objects with a `method_name` and optionally a
//! `signature_name`, and with `examples` and `context` as for a single one. All tasks are for
//! the model and version in the URL.

use bytes::Bytes;

use super::InputPlaces;
use super::results::{write_classifications, write_list, write_regressions};
use crate::codec::document::{self, SignatureName};
use crate::codec::fault::{Fault, Value};
use crate::codec::limits::Limits;
use crate::codec::reader::Reader;
use crate::codec::writer::{self, NanStyle};
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::inference_result::Result as TaskResult;
use crate::proto::tensorflow::serving::{InferenceResult, Input, MultiInferenceResponse};

/// The method name of a classification.
const CLASSIFY: &str = "tensorflow/serving/classify";

/// The method name of a regression.
const REGRESS: &str = "tensorflow/serving/regress";

/// A decoded `multi_inference` body.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiInference {
    /// The signature name, empty for the default, and the method name of each task. The method
    /// name is written out as `tensorflow/serving/classify` or `tensorflow/serving/regress`.
    pub tasks: Vec<(String, String)>,
    /// The examples, with their context if the body has one.
    pub input: Input,
}

/// Decodes a `multi_inference` body; `verb` is the word for messages.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the place and the reason. Faults of the tasks come before those of
/// the examples.
pub fn decode_multi_inference(body: &Bytes, verb: &str, limits: &Limits) -> Result<MultiInference> {
    decode_members(body, verb, limits).map_err(|fault| fault.into_error(body))
}

fn decode_members(body: &Bytes, verb: &str, limits: &Limits) -> Result<MultiInference, Fault> {
    let mut tasks_at = None;
    let mut places = InputPlaces::default();
    document::members(body, limits, |reader, key| {
        match key {
            b"tasks" => tasks_at = tasks_at.or(Some(reader.at)),
            key => places.see(key, reader.at),
        }
        reader.skip_value()
    })?;
    let Some(at) = tasks_at else {
        let text = Value::at(body, Reader::new(body, limits).at).text;
        return Err(Fault::text(
            0,
            format!("JSON Value: {text} When method is {verb}, key 'tasks' is expected and was not found"),
        ));
    };
    let tasks = tasks(&mut Reader::inside(body, at, 1, limits))?;
    Ok(MultiInference { tasks, input: places.input(body, verb, limits)? })
}

fn tasks(reader: &mut Reader<'_>) -> Result<Vec<(String, String)>, Fault> {
    let start = reader.at;
    if reader.byte() != b'[' {
        let text = Value::at(reader.bytes, start).text;
        return Err(Fault::text(
            start,
            format!("JSON Value: {text} Expecting 'tasks' value to be an list/array"),
        ));
    }
    let mut tasks = Vec::new();
    let mut more = reader.open_array()?;
    while more {
        reader.peek();
        super::within(tasks.len(), reader)?;
        tasks.push(task(reader)?);
        more = reader.next_element()?;
    }
    if tasks.is_empty() {
        return Err(Fault::text(start, "JSON Value: [] 'tasks' value is an empty array"));
    }
    Ok(tasks)
}

/// Reads a task: its signature name and its method name.
fn task(reader: &mut Reader<'_>) -> Result<(String, String), Fault> {
    let start = reader.at;
    if reader.byte() != b'{' {
        let kind = Value::at(reader.bytes, start).kind;
        return Err(Fault::text(start, format!("Task must be JSON object but got JSON {kind}")));
    }
    let mut signature_name = SignatureName::default();
    let mut method_name = None;
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        reader.peek();
        match key.bytes(reader.bytes) {
            b"signature_name" => signature_name.read(reader)?,
            b"method_name" if method_name.is_none() => method_name = Some(method(reader)?),
            _ => reader.skip_value()?,
        }
        more = reader.next_member()?;
    }
    let signature_name = signature_name.finish()?;
    let Some(method_name) = method_name else {
        let text = Value::at(reader.bytes, start).text;
        return Err(Fault::text(
            start,
            format!("JSON Value: {text} key 'method_name' is expected and was not found"),
        ));
    };
    Ok((signature_name, method_name.to_owned()))
}

/// Reads a method name, in which what all have in common may be left out.
fn method(reader: &mut Reader<'_>) -> Result<&'static str, Fault> {
    let start = reader.at;
    if reader.byte() != b'"' {
        let text = Value::at(reader.bytes, start).text;
        return Err(Fault::text(
            start,
            format!("JSON Value: {text} not formatted correctly. 'method_name' key must be a string value."),
        ));
    }
    let name = reader.string()?;
    match name.bytes(reader.bytes) {
        b"classify" | b"tensorflow/serving/classify" => Ok(CLASSIFY),
        b"regress" | b"tensorflow/serving/regress" => Ok(REGRESS),
        name => {
            let name = String::from_utf8_lossy(name);
            Err(Fault::text(
                start,
                format!("Unsupported signature method_name: {name} Expecting classify or regress"),
            ))
        }
    }
}

/// Writes the result of each task as [`encode_classifications`](super::encode_classifications)
/// and [`encode_regressions`](super::encode_regressions) do, beside the names of its signature
/// and its method.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for an empty result, as for a single task; `INTERNAL` for a result that is
/// neither a classification nor a regression.
pub fn encode_multi_inference(reply: &MultiInferenceResponse, nan: NanStyle) -> Result<Vec<u8>> {
    if reply.results.is_empty() {
        return Err(Error::invalid_argument("Cannot convert empty MultiInferenceResponse to JSON"));
    }
    let mut out = b"{\"results\":".to_vec();
    write_list(&reply.results, &mut out, |result, out| write_result(result, out, nan))?;
    out.push(b'}');
    Ok(out)
}

fn write_result(result: &InferenceResult, out: &mut Vec<u8>, nan: NanStyle) -> Result<()> {
    let signature_name = result.model_spec.as_ref().map_or("", |spec| spec.signature_name.as_str());
    out.extend_from_slice(b"{\"signature_name\":");
    writer::write_string(signature_name.as_bytes(), out);
    let mut head = |method: &str| {
        out.extend_from_slice(b",\"method_name\":");
        writer::write_string(method.as_bytes(), out);
        out.extend_from_slice(b",\"results\":");
    };
    match &result.result {
        Some(TaskResult::ClassificationResult(result)) => {
            head(CLASSIFY);
            write_classifications(result, out, nan)?;
        }
        Some(TaskResult::RegressionResult(result)) => {
            head(REGRESS);
            write_regressions(result, out, nan)?;
        }
        None => return Err(Error::internal("A result of the backend is of no kind")),
    }
    out.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::example;
    use crate::proto::tensorflow::serving::{
        Class, ClassificationResult, Classifications, ModelSpec, Regression, RegressionResult,
    };

    fn decode(body: &str) -> Result<MultiInference> {
        decode_multi_inference(&body.to_owned().into(), "multi_inference", &Limits::default())
    }

    #[test]
    fn tasks_come_with_the_examples_of_a_single_verb() {
        for rest in [
            r#""examples": [{"x": 1.5, "s": {"b64": "YQ=="}}, {}]"#,
            r#""context": {"c": [1, 2]}, "examples": [{"x": "a"}], "examples": 5"#,
        ] {
            let body = format!(
                r#"{{{rest}, "tasks": [
                    {{"method_name": "classify", "method_name": "x"}},
                    {{"signature_name": "s", "method_name": "tensorflow/serving/regress", "more": []}},
                    {{"method_name": "tensorflow/serving/classify", "signature_name": ""}},
                    {{"method_name": "regress"}}
                ], "tasks": 5}}"#
            );
            let decoded = decode(&body).unwrap();
            let tasks: Vec<_> = decoded
                .tasks
                .iter()
                .map(|(signature, method)| (signature.as_str(), method.as_str()))
                .collect();
            assert_eq!(tasks, [("", CLASSIFY), ("s", REGRESS), ("", CLASSIFY), ("", REGRESS)]);
            let single =
                example::decode(&format!("{{{rest}}}").into(), "classify", &Limits::default()).unwrap();
            assert_eq!(decoded.input, single.input);
        }
    }

    #[test]
    fn faults_have_a_place_and_a_reason() {
        let task =
            |task| format!(r#"{{"tasks": [{{"method_name": "regress"}}, {task}], "examples": [{{}}]}}"#);
        for (body, expected) in [
            ("{\"tasks\":".to_owned(), "JSON Parse error: Invalid value. at offset: 9"),
            ("[]".to_owned(), "JSON Value: [] Is not object"),
            (
                "{}".to_owned(),
                "JSON Value: {} When method is multi_inference, key 'tasks' is expected and was not found",
            ),
            (
                r#"{"tasks": {}}"#.to_owned(),
                "/tasks: JSON Value: {} Expecting 'tasks' value to be an list/array",
            ),
            (r#"{"tasks": []}"#.to_owned(), "/tasks: JSON Value: [] 'tasks' value is an empty array"),
            (task("5"), "/tasks/1: Task must be JSON object but got JSON Number"),
            (task("{}"), "/tasks/1: JSON Value: {} key 'method_name' is expected and was not found"),
            (
                task(r#"{"method_name": 1}"#),
                "/tasks/1/method_name: JSON Value: 1 not formatted correctly. 'method_name' key must be a \
                 string value.",
            ),
            (
                task(r#"{"method_name": "predict"}"#),
                "/tasks/1/method_name: Unsupported signature method_name: predict Expecting classify or regress",
            ),
            (
                task(r#"{"method_name": "regress", "signature_name": 1}"#),
                "/tasks/1/signature_name: JSON Value: 1 not formatted correctly. 'signature_name' key must be \
                 a string value.",
            ),
            (
                r#"{"tasks": [{"method_name": "regress"}]}"#.to_owned(),
                "JSON Value: {\"tasks\": [{\"method_name\": \"regress\"}]} When method is multi_inference, key \
                 'examples' is expected and was not found",
            ),
            (
                r#"{"tasks": [{"method_name": "regress"}], "examples": [{"x": null}]}"#.to_owned(),
                "/examples/0/x: Feature: x has element with unexpected JSON type: Null",
            ),
        ] {
            assert_eq!(decode(&body).unwrap_err().message(), expected, "{body}");
        }
    }

    fn result(signature_name: &str, result: Option<TaskResult>) -> InferenceResult {
        let signature_name = signature_name.to_owned();
        InferenceResult { model_spec: Some(ModelSpec { signature_name, ..ModelSpec::default() }), result }
    }

    fn check(results: Vec<InferenceResult>, nan: NanStyle, expected: Result<&str, &str>) {
        let encoded = encode_multi_inference(&MultiInferenceResponse { results }, nan);
        let encoded = encoded.map(|text| String::from_utf8(text).unwrap()).map_err(|error| error.to_string());
        assert_eq!(encoded.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn results_are_those_of_a_single_verb_beside_their_task() {
        let class = Class { label: "a".to_owned(), score: 0.5 };
        let classifications = vec![Classifications { classes: vec![class] }, Classifications::default()];
        let classes = TaskResult::ClassificationResult(ClassificationResult { classifications });
        let regressions = vec![Regression { value: 42.0 }, Regression { value: f32::NAN }];
        let values = TaskResult::RegressionResult(RegressionResult { regressions });
        let results = vec![
            result("s\"", Some(values.clone())),
            InferenceResult { model_spec: None, result: Some(classes) },
        ];
        let expected = concat!(
            r#"{"results":[{"signature_name":"s\"","method_name":"tensorflow/serving/regress","#,
            r#""results":[42.0,null]},{"signature_name":"","method_name":"tensorflow/serving/classify","#,
            r#""results":[[["a",0.5]],[]]}]}"#
        );
        check(results, NanStyle::Null, Ok(expected));
        let refusal = "INVALID_ARGUMENT: The reply holds NaN, which JSON cannot carry (the server runs with --nan \
                       error)";
        check(vec![result("", Some(values))], NanStyle::Error, Err(refusal));
    }

    #[test]
    fn empty_results_are_refused() {
        let empty = TaskResult::RegressionResult(RegressionResult::default());
        let text = "INVALID_ARGUMENT: Cannot convert empty RegressionResults to JSON";
        check(vec![result("", Some(empty))], NanStyle::Literal, Err(text));
        let text = "INVALID_ARGUMENT: Cannot convert empty MultiInferenceResponse to JSON";
        check(Vec::new(), NanStyle::Literal, Err(text));
        let text = "INTERNAL: A result of the backend is of no kind";
        check(vec![result("", None)], NanStyle::Literal, Err(text));
    }
}
