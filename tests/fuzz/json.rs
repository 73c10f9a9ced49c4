//! JSON as serde reads it: members in their order, numbers as the text they are written in.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A value with nothing interpreted.
#[derive(Debug, Clone)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// How many levels of objects and lists there are.
    pub fn depth(&self) -> usize {
        match self {
            Json::List(items) => 1 + items.iter().map(Json::depth).max().unwrap_or(0),
            Json::Object(members) => 1 + members.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// The first member of that name.
    pub fn get(&self, name: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// What serde says of a body.
pub enum Document {
    /// It is in the part of the dialect that serde does not know: bytes that are no UTF-8, or
    /// maybe `NaN` and the like.
    Beyond,
    Malformed,
    Json(Json),
}

/// Reads the first value of a body; what follows it is not looked at.
pub fn parse(body: &[u8]) -> Document {
    let Ok(text) = std::str::from_utf8(body) else { return Document::Beyond };
    if text.contains("NaN") || text.contains("Inf") {
        return Document::Beyond;
    }
    parse_proper(text).map_or(Document::Malformed, Document::Json)
}

/// The same of a text in nothing but JSON; `None` if it is malformed.
pub fn parse_proper(text: &str) -> Option<Json> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    <&RawValue>::deserialize(&mut deserializer).ok().and_then(build)
}

/// The same text without what serde does not know: a zero for `NaN` and its like, replacement
/// characters for bytes that are no UTF-8.
pub fn to_proper(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut proper = String::with_capacity(text.len());
    let mut rest = &*text;
    let mut in_string = false;
    while let Some(character) = rest.chars().next() {
        let special = if in_string { None } else { special(rest) };
        let length = match character {
            '\\' if in_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => special.unwrap_or(character.len_utf8()),
        };
        in_string ^= character == '"';
        // Spaces keep it apart from digits around it.
        proper += if special.is_some() { " 0 " } else { &rest[..length] };
        rest = &rest[length..];
    }
    proper
}

/// How long the number is that starts here and has no digits, if there is one.
fn special(text: &str) -> Option<usize> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let word = ["NaN", "Infinity", "Inf"].into_iter().find(|word| unsigned.starts_with(word))?;
    // With an `i` behind it, it must be the long word.
    let is_broken = word == "Inf" && unsigned[word.len()..].starts_with('i');
    (!is_broken).then_some(text.len() - unsigned.len() + word.len())
}

/// The value of a text; `None` for a lone surrogate or a number that the dialect finds too big.
fn build(raw: &RawValue) -> Option<Json> {
    let text = raw.get();
    Some(match text.as_bytes().first()? {
        b'n' => Json::Null,
        b't' => Json::Bool(true),
        b'f' => Json::Bool(false),
        b'"' => Json::String(serde_json::from_str(text).ok()?),
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Json::List(items.into_iter().map(build).collect::<Option<_>>()?)
        }
        b'{' => {
            let Members(members) = serde_json::from_str(text).ok()?;
            let member = |(name, value)| Some((name, build(value)?));
            Json::Object(members.into_iter().map(member).collect::<Option<_>>()?)
        }
        _ if is_too_big(text) => return None,
        _ => Json::Number(text.to_owned()),
    })
}

/// RapidJSON's rule: an integer part beyond all doubles, or an exponent that is too large as it
/// is written, whatever the number comes to.
fn is_too_big(token: &str) -> bool {
    let (significand, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let (integer, fraction) = significand.split_once('.').unwrap_or((significand, ""));
    let exponent_too_big = !exponent.starts_with('-')
        && exponent
            .trim_start_matches('+')
            .parse::<u64>()
            .map_or(true, |value| value > 308 + fraction.len() as u64);
    exponent_too_big || integer.parse::<f64>().is_ok_and(f64::is_infinite)
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(InOrder).map(Members)
    }
}
