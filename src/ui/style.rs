//! What the operator's terminal can show: colours, Unicode, width.

use std::env;

/// What our own texts have beside ASCII, and what stands for it in a terminal without Unicode.
const MARKS: &[(char, &str)] = &[('…', "..."), ('•', "*"), ('✗', "x"), ('→', "->"), ('≠', "!=")];

/// Which marks and colours to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub colour: bool,
    pub unicode: bool,
    /// Columns; lines are laid out for at most this many, never cut.
    pub width: usize,
}

impl Style {
    /// No colour, for logs and tests.
    pub const fn plain(unicode: bool) -> Self {
        Self { colour: false, unicode, width: 100 }
    }

    /// As the environment and the terminal on stderr say.
    pub fn of_terminal() -> Self {
        let no_colour = env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self { colour: !no_colour && !is_dumb(), unicode: locale_is_utf8(), width: width().unwrap_or(80) }
    }

    pub fn mark(self, mark: Mark) -> &'static str {
        let (unicode, ascii) = match mark {
            Mark::Started => ("▸", ">"),
            Mark::Done => ("✓", "+"),
            Mark::Failed => ("✗", "x"),
            Mark::Undone => ("↩", "<"),
            Mark::Warning => ("!", "!"),
            Mark::Output => ("│", "|"),
            Mark::Effect => ("$", "$"),
        };
        if self.unicode { unicode } else { ascii }
    }

    /// A text as the terminal can show it: without Unicode, our own marks as their likes, other characters as a string
    /// of a script writes them.
    pub fn ascii(self, text: String) -> String {
        if self.unicode || text.is_ascii() {
            return text;
        }
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match (MARKS.iter().find(|(mark, _)| *mark == c), u32::from(c)) {
                (Some((_, ascii)), _) => out.push_str(ascii),
                (None, 0..0x80) => out.push(c),
                (None, code @ 0x80..0x1_0000) => out.push_str(&format!("\\u{code:04x}")),
                (None, code) => out.push_str(&format!("\\U{code:08x}")),
            }
        }
        out
    }

    pub fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Dim => "2",
            Paint::Bold => "1",
            Paint::Red => "1;31",
            Paint::Green => "32",
            Paint::Yellow => "33",
            Paint::Magenta => "35",
            Paint::Cyan => "36",
            Paint::Underlined => "1;4",
        };
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Mark {
    Started,
    Done,
    Failed,
    Undone,
    Warning,
    Output,
    Effect,
}

#[derive(Clone, Copy, Debug)]
pub enum Paint {
    Dim,
    Bold,
    Red,
    Green,
    Yellow,
    Magenta,
    Cyan,
    /// And bold, for terminals that can't underline.
    Underlined,
}

/// A terminal that understands no control sequences.
pub fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|t| t.is_empty() || t == "dumb")
}

/// Whether the locale's characters are UTF-8, by the first variable that is set.
pub fn locale_is_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|n| env::var(n).ok().filter(|v| !v.is_empty()));
    set.is_some_and(|v| v.to_ascii_lowercase().replace('-', "").contains("utf8"))
}

/// Columns of the terminal on stderr.
pub fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}

/// Columns that lines may have: those of the terminal on stderr, any number where there is none.
pub fn columns() -> usize {
    width().unwrap_or(usize::MAX)
}

/// A line as it may be shown: what a child's line leaves after its last carriage return, without control
/// sequences, which could recolour the terminal or overwrite what was said.
pub fn clean(line: &str) -> String {
    let line = line.trim_end_matches(['\r', '\n']);
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' if chars.peek() == Some(&'[') => {
                chars.next();
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\x1b' if chars.peek() == Some(&']') => while chars.next().is_some_and(|c| c != '\x07' && c != '\\') {},
            '\t' => out.push_str("    "),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_do_not_reach_the_terminal() {
        assert_eq!(clean("\x1b[31mred\x1b[0m \x1b]0;title\x07and\tmore\x08\r\n"), "red and    more");
        assert_eq!(clean("10%\r50%\r100%"), "100%");
    }

    #[test]
    fn colour_is_left_out_where_it_is_not_wanted() {
        assert_eq!(Style::plain(true).paint(Paint::Red, "x"), "x");
        assert_eq!(Style { colour: true, ..Style::plain(true) }.paint(Paint::Dim, "x"), "\x1b[2mx\x1b[0m");
        assert_eq!(Style::plain(false).mark(Mark::Done), "+");
    }

    #[test]
    fn without_unicode_other_characters_are_written_out() {
        assert_eq!(Style::plain(false).ascii("ä 𝄞".into()), r"\u00e4 \U0001d11e");
        assert_eq!(Style::plain(false).ascii("✗ a → b …".into()), "x a -> b ...");
        assert_eq!(Style::plain(true).ascii("ä".into()), "ä");
    }
}
