//! `tfbridge predict`: runs a model on what the command line, a file or the standard input has.
//!
//! What is sent is made by `given` from arguments, or is a file as it is; the bridge reads the bodies, so
//! that nothing here knows how arrays, tables or pictures become tensors. Files of any size go through `stream`.

mod fit;
mod given;
mod show;
mod stream;

use std::ffi::OsString;
use std::future::Future;
use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::builder::{PathBufValueParser, TypedValueParser as _};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, Response};
use serde_json::Value;

use super::OutputFormat;
use super::body::{self, Format};
use super::client::{Client, ServerArguments, accepted, encoded};
use super::target::{Description, TargetArguments, advised, type_of};
use crate::codec::catalog::{Signature, Tensor};
use crate::error::{Error, Result};

/// The standard output as a file.
const STANDARD_OUTPUT: &str = "/dev/stdout";

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// The inputs: `NAME=VALUE` with a value in JSON, or text for an input of strings; `NAME=@FILE` with the
    /// content of a file: JSON, an array of NumPy, a picture, or bytes for an input of strings. Where there is one
    /// input the name may be left out. The same name again is the next row of the batch.
    #[arg(value_name = "INPUT", allow_negative_numbers = true)]
    inputs: Vec<String>,
    /// The file with the whole body of the request, `-` for the standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "inputs")]
    file: Option<PathBuf>,
    /// What the file is; its extension says it without this, and the standard input is JSON, or lines with
    /// `--stream`.
    #[arg(long, value_name = "FORMAT", requires = "file")]
    format: Option<Format>,
    /// The table has no line that names its columns: it begins with its first row.
    #[arg(long, requires = "file")]
    no_header: bool,
    /// What the reply is to be; JSON without this, or what the extension of `--save` says.
    #[arg(long, value_name = "FORMAT", conflicts_with = "stream", value_parser = Format::of_reply())]
    accept: Option<Format>,
    /// Write the reply into this file, as it comes, in place of printing it; `-` is the standard output.
    #[arg(long, value_name = "FILE", value_parser = PathBufValueParser::new().map(saved))]
    save: Option<PathBuf>,
    /// Ask for so many of the best scores in place of all.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    top_k: Option<NonZeroUsize>,
    /// A further parameter of the request, such as `outputs=scores`, or `resize=224x224` for a picture. Repeat it
    /// for more.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter)]
    parameter: Vec<(String, String)>,
    #[command(flatten)]
    stream: stream::StreamArguments,
    #[command(flatten)]
    server: ServerArguments,
    /// How to print the reply: for people, or as the server sends it.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    output: OutputFormat,
}

/// The body of a request, and what it is.
#[derive(Debug)]
struct Request {
    content_type: String,
    body: Bytes,
    /// What the query has to say about it.
    parameters: Vec<(String, String)>,
}

/// Predicts, and prints or saves the reply.
pub(super) async fn run(arguments: Arguments, shutdown: impl Future<Output = ()>) -> Result<()> {
    arguments.check_files()?;
    let client = arguments.server.connect()?;
    if arguments.stream.is_asked_for() {
        // It ends in a way of its own.
        return arguments.stream(client).await;
    }
    super::until(shutdown, arguments.once(&client)).await
}

impl Arguments {
    /// Refuses to write over what is read, or two things into one file.
    fn check_files(&self) -> Result<()> {
        let standard_input = Path::new("/dev/stdin");
        let file = self.file.as_deref();
        let file = file.map(|file| if file == Path::new("-") { standard_input } else { file });
        let save = self.save.as_deref();
        let failures = save.filter(|_| self.stream.is_asked_for()).map(|save| self.stream.failures(save));
        let failures = failures.as_deref();
        // In a file the two would lie over each other.
        let summary = Path::new(STANDARD_OUTPUT);
        let summary = (failures.is_some() && self.output == OutputFormat::Json).then_some(summary);
        let values = self.inputs.iter().map(|input| given::file(input));
        let values = values.map(|value| ("an input", value, "--save", save));
        let pairs = [
            ("--file", file, "--save", save),
            ("--file", file, "--failures", failures),
            ("--save", save, "--failures", failures),
            ("--save", save, "the summary of --output json", summary),
        ];
        for (name, path, other_name, other_path) in pairs.into_iter().chain(values) {
            if let (Some(path), Some(other_path)) = (path, other_path)
                && place(path).is_some_and(|it| Some(it) == place(other_path))
            {
                let path = other_path.display();
                let message = format!("{name} and {other_name} cannot be the same file, {path}");
                return Err(Error::invalid_argument(message));
            }
        }
        Ok(())
    }

    async fn once(&self, client: &Client) -> Result<()> {
        // A body of one's own needs nobody to know what it says.
        let description = match (&self.file, self.target.describe(client).await) {
            (_, Ok(description)) => Some(description),
            (Some(_), Err(_)) => None,
            // It is known how to call a model that does not tell, if one knows its inputs.
            (None, Err(error)) if error.status() == http::StatusCode::NOT_IMPLEMENTED => None,
            (None, Err(error)) => return Err(error),
        };
        let signature = match (&description, &self.file) {
            (Some(description), None) => Some(description.signature(self.target.signature_name())?),
            (Some(description), Some(_)) => description.signatures.get(self.target.signature_name()),
            (None, _) => None,
        };
        let request = self.request(signature).await?;
        let accept = self.accepted();
        if let (Some(format), None) = (accept, &self.save)
            && format.is_binary()
            && std::io::stdout().is_terminal()
        {
            return Err(Error::invalid_argument("That is nothing for a terminal: name a file with --save"));
        }
        let sent = self.send(client, request, accept).await;
        let response = sent.map_err(|error| self.about_inputs(error, signature))?;
        match self.save.as_deref() {
            // To open it would be to empty the file that it may be.
            Some(path) if path == Path::new(STANDARD_OUTPUT) => super::print(response.body()),
            Some(path) => save(path.to_owned(), response.into_body()).await,
            None => self.print(&response, signature),
        }
    }

    /// What is sent.
    async fn request(&self, signature: Option<&Signature>) -> Result<Request> {
        if let Some(path) = self.file.clone() {
            let format = self.format.map_or_else(|| Format::of_body(&path), Ok)?;
            let body = body::apart(move || body::read(&path)).await?;
            let header = if self.no_header { "; header=absent" } else { "" };
            let content_type = format!("{}{header}", format.type_of(&body));
            return Ok(Request { content_type, body: body.into(), parameters: Vec::new() });
        }
        if self.inputs.is_empty() {
            return Err(self.without_inputs(signature));
        }
        let (inputs, signature) = (self.inputs.clone(), signature.cloned());
        let (name, top_k) = (self.target.signature.clone(), self.top_k);
        body::apart(move || given::request(&inputs, signature.as_ref(), name.as_deref(), top_k)).await
    }

    /// A request that is refused, with what would be taken.
    fn about_inputs(&self, error: Error, signature: Option<&Signature>) -> Error {
        let Some(signature) = signature.filter(|_| error.status() == http::StatusCode::BAD_REQUEST) else {
            return error;
        };
        let input = |(name, tensor): (&String, &Tensor)| format!("{name}: {}", type_of(tensor));
        let inputs: Vec<_> = signature.inputs.iter().map(input).collect();
        let name = self.target.signature_name();
        advised(error, Some(&format!("The signature {name} takes {}", inputs.join(", "))))
    }

    /// Somebody has to be told how to name inputs.
    fn without_inputs(&self, signature: Option<&Signature>) -> Error {
        let inputs = signature.map(|signature| &signature.inputs).into_iter().flatten();
        let inputs: Vec<_> =
            inputs.map(|(name, tensor)| format!("  {name}: {}\n", type_of(tensor))).collect();
        let example = match signature.and_then(|signature| signature.inputs.keys().next()) {
            Some(name) => format!("{name}=VALUE"),
            None => "NAME=VALUE".to_owned(),
        };
        let takes = if inputs.is_empty() {
            String::new()
        } else {
            format!("The signature {} takes:\n{}", self.target.signature_name(), inputs.concat())
        };
        Error::invalid_argument(format!(
            "There is nothing to predict.\n{takes}Try `tfbridge predict {} {example}`, or name a file with --file.",
            self.target.model
        ))
    }

    /// What the reply is to be, if it is not to be JSON.
    fn accepted(&self) -> Option<Format> {
        let of_file = self.save.as_deref().and_then(Format::of_path);
        self.accept.or(of_file).filter(|format| *format != Format::Json)
    }

    /// The path of the request, with its query.
    fn path(&self, parameters: &[(String, String)]) -> String {
        let pairs = parameters.iter().chain(&self.parameter);
        let pairs: Vec<_> =
            pairs.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let query = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) };
        format!("{}:predict{query}", self.target.path())
    }

    /// What the flags say that a body which is there already does not.
    fn flags(&self) -> Vec<(String, String)> {
        let name = self.target.signature.clone().map(|name| ("signature_name".to_owned(), name));
        let top_k = self.top_k.map(|count| ("top_k".to_owned(), count.to_string()));
        name.into_iter().chain(top_k).collect()
    }

    async fn send(
        &self,
        client: &Client,
        request: Request,
        accept: Option<Format>,
    ) -> Result<Response<Bytes>> {
        let mut parameters = request.parameters;
        // JSON from arguments says it in the body, as other servers of the same API want it.
        if self.file.is_some() || request.content_type != Format::Json.content_type() {
            parameters.extend(self.flags());
        }
        let path = self.path(&parameters);
        let accept = accept.unwrap_or(Format::Json).content_type();
        let headers = [header(CONTENT_TYPE, &request.content_type)?, header(ACCEPT, accept)?];
        let response = client.exchange(Method::POST, &path, &headers, request.body).await;
        match response.and_then(accepted) {
            Ok(response) => Ok(response),
            Err(error) => Err(self.target.explained(client, error).await),
        }
    }

    fn print(&self, response: &Response<Bytes>, signature: Option<&Signature>) -> Result<()> {
        let value = match (self.output, self.accepted()) {
            (OutputFormat::Text, None) => show::parse(response.body()),
            _ => None,
        };
        if let Some(value) = value {
            return super::print(show::reply(&value, signature));
        }
        let body = response.body();
        let is_text = self.accepted().is_none_or(|format| !format.is_binary());
        let end: &[u8] = if is_text && !body.ends_with(b"\n") { b"\n" } else { b"" };
        super::print(body)?;
        super::print(end)
    }

    /// Predicts for each line of a file.
    async fn stream(&self, client: Client) -> Result<()> {
        let (Some(file), Some(save)) = (&self.file, &self.save) else {
            return Err(Error::invalid_argument("--stream reads from --file FILE and writes to --save FILE"));
        };
        let of_path = if file == Path::new("-") { Some(Format::Ndjson) } else { Format::of_path(file) };
        let format = self.format.or(of_path).ok_or_else(|| {
            let file = file.display();
            Error::invalid_argument(format!(
                "What {file} is does not show from its name: say it with --format ndjson or --format csv"
            ))
        })?;
        if !matches!(format, Format::Ndjson | Format::Csv) {
            let name = format.name();
            return Err(Error::invalid_argument(format!("--stream reads ndjson and csv, not {name}")));
        }
        let mut stops = stream::Stops::listen()?;
        // It would be late to learn from the answer to a large file that there is no such model.
        let description = tokio::select! {
            description = self.target.describe(&client) => description?,
            () = stops.next() => return Err(Error::new(tonic::Code::Cancelled, "Interrupted")),
        };
        description.signature(self.target.signature_name())?;
        let kind = match format {
            Format::Csv => stream::Kind::Table(Box::new(self.table(&description)?)),
            _ => stream::Kind::Lines,
        };
        let parameters = self.flags();
        let path = self.path(&parameters);
        let job = stream::Job { client: client.clone(), path, file, save, kind, output: self.output };
        match job.run(&self.stream, &mut stops).await {
            // What the server says of the whole request.
            Err(error) if error.status() == http::StatusCode::NOT_FOUND => {
                let explained = async { Err(self.target.explained(&client, error).await) };
                super::until(stops.next(), explained).await
            }
            result => result,
        }
    }

    fn table(&self, description: &Description) -> Result<stream::Table> {
        let input = self.parameter.iter().find(|(name, _)| name == "input").map(|(_, value)| value.as_str());
        stream::Table::new(description.inputs(), self.target.signature_name(), input, self.no_header)
    }
}

fn header(name: HeaderName, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let bad = |_| Error::invalid_argument(format!("{value:?} cannot be a header"));
    HeaderValue::from_str(value).map_err(bad).map(|value| (name, value))
}

/// What tells a file from all others, by whatever names they go.
#[derive(Debug, PartialEq)]
enum Place {
    /// Its device, and its number there.
    File(u64, u64),
    /// The directory in which it would be made, and its name.
    New(PathBuf, OsString),
}

/// Where a file is, or would be made; `None` if nothing can be lost there, as on a terminal or in `/dev/null`.
fn place(path: &Path) -> Option<Place> {
    if let Ok(metadata) = std::fs::metadata(path) {
        let is_kept = !metadata.file_type().is_char_device();
        return is_kept.then(|| Place::File(metadata.dev(), metadata.ino()));
    }
    let beside = |path: &Path| match path.parent() {
        Some(directory) if directory != Path::new("") => directory.to_owned(),
        _ => PathBuf::from("."),
    };
    // A link to what is not there yet has it made where it leads to.
    let path = match std::fs::read_link(path) {
        Ok(target) => beside(path).join(target),
        Err(_) => path.to_owned(),
    };
    Some(Place::New(beside(&path).canonicalize().ok()?, path.file_name()?.to_owned()))
}

/// Where `--save` writes to.
fn saved(path: PathBuf) -> PathBuf {
    if path == Path::new("-") { PathBuf::from(STANDARD_OUTPUT) } else { path }
}

async fn save(path: PathBuf, content: Bytes) -> Result<()> {
    let cannot = |path: &Path, error| Error::unavailable(format!("Cannot write {}: {error}", path.display()));
    body::apart(move || std::fs::write(&path, content).map_err(|error| cannot(&path, error))).await
}

/// A number of scores.
fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "a number above zero is expected".to_owned())
}

/// A name and a value.
fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected, such as outputs=scores")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// How deep a value of JSON nests, told by the first of each list: the sizes of its lists.
fn sizes(value: &Value) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut value = value;
    while let Value::Array(items) = value {
        sizes.push(items.len());
        let Some(first) = items.first() else { break };
        value = first;
    }
    sizes
}
