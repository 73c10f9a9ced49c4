//! `tfbridge demo`: the bridge in front of the built-in models, and requests to try.

use std::future::Future;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use tokio::sync::oneshot;

use super::serve::{AdminAddress, ApiArguments, admin_address, socket_address};
use crate::Listeners;
use crate::config::{Backend, UpstreamConfig};
use crate::error::{Error, Result};
use crate::mock::{self, Models};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The address to serve the REST API on.
    #[arg(long, env = "TFBRIDGE_LISTEN", default_value = "127.0.0.1:8501", value_name = "ADDRESS", value_parser = socket_address)]
    listen: SocketAddr,
    /// The address of the admin port, with health, state and metrics, or `unix:/PATH`; `off` for none.
    #[arg(long, env = "TFBRIDGE_ADMIN_LISTEN", default_value = "off", value_name = "ADDRESS", value_parser = admin_address)]
    admin_listen: AdminAddress,
    #[command(flatten)]
    api: ApiArguments,
}

pub(super) async fn run(arguments: Arguments, shutdown: impl Future<Output = ()>) -> Result<()> {
    let listener = super::bind(arguments.listen).await?;
    let backend = super::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = |listener: &tokio::net::TcpListener| {
        listener.local_addr().map_err(|error| Error::internal("The demo has no address").with_source(error))
    };
    let (listen, backend_address) = (address(&listener)?, address(&backend)?);
    let admin = arguments.admin_listen.bind()?;
    let listeners = Listeners { api: vec![listener.into()], admin, ..Listeners::default() };
    let (stop_backend, backend_stopped) = oneshot::channel::<()>();
    let builtin = Models::builtin();
    let known = builtin.listed();
    let models = mock::serve(backend, builtin, async {
        let _ = backend_stopped.await;
    });
    let mut config = arguments.api.into_config(UpstreamConfig::new(vec![Backend::at(backend_address)]))?;
    config.api.models = known;
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    print_examples(listen, scheme, config.api.docs);
    let bridge = async {
        let result = crate::run(config, listeners, shutdown).await;
        // The models go last, when no request needs them any more.
        drop(stop_backend);
        result
    };
    tokio::try_join!(models, bridge).map(drop)
}

/// Prints requests that work, with what they are.
fn print_examples(listen: SocketAddr, scheme: &str, has_page: bool) {
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V6(ip) if ip.is_unspecified() => "localhost".to_owned(),
        _ => listen.ip().to_string(),
    };
    let url = match listen.ip() {
        IpAddr::V6(ip) if !ip.is_unspecified() => format!("{scheme}://[{host}]:{}", listen.port()),
        _ => format!("{scheme}://{host}:{}", listen.port()),
    };
    let page = if has_page { format!("In a browser, open {url}/docs.\n") } else { String::new() };
    let text = format!(
        "tfbridge is serving four built-in models at {url}. In another terminal, try:

  curl -d '{{\"instances\": [1.0, 2.0, 5.0]}}' {url}/v1/models/half_plus_two:predict
  curl -d '{{\"signature_name\": \"mixed\", \"inputs\": {{\"a\": 0.1, \"b\": 9007199254740993, \"s\": \"na\u{ef}ve\"}}}}' {url}/v1/models/echo:predict
  curl '{url}/v1/models/half_plus_two?pretty'

{page}Stop with Ctrl-C.
"
    );
    // Nobody to read it is no reason not to serve.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
