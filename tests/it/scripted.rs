//! A backend that does what a test tells it: a real gRPC server with one model, `m`, of one input
//! `x`, that answers `y`, the version that answered.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prost::Message;
use tfbridge::config::Backend;
use tfbridge::proto::tensorflow::serving::model_spec::VersionChoice;
use tfbridge::proto::tensorflow::serving::prediction_service_server::{
    PredictionService, PredictionServiceServer,
};
use tfbridge::proto::tensorflow::serving::{
    ClassificationRequest, ClassificationResponse, GetModelMetadataRequest, GetModelMetadataResponse,
    ModelSpec, MultiInferenceRequest, MultiInferenceResponse, PredictRequest, PredictResponse,
    RegressionRequest, RegressionResponse, SignatureDefMap,
};
use tfbridge::proto::tensorflow::{DataType, SignatureDef, TensorInfo, TensorProto};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};
use tonic_health::server::HealthReporter;

use crate::support;

/// What Predict does.
#[derive(Debug, Clone)]
pub enum Script {
    /// Answers after this time.
    Answer(Duration),
    /// Answers with a trailer.
    Trailer(&'static str, &'static str),
    /// Fails.
    Fail(Code, &'static str),
    /// Never answers.
    Stall,
}

/// What the model is now: which version, of which dtype.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    pub version: i64,
    pub dtype: DataType,
    /// The rank of the one shape that is accepted.
    pub rank: usize,
}

/// A server that runs until it is dropped.
pub struct Scripted {
    pub address: SocketAddr,
    pub state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    /// Resolves when the server has ended and all its connections are gone.
    pub ended: Option<oneshot::Receiver<()>>,
}

pub struct State {
    pub script: Mutex<Script>,
    pub model: Mutex<Model>,
    /// Whether GetModelMetadata is there at all.
    pub has_metadata: bool,
    pub calls: AtomicUsize,
    pub metadata_calls: AtomicUsize,
    /// How long GetModelMetadata takes.
    pub metadata_delay: Mutex<Duration>,
    /// The one client who may see the metadata, by its `authorization`.
    pub metadata_for: Mutex<Option<&'static str>>,
    /// The metadata of the last Predict.
    pub seen: Mutex<MetadataMap>,
    /// When calls were cancelled.
    pub cancelled: Mutex<Vec<Instant>>,
}

impl Scripted {
    pub async fn start(script: Script) -> Self {
        Self::start_with(script, true).await
    }

    /// A server at an address of the caller's.
    pub async fn start_at(address: SocketAddr, script: Script) -> Self {
        Self::serve(TcpListener::bind(address).await.unwrap(), script, true, Routes::default())
    }

    /// A server with the gRPC health service, and what that service says.
    pub async fn start_with_health(script: Script) -> (Self, HealthReporter) {
        let (reporter, health) = tonic_health::server::health_reporter();
        let service = Routes::new(health);
        (Self::start_routes(script, true, service).await, reporter)
    }

    pub async fn start_with(script: Script, has_metadata: bool) -> Self {
        Self::start_routes(script, has_metadata, Routes::default()).await
    }

    async fn start_routes(script: Script, has_metadata: bool, routes: Routes) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), script, has_metadata, routes)
    }

    fn serve(listener: TcpListener, script: Script, has_metadata: bool, routes: Routes) -> Self {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Mutex::new(script),
            model: Mutex::new(Model { version: 1, dtype: DataType::DtFloat, rank: 1 }),
            has_metadata,
            calls: AtomicUsize::new(0),
            metadata_calls: AtomicUsize::new(0),
            metadata_delay: Mutex::default(),
            metadata_for: Mutex::default(),
            seen: Mutex::default(),
            cancelled: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let service = PredictionServiceServer::new(Service(Arc::clone(&state)));
        tokio::spawn(async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let shutdown = async { drop(stopped.await) };
            Server::builder()
                .add_routes(routes.add_service(service))
                .serve_with_incoming_shutdown(incoming, shutdown)
                .await
                .unwrap();
            drop(end);
        });
        Self { address, state, stop: Some(stop), ended: Some(ended) }
    }

    pub fn backend(&self) -> Backend {
        Backend::at(self.address)
    }

    pub fn calls(&self) -> usize {
        self.state.calls.load(Ordering::Relaxed)
    }

    pub fn set(&self, script: Script) {
        *self.state.script.lock().unwrap() = script;
    }

    /// Takes no more connections, and ends when those there are have gone.
    pub fn stop(&mut self) {
        self.stop.take();
    }
}

struct Service(Arc<State>);

/// Tells of a call that ends before it was answered.
struct Cancelled(Option<Arc<State>>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            state.cancelled.lock().unwrap().push(Instant::now());
        }
    }
}

fn spec(version: i64) -> ModelSpec {
    ModelSpec {
        name: "m".to_owned(),
        signature_name: "serving_default".to_owned(),
        version_choice: Some(VersionChoice::Version(version)),
    }
}

impl State {
    /// The model, if it is the one that is asked for.
    fn model(&self, asked: Option<&ModelSpec>) -> Result<Model, Status> {
        let model = *self.model.lock().unwrap();
        match asked.and_then(|spec| spec.version_choice.as_ref()) {
            Some(VersionChoice::Version(version)) if *version != model.version => {
                Err(Status::not_found(format!("Servable not found for request: Specific(m, {version})")))
            }
            _ => Ok(model),
        }
    }
}

#[tonic::async_trait]
impl PredictionService for Service {
    async fn predict(&self, request: Request<PredictRequest>) -> Result<Response<PredictResponse>, Status> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        *self.0.seen.lock().unwrap() = request.metadata().clone();
        let mut cancelled = Cancelled(Some(Arc::clone(&self.0)));
        let script = self.0.script.lock().unwrap().clone();
        let mut trailer = None;
        match script {
            Script::Answer(time) if time.is_zero() => {}
            Script::Answer(time) => tokio::time::sleep(time).await,
            Script::Trailer(name, value) => trailer = Some((name, value)),
            Script::Stall => std::future::pending().await,
            Script::Fail(code, message) => {
                cancelled.0 = None;
                return Err(Status::new(code, message));
            }
        }
        cancelled.0 = None;
        let request = request.into_inner();
        let model = self.0.model(request.model_spec.as_ref())?;
        let x = request.inputs.get("x").ok_or_else(|| Status::invalid_argument("x is missing"))?;
        let rank = x.tensor_shape.as_ref().map_or(0, |shape| shape.dim.len());
        if x.dtype() != model.dtype || rank != model.rank {
            return Err(Status::invalid_argument("x does not match the signature"));
        }
        let version = TensorProto {
            dtype: DataType::DtInt64.into(),
            tensor_shape: Some(support::shape(&[1])),
            int64_val: vec![model.version],
            ..TensorProto::default()
        };
        let reply = PredictResponse {
            model_spec: Some(spec(model.version)),
            outputs: HashMap::from([("y".to_owned(), version)]),
        };
        let mut response = Response::new(reply);
        if let Some((name, value)) = trailer {
            response.metadata_mut().insert(name, value.parse().unwrap());
        }
        Ok(response)
    }

    async fn get_model_metadata(
        &self,
        request: Request<GetModelMetadataRequest>,
    ) -> Result<Response<GetModelMetadataResponse>, Status> {
        self.0.metadata_calls.fetch_add(1, Ordering::Relaxed);
        let delay = *self.0.metadata_delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        if let Some(client) = *self.0.metadata_for.lock().unwrap()
            && request.metadata().get("authorization").is_none_or(|given| given != client)
        {
            return Err(Status::unauthenticated("who are you?"));
        }
        if !self.0.has_metadata {
            return Err(Status::unimplemented("Method not found!"));
        }
        let model = self.0.model(request.get_ref().model_spec.as_ref())?;
        let info = |dtype: DataType, sizes: &[i64]| TensorInfo {
            dtype: dtype.into(),
            tensor_shape: Some(support::shape(sizes)),
            ..TensorInfo::default()
        };
        let signature = SignatureDef {
            inputs: HashMap::from([("x".to_owned(), info(model.dtype, &vec![-1; model.rank]))]),
            outputs: HashMap::from([("y".to_owned(), info(DataType::DtInt64, &[-1]))]),
            method_name: "tensorflow/serving/predict".to_owned(),
            ..SignatureDef::default()
        };
        let map =
            SignatureDefMap { signature_def: HashMap::from([("serving_default".to_owned(), signature)]) };
        let any = prost_types::Any {
            type_url: "type.googleapis.com/tensorflow.serving.SignatureDefMap".to_owned(),
            value: map.encode_to_vec(),
        };
        Ok(Response::new(GetModelMetadataResponse {
            model_spec: Some(spec(model.version)),
            metadata: HashMap::from([("signature_def".to_owned(), any)]),
        }))
    }

    async fn classify(
        &self,
        _: Request<ClassificationRequest>,
    ) -> Result<Response<ClassificationResponse>, Status> {
        Err(Status::unimplemented("nothing is classified"))
    }

    async fn regress(&self, _: Request<RegressionRequest>) -> Result<Response<RegressionResponse>, Status> {
        Err(Status::unimplemented("nothing is regressed"))
    }

    async fn multi_inference(
        &self,
        _: Request<MultiInferenceRequest>,
    ) -> Result<Response<MultiInferenceResponse>, Status> {
        Err(Status::unimplemented("nothing is inferred"))
    }
}
