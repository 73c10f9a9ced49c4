//! A file as the body of a request.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::Request;
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

/// The request with this file for a body.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for a file whose format nobody knows, or that is too large for one body.
pub(super) fn request(path: &Path, format: Option<Format>, no_header: bool) -> Result<Request> {
    let of_path = if path == Path::new("-") { Some(Format::Json) } else { Format::of_path(path) };
    let format = format.or(of_path).ok_or_else(|| {
        let path = path.display();
        Error::invalid_argument(format!("What {path} is does not show from its name: say it with --format"))
    })?;
    let body = read(path)?;
    let mut content_type = match format {
        Format::Image => picture_type(&body),
        format => format.content_type(),
    }
    .to_owned();
    if no_header {
        content_type.push_str("; header=absent");
    }
    Ok(Request { content_type, body: body.into(), parameters: Vec::new() })
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
            "{} is larger than 1 GiB: send it line by line, with --stream",
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
        let error = request(Path::new("rows.txt"), None, false).unwrap_err();
        assert!(error.message().contains("--format"), "{error}");
        let error = request(Path::new("/nowhere/rows.csv"), None, false).unwrap_err();
        assert!(error.message().starts_with("Cannot read /nowhere/rows.csv: "), "{error}");
    }
}
