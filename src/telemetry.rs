//! What the process tells those who run it, other than by its metrics.
//!
//! | module | holds |
//! |---|---|
//! | `format` | how a line of the log is written, as text or as JSON |
//! | `output` | where lines go, without anybody waiting for that |
//!
//! Nothing here delays a request: what cannot be taken at once is dropped and counted.

mod format;
mod output;

pub use format::{Format, Style};
pub use output::Output;
