//! The tables `[[route]]` of the configuration file: routes of one's own.
//!
//! Here is what they may say, and where they say something else. What the model takes is not looked at: it need not
//! be there yet.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::{Place, suggestion};
use crate::codec::custom::{Format, Mapping};
use crate::config::{CustomRoute, CustomRoutes};
use crate::route::{Target, Version, custom};

/// The key of the tables.
pub(in crate::cli) const KEY: &str = "route";

/// The keys of a table, in the order in which they are shown.
const KEYS: [&str; 10] = [
    "path",
    "model",
    "version",
    "label",
    "signature",
    "format",
    "input-key",
    "reply-key",
    "fixed",
    "outputs",
];

/// What the example of a file has of them.
pub(in crate::cli) const EXAMPLE: &str = r#"
# Routes of one's own, a table for each: POST requests to the path run a signature of the model, whose body and reply
# are laid out as the table says. Without version and label it is the latest version, without a signature the default
# one. The format is "columnar", whole tensors, or "row", a list of rows, or "single", one row that is no list. Without
# input-key the body itself is the value or an object of values by input, without reply-key the reply is.
# [[route]]
# path = "/predict"
# model = "half_plus_two"
# label = "stable"
# signature = "serving_default"
# format = "columnar"
# input-key = "input"
# reply-key = "output"
# Inputs that clients do not send, each the whole tensor.
# fixed = { keep_prob = 1.0 }
# Names for outputs; those without are left out.
# outputs = { y = "result" }
"#;

/// All tables of a file.
#[derive(Debug, Default)]
pub(in crate::cli) struct Routes {
    /// What they mean.
    pub(in crate::cli) checked: CustomRoutes,
    /// What they say.
    tables: Vec<Entries>,
}

/// The keys and values of a table, in the order of [`KEYS`].
type Entries = Vec<(&'static str, Value)>;

impl Routes {
    /// The tables as part of a file.
    pub(in crate::cli) fn to_toml(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            text.push_str("\n[[route]] # file\n");
            for (key, value) in table {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        text
    }

    /// The tables as a setting, if there are any.
    pub(in crate::cli) fn to_json(&self) -> Option<(String, serde_json::Value)> {
        let table = |entries: &Entries| {
            let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
            serde_json::to_value(entries.collect::<Table>()).ok()
        };
        let tables: Vec<_> = self.tables.iter().filter_map(table).collect();
        (!tables.is_empty()).then(|| (KEY.to_owned(), tables.into()))
    }
}

impl Place<'_> {
    /// Reads and checks the value of [`KEY`].
    pub(super) fn routes(&self, value: &Spanned<DeValue<'_>>) -> Result<Routes, clap::Error> {
        let DeValue::Array(items) = value.get_ref() else {
            return Err(self.complaint(&value.span(), "\"route\" is a list of tables, each under [[route]]"));
        };
        let mut routes: Vec<CustomRoute> = Vec::new();
        let mut tables = Vec::new();
        for item in items {
            let DeValue::Table(table) = item.get_ref() else {
                return Err(
                    self.complaint(&item.span(), "\"route\" is a list of tables, each under [[route]]")
                );
            };
            let table = RouteTable::new(self, item, table)?;
            let route = table.route()?;
            if routes.iter().any(|earlier| earlier.path == route.path) {
                let problem = format!("there is another [[route]] with the path {:?}", route.path);
                return Err(table.complaint("path", &problem));
            }
            routes.push(route);
            tables.push(table.entries);
        }
        Ok(Routes { checked: routes.into_iter().collect(), tables })
    }
}

/// One table, with where its values are.
struct RouteTable<'a> {
    place: &'a Place<'a>,
    /// The table itself, for what is missing in it.
    whole: &'a Spanned<DeValue<'a>>,
    values: Vec<(&'static str, &'a Spanned<DeValue<'a>>)>,
    entries: Entries,
}

impl<'a> RouteTable<'a> {
    fn new(
        place: &'a Place<'a>,
        whole: &'a Spanned<DeValue<'a>>,
        table: &'a DeTable<'a>,
    ) -> Result<Self, clap::Error> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut read = Self { place, whole, values: Vec::new(), entries: Vec::new() };
        for (key, value) in entries {
            let name = key.get_ref().replace('_', "-");
            let Some(known) = KEYS.into_iter().find(|known| **known == *name) else {
                let suggestion = suggestion(KEYS.into_iter(), &name);
                let problem = format!("unknown key \"{}\" in [[route]]{suggestion}", key.get_ref());
                return Err(place.complaint(&key.span(), &problem));
            };
            if read.get(known).is_some() {
                return Err(place.complaint(&key.span(), &format!("duplicate key \"{known}\"")));
            }
            read.values.push((known, value));
            read.entries.push((known, read.plain(known, value)?));
        }
        let order = |key: &str| KEYS.iter().position(|known| *known == key);
        read.entries.sort_by_key(|(key, _)| order(key));
        Ok(read)
    }

    /// What the table means.
    fn route(&self) -> Result<CustomRoute, clap::Error> {
        let path = self.required("path", "a path such as \"/predict\"")?;
        custom::check_path(path)
            .map_err(|problem| self.complaint("path", &format!("\"path\" cannot be {path:?}: {problem}")))?;
        let version = self.value("version").map(|value| match value {
            Value::Integer(number) if *number >= 0 => Ok(Version::Number(*number)),
            _ => Err(self.wrong("version", "a number from 0")),
        });
        let label = self.text("label", "a label such as \"stable\"")?;
        let version = match (version.transpose()?, label) {
            (Some(_), Some(_)) => {
                let problem = "\"version\" and \"label\" exclude each other in [[route]]";
                return Err(self.complaint("label", problem));
            }
            (Some(version), None) => version,
            (None, Some(label)) => Version::Label(label.to_owned()),
            (None, None) => Version::Latest,
        };
        let model = self.required("model", "the name of a model")?;
        let text = |key, expected| self.text(key, expected).map(|text| text.map(str::to_owned));
        Ok(CustomRoute {
            path: path.to_owned(),
            target: Target { name: model.to_owned(), version },
            mapping: Mapping {
                signature_name: text("signature", "the name of a signature")?.unwrap_or_default(),
                format: self.format()?,
                input_key: text("input-key", "a name such as \"input\"")?,
                reply_key: text("reply-key", "a name such as \"output\"")?,
                fixed: self.fixed()?,
                outputs: self.outputs()?,
            },
        })
    }

    fn format(&self) -> Result<Format, clap::Error> {
        let expected = Format::ALL.map(|format| format!("{:?}", format.name())).join(", ");
        let Some(name) = self.text("format", &expected)? else { return Ok(Format::default()) };
        Format::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| self.wrong("format", &expected))
    }

    fn fixed(&self) -> Result<BTreeMap<String, Bytes>, clap::Error> {
        let values = self.table("fixed", "a table of values by input")?;
        Ok(values.map(|(name, value)| (name.clone(), to_json(value).into())).collect())
    }

    fn outputs(&self) -> Result<BTreeMap<String, String>, clap::Error> {
        let expected = "a table of names by output";
        let mut outputs = BTreeMap::new();
        for (output, name) in self.table("outputs", expected)? {
            let name = name.as_str().filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| self.wrong("outputs", expected))?.to_owned();
            if outputs.values().any(|other| *other == name) {
                return Err(self.complaint("outputs", &format!("two \"outputs\" have the name {name:?}")));
            }
            outputs.insert(output.clone(), name);
        }
        if outputs.is_empty() && self.value("outputs").is_some() {
            return Err(self.wrong("outputs", expected));
        }
        Ok(outputs)
    }

    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.values.iter().find_map(|(known, value)| (*known == key).then_some(*value))
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find_map(|(known, value)| (*known == key).then_some(value))
    }

    /// A text that is there and not empty.
    fn required(&self, key: &str, expected: &str) -> Result<&str, clap::Error> {
        self.text(key, expected)?.ok_or_else(|| {
            let problem = format!("\"{key}\" is missing in [[route]] (expected: {expected})");
            self.place.complaint(&self.whole.span(), &problem)
        })
    }

    fn text(&self, key: &str, expected: &str) -> Result<Option<&str>, clap::Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, expected)),
        }
    }

    /// The entries of a table, if it is there.
    fn table(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<impl Iterator<Item = (&String, &Value)>, clap::Error> {
        match self.value(key) {
            None => Ok(None.into_iter().flatten()),
            Some(Value::Table(table)) => Ok(Some(table).into_iter().flatten()),
            Some(_) => Err(self.wrong(key, expected)),
        }
    }

    /// A value that has a form in JSON. The parser bounds how deep it nests.
    fn plain(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<Value, clap::Error> {
        let refuse = |what: &str| {
            self.place.complaint(&value.span(), &format!("\"{key}\" in [[route]] cannot have {what}"))
        };
        Ok(match value.get_ref() {
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(Value::Integer)
                .map_err(|_| refuse("a number beyond 64 bits"))?,
            DeValue::Float(number) => {
                number.as_str().parse().map(Value::Float).map_err(|_| refuse("such a number"))?
            }
            DeValue::Datetime(_) => return Err(refuse("a time")),
            DeValue::Array(items) => {
                Value::Array(items.iter().map(|item| self.plain(key, item)).collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => {
                let mut entries = Table::new();
                for (name, value) in table {
                    entries.insert(name.get_ref().to_string(), self.plain(key, value)?);
                }
                Value::Table(entries)
            }
        })
    }

    fn wrong(&self, key: &str, expected: &str) -> clap::Error {
        let value = self.value(key).map(ToString::to_string).unwrap_or_default();
        self.complaint(key, &format!("\"{key}\" in [[route]] cannot be {value} (expected: {expected})"))
    }

    /// A complaint about the value of a key.
    fn complaint(&self, key: &str, problem: &str) -> clap::Error {
        let value = self.get(key).unwrap_or(self.whole);
        self.place.complaint(&value.span(), problem)
    }
}

/// A value as the JSON that requests are made of, which knows NaN and infinities.
fn to_json(value: &Value) -> String {
    match value {
        Value::Float(number) if number.is_nan() => "NaN".to_owned(),
        Value::Float(number) if number.is_infinite() => {
            if *number > 0.0 {
                "Infinity".to_owned()
            } else {
                "-Infinity".to_owned()
            }
        }
        // With its point, so that it is no integer.
        Value::Float(number) => format!("{number:?}"),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(to_json).collect::<Vec<_>>().join(","))
        }
        Value::Table(table) => {
            let member = |(name, value): (&String, &Value)| {
                format!("{}:{}", serde_json::Value::from(name.as_str()), to_json(value))
            };
            format!("{{{}}}", table.iter().map(member).collect::<Vec<_>>().join(","))
        }
        Value::String(text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::Boolean(_) | Value::Integer(_) | Value::Datetime(_) => value.to_string(),
    }
}
