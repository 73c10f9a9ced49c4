//! How commands reach models: through a bridge, over HTTP, or straight at a model server, over gRPC.
//!
//! In front of a model server a bridge runs inside of the command, on a UNIX socket in a directory that nobody
//! else can enter, so that every command speaks to both in the same way: HTTP and JSON, or any other type of
//! body. Nothing here knows what is asked for.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use clap::builder::{StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as HttpClient, Error as HttpError};
use hyper_util::rt::{TokioExecutor, TokioIo};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tower::{BoxError, Service};

use super::serve::limit;
use crate::Listeners;
use crate::config::{Backend, Config, Listen, UpstreamTls};
use crate::error::{Error, Result};
use crate::server::Listener;
use crate::upstream;

/// The most bytes of a reply that is read whole.
const LONGEST: usize = 1 << 30;

/// Where the models are, and how to get there.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ServerArguments {
    /// The bridge to ask, or another server of the same REST API: `http://HOST:PORT`, `https://HOST:PORT` or
    /// `unix:/PATH`.
    #[arg(long, env = "TFBRIDGE_SERVER", default_value = "http://127.0.0.1:8501", value_name = "URL", value_parser = AddressParser)]
    server: Address,
    /// A model server's gRPC address, to ask it without a bridge between: `http://HOST:PORT`, `https://HOST:PORT`,
    /// `unix:/PATH` or `dns:///NAME:PORT`. It counts for more than `--server`, which the environment may have.
    #[arg(long, value_name = "URL")]
    backend: Option<Backend>,
    /// The token to send.
    #[arg(long, env = "TFBRIDGE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The file with the certificates to trust for `https://`, in PEM. The system's are trusted without it.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The file with our certificate, if one is asked for, in PEM.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The file with the key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// How long an answer may take.
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = limit)]
    timeout: Duration,
}

/// Where a server of the REST API is.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Http(Uri),
    Unix(PathBuf),
}

/// The way to the models.
#[derive(Debug, Clone)]
pub(super) struct Client {
    link: Link,
    /// The scheme, the authority and the beginning of the paths.
    base: Uri,
    /// Whom it asks, for people.
    name: String,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    /// The bridge inside of this process, if there is one: it ends with the last client.
    inside: Option<Arc<Inside>>,
}

/// The body of a request.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

#[derive(Debug, Clone)]
enum Link {
    Http(HttpClient<HttpConnector, RequestBody>),
    Https(HttpClient<HttpsConnector<HttpConnector>, RequestBody>),
    Unix(HttpClient<UnixConnector, RequestBody>),
}

/// A bridge in this process.
#[derive(Debug)]
struct Inside {
    /// The bridge ends when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    directory: PathBuf,
}

impl Drop for Inside {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Whoever looks after the machine does it otherwise.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Connects to a UNIX socket, whatever the URI says.
#[derive(Debug, Clone)]
struct UnixConnector(Arc<PathBuf>);

impl Service<Uri> for UnixConnector {
    type Response = TokioIo<UnixStream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<TokioIo<UnixStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = Arc::clone(&self.0);
        Box::pin(async move { UnixStream::connect(path.as_path()).await.map(TokioIo::new) })
    }
}

impl ServerArguments {
    /// The model server that is asked without a bridge between, if it is one.
    pub(super) fn backend(&self) -> Option<&Backend> {
        self.backend.as_ref()
    }

    /// The server of the REST API that is asked where there is no such model server.
    pub(super) fn address(&self) -> &Address {
        &self.server
    }

    /// How long an answer may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The header with the token, if there is one.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a token that no header can carry.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>> {
        self.token.as_deref().map(authorization).transpose()
    }

    /// The files for TLS.
    pub(super) fn tls(&self) -> UpstreamTls {
        let identity = self.cert.clone().zip(self.key.clone());
        UpstreamTls { ca: self.ca.clone(), identity, server_name: None }
    }

    /// The client. Connections are made when they are needed.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for files or a token that cannot be used.
    pub(super) fn connect(&self) -> Result<Client> {
        let authorization = self.authorization()?;
        if let Some(backend) = &self.backend {
            return self.connect_inside(backend, authorization);
        }
        let (link, base, name) = match &self.server {
            Address::Unix(path) => {
                (Link::unix(path.clone()), Uri::from_static(LOCAL), format!("unix:{}", path.display()))
            }
            Address::Http(uri) => (self.http(uri)?, uri.clone(), uri.to_string()),
        };
        let name = name.trim_end_matches('/').to_owned();
        Ok(Client { link, base, name, authorization, timeout: self.timeout, inside: None })
    }

    fn http(&self, uri: &Uri) -> Result<Link> {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_connect_timeout(Some(self.timeout.min(CONNECT)));
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Ok(Link::Http(HttpClient::builder(TokioExecutor::new()).build(http)));
        }
        let tls = upstream::client_tls(&self.tls()).map_err(|error| {
            Error::invalid_argument(format!("The certificates for {uri} cannot be used: {error}"))
        })?;
        http.enforce_http(false);
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_only();
        let connector = builder.enable_all_versions().wrap_connector(http);
        Ok(Link::Https(HttpClient::builder(TokioExecutor::new()).build(connector)))
    }

    /// Has a bridge run in this process, in front of the model server.
    fn connect_inside(&self, backend: &Backend, authorization: Option<HeaderValue>) -> Result<Client> {
        let mut config = Config::new(backend.clone());
        config.upstream.tls = self.tls();
        config.upstream.max_attempts = 1;
        config.api.timeout = self.timeout;
        if backend.tls {
            upstream::check_tls(&config.upstream.tls).map_err(|error| {
                Error::invalid_argument(format!("The certificates for {backend} cannot be used: {error}"))
            })?;
        }
        let directory = private_directory()?;
        let path = directory.join("bridge");
        // From here on the directory goes with it.
        let (stop, stopped) = oneshot::channel::<()>();
        let inside = Inside { stop: Some(stop), directory };
        let listeners =
            Listeners { api: Listener::bind(&Listen::Unix(path.clone()))?, ..Listeners::default() };
        tokio::spawn(async move {
            let end = async { drop(stopped.await) };
            if let Err(error) = crate::run(config, listeners, end).await {
                tracing::warn!(%error, "the bridge inside has ended");
            }
        });
        Ok(Client {
            link: Link::unix(path),
            base: Uri::from_static(LOCAL),
            name: backend.to_string(),
            authorization,
            timeout: self.timeout,
            inside: Some(Arc::new(inside)),
        })
    }
}

/// What stands for the host where there is none.
const LOCAL: &str = "http://localhost";

/// How long a connection attempt may take.
const CONNECT: Duration = Duration::from_secs(5);

impl Link {
    fn unix(path: PathBuf) -> Self {
        Self::Unix(HttpClient::builder(TokioExecutor::new()).build(UnixConnector(Arc::new(path))))
    }

    async fn request(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, HttpError> {
        match self {
            Self::Http(client) => client.request(request).await,
            Self::Https(client) => client.request(request).await,
            Self::Unix(client) => client.request(request).await,
        }
    }
}

impl Client {
    /// Whom it asks, for people.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How long an answer may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// True if it asks a model server, by way of a bridge in this process.
    pub(super) fn is_backend(&self) -> bool {
        self.inside.is_some()
    }

    /// Sends a request and gives the head of the answer, whatever its status. The body is sent while it comes to
    /// be; nothing but the connection bounds the time of that.
    ///
    /// # Errors
    ///
    /// `UNAVAILABLE` with the reason if there is no answer.
    pub(super) async fn send<B>(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: B,
    ) -> Result<Response<Incoming>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut request = Request::new(UnsyncBoxBody::new(body.map_err(Into::into)));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri(path)?;
        *request.headers_mut() = headers.iter().cloned().collect::<HeaderMap>();
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.link.request(request).await.map_err(|error| {
            Error::unavailable(format!("{} cannot be reached: {}", self.name, causes(&error)))
        })
    }

    /// Sends a request with a whole body and gives the whole answer, whatever its status.
    ///
    /// # Errors
    ///
    /// `UNAVAILABLE` with the reason if there is no answer, `DEADLINE_EXCEEDED` if it takes too long.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Response<Bytes>> {
        let exchange = async {
            let response = self.send(method, path, headers, Full::new(body)).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LONGEST).collect().await;
            let body = body.map_err(|error| {
                Error::unavailable(format!("The answer of {} is broken: {error}", self.name))
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(self.timeout, exchange).await.map_err(|_| {
            let limit = humantime::format_duration(self.timeout);
            Error::deadline_exceeded(format!("{} has not answered within {limit}", self.name))
        })?
    }

    /// What a path has, as JSON.
    ///
    /// # Errors
    ///
    /// As from [`Client::exchange`], and what the server says of a request that fails.
    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        let response = self.exchange(Method::GET, path, &[], Bytes::new()).await?;
        let response = accepted(response)?;
        serde_json::from_slice(response.body()).map_err(|error| {
            Error::internal(format!("The answer of {}{path} is no JSON: {error}", self.name))
        })
    }

    fn uri(&self, path: &str) -> Result<Uri> {
        let mut parts = self.base.clone().into_parts();
        let prefix = self.base.path().trim_end_matches('/');
        let bad = || Error::invalid_argument(format!("There can be no path {path:?}"));
        parts.path_and_query = Some(format!("{prefix}{path}").parse::<PathAndQuery>().map_err(|_| bad())?);
        Uri::from_parts(parts).map_err(|_| bad())
    }
}

/// The answer if it is a good one, else the error that it tells.
///
/// # Errors
///
/// The message of `{"error": ...}`, or the status where there is none.
pub(super) fn accepted(response: Response<Bytes>) -> Result<Response<Bytes>> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body: Option<Value> = serde_json::from_slice(response.body()).ok();
    let told = body.as_ref().and_then(|body| body.get("error")?.as_str());
    let message = match told {
        Some(told) => format!("{}: {told}", status.as_u16()),
        None => status.to_string(),
    };
    Err(Error::unavailable(message).with_status(status))
}

/// What a path or a query may have as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name in a path or a query.
pub(super) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, UNRESERVED).to_string()
}

fn authorization(token: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| Error::invalid_argument("A token has visible ASCII characters only"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What went wrong, with all causes: the first one says next to nothing.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

/// A new directory that nobody else can enter.
fn private_directory() -> Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let name = format!("tfbridge-{}-{:016x}", std::process::id(), fastrand::u64(..));
    let path = std::env::temp_dir().join(name);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .map_err(|error| Error::unavailable(format!("Cannot make {}: {error}", path.display())))?;
    Ok(path)
}

/// What is said of an address with a password in it, which nobody would send.
const NO_PASSWORDS: &str = "an address has no name and no password before an @: a token is sent with --token, or from the \
                            variable TFBRIDGE_TOKEN";

/// Reads addresses. What may have a password in it is refused without being shown, as it would be otherwise.
#[derive(Debug, Clone)]
struct AddressParser;

impl TypedValueParser for AddressParser {
    type Value = Address;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Address, clap::Error> {
        let text = value.to_string_lossy();
        if text.contains('@') && text.parse::<Address>().is_err() {
            let message = format!("--server: {NO_PASSWORDS}\n");
            return Err(clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command));
        }
        let parser = StringValueParser::new().try_map(|text| text.parse::<Address>());
        parser.parse_ref(command, argument, value)
    }
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("unix:") {
            return match text.parse()? {
                Listen::Unix(path) => Ok(Self::Unix(path)),
                _ => Err("the path of a socket is expected".to_owned()),
            };
        }
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let authority = whole.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next());
        if authority.flatten().is_some_and(|authority| authority.contains('@')) {
            return Err(NO_PASSWORDS.to_owned());
        }
        let uri: Uri = whole.parse().map_err(|error| format!("{error}"))?;
        let is_http = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
        let authority = uri.authority().map_or("", http::uri::Authority::as_str);
        let has_port = authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        let is_odd = uri.query().is_some() || has_port && uri.port_u16().is_none();
        if !is_http || uri.host().is_none_or(str::is_empty) || is_odd {
            return Err("http://HOST:PORT, https://HOST:PORT or unix:/PATH is expected".to_owned());
        }
        Ok(Self::Http(uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_urls_or_sockets() {
        for good in
            ["http://a:1", "https://a", "a:1", "https://a/prefix/", "unix:/run/x", "http://[::1]:8501"]
        {
            assert!(good.parse::<Address>().is_ok(), "{good}");
        }
        for bad in ["", "ftp://a", "http://", "unix:", "http://a/?x", "a b"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        assert!("http://a/@b".parse::<Address>().is_ok() && "unix:/run/a@b".parse::<Address>().is_ok());
        for bad in
            ["http://user:secret@a:1", "user:secret@a", "https://user:sec ret@a", "http://user:sec/ret@a"]
        {
            let command = clap::Command::new("c").arg(clap::arg!(--server <URL>).value_parser(AddressParser));
            let error = command.try_get_matches_from(["c", "--server", bad]).unwrap_err().to_string();
            assert!(error.contains("--token") && !error.contains("sec"), "{error}");
        }
    }

    #[test]
    fn errors_are_those_of_the_server() {
        let check = |status: u16, body: &'static str, expected: &str| {
            let response = Response::builder().status(status).body(Bytes::from(body)).unwrap();
            assert_eq!(accepted(response).unwrap_err().message(), expected);
        };
        check(404, r#"{"error": "Servable not found"}"#, "404: Servable not found");
        check(502, "<html>", "502 Bad Gateway");
    }
}
