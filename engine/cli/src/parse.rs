//! Where settings come from.
//!
//! A setting is the flag; else the variable `HUBBLEFLOW_<FLAG>`; else the line of the `--settings` file; else its default.
#![expect(
    clippy::disallowed_methods,
    reason = "this is where the program reads the environment"
)]
use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
};

use clap::{CommandFactory, FromArgMatches};
use connectors::text::read_text;

use crate::{Error, command::Cli, signals::end_at_once};

/// Upper bound on the size of a file of settings.
const SETTINGS_BYTES_MAX: u64 = 1 << 20;

/// What the environment says of stores.
pub(crate) fn store_options() -> Vec<(String, String)> {
    // What is not text is not a store's.
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os()
        .filter_map(text)
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect()
}

/// Reads the arguments; settings of the file become defaults, variables stand between. Help and mistakes end the process.
pub(crate) fn parse(args: Vec<OsString>) -> Result<Cli, Error> {
    let mut command = Cli::command();
    let file = settings_file(&args);
    let settings = file
        .as_deref()
        .map(read_settings)
        .transpose()?
        .unwrap_or_default();
    if let Some(unknown) = settings
        .keys()
        .map(|key| key.replace('-', "_"))
        .find(|key| !has_argument(&command, key))
    {
        let file = file.unwrap_or_default();
        return Err(Error::usage(format!(
            "{}: there is no setting {unknown}; settings are named as the flags",
            file.display()
        )));
    }
    command = with_sources(command, &settings);
    let matches = command.try_get_matches_from(args);
    let parsed = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    Ok(parsed.unwrap_or_else(|error| end_with(&error)))
}

/// Prints help, the version or a usage error, and ends the process with its exit code.
///
/// [`clap::Error::exit`] runs the destructors of libraries, which may end the process by a signal.
fn end_with(error: &clap::Error) -> ! {
    // Nobody is left to tell if nobody reads what is printed.
    let _ = error.print();
    let _ = std::io::stdout().flush();
    end_at_once(error.exit_code())
}

/// Where `--settings` points to, before anything else is read.
fn settings_file(args: &[OsString]) -> Option<PathBuf> {
    let given = args.iter().enumerate().find_map(|(place, arg)| {
        let arg = arg.to_str()?;
        match arg.strip_prefix("--settings") {
            Some("") => args.get(place + 1).map(PathBuf::from),
            Some(rest) => rest.strip_prefix('=').map(PathBuf::from),
            None => None,
        }
    });
    given.or_else(|| std::env::var_os("HUBBLEFLOW_SETTINGS").map(PathBuf::from))
}

fn read_settings(file: &Path) -> Result<toml::Table, Error> {
    let text = read_text(file, SETTINGS_BYTES_MAX)
        .map_err(|error| Error::usage(format!("--settings {}: {error}", file.display())))?;
    text.parse()
        .map_err(|error| Error::usage(format!("{}: {error}", file.display())))
}

/// Whether a command, or one of its own, has an argument of this name.
fn has_argument(command: &clap::Command, name: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == name)
        || command.get_subcommands().any(|sub| has_argument(sub, name))
}

/// Gives each argument of a command and of its own commands its variable, and the file's setting as its default.
fn with_sources(command: clap::Command, settings: &toml::Table) -> clap::Command {
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    let command = names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |sub| with_sources(sub, settings))
    });
    command.mut_args(|arg| {
        let name = arg.get_id().as_str().to_owned();
        if ["settings", "help", "version"].contains(&name.as_str()) {
            return arg;
        }
        let arg = arg
            .env(format!("HUBBLEFLOW_{}", name.to_ascii_uppercase()))
            .hide_env(true);
        let set = settings
            .iter()
            .find(|(key, _)| key.replace('-', "_") == name);
        match set.map(|(_, value)| value) {
            None => arg,
            Some(toml::Value::Array(values)) => {
                arg.required(false).default_values(values.iter().map(text))
            }
            Some(value) => arg.required(false).default_value(text(value)),
        }
    })
}

fn text(value: &toml::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Reads a settings file and parses a command with it, for the fuzzer.
#[cfg(fuzzing)]
pub fn fuzz_settings(file: &Path) -> Result<(), Error> {
    let command = with_sources(Cli::command(), &read_settings(file)?);
    let words = ["hubbleflow", "run", "catalog", "--out=out", "--model=model"];
    let _ = command
        .try_get_matches_from(words)
        .map(|matches| Cli::from_arg_matches(&matches));
    Ok(())
}
