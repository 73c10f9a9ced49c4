//! The command line: arguments as typed, or as a file has them, made into checked configuration,
//! and the commands.
//!
//! Bad arguments end the program with exit code 64, the field's code for a usage error.

mod access;
mod bench;
mod body;
mod check;
mod client;
mod command_line;
mod completions;
mod demo;
mod described;
mod dial;
mod docs;
mod doctor;
mod file;
mod front;
mod grpc;
mod healthcheck;
mod inspect;
mod limits;
mod load;
mod man;
mod mock;
mod models;
mod predict;
mod serve;
mod settings;
mod streams;
mod table;
mod target;
mod telemetry;
mod token;
mod upstream;

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use rustix::process::{Resource, Rlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use self::command_line::Parsed;
use crate::error::{Error, Result};
use crate::telemetry::{Format, Output, Style};

pub use self::command_line::CommandLine;

/// The exit code for arguments that cannot be used (`EX_USAGE`).
const USAGE: u8 = 64;

/// The exit code after Ctrl-C, as shells have it: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

/// A REST front door for TensorFlow Serving.
///
/// Speaks JSON over HTTP to clients and gRPC to the model server, and answers where TensorFlow
/// Serving's own REST API would.
#[derive(Debug, Parser)]
#[command(version = env!("TFBRIDGE_VERSION"), propagate_version = true)]
struct Arguments {
    /// What to log: error, warn, info, debug, trace, or a tracing filter such as
    /// `tfbridge=debug,h2=warn`.
    #[arg(long, env = "TFBRIDGE_LOG", default_value = "info", global = true, value_parser = log_filter)]
    log: String,
    /// How to write the log, which goes to the standard error.
    #[arg(long, env = "TFBRIDGE_LOG_FORMAT", default_value = "text", global = true, value_name = "FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people: coloured on a terminal, unless NO_COLOR is set.
    Text,
    /// For programs: a JSON object for each line.
    Json,
}

impl LogFormat {
    fn style(self) -> Style {
        match self {
            Self::Json => Style::Json,
            Self::Text => {
                let wants_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
                Style::Text { is_coloured: wants_colours && std::io::stderr().is_terminal() }
            }
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the REST API in front of a model server.
    Serve(Box<serve::Arguments>),
    /// Serve as a model server does, for tests: built-in models, those of SavedModels, declared ones, or
    /// recorded calls.
    Mock(Box<mock::Arguments>),
    /// Serve the REST API in front of the built-in models, in one process.
    Demo(Box<demo::Arguments>),
    /// Check the configuration as `serve` would, with the same flags, variables and file.
    CheckConfig(Box<check::Arguments>),
    /// List the models that a bridge or a model server has.
    Models(models::Arguments),
    /// Show what a model takes and gives, and which versions of it there are.
    #[command(disable_version_flag = true)]
    Inspect(inspect::Arguments),
    /// Run a model on arguments, on a file or on each line of a large one.
    #[command(disable_version_flag = true)]
    Predict(Box<predict::Arguments>),
    /// Look at the way to the models step by step: what works, what does not, and why.
    Doctor(doctor::Arguments),
    /// Put load on a model with inputs that are made up, and tell how long the answers take.
    Bench(Box<bench::Arguments>),
    /// Make a token for clients, and its entry for `--auth-file`.
    Token(token::Arguments),
    /// Ask the admin port of a bridge on this machine whether all is well: ends with 0 or 1.
    Healthcheck(healthcheck::Arguments),
    /// Print a script with which a shell completes this command line.
    Completions(completions::Arguments),
    /// Print the manual page, or write those of all commands.
    Man(man::Arguments),
}

impl Command {
    /// Whether it asks a server and prints what it has found out.
    fn asks(&self) -> bool {
        matches!(
            self,
            Self::Models(_) | Self::Inspect(_) | Self::Predict(_) | Self::Doctor(_) | Self::Bench(_)
        )
    }
}

/// Runs the program with the arguments and the environment of the process.
#[must_use]
pub fn main() -> ExitCode {
    let command_line = CommandLine::of_process();
    let parsed = match command_line.parse() {
        Ok(parsed) => parsed,
        Err(error) => {
            // Writing to a closed terminal is no reason to panic.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let output = match Output::start(std::io::stderr()) {
        Ok(output) => output,
        Err(error) => {
            eprintln!("error: There can be no log: {error}");
            return ExitCode::FAILURE;
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(parsed.log()))
        .event_format(Format(parsed.arguments.log_format.style()))
        .with_writer(output.clone())
        .init();
    let result = run(parsed, command_line);
    output.close(LAST_LINES);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", table::visible(error.message()));
            match error.code() {
                tonic::Code::InvalidArgument => ExitCode::from(USAGE),
                tonic::Code::Cancelled => ExitCode::from(INTERRUPTED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// How long the end of the process may wait for those who read the log.
const LAST_LINES: Duration = Duration::from_secs(1);

/// After so many turns of tasks a thread looks for what has come in on the sockets. The default is made
/// for throughput: under a flood, what is urgent would be noticed late.
const EVENT_INTERVAL: u32 = 16;

/// The mock works on requests where it reads them. Like a model server it has threads enough for a large
/// one to hold up no other.
const MOCK_THREADS: usize = 8;

fn run(parsed: Parsed, command_line: CommandLine) -> Result<()> {
    let mut builder = match parsed.arguments.command {
        // It comes every few seconds, and has nothing to do for further threads.
        Command::Healthcheck(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if matches!(parsed.arguments.command, Command::Mock(_)) {
        builder.worker_threads(MOCK_THREADS);
    }
    let runtime = builder
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()
        .map_err(|error| Error::internal("The threads cannot be started").with_source(error))?;
    runtime.block_on(run_command(parsed, command_line))
}

async fn run_command(parsed: Parsed, command_line: CommandLine) -> Result<()> {
    raise_file_limit();
    let shutdown = shutdown_signal()?;
    match parsed.arguments.command {
        Command::Serve(arguments) => serve::run(*arguments, move || command_line.config(), shutdown).await,
        Command::Mock(arguments) => mock::run(*arguments, shutdown).await,
        Command::Demo(arguments) => demo::run(*arguments, shutdown).await,
        Command::CheckConfig(arguments) => {
            check::run(*arguments, &parsed.matches, &parsed.from_file, &parsed.routes)
        }
        Command::Models(arguments) => until(shutdown, models::run(arguments)).await,
        Command::Inspect(arguments) => until(shutdown, inspect::run(arguments)).await,
        Command::Predict(arguments) => predict::run(*arguments, shutdown).await,
        Command::Doctor(arguments) => Box::pin(doctor::run(arguments, shutdown)).await,
        Command::Bench(arguments) => bench::run(*arguments, shutdown).await,
        Command::Token(arguments) => token::run(arguments),
        Command::Healthcheck(arguments) => healthcheck::run(arguments).await,
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(arguments),
    }
}

/// Does something, but not beyond the time when the process is told to stop.
async fn until(shutdown: impl Future<Output = ()>, work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        result = work => result,
        () = shutdown => Err(Error::new(tonic::Code::Cancelled, "Interrupted")),
    }
}

/// How a command says what it has found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people.
    Text,
    /// For programs: JSON.
    Json,
}

/// Prints to the standard output. Nobody to read it is no reason to fail.
///
/// # Errors
///
/// `UNAVAILABLE` if it is a file that cannot be written.
fn print(text: impl AsRef<[u8]>) -> Result<()> {
    let mut output = std::io::stdout();
    match output.write_all(text.as_ref()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::unavailable(format!("Cannot write to the standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// A filter for the log, as text.
fn log_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Resolves when the process is told to stop, by an interrupt or by SIGTERM.
fn shutdown_signal() -> Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// The signals of a kind, from now on.
fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| Error::internal("Signals cannot be received").with_source(error))
}

/// Takes as many file descriptors as the system lets it: each connection is one.
fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // With fewer of them it works as well, for fewer clients.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Listens on an address.
async fn bind(address: std::net::SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Error::unavailable(format!("Cannot listen on {address}: {error}")))
}
