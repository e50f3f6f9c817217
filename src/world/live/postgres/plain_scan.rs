//! Reads a plain SQL dump as it streams by: is it one, is it whole, did a terminal damage it, what is in it.

use std::io::BufRead;

use crate::world::error::{Error, Result};
use crate::world::postgres::DumpedDatabase;

const CLUSTER_HEADER: &[u8] = b"-- PostgreSQL database cluster dump";
const DATABASE_HEADER: &[u8] = b"-- PostgreSQL database dump";
const COMPLETE: &[u8] = b" complete";
/// Of a line only so much is kept: rows can be long, what is looked for is short.
const KEPT: usize = 4096;

/// What wrote the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `pg_dumpall`
    Cluster,
    /// `pg_dump`
    Database,
}

/// Fed with the stream in pieces of any size; [`PlainScan::finish`] judges the whole.
#[derive(Default)]
pub struct PlainScan {
    line: Vec<u8>,
    /// Whether the line is longer than [`KEPT`].
    cut: bool,
    /// Whole lines so far.
    lines: u64,
    origin: Option<Origin>,
    in_copy: bool,
    /// The trailer was seen, and nothing but what may follow it.
    complete: bool,
    /// Line of `-- Roles`: what stands before it only drops.
    roles_line: Option<u64>,
    server_major: Option<u32>,
    client_major: Option<u32>,
    databases: Vec<DumpedDatabase>,
}

impl PlainScan {
    /// Takes the next bytes; damage that is certain already is an error at once.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.contains(&0) {
            return Err(damaged("it has NUL bytes"));
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut after = rest;
            // A slice cannot fail to be read.
            let count = after.skip_until(b'\n').unwrap_or(rest.len());
            let piece = &rest[..count];
            rest = after;
            let (text, whole) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = KEPT.saturating_sub(self.line.len());
            self.cut |= text.len() > room;
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if whole {
                self.end_of_line()?;
            }
        }
        Ok(())
    }

    fn end_of_line(&mut self) -> Result<()> {
        self.lines += 1;
        let line = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.cut);
        let judged = if cut { self.long_line() } else { self.line(&line) };
        self.line = line;
        self.line.clear();
        judged
    }

    fn long_line(&mut self) -> Result<()> {
        self.complete = false;
        match self.origin {
            None => Err(self.no_header(b"")),
            Some(_) => Ok(()),
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        if self.in_copy {
            self.in_copy = line != b"\\.";
            // The damage of a terminal, when the dump's own header was cut off.
            return if line == b"\\.\r" { Err(carriage_returns()) } else { Ok(()) };
        }
        if self.origin.is_none() {
            return self.header(line);
        }
        if self.is_trailer(line) {
            self.complete = true;
        } else if !(line.is_empty() || line == b"--" || line.starts_with(b"\\unrestrict ")) {
            self.complete = false;
            self.content(line);
        }
        match line.strip_suffix(b"\r").is_some_and(|line| self.is_trailer(line)) {
            true => Err(carriage_returns()),
            false => Ok(()),
        }
    }

    fn header(&mut self, line: &[u8]) -> Result<()> {
        match line {
            CLUSTER_HEADER => self.origin = Some(Origin::Cluster),
            DATABASE_HEADER => self.origin = Some(Origin::Database),
            b"" | b"--" => {}
            _ if line.starts_with(b"\\restrict ") => {}
            _ if line.ends_with(b"\r") => return Err(carriage_returns()),
            _ => return Err(self.no_header(line)),
        }
        Ok(())
    }

    fn is_trailer(&self, line: &[u8]) -> bool {
        let header = match self.origin {
            Some(Origin::Cluster) => CLUSTER_HEADER,
            _ => DATABASE_HEADER,
        };
        line.strip_prefix(header) == Some(COMPLETE)
    }

    fn content(&mut self, line: &[u8]) {
        if line.starts_with(b"COPY ") && line.ends_with(b" FROM stdin;") {
            self.in_copy = true;
            if let Some(database) = self.databases.last_mut() {
                database.tables += 1;
            }
        } else if let Some(target) = line.strip_prefix(b"\\connect ") {
            let name = connect_target(&String::from_utf8_lossy(target));
            // 17 connects twice: to set the database's properties, and again to see them.
            if self.databases.last().is_none_or(|last| last.name != name) {
                self.databases.push(DumpedDatabase { name, path: String::new(), entries: 0, tables: 0 });
            }
        } else if line == b"-- Roles" && self.roles_line.is_none() {
            self.roles_line = Some(self.lines);
        } else if let Some(version) = line.strip_prefix(b"-- Dumped from database version ") {
            self.server_major = self.server_major.or_else(|| major(version));
        } else if let Some(version) = line.strip_prefix(b"-- Dumped by pg_dump version ") {
            self.client_major = self.client_major.or_else(|| major(version));
        }
    }

    fn no_header(&self, line: &[u8]) -> Error {
        let line = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
        damaged(&format!(
            "it does not begin like one of pg_dump or pg_dumpall, but with {line:?} in line {}",
            self.lines
        ))
        .hint("messages in it come from `docker exec -t`: take the dump again without -t")
    }

    /// The dump ends here: is it whole?
    pub fn finish(mut self) -> Result<PlainFacts> {
        if !self.line.is_empty() {
            let complete = self.complete;
            self.end_of_line()?;
            self.complete |= complete && self.line.is_empty();
        }
        let Some(origin) = self.origin else {
            return Err(incomplete("it is empty"));
        };
        if self.in_copy {
            return Err(incomplete("it ends in the middle of a table's rows"));
        }
        if !self.complete {
            let program = if origin == Origin::Cluster { "pg_dumpall" } else { "pg_dump" };
            return Err(incomplete(&format!("{program}'s last line, \"… dump complete\", is missing")));
        }
        Ok(PlainFacts {
            origin,
            server_major: self.server_major,
            client_major: self.client_major,
            databases: self.databases,
        })
    }

    /// Whether what stands in this line comes before the dump creates anything.
    pub fn only_drops_before(&self, line: u64) -> bool {
        self.roles_line.is_none_or(|roles| line < roles)
    }
}

/// What a whole dump says of itself.
#[derive(Debug)]
pub struct PlainFacts {
    pub origin: Origin,
    pub server_major: Option<u32>,
    pub client_major: Option<u32>,
    pub databases: Vec<DumpedDatabase>,
}

/// `name`, `"na""me"` or `-reuse-previous=on "dbname='na''me'"`.
fn connect_target(text: &str) -> String {
    let text = text.trim_end();
    let text = text.strip_prefix("-reuse-previous=on ").unwrap_or(text);
    let text = match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => text.to_owned(),
    };
    match text.strip_prefix("dbname=") {
        None => text,
        Some(value) => match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
            Some(quoted) => unescape(quoted),
            None => unescape(value),
        },
    }
}

/// Takes the backslashes of a connection string away.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

fn major(version: &[u8]) -> Option<u32> {
    let digits: String = version.iter().take_while(|b| b.is_ascii_digit()).map(|b| *b as char).collect();
    digits.parse().ok()
}

fn damaged(why: &str) -> Error {
    Error::failed("dump.damaged", format!("the dump is damaged: {why}"))
}

fn carriage_returns() -> Error {
    damaged("its lines end in carriage returns, which a terminal added, also inside functions and values").hint(
        "`docker exec -t` does this: take the dump again without -t; removing the carriage returns afterwards also \
         removes those that belong to the data",
    )
}

fn incomplete(why: &str) -> Error {
    Error::failed("dump.incomplete", format!("the dump is not whole: {why}"))
        .hint("pg_dumpall was ended, or the disk was full: take the dump again")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict abc\n\n--\n-- Roles\n--\n\
        CREATE ROLE x;\n\\unrestrict abc\n\\connect template1\n--\n-- PostgreSQL database dump\n--\n\n\\restrict d\n\
        -- Dumped from database version 13.23 (Debian)\n-- Dumped by pg_dump version 17.1\n\n\
        --\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict d\n\
        \\connect -reuse-previous=on \"dbname='a\\'b \"\"c'\"\nCOPY public.t (a) FROM stdin;\n1\\r\n\
        -- PostgreSQL database cluster dump complete\n\\.\n\n--\n-- PostgreSQL database dump complete\n--\n\n\
        \\unrestrict d\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n";

    fn scan(text: &[u8], piece: usize) -> Result<PlainFacts> {
        let mut scan = PlainScan::default();
        for piece in text.chunks(piece) {
            scan.feed(piece)?;
        }
        scan.finish()
    }

    #[test]
    fn a_whole_dump_passes_however_it_is_cut_into_pieces() {
        for piece in [1, 2, 3, 5, 7, 64, 10_000] {
            let facts = scan(WHOLE.as_bytes(), piece).unwrap();
            assert_eq!(facts.origin, Origin::Cluster);
            assert_eq!((facts.server_major, facts.client_major), (Some(13), Some(17)));
            let names: Vec<_> = facts.databases.iter().map(|d| (d.name.as_str(), d.tables)).collect();
            assert_eq!(names, [("template1", 0), ("a'b \"c", 1)]);
        }
    }

    #[test]
    fn a_dump_cut_anywhere_is_incomplete() {
        // Cut before the trailer's line break it is whole; the blank lines after it may be missing.
        let trailer = WHOLE.rfind(" complete").unwrap() + " complete".len();
        for end in 0..trailer {
            let error = scan(&WHOLE.as_bytes()[..end], 9).map(|_| end).unwrap_err();
            assert!(matches!(error.code.as_str(), "dump.incomplete" | "dump.damaged"), "{end}: {error}");
        }
        for end in trailer..=WHOLE.len() {
            scan(&WHOLE.as_bytes()[..end], 9).unwrap();
        }
    }

    #[test]
    fn a_terminals_carriage_returns_are_named() {
        let text = WHOLE.replace('\n', "\r\n");
        for piece in [1, 2, 3, 1000] {
            let error = scan(text.as_bytes(), piece).unwrap_err();
            assert_eq!(error.code, "dump.damaged");
            assert!(error.hint.unwrap().contains("docker exec -t"));
        }
        let only_the_end = WHOLE.replace("cluster dump complete\n--", "cluster dump complete\r\n--");
        assert_eq!(scan(only_the_end.as_bytes(), 1000).unwrap_err().code, "dump.damaged");
    }

    #[test]
    fn carriage_returns_in_rows_and_functions_are_data() {
        let text = WHOLE.replace("1\\r\n", "1\r\n").replace("CREATE ROLE x;\n", "CREATE ROLE x;\r\n");
        scan(text.as_bytes(), 4).unwrap();
    }

    #[test]
    fn nul_bytes_foreign_files_and_text_after_the_end_are_refused() {
        assert_eq!(scan(WHOLE.replace("ROLE x", "ROLE \0").as_bytes(), 8).unwrap_err().code, "dump.damaged");
        assert_eq!(scan(b"PGDMP\x01\x0e", 3).unwrap_err().code, "dump.damaged");
        assert_eq!(scan(b"pg_dumpall: warning\n--\n", 3).unwrap_err().code, "dump.damaged");
        assert_eq!(scan(b"", 3).unwrap_err().code, "dump.incomplete");
        let more = format!("{WHOLE}SELECT 1;\n");
        assert_eq!(scan(more.as_bytes(), 100).unwrap_err().code, "dump.incomplete");
    }

    #[test]
    fn long_rows_are_no_trouble() {
        let row = format!("{}\n\\.\n", "x".repeat(20_000));
        let text = WHOLE
            .replace("1\\r\n", &row)
            .replace(&format!("{row}-- PostgreSQL database cluster dump complete\n\\.\n"), &row);
        scan(text.as_bytes(), 4096).unwrap();
    }
}
