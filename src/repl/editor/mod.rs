//! The line editor of the recovery shell: reads one complete input, of several lines where need be, with completion,
//! hints, colours and a history.
//!
//! `scan` reads text that is not finished; `cursor` says where in it the cursor stands, `known` what the names there
//! stand for. `complete`, `hint` and `highlight` build on these and know no terminal; `helper` hands them to rustyline.
//! `history` is the file; `plain` serves terminals that can't be edited on, and pipes.

mod candidate;
mod complete;
mod cursor;
mod files;
mod helper;
mod highlight;
mod hint;
mod history;
mod known;
mod names;
mod options;
mod plain;
pub mod scan;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use rustyline::config::{Behavior, BellStyle, ColorMode, CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::history::{History as _, MemHistory};
use rustyline::{Cmd, EventHandler, ExternalPrinter, KeyCode, KeyEvent, Modifiers};

use self::helper::Helper;
use self::history::History;
use self::known::Known;
use crate::script::api::Reference;
use crate::ui::bars::{self, Hidden};
use crate::ui::prompt::terminal_error;
use crate::ui::style::{self, Style};
use crate::world::error::Result;

/// What an operator has entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// One complete input, of several lines where need be, without the last line break.
    Input(String),
    /// Ctrl-C: what was typed is gone.
    Interrupted,
    /// Ctrl-D on an empty line, the end of a pipe, a terminal that went away.
    End,
}

/// What is known around the cursor beside the language itself. Asked while a line is edited, one list at a time, so it
/// must answer at once; what has to be fetched may take a moment the first time.
pub trait Surroundings {
    /// The session's variables.
    fn variables(&self) -> Vec<Variable>;
    /// The keys of a variable that is a map.
    fn keys(&self, variable: &str) -> Vec<String>;
    /// Signatures of the session's own functions: `check(site, to)`.
    fn functions(&self) -> Vec<String>;
    /// Aliases of imported modules, with the signatures of their functions.
    fn modules(&self) -> Vec<(String, Vec<String>)>;
    /// Names of the run's steps.
    fn steps(&self) -> Vec<String>;
    fn containers(&self) -> Vec<String>;
    fn volumes(&self) -> Vec<String>;
    fn databases(&self) -> Vec<String>;
    /// What begins with a dot.
    fn commands(&self) -> Vec<CommandShape>;
    /// What `help` knows beside the language and the commands.
    fn topics(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A variable of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    /// As the reference has it: `Container`, `string`, `Map` …
    pub type_name: String,
}

/// A command of the shell and what may follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandShape {
    /// With its dot: `.undo`.
    pub name: &'static str,
    pub arguments: Vec<ArgumentKind>,
}

/// What an argument of a command is. Arguments are separated by blanks; the last one may hold blanks, as names of steps
/// do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    Step,
    Container,
    Volume,
    Database,
    /// A path of this machine.
    File,
    /// What `help` takes.
    Topic,
    /// One of the session's variables.
    Variable,
    /// One of these words.
    Word(&'static [&'static str]),
    Number,
    Text,
}

/// Reads inputs from standard input: with line editing on a terminal, line by line from a pipe or a terminal that can
/// do no more. While it reads, nothing else may read from the terminal.
pub struct Editor {
    source: Source,
    history: History,
    /// The latest entry of the history.
    last: Option<String>,
    warning: Option<String>,
}

/// Where inputs come from.
enum Source {
    Edited(Box<Edited>),
    Plain,
    Pipe,
}

struct Edited {
    editor: rustyline::Editor<Helper, MemHistory>,
    /// Never used: with one, rustyline waits for signals and keys together. Without, only a signal that the kernel
    /// happens to hand to this very thread is seen, and a window that was resized is not laid out anew.
    _printer: Option<Box<dyn ExternalPrinter>>,
}

impl Editor {
    /// `history` is the file to keep, below a directory of its own; what is wrong with it is said by
    /// [`Editor::warning`].
    ///
    /// # Errors
    /// `ui.terminal` when the terminal can't be used.
    pub fn new(
        reference: Arc<Reference>,
        surroundings: Rc<dyn Surroundings>,
        style: Style,
        history: Option<PathBuf>,
    ) -> Result<Self> {
        if !io::stdin().is_terminal() {
            return Ok(Self { source: Source::Pipe, history: History::default(), last: None, warning: None });
        }
        let loaded = history.map(History::load).unwrap_or_default();
        let last = loaded.entries.last().cloned();
        let source = match style::is_dumb() {
            true => Source::Plain,
            false => Source::Edited(edited(Known { reference, surroundings }, style, loaded.entries)?.into()),
        };
        Ok(Self { source, history: loaded.history, last, warning: loaded.warning })
    }

    /// The next input. `prompt` is plain text in one line. Progress bars are away meanwhile.
    ///
    /// # Errors
    /// `ui.terminal` when reading fails; `ui.not_text` when a pipe holds a line that is not UTF-8: the next call goes
    /// on after it.
    pub fn read(&mut self, prompt: &str) -> Result<Read> {
        let _hidden = Hidden::new();
        match &mut self.source {
            Source::Edited(edited) => read(&mut edited.editor, prompt),
            Source::Plain => plain::from_terminal(prompt),
            Source::Pipe => plain::from_pipe(),
        }
    }

    /// Adds an input to the history, at once in its file too. One that begins with a blank, or is the one before again,
    /// is left out, and so is all that comes from a pipe. Gives a line for the operator, once, when the file can't be
    /// written.
    pub fn remember(&mut self, input: &str) -> Option<String> {
        if input.is_empty() || input.starts_with(char::is_whitespace) || self.last.as_deref() == Some(input) {
            return None;
        }
        match &mut self.source {
            // What is in memory only can't fail.
            Source::Edited(edited) => _ = edited.editor.add_history_entry(input),
            Source::Plain => {}
            Source::Pipe => return None,
        }
        self.last = Some(input.to_owned());
        self.history.append(input)
    }

    /// What the terminal must be sent where an input is left in its middle.
    pub fn ending(&self) -> &'static str {
        match self.source {
            // No pastes are to be marked any more.
            Source::Edited(_) => "\x1b[?2004l\n",
            Source::Plain => "\n",
            Source::Pipe => "",
        }
    }

    /// One line for the operator: what was wrong with the history's file at the start, and what became of it.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}

fn edited(known: Known, style: Style, entries: Vec<String>) -> Result<Edited> {
    let builder = Config::builder().max_history_size(history::MOST).map_err(terminal_error)?;
    let config = builder
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .bracketed_paste(true)
        .bell_style(BellStyle::None)
        .color_mode(if style.colour { ColorMode::Enabled } else { ColorMode::Disabled })
        .indent_size(helper::INDENT)
        .tab_stop(helper::INDENT)
        // The prompt belongs to the terminal, where standard output may be a file.
        .behavior(Behavior::PreferTerm)
        .build();
    let mut history = MemHistory::with_config(&config);
    for entry in entries {
        history.add_owned(entry).map_err(terminal_error)?;
    }
    let mut editor = rustyline::Editor::with_history(config, history).map_err(terminal_error)?;
    editor.set_helper(Some(Helper::new(known, style, || style::width().unwrap_or(80))));
    let key = |code| KeyEvent(code, Modifiers::NONE);
    editor.bind_sequence(key(KeyCode::Enter), EventHandler::Conditional(Box::new(helper::Enter)));
    editor.bind_sequence(key(KeyCode::Tab), EventHandler::Conditional(Box::new(helper::Tab)));
    editor.bind_sequence(key(KeyCode::Backspace), EventHandler::Conditional(Box::new(helper::Backspace)));
    // A further line in an input that is complete already.
    editor.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::ALT), Cmd::Newline);
    let printer = editor.create_external_printer();
    Ok(Edited { editor, _printer: printer.ok().map(|printer| Box::new(printer) as Box<dyn ExternalPrinter>) })
}

fn read(editor: &mut rustyline::Editor<Helper, MemHistory>, prompt: &str) -> Result<Read> {
    if let Some(helper) = editor.helper() {
        helper.begin(prompt);
    }
    drop_interrupts();
    let mut typed = (String::new(), 0);
    loop {
        let (before, after) = typed.0.split_at(typed.1);
        match editor.readline_with_initial(prompt, (before, after)) {
            Ok(text) => return Ok(Read::Input(text)),
            Err(ReadlineError::Interrupted) => return Ok(Read::Interrupted),
            Err(ReadlineError::Eof) => return Ok(Read::End),
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                bars::write(true, "what was typed is not UTF-8, and left out: check the terminal's character set\n");
                typed = editor.helper().map(Helper::latest).unwrap_or_default();
            }
            Err(error) if is_gone(&error) => return Ok(Read::End),
            Err(error) => return Err(terminal_error(error)),
        }
    }
}

/// A Ctrl-C from before the prompt that no thread has taken yet is not for what is typed behind the prompt: rustyline's
/// handler, which is in place from then on, would throw that away.
fn drop_interrupts() {
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let mut interrupt = std::mem::MaybeUninit::uninit();
    // SAFETY: the set is made before it is read; no information on the signal is asked for.
    unsafe {
        libc::sigemptyset(interrupt.as_mut_ptr());
        libc::sigaddset(interrupt.as_mut_ptr(), libc::SIGINT);
        while libc::sigtimedwait(interrupt.as_ptr(), std::ptr::null_mut(), &at_once) == libc::SIGINT {}
    }
}

/// Whether the terminal went away.
fn is_gone(error: &ReadlineError) -> bool {
    let code = match error {
        ReadlineError::Io(error) => error.raw_os_error(),
        ReadlineError::Errno(errno) => Some(*errno as i32),
        _ => None,
    };
    code == Some(rustix::io::Errno::IO.raw_os_error())
}

#[cfg(test)]
mod testing {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::known::Known;
    use super::*;
    use crate::script::api;

    /// A session with a few things in it, which notes what it was asked for.
    #[derive(Default)]
    pub struct Session {
        pub asked: RefCell<Vec<&'static str>>,
    }

    impl Session {
        fn note(&self, what: &'static str, names: &[&str]) -> Vec<String> {
            self.asked.borrow_mut().push(what);
            names.iter().map(|name| (*name).to_owned()).collect()
        }
    }

    impl Surroundings for Session {
        fn variables(&self) -> Vec<Variable> {
            self.asked.borrow_mut().push("variables");
            let variables =
                [("c", "Container"), ("data", "Volume"), ("row", "Map"), ("db", "Server"), ("site", "string")];
            variables.map(|(name, type_name)| Variable { name: name.into(), type_name: type_name.into() }).into()
        }

        fn keys(&self, variable: &str) -> Vec<String> {
            if variable == "row" { self.note("keys", &["id", "name", "two words"]) } else { Vec::new() }
        }

        fn functions(&self) -> Vec<String> {
            self.note("functions", &["check(site, to)", "clean()"])
        }

        fn modules(&self) -> Vec<(String, Vec<String>)> {
            vec![("primero".into(), self.note("modules", &["stop(project)", "sites()"]))]
        }

        fn steps(&self) -> Vec<String> {
            self.note("steps", &["stop the application", "back up"])
        }

        fn containers(&self) -> Vec<String> {
            self.note("containers", &["primero-app-1", "primero-postgres-1", "odd\"name\u{1b}"])
        }

        fn volumes(&self) -> Vec<String> {
            self.note("volumes", &["primero_data", "primero_files"])
        }

        fn databases(&self) -> Vec<String> {
            self.note("databases", &["primero", "postgres"])
        }

        fn commands(&self) -> Vec<CommandShape> {
            let command = |name, arguments: &[ArgumentKind]| CommandShape { name, arguments: arguments.to_vec() };
            use ArgumentKind::*;
            vec![
                command(".steps", &[]),
                command(".undo", &[Step]),
                command(".save", &[File]),
                command(".logs", &[Container, Number]),
                command(".help", &[Topic]),
                command(".format", &[Word(&["table", "json"])]),
            ]
        }

        fn topics(&self) -> Vec<String> {
            vec!["guards".into()]
        }
    }

    pub fn known() -> (Known, Rc<Session>) {
        let session = Rc::new(Session::default());
        let reference = api::vocabulary().reference.clone();
        (Known { reference, surroundings: session.clone() }, session)
    }
}
