//! The embedded back end: a real gRPC server with models that are computed, made up to fit their signatures,
//! or recorded.
//!
//! It answers `PredictionService`, `ModelService` and `grpc.health.v1` with the codes and the texts
//! of TensorFlow Serving, so that a client cannot tell the two apart by anything but the models.
//! It never opens a port or ends a process: the caller owns the listener and the end. It allocates no more
//! for a tensor than a fixed limit, whatever shape a request claims. Files are read before it serves; only a
//! recording is written while it does.
//!
//! Known limits: deadlines do not interrupt a run, calls are not batched, and texts of a run lack
//! the name of the graph's node that TensorFlow appends.
//!
//! | module | holds |
//! |---|---|
//! | `double` | what stands behind the services, and who answers a call |
//! | `models` | the models by name, and which version a request means |
//! | `model` | one model: its versions and labels |
//! | `program` | what a version does: a graph, or an answer |
//! | `graph` | what a graph is, and how it is run |
//! | `half_plus`, `affine`, `echo` | the graphs |
//! | `answer` | answers that are made up to fit a signature |
//! | `parse_example` | `tf.Example`s to a tensor, as a graph does it |
//! | `signature` | short ways to write a signature down |
//! | `tensor`, `numbers`, `strings` | tensors, and their two forms on the wire |
//! | `load` | models from a path: of `directory`, `models_config` or `declaration` |
//! | `saved_model` | the signatures in a file |
//! | `recording` | calls that are recorded, and repeated |
//! | `faults` | delays and failures |
//! | `predict`, `inference`, `results`, `metadata`, `status` | the calls |
//! | `call` | what the calls have in common |
//! | `service` | the two gRPC services |

mod affine;
mod answer;
mod call;
mod declaration;
mod directory;
mod double;
mod echo;
mod faults;
mod graph;
mod half_plus;
mod inference;
mod load;
mod metadata;
mod model;
mod models;
mod models_config;
mod numbers;
mod parse_example;
mod predict;
mod program;
mod recording;
mod results;
mod saved_model;
mod service;
mod signature;
mod status;
mod strings;
mod tensor;

pub use double::Double;
pub use faults::{Delay, FailCode, Faults, Probability};
pub use load::{Options, Style};
pub use model::Model;
pub use models::Models;

use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::{Router, TcpIncoming};

use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::model_service_server::ModelServiceServer;
use crate::proto::tensorflow::serving::prediction_service_server::PredictionServiceServer;
use crate::upstream::turns::Turns;
use faults::Arrival;

/// The message limit of TensorFlow Serving, in both directions.
const LARGEST_MESSAGE: usize = (1 << 31) - 1;

/// Large tensors must not wait for a window of 64 KiB to be granted again and again.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// Nor be cut into frames of 16 KiB: those of the real server grow with what arrives.
const FRAME: u32 = 1 << 20;

/// Serves until `shutdown` resolves, then lets the calls in flight finish.
///
/// # Errors
///
/// UNAVAILABLE when the transport fails as a whole; a broken connection is not that.
pub async fn serve(
    listener: TcpListener,
    double: impl Into<Double>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming.map(|stream| stream.map(Turns::new));
    router(double)
        .await
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await
        .map_err(|error| Error::unavailable("the mock's listener failed").with_source(error))
}

/// The services by themselves, for a caller that brings another transport.
pub async fn router(double: impl Into<Double>) -> Router {
    let double = double.into();
    let prediction = PredictionServiceServer::new(service::Prediction::new(double.clone()))
        .max_decoding_message_size(LARGEST_MESSAGE)
        .max_encoding_message_size(LARGEST_MESSAGE);
    let model = ModelServiceServer::new(service::Model::new(double));
    let (reporter, health) = tonic_health::server::health_reporter();
    // The server as a whole, the empty name, is SERVING from the start.
    reporter.set_serving::<PredictionServiceServer<service::Prediction>>().await;
    reporter.set_serving::<ModelServiceServer<service::Model>>().await;
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        // The real server bounds streams by its threads alone.
        .max_concurrent_streams(u32::MAX)
        .add_service(InterceptedService::new(prediction, Arrival::note))
        .add_service(model)
        .add_service(health)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tonic::transport::Channel;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    use super::*;
    use crate::proto::tensorflow::serving::prediction_service_client::PredictionServiceClient;
    use crate::proto::tensorflow::serving::{ModelSpec, PredictRequest};
    use crate::proto::tensorflow::{DataType, TensorProto};

    #[tokio::test]
    async fn it_serves_until_it_is_told_to_stop() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { drop(stopped.await) };
        let server = tokio::spawn(serve(listener, Models::builtin(), shutdown));

        let channel = Channel::from_shared(address.clone()).unwrap().connect().await.unwrap();
        let mut health = HealthClient::new(channel);
        for service in ["", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"] {
            let request = HealthCheckRequest { service: service.to_owned() };
            assert_eq!(health.check(request).await.unwrap().get_ref().status, 1, "{service}");
        }
        let mut client = PredictionServiceClient::connect(address).await.unwrap();
        let x =
            TensorProto { dtype: DataType::DtFloat.into(), float_val: vec![3.0], ..TensorProto::default() };
        let request = |name: &str| PredictRequest {
            model_spec: Some(ModelSpec { name: name.to_owned(), ..ModelSpec::default() }),
            inputs: [("x".to_owned(), x.clone())].into(),
            ..PredictRequest::default()
        };
        let reply = client.predict(request("half_plus_two")).await.unwrap().into_inner();
        assert_eq!(reply.outputs["y"].float_val, [3.5]);
        let status = client.predict(request("m")).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (tonic::Code::NotFound, "Servable not found for request: Latest(m)")
        );

        drop(stop);
        server.await.unwrap().unwrap();
    }
}
