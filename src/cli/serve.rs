//! `tfbridge serve`: the bridge in front of a model server.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use http::HeaderName;
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc;

use super::access::AccessArguments;
use super::docs::DocsArguments;
use super::front::FrontArguments;
use super::limits::LimitArguments;
use super::load::LoadArguments;
use super::streams::StreamArguments;
use super::telemetry::TelemetryArguments;
use super::upstream::UpstreamArguments;
use crate::Listeners;
use crate::codec::NanStyle;
use crate::config::{ApiConfig, Config, ListedModel, Listen, UpstreamConfig};
use crate::error::Result;
use crate::route::sagemaker::SageMaker;
use crate::server::Listener;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file with settings, in TOML. Its keys are the names of the other flags, without the
    /// dashes before them; flags and variables count for more.
    #[arg(long, env = "TFBRIDGE_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    upstream: UpstreamArguments,
    /// Where to serve the REST API: `ADDRESS:PORT`, `unix:/PATH`, or `systemd` for the sockets that it
    /// passes. Repeat it for more.
    #[arg(
        long,
        env = "TFBRIDGE_LISTEN",
        value_delimiter = ',',
        default_value = "0.0.0.0:8501",
        value_name = "ADDRESS"
    )]
    listen: Vec<Listen>,
    /// Where to serve the gRPC service of the Open Inference Protocol, as for `--listen` but for systemd; nowhere
    /// without it. Repeat it for more.
    #[arg(
        long,
        env = "TFBRIDGE_GRPC_LISTEN",
        value_delimiter = ',',
        value_name = "ADDRESS",
        value_parser = own_address
    )]
    grpc_listen: Vec<Listen>,
    /// The address of the admin port, which shows the state of the backends and takes commands, or
    /// `unix:/PATH`; `off` for none. It knows no authentication: keep it away from clients.
    #[arg(long, env = "TFBRIDGE_ADMIN_LISTEN", default_value = "127.0.0.1:8502", value_name = "ADDRESS", value_parser = admin_address)]
    admin_listen: AdminAddress,
    /// A model that must be AVAILABLE for `/readyz` to say yes. Repeat it for more; without it a backend
    /// that can be reached is enough.
    #[arg(long, env = "TFBRIDGE_REQUIRE_MODEL", value_delimiter = ',', value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    require_model: Vec<String>,
    /// A model that `GET /v1/models` lists before anybody has asked for it, with labels that it may have: `NAME` or
    /// `NAME@LABEL`. Repeat it for more. Those of `--require-model` and `--sagemaker` are listed without it.
    #[arg(long, env = "TFBRIDGE_MODEL", value_delimiter = ',', value_name = "NAME[@LABEL]")]
    model: Vec<ListedModel>,
    #[command(flatten)]
    api: ApiArguments,
}

/// The address of the admin port, if there is one. A type of its own, since an `Option` would mean
/// to clap that the flag may be absent.
#[derive(Debug, Clone)]
pub(super) struct AdminAddress(Option<Listen>);

impl AdminAddress {
    /// Opens the port, if there is to be one.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if it cannot be opened.
    pub(super) fn bind(&self) -> Result<Option<Listener>> {
        self.0.as_ref().map_or(Ok(None), |listen| Listener::bind(listen).map(|mut bound| bound.pop()))
    }
}

/// What concerns requests and replies, whatever the backend is.
#[derive(Debug, clap::Args)]
pub(super) struct ApiArguments {
    /// How long a request may take in all; 0s for no limit.
    #[arg(long, env = "TFBRIDGE_TIMEOUT", default_value = "30s", value_name = "TIME", value_parser = time)]
    timeout: Duration,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    limits: LimitArguments,
    #[command(flatten)]
    streams: StreamArguments,
    #[command(flatten)]
    front: FrontArguments,
    /// How to write NaN and infinities, which JSON has no spelling for.
    #[arg(long, env = "TFBRIDGE_NAN", default_value = "literal", value_name = "STYLE")]
    nan: NanArgument,
    /// Indent all JSON, not only where `?pretty` asks for it.
    #[arg(long, env = "TFBRIDGE_PRETTY")]
    pretty: bool,
    /// Allow web pages of every origin to call the API, as TensorFlow Serving's
    /// `--rest_api_enable_cors_support` does.
    #[arg(long, env = "TFBRIDGE_CORS")]
    cors: bool,
    /// A request header that the model server gets as metadata. Repeat it for more; the first one
    /// replaces the defaults.
    #[arg(long, env = "TFBRIDGE_PASS_HEADER", value_delimiter = ',', default_value = "authorization,x-request-id,traceparent,tracestate", value_name = "NAME", value_parser = passed_header)]
    pass_header: Vec<HeaderName>,
    /// A header or trailer of the model server's answer that the client gets, too. Repeat it for
    /// more; the first one replaces the default.
    #[arg(long, env = "TFBRIDGE_RETURN_HEADER", value_delimiter = ',', default_value = "x-request-id", value_name = "NAME", value_parser = passed_header)]
    return_header: Vec<HeaderName>,
    /// Take `/versions/0` for the latest version, which is what ovmsclient means by it.
    #[arg(long, env = "TFBRIDGE_VERSION_ZERO_IS_LATEST")]
    version_zero_is_latest: bool,
    /// Answer `GET /ping` and `POST /invocations` as Amazon SageMaker asks for them, for this model and the
    /// signature behind the colon, if there is one.
    #[arg(long, env = "TFBRIDGE_SAGEMAKER", value_name = "MODEL[:SIGNATURE]")]
    sagemaker: Option<SageMaker>,
    #[command(flatten)]
    docs: DocsArguments,
    #[command(flatten)]
    access: AccessArguments,
    #[command(flatten)]
    telemetry: TelemetryArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum NanArgument {
    /// NaN, Infinity and -Infinity as bare tokens, like TensorFlow Serving.
    Literal,
    /// null.
    Null,
    /// "NaN", "Infinity" and "-Infinity".
    String,
    /// Fail the request.
    Error,
}

impl ApiArguments {
    /// The configuration of a bridge in front of these backends.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for files that cannot be used.
    pub(super) fn into_config(self, upstream: UpstreamConfig) -> Result<Config> {
        let nan = match self.nan {
            NanArgument::Literal => NanStyle::Literal,
            NanArgument::Null => NanStyle::Null,
            NanArgument::String => NanStyle::String,
            NanArgument::Error => NanStyle::Error,
        };
        let mut api = ApiConfig {
            limits: self.limits.limits(),
            check_shapes: self.limits.check_shapes,
            streams: self.streams.into_config(),
            nan,
            pretty: self.pretty,
            cors: self.cors,
            timeout: self.timeout,
            pass_headers: self.pass_header,
            return_headers: self.return_header,
            version_zero_is_latest: self.version_zero_is_latest,
            sagemaker: self.sagemaker,
            docs: self.docs.docs,
            ..ApiConfig::default()
        };
        self.load.apply(&mut api);
        let access = self.access.into_config(self.cors)?;
        let (server, telemetry) = (self.front.into_config()?, self.telemetry.into_config()?);
        Ok(Config { server, access, api, upstream, telemetry, settings: serde_json::Value::Null })
    }
}

impl Arguments {
    /// The configuration, with all files that it names read once to see that they can be used.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what cannot be used.
    pub(super) fn into_config(self) -> Result<Config> {
        let mut config = self.api.into_config(self.upstream.into_config()?)?;
        config.api.models = self.model;
        let required = self.require_model.iter().map(String::as_str);
        let sagemaker = config.api.sagemaker.as_ref().map(SageMaker::model);
        let named: Vec<_> = required.chain(sagemaker).map(ListedModel::new).collect();
        config.api.models.extend(named);
        config.server.require_models = self.require_model;
        Ok(config)
    }
}

/// Serves with the configuration that `read` gives, which is that of the files at the time of asking.
/// It is asked again upon SIGHUP.
pub(super) async fn run(
    arguments: Arguments,
    read: impl Fn() -> Result<Config>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let config = read()?;
    let mut api = Vec::new();
    for listen in &arguments.listen {
        api.extend(Listener::bind(listen)?);
    }
    let mut inference = Vec::new();
    for listen in &arguments.grpc_listen {
        inference.extend(Listener::bind(listen)?);
    }
    let admin = arguments.admin_listen.bind()?;
    let mut hangups = super::listen(SignalKind::hangup())?;
    let backends: Vec<_> = config.upstream.backends.iter().map(ToString::to_string).collect();
    let listen: Vec<_> = api.iter().map(Listener::address).collect();
    let grpc: Vec<_> = inference.iter().map(Listener::address).collect();
    let grpc = (!grpc.is_empty()).then(|| tracing::field::debug(grpc));
    let file = arguments.config.as_ref().map(|file| tracing::field::display(file.display()));
    tracing::info!(?listen, grpc, tls = config.server.tls.is_some(), ?backends, file, "serving");
    let (sender, reloads) = mpsc::channel(1);
    let reload = async {
        while hangups.recv().await.is_some() {
            match read() {
                // Nobody takes it any more: the end is near.
                Ok(config) => drop(sender.send(config).await),
                Err(error) => tracing::warn!(%error, "the new configuration is refused"),
            }
        }
        std::future::pending::<()>().await;
    };
    let listeners = Listeners { api, inference, admin };
    tokio::select! {
        result = crate::run_with_reloads(config, listeners, reloads, shutdown) => result,
        () = reload => Ok(()),
    }
}

/// A place that the bridge opens itself.
fn own_address(text: &str) -> Result<Listen, String> {
    match text.parse()? {
        Listen::Systemd => Err("the sockets that systemd passes are for the REST API".to_owned()),
        listen => Ok(listen),
    }
}

pub(super) fn admin_address(text: &str) -> Result<AdminAddress, String> {
    match text {
        "off" => Ok(AdminAddress(None)),
        address => match address.parse() {
            Ok(listen @ (Listen::Tcp(_) | Listen::Unix(_))) => Ok(AdminAddress(Some(listen))),
            _ => Err("an address such as 127.0.0.1:8502 is expected, unix:/PATH, or off".to_owned()),
        },
    }
}

/// A header that may pass between client and backend: none that the protocols themselves use.
fn passed_header(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.trim().parse().map_err(|_| "that is not the name of a header".to_owned())?;
    let own = ["connection", "content-length", "content-type", "host", "te", "trailer", "transfer-encoding"];
    if name.as_str().starts_with("grpc-") || own.contains(&name.as_str()) {
        return Err("that header belongs to the protocol".to_owned());
    }
    Ok(name)
}

/// The longest time: beyond it, sums of times are more than the clock can count.
const LONGEST_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// A time that may be none.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time > LONGEST_TIME { Err("a time of at most 365 days is expected".to_owned()) } else { Ok(time) }
}

/// An address to listen at.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "an address and a port are expected, such as 127.0.0.1:8500 or [::1]:8500; names are not looked up".to_owned()
    })
}

/// A time limit that there must be: some clients would never end.
pub(super) fn limit(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    if time.is_zero() { Err("a time above zero is expected".to_owned()) } else { Ok(time) }
}

/// A number of bytes, with an optional unit: `1048576`, `1MiB`, `1MB`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: usize =
        number.parse().map_err(|_| "a number of bytes such as 64MiB is expected".to_owned())?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        unit => return Err(format!("{unit} is not a unit; use KiB, MiB, GiB, kB, MB or GB")),
    };
    number.checked_mul(factor).ok_or_else(|| "that is more than this machine can count".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_units() {
        let check = |text: &str, expected: usize| assert_eq!(size(text).unwrap(), expected, "{text}");
        check("17", 17);
        check("64KiB", 65_536);
        check("64 kB", 64_000);
        check("1g", 1 << 30);
        for bad in ["", "MiB", "1.5MiB", "3 parsecs", "99999999999999999999", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_ones_that_can_be_counted() {
        assert_eq!(time("365days"), Ok(LONGEST_TIME));
        assert_eq!((time("0s"), limit("1ms")), (Ok(Duration::ZERO), Ok(Duration::from_millis(1))));
        for bad in ["365days 1ns", "300000000000y", "584542046090y", "999999999999999999999y", "soon"] {
            assert!(time(bad).is_err() && limit(bad).is_err(), "{bad}");
        }
        assert!(limit("0s").is_err());
    }

    #[test]
    fn headers_of_the_protocol_do_not_pass() {
        assert_eq!(passed_header("X-Tenant").unwrap(), "x-tenant");
        for bad in ["", "a b", "te", "grpc-timeout", "Content-Length"] {
            assert!(passed_header(bad).is_err(), "{bad}");
        }
    }
}
