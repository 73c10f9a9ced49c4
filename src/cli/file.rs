//! The configuration file: TOML with a key for every flag of `serve`.
//!
//! It knows no keys of its own but the tables of `routes`, only the flags that clap knows, and their parsers check
//! the values.
//! It never decides what counts for more than the file.

pub(super) mod routes;

use std::error::Error as _;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Arg;
use clap::error::{ContextKind, ErrorKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::routes::Routes;
use super::command_line;

/// A configuration file whose keys and values have been checked one by one.
#[derive(Debug)]
pub(super) struct File {
    /// In the order of the file.
    pub(super) settings: Vec<Setting>,
    /// The tables `[[route]]`.
    pub(super) routes: Routes,
}

/// A key and its values.
#[derive(Debug)]
pub(super) struct Setting {
    /// The key, which is the long name of a flag.
    pub(super) name: String,
    pub(super) argument: Arg,
    line: usize,
    /// The values as one would type them, each with its line.
    values: Vec<(String, usize)>,
}

/// Where in which file something is.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File {
    /// Reads and checks a file.
    pub(super) fn read(path: &Path) -> Result<Self, clap::Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| complaint(path, None, &format!("cannot be read: {error}")))?;
        let place = Place { path, text: &text };
        let table = DeTable::parse(&text).map_err(|error| match error.span() {
            Some(span) => place.complaint(&span, error.message()),
            None => complaint(path, None, error.message()),
        })?;
        let mut entries: Vec<_> = table.into_inner().into_iter().collect();
        // The table sorts by name, but the first mistake is the one to tell.
        entries.sort_by_key(|(key, _)| key.span().start);
        let arguments = command_line::settable();
        let mut settings: Vec<Setting> = Vec::new();
        let mut routes = Routes::default();
        for (key, value) in entries {
            if key.get_ref().as_ref() == routes::KEY {
                routes = place.routes(&value)?;
                continue;
            }
            let setting = place.setting(&arguments, &key, &value)?;
            if settings.iter().any(|earlier| earlier.name == setting.name) {
                return Err(place.complaint(&key.span(), &format!("duplicate key \"{}\"", setting.name)));
            }
            settings.push(setting);
        }
        let file = Self { settings, routes };
        file.check(path)?;
        Ok(file)
    }

    /// Has the parser of each flag see its values, those too that will be overridden.
    fn check(&self, path: &Path) -> Result<(), clap::Error> {
        let command = command_line::command()
            .mut_args(|argument| argument.env(None))
            .mut_subcommand("serve", |serve| serve.mut_args(|argument| argument.env(None)));
        let words = ["tfbridge", "serve"].into_iter().map(OsString::from);
        let words = words.chain(self.settings.iter().flat_map(Setting::words));
        let Err(error) = command.try_get_matches_from(words) else { return Ok(()) };
        // How settings go together is seen when all of them are known.
        if matches!(error.kind(), ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict) {
            return Ok(());
        }
        let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
        let (argument, value) = (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue));
        let Some(setting) = self.settings.iter().find(|setting| argument == setting.argument.to_string())
        else {
            return Err(error);
        };
        let item = setting.values.iter().find(|(text, _)| text.contains(&value));
        let line = item.map_or(setting.line, |(_, line)| *line);
        let reason = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        let problem = format!("\"{}\" cannot be {value:?}{reason}", setting.name);
        Err(complaint(path, Some(line), &with_expected(&problem, &setting.argument)))
    }
}

impl Setting {
    /// The flags that say the same. What is the default is left unsaid, since typing `--flag=false`
    /// is more than not typing it to flags that exclude each other.
    pub(super) fn words(&self) -> impl Iterator<Item = OsString> {
        let defaults = self.argument.get_default_values();
        let is_default = self
            .values
            .iter()
            .map(|(value, _)| value.as_str())
            .eq(defaults.iter().filter_map(|value| value.to_str()));
        let values = if is_default { &[][..] } else { &self.values };
        values.iter().map(|(value, _)| format!("--{}={value}", self.name).into())
    }
}

impl Place<'_> {
    fn setting(
        &self,
        arguments: &[Arg],
        key: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Setting, clap::Error> {
        let name = key.get_ref().as_ref().replace('_', "-");
        let Some(argument) = arguments.iter().find(|argument| argument.get_long() == Some(&name)) else {
            let known = arguments.iter().filter_map(Arg::get_long).chain([routes::KEY]);
            let suggestion = suggestion(known, &name);
            let problem = format!("unknown key \"{}\"{suggestion}", key.get_ref().as_ref());
            return Err(self.complaint(&key.span(), &problem));
        };
        let items = match value.get_ref() {
            DeValue::Array(items) if is_list(argument) => &items[..],
            _ => std::slice::from_ref(value),
        };
        if items.is_empty() && !argument.get_default_values().is_empty() {
            let problem = with_expected(&format!("\"{name}\" cannot be an empty list"), argument);
            return Err(self.complaint(&value.span(), &problem));
        }
        let values = items.iter().map(|item| {
            let text = text(argument, item.get_ref()).ok_or_else(|| {
                let problem = format!("\"{name}\" cannot be of type {}", item.get_ref().type_str());
                self.complaint(&item.span(), &with_expected(&problem, argument))
            })?;
            Ok((text, self.line(&item.span())))
        });
        Ok(Setting {
            values: values.collect::<Result<_, clap::Error>>()?,
            line: self.line(&key.span()),
            argument: argument.clone(),
            name,
        })
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
    }

    fn complaint(&self, span: &Range<usize>, problem: &str) -> clap::Error {
        complaint(self.path, Some(self.line(span)), problem)
    }
}

/// Whether a flag may be repeated.
pub(super) fn is_list(argument: &Arg) -> bool {
    matches!(argument.get_action(), clap::ArgAction::Append)
}

/// Whether the values of a flag are of a type.
pub(super) fn is_of<T: 'static>(argument: &Arg) -> bool {
    argument.get_value_parser().type_id() == std::any::TypeId::of::<T>()
}

/// Whether a flag takes any text, so that a number for it would be a mistake that its parser does
/// not see.
pub(super) fn is_text(argument: &Arg) -> bool {
    is_of::<String>(argument) || is_of::<OsString>(argument) || is_of::<PathBuf>(argument)
}

/// A value as one would type it, unless it is of a type that the flag cannot have.
fn text(argument: &Arg, value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Boolean(value) if is_of::<bool>(argument) => Some(value.to_string()),
        _ if is_of::<bool>(argument) => None,
        DeValue::String(value) => Some(value.to_string()),
        _ if is_text(argument) => None,
        DeValue::Integer(value) => {
            i128::from_str_radix(value.as_str(), value.radix()).ok().map(|number| number.to_string())
        }
        DeValue::Float(value) => Some(value.as_str().to_owned()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The key that was probably meant, as the end of a message.
fn suggestion<'a>(known: impl Iterator<Item = &'a str>, name: &str) -> String {
    let name = name.to_lowercase();
    let similarity = |known: &str| strsim::jaro_winkler(known, &name);
    known
        .filter(|known| similarity(known) > 0.8)
        .max_by(|one, other| similarity(one).total_cmp(&similarity(other)))
        .map(|known| format!("; did you mean \"{known}\"?"))
        .unwrap_or_default()
}

fn with_expected(problem: &str, argument: &Arg) -> String {
    let names = argument.get_possible_values();
    let names: Vec<_> = names.iter().map(|value| format!("\"{}\"", value.get_name())).collect();
    let one = match argument.get_default_values() {
        _ if is_of::<bool>(argument) => "true or false".to_owned(),
        _ if !names.is_empty() => names.join(", "),
        [] => value_name(argument),
        [default, ..] => format!("{} such as {:?}", value_name(argument), default.to_string_lossy()),
    };
    let more = if is_list(argument) { ", or a list" } else { "" };
    format!("{problem} (expected: {one}{more})")
}

/// What the help calls the value of a flag.
pub(super) fn value_name(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    names.first().map_or_else(|| "VALUE".to_owned(), ToString::to_string)
}

/// An error about a file. It is clap's, so that errors end the program in one way.
pub(super) fn complaint(path: &Path, line: Option<usize>, problem: &str) -> clap::Error {
    let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
    clap::Error::raw(ErrorKind::ValueValidation, format!("{}: {line}{problem}\n", path.display()))
}
