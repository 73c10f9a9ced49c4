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
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let Ok(text) = std::str::from_utf8(body) else { return Document::Beyond };
    if text.contains("NaN") || text.contains("Inf") {
        return Document::Beyond;
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match <&RawValue>::deserialize(&mut deserializer).ok().and_then(build) {
        Some(json) => Document::Json(json),
        None => Document::Malformed,
    }
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
