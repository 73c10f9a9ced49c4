//! What the process tells those who run it, other than by its metrics.
//!
//! | module | holds |
//! |---|---|
//! | `context` | which trace a request is part of, and what the backend is told |
//! | `spans`, `traces`, `otlp` | spans of requests, and their way to the collector |
//! | `payload_log`, `record_file` | requests that are kept |
//! | `format` | how a line of the log is written, as text or as JSON |
//! | `output` | where lines go, without anybody waiting for that |
//!
//! Nothing here delays a request: what cannot be taken at once is dropped and counted.

mod context;
mod format;
mod otlp;
mod output;
mod payload_log;
mod record_file;
mod spans;
mod traces;

pub use context::Trace;
pub use format::{Format, Style};
pub use opentelemetry::trace::TraceId;
pub use output::Output;
pub use payload_log::{Entry, PayloadLog};
pub use spans::Finished;
pub use traces::Tracer;
