//! The two gRPC services: they unwrap a request, make the call and wrap what came of it.

use tonic::{Request, Response, Status};

use super::models::Models;
use super::{inference, metadata, predict, status};
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::model_service_server::ModelService;
use crate::proto::tensorflow::serving::prediction_service_server::PredictionService;
use crate::proto::tensorflow::serving::{
    ClassificationRequest, ClassificationResponse, GetModelMetadataRequest, GetModelMetadataResponse,
    GetModelStatusRequest, GetModelStatusResponse, MultiInferenceRequest, MultiInferenceResponse,
    PredictRequest, PredictResponse, RegressionRequest, RegressionResponse, ReloadConfigRequest,
    ReloadConfigResponse,
};

/// TensorFlow Serving cuts longer texts, for they travel in a header.
const LONGEST_TEXT: usize = 1024;

type Reply<T> = Result<Response<T>, Status>;

#[derive(Debug)]
pub(super) struct Prediction {
    models: Models,
}

impl Prediction {
    pub(super) fn new(models: Models) -> Self {
        Self { models }
    }
}

#[tonic::async_trait]
impl PredictionService for Prediction {
    async fn predict(&self, request: Request<PredictRequest>) -> Reply<PredictResponse> {
        reply(predict::predict(&self.models, request.get_ref()))
    }

    async fn classify(&self, request: Request<ClassificationRequest>) -> Reply<ClassificationResponse> {
        reply(inference::classify(&self.models, request.get_ref()))
    }

    async fn regress(&self, request: Request<RegressionRequest>) -> Reply<RegressionResponse> {
        reply(inference::regress(&self.models, request.get_ref()))
    }

    async fn multi_inference(
        &self,
        request: Request<MultiInferenceRequest>,
    ) -> Reply<MultiInferenceResponse> {
        reply(inference::multi_inference(&self.models, request.get_ref()))
    }

    async fn get_model_metadata(
        &self,
        request: Request<GetModelMetadataRequest>,
    ) -> Reply<GetModelMetadataResponse> {
        reply(metadata::get(&self.models, request.get_ref()))
    }
}

#[derive(Debug)]
pub(super) struct Model {
    models: Models,
}

impl Model {
    pub(super) fn new(models: Models) -> Self {
        Self { models }
    }
}

#[tonic::async_trait]
impl ModelService for Model {
    async fn get_model_status(
        &self,
        request: Request<GetModelStatusRequest>,
    ) -> Reply<GetModelStatusResponse> {
        reply(status::get(&self.models, request.get_ref()))
    }

    async fn handle_reload_config_request(
        &self,
        request: Request<ReloadConfigRequest>,
    ) -> Reply<ReloadConfigResponse> {
        reply(status::reload(&self.models, request.get_ref()))
    }
}

fn reply<T>(result: Result<T>) -> Reply<T> {
    result.map(Response::new).map_err(|error: Error| Status::new(error.code(), cut(error.message())))
}

/// Cuts a text as the real server does, but never through a character.
fn cut(text: &str) -> String {
    if text.len() <= LONGEST_TEXT {
        return text.to_owned();
    }
    let end = (0..=LONGEST_TEXT).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}...TRUNCATED", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let kept = "m".repeat(LONGEST_TEXT);
        assert_eq!(cut(&kept), kept);
        assert_eq!(cut(&format!("{kept}m")), format!("{kept}...TRUNCATED"));
        assert_eq!(cut(&format!("{}é!", &kept[1..])), format!("{}...TRUNCATED", &kept[1..]));
    }
}
