//! tfbridge is a REST front door for TensorFlow Serving: JSON over HTTP to clients, gRPC to the
//! model server. This page is the map of its code; the README is for those who run it.
//!
//! # The way of a request
//!
//! ```text
//! bytes in ── server ──► route::parse ──► signatures.get ──► codec::body::decode
//!                                              │ IO, cached          │ pure
//!                                              ▼                     ▼
//!                                        model server ◄──── upstream.predict
//!                                                                    │ IO, until the deadline
//! bytes out ◄─ server ◄─────────────── codec::body::encode ◄─────────┘
//!                                              pure
//! any `?` ──► Error ──► server::service: a status and {"error": ...}
//! ```
//!
//! [`handler`] tells this story, a function per verb. Whatever can fail returns an
//! [`error::Error`], which carries the canonical gRPC code; one table gives its HTTP status.
//!
//! # The map
//!
//! | module | what it is | what it never does |
//! |---|---|---|
//! | [`proto`] | the messages and clients compiled from `proto/` | |
//! | [`error`] | the one error, and the table from code to status | log |
//! | [`codec`] | bodies of any type to tensors and back | IO; know tokio, hyper, http or tracing |
//! | [`route`] | method and path to what is asked for | know requests |
//! | [`config`] | the checked configuration | read the environment |
//! | [`metrics`] | counters over closed label sets | take a label from a client |
//! | [`telemetry`] | the log, traces, and requests that are kept | delay a request |
//! | [`upstream`] | the pool of model servers, and calls to it | outlive a deadline |
//! | [`signature`] | what is known of the models' signatures | remember a failure |
//! | [`handler`] | the story of a request | know headers of a response |
//! | [`server`] | connections, responses, draining | know what requests mean |
//! | [`mock`] | a model server with built-in models | know the bridge |
//! | [`cli`] | arguments, the configuration file, and commands | |
//!
//! # How it differs from the original
//!
//! The answers of TensorFlow Serving's REST API, case by case, are in `tests/fixtures/vectors`.
//! These we give otherwise, on purpose:
//!
//! | case | the original | here | why |
//! |---|---|---|---|
//! | a number out of the range of `uint8`, `int8`, `int16` (`uint8_out_of_range_accepted`, `int16_out_of_range_accepted`) | forwarded, the model wraps it around | 400 with the place | a wrong pixel is worse than an error |
//! | inputs of `uint16`, `half`, `bfloat16` (`unsupported_*_columnar`) | 501 | read | extension; `"1"` stays a type error, of status 400 (`unsupported_half_string_value`) |
//! | inputs of `complex64`, `complex128` (`unsupported_complex*_columnar`) | 501 | read as `[real, imaginary]`; a bare number is a 400 | extension |
//! | outputs of `uint16`, `half`, `bfloat16`, `complex64`, `complex128` (`dtype_half_row`, `dtype_complex64_row`, `err_complex64`) | 400 | written | extension |
//! | `"\ude00"`, half of a surrogate pair (`string_lone_low_surrogate_accepted`) | bytes that are no UTF-8 | 400 | it stands for no character |
//! | a row that names an input twice (`row_duplicate_member_two_rows`) | more values than the shape has | 400 | it cannot be meant |
//! | a body of more than 512 levels (`deeply_nested_well_formed`, `deeply_nested_malformed`) | read | 400 beyond `--max-depth`, as for the other limits | it is an attack |
//! | a NUL in an input's name (`row_name_truncated_at_nul`) | cut off at the NUL | part of the name | it cannot be meant |
//! | the integer token `-0` for a float (`float_minus_zero_int_token`) | 0.0 | -0.0 | it is what was written |
//! | text of floats (`float_six_digit_precision`, `float_format.json`) | six digits, else 9 or 17: `9e+06` | the shortest that reads back: `9000000.0` | the value is the same |
//! | a known path with another method (`unsupported_get_predict`, `unsupported_post_models`, `unsupported_post_metadata`, `method_put`, `method_patch`) | 400 | 405 with `Allow`, the same message | HTTP |
//! | `HEAD` | 400 with a body | like `GET`, without a body | HTTP |
//! | a query (`get_query_becomes_model_name`, `get_metadata_query_fails`) | part of the path | known parameters are read, others ignored | nobody means it |
//! | `Content-Type` and `Accept` | do not matter | 415 and 406 for types that nobody can read or write | other types mean something here |
//! | `GET /v1/models` (`unsupported_get_models`) | 400: the name is missing | the models that are known | extension |
//! | `:multi_inference` (`post_unknown_verb`) | 400 | the gRPC API's MultiInference | extension |
//! | a version beyond 63 bits | 400 without a body | 400 with `{"error": ...}` | clients parse it |
//! | errors outside of `/v1/` and of HTTP itself (`html404_*`) | HTML, connection closed | 404 as `{"error": ...}`, connection kept | clients parse it |
//! | messages of value errors | wrapped in `Failed to process element: ...` | a JSON pointer, then the original's phrase | the place, to the element |
//! | layout of replies (`exact_text`) | several lines | compact; indented with `?pretty` | size |
//! | strings in a reply that are no UTF-8 | raw bytes | replacement characters | it must be JSON |
//! | metrics at `/monitoring/prometheus/metrics` (`prom_*`) | its own names | our own | they measure another program |
//!
//! # Invariants
//!
//! - The codec never panics on any input and allocates in proportion to it.
//! - Every size that comes from outside is capped before it is allocated.
//! - A message of a backend's error reaches the client, the cause of a local one only the log.
//! - There is no `unsafe` code.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::iter_over_hash_type,
        clippy::type_complexity,
        clippy::unnecessary_wraps,
        reason = "tables of cases read best with everything in place"
    )
)]

pub mod cli;
pub mod codec;
pub mod config;
pub mod error;
pub mod handler;
pub mod metrics;
pub mod mock;
pub mod proto;
pub mod record;
pub mod route;
pub mod server;
pub mod signature;
pub mod telemetry;
pub mod upstream;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::Config;
use crate::error::Result;
use crate::server::Front;
pub use crate::server::Listeners;

/// How long the end may wait for the collector of traces, and for the disk.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves the REST API, and gRPC, until `shutdown` resolves and running requests are done, and the admin port
/// until then.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for certificates that cannot be used.
pub async fn run(
    config: Config,
    listeners: impl Into<Listeners>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    // Nobody holds the other end: there will be no other configuration.
    let (_, reloads) = mpsc::channel(1);
    run_with_reloads(config, listeners, reloads, shutdown).await
}

/// The same, with configurations that replace the one before, but for the ports. One that cannot be
/// used is refused, and logged.
///
/// # Errors
///
/// As [`run`].
pub async fn run_with_reloads(
    config: Config,
    listeners: impl Into<Listeners>,
    mut reloads: mpsc::Receiver<Config>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let listeners = listeners.into();
    let front = Arc::new(Front::new(&config)?);
    let reload = async {
        while let Some(config) = reloads.recv().await {
            match front.reload(&config) {
                Ok(()) => tracing::info!("the configuration has been read again"),
                Err(error) => tracing::warn!(%error, "the new configuration is refused"),
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = server::serve(listeners, Arc::clone(&front), shutdown) => {}
        () = reload => {}
    }
    front.flush(LAST_WORDS).await;
    Ok(())
}
