//! Timed lines for logs, pipes and dumb terminals.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::meter::Meters;
use super::narrator::{Narrator, Said};
use super::style::{Style, locale_is_utf8};
use crate::event::{Event, Listener};

/// Writes `22:03:04  …` lines: what is said to one stream, warnings and failures to the other.
pub struct Plain(Mutex<Inner>);

struct Inner {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    style: Style,
    narrator: Narrator,
    meters: Meters,
    told: HashMap<u64, Instant>,
    clock: fn() -> String,
}

impl Plain {
    /// Between two lines of one stream's progress.
    const PROGRESS: Duration = Duration::from_secs(10);

    pub fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, style: Style, clock: fn() -> String) -> Self {
        let (meters, told) = (Meters::default(), HashMap::new());
        Self(Mutex::new(Inner { out, err, style, narrator: Narrator::new(style), meters, told, clock }))
    }

    /// On this process's standard output and error, in local time.
    pub fn of_process() -> Self {
        let clock = || jiff::Zoned::now().strftime("%H:%M:%S").to_string();
        Self::new(Box::new(io::stdout()), Box::new(io::stderr()), Style::plain(locale_is_utf8()), clock)
    }
}

impl Inner {
    fn write(&mut self, said: &Said) {
        let time = (self.clock)();
        let text: String = said.lines.iter().map(|line| format!("{time}  {line}\n")).collect();
        let text = self.style.ascii(text);
        let stream = if said.to_stderr { &mut self.err } else { &mut self.out };
        // A reader that went away is no error of the run.
        let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    }

    /// A line at the first news after the interval, and one at the end of a stream that took a while.
    fn progress(&mut self, id: u64, text: String, finished: Option<String>) {
        let line = match finished {
            Some(summary) => summary,
            None => {
                let now = Instant::now();
                if now - *self.told.entry(id).or_insert(now) < Plain::PROGRESS {
                    return;
                }
                self.told.insert(id, now);
                text
            }
        };
        self.write(&Said { lines: vec![line], to_stderr: false });
    }
}

impl Listener for Plain {
    fn hear(&self, event: &Event) {
        let mut inner = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let Event::Progress { id, label, unit, done, total, finished } = event else {
            let said = inner.narrator.say(event);
            return inner.write(&said);
        };
        let text = inner.meters.update(*id, label, unit, *done, *total).text();
        let summary = if *finished {
            inner.told.remove(id);
            let Some(summary) = inner.meters.finish(*id).and_then(|m| m.summary(Instant::now())) else { return };
            Some(format!("{label}  {summary}"))
        } else {
            None
        };
        inner.progress(*id, format!("{label}  {text}"), summary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::testing::{Written, a_short_run};

    #[test]
    fn each_line_has_its_time_and_failures_go_to_stderr() {
        let (out, err) = (Written::default(), Written::default());
        let plain = Plain::new(Box::new(out.clone()), Box::new(err.clone()), Style::plain(true), || "22:03:04".into());
        a_short_run().iter().for_each(|e| plain.hear(e));
        assert!(out.text().lines().chain(err.text().lines()).all(|l| l.starts_with("22:03:04  ")));
        insta::assert_snapshot!(err.text(), @r"
        22:03:04    ! the limit names betta,
        22:03:04      which is unknown
        22:03:04  ✗  2 deploy                                                     2 m 05 s
        22:03:04       host alpha failed  [ansible.failed]
        ");
    }

    #[test]
    fn progress_is_a_line_every_ten_seconds() {
        let out = Written::default();
        let plain = Plain::new(Box::new(out.clone()), Box::new(io::sink()), Style::plain(true), || "22:03:04".into());
        let hear = |done| {
            let label = "backup primero_database".into();
            plain.hear(&Event::Progress {
                id: 1,
                label,
                unit: "bytes",
                done,
                total: Some(2_300_000_000),
                finished: false,
            });
        };
        hear(0);
        hear(1_200_000_000);
        assert_eq!(out.text(), "");
        // As if the first had been told long ago.
        plain.0.lock().unwrap().told.insert(1, Instant::now() - Duration::from_secs(11));
        hear(1_200_000_000);
        assert_eq!(out.text(), "22:03:04  backup primero_database  1.2 GB of 2.3 GB\n");
    }
}
