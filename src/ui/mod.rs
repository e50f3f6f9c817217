//! What people see: lines, progress, tables, prompts. Hears events and decides nothing.
//!
//! `narrator` puts an event into words, the same for a `terminal` and for a `plain` log; `json` is for programs.
//! Every event passes [`redacting::Redacting`] once, before any of them sees it.

pub mod bars;
pub mod human;
pub mod json;
pub mod meter;
pub mod narrator;
pub mod output;
pub mod plain;
pub mod prompt;
pub mod redacting;
pub mod style;
pub mod table;
pub mod terminal;
pub mod wrap;

use std::io::{self, IsTerminal};
use std::sync::Arc;

use crate::event::Listener;
use crate::world::Redactor;

/// How events are shown (`--format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: bars and colours on a terminal, timed lines elsewhere.
    #[default]
    Text,
    /// One JSON object a line on standard output.
    Json,
}

/// The listener for a log: every event as a JSON line, secrets replaced.
pub fn log_listener(out: Box<dyn io::Write + Send>, redactor: Redactor) -> Arc<dyn Listener> {
    Arc::new(redacting::Redacting::new(redactor, json::Json::new(out)))
}

/// The listener for this process's output. Its bars need a terminal on both streams, for a bar on one would
/// be torn by the lines of the other.
pub fn listener(format: Format, redactor: Redactor) -> Arc<dyn Listener> {
    let terminal = io::stdout().is_terminal() && io::stderr().is_terminal() && !style::is_dumb();
    match format {
        Format::Json => Arc::new(redacting::Redacting::new(redactor, json::Json::new(Box::new(io::stdout())))),
        Format::Text if terminal => Arc::new(redacting::Redacting::new(redactor, terminal::Terminal::new())),
        Format::Text => Arc::new(redacting::Redacting::new(redactor, plain::Plain::of_process())),
    }
}

#[cfg(test)]
mod testing {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use crate::event::Event;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    pub struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A few events of each common kind.
    pub fn a_short_run() -> Vec<Event> {
        let path = |p: &str| p.to_owned();
        vec![
            Event::RunStarted {
                script: "upgrade.rhai".into(),
                origin: "built in".into(),
                parameters: serde_json::json!({"project": "primero", "to": 17}),
            },
            Event::StepStarted { path: path("stop the application") },
            Event::Effect { command: "docker stop primero-application-1".into() },
            Event::StepDone { path: path("stop the application"), seconds: 12.3 },
            Event::StepStarted { path: path("deploy") },
            Event::Output { source: "ansible".into(), line: "TASK [start] \x1b[32m****\x1b[0m\r".into() },
            Event::Warn { text: "the limit names betta,\nwhich is unknown".into() },
            Event::Table {
                title: "Copies".into(),
                columns: vec!["what".into(), "size".into()],
                rows: vec![vec!["backup".into(), "1.2 GB".into()]],
            },
            Event::Say { text: "the next step takes long".into() },
            Event::StepFailed {
                path: path("deploy"),
                seconds: 125.0,
                code: "ansible.failed".into(),
                message: "host alpha failed".into(),
            },
            Event::UndoStarted { path: path("deploy") },
            Event::UndoDone { path: path("deploy") },
            Event::RunDone { script: "upgrade.rhai".into(), seconds: 3725.0 },
        ]
    }
}
