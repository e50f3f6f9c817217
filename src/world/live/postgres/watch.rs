//! Listens to the stderr of `pg_dump`, `pg_dumpall` and `pg_restore` (run with `--verbose`): counts tables, passes
//! warnings on, keeps errors.

use std::collections::VecDeque;

use super::messages::{login_refused, on_names_in};
use super::quoted;
use crate::event::Event;
use crate::world::error::{Error, Result};
use crate::world::live::Context;
use crate::world::live::progress::Progress;

/// Beginnings of the lines that tell of an error. Before 12 they look like `pg_restore: [archiver (db)] Error …`.
const ERRORS: [&str; 3] = ["error: ", "fatal: ", "["];
/// Those, and what is said beside them.
const TOLD: [&str; 6] = ["error: ", "fatal: ", "[", "detail: ", "hint: ", "from TOC entry"];
/// Lines kept for the error message.
const KEPT: usize = 40;

/// One program's stderr.
pub struct Watch<'a> {
    context: &'a Context,
    progress: Option<&'a mut Progress>,
    /// Code of the error when the program fails.
    code: &'static str,
    kept: VecDeque<String>,
    further: Further,
    errors: bool,
}

/// What becomes of lines without a program's name, which continue a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Further {
    Kept,
    /// They go on with a row that the server quotes: only the message's further parts (`HINT: …`) are kept.
    OfARow,
    /// They are places, each of its own, or go on with what one quotes; no further part comes after them.
    OfAContext,
    Dropped,
}

impl<'a> Watch<'a> {
    pub fn new(context: &'a Context, code: &'static str, progress: Option<&'a mut Progress>) -> Self {
        Self { context, progress, code, kept: VecDeque::new(), further: Further::Kept, errors: false }
    }

    pub fn line(&mut self, line: &str) {
        // The statement that failed may hold a secret (a user mapping's password).
        if line.starts_with("Command was:") || line.starts_with("pg_restore: error: Command was:") {
            self.further = Further::Dropped;
            return;
        }
        let Some((_, text)) = line.split_once(": ").filter(|(program, _)| is_program(program)) else {
            self.go_on(line);
            return;
        };
        self.further = Further::Dropped;
        if text.contains("dumping contents of table") || text.contains("processing data for table") {
            if let Some(progress) = self.progress.as_mut() {
                progress.advance(1);
            }
        } else if let Some(text) = text.strip_prefix("warning: ") {
            self.context.emit(Event::Warn { text: line.to_owned() });
            // "errors ignored on restore: 1" is no mere warning.
            self.errors |= text.starts_with("errors ignored on restore");
            self.further = Further::Kept;
            self.keep(line);
        } else if TOLD.iter().any(|mark| text.starts_with(mark)) {
            self.errors |= ERRORS.iter().any(|mark| text.starts_with(mark));
            let said = line.split_once("ERROR:  ");
            let kept = said.map_or(line.to_owned(), |(head, said)| format!("{head}ERROR:  {}", quoted::text(said)));
            self.keep_without_rows(line, Some(kept));
        }
    }

    /// A line that continues a message.
    fn go_on(&mut self, line: &str) {
        if self.further == Further::Dropped {
            return;
        }
        let (part, said) = line.split_once(":  ").unwrap_or_default();
        if part == "CONTEXT" || self.further == Further::OfAContext {
            self.context(line);
            return;
        }
        let kept = match part {
            "HINT" => Some(line.to_owned()),
            "DETAIL" => quoted::detail(said).map(|detail| format!("DETAIL:  {detail}")),
            // A statement: what a function has put together may quote rows.
            "QUERY" => None,
            _ if line.starts_with("LINE ") => None,
            _ if self.further == Further::OfARow || line.trim().is_empty() => return,
            _ => Some(line.to_owned()),
        };
        self.keep_without_rows(line, kept);
    }

    /// The first line of a context, or a further one.
    fn context(&mut self, line: &str) {
        let is_first = self.further != Further::OfAContext;
        self.further = Further::OfAContext;
        let (mark, said) = if is_first { line.split_at("CONTEXT:  ".len()) } else { ("", line) };
        if is_first && quoted::is_raised(said) {
            self.leave_out_what_was_raised();
        }
        if let Some(place) = quoted::context(said) {
            self.keep(&format!("{mark}{place}"));
        }
    }

    /// A function of the site's may say of a row whatever it likes.
    fn leave_out_what_was_raised(&mut self) {
        let Some(at) = self.kept.iter().rposition(|line| line.contains("ERROR:  ")) else { return };
        self.kept.truncate(at + 1);
        if let Some((head, _)) = self.kept[at].split_once("ERROR:  ") {
            self.kept[at] = format!("{head}ERROR:  (what a function raises is left out: it may quote a row)");
        }
    }

    /// `kept` is what is left of the line without what it quotes of rows.
    fn keep_without_rows(&mut self, line: &str, kept: Option<String>) {
        self.further = if kept.as_deref() == Some(line) { Further::Kept } else { Further::OfARow };
        kept.iter().for_each(|kept| self.keep(kept));
    }

    fn keep(&mut self, line: &str) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(line.trim_end().to_owned());
    }

    /// What was kept, as one text.
    pub fn text(&self) -> String {
        self.kept.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Ok for exit code 0 without an error line; else the error with what the program said.
    pub fn judge(&self, program: &str, place: &str, exit_code: i64) -> Result<()> {
        if exit_code == 0 && !self.errors {
            return Ok(());
        }
        let said = self.text();
        if let Some(error) = login_refused(&said) {
            return Err(error);
        }
        let reason = match (said.is_empty(), exit_code) {
            (false, _) => format!(": {said}"),
            (true, 126 | 127) => ": the program is not there".into(),
            (true, 137) => ": it was killed".into(),
            (true, _) => String::new(),
        };
        let message = format!("{program} in {place} ended with exit code {exit_code}{reason}");
        Err(explain(self.code, message, &said))
    }
}

fn is_program(word: &str) -> bool {
    matches!(word, "pg_dump" | "pg_dumpall" | "pg_restore")
}

/// Adds what to do about the common causes.
fn explain(code: &str, message: String, said: &str) -> Error {
    if said.contains("No space left on device") {
        return Error::failed("host.disk_full", message).hint("make room on the disk, then go on");
    }
    let error = Error::failed(code, message);
    match missing_extension(said) {
        Some(extension) => error.hint(format!(
            "the target's image lacks the extension {extension}: install its package in the image, or take an image \
             that has it"
        )),
        None => match on_names_in(said) {
            Some(hint) => error.hint(hint),
            None => error,
        },
    }
}

/// `extension "x" is not available`, or its library cannot be loaded.
pub fn missing_extension(said: &str) -> Option<String> {
    let quoted = |rest: &str| rest.split('"').next().map(str::to_owned);
    if let Some((before, _)) = said.split_once("\" is not available") {
        return before.rsplit_once("extension \"").and_then(|(_, name)| quoted(name));
    }
    if let Some((_, rest)) = said.split_once("could not open extension control file \"") {
        return quoted(rest).map(|path| path.rsplit('/').next().unwrap_or("").trim_end_matches(".control").to_owned());
    }
    let (_, rest) = said.split_once("could not access file \"$libdir/")?;
    quoted(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::live::host::testing::context;

    fn watch_lines(lines: &[&str], exit_code: i64) -> Result<()> {
        let context = context();
        let mut watch = Watch::new(&context, "restore.unexpected_error", None);
        lines.iter().for_each(|line| watch.line(line));
        watch.judge("pg_restore", "target", exit_code)
    }

    #[test]
    fn verbose_lines_are_not_errors() {
        assert!(
            watch_lines(&["pg_restore: connecting to database for restore", "pg_restore: creating TABLE \"t\""], 0)
                .is_ok()
        );
    }

    #[test]
    fn a_missing_extension_is_named_and_the_statement_is_not_repeated() {
        let error = watch_lines(
            &[
                "pg_restore: while PROCESSING TOC:",
                "pg_restore: from TOC entry 2; 3079 16385 EXTENSION postgis (no owner)",
                "pg_restore: error: could not execute query: ERROR:  extension \"postgis\" is not available",
                "DETAIL:  Could not open extension control file.",
                "Command was: CREATE USER MAPPING OPTIONS (password 'hunter2');",
                "hunter2",
            ],
            1,
        )
        .unwrap_err();
        assert!(error.hint.unwrap().contains("postgis"));
        assert!(error.message.contains("TOC entry 2") && error.message.contains("DETAIL"));
        assert!(!error.message.contains("hunter2"));
    }

    #[test]
    fn rows_are_not_repeated() {
        let failed = "pg_restore: error: COPY failed for table \"t\": ERROR:  ";
        let said = |lines: &[&str]| watch_lines(lines, 1).unwrap_err().message;
        let of_a_key = said(&[
            &format!("{failed}duplicate key value violates unique constraint \"t_note\""),
            "DETAIL:  Key (note)=(Anna",
            "of somewhere) already exists.",
            "CONTEXT:  COPY t, line 2: \"Anna\\nof somewhere\"",
        ]);
        assert!(!of_a_key.contains("Anna") && !of_a_key.contains("somewhere"), "{of_a_key}");
        assert!(of_a_key.contains("t_note") && of_a_key.ends_with("Key (note) …\nCONTEXT:  COPY t, line 2"));
        let of_a_value = said(&[
            &format!("{failed}invalid input syntax for type date: \"Anna"),
            "of somewhere\"",
            "CONTEXT:  COPY t, line 2, column born: \"Anna\"",
        ]);
        assert!(!of_a_value.contains("Anna") && !of_a_value.contains("somewhere"), "{of_a_value}");
        assert!(of_a_value.ends_with("COPY t, line 2, column born"), "{of_a_value}");
        let of_a_function = said(&[
            &format!("{failed}function unaccent(text) does not exist"),
            "LINE 1: lower(unaccent('Anna'))",
            "              ^",
            "HINT:  No function matches.",
            "QUERY:  SELECT lower(unaccent('Anna",
            "of somewhere'))",
            "CONTEXT:  PL/pgSQL function public.plain(text) line 1 at RETURN",
            "SQL statement \"INSERT INTO t VALUES ('Anna')\"",
            "COPY t, line 2: \"Anna",
            "of somewhere\"",
        ]);
        assert!(!of_a_function.contains("Anna") && !of_a_function.contains("somewhere"), "{of_a_function}");
        let places = "HINT:  No function matches.\nCONTEXT:  PL/pgSQL function public.plain(text) line 1 at RETURN\n\
                      COPY t, line 2";
        assert!(of_a_function.ends_with(places), "{of_a_function}");
        let of_the_site = said(&[
            &format!("{failed}Anna of somewhere"),
            "is not known",
            "CONTEXT:  PL/pgSQL function public.is_known(text) line 1 at RAISE",
            "COPY t, line 2: \"Anna\"",
        ]);
        assert!(!of_the_site.contains("Anna") && !of_the_site.contains("known\n"), "{of_the_site}");
        assert!(of_the_site.contains("table \"t\"") && of_the_site.contains("public.is_known(text)"), "{of_the_site}");
    }

    #[test]
    fn an_error_line_counts_although_the_exit_code_is_0() {
        assert!(watch_lines(&["pg_restore: warning: errors ignored on restore: 1"], 0).is_err());
        assert!(watch_lines(&["pg_dump: error: query failed"], 0).is_err());
    }

    #[test]
    fn a_full_disk_is_named() {
        let error = watch_lines(&["pg_dump: error: could not write to file: No space left on device"], 1).unwrap_err();
        assert_eq!(error.code, "host.disk_full");
    }
}
