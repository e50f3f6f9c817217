//! The one place where known secrets leave what is shown.

use crate::event::{Event, Listener};
use crate::world::Redactor;

/// Hands each event on with every known secret replaced.
pub struct Redacting<L> {
    redactor: Redactor,
    inner: L,
}

impl<L: Listener> Redacting<L> {
    pub fn new(redactor: Redactor, inner: L) -> Self {
        Self { redactor, inner }
    }
}

impl<L: Listener> Listener for Redacting<L> {
    fn hear(&self, event: &Event) {
        self.inner.hear(&redact(&self.redactor, event));
    }
}

/// A copy of an event without secrets, in every text it carries.
pub fn redact(redactor: &Redactor, event: &Event) -> Event {
    let mut event = event.clone();
    let clean = |text: &mut String| *text = redactor.redact(text);
    match &mut event {
        Event::RunStarted { script, origin, parameters } => {
            clean(script);
            clean(origin);
            redactor.redact_value(parameters);
        }
        Event::RunDone { script, .. } | Event::RunPutBack { script, .. } => clean(script),
        Event::RunFailed { script, failure, .. } => {
            clean(script);
            redactor.redact_value(failure);
        }
        Event::Loaded { module, origin } => {
            clean(module);
            clean(origin);
        }
        Event::RunKept { run, directory } => {
            clean(run);
            clean(directory);
        }
        Event::StepStarted { path }
        | Event::StepReplayed { path }
        | Event::StepDone { path, .. }
        | Event::UndoStarted { path }
        | Event::UndoDone { path } => clean(path),
        Event::StepFailed { path, message, .. } | Event::UndoFailed { path, message } => {
            clean(path);
            clean(message);
        }
        Event::Effect { command } => clean(command),
        Event::Say { text } | Event::Warn { text } => clean(text),
        Event::Table { title, columns, rows } => {
            clean(title);
            columns.iter_mut().for_each(clean);
            rows.iter_mut().flatten().for_each(clean);
        }
        Event::Verdict { says, details, .. } => {
            clean(says);
            redactor.redact_value(details);
        }
        Event::Output { source, line } => {
            clean(source);
            clean(line);
        }
        Event::Progress { label, .. } => clean(label),
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Secret;

    #[test]
    fn no_text_of_any_event_keeps_a_secret() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("hunter22"));
        let s = || "a hunter22 b".to_owned();
        let (path, message, text) = (s(), s(), s());
        let events = [
            Event::RunStarted { script: s(), origin: s(), parameters: serde_json::json!({"p": [s(), {"q": s()}]}) },
            Event::RunDone { script: s(), seconds: 1.0 },
            Event::RunPutBack { script: s(), seconds: 1.0 },
            Event::RunFailed { script: s(), seconds: 1.0, exit_code: 1, failure: serde_json::json!({"message": s()}) },
            Event::Loaded { module: s(), origin: s() },
            Event::StepFailed { path: path.clone(), seconds: 1.0, code: "x".into(), message: message.clone() },
            Event::UndoFailed { path: path.clone(), message },
            Event::StepStarted { path },
            Event::Effect { command: s() },
            Event::Say { text: text.clone() },
            Event::Warn { text },
            Event::Table { title: s(), columns: vec![s()], rows: vec![vec![s()]] },
            Event::Verdict { ready: true, says: s(), details: serde_json::json!([s()]) },
            Event::Output { source: s(), line: s() },
            Event::Progress { id: 1, label: s(), unit: "bytes", done: 0, total: None, finished: false },
        ];
        for event in events {
            let json = serde_json::to_string(&redact(&redactor, &event)).unwrap();
            assert!(json.contains("••••••") && !json.contains("hunter22"), "{json}");
        }
    }
}
