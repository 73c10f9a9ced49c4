//! The command line with what stands behind it: a flag that is not typed is taken from its
//! variable, else from the configuration file, else it has its default.
//!
//! The settings of the file that nothing overrides join the words of the command line as flags, so
//! that the same rules hold for all. It never keeps what it read: who asks again gets what the file
//! says then.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::file::routes::Routes;
use super::file::{self, File};
use super::{Arguments, Command, settings};
use crate::config::Config;
use crate::error::{Error, Result};

/// The words of a command line, from which the configuration can be read again and again.
#[derive(Debug, Clone)]
pub struct CommandLine(Vec<OsString>);

/// What the words, the environment and the file say together.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) arguments: Arguments,
    /// The same, as clap sees it: settings of the file look like flags.
    pub(super) matches: ArgMatches,
    /// The long names of the flags whose values are from the file.
    pub(super) from_file: Vec<String>,
    /// The routes of one's own, which only a file can have.
    pub(super) routes: Routes,
}

impl CommandLine {
    /// The words that the process was started with.
    #[must_use]
    pub fn of_process() -> Self {
        Self(std::env::args_os().collect())
    }

    /// These words, of which the first one is the name of the program.
    pub fn new(words: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self(words.into_iter().map(Into::into).collect())
    }

    /// The configuration of `serve`, with all files as they are now.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for whatever the program would not start with.
    pub fn config(&self) -> Result<Config> {
        let parsed = self.parse().map_err(|error| Error::invalid_argument(message(&error)))?;
        let settings = settings::shown(&parsed.matches, &parsed.routes);
        let mut config = match parsed.arguments.command {
            Command::Serve(arguments) => arguments.into_config(),
            Command::CheckConfig(arguments) => arguments.serve.into_config(),
            _ => Err(Error::invalid_argument("Only serve has a configuration")),
        }?;
        config.api.routes = parsed.routes.checked;
        Ok(Config { settings, ..config })
    }

    pub(super) fn parse(&self) -> Result<Parsed, clap::Error> {
        let strict = command().try_get_matches_from(&self.0);
        // A flag may miss another one that the file has.
        let misses = |error: &clap::Error| error.kind() == ErrorKind::MissingRequiredArgument;
        let draft = match &strict {
            Err(error) if misses(error) => &command().ignore_errors(true).try_get_matches_from(&self.0)?,
            Err(_) => return Parsed::new(strict?, Vec::new(), Routes::default()),
            Ok(matches) => matches,
        };
        let Some((path, given)) = configuration_file(draft) else {
            return Parsed::new(strict?, Vec::new(), Routes::default());
        };
        let file = File::read(&path)?;
        let settings = file.settings.iter().filter(|setting| !is_given(given, &setting.argument));
        let settings: Vec<_> = settings.collect();
        let mut words = self.0.clone();
        // What follows `--` is not taken for flags.
        let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
        words.splice(end..end, settings.iter().flat_map(|setting| setting.words()));
        let matches = command().try_get_matches_from(words).map_err(|error| match &strict {
            // Without the file all was well.
            Ok(_) => file::complaint(&path, None, &message(&error)),
            Err(_) => error,
        })?;
        let from_file = settings.into_iter().map(|setting| setting.name.clone()).collect();
        Parsed::new(matches, from_file, file.routes)
    }
}

impl Parsed {
    /// What to log. Commands that ask something say themselves what comes of it: they log errors only, unless told
    /// otherwise, also where a bridge runs inside of them.
    pub(super) fn log(&self) -> &str {
        let given = self.matches.subcommand().and_then(|(_, given)| given.value_source("log"));
        let is_default = given == Some(ValueSource::DefaultValue);
        if is_default && self.arguments.command.asks() { "error" } else { &self.arguments.log }
    }

    fn new(matches: ArgMatches, from_file: Vec<String>, routes: Routes) -> Result<Self, clap::Error> {
        let arguments = Arguments::from_arg_matches(&matches)?;
        Ok(Self { arguments, matches, from_file, routes })
    }
}

/// What is wrong, in one line and without what clap says about usage.
fn message(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.split("\n\n").next().unwrap_or_default().lines().map(str::trim);
    let message = lines.collect::<Vec<_>>().join(" ");
    message.strip_prefix("error: ").unwrap_or(&message).to_owned()
}

/// The program's command line as clap knows it. That of `serve` takes `--cors=false`, too, since
/// there may be a file that says otherwise.
pub(super) fn command() -> clap::Command {
    let with_values = |command: clap::Command| command.mut_args(switch_with_value);
    Arguments::command().mut_subcommand("serve", with_values).mut_subcommand("check-config", with_values)
}

fn switch_with_value(argument: Arg) -> Arg {
    if !matches!(argument.get_action(), ArgAction::SetTrue) || argument.get_env().is_none() {
        return argument;
    }
    argument
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_name("true|false")
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
        .hide_possible_values(true)
}

/// The flags that `serve` takes and a file may set.
pub(super) fn settable() -> Vec<Arg> {
    let mut command = command();
    // Global flags reach the commands when those are built.
    command.build();
    let serve = command.find_subcommand("serve").into_iter();
    serve.flat_map(clap::Command::get_arguments).filter(|argument| is_settable(argument)).cloned().collect()
}

fn is_settable(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
        && argument.get_long().is_some_and(|name| name != "config")
}

/// The configuration file, if the command takes one and there is one, and what else was given.
fn configuration_file(matches: &ArgMatches) -> Option<(PathBuf, &ArgMatches)> {
    let (name, given) = matches.subcommand()?;
    // The file of `check-config FILE` counts for more than the one that the environment names.
    let names = match name {
        "serve" => &["config"][..],
        // The example has nothing to do with a file that there is.
        "check-config" if given.get_flag("example") => return None,
        "check-config" => &["file", "config"],
        _ => return None,
    };
    let path = names.iter().find_map(|name| given.get_one::<PathBuf>(name))?;
    Some((Path::to_path_buf(path), given))
}

/// Whether a flag has been typed or has a variable.
fn is_given(given: &ArgMatches, argument: &Arg) -> bool {
    let source = given.value_source(argument.get_id().as_str());
    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}
