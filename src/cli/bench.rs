//! `tfbridge bench`: load on a model with inputs that are made up, and how long the answers take.
//!
//! Through a bridge it is HTTP, straight at a model server gRPC: what a bridge costs is the difference of the two.
//! Memory is bounded however long it runs.
//!
//! | module | holds |
//! |---|---|
//! | `shot` | the request that is sent again and again |
//! | `load` | when it is sent, and how often |
//! | `tally` | what has come back, and how long it took |
//! | `chart` | the histogram |
//! | `summary` | what is printed at the end |

mod chart;
mod load;
mod shot;
mod summary;
mod tally;

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use self::load::{Load, Until};
use self::shot::Shot;
use self::summary::Summary;
use self::tally::Tally;
use super::OutputFormat;
use super::body::Format;
use super::client::ServerArguments;
use super::serve::{limit, time};
use super::table::visible;
use crate::error::{Error, Result};

/// The most requests at a time.
const MOST_AT_ONCE: i64 = 1024;

/// The most rows of a request.
const MOST_ROWS: i64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The model to ask.
    #[arg(value_name = "MODEL")]
    model: String,
    #[command(flatten)]
    server: ServerArguments,
    /// The signature to run: serving_default without it, or the first one that is made for predictions.
    #[arg(long, value_name = "NAME")]
    signature: Option<String>,
    /// How many requests are under way at a time, each on a connection of its own.
    #[arg(long, default_value_t = 8, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=MOST_AT_ONCE))]
    concurrency: u16,
    /// How long to send requests.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = limit)]
    duration: Duration,
    /// How many requests to send, in place of a time.
    #[arg(long, value_name = "NUMBER", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How many requests to send in a second, at even intervals, however long the answers take. A latency then counts
    /// from the time at which a request was due. Without it, each answer is followed by the next request.
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    rate: Option<f64>,
    /// The file with the body to send in place of one that is made up, `-` for the standard input.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// What the body is: without this, what the extension of its file says, else JSON. A model server takes messages
    /// only: JSON is made into one beforehand.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// How many rows a made-up request has, where the signature leaves that open.
    #[arg(long, default_value_t = 1, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=MOST_ROWS))]
    batch: u32,
    /// How long requests are sent before it counts; `0s` for none.
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = time)]
    warmup: Duration,
    /// How to print what was measured.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    output: OutputFormat,
}

/// Sends requests until it is enough, and fails if one of them did.
pub(super) async fn run(arguments: Arguments, interrupted: impl Future<Output = ()>) -> Result<()> {
    let mut interrupted = pin!(interrupted);
    let aim = async {
        let shot = Shot::aim(&arguments).await?;
        // What fails at once needs no load, and nobody wants to read of it a thousand times.
        let outcome = shot.fire(0).await;
        match outcome.failure {
            Some(message) => {
                let error = shot.explained(&arguments.model, outcome.status, message).await;
                Err(Error::unavailable(format!("The first request has failed: {}", error.message())))
            }
            None => Ok(Arc::new(shot)),
        }
    };
    let shot = tokio::select! {
        () = &mut interrupted => return Err(Error::new(tonic::Code::Cancelled, "Interrupted")),
        shot = aim => shot?,
    };
    let mut load = Load {
        shot: Arc::clone(&shot),
        concurrency: usize::from(arguments.concurrency),
        rate: arguments.rate,
        until: Until::Time(arguments.warmup),
        label: "warm-up",
    };
    let mut is_interrupted = false;
    if !arguments.warmup.is_zero() {
        let warmed = load.run(Tally::shared()?, interrupted.as_mut()).await?;
        is_interrupted = warmed.is_interrupted;
    }
    if is_interrupted {
        return Err(Error::new(tonic::Code::Cancelled, "Interrupted before anything was measured"));
    }
    load.until = arguments.requests.map_or(Until::Time(arguments.duration), Until::Count);
    load.label = "measuring";
    let tally = Tally::shared()?;
    let ran = load.run(Arc::clone(&tally), interrupted).await?;
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    if ran.is_interrupted && tally.requests() == 0 {
        return Err(Error::new(tonic::Code::Cancelled, "Interrupted before anything was measured"));
    }
    let summary = Summary { arguments: &arguments, shot: &shot, tally: &tally, ran };
    match arguments.output {
        OutputFormat::Json => super::print(format!("{:#}\n", summary.to_json()))?,
        OutputFormat::Text => super::print(visible(&summary.to_string()).as_bytes())?,
    }
    match tally.failed() {
        0 => Ok(()),
        failed => Err(Error::unavailable(format!("{failed} of {} requests have failed", tally.requests()))),
    }
}

/// Requests in a second.
fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "a number is expected".to_owned())?;
    // With less than one in an hour, or more than any machine sends, somebody means something else.
    if (1.0 / 3600.0..=1e6).contains(&rate) {
        Ok(rate)
    } else {
        Err("a number up to 1000000 is expected".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_possible_ones() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for bad in ["", "0", "-1", "nan", "inf", "1e7"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
