//! Lines and bars for an operator at a terminal.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use indicatif::ProgressBar;

use super::bars;
use super::meter::Meters;
use super::narrator::Narrator;
use super::style::{self, Paint, Style};
use crate::event::{Event, Listener};

/// Speaks on this process's terminal, with colours and bars as far as it has them.
pub struct Terminal(Mutex<Inner>);

struct Inner {
    style: Style,
    narrator: Narrator,
    meters: Meters,
    bars: HashMap<u64, ProgressBar>,
}

impl Terminal {
    pub fn new() -> Self {
        let style = Style::of_terminal();
        let (narrator, meters) = (Narrator::new(style), Meters::default());
        Self(Mutex::new(Inner { style, narrator, meters, bars: HashMap::new() }))
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Listener for Terminal {
    fn hear(&self, event: &Event) {
        let mut inner = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Event::Progress { id, label, unit, done, total, finished } = event {
            let meter = inner.meters.update(*id, label, unit, *done, *total);
            let (text, fraction) = (meter.text(), meter.fraction());
            return if *finished { inner.finish(*id, label) } else { inner.draw(*id, label, text, fraction) };
        }
        if let Some(width) = style::width() {
            inner.narrator.set_width(width);
        }
        let said = inner.narrator.say(event);
        let text = inner.style.ascii(lines(&said.lines));
        bars::write(said.to_stderr, &text);
    }
}

impl Inner {
    fn draw(&mut self, id: u64, label: &str, text: String, fraction: Option<f64>) {
        let style = self.style;
        let width = style::width().unwrap_or(style.width);
        let bar = self.bars.entry(id).or_insert_with(|| bars::add(label, fraction.is_some(), width, style.unicode));
        bar.set_position((fraction.unwrap_or_default() * bars::LENGTH as f64) as u64);
        bar.set_message(text);
    }

    /// The bar goes; a stream that took a while leaves a line.
    fn finish(&mut self, id: u64, label: &str) {
        if let Some(bar) = self.bars.remove(&id) {
            bar.finish_and_clear();
        }
        if let Some(summary) = self.meters.finish(id).and_then(|m| m.summary(Instant::now())) {
            let line = self.style.paint(Paint::Dim, &format!("    {label}  {summary}"));
            bars::write(false, &self.style.ascii(lines(&[line])));
        }
    }
}

fn lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
