//! `tfbridge predict --stream`: a prediction for each line of a file of any size.
//!
//! ```text
//! input ─► Rows, on a thread of their own ─► Exchange ─► Output: a line for each line
//!           of a table: as lines of JSON        │ NDJSON      └─► failures
//!                                               ▼
//!                                            bridge
//! ```
//!
//! Whatever happens, a line of the output belongs to the line of the input with the same number, and the number of
//! them says where to go on.

mod exchange;
mod output;
mod progress;
mod reply;
mod rows;
mod table;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind};

use self::exchange::{End, Exchange};
use self::output::{Existing, Output};
use self::progress::Progress;
use crate::cli::OutputFormat;
use crate::cli::body;
use crate::cli::client::Client;
use crate::error::{Error, Result};

pub(super) use rows::Kind;
pub(super) use table::Table;

/// How a stream goes.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[derive(Debug, clap::Args)]
pub(super) struct StreamArguments {
    /// Predict for each line of the file, NDJSON or CSV of any size, and write a line for each with `--save`.
    #[arg(long, requires = "file", requires = "save")]
    stream: bool,
    /// Go on behind the last line that the output has.
    #[arg(long, requires = "stream", conflicts_with = "overwrite")]
    resume: bool,
    /// Replace an output that is there.
    #[arg(long, requires = "stream")]
    overwrite: bool,
    /// Where lines go that fail, with the reason; without it, beside the output, as `OUTPUT.failures.ndjson`, or in
    /// the working directory if that is a pipe or a device.
    #[arg(long, value_name = "FILE", requires = "stream")]
    failures: Option<PathBuf>,
    /// How often to try again when the connection breaks or the server is unavailable, and no line is answered in
    /// between.
    #[arg(long, value_name = "COUNT", default_value_t = 5, requires = "stream")]
    retries: u32,
    /// Show no progress.
    #[arg(long, requires = "stream")]
    quiet: bool,
}

impl StreamArguments {
    /// Whether it is to be a stream.
    pub(super) fn is_asked_for(&self) -> bool {
        self.stream
    }

    fn existing(&self) -> Existing {
        match (self.resume, self.overwrite) {
            (true, _) => Existing::Resume,
            (_, true) => Existing::Replace,
            _ => Existing::Refuse,
        }
    }

    /// Where failures go.
    pub(super) fn failures(&self, save: &Path) -> PathBuf {
        self.failures.clone().unwrap_or_else(|| {
            // Nothing can be beside a pipe or a device.
            let name = save.file_name().filter(|_| !output::may_be_file(save));
            let mut name = name.unwrap_or(save.as_os_str()).to_owned();
            name.push(".failures.ndjson");
            name.into()
        })
    }
}

/// What a stream is about.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) client: Client,
    /// The path of the request, with its query.
    pub(super) path: String,
    /// The input, `-` for the standard input.
    pub(super) file: &'a Path,
    /// The output.
    pub(super) save: &'a Path,
    pub(super) kind: Kind,
    /// How to say at the end what it was.
    pub(super) output: OutputFormat,
}

/// What tells the program to stop.
#[derive(Debug)]
pub(super) struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    /// Listens from now on.
    pub(super) fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: crate::cli::listen(SignalKind::interrupt())?,
            terminate: crate::cli::listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl Job<'_> {
    /// Predicts for each line.
    ///
    /// # Errors
    ///
    /// What ended it before its time, and lines that failed.
    pub(super) async fn run(self, arguments: &StreamArguments, stops: &mut Stops) -> Result<()> {
        let (file, save) = (self.file.to_owned(), self.save.to_owned());
        let (failures, existing) = (arguments.failures(&save), arguments.existing());
        let open = body::apart(move || Ok((body::open(&file)?, Output::open(&save, failures, existing)?)));
        let (source, output) = tokio::select! {
            opened = open => opened?,
            () = stops.next() => return Err(Error::new(tonic::Code::Cancelled, "Interrupted")),
        };
        let resumed = output.written();
        let size = std::fs::metadata(self.file).ok().filter(std::fs::Metadata::is_file).map(|it| it.len());
        let progress = Progress::new(size, resumed, arguments.quiet);
        if resumed > 0 {
            progress.say(&format!("Going on behind line {resumed}"));
        }
        let start = Instant::now();
        let rows = rows::read(source, self.kind, resumed)?;
        let mut exchange = Exchange::new(self.client, self.path, rows, output, progress);
        let end = exchange.run(stops, arguments.retries).await;
        let (mut output, progress) = exchange.finish();
        let synced = output.sync();
        let (lines, failed) = (output.written(), output.failed());
        let again = |lines: u64| {
            let how =
                if output.keeps_lines() { "; the same command with --resume goes on from there" } else { "" };
            format!("{lines} lines are answered{how}")
        };
        match end.and_then(|end| synced.map(|()| end)) {
            // With what was given wrong the same command goes nowhere.
            Err(error) if lines > 0 && error.code() != tonic::Code::InvalidArgument => {
                let message = format!("{}\n{}", error.message(), again(lines));
                return Err(Error::new(error.code(), message).with_status(error.status()));
            }
            Err(error) => return Err(error),
            Ok(End::Stopped) => {
                let message = format!("Interrupted: {}", again(lines));
                return Err(Error::new(tonic::Code::Cancelled, message));
            }
            Ok(End::Done) => {}
        }
        let seconds = start.elapsed().as_secs_f64();
        if self.output == OutputFormat::Json {
            let failures = (failed > 0).then(|| output.failures().display().to_string());
            let summary = json!({
                "lines": lines, "resumed": resumed, "failed": failed, "failures": failures, "seconds": seconds,
            });
            crate::cli::print(format!("{summary}\n"))?;
        }
        progress.say(&progress::summary(lines - resumed, seconds));
        if failed > 0 {
            let failures = output.failures().display();
            return Err(Error::unavailable(format!("{failed} of {lines} lines have failed, see {failures}")));
        }
        Ok(())
    }
}
