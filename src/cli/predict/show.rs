//! Replies for people: each output with its type, its values a line for each row, and of long ones the beginning
//! and the end.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::sizes;
use crate::cli::table::visible;
use crate::codec::catalog::Signature;
use crate::codec::dtype;

/// The most rows, and the most values of a row, that are shown whole.
const MOST: usize = 20;

/// How many are shown at the beginning and at the end of more.
const ENDS: usize = 5;

/// The most characters of a value.
const LONGEST: usize = 200;

/// A reply in JSON, in which NaN and infinities may be bare words, as TensorFlow Serving writes them.
pub(super) fn parse(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok().or_else(|| serde_json::from_slice(&quoted(body)).ok())
}

/// The same text with those words as strings.
fn quoted(text: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + 64);
    let (mut at, mut is_string) = (0, false);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let words: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
        if let Some(word) = words.into_iter().find(|word| !is_string && rest.starts_with(word)) {
            quoted.push(b'"');
            quoted.extend_from_slice(word);
            quoted.push(b'"');
            at += word.len();
            continue;
        }
        let length = if is_string && rest[0] == b'\\' { rest.len().min(2) } else { 1 };
        is_string ^= rest[0] == b'"';
        quoted.extend_from_slice(&rest[..length]);
        at += length;
    }
    quoted
}

/// The text for a reply. Names and values are the server's: what a terminal would obey is spelled out.
pub(super) fn reply(reply: &Value, signature: Option<&Signature>) -> String {
    visible(&text(reply, signature)).into_owned()
}

fn text(reply: &Value, signature: Option<&Signature>) -> String {
    if let Some(outputs) = reply.get("outputs") {
        return match outputs {
            Value::Object(outputs) if !is_bytes(outputs) => {
                outputs.iter().map(|(name, value)| output(name, value, signature)).collect()
            }
            value => output(only(signature), value, signature),
        };
    }
    match reply.get("predictions") {
        Some(Value::Array(rows)) if rows.iter().any(is_named) => lines(rows, ""),
        Some(rows) => output(only(signature), rows, signature),
        None => format!("{reply:#}\n"),
    }
}

/// The name of the only output.
fn only(signature: Option<&Signature>) -> &str {
    let mut names = signature.into_iter().flat_map(|signature| signature.outputs.keys());
    match (names.next(), names.next()) {
        (Some(name), None) => name,
        _ => "output",
    }
}

fn is_bytes(members: &Map<String, Value>) -> bool {
    members.len() == 1 && members.contains_key("b64")
}

fn is_named(row: &Value) -> bool {
    row.as_object().is_some_and(|members| !is_bytes(members))
}

/// An output: its name, type and shape, and below them its values.
fn output(name: &str, value: &Value, signature: Option<&Signature>) -> String {
    let tensor = signature.and_then(|signature| signature.outputs.get(name));
    let dtype = tensor.map(|tensor| format!("{} ", dtype::name(tensor.dtype))).unwrap_or_default();
    let sizes: Vec<_> = sizes(value).iter().map(ToString::to_string).collect();
    let mut text = format!("{name}: {dtype}[{}]\n", sizes.join(", "));
    match value {
        Value::Array(rows) if sizes.len() > 1 || is_named(rows.first().unwrap_or(&Value::Null)) => {
            text.push_str(&lines(rows, "  "));
        }
        value => {
            text.push_str("  ");
            write_value(value, &mut text);
            text.push('\n');
        }
    }
    text
}

/// A line for each row.
fn lines(rows: &[Value], indent: &str) -> String {
    let mut text = String::new();
    for (row, skipped) in ends(rows) {
        if skipped > 0 {
            let _ = writeln!(text, "{indent}... {skipped} more ...");
        }
        text.push_str(indent);
        write_value(row, &mut text);
        text.push('\n');
    }
    text
}

/// The values that are shown, each with how many before it are not.
fn ends(values: &[Value]) -> impl Iterator<Item = (&Value, usize)> {
    let skipped = if values.len() > MOST { values.len() - 2 * ENDS } else { 0 };
    let is_shown = move |index: usize| skipped == 0 || index < ENDS || index >= ENDS + skipped;
    let shown = values.iter().enumerate().filter(move |(index, _)| is_shown(*index));
    shown.map(move |(index, value)| (value, if index == ENDS + skipped { skipped } else { 0 }))
}

fn write_value(value: &Value, text: &mut String) {
    match value {
        Value::Array(values) => {
            text.push('[');
            for (index, (value, skipped)) in ends(values).enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                if skipped > 0 {
                    let _ = write!(text, "... {skipped} more ..., ");
                }
                write_value(value, text);
            }
            text.push(']');
        }
        Value::Object(members) if !is_bytes(members) => {
            for (index, (name, value)) in members.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                let _ = write!(text, "{name}: ");
                write_value(value, text);
            }
        }
        Value::String(word) if ["NaN", "Infinity", "-Infinity"].contains(&word.as_str()) => {
            text.push_str(word);
        }
        value => {
            let value = value.to_string();
            match value.char_indices().nth(LONGEST) {
                Some((end, _)) => {
                    let _ = write!(text, "{}... ({} bytes)", &value[..end], value.len());
                }
                None => text.push_str(&value),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::catalog::Tensor;
    use crate::proto::tensorflow::DataType;

    #[test]
    fn outputs_are_shown_with_their_types() {
        let tensor = Tensor { dtype: DataType::DtFloat, shape: None };
        let signature = Signature { outputs: [("y".to_owned(), tensor)].into(), ..Signature::default() };
        let check = |body: &str, expected: &str| {
            assert_eq!(reply(&parse(body.as_bytes()).unwrap(), Some(&signature)), expected, "{body}");
        };
        check(r#"{"outputs": 1.5}"#, "y: float []\n  1.5\n");
        check(r#"{"outputs": [NaN, -Infinity]}"#, "y: float [2]\n  [NaN, -Infinity]\n");
        check(
            r#"{"predictions": [[1.0, 2.0], [3.0, 4.0]]}"#,
            "y: float [2, 2]\n  [1.0, 2.0]\n  [3.0, 4.0]\n",
        );
        check(r#"{"outputs": {"y": [1], "z": "a\"NaN"}}"#, "y: float [1]\n  [1]\nz: []\n  \"a\\\"NaN\"\n");
        check(r#"{"predictions": [{"a": 1, "b": [2]}]}"#, "a: 1, b: [2]\n");
        check(r#"{"outputs": {"b64": "AA=="}}"#, "y: float []\n  {\"b64\":\"AA==\"}\n");
        check(r#"{"predictions": [{"\u001b[1m": "\u009b2J"}]}"#, "\\u{1b}[1m: \"\\u{9b}2J\"\n");
        check(r#"{"model": 1}"#, "{\n  \"model\": 1\n}\n");
    }

    #[test]
    fn of_long_outputs_the_ends_are_shown() {
        let values: Vec<_> = (0..1000).collect();
        let text = reply(&serde_json::json!({ "outputs": values }), None);
        assert_eq!(text, "output: [1000]\n  [0, 1, 2, 3, 4, ... 990 more ..., 995, 996, 997, 998, 999]\n");
        let rows: Vec<_> = (0..30).map(|row| vec![row]).collect();
        let text = reply(&serde_json::json!({ "outputs": rows }), None);
        assert_eq!(text.lines().count(), 12);
        assert!(text.contains("\n  ... 20 more ...\n  [25]\n"), "{text}");
    }
}
