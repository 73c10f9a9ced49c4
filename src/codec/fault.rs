//! What can be wrong with a body, and how it is told to the client.
//!
//! The readers return a [`Fault`]: a byte offset and a small reason, cheap enough for the hot
//! loops. Only when it becomes an [`Error`] is the JSON pointer worked out, by walking the
//! body once more. The phrases are those of TensorFlow Serving, which clients match on; the
//! place in front is ours.

use std::fmt::Write as _;

use super::dtype;
use super::limits::Limits;
use super::reader::Reader;
use crate::error::Error;
use crate::proto::tensorflow::DataType;

/// Something wrong at a byte offset of the body.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) what: What,
}

/// The reason of a [`Fault`].
#[derive(Debug)]
pub(crate) enum What {
    /// Not JSON; the text names what is missing.
    Syntax(&'static str),
    /// A value of another type than the dtype takes.
    Type(DataType),
    /// A number outside the range of the dtype.
    Range(DataType),
    /// An object that is not a base64 object, where a string is wanted.
    NotBase64Object,
    /// A base64 object whose text is not base64.
    Base64,
    /// A dtype that JSON cannot carry.
    Unsupported(DataType),
    /// A scalar above the level that the first values had.
    Level { level: usize, expected: usize },
    /// A list below that level.
    ListLevel { level: usize, rank: usize },
    /// A list that is longer or shorter than its first sibling.
    ListSize { size: usize, level: usize, expected: usize },
    /// More levels of lists than a tensor may have dimensions.
    Rank(usize),
    /// More levels of objects and lists than a body may have.
    Depth(usize),
    /// More elements than a tensor may have.
    Elements(usize),
    /// A string of more bytes than an element may have.
    StringSize(usize),
    /// Any other reason: the text for the client.
    Text(Box<str>),
}

impl Fault {
    #[cold]
    pub(crate) fn new(at: usize, what: What) -> Self {
        Self { at, what }
    }

    #[cold]
    pub(crate) fn text(at: usize, text: impl Into<String>) -> Self {
        Self { at, what: What::Text(text.into().into_boxed_str()) }
    }

    /// True if the values are well formed one by one and only their arrangement is not.
    pub(crate) fn is_structural(&self) -> bool {
        matches!(self.what, What::Level { .. } | What::ListLevel { .. } | What::ListSize { .. })
    }

    /// True if the text cannot be read on, whatever it is read for: it is no JSON, or nests too
    /// deeply.
    pub(crate) fn ends_text(&self) -> bool {
        matches!(self.what, What::Syntax(_) | What::Depth(_))
    }

    /// True if the values are too many or too large, not wrong.
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self.what, What::Elements(_) | What::StringSize(_))
    }

    /// The error for the client, with the place in front of the reason.
    #[cold]
    pub(crate) fn into_error(self, body: &[u8]) -> Error {
        if let What::Syntax(text) = self.what {
            return syntax_error(body, text, self.at);
        }
        let unsupported = matches!(self.what, What::Unsupported(_));
        let place = pointer(body, self.at);
        let reason = self.reason(body);
        let message = match place {
            place if place.is_empty() => reason,
            place => format!("{place}: {reason}"),
        };
        if unsupported { Error::unimplemented(message) } else { Error::invalid_argument(message) }
    }

    fn reason(self, body: &[u8]) -> String {
        let Value { kind, text } = Value::at(body, self.at);
        match self.what {
            What::Syntax(text) => text.to_owned(),
            What::Type(dtype) => {
                format!("JSON Value: {text} Type: {kind} is not of expected type: {}", dtype::name(dtype))
            }
            What::Range(dtype) => format!(
                "JSON Value: {text} Type: {kind} is not of expected type: {} (it is out of range)",
                dtype::name(dtype)
            ),
            What::NotBase64Object => format!("JSON Value: {text} not formatted correctly for base64 data"),
            What::Base64 => "Unable to base64 decode".to_owned(),
            What::Unsupported(dtype) => {
                format!("Conversion of JSON Value: {text} to type: {}", dtype::name(dtype))
            }
            What::Level { level, expected } => format!(
                "JSON Value: {text} found at incorrect level: {level} in the JSON DOM. Expected at level: {expected}"
            ),
            What::ListLevel { level, rank } => {
                format!("Encountered list at unexpected level: {level} expected < {rank}")
            }
            What::ListSize { size, level, expected } => {
                format!(
                    "Encountered list at unexpected size: {size} at level: {level} expected size: {expected}"
                )
            }
            What::Rank(most) => format!("A tensor has at most {most} dimensions"),
            What::Depth(most) => format!("More than {most} levels of nesting"),
            What::Elements(most) => format!("More than {most} elements"),
            What::StringSize(most) => format!("More than {most} bytes in a string"),
            What::Text(text) => text.into_string(),
        }
    }
}

/// The error of a body that is not JSON.
#[cold]
fn syntax_error(body: &[u8], text: &str, at: usize) -> Error {
    if body.is_empty() {
        return Error::invalid_argument("JSON Parse error: The document is empty");
    }
    Error::invalid_argument(format!("JSON Parse error: {text} at offset: {at}"))
}

/// A value of the body as error texts show it.
pub(crate) struct Value {
    /// `Null`, `False`, `True`, `Object`, `Array`, `String` or `Number`.
    pub(crate) kind: &'static str,
    /// The value as it is written, cut where it is long.
    pub(crate) text: String,
}

impl Value {
    /// How much of a value a message shows.
    const SHOWN: usize = 256;

    pub(crate) fn at(body: &[u8], at: usize) -> Self {
        let mut reader = Reader::inside(body, at, 0, &Limits::NONE);
        let kind = match reader.peek() {
            b'n' => "Null",
            b'f' => "False",
            b't' => "True",
            b'{' => "Object",
            b'[' => "Array",
            b'"' => "String",
            _ => "Number",
        };
        let start = reader.at;
        let end = if reader.skip_value().is_ok() { reader.at } else { body.len() };
        let shown = body.get(start..end.min(start.saturating_add(Self::SHOWN))).unwrap_or_default();
        let mut text = String::from_utf8_lossy(shown).into_owned();
        if shown.len() == Self::SHOWN {
            // A character that the cut went through shows as a replacement: drop it.
            while text.ends_with('\u{FFFD}') {
                text.pop();
            }
            text.push_str("...");
        }
        Self { kind, text }
    }
}

/// How many steps a pointer has at most: deeper than a tensor can nest there is nothing to see.
const MOST_STEPS: usize = super::MAX_RANK + 4;

/// The JSON pointer (RFC 6901) of the value that starts at or contains the offset.
#[cold]
fn pointer(body: &[u8], at: usize) -> String {
    let mut path = String::new();
    for step in steps(body, at).iter().take(MOST_STEPS) {
        path.push('/');
        match step.name {
            None => drop(write!(path, "{}", step.index)),
            Some(start) => {
                let name = Reader::inside(body, start, 0, &Limits::NONE).string();
                let name = name.map(|name| String::from_utf8_lossy(name.bytes(body)).into_owned());
                // The two characters that a pointer escapes.
                path.push_str(&name.unwrap_or_default().replace('~', "~0").replace('/', "~1"));
            }
        }
    }
    path
}

/// A step into an object or a list.
struct Step {
    /// Where the name of a member starts; `None` in a list.
    name: Option<usize>,
    /// The number of the element.
    index: usize,
}

/// The steps to the value that starts at or contains the offset, found in one pass: a body is
/// read once more up to there, however deep that is.
fn steps(body: &[u8], at: usize) -> Vec<Step> {
    let mut reader = Reader::new(body, &Limits::NONE);
    let mut steps = Vec::new();
    // Text that is no JSON ends the search where it stands.
    let _ = find(&mut reader, at, &mut steps);
    steps
}

fn find(reader: &mut Reader<'_>, at: usize, steps: &mut Vec<Step>) -> Result<(), Fault> {
    loop {
        let first = reader.peek();
        if reader.at >= at {
            // Between two values there is only what contains both.
            if reader.at > at {
                steps.pop();
            }
            return Ok(());
        }
        let is_object = first == b'{';
        let is_open = match first {
            b'{' => reader.open_object()?,
            b'[' => reader.open_array()?,
            _ => {
                reader.skip_value()?;
                false
            }
        };
        if is_open {
            steps.push(Step { name: None, index: 0 });
            name(reader, is_object, steps)?;
            continue;
        }
        if reader.at > at {
            return Ok(());
        }
        // A value has ended: so may the containers around it.
        loop {
            let Some(step) = steps.last_mut() else { return Ok(()) };
            reader.peek();
            if reader.at >= at {
                steps.pop();
                return Ok(());
            }
            let is_object = step.name.is_some();
            step.index += 1;
            let more = if is_object { reader.next_member()? } else { reader.next_element()? };
            if more {
                name(reader, is_object, steps)?;
                break;
            }
            steps.pop();
        }
    }
}

/// Reads the name of a member whose value the last step leads to.
fn name(reader: &mut Reader<'_>, is_object: bool, steps: &mut [Step]) -> Result<(), Fault> {
    if let (true, Some(step)) = (is_object, steps.last_mut()) {
        reader.peek();
        step.name = Some(reader.at);
        reader.key()?;
    }
    Ok(())
}
