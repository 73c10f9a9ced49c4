//! The integration tests: one binary, a module per area.

mod bridge;
mod client;
mod http;
mod support;
mod vectors;
