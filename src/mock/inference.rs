//! The calls that take `tf.Example`s: Classify, Regress and `MultiInference`.
//!
//! The examples become one vector of serialized strings, the context put into each, and are fed
//! to the graph as they are; what is in them is the graph's affair. `results` makes of the tensors what
//! these calls answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tonic::Code;

use super::graph::{self, Feed, Fetch};
use super::models::{Models, Servable};
use super::predict::{missing_spec, served_spec};
use super::program::Program;
use super::results::{classifications, regressions};
use super::signature::{CLASSIFY, REGRESS, effective};
use super::tensor::Tensor;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::inference_result::Result as TaskResult;
use crate::proto::tensorflow::serving::input::Kind;
use crate::proto::tensorflow::serving::{
    ClassificationRequest, ClassificationResponse, ClassificationResult, InferenceResult, InferenceTask,
    Input, ModelSpec, MultiInferenceRequest, MultiInferenceResponse, RegressionRequest, RegressionResponse,
    RegressionResult,
};
use crate::proto::tensorflow::{Example, Feature, Features, SignatureDef, TensorInfo};

/// Labels with scores for every example.
pub(super) fn classify(models: &Models, request: &ClassificationRequest) -> Result<ClassificationResponse> {
    let spec = request.model_spec.as_ref().ok_or_else(missing_spec)?;
    let call = Call::new(&models.find(spec)?, spec, Method::Classify, UNKNOWN)?;
    let result = call.classify(serialize(request.input.as_ref())?)?;
    Ok(ClassificationResponse { model_spec: Some(call.served), result: Some(result) })
}

/// One number for every example.
pub(super) fn regress(models: &Models, request: &RegressionRequest) -> Result<RegressionResponse> {
    let spec = request.model_spec.as_ref().ok_or_else(missing_spec)?;
    let call = Call::new(&models.find(spec)?, spec, Method::Regress, UNKNOWN)?;
    let result = call.regress(serialize(request.input.as_ref())?)?;
    Ok(RegressionResponse { model_spec: Some(call.served), result: Some(result) })
}

/// Several of the above on the same examples.
pub(super) fn multi_inference(
    models: &Models,
    request: &MultiInferenceRequest,
) -> Result<MultiInferenceResponse> {
    // Without a task there is no name either, which is what the real server complains about.
    let first = request.tasks.first().and_then(|task| task.model_spec.clone()).unwrap_or_default();
    let calls = plan(&models.find(&first)?, &first.name, &request.tasks)?;
    let names: BTreeSet<&str> = calls.iter().map(|call| graph::tensor_name(&call.input)).collect();
    if names.len() > 1 {
        return Err(Error::invalid_argument("Input tensor must be the same for all Signatures."));
    }
    let examples = serialize(request.input.as_ref())?;
    let answer = |call: Call| {
        let examples = examples.clone();
        let result = match call.method {
            Method::Classify => TaskResult::ClassificationResult(call.classify(examples)?),
            Method::Regress => TaskResult::RegressionResult(call.regress(examples)?),
        };
        Ok(InferenceResult { model_spec: Some(call.served), result: Some(result) })
    };
    Ok(MultiInferenceResponse { results: calls.into_iter().map(answer).collect::<Result<_>>()? })
}

/// What an unknown signature is called outside of `MultiInference`.
const UNKNOWN: &str = "No signature was found with the name";

#[derive(Debug, Clone, Copy)]
enum Method {
    Classify,
    Regress,
}

/// A signature found and checked: one tensor to feed and one or two to fetch.
#[derive(Debug)]
struct Call {
    program: Arc<Program>,
    method: Method,
    input: TensorInfo,
    outputs: Vec<(&'static str, TensorInfo)>,
    served: ModelSpec,
}

impl Call {
    fn new(servable: &Servable, spec: &ModelSpec, method: Method, unknown: &str) -> Result<Self> {
        let name = effective(&spec.signature_name);
        let signature = servable.program.signatures.get(name);
        let signature = signature.ok_or_else(|| Error::invalid_argument(format!("{unknown}: {name}")))?;
        let (method_name, kind) = match method {
            Method::Classify => (CLASSIFY, "classification"),
            Method::Regress => (REGRESS, "regression"),
        };
        if signature.method_name != method_name {
            let was = &signature.method_name;
            return Err(Error::invalid_argument(format!(
                "Expected {kind} signature method_name to be {method_name}. Was: {was}"
            )));
        }
        Ok(Self {
            program: Arc::clone(&servable.program),
            method,
            input: input(signature, kind)?.clone(),
            outputs: outputs(signature, method)?,
            served: served_spec(&spec.name, &spec.signature_name, servable.version),
        })
    }

    fn classify(&self, examples: Vec<Bytes>) -> Result<ClassificationResult> {
        let count = examples.len();
        let tensors = self.run(examples)?;
        let named = |name| {
            let position = self.outputs.iter().position(|(alias, _)| *alias == name)?;
            tensors.get(position)
        };
        classifications(named(CLASSES), named(SCORES), count)
    }

    fn regress(&self, examples: Vec<Bytes>) -> Result<RegressionResult> {
        let count = examples.len();
        let tensors = self.run(examples)?;
        let tensor = tensors.first();
        regressions(tensor.ok_or_else(|| Error::internal("The mock's graph answered nothing."))?, count)
    }

    fn run(&self, examples: Vec<Bytes>) -> Result<Vec<Tensor>> {
        let feed = Feed { alias: INPUTS, info: &self.input, tensor: Tensor::of_strings(examples) };
        let fetches: Vec<_> = self.outputs.iter().map(|(alias, info)| Fetch { alias, info }).collect();
        self.program.run(effective(&self.served.signature_name), vec![feed], &fetches)
    }
}

const INPUTS: &str = "inputs";
const CLASSES: &str = "classes";
const SCORES: &str = "scores";
const OUTPUTS: &str = "outputs";

/// The one tensor that takes the examples.
fn input<'a>(signature: &'a SignatureDef, kind: &str) -> Result<&'a TensorInfo> {
    if signature.inputs.len() != 1 {
        return Err(Error::invalid_argument("Expected one input Tensor."));
    }
    signature.inputs.get(INPUTS).ok_or_else(|| {
        Error::new(Code::FailedPrecondition, format!("No {kind} inputs found in SignatureDef"))
    })
}

/// The tensors that a method gives.
fn outputs(signature: &SignatureDef, method: Method) -> Result<Vec<(&'static str, TensorInfo)>> {
    let found = signature.outputs.len();
    let (wanted, refusal) = match method {
        Method::Classify if !(1..=2).contains(&found) => {
            let text = format!("Expected one or two output Tensors, found {found}");
            return Err(Error::invalid_argument(text));
        }
        Method::Classify => (
            &[CLASSES, SCORES][..],
            "Expected classification signature outputs to contain at least one of \"classes\" or \"scores\".",
        ),
        Method::Regress if found != 1 => {
            return Err(Error::invalid_argument("Expected one output Tensor."));
        }
        Method::Regress => (&[OUTPUTS][..], "No regression outputs found in SignatureDef"),
    };
    let outputs: Vec<_> =
        wanted.iter().filter_map(|&alias| Some((alias, signature.outputs.get(alias)?.clone()))).collect();
    if outputs.is_empty() {
        return Err(Error::new(Code::FailedPrecondition, refusal));
    }
    Ok(outputs)
}

/// The calls that the tasks of a `MultiInference` request ask for.
fn plan(servable: &Servable, model: &str, tasks: &[InferenceTask]) -> Result<Vec<Call>> {
    let mut seen = BTreeSet::new();
    let mut calls = Vec::with_capacity(tasks.len());
    for task in tasks {
        let spec = task.model_spec.clone().unwrap_or_default();
        if spec.name.is_empty() {
            return Err(Error::invalid_argument("Found ModelSpec with an empty model name."));
        }
        if spec.name != model {
            let text = "All ModelSpecs in a MultiInferenceRequest must access the same model name.";
            return Err(Error::invalid_argument(text));
        }
        let name = effective(&spec.signature_name);
        if !seen.insert(name.to_owned()) {
            return Err(Error::invalid_argument(format!("Duplicate evaluation of signature: {name}")));
        }
        let method = match task.method_name.as_str() {
            CLASSIFY => Method::Classify,
            REGRESS => Method::Regress,
            other => {
                return Err(Error::unimplemented(format!("Unsupported signature method_name: {other}")));
            }
        };
        calls.push(Call::new(servable, &spec, method, "Requested signature not found in model graph")?);
    }
    Ok(calls)
}

/// The examples of an input, serialized. A feature of an example replaces the context's.
fn serialize(input: Option<&Input>) -> Result<Vec<Bytes>> {
    let (examples, context) = match input.and_then(|input| input.kind.as_ref()) {
        Some(Kind::ExampleList(list)) => (list.examples.as_slice(), None),
        Some(Kind::ExampleListWithContext(list)) => (list.examples.as_slice(), list.context.as_ref()),
        None => (&[][..], None),
    };
    if examples.is_empty() {
        return Err(Error::invalid_argument("Input is empty."));
    }
    let merge = |example: &Example| {
        let feature = context.into_iter().chain([example]).flat_map(features).collect();
        Bytes::from(Example { features: Some(Features { feature }) }.encode_to_vec())
    };
    Ok(examples.iter().map(merge).collect())
}

/// The features that have a kind: one without is as good as none, and replaces nothing.
fn features(example: &Example) -> impl Iterator<Item = (String, Feature)> {
    let features = example.features.iter().flat_map(|features: &Features| {
        let map: &BTreeMap<String, Feature> = &features.feature;
        map.iter()
    });
    features
        .filter(|(_, feature)| feature.kind.is_some())
        .map(|(name, feature)| (name.clone(), feature.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensorflow::FloatList;
    use crate::proto::tensorflow::feature::Kind as FeatureKind;
    use crate::proto::tensorflow::serving::{Class, Classifications, ExampleListWithContext, Regression};

    fn example(x: Option<f32>) -> Example {
        let kind = x.map(|x| FeatureKind::FloatList(FloatList { value: vec![x] }));
        let feature = [("x".to_owned(), Feature { kind })].into();
        Example { features: Some(Features { feature }) }
    }

    fn input(examples: &[Option<f32>], context: Option<f32>) -> Option<Input> {
        let examples = examples.iter().copied().map(example).collect();
        let context = context.map(|x| example(Some(x)));
        Some(Input { kind: Some(Kind::ExampleListWithContext(ExampleListWithContext { examples, context })) })
    }

    fn spec(signature_name: &str) -> Option<ModelSpec> {
        let (name, signature_name) = ("half_plus_two".to_owned(), signature_name.to_owned());
        Some(ModelSpec { name, signature_name, version_choice: None })
    }

    fn check_regress(signature: &str, input: Option<Input>, expected: Result<&[f32], &str>) {
        let request = RegressionRequest { model_spec: spec(signature), input };
        let result = regress(&Models::builtin(), &request).map(|reply| {
            let regressions = reply.result.unwrap().regressions;
            regressions.iter().map(|regression| regression.value).collect::<Vec<_>>()
        });
        assert_eq!(result.as_deref().map_err(Error::message), expected, "{signature}");
    }

    #[test]
    fn examples_are_regressed_or_refused() {
        let one = || input(&[Some(80.0)], None);
        check_regress("regress_x_to_y", one(), Ok(&[42.0]));
        check_regress("regress_x_to_y2", one(), Ok(&[43.0]));
        check_regress("regress_x_to_y", input(&[Some(80.0), None], Some(2.0)), Ok(&[42.0, 3.0]));
        check_regress("regress_x_to_y", None, Err("Input is empty."));
        check_regress("regress_x_to_y", input(&[], Some(2.0)), Err("Input is empty."));
        check_regress("s", one(), Err("No signature was found with the name: s"));
        check_regress(
            "classify_x_to_y",
            one(),
            Err("Expected regression signature method_name to be tensorflow/serving/regress. \
                 Was: tensorflow/serving/classify"),
        );
        // As the original: the signature declares floats, and examples are strings.
        check_regress("regress_x2_to_y3", one(), Err("Expects arg[0] to be float but string is provided"));
    }

    #[test]
    fn classes_have_scores_and_no_labels() {
        let input = input(&[Some(20.0)], None);
        let request = ClassificationRequest { model_spec: spec("classify_x_to_y"), input };
        let reply = classify(&Models::builtin(), &request).unwrap();
        assert_eq!(reply.model_spec.unwrap().signature_name, "classify_x_to_y");
        let class = Class { label: String::new(), score: 12.0 };
        assert_eq!(reply.result.unwrap().classifications, [Classifications { classes: vec![class] }]);
    }

    fn infer(tasks: &[(&str, &str)]) -> Result<MultiInferenceResponse> {
        let task = |&(signature, method): &(&str, &str)| InferenceTask {
            model_spec: spec(signature),
            method_name: method.to_owned(),
        };
        let tasks = tasks.iter().map(task).collect();
        multi_inference(
            &Models::builtin(),
            &MultiInferenceRequest { tasks, input: input(&[Some(80.0)], None) },
        )
    }

    #[test]
    fn tasks_share_the_examples() {
        let reply = infer(&[("regress_x_to_y2", REGRESS), ("classify_x_to_y", CLASSIFY)]).unwrap();
        let results: Vec<_> = reply.results.into_iter().map(|result| result.result.unwrap()).collect();
        let class = Class { label: String::new(), score: 42.0 };
        let classifications = vec![Classifications { classes: vec![class] }];
        assert_eq!(
            results,
            [
                TaskResult::RegressionResult(RegressionResult {
                    regressions: vec![Regression { value: 43.0 }]
                }),
                TaskResult::ClassificationResult(ClassificationResult { classifications }),
            ]
        );
    }

    #[test]
    fn tasks_are_refused_in_the_words_of_tensorflow_serving() {
        let regress = ("regress_x_to_y", REGRESS);
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[], "INVALID_ARGUMENT: ModelSpec has no name specified."),
            (&[("s", REGRESS)], "INVALID_ARGUMENT: Requested signature not found in model graph: s"),
            (&[regress, regress], "INVALID_ARGUMENT: Duplicate evaluation of signature: regress_x_to_y"),
            (&[("regress_x_to_y", "m")], "UNIMPLEMENTED: Unsupported signature method_name: m"),
            (
                &[regress, ("regress_x2_to_y3", REGRESS)],
                "INVALID_ARGUMENT: Input tensor must be the same for all Signatures.",
            ),
        ];
        for (tasks, expected) in cases {
            assert_eq!(infer(tasks).unwrap_err().to_string(), expected);
        }
    }
}
