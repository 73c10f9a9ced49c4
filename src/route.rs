//! A method and a path to what is asked for. Pure: nothing here knows a request or a model.
//!
//! The grammar is TensorFlow Serving's. Keywords are matched without regard to case, names and
//! labels are percent-decoded once, queries have been cut off before.
//!
//! ```text
//! POST /v1/models/NAME[/versions/DIGITS | /labels/LABEL]:(predict|classify|regress|multi_inference)
//! GET  /v1/models/NAME[/versions/DIGITS | /labels/LABEL][/metadata]
//! GET  [/v1/models/NAME]/openapi.json
//! ```
//!
//! That of the Open Inference Protocol, under `/v2`, is in `inference`, paths from the configuration are in `custom`.

mod inference;

pub mod custom;
pub mod sagemaker;

use std::sync::Arc;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::config::CustomRoute;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::ModelSpec;
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use sagemaker::Invocation;

/// The path at which TensorFlow Serving's users look for metrics.
pub const METRICS_PATH: &str = "/monitoring/prometheus/metrics";

/// The path of the document that describes the API.
pub const OPENAPI_PATH: &str = "/openapi.json";

/// What a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// Run a signature on tensors.
    Predict(Target),
    /// Run a signature on examples and get labels with scores.
    Classify(Target),
    /// Run a signature on examples and get numbers.
    Regress(Target),
    /// Run several signatures on the same examples.
    MultiInference(Target),
    /// What models there are.
    Models,
    /// The document that describes the API: of all models or of one.
    OpenApi(Option<Target>),
    /// The states of a model's versions.
    Status(Target),
    /// The signatures of a model.
    Metadata(Target),
    /// Run a signature on the tensors of the Open Inference Protocol.
    Infer(Target),
    /// The inputs and outputs of a model, in that protocol.
    ModelMetadata(Target),
    /// Whether a model can be used.
    ModelReady(Target),
    /// What this server is.
    ServerMetadata,
    /// Whether this server lives.
    ServerLive,
    /// Whether this server can answer.
    ServerReady,
    /// Run a signature on a body that the configuration lays out.
    Custom(Arc<CustomRoute>),
    /// A CORS preflight for anything under `/v1/` or `/v2`, or a route of one's own.
    Preflight,
    /// The metrics of this process.
    Metrics,
    /// Whether requests can be answered, as SageMaker asks it.
    Ping,
    /// A body of SageMaker's for a model.
    Invoke(Invocation),
}

impl Route {
    /// The verb as logs and metrics name it.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Predict(_) => "predict",
            Self::Classify(_) => "classify",
            Self::Regress(_) => "regress",
            Self::MultiInference(_) => "multi_inference",
            Self::Models => "models",
            Self::OpenApi(_) => "openapi",
            Self::Status(_) => "status",
            Self::Metadata(_) => "metadata",
            Self::Infer(_) => "infer",
            Self::ModelMetadata(_) => "model_metadata",
            Self::ModelReady(_) => "model_ready",
            Self::ServerMetadata => "server_metadata",
            Self::ServerLive => "server_live",
            Self::ServerReady => "server_ready",
            Self::Custom(_) => "route",
            Self::Preflight => "preflight",
            Self::Metrics => "metrics",
            Self::Ping => "ping",
            Self::Invoke(_) => "invocations",
        }
    }

    /// Whether the body of a request means something.
    #[must_use]
    pub fn takes_body(&self) -> bool {
        match self {
            Self::Predict(_)
            | Self::Classify(_)
            | Self::Regress(_)
            | Self::MultiInference(_)
            | Self::Infer(_)
            | Self::Custom(_)
            | Self::Invoke(_) => true,
            Self::Models
            | Self::OpenApi(_)
            | Self::Status(_)
            | Self::Metadata(_)
            | Self::ModelMetadata(_)
            | Self::ModelReady(_)
            | Self::ServerMetadata
            | Self::ServerLive
            | Self::ServerReady
            | Self::Preflight
            | Self::Metrics
            | Self::Ping => false,
        }
    }

    /// The model that it is about, if it is about one.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Predict(target)
            | Self::Classify(target)
            | Self::Regress(target)
            | Self::MultiInference(target)
            | Self::Status(target)
            | Self::Metadata(target)
            | Self::Infer(target)
            | Self::ModelMetadata(target)
            | Self::ModelReady(target) => Some(target),
            Self::Custom(route) => Some(&route.target),
            Self::OpenApi(target) => target.as_ref(),
            Self::Invoke(invocation) => Some(&invocation.target),
            Self::Models
            | Self::ServerMetadata
            | Self::ServerLive
            | Self::ServerReady
            | Self::Preflight
            | Self::Metrics
            | Self::Ping => None,
        }
    }
}

/// A model, and maybe one of its versions, as the URL names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The name of the model.
    pub name: String,
    /// The version asked for.
    pub version: Version,
}

/// Which version of a model is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Version {
    /// The newest that is loaded.
    Latest,
    /// The one of that number.
    Number(i64),
    /// The one that has that label.
    Label(String),
}

impl Target {
    /// The same model, at this version.
    #[must_use]
    pub fn at(&self, version: i64) -> Self {
        Self { name: self.name.clone(), version: Version::Number(version) }
    }

    /// The model spec of a request to the backend.
    #[must_use]
    pub fn to_spec(&self, signature_name: &str) -> ModelSpec {
        let version_choice = match &self.version {
            Version::Latest => None,
            Version::Number(number) => Some(VersionChoice::Version(*number)),
            Version::Label(label) => Some(VersionChoice::VersionLabel(label.clone())),
        };
        ModelSpec { name: self.name.clone(), signature_name: signature_name.to_owned(), version_choice }
    }
}

/// Finds out what is asked for. `target` is the path and query as received, for messages.
///
/// # Errors
///
/// 404 outside of `/v1/`, 400 for a path under it that means nothing, 405 for one that means
/// something with another method, 501 for a method that no HTTP API has.
pub fn parse(method: &Method, path: &str, target: &str) -> Result<Route> {
    if path == METRICS_PATH {
        return Ok(Route::Metrics);
    }
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
    ];
    if !known.contains(method) {
        return Err(Error::unimplemented(format!("The method {method} is not implemented")));
    }
    if inference::is_inside(path) {
        return inference::parse(method, path, target);
    }
    if path == OPENAPI_PATH {
        return openapi(method, target);
    }
    if !path.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("/v1/")) {
        return Err(Error::not_found(format!(
            "There is nothing at {}; the API is under /v1/models",
            shown(path)
        )));
    }
    if method == Method::OPTIONS {
        return Ok(Route::Preflight);
    }
    let path = Path::parse(path);
    let route = match *method {
        Method::POST => path.post()?,
        Method::GET | Method::HEAD => path.get()?,
        _ => None,
    };
    let malformed = || format!("Malformed request: {method} {}", shown(target));
    match route {
        Some(route) => Ok(route),
        // With another method it would mean something, if only an error of its own.
        None if !matches!(path.post(), Ok(None)) => Err(Error::method_not_allowed(malformed(), "POST")),
        None if !matches!(path.get(), Ok(None)) => Err(Error::method_not_allowed(malformed(), "GET, HEAD")),
        None => Err(Error::invalid_argument(malformed())),
    }
}

/// What is asked for at the path of the document.
fn openapi(method: &Method, target: &str) -> Result<Route> {
    match *method {
        Method::OPTIONS => Ok(Route::Preflight),
        Method::GET | Method::HEAD => Ok(Route::OpenApi(None)),
        _ => {
            let malformed = format!("Malformed request: {method} {}", shown(target));
            Err(Error::method_not_allowed(malformed, "GET, HEAD"))
        }
    }
}

/// Whether a path is one of an API, of whichever protocol.
#[must_use]
pub fn is_api(path: &str) -> bool {
    path == OPENAPI_PATH
        || path.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("/v1/"))
        || inference::is_inside(path)
}

/// Whether a path is one of the Open Inference Protocol.
#[must_use]
pub fn is_inference(path: &str) -> bool {
    inference::is_inside(path)
}

/// As much of a path as a message shows.
fn shown(path: &str) -> &str {
    const MOST: usize = 2048;
    path.char_indices().nth(MOST).map_or(path, |(end, _)| &path[..end])
}

/// The segments of a path under `/v1/models`, and the verb behind its colon.
struct Path<'a> {
    segments: Vec<&'a str>,
    verb: Option<&'a str>,
}

impl<'a> Path<'a> {
    /// Cuts a path up; one that is none of ours has an empty segment, which nothing matches.
    fn parse(path: &'a str) -> Self {
        let nowhere = Self { segments: vec![""], verb: None };
        let (path, verb) = match path.split_once(':') {
            Some((path, verb)) => (path, Some(verb)),
            None => (path, None),
        };
        let mut segments = path.split('/').skip(1);
        let is_api = ["v1", "models"]
            .iter()
            .all(|keyword| segments.next().is_some_and(|segment| segment.eq_ignore_ascii_case(keyword)));
        if is_api { Self { segments: segments.collect(), verb } } else { nowhere }
    }

    fn post(&self) -> Result<Option<Route>> {
        let (Some(verb), [name, version @ ..]) = (self.verb, self.segments.as_slice()) else {
            return Ok(None);
        };
        let route = match verb {
            "predict" => Route::Predict,
            "classify" => Route::Classify,
            "regress" => Route::Regress,
            "multi_inference" => Route::MultiInference,
            _ => return Ok(None),
        };
        target(name, version).map(|target| target.map(route))
    }

    fn get(&self) -> Result<Option<Route>> {
        if self.verb.is_some() {
            return Ok(None);
        }
        match self.segments.as_slice() {
            [] => return Ok(Some(Route::Models)),
            [name, "openapi.json"] => {
                return Ok(target(name, &[])?.map(|target| Route::OpenApi(Some(target))));
            }
            _ => {}
        }
        // The name comes first, also one that looks like a keyword; only where nothing fits
        // with a name is it missing.
        if let [name, rest @ ..] = self.segments.as_slice()
            && let Some(route) = status_or_metadata(name, rest)?
        {
            return Ok(Some(route));
        }
        match status_or_metadata("-", &self.segments)? {
            Some(_) => Err(Error::invalid_argument("Missing model name in request.")),
            None => Ok(None),
        }
    }
}

fn status_or_metadata(name: &str, rest: &[&str]) -> Result<Option<Route>> {
    if let Some(target) = target(name, rest)? {
        return Ok(Some(Route::Status(target)));
    }
    let [version @ .., last] = rest else { return Ok(None) };
    if !last.eq_ignore_ascii_case("metadata") {
        return Ok(None);
    }
    Ok(target(name, version)?.map(Route::Metadata))
}

/// A model by its name and the segments that choose a version, if that is what they do.
fn target(name: &str, version: &[&str]) -> Result<Option<Target>> {
    let version = match version {
        [] => Version::Latest,
        [keyword, digits]
            if keyword.eq_ignore_ascii_case("versions")
                && !digits.is_empty()
                && digits.bytes().all(|digit| digit.is_ascii_digit()) =>
        {
            let number = digits.parse().map_err(|_| {
                let digits = shown(digits);
                Error::invalid_argument(format!("Failed to convert version: {digits} to numeric."))
            })?;
            Version::Number(number)
        }
        [keyword, label] if keyword.eq_ignore_ascii_case("labels") => match decode(label) {
            Some(label) => Version::Label(label),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(decode(name).map(|name| Target { name, version }))
}

/// A percent-decoded name; `None` if it is empty or not text.
fn decode(segment: &str) -> Option<String> {
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    (!name.is_empty()).then(|| name.into_owned())
}
