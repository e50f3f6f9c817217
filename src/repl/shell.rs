//! Reads an input, evaluates it, shows what it gave; until the operator leaves.

use std::io::{BufRead, IsTerminal};

use rhai::Dynamic;

use super::api;
use super::bench::{Bench, Shared};
use super::commands;
use super::editor::{Editor, Read, scan};
use super::save::Saved;
use super::show;
use super::surroundings::Around;
use super::watch::Watch;
use crate::run::drive::Setup;
use crate::run::history::State;
use crate::run::store::{Held, Place, Store};
use crate::script::api::values;
use crate::script::engine::STACK;
use crate::script::errors::Report;
use crate::script::interactive;
use crate::ui::output;
use crate::ui::style::{self, Style};
use crate::world::{Error, Kind, Result};

/// What a session begins with.
#[derive(Clone)]
pub struct Start {
    pub setup: Setup,
    /// The run it is in.
    pub place: Option<Place>,
    /// The run's lock, where this process has it already.
    pub held: Option<Held>,
    pub watch: Watch,
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    People,
    Json,
}

/// Sits at the terminal until the operator leaves.
pub fn at_terminal(start: Start) -> Result<()> {
    on_thread(start, |mut shell| {
        shell.greet();
        shell.converse()
    })
}

/// Takes inputs from a reader, one complete one after the other; the first error ends it, and is how it ended.
pub fn piped(start: Start, mut lines: impl BufRead + Send + 'static) -> Result<Option<Kind>> {
    on_thread(start, move |mut shell| {
        let mut input = String::new();
        loop {
            let failed = |e: std::io::Error| Error::io("read", "standard input", &e);
            let is_over = lines.read_line(&mut input).map_err(failed)? == 0;
            if !is_over && !scan::is_complete(&input) {
                continue;
            }
            let text = std::mem::take(&mut input);
            if let Err(kind) = shell.enter(text.trim_end(), Form::People) {
                return Ok(Some(kind));
            }
            if is_over || shell.is_leaving() {
                return Ok(None);
            }
        }
    })
}

/// One input.
pub fn once(start: Start, text: String, form: Form) -> Result<Option<Kind>> {
    on_thread(start, move |mut shell| Ok(shell.enter(&text, form).err()))
}

/// A script's functions may call each other deeply, whoever runs them.
fn on_thread<T: Send + 'static>(start: Start, work: impl FnOnce(Shell) -> Result<T> + Send + 'static) -> Result<T> {
    let thread = std::thread::Builder::new().name("shell".into()).stack_size(STACK);
    let running = thread.spawn(move || {
        let bench = Bench::open(&start.setup, start.place.as_ref(), start.held.clone())?;
        let shared = bench.shared.clone();
        start.watch.leaves_by({
            let shared = shared.clone();
            move || _ = leave(&shared)
        });
        let style = Style::of_terminal();
        let style = Style { colour: style.colour && std::io::stdout().is_terminal(), ..style };
        let result = work(Shell { bench, start, style });
        result.and_then(|value| leave(&shared).map(|()| value))
    });
    let running = running.map_err(|e| Error::io("start", "the shell's thread", &e))?;
    running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn leave(shared: &Shared) -> Result<()> {
    let desk = shared.state().desk.clone();
    desk.leave()
}

struct Shell {
    bench: Bench,
    start: Start,
    style: Style,
}

impl Shell {
    fn converse(&mut self) -> Result<()> {
        let around = Around::new(&self.bench, &self.start.setup.world);
        let history = history_file(&self.start.setup.store);
        let mut editor = Editor::new(self.bench.language.reference.clone(), around.clone(), self.style, Some(history))?;
        if let Some(warning) = editor.warning() {
            output::complain(&format!("{warning}\n"));
        }
        self.start.watch.leaves_by({
            let (shared, ending) = (self.bench.shared.clone(), editor.ending());
            move || {
                output::print(ending);
                part(&shared);
                _ = leave(&shared);
            }
        });
        while !self.is_leaving() {
            around.look(&self.bench);
            match editor.read(&self.prompt())? {
                Read::Input(text) => {
                    self.settle(&around);
                    _ = self.enter(&text, Form::People);
                    self.remember(&mut editor, &text);
                }
                Read::Interrupted => {}
                Read::End => break,
            }
        }
        part(&self.bench.shared);
        Ok(())
    }

    /// With an engine that was away when the session was opened, and is back, it is opened again.
    fn settle(&self, around: &Around) {
        let desk = self.bench.shared.state().desk.clone();
        if let Some(place) = desk.place.clone().filter(|_| !desk.is_settled() && around.has_engine()) {
            output::tell("the engine answers again\n");
            self.bench.shared.go_to(place);
        }
    }

    /// What holds a secret is not kept.
    fn remember(&self, editor: &mut Editor, text: &str) {
        if self.start.setup.world.redactor.redact(text) == text
            && let Some(warning) = editor.remember(text)
        {
            output::complain(&format!("{warning}\n"));
        }
    }

    fn is_leaving(&self) -> bool {
        self.start.watch.is_ended() || self.bench.shared.state().is_leaving
    }

    /// Evaluates an input, shows its value or error, and what is asked for beside it.
    fn enter(&mut self, text: &str, form: Form) -> std::result::Result<(), Kind> {
        let watch = self.start.watch.clone();
        let result = watch.busy(|| {
            let result = self.renew().and_then(|()| self.evaluate(text, form));
            self.renew().and(result)
        });
        let next = self.bench.shared.state().next_input.take();
        match next {
            Some(next) => {
                output::print(&format!("{next}\n"));
                self.enter(&next, form)
            }
            None => result,
        }
    }

    fn evaluate(&mut self, text: &str, form: Form) -> std::result::Result<(), Kind> {
        self.start.setup.world.cancel.rearm();
        let (rhai, is_command) = match plain(text) {
            Ok(Some(pair)) => pair,
            Ok(None) => return Ok(()),
            Err(error) => return Err(self.complain(&Report::from(&error))),
        };
        let desk = {
            let mut state = self.bench.shared.state();
            state.failed = None;
            state.functions = self.bench.workspace.functions();
            state.desk.clone()
        };
        desk.begin(text);
        let result = interactive::evaluate(&mut self.bench.language, &mut self.bench.workspace, &rhai);
        let error = result.as_ref().err().map(|report| error_of(report));
        let ended = desk.end(error.as_ref());
        self.note(text, is_command, *ended.as_ref().unwrap_or(&true), error.as_ref());
        match result {
            Ok(value) => self.show(&value, form),
            // That the run was cancelled which the input has driven was said.
            Err(report) if self.bench.shared.state().failed == Some(report.kind) => return Err(report.kind),
            Err(report) => return Err(self.complain(&report)),
        }
        if let Err(error) = ended {
            return Err(self.complain(&Report::from(&error)));
        }
        self.bench.shared.state().failed.map_or(Ok(()), Err)
    }

    fn note(&self, text: &str, is_command: bool, had_effect: bool, error: Option<&Error>) {
        let redactor = &self.start.setup.world.redactor;
        self.bench.shared.state().typed.push(Saved {
            text: redactor.redact(text),
            when: self.start.setup.world.host.now(),
            is_command,
            had_effect,
            error: error.map(|error| redactor.redact(&error.message)),
        });
    }

    fn show(&self, value: &Dynamic, form: Form) {
        let redactor = &self.start.setup.world.redactor;
        // The window may have another size by now.
        let style = Style { width: style::width().unwrap_or(self.style.width), ..self.style };
        let text = match form {
            Form::People => show::show(value, style, jiff::Timestamp::now(), redactor),
            Form::Json => match values::to_json(value) {
                Ok(json) => json.to_string(),
                Err(error) => {
                    self.complain(&Report::from(&error));
                    return;
                }
            },
        };
        if !text.is_empty() {
            output::print(&format!("{}\n", redactor.redact(&text)));
        }
    }

    fn complain(&self, report: &Report) -> Kind {
        let desk = self.bench.shared.state().desk.clone();
        let run = desk.place.as_ref().map_or("", |place| place.id.as_str());
        let text = report.render_within(style::columns(), &self.start.setup.world.redactor);
        output::complain(&commands::in_session(&text, run));
        report.kind
    }

    /// After the run was driven, or another one is wanted: where it stands now.
    fn renew(&mut self) -> std::result::Result<(), Kind> {
        // What was cancelled is the input.
        self.start.setup.world.cancel.rearm();
        match self.bench.renew() {
            Ok(false) => {}
            Ok(true) => self.say_state(),
            Err(error) => return Err(self.complain(&Report::from(&error))),
        }
        Ok(())
    }

    fn say_state(&self) {
        let desk = self.bench.shared.state().desk.clone();
        if let Some(place) = &desk.place {
            output::tell(&format!("{} is {} now\n", place.id, desk.now().state().as_str()));
        }
    }

    fn prompt(&self) -> String {
        let desk = self.bench.shared.state().desk.clone();
        match &desk.place {
            None => "pgscript> ".into(),
            Some(place) => format!("{} ({})> ", place.id, standing(&desk)),
        }
    }

    fn greet(&self) {
        let desk = self.bench.shared.state().desk.clone();
        if desk.place.is_none() {
            output::tell(&format!(
                "pgscript {}: help explains, Tab completes, Ctrl-D leaves\n",
                env!("CARGO_PKG_VERSION")
            ));
            for place in unfinished(&self.start.setup.store) {
                output::tell(&format!("{place} is unfinished: .run {place} goes there\n"));
            }
            return;
        }
        match api::status(&self.bench.shared) {
            Ok(status) => output::tell(&status.render()),
            Err(error) => _ = self.complain(&Report::from(&error)),
        }
        if let Some(error) = desk.read_only() {
            output::tell(&format!("\n{}: you can look, not change anything\n", error.message));
        }
        if !desk.is_settled() {
            output::tell("\nThe engine does not answer. Until it does, the run has not locked its stack.\n");
        }
        output::tell(
            "\nYou are in this run. .next says what resume would do, .help what else there is; Ctrl-D leaves.\n",
        );
    }
}

/// The last word: what is unfinished.
fn part(shared: &Shared) {
    let (desk, store) = {
        let state = shared.state();
        (state.desk.clone(), state.setup.store.clone())
    };
    let ways = |id: &str| format!("pgscript resume {id} | pgscript rollback {id} | pgscript repl --run {id}");
    match &desk.place {
        Some(place) if desk.read_only().is_none() && !desk.now().state().is_over() => {
            let state = desk.now().state().as_str();
            output::tell(&format!("{} is {state}: {}\n", place.id, ways(&place.id)));
        }
        Some(_) => {}
        None => {
            for id in unfinished(&store) {
                output::tell(&format!("{id} is unfinished: {}\n", ways(&id)));
            }
        }
    }
    if let Some(kept) = desk.kept_in().filter(|_| desk.now().is_session()) {
        output::tell(&format!("what was done is kept: pgscript status {}\n", kept.id));
    }
}

/// For the prompt.
fn standing(desk: &crate::run::session::Desk) -> String {
    match (desk.read_only(), &desk.damage) {
        (Some(_), _) => "only to look at".into(),
        (_, Some(_)) => "damaged".into(),
        _ => desk.now().state().as_str().into(),
    }
}

/// The Rhai that an input stands for, and whether it was a command; `None` where there is nothing to do.
fn plain(text: &str) -> Result<Option<(String, bool)>> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let Some((command, rest)) = commands::find(text) else { return Ok(Some((text.to_owned(), false))) };
    match command {
        Ok(command) => Ok(Some((commands::rhai(command, rest), true))),
        Err(name) => {
            let known = commands::ALL.iter().map(|command| command.name);
            let hint = crate::script::errors::did_you_mean(&name, known);
            Err(Error::usage("session.no_command", format!("there is no command {name}"))
                .hint(hint.unwrap_or_else(|| "help commands lists them".into())))
        }
    }
}

fn error_of(report: &Report) -> Error {
    Error::new(report.kind, report.code.clone(), report.message.clone())
}

/// Runs that somebody should bring to an end.
fn unfinished(store: &Store) -> Vec<String> {
    let is_open = |place: &Place| {
        let known = place.history();
        known.is_ok_and(|(history, damage)| damage.is_some() || is_unfinished(history.state()))
            && place.driver().is_none()
    };
    store.runs().unwrap_or_default().into_iter().filter(is_open).map(|place| place.id).collect()
}

fn is_unfinished(state: State) -> bool {
    matches!(state, State::Failed | State::Interrupted | State::RollingBack)
}

/// Beside the runs: what was typed may name what they hold.
fn history_file(store: &Store) -> std::path::PathBuf {
    store.root().join("history")
}
