//! The types of bodies: what `Content-Type` says of a request's and `Accept` wants of a reply's.
//!
//! TensorFlow Serving reads every body as JSON, whatever its type. So what clients send without a thought,
//! no type at all or that of a form (`curl -d`), stays JSON here, and only a type that means something else
//! is taken for that.

use std::cmp::Reverse;

use super::parameters::Parameters;
use crate::error::{Error, Result};

/// A type of body that can be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaType {
    /// TensorFlow Serving's own.
    Json,
    /// The bytes of one string.
    Octets,
    /// A picture.
    Image,
    /// An array in NumPy's format.
    Npy,
    /// An archive of such arrays.
    Npz,
    /// A message of the gRPC API.
    Protobuf,
    /// A stream of Apache Arrow.
    Arrow,
    /// A table.
    Csv,
    /// A form.
    Multipart,
    /// JSON, a value per line.
    Lines,
}

impl MediaType {
    /// All that a request may have.
    pub const REQUESTS: [Self; 10] = [
        Self::Json,
        Self::Npy,
        Self::Npz,
        Self::Protobuf,
        Self::Arrow,
        Self::Csv,
        Self::Lines,
        Self::Multipart,
        Self::Octets,
        Self::Image,
    ];

    /// All that a reply may have.
    pub const REPLIES: [Self; 7] =
        [Self::Json, Self::Npy, Self::Npz, Self::Protobuf, Self::Arrow, Self::Csv, Self::Lines];

    /// The name that this type is answered with, and the first of those that it is known by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Octets => "application/octet-stream",
            Self::Image => "image/*",
            Self::Npy => "application/x-npy",
            Self::Npz => "application/x-npz",
            Self::Protobuf => "application/x-protobuf",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Csv => "text/csv",
            Self::Multipart => "multipart/form-data",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// The type that a `Content-Type` names.
    pub(super) fn of(content_type: &str) -> Option<Self> {
        let name = content_type.split(';').next().unwrap_or_default();
        Self::from_name(&name.trim().to_ascii_lowercase())
    }

    /// The type of a name in lower case, without parameters.
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "" | "application/json" | "text/json" | "text/plain" | "application/x-www-form-urlencoded" => {
                Self::Json
            }
            "application/octet-stream" => Self::Octets,
            "text/csv" => Self::Csv,
            "multipart/form-data" => Self::Multipart,
            "application/x-npy" | "application/npy" => Self::Npy,
            "application/x-npz" | "application/npz" => Self::Npz,
            "application/x-protobuf" | "application/protobuf" | "application/vnd.google.protobuf" => {
                Self::Protobuf
            }
            "application/vnd.apache.arrow.stream" => Self::Arrow,
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/jsonlines"
            | "application/x-jsonlines" => Self::Lines,
            _ if name.starts_with("image/") => Self::Image,
            _ if name.starts_with("application/") && name.ends_with("+json") => Self::Json,
            _ => return None,
        })
    }

    /// The type of the reply where the client has no preference: that of the request, if it can be one.
    fn usual_reply(self) -> Self {
        if Self::REPLIES.contains(&self) { self } else { Self::Json }
    }
}

/// What client and bridge agree on before the body is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// The type of the request's body.
    pub request: MediaType,
    /// The header that says so, with its parameters; empty if there was none.
    pub content_type: String,
    /// The type of the reply's body.
    pub reply: MediaType,
    /// Whether a table that is the reply begins with the names of its columns, if `Accept` says.
    pub has_names: Option<bool>,
    /// What the query says.
    pub parameters: Parameters,
}

impl Agreement {
    /// What a request with this `Content-Type`, these values of `Accept` and this query agrees on.
    ///
    /// # Errors
    ///
    /// 415 for a type that cannot be read and 406 for one that cannot be written, each with a list of those
    /// that can; `INVALID_ARGUMENT` for parameters that cannot be understood.
    pub fn new<'a>(
        content_type: Option<&str>,
        accept: impl IntoIterator<Item = &'a str>,
        query: Option<&str>,
    ) -> Result<Self> {
        let content_type = content_type.unwrap_or_default();
        let request = MediaType::of(content_type).ok_or_else(|| {
            let types = list(&MediaType::REQUESTS);
            let name = content_type.split(';').next().unwrap_or_default().trim();
            Error::unsupported_media_type(format!(
                "Bodies of type {name:?} cannot be read; these can: {types}"
            ))
        })?;
        let (reply, range) = choose(accept, request.usual_reply()).ok_or_else(|| {
            let types = list(&MediaType::REPLIES);
            Error::not_acceptable(format!("The reply can be of these types: {types}"))
        })?;
        // JSON is what nearly all of them have, and nobody asks for what its header was.
        let content_type = if request == MediaType::Json { "" } else { content_type };
        let parameters = Parameters::parse(query.unwrap_or_default())?;
        // A table without a line of names is what such a client can read, as one that sends none can.
        let has_names = if reply == MediaType::Csv { parameter(range, "header") } else { None };
        let has_names = has_names.map(|header| !header.eq_ignore_ascii_case("absent"));
        Ok(Self { request, content_type: content_type.to_owned(), reply, has_names, parameters })
    }

    /// A parameter of the request's `Content-Type`, without the quotes that it may have.
    #[must_use]
    pub fn content_parameter(&self, name: &str) -> Option<String> {
        parameter(&self.content_type, name)
    }
}

/// A parameter of a header such as `text/csv; header="absent"`.
pub(super) fn parameter(header: &str, name: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (key, value) = rest.split_once('=')?;
        let key = key.trim_matches([' ', '\t', ';']);
        let value = value.trim_start();
        let text = if let Some(quoted) = value.strip_prefix('"') {
            let (mut text, mut end, mut is_escaped) = (String::new(), quoted.len(), false);
            for (at, character) in quoted.char_indices() {
                match character {
                    '"' if !is_escaped => {
                        end = at + 1;
                        break;
                    }
                    '\\' if !is_escaped => is_escaped = true,
                    _ => {
                        text.push(character);
                        is_escaped = false;
                    }
                }
            }
            rest = &quoted[end..];
            text
        } else {
            let (text, behind) = value.split_once(';').unwrap_or((value, ""));
            rest = behind;
            text.trim_end().to_owned()
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(text);
        }
    }
}

fn list(types: &[MediaType]) -> String {
    types.iter().map(|media_type| media_type.name()).collect::<Vec<_>>().join(", ")
}

/// The type that a client likes best, and of those that it likes equally the usual one or else the first that
/// it names; with the parameters that it has there. What it says of one type counts for more than what it says
/// of all, so that `*/*` does not bring back what has a weight of zero.
fn choose<'a>(accept: impl IntoIterator<Item = &'a str>, usual: MediaType) -> Option<(MediaType, &'a str)> {
    let ranges = accept.into_iter().flat_map(|value| value.split(',')).map(Range::new);
    let ranges: Vec<_> = ranges.filter(|range| !range.name.is_empty()).collect();
    if ranges.is_empty() {
        return Some((usual, ""));
    }
    let mut best: Option<(MediaType, &Range<'_>, Rank)> = None;
    for media_type in std::iter::once(usual).chain(MediaType::REPLIES) {
        let mut meant: Option<(Precision, usize, &Range<'_>)> = None;
        for (index, range) in ranges.iter().enumerate() {
            let Some(precision) = range.precision(media_type) else { continue };
            let is_better = |(known, _, other): (Precision, usize, &Range<'_>)| {
                (precision, range.weight) > (known, other.weight)
            };
            if meant.is_none_or(is_better) {
                meant = Some((precision, index, range));
            }
        }
        let Some((precision, index, range)) = meant else { continue };
        let is_usual = media_type == usual;
        let is_exact = precision == Precision::Exact;
        let rank = Rank { weight: range.weight, is_exact, is_usual, place: Reverse(index) };
        if range.weight > 0.0 && best.is_none_or(|(_, _, other)| rank > other) {
            best = Some((media_type, range, rank));
        }
    }
    best.map(|(media_type, range, _)| (media_type, range.whole))
}

/// What a client says of one type or of several.
struct Range<'a> {
    /// As it stands in the header.
    whole: &'a str,
    name: String,
    weight: f32,
}

impl<'a> Range<'a> {
    fn new(whole: &'a str) -> Self {
        let mut parts = whole.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight =
            parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q="))).map_or(1.0, weight);
        Self { whole, name, weight }
    }

    /// How closely it means this type; `None` if it does not.
    fn precision(&self, media_type: MediaType) -> Option<Precision> {
        match self.name.strip_suffix("/*") {
            Some("*") => Some(Precision::Any),
            Some(kind) => {
                let rest = media_type.name().strip_prefix(kind)?;
                rest.starts_with('/').then_some(Precision::Kind)
            }
            None => (MediaType::from_name(&self.name) == Some(media_type)).then_some(Precision::Exact),
        }
    }
}

/// How closely a range means a type.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
enum Precision {
    Any,
    Kind,
    Exact,
}

/// How much a client likes a type.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Rank {
    weight: f32,
    is_exact: bool,
    is_usual: bool,
    place: Reverse<usize>,
}

/// The weight of a type; all of it if it cannot be read.
fn weight(text: &str) -> f32 {
    text.parse().ok().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(content_type: Option<&str>, accept: &[&str]) -> Result<(MediaType, MediaType)> {
        Agreement::new(content_type, accept.iter().copied(), None).map(|it| (it.request, it.reply))
    }

    #[test]
    fn what_means_nothing_else_is_json() {
        for content_type in [
            None,
            Some(""),
            Some("application/json; charset=utf-8"),
            Some("Application/JSON"),
            Some("application/x-www-form-urlencoded"),
            Some("text/plain;charset=UTF-8"),
            Some("application/vnd.api+json"),
        ] {
            assert_eq!(agree(content_type, &[]).unwrap().0, MediaType::Json, "{content_type:?}");
        }
        assert_eq!(agree(Some("image/jpeg"), &[]).unwrap().0, MediaType::Image);
        assert_eq!(agree(Some("application/octet-stream"), &[]).unwrap().0, MediaType::Octets);
    }

    #[test]
    fn unknown_types_are_refused_with_a_list() {
        let error = agree(Some("application/cbor; x=1"), &[]).unwrap_err();
        assert_eq!(error.status(), 415);
        let expected = "Bodies of type \"application/cbor\" cannot be read; these can: application/json, ";
        assert!(error.message().starts_with(expected), "{error}");
        let error = agree(None, &["text/html, application/xml;q=0.9"]).unwrap_err();
        assert_eq!(error.status(), 406);
        assert!(error.message().contains("application/json"), "{error}");
        assert_eq!(agree(None, &["application/json;q=0"]).unwrap_err().status(), 406);
    }

    #[test]
    fn parameters_are_found_and_unquoted() {
        for (header, expected) in [
            ("text/csv", None),
            ("text/csv; header", None),
            ("text/csv; charset=utf-8;Header=absent ", Some("absent")),
            ("text/csv;header=\"a;\\\"b\"; x=1", Some("a;\"b")),
            ("text/csv;x=\"header=no\";header=yes", Some("yes")),
            ("text/csv;x=\"header=no", None),
        ] {
            assert_eq!(parameter(header, "header").as_deref(), expected, "{header}");
        }
    }

    #[test]
    fn what_is_said_of_one_type_counts_for_more() {
        use MediaType::{Arrow, Csv, Json, Lines, Npy};
        for (accept, expected) in [
            ("application/json;q=0, */*", Npy),
            ("application/json;q=0.1, */*;q=0.2, text/csv;q=0.15", Npy),
            ("*/*, application/json;q=0.1, application/*;q=0.5", Csv),
            ("*/*;q=0, text/csv;q=0.1", Csv),
            ("application/jsonl;q=0.2, application/x-ndjson;q=0.9, text/csv;q=0.5", Lines),
            ("text/csv, application/vnd.apache.arrow.stream", Csv),
            ("application/vnd.apache.arrow.stream, text/csv", Arrow),
            ("text/csv, application/json", Json),
            ("text/*, application/*", Json),
        ] {
            assert_eq!(agree(None, &[accept]).unwrap().1, expected, "{accept}");
        }
        for accept in ["*/*;q=0", "app/*", "application/json;q=0, application/json;q=0"] {
            assert_eq!(agree(None, &[accept]).unwrap_err().status(), 406, "{accept}");
        }
    }

    #[test]
    fn a_table_may_be_wanted_without_names() {
        for (accept, expected) in [
            (&["text/csv"][..], None),
            (&["text/csv; header=absent"], Some(false)),
            (&["application/json;q=0.1", "text/csv;q=0.5; Header=\"ABSENT\""], Some(false)),
            (&["text/csv;header=present"], Some(true)),
            (&["application/json; header=absent"], None),
        ] {
            let agreement = Agreement::new(None, accept.iter().copied(), None).unwrap();
            assert_eq!(agreement.has_names, expected, "{accept:?}");
        }
    }

    #[test]
    fn browsers_and_curl_get_what_is_usual() {
        for accept in
            [&["*/*"][..], &["text/html,application/xhtml+xml,*/*;q=0.8"], &["application/*"], &[], &[""]]
        {
            assert_eq!(agree(None, accept).unwrap().1, MediaType::Json, "{accept:?}");
        }
    }
}
