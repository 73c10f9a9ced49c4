//! Passes calls on to a real server and writes down what came of them.
//!
//! What was written last for an equal request is not written again. Calls that the server did not answer
//! are not recorded. The file is bounded: when it is full, calls are passed on without it.
//!
//! One thread writes, so that a slow disk holds up none of those that answer; it ends with all that it was given written.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use http::uri::PathAndQuery;
use tokio::sync::{mpsc, oneshot};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::line::{LONGEST_LINE, Line};
use super::{Key, Outcome, key, sum};
use crate::error::{Error, Result};
use crate::mock::call::Call;
use crate::mock::directory::complaint;
use crate::mock::{CONNECTION_WINDOW, LARGEST_MESSAGE, STREAM_WINDOW};

/// The most bytes of a file.
const MOST_BYTES: u64 = 4 << 30;

/// How many calls wait to be written, each of which may be large; those who come then wait as well.
const WAITING: usize = 8;

#[derive(Debug)]
pub(in crate::mock) struct Recorder {
    upstream: String,
    channel: Channel,
    /// The way to the thread that writes; it ends when this is gone.
    calls: Option<mpsc::Sender<Written>>,
    writer: Option<JoinHandle<()>>,
}

/// A call as it will be in the file.
#[derive(Debug)]
struct Written {
    line: String,
    key: Key,
    /// Told once it is there, or cannot be.
    done: oneshot::Sender<()>,
}

/// The file, and what is in it.
#[derive(Debug)]
struct Target {
    path: PathBuf,
    file: File,
    length: u64,
    /// The sum of the last line for each request, if it was written by this process.
    last: HashMap<Key, Key>,
    is_broken: bool,
}

impl Recorder {
    /// Adds to a file what a server answers. Whether the server is there is seen with the first call.
    pub(in crate::mock) fn new(upstream: &str, path: &Path) -> Result<Self> {
        let invalid = |problem: &str| {
            let text =
                format!("The server {upstream:?} {problem}; expected is an address such as http://HOST:8500");
            Error::invalid_argument(text)
        };
        if upstream.starts_with("https:") {
            return Err(invalid("cannot be reached with TLS; put a bridge or a tunnel in between"));
        }
        let url = if upstream.contains("://") { upstream.to_owned() } else { format!("http://{upstream}") };
        let endpoint =
            Endpoint::from_shared(url).map_err(|error| invalid(&format!("is no address: {error}")))?;
        if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().port().is_none() {
            return Err(invalid("has no port or is no http:// address"));
        }
        let channel = endpoint
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect_lazy();
        let unwritable = |error: std::io::Error| complaint(path, &format!("it cannot be written: {error}"));
        let mut file = File::options().append(true).create(true).open(path).map_err(unwritable)?;
        end_line(&mut file, path).map_err(unwritable)?;
        let length = file.metadata().map_err(unwritable)?.len();
        let mut target =
            Target { path: path.to_owned(), file, length, last: HashMap::new(), is_broken: false };
        let (calls, mut waiting) = mpsc::channel::<Written>(WAITING);
        let write = move || {
            while let Some(Written { line, key, done }) = waiting.blocking_recv() {
                target.write(&line, key);
                // Whose client has gone does not wait any more.
                let _ = done.send(());
            }
        };
        let writer = thread::Builder::new().name("recorder".to_owned()).spawn(write).map_err(unwritable)?;
        let (calls, writer) = (Some(calls), Some(writer));
        Ok(Self { upstream: upstream.to_owned(), channel, calls, writer })
    }

    /// The address of the server.
    pub(in crate::mock) fn upstream(&self) -> &str {
        &self.upstream
    }

    /// Has the server answer, and writes that down before the client knows.
    pub(in crate::mock) async fn pass<C: Call>(
        &self,
        request: Request<C>,
    ) -> Result<Response<C::Reply>, Status> {
        let (metadata, _, message) = request.into_parts();
        let passed = Request::from_parts(metadata, tonic::Extensions::default(), message.clone());
        let mut client = Grpc::new(self.channel.clone())
            .max_decoding_message_size(LARGEST_MESSAGE)
            .max_encoding_message_size(LARGEST_MESSAGE);
        client.ready().await.map_err(|error| {
            Status::unavailable(format!("The server that is recorded cannot be reached: {error}"))
        })?;
        let path = PathAndQuery::try_from(format!("/{}", C::METHOD));
        let path = path.map_err(|error| Status::internal(error.to_string()))?;
        let result = client.unary(passed, path, ProstCodec::<C, C::Reply>::default()).await;
        let outcome = match &result {
            Ok(reply) => Outcome::Reply(prost::Message::encode_to_vec(reply.get_ref()).into()),
            // Only what the server said is a status without a source.
            Err(status) if std::error::Error::source(status).is_none() => {
                Outcome::Error(status.code(), status.message().to_owned())
            }
            Err(_) => return result,
        };
        self.write(&message, &outcome).await;
        result
    }

    /// Has a call written, and waits until it is.
    async fn write<C: Call>(&self, request: &C, outcome: &Outcome) {
        let line = match Line::text(request, outcome) {
            Ok(line) if (line.len() as u64) < LONGEST_LINE => line + "\n",
            Ok(_) => {
                return tracing::warn!(method = C::name(), "a call is too long to be recorded");
            }
            Err(error) => {
                return tracing::warn!(method = C::name(), error, "a call cannot be recorded");
            }
        };
        let (done, written) = oneshot::channel();
        if let Some(calls) = &self.calls
            && calls.send(Written { line, key: key(request), done }).await.is_ok()
        {
            // It only fails if the thread has ended, which nothing but a fault makes it do.
            let _ = written.await;
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.calls.take());
        // What was given to the thread is in the file when the process ends.
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Target {
    /// Failing to write is no reason to fail a call, and is told once.
    fn write(&mut self, line: &str, key: Key) {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(line.as_bytes());
        let line_sum = sum(context);
        if self.is_broken || self.last.get(&key) == Some(&line_sum) {
            return;
        }
        let length = self.length + line.len() as u64;
        let problem = if length > MOST_BYTES {
            Some(format!("the file would be longer than {} GiB", MOST_BYTES >> 30))
        } else {
            self.file.write_all(line.as_bytes()).err().map(|error| error.to_string())
        };
        if let Some(problem) = problem {
            self.is_broken = true;
            return tracing::warn!(file = %self.path.display(), error = problem, "no further calls are recorded");
        }
        self.length = length;
        self.last.insert(key, line_sum);
    }
}

/// Sees to it that the next call begins on a line of its own. Half of a call, which a recorder has left that was killed,
/// goes: nobody could read the file with it. What anybody else has written stays.
fn end_line(file: &mut File, path: &Path) -> std::io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(());
    }
    let line = last_line(&mut File::open(path)?, metadata.len())?;
    if line.is_empty() {
        return Ok(());
    }
    if Line::is_cut(&line) {
        let bytes = line.len();
        tracing::warn!(file = %path.display(), bytes, "the last call was not written to its end, and is left out");
        return file.set_len(metadata.len() - bytes as u64);
    }
    file.write_all(b"\n")
}

/// How much of a file is read at first when its last line is looked for.
const PIECE: u64 = 64 << 10;

/// What is behind the last line break. Of what is too long for a line there is only a part.
fn last_line(file: &mut File, length: u64) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut start = length;
    while start > 0 && (line.len() as u64) < LONGEST_LINE {
        let size = PIECE.max(line.len() as u64).min(start);
        start -= size;
        file.seek(SeekFrom::Start(start))?;
        let mut piece = Vec::new();
        (&*file).take(size).read_to_end(&mut piece)?;
        let end = piece.iter().rposition(|byte| *byte == b'\n');
        line.splice(..0, piece.drain(end.map_or(0, |end| end + 1)..));
        if end.is_some() {
            break;
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mock::recording::Recording;
    use crate::proto::tensorflow::serving::PredictRequest;

    #[tokio::test]
    async fn calls_begin_on_lines_of_their_own() {
        let outcome = Outcome::Error(tonic::Code::NotFound, "é".repeat(100_000));
        let whole = Line::text(&PredictRequest::default(), &outcome).unwrap();
        let half = &whole[..whole.len() - 9];
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("calls.jsonl");
        for (before, expected) in [
            (String::new(), String::new()),
            (format!("{whole}\n"), format!("{whole}\n")),
            (whole.clone(), format!("{whole}\n")),
            (format!("{whole}\n{half}"), format!("{whole}\n")),
            (half.to_owned(), String::new()),
            (format!("{whole}\n{}", r#"{"method":"tensorflow.serving.Pre"#), format!("{whole}\n")),
            ("notes\nof somebody".to_owned(), "notes\nof somebody\n".to_owned()),
            ("{".to_owned(), "{\n".to_owned()),
        ] {
            std::fs::write(&path, &before).unwrap();
            let recorder = Recorder::new("localhost:8500", &path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
            recorder.write(&PredictRequest::default(), &outcome).await;
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{expected}{whole}\n"));
            assert_eq!(Recording::read(&path).is_ok(), !before.contains("notes") && before != "{");
        }
    }

    #[tokio::test]
    async fn what_a_call_has_left_is_written_also_if_nobody_waits_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("calls.jsonl");
        let recorder = Recorder::new("localhost:8500", &path).unwrap();
        for code in [tonic::Code::NotFound, tonic::Code::Internal] {
            let (request, outcome) = (PredictRequest::default(), Outcome::Error(code, String::new()));
            // It is given to the thread at the first look, and then the client goes.
            let _ = tokio::time::timeout(Duration::ZERO, recorder.write(&request, &outcome)).await;
        }
        drop(recorder);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[tokio::test]
    async fn addresses_and_files_that_cannot_be_used_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("calls.jsonl");
        for (upstream, expected) in [
            ("https://localhost:8500", "TLS"),
            ("localhost", "no port"),
            ("ftp://localhost:1", "no http"),
            ("http://a b:1", "is no address"),
        ] {
            let error = Recorder::new(upstream, &path).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        }
        for upstream in ["localhost:8500", "http://[::1]:8500"] {
            assert!(Recorder::new(upstream, &path).is_ok(), "{upstream}");
        }
        let error = Recorder::new("localhost:8500", directory.path()).unwrap_err();
        assert!(error.message().contains("cannot be written"), "{error}");
    }
}
