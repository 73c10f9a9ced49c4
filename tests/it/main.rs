//! The integration tests: one binary, a module per area.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::cast_lossless,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::similar_names,
    clippy::expect_used,
    clippy::format_collect,
    clippy::format_push_string,
    unreachable_pub,
    reason = "a test fails by panicking, and its numbers are its own"
)]

mod admin;
mod api;
mod auth;
mod backend;
mod bench_command;
mod bridge;
mod catalog;
mod certificates;
mod cli;
mod cli_parameters;
mod cli_streams;
mod client;
mod cluster;
mod compression;
mod configuration;
mod connections;
mod cors;
mod custom;
mod deadlines;
mod descriptors;
mod docs;
mod doctor;
mod examples;
mod exhaustive;
mod faults;
mod formats;
mod hardening;
mod headers;
mod http;
mod images;
mod inference;
mod inference_grpc;
mod limits;
mod lines;
mod load;
mod log;
mod memory;
mod mock;
mod mutations;
mod observability;
mod openapi;
mod payload_log;
mod pool;
mod port;
mod program;
mod properties;
mod pythie;
mod readme;
mod reference;
mod release;
mod sagemaker;
mod scripted;
mod signals;
mod streams;
mod suite;
mod support;
mod swaps;
mod telemetry;
mod tidy;
mod top_k;
mod traces;
mod transport;
mod untold;
mod vectors;
mod verbs;
