//! The request that is sent again and again, and what a server makes of it.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use prost::Message as _;
use rustls::pki_types::ServerName;

use super::Arguments;
use super::tally::{Outcome, Status};
use crate::cli::body::{self, Format};
use crate::cli::client::{Client, ServerArguments, accepted, encoded};
use crate::cli::described::Described;
use crate::cli::dial::{Dial, To};
use crate::cli::grpc::Grpc;
use crate::cli::target::{TargetArguments, explained_backend};
use crate::codec::NanStyle;
use crate::codec::body::{Form, encode};
use crate::config::Backend;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::{ModelSpec, PredictRequest, PredictResponse};
use crate::upstream;

/// With this the values that are made up begin: all runs send the same ones.
const SEED: u64 = 1;

/// A request, and where it goes.
#[derive(Debug)]
pub(super) struct Shot {
    way: Way,
    /// Whom it asks.
    pub(super) server: String,
    /// What it runs, if it was made up.
    pub(super) signature: Option<String>,
    /// What its body is, or what its message was made from.
    pub(super) format: Format,
    /// How many bytes its body, or its message, has.
    pub(super) size: usize,
}

#[derive(Debug)]
enum Way {
    Http {
        client: Box<Client>,
        path: String,
        headers: [(HeaderName, HeaderValue); 2],
        body: Bytes,
    },
    /// A connection for each request that is under way at a time.
    Grpc {
        connections: Vec<Grpc>,
        request: PredictRequest,
    },
}

impl Shot {
    /// Makes the request.
    ///
    /// # Errors
    ///
    /// What the server says of the model, and why there can be no such request.
    pub(super) async fn aim(arguments: &Arguments) -> Result<Self> {
        let of_file = arguments.body.as_deref().and_then(|path| Format::of_body(path).ok());
        let format = arguments.format.or(of_file).unwrap_or(Format::Json);
        let given = match arguments.body.clone() {
            Some(path) => Some(body::apart(move || body::read(&path)).await?.into()),
            None => None,
        };
        match arguments.server.backend() {
            Some(backend) => Self::at_backend(backend, given, format, arguments).await,
            None => Self::at_bridge(given, format, arguments).await,
        }
    }

    async fn at_bridge(given: Option<Bytes>, format: Format, arguments: &Arguments) -> Result<Self> {
        let client = Box::new(arguments.server.connect()?);
        let mut path = format!("/v1/models/{}:predict", encoded(&arguments.model));
        let mut signature = None;
        // A body of its own may have its own words for the signature.
        let mut is_in_query = arguments.signature.clone();
        let body = if let Some(given) = given {
            given
        } else {
            let described = match Described::over_http(&client, &arguments.model).await {
                Ok(described) => described,
                Err(error) => {
                    return Err(TargetArguments::of(&arguments.model).explained(&client, error).await);
                }
            };
            let (name, sample) = sample(&described, arguments)?;
            // Servers other than a bridge do not know the query.
            is_in_query = (!matches!(format, Format::Json | Format::Protobuf)).then(|| name.clone());
            signature = Some(name);
            written(&described, sample, format, arguments)?
        };
        if let Some(name) = is_in_query {
            path = format!("{path}?signature_name={}", encoded(&name));
        }
        let content_type = HeaderValue::from_static(format.type_of(&body));
        // A reply may be of a form that its type cannot carry, such as a table.
        let headers = [(CONTENT_TYPE, content_type), (ACCEPT, HeaderValue::from_static("*/*"))];
        let (server, size) = (client.name().to_owned(), body.len());
        Ok(Self { way: Way::Http { client, path, headers, body }, server, signature, format, size })
    }

    async fn at_backend(
        backend: &Backend,
        given: Option<Bytes>,
        format: Format,
        arguments: &Arguments,
    ) -> Result<Self> {
        if !matches!(format, Format::Json | Format::Protobuf) {
            return Err(Error::invalid_argument(
                "A model server takes messages only: with --backend, a body is json or protobuf",
            ));
        }
        let connections = (0..arguments.concurrency).map(|_| connect(backend, &arguments.server));
        let connections = connections.collect::<Result<Vec<_>>>()?;
        let first = connections.first().ok_or_else(|| Error::internal("There is no connection"))?;
        let mut signature = None;
        let request = match given {
            Some(message) if format == Format::Protobuf => {
                let mut request = PredictRequest::decode(message).map_err(|error| {
                    Error::invalid_argument(format!("The body is no PredictRequest: {error}"))
                })?;
                request.model_spec.get_or_insert_default().name.clone_from(&arguments.model);
                request
            }
            given => {
                let described = Described::over_grpc(first, &arguments.model).await;
                let described = described.map_err(|error| explained_backend(&backend.to_string(), error))?;
                let body = if let Some(given) = given {
                    given
                } else {
                    let (name, sample) = sample(&described, arguments)?;
                    signature = Some(name);
                    sample
                };
                message(&described, &body, arguments)?
            }
        };
        let (server, size) = (backend.to_string(), request.encoded_len());
        Ok(Self { way: Way::Grpc { connections, request }, server, signature, format, size })
    }

    /// True if there is a server of the REST API between.
    pub(super) fn is_http(&self) -> bool {
        matches!(self.way, Way::Http { .. })
    }

    /// Sends it once, as one of those who do so at a time.
    pub(super) async fn fire(&self, worker: usize) -> Outcome {
        match &self.way {
            Way::Http { client, path, headers, body } => {
                of_http(client.exchange(Method::POST, path, headers, body.clone()).await)
            }
            Way::Grpc { connections, request } => {
                let Some(connection) = connections.get(worker % connections.len()) else {
                    return Outcome { status: Status::NoAnswer, failure: Some(String::new()) };
                };
                match connection.predict(request.clone()).await {
                    Ok(_) => Outcome { status: Status::Grpc(tonic::Code::Ok.into()), failure: None },
                    Err(error) => {
                        let status = Status::Grpc(error.code().into());
                        Outcome { status, failure: Some(Error::from(error).to_string()) }
                    }
                }
            }
        }
    }

    /// What a server says of a request, with what to try next, where that is known.
    pub(super) async fn explained(&self, model: &str, status: Status, message: String) -> Error {
        match &self.way {
            Way::Http { client, .. } => {
                let status = match status {
                    Status::Http(status) => StatusCode::from_u16(status).unwrap_or_default(),
                    Status::Timeout => StatusCode::GATEWAY_TIMEOUT,
                    Status::Grpc(_) | Status::NoAnswer => StatusCode::SERVICE_UNAVAILABLE,
                };
                let error = Error::unavailable(message).with_status(status);
                TargetArguments::of(model).explained(client, error).await
            }
            Way::Grpc { .. } => {
                let code = match status {
                    Status::Grpc(code) => tonic::Code::from_i32(code),
                    Status::Http(_) | Status::Timeout | Status::NoAnswer => tonic::Code::Unavailable,
                };
                explained_backend(&self.server, Error::new(code, message))
            }
        }
    }
}

fn of_http(answer: Result<Response<Bytes>>) -> Outcome {
    match answer {
        Ok(response) => {
            let status = Status::Http(response.status().as_u16());
            Outcome { status, failure: accepted(response).err().map(|error| error.message().to_owned()) }
        }
        Err(error) => {
            let is_late = error.code() == tonic::Code::DeadlineExceeded;
            let status = if is_late { Status::Timeout } else { Status::NoAnswer };
            Outcome { status, failure: Some(error.message().to_owned()) }
        }
    }
}

/// A connection to a model server.
fn connect(backend: &Backend, arguments: &ServerArguments) -> Result<Grpc> {
    let to = To::from(backend);
    let mut tls = None;
    if backend.tls {
        let bad = |error: &dyn std::fmt::Display| {
            Error::invalid_argument(format!("TLS to {backend} is not possible: {error}"))
        };
        let mut config = upstream::client_tls(&arguments.tls()).map_err(|error| bad(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from(to.host().to_owned()).map_err(|error| bad(&error))?;
        tls = Some((std::sync::Arc::new(config), name));
    }
    Grpc::new(Dial { to, tls }, arguments.authorization()?.as_ref(), arguments.timeout())
}

/// A body that is made up, and the signature that it is for.
fn sample(described: &Described, arguments: &Arguments) -> Result<(String, Bytes)> {
    let (name, _) = described.signature(arguments.signature.as_deref())?;
    let rows = usize::try_from(arguments.batch).unwrap_or(usize::MAX);
    let body = described.sample(name, rows, Some(SEED))?;
    Ok((name.to_owned(), body.to_string().into()))
}

/// The message of a body.
fn message(described: &Described, body: &Bytes, arguments: &Arguments) -> Result<PredictRequest> {
    let (named, inputs) = described.tensors(body)?;
    let signature_name =
        if named.is_empty() { arguments.signature.clone().unwrap_or_default() } else { named };
    let model_spec = ModelSpec { name: arguments.model.clone(), signature_name, ..ModelSpec::default() };
    Ok(PredictRequest { model_spec: Some(model_spec), inputs, ..PredictRequest::default() })
}

/// A body in the type that is wanted. What writes replies writes requests of the same values as well.
fn written(described: &Described, body: Bytes, format: Format, arguments: &Arguments) -> Result<Bytes> {
    let form = match format {
        Format::Json => return Ok(body),
        Format::Protobuf => return Ok(message(described, &body, arguments)?.encode_to_vec().into()),
        Format::Npy => Form::Npy,
        Format::Npz => Form::Npz,
        Format::Arrow => Form::Arrow,
        Format::Csv => Form::Csv,
        Format::Ndjson => Form::Lines,
        Format::Image | Format::OctetStream => {
            return Err(Error::invalid_argument(format!(
                "No value is made up as {}: name a file with --body",
                format.name()
            )));
        }
    };
    let (_, outputs) = described.tensors(&body)?;
    let values = PredictResponse { outputs, ..PredictResponse::default() };
    Ok(encode(&form, &values, NanStyle::default())?.body)
}
