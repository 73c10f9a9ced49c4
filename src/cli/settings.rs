//! Settings as TOML: those in effect, each with where it comes from, and the example of a file.
//!
//! What it writes is a file that could be read. It knows no flags but through clap.

use std::fmt::Write as _;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};
use toml::Value;

use super::command_line;
use super::file::routes::{self, Routes};
use super::file::{is_list, is_of, is_text, value_name};

/// The settings of `serve` in effect. `from_file` are the names of those that the file has.
pub(super) fn effective(matches: &ArgMatches, from_file: &[String], routes: &Routes) -> String {
    let mut text = String::new();
    let Some((_, matches)) = matches.subcommand() else { return text };
    for argument in command_line::settable() {
        let name = argument.get_long().unwrap_or_default();
        // Writing to a string does not fail, here and below.
        let _ = match value(&argument, matches) {
            Some(value) => writeln!(text, "{name} = {value} # {}", origin(&argument, matches, from_file)),
            None => writeln!(text, "# {name} is not set"),
        };
    }
    text + &routes.to_toml()
}

/// The settings of `serve` in effect as JSON, without secrets: the names and passwords in addresses.
pub(super) fn shown(matches: &ArgMatches, routes: &Routes) -> serde_json::Value {
    let Some((_, matches)) = matches.subcommand() else { return serde_json::Value::Null };
    let arguments = command_line::settable();
    let settings = arguments.iter().filter_map(|argument| {
        let value = without_secrets(value(argument, matches)?);
        Some((argument.get_long()?.to_owned(), serde_json::to_value(value).ok()?))
    });
    settings.chain(routes.to_json()).collect()
}

fn without_secrets(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(redact(&text)),
        Value::Array(values) => Value::Array(values.into_iter().map(without_secrets).collect()),
        other => other,
    }
}

/// A text without what stands before the `@` of an address.
fn redact(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = text.split_at(start);
    let host_end = rest.find('/').unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}***{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// A file with every key commented out.
pub(super) fn example() -> String {
    let mut text =
        "# The configuration of tfbridge: `tfbridge serve --config FILE`. Flags and TFBRIDGE_* variables
# count for more than this file. Every key with its default, as `tfbridge check-config --example`
# prints them:
"
        .to_owned();
    for argument in command_line::settable() {
        let name = argument.get_long().unwrap_or_default();
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let sentence = help.split(". ").next().unwrap_or_default().trim_end_matches('.');
        let defaults: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        let _ = if defaults.is_empty() {
            writeln!(text, "\n# {sentence}.\n#{name} = {} # not set", Value::from(value_name(&argument)))
        } else {
            let defaults = defaults.iter().flat_map(|value| split(&argument, value));
            writeln!(text, "\n# {sentence}.\n#{name} = {}", to_toml(&argument, defaults))
        };
    }
    text + routes::EXAMPLE
}

/// The values in a default, which is one text for all.
fn split(argument: &Arg, text: &str) -> Vec<String> {
    match argument.get_value_delimiter() {
        Some(delimiter) => text.split(delimiter).map(str::to_owned).collect(),
        None => vec![text.to_owned()],
    }
}

fn value(argument: &Arg, matches: &ArgMatches) -> Option<Value> {
    let values = matches.get_raw(argument.get_id().as_str())?;
    Some(to_toml(argument, values.map(|value| value.to_string_lossy().into_owned())))
}

fn to_toml(argument: &Arg, texts: impl Iterator<Item = String>) -> Value {
    let mut values = texts.map(|text| {
        let number = || text.parse().map(Value::Integer).or_else(|_| text.parse().map(Value::Float)).ok();
        match text.parse() {
            Ok(value) if is_of::<bool>(argument) => Value::Boolean(value),
            // Of a number only what reads as it was typed: 10, but not 1e1.
            _ if !is_text(argument) => {
                number().filter(|number| number.to_string() == text).unwrap_or(Value::String(text))
            }
            _ => Value::String(text),
        }
    });
    if is_list(argument) {
        Value::Array(values.collect())
    } else {
        values.next().unwrap_or(Value::Array(Vec::new()))
    }
}

fn origin(argument: &Arg, matches: &ArgMatches, from_file: &[String]) -> &'static str {
    let is_it = |name: &String| argument.get_long() == Some(name);
    match matches.value_source(argument.get_id().as_str()) {
        _ if from_file.iter().any(is_it) => "file",
        Some(ValueSource::CommandLine) => "flag",
        Some(ValueSource::EnvVariable) => "variable",
        _ => "default",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_secrets() {
        for (text, expected) in [
            ("http://name:secret@serving:8500", "http://***@serving:8500"),
            ("secret@serving:8500", "***@serving:8500"),
            ("https://a@b@serving:8500/", "https://***@serving:8500/"),
            ("http://serving:8500/@", "http://serving:8500/@"),
            ("unix:/run/a@b.sock", "unix:/run/a@b.sock"),
            ("30s", "30s"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }
}
