//! Bodies of requests that are in files: what they are, and how they are read.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// The most bytes of a file that is sent as one body.
const LARGEST: u64 = 1 << 30;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// TensorFlow Serving's JSON.
    Json,
    /// A value of JSON per line.
    Ndjson,
    /// A table.
    Csv,
    /// An array of NumPy.
    Npy,
    /// An archive of arrays.
    Npz,
    /// A stream of Apache Arrow.
    Arrow,
    /// A serialized PredictRequest, or PredictResponse.
    Protobuf,
    /// A JPEG or PNG picture.
    Image,
    /// The bytes of the only input.
    OctetStream,
}

impl Format {
    /// What a reply can be.
    const REPLIES: [Self; 7] =
        [Self::Json, Self::Ndjson, Self::Csv, Self::Npy, Self::Npz, Self::Arrow, Self::Protobuf];

    /// Reads the format of a reply.
    pub(super) fn of_reply() -> impl TypedValueParser<Value = Self> {
        let names = Self::REPLIES.iter().filter_map(ValueEnum::to_possible_value);
        PossibleValuesParser::new(names).try_map(|name| Self::from_str(&name, false))
    }

    /// What the extension of a file says.
    pub(super) fn of_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "json" => Self::Json,
            "ndjson" | "jsonl" | "jsonlines" => Self::Ndjson,
            "csv" => Self::Csv,
            "npy" => Self::Npy,
            "npz" => Self::Npz,
            "arrows" | "arrow" => Self::Arrow,
            "pb" | "protobuf" => Self::Protobuf,
            "jpg" | "jpeg" | "png" => Self::Image,
            "bin" => Self::OctetStream,
            _ => return None,
        })
    }

    /// What a body is of which somebody says nothing else.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a file whose name does not tell.
    pub(super) fn of_body(path: &Path) -> Result<Self> {
        let of_path = if path == Path::new("-") { Some(Self::Json) } else { Self::of_path(path) };
        of_path.ok_or_else(|| {
            let path = path.display();
            Error::invalid_argument(format!(
                "What {path} is does not show from its name: say it with --format"
            ))
        })
    }

    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().as_ref().map(PossibleValue::get_name).unwrap_or_default().to_owned()
    }

    /// The type of a body that is of this format.
    pub(super) fn type_of(self, body: &[u8]) -> &'static str {
        match self {
            Self::Image => picture_type(body),
            format => format.content_type(),
        }
    }

    /// The type that HTTP knows it by.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Npy => "application/x-npy",
            Self::Npz => "application/x-npz",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Protobuf => "application/x-protobuf",
            // What it is shows when it is read.
            Self::Image => "image/png",
            Self::OctetStream => "application/octet-stream",
        }
    }

    /// Whether it is nothing to look at.
    pub(super) fn is_binary(self) -> bool {
        !matches!(self, Self::Json | Self::Ndjson | Self::Csv)
    }
}

/// The type of a picture, as it begins.
pub(super) fn picture_type(picture: &[u8]) -> &'static str {
    if picture.starts_with(b"\xff\xd8") { "image/jpeg" } else { "image/png" }
}

/// All of a file, or of the standard input.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if it cannot be read, or is too large.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = open(path)?.take(LARGEST + 1).read_to_end(&mut content);
    read.map_err(|error| unreadable(path, &error))?;
    if content.len() as u64 > LARGEST {
        return Err(Error::invalid_argument(format!(
            "{} is larger than 1 GiB: `tfbridge predict --stream` sends a file line by line",
            path.display()
        )));
    }
    Ok(content)
}

/// A file to read, `-` for the standard input.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if there is none.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(stdin()));
    }
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    Ok(Box::new(file))
}

/// Does on a thread of its own what may take as long as others like, such as the opening of a pipe that has nobody at
/// its other end. Whoever gives up waiting for it leaves the thread behind, and that keeps no process from ending.
///
/// # Errors
///
/// What the work says.
pub(super) async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    // Nobody may wait for it any more.
    let work = move || drop(sender.send(work()));
    std::thread::Builder::new()
        .name("files".to_owned())
        .spawn(work)
        .map_err(|error| Error::internal("There can be no further thread").with_source(error))?;
    receiver.await.map_err(|_| Error::internal("The thread for files has ended before its work"))?
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::invalid_argument(format!("Cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_say_what_files_are() {
        let check = |path: &str, expected: Option<Format>| {
            assert_eq!(Format::of_path(Path::new(path)), expected, "{path}");
        };
        check("a/b.JSON", Some(Format::Json));
        check("rows.jsonl", Some(Format::Ndjson));
        check("rows.arrows", Some(Format::Arrow));
        check("cat.jpeg", Some(Format::Image));
        check("rows.txt", None);
        check("json", None);
        let error = Format::of_body(Path::new("rows.txt")).unwrap_err();
        assert!(error.message().contains("--format"), "{error}");
        assert_eq!(Format::of_body(Path::new("-")).unwrap(), Format::Json);
        let error = read(Path::new("/nowhere/rows.csv")).unwrap_err();
        assert!(error.message().starts_with("Cannot read /nowhere/rows.csv: "), "{error}");
    }
}
