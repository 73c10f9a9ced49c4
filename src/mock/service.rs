//! The two gRPC services: they hand each call to what stands behind them.

use tonic::{Request, Response, Status};

use super::double::{Double, reply};
use super::status;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::model_service_server::ModelService;
use crate::proto::tensorflow::serving::prediction_service_server::PredictionService;
use crate::proto::tensorflow::serving::{
    ClassificationRequest, ClassificationResponse, GetModelMetadataRequest, GetModelMetadataResponse,
    GetModelStatusRequest, GetModelStatusResponse, MultiInferenceRequest, MultiInferenceResponse,
    PredictRequest, PredictResponse, RegressionRequest, RegressionResponse, ReloadConfigRequest,
    ReloadConfigResponse,
};

type Reply<T> = Result<Response<T>, Status>;

#[derive(Debug)]
pub(super) struct Prediction {
    double: Double,
}

impl Prediction {
    pub(super) fn new(double: Double) -> Self {
        Self { double }
    }
}

#[tonic::async_trait]
impl PredictionService for Prediction {
    async fn predict(&self, request: Request<PredictRequest>) -> Reply<PredictResponse> {
        self.double.answer(request).await
    }

    async fn classify(&self, request: Request<ClassificationRequest>) -> Reply<ClassificationResponse> {
        self.double.answer(request).await
    }

    async fn regress(&self, request: Request<RegressionRequest>) -> Reply<RegressionResponse> {
        self.double.answer(request).await
    }

    async fn multi_inference(
        &self,
        request: Request<MultiInferenceRequest>,
    ) -> Reply<MultiInferenceResponse> {
        self.double.answer(request).await
    }

    async fn get_model_metadata(
        &self,
        request: Request<GetModelMetadataRequest>,
    ) -> Reply<GetModelMetadataResponse> {
        self.double.answer(request).await
    }
}

#[derive(Debug)]
pub(super) struct Model {
    double: Double,
}

impl Model {
    pub(super) fn new(double: Double) -> Self {
        Self { double }
    }
}

#[tonic::async_trait]
impl ModelService for Model {
    async fn get_model_status(
        &self,
        request: Request<GetModelStatusRequest>,
    ) -> Reply<GetModelStatusResponse> {
        self.double.answer(request).await
    }

    async fn handle_reload_config_request(
        &self,
        request: Request<ReloadConfigRequest>,
    ) -> Reply<ReloadConfigResponse> {
        if !self.double.has_models() {
            // Recording should leave the server as it is.
            let text = "The mock that records does not pass configurations on";
            return reply(Err(Error::unimplemented(text)));
        }
        reply(status::reload(&self.double.models, request.get_ref()))
    }
}
