//! `tfbridge doctor`: looks at the way to the models step by step, and says what works, what does not, and why.
//!
//! Later steps that need a failed one are passed over. Every step ends within its time limit. A token is sent
//! where requests need it, and never printed.
//!
//! | module | holds |
//! |---|---|
//! | `report` | the steps, for people and for programs |
//! | `target` | what is looked at |
//! | `reach` | names, addresses and connections |
//! | `tls`, `witness` | the handshake and the certificate |
//! | `spoken` | which protocol is spoken |
//! | `models` | health, models and predictions |

mod models;
mod reach;
mod report;
mod spoken;
mod target;
mod tls;
mod witness;

use std::future::Future;
use std::time::Duration;

use self::models::Way;
use self::report::Report;
use self::target::{Kind, Target};
use super::OutputFormat;
use super::client::ServerArguments;
use super::dial::{Dial, To};
use super::grpc::Grpc;
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
#[command(mut_arg("timeout", |argument| argument
    .default_value("5s")
    .help("How long each step may take")))]
pub(super) struct Arguments {
    /// The models to look at, by name. Without any, those that a bridge knows; a model server cannot be asked for
    /// the names of its models.
    #[arg(value_name = "MODEL")]
    models: Vec<String>,
    #[command(flatten)]
    server: ServerArguments,
    /// How to print what is found.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    output: OutputFormat,
}

/// Takes all steps, and fails if one of them has.
pub(super) async fn run(arguments: Arguments, interrupted: impl Future<Output = ()>) -> Result<()> {
    let target = Target::new(&arguments.server);
    let mut report = Report::new(&target.name, arguments.output);
    let is_interrupted = tokio::select! {
        () = interrupted => true,
        result = examine(&mut report, &target, &arguments) => {
            result?;
            false
        }
    };
    report.finish()?;
    let (failures, steps) = (report.failures(), report.len());
    match failures {
        _ if is_interrupted => Err(Error::new(tonic::Code::Cancelled, "Interrupted")),
        0 => Ok(()),
        1 => Err(Error::unavailable(format!("1 of {steps} steps has failed"))),
        _ => Err(Error::unavailable(format!("{failures} of {steps} steps have failed"))),
    }
}

async fn examine(report: &mut Report, target: &Target, arguments: &Arguments) -> Result<()> {
    let (limit, files) = (arguments.server.timeout(), arguments.server.tls());
    let authorization = arguments.server.authorization()?;
    let settings = report.step("settings", limit, async { target.check_settings(&files) }).await;
    let Some(to) = (if settings.is_some() { reach(report, target, limit).await } else { None }) else {
        skip_rest(report);
        return Ok(());
    };
    let mut secured = None;
    if target.is_tls {
        secured = report.step("tls", limit, tls::shake_hands(&to, target, &files, limit)).await;
        if secured.is_none() {
            skip_rest(report);
            return Ok(());
        }
    } else {
        report.skip("tls", "clear text");
    }
    let spoken = spoken::check(&to, secured.as_ref(), target, &files, limit);
    if report.step("protocol", limit, spoken).await.is_none() {
        skip_rest(report);
        return Ok(());
    }
    let way = match target.kind {
        Kind::Bridge => Way::Http(Box::new(arguments.server.connect()?)),
        Kind::Backend => {
            let dial = secured.map_or(Dial { to, tls: None }, |secured| secured.dial);
            Way::Grpc(Grpc::new(dial, authorization.as_ref(), limit)?)
        }
    };
    models::look(report, &way, &arguments.models, authorization.is_some(), limit).await;
    Ok(())
}

/// An end that takes connections.
async fn reach(report: &mut Report, target: &Target, limit: Duration) -> Option<To> {
    let To::Name { host, port } = &target.to else {
        report.skip("dns", "a socket has no name to look up");
        return report.step("connect", limit, reach::connect_socket(&target.to, limit)).await;
    };
    let addresses = if let Some(address) = reach::literal(host, *port) {
        report.skip("dns", &format!("{host} is an address"));
        vec![address]
    } else {
        report.step("dns", limit, reach::look_up(host, *port, limit)).await?
    };
    report.step("connect", limit, reach::connect(addresses, target, limit)).await
}

/// Passes over all that needs what has failed.
fn skip_rest(report: &mut Report) {
    report.skip("models", "not looked at: an earlier step has failed");
}
