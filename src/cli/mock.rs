//! `tfbridge mock`: a model server for tests, over gRPC and, with the bridge in front, over REST.
//!
//! The models are built in, or those of a directory or a file, or the calls of a real server repeated.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::ValueEnum;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::serve::socket_address;
use crate::Listeners;
use crate::config::{Backend, Config};
use crate::error::{Error, Result};
use crate::mock::{self, Delay, Double, FailCode, Faults, Models, Options, Probability, Style};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The address to serve gRPC on. Port 0 is any that is free.
    #[arg(long, env = "TFBRIDGE_MOCK_LISTEN", default_value = "127.0.0.1:8500", value_name = "ADDRESS", value_parser = socket_address)]
    listen: SocketAddr,
    /// The address to serve the REST API on, such as 127.0.0.1:8501; nowhere without it.
    #[arg(long, env = "TFBRIDGE_MOCK_REST_LISTEN", value_name = "ADDRESS", value_parser = socket_address)]
    rest_listen: Option<SocketAddr>,
    /// The models: a directory with one SavedModel (`VERSION/saved_model.pb`) or with several
    /// (`NAME/VERSION/saved_model.pb`), a `models.config` of TensorFlow Serving, or a file in TOML that
    /// declares them. The built-in ones without it.
    #[arg(long, env = "TFBRIDGE_MOCK_MODELS", value_name = "PATH")]
    models: Option<PathBuf>,
    /// What models of `--models` answer that say nothing else.
    #[arg(
        long,
        env = "TFBRIDGE_MOCK_ANSWER",
        default_value = "random",
        value_name = "ANSWER",
        requires = "models"
    )]
    answer: AnswerArgument,
    /// What random answers and faults start from: the same number makes them the same.
    #[arg(long, env = "TFBRIDGE_MOCK_SEED", default_value_t = 0, value_name = "NUMBER")]
    seed: u64,
    /// Take inputs of shapes that their signature does not declare, as some graphs do.
    #[arg(long, env = "TFBRIDGE_MOCK_ANY_SHAPE", requires = "models")]
    any_shape: bool,
    /// Pass all calls on to the server at `--upstream`, and add them and what came of them to this file.
    #[arg(long, env = "TFBRIDGE_MOCK_RECORD", value_name = "FILE", requires = "upstream", conflicts_with_all = ["models", "replay"])]
    record: Option<PathBuf>,
    /// The gRPC address of the server to record, such as `http://HOST:8500`.
    #[arg(long, env = "TFBRIDGE_MOCK_UPSTREAM", value_name = "URL", requires = "record")]
    upstream: Option<String>,
    /// Answer calls as they were answered when this file was recorded, and others, if there is `--models`, as
    /// those say.
    #[arg(long, env = "TFBRIDGE_MOCK_REPLAY", value_name = "FILE")]
    replay: Option<PathBuf>,
    /// How long each call of a model takes longer, such as 20ms, or 10ms..50ms for any time in between.
    #[arg(long, env = "TFBRIDGE_MOCK_DELAY", value_name = "TIME")]
    delay: Option<Delay>,
    /// Which part of the calls of a model fails, from 0 to 1.
    #[arg(long, env = "TFBRIDGE_MOCK_FAIL", default_value = "0", value_name = "PART")]
    fail: Probability,
    /// The gRPC code with which they fail.
    #[arg(long, env = "TFBRIDGE_MOCK_FAIL_CODE", default_value = "UNAVAILABLE", value_name = "CODE")]
    fail_code: FailCode,
    /// Answer with `tensor_content` in place of typed fields.
    #[arg(long, env = "TFBRIDGE_MOCK_TENSOR_CONTENT")]
    tensor_content: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AnswerArgument {
    /// Each output repeats the input of its name, or else one that it could be.
    Echo,
    /// Zeros, false and empty strings.
    Zeros,
    /// Numbers from 0 to 1, small integers and short strings, the same for the same row.
    Random,
}

impl Arguments {
    /// What is to be served.
    fn double(&self) -> Result<Double> {
        let faults = Faults { delay: self.delay, fail: self.fail, fail_code: self.fail_code };
        let answer = match self.answer {
            AnswerArgument::Echo => Style::Echo,
            AnswerArgument::Zeros => Style::Zeros,
            AnswerArgument::Random => Style::Random,
        };
        let options = Options { answer, seed: self.seed, any_shape: self.any_shape, faults };
        let mut double = match &self.models {
            Some(path) => Double::load(path, &options)?,
            None if self.replay.is_some() => Double::default(),
            None => Double::from(Models::builtin()),
        };
        if let Some(path) = &self.replay {
            double = double.replaying(path)?;
        }
        if let (Some(path), Some(upstream)) = (&self.record, &self.upstream) {
            double = double.recording(upstream, path)?;
        }
        double.check()?;
        Ok(double.with_faults(faults, self.seed).tensor_content(self.tensor_content))
    }
}

pub(super) async fn run(arguments: Arguments, shutdown: impl Future<Output = ()>) -> Result<()> {
    let double = arguments.double()?;
    let listener = super::bind(arguments.listen).await?;
    let listen = address(&listener)?;
    let rest_listener = match arguments.rest_listen {
        Some(address) => Some(super::bind(address).await?),
        None => None,
    };
    let rest_listen = rest_listener.as_ref().map(address).transpose()?;
    let what = double.to_string();
    tracing::info!(%listen, rest = rest_listen.map(tracing::field::display), "serving {what}");
    let rest = rest_listen.map(|address| format!(", REST at http://{address}")).unwrap_or_default();
    super::print(format!("tfbridge mock is serving {what}: gRPC at {listen}{rest}\n"))?;
    let Some(rest_listener) = rest_listener else { return mock::serve(listener, double, shutdown).await };
    let config = bridge_config(listen, &double);
    // The bridge goes first, since its requests are answered by the models.
    let (stop_models, models_stopped) = oneshot::channel::<()>();
    let models = mock::serve(listener, double, async { drop(models_stopped.await) });
    let bridge = async {
        let listeners = Listeners { api: vec![rest_listener.into()], ..Listeners::default() };
        let result = crate::run(config, listeners, shutdown).await;
        drop(stop_models);
        result
    };
    tokio::try_join!(models, bridge).map(drop)
}

/// A bridge that shows what the models do, their failures too.
fn bridge_config(listen: SocketAddr, double: &Double) -> Config {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let mut config = Config::new(Backend::at((ip, listen.port()).into()));
    config.api.models = double.listed();
    config.upstream.max_attempts = 1;
    config
}

fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|error| Error::internal("The mock has no address").with_source(error))
}
