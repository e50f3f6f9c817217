//! What the operator types: a file per subcommand. Raw arguments become validated ones here, once.

mod check;
mod completions;
mod eject;
mod exit;
mod list;
mod output;
mod prompter;
mod run;
mod show;
mod signals;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use exit::Exit;

use crate::script::errors::Report;
use crate::script::loader::Places;
use crate::world::Error;

/// How to show a result or what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs; while a script runs, one event a line.
    Json,
}

/// Takes a Dockerised PostgreSQL across a major version, by a script you can read and edit.
#[derive(Debug, Parser)]
#[command(name = "pgscript", version, arg_required_else_help = true, after_help = examples())]
struct Arguments {
    /// Directory with the site's own scripts and modules.
    #[arg(long, global = true, value_name = "DIR", env = "PGSCRIPT_SITE", hide_env_values = true)]
    site: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Show(show::Show),
    List(list::List),
    Eject(eject::Eject),
    Completions(completions::Completions),
}

fn examples() -> String {
    let examples = "\
Examples:
  pgscript list                                  what there is to run
  pgscript show upgrade.rhai                     its parameters and steps, without running it
  pgscript check upgrade.rhai                    reads it as a proof-reader would
  pgscript run upgrade.rhai --set to=17          runs it
  pgscript eject upgrade.rhai /etc/pgscript      writes it out, to be edited";
    format!("{examples}\n\nExit codes:\n{}", Exit::table())
}

/// Runs the program with the process's own arguments.
pub fn main() -> ExitCode {
    let exit = std::panic::catch_unwind(|| dispatch(std::env::args_os())).unwrap_or(Exit::Internal);
    exit.into()
}

fn dispatch(arguments: impl Iterator<Item = OsString>) -> Exit {
    let arguments = match parse(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return shown(&error),
    };
    let places = Places::new(arguments.site).map_err(anyhow::Error::from);
    let result = places.and_then(|places| match arguments.command {
        Command::Run(run) => run.execute(places),
        Command::Check(check) => check.execute(places),
        Command::Show(show) => show.execute(places),
        Command::List(list) => list.execute(&places),
        Command::Eject(eject) => eject.execute(),
        Command::Completions(completions) => Ok(completions.execute()),
    });
    result.unwrap_or_else(failed)
}

/// An error made for the operator has its words and its exit code; any other is one of pgscript itself.
fn failed(error: anyhow::Error) -> Exit {
    match error.downcast::<Error>() {
        Ok(error) => {
            output::complain(&Report::from(&error).render());
            error.kind.into()
        }
        Err(other) => {
            output::complain(&format!("error of pgscript itself: {other:#}\n"));
            Exit::Internal
        }
    }
}

fn parse(arguments: impl Iterator<Item = OsString>) -> std::result::Result<Arguments, clap::Error> {
    let matches = Arguments::command().try_get_matches_from(arguments)?;
    Arguments::from_arg_matches(&matches)
}

/// `--help` and `--version` arrive as errors too.
fn shown(error: &clap::Error) -> Exit {
    // A closed pipe is no reason to complain.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}
