//! The integration tests: one binary, a module per area.

mod bridge;
mod client;
mod descriptors;
mod http;
mod reference;
mod suite;
mod support;
mod vectors;
