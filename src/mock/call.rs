//! The calls that are answered, each by its request: what it is called, what it means, and who computes it.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::models::Models;
use super::{inference, metadata, predict, status};
use crate::error::Result;
use crate::proto::tensorflow::serving::{
    ClassificationRequest, ClassificationResponse, GetModelMetadataRequest, GetModelMetadataResponse,
    GetModelStatusRequest, GetModelStatusResponse, ModelSpec, MultiInferenceRequest, MultiInferenceResponse,
    PredictRequest, PredictResponse, RegressionRequest, RegressionResponse,
};

/// A request with what is to be done about it.
pub(super) trait Call: Message + Default + Clone + 'static {
    type Reply: Message + Default + 'static;

    /// The method with its service, as in the path of a call.
    const METHOD: &'static str;

    /// The full names of the messages.
    const REQUEST: &'static str;
    const REPLY: &'static str;

    /// Whether a model runs for it.
    const RUNS: bool;

    /// The model that it is for.
    fn spec(&self) -> Option<&ModelSpec>;

    /// Has the models answer.
    fn run(&self, models: &Models) -> Result<Self::Reply>;

    /// Bytes that are the same for equal requests. Without maps, an encoding is that.
    fn canonical(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn model(&self) -> &str {
        self.spec().map_or("", |spec| &spec.name)
    }

    /// The method without its service.
    fn name() -> &'static str {
        Self::METHOD.rsplit('/').next().unwrap_or_default()
    }
}

impl Call for PredictRequest {
    type Reply = PredictResponse;
    const METHOD: &'static str = "tensorflow.serving.PredictionService/Predict";
    const REQUEST: &'static str = "tensorflow.serving.PredictRequest";
    const REPLY: &'static str = "tensorflow.serving.PredictResponse";
    const RUNS: bool = true;

    fn spec(&self) -> Option<&ModelSpec> {
        self.model_spec.as_ref()
    }

    fn run(&self, models: &Models) -> Result<PredictResponse> {
        predict::predict(models, self)
    }

    /// The inputs come in any order.
    fn canonical(&self) -> Vec<u8> {
        let rest = Self {
            model_spec: self.model_spec.clone(),
            output_filter: self.output_filter.clone(),
            predict_streamed_options: self.predict_streamed_options.clone(),
            ..Self::default()
        };
        let inputs: BTreeMap<&String, Bytes> =
            self.inputs.iter().map(|(alias, tensor)| (alias, tensor.encode_to_vec().into())).collect();
        let mut bytes = Vec::new();
        for part in inputs.iter().flat_map(|(alias, tensor)| [alias.as_bytes(), tensor]) {
            bytes.extend_from_slice(&part.len().to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(&rest.encode_to_vec());
        bytes
    }
}

impl Call for ClassificationRequest {
    type Reply = ClassificationResponse;
    const METHOD: &'static str = "tensorflow.serving.PredictionService/Classify";
    const REQUEST: &'static str = "tensorflow.serving.ClassificationRequest";
    const REPLY: &'static str = "tensorflow.serving.ClassificationResponse";
    const RUNS: bool = true;

    fn spec(&self) -> Option<&ModelSpec> {
        self.model_spec.as_ref()
    }

    fn run(&self, models: &Models) -> Result<ClassificationResponse> {
        inference::classify(models, self)
    }
}

impl Call for RegressionRequest {
    type Reply = RegressionResponse;
    const METHOD: &'static str = "tensorflow.serving.PredictionService/Regress";
    const REQUEST: &'static str = "tensorflow.serving.RegressionRequest";
    const REPLY: &'static str = "tensorflow.serving.RegressionResponse";
    const RUNS: bool = true;

    fn spec(&self) -> Option<&ModelSpec> {
        self.model_spec.as_ref()
    }

    fn run(&self, models: &Models) -> Result<RegressionResponse> {
        inference::regress(models, self)
    }
}

impl Call for MultiInferenceRequest {
    type Reply = MultiInferenceResponse;
    const METHOD: &'static str = "tensorflow.serving.PredictionService/MultiInference";
    const REQUEST: &'static str = "tensorflow.serving.MultiInferenceRequest";
    const REPLY: &'static str = "tensorflow.serving.MultiInferenceResponse";
    const RUNS: bool = true;

    fn spec(&self) -> Option<&ModelSpec> {
        self.tasks.first()?.model_spec.as_ref()
    }

    fn run(&self, models: &Models) -> Result<MultiInferenceResponse> {
        inference::multi_inference(models, self)
    }
}

impl Call for GetModelMetadataRequest {
    type Reply = GetModelMetadataResponse;
    const METHOD: &'static str = "tensorflow.serving.PredictionService/GetModelMetadata";
    const REQUEST: &'static str = "tensorflow.serving.GetModelMetadataRequest";
    const REPLY: &'static str = "tensorflow.serving.GetModelMetadataResponse";
    const RUNS: bool = false;

    fn spec(&self) -> Option<&ModelSpec> {
        self.model_spec.as_ref()
    }

    fn run(&self, models: &Models) -> Result<GetModelMetadataResponse> {
        metadata::get(models, self)
    }
}

impl Call for GetModelStatusRequest {
    type Reply = GetModelStatusResponse;
    const METHOD: &'static str = "tensorflow.serving.ModelService/GetModelStatus";
    const REQUEST: &'static str = "tensorflow.serving.GetModelStatusRequest";
    const REPLY: &'static str = "tensorflow.serving.GetModelStatusResponse";
    const RUNS: bool = false;

    fn spec(&self) -> Option<&ModelSpec> {
        self.model_spec.as_ref()
    }

    fn run(&self, models: &Models) -> Result<GetModelStatusResponse> {
        status::get(models, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensorflow::TensorProto;

    #[test]
    fn the_order_of_inputs_does_not_matter_and_all_else_does() {
        let tensor = |value| TensorProto { float_val: vec![value], ..TensorProto::default() };
        let request = |inputs: &[(&str, f32)], filter: &[&str]| PredictRequest {
            inputs: inputs.iter().map(|&(alias, value)| (alias.to_owned(), tensor(value))).collect(),
            output_filter: filter.iter().map(ToString::to_string).collect(),
            ..PredictRequest::default()
        };
        let inputs = [("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0)];
        let base = request(&inputs, &[]).canonical();
        let mut turned = inputs;
        turned.reverse();
        // Each map has an order of its own.
        for _ in 0..10 {
            assert_eq!(request(&turned, &[]).canonical(), base);
        }
        assert_ne!(request(&inputs[1..], &[]).canonical(), base);
        assert_ne!(request(&inputs, &["y"]).canonical(), base);
        let spec = Some(ModelSpec { name: "m".to_owned(), ..ModelSpec::default() });
        assert_ne!(PredictRequest { model_spec: spec, ..request(&inputs, &[]) }.canonical(), base);
    }

    #[test]
    fn the_messages_are_those_of_the_descriptors() {
        fn check<C: Call>() {
            crate::codec::model::descriptor(C::REQUEST).unwrap();
            crate::codec::model::descriptor(C::REPLY).unwrap();
        }
        check::<PredictRequest>();
        check::<ClassificationRequest>();
        check::<RegressionRequest>();
        check::<MultiInferenceRequest>();
        check::<GetModelMetadataRequest>();
        check::<GetModelStatusRequest>();
    }
}
