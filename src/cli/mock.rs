//! `tfbridge mock`: the built-in models over gRPC.

use std::future::Future;
use std::net::SocketAddr;

use crate::error::Result;
use crate::mock::{self, Models};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The address to serve gRPC on.
    #[arg(long, env = "TFBRIDGE_MOCK_LISTEN", default_value = "127.0.0.1:8500", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Answer with `tensor_content` in place of typed fields.
    #[arg(long, env = "TFBRIDGE_MOCK_TENSOR_CONTENT")]
    tensor_content: bool,
}

pub(super) async fn run(arguments: Arguments, shutdown: impl Future<Output = ()>) -> Result<()> {
    let listener = super::bind(arguments.listen).await?;
    tracing::info!(listen = %arguments.listen, "serving the built-in models");
    mock::serve(listener, Models::builtin().tensor_content(arguments.tensor_content), shutdown).await
}
