//! Puts an event into words: the same for a terminal and for a log.

use serde_json::Value;

use super::style::{Mark, Paint, Style, clean};
use super::{human, table};
use crate::event::{BUILT_IN, Event};

/// Lines for one event, and where they belong.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub lines: Vec<String>,
    /// Warnings and failures go to standard error.
    pub to_stderr: bool,
}

/// Knows the number of each step; everything else is in the event.
pub struct Narrator {
    style: Style,
    /// Names of the outermost steps, in the order they were heard of.
    steps: Vec<String>,
}

impl Narrator {
    pub fn new(style: Style) -> Self {
        Self { style, steps: Vec::new() }
    }

    /// The width may change while a run goes on.
    pub fn set_width(&mut self, width: usize) {
        self.style.width = width;
    }

    /// The lines for an event; none for progress, which listeners show each in their own way.
    pub fn say(&mut self, event: &Event) -> Said {
        let out = |lines| Said { lines, to_stderr: false };
        let err = |lines| Said { lines, to_stderr: true };
        let style = self.style;
        match event {
            Event::RunStarted { script, origin, parameters } => out(self.run_started(script, origin, parameters)),
            Event::RunDone { script, seconds } | Event::RunPutBack { script, seconds } => {
                let what = if matches!(event, Event::RunDone { .. }) { "is done" } else { "is rolled back" };
                let head = format!("{} {script} {what}", style.mark(Mark::Done));
                out(vec![self.timed(style.paint(Paint::Green, &head), &head, *seconds)])
            }
            // Eight lines that say "as shipped" would hide the one that does not.
            Event::Loaded { origin, .. } if origin == BUILT_IN => out(Vec::new()),
            Event::Loaded { module, origin } => {
                out(vec![style.paint(Paint::Dim, &format!("module {module}: {origin}"))])
            }
            Event::RunKept { run, directory } => {
                out(vec![style.paint(Paint::Dim, &format!("  run {run}, kept in {}", clean(directory)))])
            }
            Event::StepReplayed { path } => {
                let line = format!("{} {}  (done before)", style.mark(Mark::Done), self.step(path));
                out(vec![style.paint(Paint::Dim, &line)])
            }
            Event::StepStarted { path } => {
                let line = format!("{} {}", style.mark(Mark::Started), self.step(path));
                out(vec![style.paint(Paint::Bold, &line)])
            }
            Event::StepDone { path, seconds } => out(vec![self.step_done(path, *seconds)]),
            Event::StepFailed { path, seconds, code, message } => err(self.step_failed(path, *seconds, code, message)),
            Event::UndoStarted { path } => out(vec![
                style.paint(Paint::Bold, &format!("{} {}  (undo)", style.mark(Mark::Undone), self.step(path))),
            ]),
            Event::UndoDone { path } => {
                let line = format!("{} {}  (undone)", style.mark(Mark::Done), self.step(path));
                out(vec![style.paint(Paint::Green, &line)])
            }
            Event::UndoFailed { path, message } => {
                let head = format!("{} {}  (undo failed)", style.mark(Mark::Failed), self.step(path));
                err([style.paint(Paint::Red, &head)].into_iter().chain(self.indented("     ", message)).collect())
            }
            Event::Effect { command } => {
                out(self.marked(Mark::Effect, command).iter().map(|l| style.paint(Paint::Dim, l)).collect())
            }
            Event::Say { text } => out(self.indented("  ", text)),
            Event::Warn { text } => {
                err(self.marked(Mark::Warning, text).iter().map(|l| style.paint(Paint::Yellow, l)).collect())
            }
            Event::Table { title, columns, rows } => out(self.table(title, columns, rows)),
            Event::Verdict { ready, says, .. } => {
                let (mark, paint) = if *ready { (Mark::Done, Paint::Green) } else { (Mark::Failed, Paint::Red) };
                out(self.marked(mark, says).iter().map(|line| style.paint(paint, line)).collect())
            }
            Event::Output { line, .. } => {
                let bar = style.paint(Paint::Dim, style.mark(Mark::Output));
                out(vec![format!("  {bar} {}", clean(line)).trim_end().to_owned()])
            }
            // The last word about a failed run is the command line's.
            Event::Progress { .. } | Event::RunFailed { .. } => Said::default(),
        }
    }

    /// ` 3 stop the application`: the outermost step's number, then its name; inner steps by their path.
    fn step(&mut self, path: &str) -> String {
        let outermost = path.split('/').next().unwrap_or(path).trim_end();
        let number = match self.steps.iter().position(|s| s == outermost) {
            Some(at) => at + 1,
            None => {
                self.steps.push(outermost.to_owned());
                self.steps.len()
            }
        };
        format!("{number:>2} {}", clean(path))
    }

    fn step_done(&mut self, path: &str, seconds: f64) -> String {
        let (mark, step) = (self.style.mark(Mark::Done), self.step(path));
        let text = format!("{mark} {step}");
        self.timed(format!("{} {step}", self.style.paint(Paint::Green, mark)), &text, seconds)
    }

    fn step_failed(&mut self, path: &str, seconds: f64, code: &str, message: &str) -> Vec<String> {
        let head = format!("{} {}", self.style.mark(Mark::Failed), self.step(path));
        let line = self.timed(self.style.paint(Paint::Red, &head), &head, seconds);
        let reason = self.indented("     ", &format!("{message}  [{code}]"));
        [line].into_iter().chain(reason).collect()
    }

    /// A line with its duration at the right edge; `bare` is the line without colours.
    fn timed(&self, line: String, bare: &str, seconds: f64) -> String {
        let time = human::seconds(seconds);
        let room = self.style.width.min(72).saturating_sub(bare.chars().count() + time.len());
        format!("{line}{}{}", " ".repeat(room.max(2)), self.style.paint(Paint::Dim, &time))
    }

    fn run_started(&self, script: &str, origin: &str, parameters: &Value) -> Vec<String> {
        let mut lines = vec![format!("{}  {}", self.style.paint(Paint::Bold, script), clean(origin))];
        let Value::Object(parameters) = parameters else { return lines };
        let widest = parameters.keys().map(|k| k.chars().count()).max().unwrap_or_default();
        lines.extend(parameters.iter().map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), clean);
            self.style.paint(Paint::Dim, &format!("  {name:<widest$}  {value}"))
        }));
        lines
    }

    fn table(&self, title: &str, columns: &[String], rows: &[Vec<String>]) -> Vec<String> {
        let body = table::render(columns, rows, Some(self.style.width.saturating_sub(2)), self.style.unicode);
        let title = (!title.is_empty()).then(|| format!("  {}", self.style.paint(Paint::Bold, &clean(title))));
        title.into_iter().chain(body.lines().map(|l| format!("  {l}"))).collect()
    }

    /// Lines with a mark before the first and room for it before the others.
    fn marked(&self, mark: Mark, text: &str) -> Vec<String> {
        let mut lines = self.indented("    ", text);
        if let Some(first) = lines.first_mut() {
            *first = format!("  {} {}", self.style.mark(mark), first.trim_start());
        }
        lines
    }

    fn indented(&self, indent: &str, text: &str) -> Vec<String> {
        text.lines().map(|l| format!("{indent}{}", clean(l)).trim_end().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::testing::a_short_run;

    fn told(style: Style) -> String {
        let mut narrator = Narrator::new(style);
        let lines = a_short_run().iter().flat_map(|e| narrator.say(e).lines).collect::<Vec<_>>();
        lines.join("\n")
    }

    #[test]
    fn a_run_reads_well() {
        insta::assert_snapshot!(told(Style::plain(true)), @r"
        upgrade.rhai  built in
          project  primero
          to       17
        ▸  1 stop the application
          $ docker stop primero-application-1
        ✓  1 stop the application                                           12 s
        ▸  2 deploy
          │ TASK [start] ****
          ! the limit names betta,
            which is unknown
          Copies
           what       size
          ─────────────────
           backup   1.2 GB
          the next step takes long
        ✗  2 deploy                                                     2 m 05 s
             host alpha failed  [ansible.failed]
        ↩  2 deploy  (undo)
        ✓  2 deploy  (undone)
        ✓ upgrade.rhai is done                                          1 h 02 m
        ");
    }

    #[test]
    fn without_unicode_everything_is_ascii() {
        let told = told(Style::plain(false));
        assert!(told.is_ascii(), "{told}");
    }

    #[test]
    fn steps_keep_their_number_and_inner_ones_share_it() {
        let mut narrator = Narrator::new(Style::plain(true));
        let mut start = |path: &str| narrator.say(&Event::StepStarted { path: path.into() }).lines.remove(0);
        assert_eq!(start("one"), "▸  1 one");
        assert_eq!(start("two"), "▸  2 two");
        assert_eq!(start("two/inner"), "▸  2 two/inner");
        assert_eq!(start("one"), "▸  1 one");
    }

    #[test]
    fn only_warnings_and_failures_go_to_stderr() {
        let mut narrator = Narrator::new(Style::plain(true));
        let to_stderr = a_short_run().into_iter().filter(|e| narrator.say(e).to_stderr).count();
        assert_eq!(to_stderr, 2);
    }
}
