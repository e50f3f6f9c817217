//! What the operator types: a file per subcommand. Raw arguments become validated ones here, once.

mod check;
mod choices;
mod completions;
mod diff;
mod drill;
mod driving;
mod eject;
mod eval;
mod exit;
mod list;
mod plan;
mod prompter;
mod repl;
mod resume;
mod rollback;
mod run;
mod runs;
mod show;
mod signals;
mod status;
mod test;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use exit::Exit;

use crate::run::history::History;
use crate::run::store::Store;
use crate::script::errors::Report;
use crate::script::loader::Places;
use crate::ui::output;
use crate::world::{Error, Result};

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
    /// Directory in which runs are kept: journals, logs, backups, dumps.
    #[arg(long, global = true, value_name = "DIR", env = "PGSCRIPT_STORE", hide_env_values = true)]
    store: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(plan::Plan),
    Run(run::Run),
    Resume(resume::Resume),
    Rollback(rollback::Rollback),
    Repl(repl::Repl),
    Eval(eval::Eval),
    Runs(runs::Runs),
    Status(status::Status),
    Check(check::Check),
    Test(test::Test),
    Drill(drill::Drill),
    Show(show::Show),
    List(list::List),
    Eject(eject::Eject),
    Diff(diff::Diff),
    Completions(completions::Completions),
}

/// What every subcommand may use.
#[derive(Clone, Debug)]
pub struct Global {
    places: Places,
    store: Store,
    /// Whether the operator named the site's directory.
    is_site_named: bool,
}

impl Global {
    fn new(site: Option<PathBuf>, store: Option<PathBuf>) -> Result<Self> {
        Ok(Self { is_site_named: site.is_some(), places: Places::new(site)?, store: Store::new(store) })
    }

    /// A run goes on with the site it began with, unless another one is named.
    fn of_run(self, history: &History) -> Result<Self> {
        let site = Some(history.site.clone()).filter(|site| !self.is_site_named && site.is_dir());
        match site {
            Some(site) => Ok(Self { places: Places::new(Some(site))?, ..self }),
            None => Ok(self),
        }
    }
}

fn examples() -> String {
    let examples = "\
Examples:
  pgscript list                                  what there is to run
  pgscript show upgrade.rhai                     its parameters and steps, without running it
  pgscript check upgrade.rhai                    reads it as a proof-reader would
  pgscript test /etc/pgscript                    runs the tests of a site's scripts, in a simulated world
  pgscript plan upgrade.rhai --set to=17         what it would do now: every effect, the data's copies, the outage
  pgscript run upgrade.rhai --set to=17          runs it
  pgscript status                                where the last run stands: is the data safe, where, what to type
  pgscript resume                                goes on with a run that failed or was cut off
  pgscript rollback                              puts a run back, also one that is done
  pgscript repl --run upgrade-7                  a shell in a half-finished run: one safe thing at a time
  pgscript eval 'docker::containers()'           one expression, without a shell
  pgscript eject upgrade.rhai /etc/pgscript      writes it out, to be edited
  pgscript diff upgrade.rhai                     what was edited in it, and what is shipped otherwise since";
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
    let global = Global::new(arguments.site, arguments.store).map_err(anyhow::Error::from);
    let result = global.and_then(|global| match arguments.command {
        Command::Plan(plan) => plan.execute(global),
        Command::Run(run) => run.execute(global),
        Command::Resume(resume) => resume.execute(global),
        Command::Rollback(rollback) => rollback.execute(global),
        Command::Repl(repl) => repl.execute(global),
        Command::Eval(eval) => eval.execute(global),
        Command::Runs(runs) => runs.execute(&global),
        Command::Status(status) => status.execute(&global),
        Command::Check(check) => check.execute(global.places),
        Command::Test(test) => test.execute(&global.places),
        Command::Drill(drill) => drill.execute(&global),
        Command::Show(show) => show.execute(global.places),
        Command::List(list) => list.execute(&global.places),
        Command::Eject(eject) => eject.execute(),
        Command::Diff(diff) => diff.execute(&global.places),
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
