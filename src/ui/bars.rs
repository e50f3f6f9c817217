//! The progress bars of this process's terminal. There is one terminal, so there is one set of bars:
//! lines and prompts have to take them away while they write.

use std::io::Write;
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A new bar of `label`, on standard error. Its position runs to [`LENGTH`].
pub fn add(label: &str, known_total: bool, width: usize, unicode: bool) -> ProgressBar {
    let bar = BARS.add(ProgressBar::new(LENGTH));
    // A narrow terminal has room for the numbers only; without a total there is nothing to fill.
    let template = match known_total && width >= 80 {
        true => "  {prefix}  {bar:20}  {wide_msg}",
        false => "  {prefix}  {wide_msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars(if unicode { "━╸─" } else { "=>-" }));
    }
    bar.set_prefix(label.to_owned());
    bar
}

/// The position of a full bar.
pub const LENGTH: u64 = 1000;

/// Writes whole lines above the bars.
pub fn write(to_stderr: bool, text: &str) {
    BARS.suspend(|| {
        // A terminal that went away is no error of the run.
        let _ = if to_stderr {
            let mut stream = std::io::stderr().lock();
            stream.write_all(text.as_bytes()).and_then(|()| stream.flush())
        } else {
            let mut stream = std::io::stdout().lock();
            stream.write_all(text.as_bytes()).and_then(|()| stream.flush())
        };
    });
}

/// No bars while this lives: someone is typing. Unlike a lock it keeps no event waiting.
pub struct Hidden(());

impl Hidden {
    pub fn new() -> Self {
        let _ = BARS.clear();
        BARS.set_draw_target(ProgressDrawTarget::hidden());
        Self(())
    }
}

impl Default for Hidden {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        BARS.set_draw_target(ProgressDrawTarget::stderr());
    }
}
