//! `pgscript run SCRIPT`

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::driving::Driving;
use super::{Exit, Global, choices, plan};
use crate::event::{Event, Silent};
use crate::plan::{self as planning, Plan, moved, text};
use crate::run::drive::{self, Setup};
use crate::run::history::History;
use crate::script::describe;
use crate::script::engine::Language;
use crate::script::parameters::Given;
use crate::script::source::Source;
use crate::script::tree::Tree;
use crate::ui::{output, style};
use crate::world::{Error, Kind, Result};

/// Runs a script: a path, or the name of a script of the site or of those built in.
///
/// At a terminal, before a procedure that stops the application: shows what will be stopped, what is kept, and the
/// outage to expect, and asks once.
#[derive(Args, Debug)]
pub struct Run {
    /// `upgrade.rhai`, `./my-upgrade.rhai`, …; that of the plan when left out.
    #[arg(required_unless_present = "plan")]
    script: Option<String>,
    /// Gives a parameter; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Runs what `pgscript plan --out FILE` has planned, with its parameters; refuses where the script, its parameters
    /// or the world are not as they were then.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Leaves everything as it is when the run fails, instead of putting back what was done.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    driving: Driving,
}

impl Run {
    pub fn execute(self, global: Global) -> anyhow::Result<Exit> {
        let planned = self.plan.as_deref().map(plan::read).transpose()?;
        let script = self.script.as_deref().or(planned.as_ref().map(|plan| plan.script.as_str())).unwrap_or_default();
        let source = global.places.script(script)?;
        let mut given = Given::default();
        for set in &self.set {
            given.add_set(set)?;
        }
        self.driving.drive(global, given, &History::default(), |setup| {
            let mut setup = setup.clone();
            setup.given.complete(&planned.as_ref().map(|plan| plan.given.clone()).unwrap_or_default());
            // At a terminal the operator is asked before the outage, and before anything is put back.
            let asks = choices::are_offered(&self.driving);
            let asks_ahead = asks && has_commit(&setup, &source);
            look_ahead(&mut setup, &source, planned.as_ref(), asks_ahead)?;
            let driven = drive::run(&setup, source, self.keep || asks)?;
            if asks { choices::offer(&setup, driven, self.keep) } else { Ok(driven) }
        })
    }
}

/// Holds what there is against a plan, and asks before an outage.
fn look_ahead(setup: &mut Setup, source: &Source, planned: Option<&Plan>, asks: bool) -> Result<()> {
    if planned.is_none() && !asks {
        return Ok(());
    }
    let made = match planning::make(setup, source) {
        Err(error) if planned.is_none() && error.kind != Kind::Cancelled => {
            let text = format!("no plan can be made, so what is going to be stopped is not shown: {}", error.message);
            setup.listener.hear(&Event::Warn { text });
            return Ok(());
        }
        made => made?,
    };
    if let Some(planned) = planned {
        moved::refuse_moved(planned, &made.plan)?;
    }
    // What was asked for once is known.
    for (name, value) in made.answers {
        setup.given.set.entry(name).or_insert(value);
    }
    if asks { confirm(setup, &made.plan) } else { Ok(()) }
}

/// Asks once, where the script itself does not ask before the outage.
fn confirm(setup: &Setup, plan: &Plan) -> Result<()> {
    let asks_itself = plan.questions.iter().any(|question| question.is_before_outage);
    if let Some(failure) = &plan.failure {
        let text = format!("the plan does not come to its end: {} [{}]", failure.message, failure.code);
        setup.listener.hear(&Event::Warn { text });
    }
    if plan.outage.is_none() || asks_itself {
        return Ok(());
    }
    output::tell(&text::short(plan, style::columns()));
    if setup.prompter.confirm("Begin?")? {
        return Ok(());
    }
    Err(Error::new(Kind::Cancelled, "run.declined", "the run was not begun").hint("nothing was done"))
}

/// Whether it is a procedure that gives something up, and may stop an application for it.
fn has_commit(setup: &Setup, source: &Source) -> bool {
    let language = Language::new(setup.places.clone(), Arc::new(Silent), None);
    let Ok(ast) = language.compile(source) else { return false };
    describe::describe(&language, source, Tree::new(&ast)).steps.iter().any(|step| step.commit)
}
